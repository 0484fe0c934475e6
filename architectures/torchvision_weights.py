"""torchvision's trained weights, or whatever has their names, on our networks: a state_dict from a file.

    model = build("resnet50_torchvision")
    load_torchvision(model, "resnet50.safetensors")

What an image has to be for them is no weight (image_inputs.py): most were trained on images in [0, 1] less a mean,
divided by a deviation, red first. GoogLeNet's and Inception-v3's are for images in [−1, 1]: torchvision turns the
first kind into the second inside these two (`transform_input`), ours take 2·image − 1.
"""
from pathlib import Path
from pickle import UnpicklingError

import keras
import numpy as np

from .registry import REGISTRY
from .torchvision_names import NAMINGS, Naming
from .weights import Weight, WeightsError, fill


def load_torchvision(model: keras.Model, path: str | Path) -> keras.Model:
    """Give a network of `build` the weights of torchvision's network of the same definition; returns the network.

    path: the state_dict as .safetensors, or as .pth or .pt where PyTorch is installed, which reads tensors and
    nothing else. Kernels (out, in, H, W) become (H, W, in, out), dense ones behind a flattening (out, C·H·W) become
    (H·W·C, out). AlexNet and VGG are to be built for 224×224 (torchvision averages maps of other sizes to theirs),
    Inception-v3 with its auxiliary classifier for 299×299; all others take any size. Left out is what a file has for
    parts that the network was built without: the classifier with include_top=False, auxiliary ones without
    auxiliary=True; and num_batches_tracked, a count that Keras does not keep. All other weights of both sides are
    used exactly once.
    Raises WeightsError, in one line, for another network, a file that cannot be read, names that are missing or left
    over and shapes that differ; no weight has then changed.
    """
    naming = _naming(model)
    wanted, modules = _wanted(model, naming)
    path = Path(path)
    found = _present(read_state_dict(path), naming, path)
    left_out = [beginning for beginning, layer in naming.parts.items() if layer not in _names(model)]
    ignored = {f"{module}.num_batches_tracked" for module in modules}
    ignored |= {key for key in found if key.startswith(tuple(left_out))}
    _hint_at_the_size(model, naming, wanted, found, path)
    fill(model.name, wanted, found, path.name, ignored)
    return model


# ------------------------------------------------------------------------------------ our side: what to fill

def _naming(model) -> Naming:
    """That of the network, by its name."""
    name = getattr(model, "name", model)
    if name in NAMINGS:
        return NAMINGS[name]
    stem = str(name).removesuffix("_keras")
    for other in (f"{stem}_torchvision", stem):
        if other in NAMINGS:
            differs = REGISTRY[other].differs or REGISTRY[name].differs
            raise WeightsError(f"{name} is not the network of torchvision's weights: build {other!r} ({differs})")
    raise WeightsError(f"torchvision has no weights for {name!r}: it has them for {', '.join(NAMINGS)}")


def _names(model) -> set[str]:
    return {layer.name for layer in model.layers}


def _wanted(model, naming) -> tuple[dict[str, Weight], set[str]]:
    """Their name → weight, of all layers that have any; and their names of the batch normalisations."""
    wanted, normalisations = {}, set()
    for layer in model.layers:
        if not layer.weights:
            continue
        module, weights = naming.module(layer.name), WEIGHTS.get(type(layer).__name__)
        if module is None or weights is None:
            raise WeightsError(f"{model.name} has a layer that torchvision's has not: {layer.name} "
                               f"({type(layer).__name__})")
        flat = naming.flat.get(layer.name)
        rows = weights(layer, model.get_layer(flat)) if flat else weights(layer)
        wanted |= {f"{module}.{key}": weight for key, weight in rows.items()}
        if isinstance(layer, keras.layers.BatchNormalization):
            normalisations.add(module)
    return wanted, normalisations


def _with_bias(layer, weight: Weight) -> dict[str, Weight]:
    bias = {"bias": Weight(layer.bias, tuple(layer.bias.shape))} if layer.use_bias else {}
    return {"weight": weight, **bias}


def _convolution(layer) -> dict[str, Weight]:
    """(filters, channels of a group, H, W) → (H, W, channels of a group, filters)."""
    high, wide, channels, filters = layer.kernel.shape
    return _with_bias(layer, Weight(layer.kernel, (filters, channels, high, wide),
                                    lambda theirs: theirs.transpose(2, 3, 1, 0)))


def _depthwise(layer) -> dict[str, Weight]:
    """(channels · multiplier, 1, H, W) → (H, W, channels, multiplier)."""
    high, wide, channels, multiplier = layer.kernel.shape
    return _with_bias(layer, Weight(
        layer.kernel, (channels * multiplier, 1, high, wide),
        lambda theirs: theirs.reshape(channels, multiplier, high, wide).transpose(2, 3, 0, 1)))


