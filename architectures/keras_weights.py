"""Weights of keras.applications on our networks.

    model = build("resnet50_keras")
    load_keras_applications(model, keras.applications.ResNet50(weights="imagenet"))     # Keras downloads them
    load_keras_applications(model, "resnet50_weights_tf_dim_ordering_tf_kernels.h5")

Names are mapped by the rules of keras_names.py, one a family; their function builds the network that a file is read
into, so a file's format is the library's own affair.
"""
import warnings
from pathlib import Path

import h5py
import keras

from .keras_names import CLASSIFIERS, PUBLISHED, Published, UnknownLayer, from_first_number
from .registry import REGISTRY
from .weights import Weight, WeightsError, fill

ENDINGS = (".h5", ".hdf5")                              # .weights.h5 among them


def load_keras_applications(model: keras.Model, source: keras.Model | str | Path) -> keras.Model:
    """Give a network of `build` the weights of the same network of keras.applications; returns the network.

    model: a network of PUBLISHED, as `build` makes it, with or without its top, at any size and number of classes
    that the source has too. source: a model that a function of keras.applications made, or a file of its weights,
    .h5 or .weights.h5, or of such a model whole (.h5). Nothing is downloaded: what Keras fetches by
    weights="imagenet" comes as a model.
    Raises WeightsError where a weight of either is missing, left over or of another shape, or the file cannot be
    read; then no weight has changed.
    """
    published = keras_equivalent(model.name)
    if isinstance(source, keras.Model):
        found, name = source, f"the model {source.name}"
    else:
        found, name = _read(model, published, source), str(source)
    wanted = {f"{theirs}/{variable.name}": Weight(variable, tuple(variable.shape))
              for theirs, layer in _named(model, published).items() for variable in layer.weights}
    names = from_first_number([layer.name for layer in found.layers if layer.weights])
    arrays = {f"{names[layer.name]}/{variable.name}": keras.ops.convert_to_numpy(variable)
              for layer in found.layers for variable in layer.weights}
    fill(model.name, wanted, arrays, name)
    return model


def keras_equivalent(name: str) -> Published:
    """The network of keras.applications that ours, `name`, is equal to. Raises WeightsError with the preset."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    preset = f"{name.removesuffix('_torchvision')}_keras"
    if preset in PUBLISHED:
        raise WeightsError(f"{name} is not keras.applications' network, {preset} is ({REGISTRY[preset].differs})")
    raise WeightsError(f"{name!r} is no network with an equal in keras.applications; there are "
                       f"{', '.join(PUBLISHED)}")


def _named(model, published) -> dict[str, keras.layers.Layer]:
    """Their name → our layer, of all that have weights."""
    try:
        return {published.name_of(layer.name): layer for layer in model.layers if layer.weights}
    except UnknownLayer as error:
        raise WeightsError(f"{model.name} has a layer {error}, which its namesake of `build` has not") from None


def _read(model, published, path) -> keras.Model:
    """Their network with the top, the size and the classes of ours, and the file's weights."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; what Keras downloads comes as a model, e.g. "
                           "keras.applications.ResNet50(weights=\"imagenet\")")
    if path.suffix not in ENDINGS:
        raise WeightsError(f"{path}: keras.applications' weights are in .h5 or .weights.h5 files")
    top = [layer for theirs, layer in _named(model, published).items() if theirs in CLASSIFIERS]
    classes = {"classes": top[0].weights[-1].shape[-1]} if top else {}
    found = published.build(weights=None, include_top=bool(top), input_shape=model.input_shape[1:], **classes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")             # what it warns of here, it raises or we do
            found.load_weights(path)
        left = _arrays(path) - len(found.weights) if path.name.endswith(".weights.h5") else 0
    except Exception as error:                          # a damaged file fails in whatever reader meets the damage
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path}: not the weights of keras.applications' {found.name}"
                           f"{'' if top else ' without its top'} ({reason})") from None
    if left:                                            # Keras reads over what it has no layer for
        raise WeightsError(f"{path}: {len(found.weights) + left} arrays, where keras.applications' {found.name}"
                           f"{'' if top else ' without its top'} has {len(found.weights)}")
    return found


def _arrays(path) -> int:
    """The arrays of the layers in a .weights.h5."""
    found = []
    with h5py.File(path) as file:
        file["layers"].visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return sum("seed_generator" not in name for name in found)