def _dense(layer, flat=None) -> dict[str, Weight]:
    """(units, inputs) → (inputs, units); `flat` in front flattens (C, H, W) on their side, (H, W, C) on ours."""
    inputs, units = layer.kernel.shape
    if flat is None:
        return _with_bias(layer, Weight(layer.kernel, (units, inputs), np.transpose))
    channels, high, wide = _map(flat)
    return _with_bias(layer, Weight(
        layer.kernel, (units, inputs),
        lambda theirs: theirs.reshape(units, channels, high, wide).transpose(2, 3, 1, 0).reshape(inputs, units)))


def _map(flat) -> tuple[int, int, int]:
    """(C, H, W) of what a Flatten takes; Keras's puts the channels last before it flattens, in both data formats."""
    shape = tuple(flat.input.shape[1:])
    return shape if flat.data_format == "channels_first" else (shape[2], *shape[:2])


def _normalisation(layer) -> dict[str, Weight]:
    """γ, β and the moving statistics, (channels,) each."""
    variables = {"weight": layer.gamma, "bias": layer.beta, "running_mean": layer.moving_mean,
                 "running_var": layer.moving_variance}
    return {key: Weight(variable, tuple(variable.shape)) for key, variable in variables.items()
            if variable is not None}


WEIGHTS = {"Conv2D": _convolution, "DepthwiseConv2D": _depthwise, "Dense": _dense,
           "BatchNormalization": _normalisation}


# --------------------------------------------------------------------------------- their side: what there is

def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Name → array of a .safetensors, .pth or .pt file. Raises WeightsError."""
    readers = {".safetensors": _read_safetensors, ".pth": _read_torch, ".pt": _read_torch}
    if path.suffix not in readers:
        raise WeightsError(f"{path.name} is none of {', '.join(readers)}, the files that hold a state_dict")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    return readers[path.suffix](path)


def _read_safetensors(path):
    from safetensors import SafetensorError
    from safetensors.numpy import load_file
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path.name} is not a whole safetensors file: {_line(error)}") from error
    return {key: array.astype("float32") if array.dtype.name == "bfloat16" else array
            for key, array in found.items()}


def _read_torch(path):
    try:
        import torch
    except ModuleNotFoundError as error:
        raise WeightsError(f"PyTorch reads {path.suffix} files and is not installed: `pip install torch`, or save "
                           "the state_dict as .safetensors where it is") from error
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:        # its text explains how to run the file's code
        raise WeightsError(f"{path.name} holds more than tensors, or is damaged: it has to be a state_dict alone, as "
                           "torch.save(model.state_dict(), path) writes it") from error
    except Exception as error:              # what else it raises depends on where a file is damaged
        raise WeightsError(f"PyTorch cannot read {path.name}: {_line(error)}") from error
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        holds = type(held).__name__ + (f" of {', '.join(map(str, list(held)[:4]))}" if isinstance(held, dict) else "")
        raise WeightsError(f"{path.name} holds a {holds}: it has to be a state_dict alone, as "
                           "torch.save(model.state_dict(), path) writes it")
    return {key: value.detach().to(torch.float32 if value.is_floating_point() else value.dtype).numpy()
            for key, value in held.items()}


def _line(error) -> str:
    """The first sentence of a text that may go on for pages."""
    return " ".join(str(error).split()).split(". ")[0][:160] or type(error).__name__


def _present(found, naming, path) -> dict[str, np.ndarray]:
    """The same with the names of today."""
    present = {naming.now(key): array for key, array in found.items()}
    if len(present) < len(found):
        twice = next(naming.now(key) for key in found if naming.now(key) != key and naming.now(key) in found)
        raise WeightsError(f"{path.name} has {twice} twice, under its old name and its new one")
    return present


def _hint_at_the_size(model, naming, wanted, found, path):
    """A dense layer behind maps of another size than torchvision's: the images are to blame, not the file."""
    for dense, flat in naming.flat.items():
        key = f"{naming.module(dense)}.weight"
        if key not in wanted or key not in found or found[key].ndim != 2:
            continue
        channels, high, wide = _map(model.get_layer(flat))
        units, side = wanted[key].shape[0], round((found[key].shape[1] / channels) ** 0.5)
        if found[key].shape == (units, channels * side**2) != wanted[key].shape:
            raise WeightsError(f"{model.name} has maps of {high}×{wide} in front of {dense}, {path.name} is for "
                               f"{side}×{side}: build it with input_shape={REGISTRY[model.name].input_shape}")
