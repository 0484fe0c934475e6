"""torchvision's weights on our networks: the same logits, of weights and statistics as torchvision_rule.py draws."""
import functools
import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file
from torchvision_rule import FOLDER, NETWORKS, drawn, images, reference

from cnn_repro.architectures import WeightsError, build, find, load_torchvision, torchvision_names

# One of every family where it is cheap; AlexNet and VGG have a dense layer of 38 and 103 million weights.
QUICK = ("squeezenet_1_1", "resnet18_torchvision", "mobilenet_v2_torchvision", "googlenet_torchvision",
         "densenet121")


def quick_first(names):
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in names]


def network(name: str, **arguments) -> keras.Model:
    """For the images of the reference, giving logits."""
    side = NETWORKS[name][1]
    return build(name, **{"input_shape": (side, side, 3), "classifier_activation": None, **arguments})


@functools.lru_cache(maxsize=1)
def weights_of(name: str) -> dict[str, np.ndarray]:
    return drawn(reference(name)[0])


def written(folder, weights) -> Path:
    path = folder / "weights.safetensors"
    save_file({key: np.ascontiguousarray(array) for key, array in weights.items()}, path)
    return path


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def logits(model, name, count=2):
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(model(images(NETWORKS[name][1])[:count]))]


def fails(model, path) -> str:
    """What load_torchvision says, in one line; and no weight has changed."""
    before = model.get_weights()
    with pytest.raises(WeightsError) as caught:
        load_torchvision(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 400, said
    return said


# ---------------------------------------------------------------------------------------------- the networks

@pytest.mark.parametrize("name", quick_first(NETWORKS))
def test_the_outputs_are_torchvisions(name, tmp_path):
    model, path = network(name), written(tmp_path, weights_of(name))
    assert load_torchvision(model, path) is model
    path.unlink()                                       # half a gigabyte for a VGG
    same(logits(model, name)[0], reference(name)[1]["logits"])


@pytest.mark.parametrize("name, classifiers", [
    ("googlenet_torchvision", ("aux1", "aux2")),
    pytest.param("inception_v3_torchvision", ("AuxLogits",), marks=pytest.mark.slow)])
def test_auxiliary_classifiers_are_torchvisions_too(name, classifiers, tmp_path):
    expected = reference(name)[1]
    model = network(name, auxiliary=True)
    load_torchvision(model, written(tmp_path, weights_of(name)))
    for found, key in zip(logits(model, name), ("logits", *classifiers), strict=True):
        same(found, expected[key])


def test_every_network_has_its_reference_and_is_registered():
    assert list(torchvision_names.NAMINGS) == list(NETWORKS)
    assert all(find(name).name == name for name in NETWORKS)
    assert {path.stem for path in FOLDER.iterdir()} == {theirs for theirs, _ in NETWORKS.values()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2**20


def test_the_rule_draws_what_it_drew():
    """Otherwise NumPy's generator has changed: run make_torchvision_reference.py again."""
    found = [float(x) for x in weights_of("squeezenet_1_1")["features.0.bias"][:3]]
    assert found == pytest.approx([0.22337835, -0.28757063, 0.20267624], rel=1e-6)


# --------------------------------------------------------------------------------------- other ways to build

def test_without_its_top_a_network_leaves_the_classifier_out(tmp_path):
    name = "resnet18_torchvision"
    path = written(tmp_path, weights_of(name))
    whole, features = network(name), network(name, include_top=False, pooling="avg")
    load_torchvision(whole, path)
    load_torchvision(features, path)
    pooled = keras.Model(whole.input, whole.get_layer("pool").output)
    np.testing.assert_allclose(*(logits(model, name)[0] for model in (pooled, features)), rtol=1e-6)


def test_stock_layers_take_the_same_weights(tmp_path):
    name = "mobilenet_v2_torchvision"
    model = network(name, layers=keras.layers)
    load_torchvision(model, written(tmp_path, weights_of(name)))
    same(logits(model, name)[0], reference(name)[1]["logits"])


def test_older_files_of_densenet_and_files_without_counts(tmp_path):
    """norm.1 for norm1 and conv.2 for conv2 in dense layers; num_batches_tracked came later."""
    name = "densenet121"
    old = {key.replace(".norm1.", ".norm.1.").replace(".norm2.", ".norm.2.").replace(".conv1.", ".conv.1.")
           .replace(".conv2.", ".conv.2."): array
           for key, array in weights_of(name).items() if not key.endswith("num_batches_tracked")}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    model = network(name, input_shape=(32, 32, 3))
    first = load_torchvision(model, written(tmp_path, old)).get_weights()
    load_torchvision(model, written(tmp_path, weights_of(name)))
    for one, other in zip(first, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    key = "features.denseblock1.denselayer1.norm1.weight"
    assert f"has {key} twice" in fails(model, written(tmp_path, {**old, key: weights_of(name)[key]}))


@pytest.mark.slow
def test_channels_first_flattens_in_the_same_order(tmp_path):
    name = "googlenet_torchvision"
    path = written(tmp_path, weights_of(name))
    last = network(name, auxiliary=True)
    keras.config.set_image_data_format("channels_first")
    try:
        first = network(name, auxiliary=True)
        load_torchvision(first, path)
    finally:
        keras.config.set_image_data_format("channels_last")
    load_torchvision(last, path)
    for one, other in zip(first.weights, last.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_become_the_networks(dtype, tmp_path):
    name = "squeezenet_1_1"
    model = network(name)
    other = {key: array.astype(dtype) for key, array in weights_of(name).items()}
    load_torchvision(model, written(tmp_path, other))
    expected = reference(name)[1]["logits"]
    assert model.weights[0].dtype == "float32"
    np.testing.assert_allclose(logits(model, name)[0], expected, atol=3e-3 * np.abs(expected).max())


# --------------------------------------------------------------------------------------------------- PyTorch

torch_is_here = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@torch_is_here
@pytest.mark.parametrize("ending, zipped", [(".pth", True), (".pt", False)])
def test_a_file_of_pytorch(ending, zipped, tmp_path):
    import torch
    name, path = "squeezenet_1_1", tmp_path / f"weights{ending}"
    state = {key: torch.nn.Parameter(torch.from_numpy(array)) for key, array in weights_of(name).items()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    model = network(name)
    load_torchvision(model, path)
    same(logits(model, name)[0], reference(name)[1]["logits"])


@torch_is_here
def test_bfloat16_as_the_float32_that_it_is(tmp_path):
    import torch
    from safetensors.torch import save_file as save_torch
    name = "squeezenet_1_1"
    state = {key: torch.from_numpy(array).bfloat16() for key, array in weights_of(name).items()}
    torch.save(state, tmp_path / "weights.pth")
    save_torch(state, tmp_path / "weights.safetensors")
    model = network(name)
    for path in (tmp_path / "weights.pth", tmp_path / "weights.safetensors"):
        load_torchvision(model, path)
        np.testing.assert_array_equal(model.get_layer("conv1").bias, state["features.0.bias"].float().numpy())


@torch_is_here
def test_pytorch_reads_tensors_alone(tmp_path):
    import torch
    model, path = network("squeezenet_1_1"), tmp_path / "weights.pth"
    torch.save({"model": {"features.0.bias": torch.zeros(64)}, "epoch": 3}, path)
    assert "weights.pth holds a dict of model, epoch: it has to be a state_dict alone" in fails(model, path)
    torch.save(torch.nn.Linear(2, 2), path)                                     # a pickle that would run code
    assert "weights.pth holds more than tensors, or is damaged: it has to be a state_dict alone" in fails(model, path)


@torch_is_here
@pytest.mark.parametrize("kept", [0, 3, 500, -100])
def test_damaged_files_of_pytorch(kept, tmp_path):
    import torch
    path = tmp_path / "weights.pth"
    torch.save({key: torch.from_numpy(array) for key, array in weights_of("squeezenet_1_1").items()}, path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "weights.pth" in fails(network("squeezenet_1_1"), path)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="the backend is PyTorch")
def test_without_pytorch_its_files_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"anything")
    assert "is not installed: `pip install torch`" in fails(network("squeezenet_1_1"), path)


# --------------------------------------------------------------------------------------------- what is wrong

def test_names_and_shapes_that_differ_are_named(tmp_path):
    name, held = "squeezenet_1_1", weights_of("squeezenet_1_1")
    model, key = network(name), "features.3.squeeze.weight"
    without = {other: array for other, array in held.items() if other != key}
    cases = {
        f"does not fit {name}: it lacks {key}": without,
        f"does not fit {name}: it has left over features.99.weight": {**held, "features.99.weight": held[key]},
        f"does not fit {name}: {key} is 64×16×1×1 instead of 16×64×1×1":
            {**held, key: held[key].transpose(1, 0, 2, 3)},
        f"{key} is of int64 instead of real numbers": {**held, key: np.rint(held[key]).astype("int64")},
        f"it lacks {key}; it has left over {key}_": {**without, f"{key}_": held[key]},
    }
    for said, weights in cases.items():
        assert fails(model, written(tmp_path, weights)).endswith(said), said


def test_a_file_of_another_network(tmp_path):
    path = written(tmp_path, weights_of("squeezenet_1_1"))
    assert "it lacks conv1.weight, bn1.weight and 100 more" in fails(network("resnet18_torchvision"), path)
    assert "it lacks features.5.squeeze.weight, " in fails(network("squeezenet"), path)         # release 1.0, not 1.1


def test_other_classes_need_the_network_without_its_top(tmp_path):
    said = fails(network("squeezenet_1_1", classes=10), written(tmp_path, weights_of("squeezenet_1_1")))
    assert "classifier.1.weight is 1000×512×1×1 instead of 10×512×1×1" in said


def test_auxiliary_classifiers_that_a_file_lacks(tmp_path):
    name = "googlenet_torchvision"
    held = {key: array for key, array in weights_of(name).items() if not key.startswith("aux2.")}
    said = fails(network(name, auxiliary=True), written(tmp_path, held))
    assert "it lacks aux2.conv.conv.weight" in said


def test_dense_layers_behind_maps_of_another_size(tmp_path):
    """Found by the shapes alone: no 410 MB are drawn for it."""
    shapes = {"classifier.0.weight": (4096, 512 * 7 * 7)}
    model = build("vgg11", input_shape=(64, 64, 3))
    path = written(tmp_path, {key: np.zeros(shape, "float16") for key, shape in shapes.items()})
    assert fails(model, path) == ("vgg11 has maps of 2×2 in front of fc6, weights.safetensors is for 7×7: build it "
                                  "with input_shape=(224, 224, 3)")


@pytest.mark.parametrize("name, said", [
    ("resnet50", "build 'resnet50_torchvision' (stride in the 3×3 convolution"),
    ("resnet50_keras", "build 'resnet50_torchvision' (stride in the 3×3 convolution"),
    ("densenet121_keras", "build 'densenet121' (epsilon 1.001e-5"),
    ("alexnet", "build 'alexnet_torchvision' (one tower"),
    ("lenet5", "torchvision has no weights for 'lenet5': it has them for alexnet_torchvision, ")])
def test_a_network_that_differs_names_the_one_that_fits(name, said):
    with pytest.raises(WeightsError) as caught:
        load_torchvision(keras.Sequential(name=name), "weights.safetensors")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_layer_of_ones_own(tmp_path):
    inside = network("resnet18_torchvision", include_top=False, pooling="avg")
    model = keras.Model(inside.input, keras.layers.Dense(2, name="mine")(inside.output), name=inside.name)
    said = fails(model, tmp_path / "weights.safetensors")
    assert said == "resnet18_torchvision has a layer that torchvision's has not: mine (Dense)"


def test_files_that_cannot_be_read(tmp_path):
    model = network("squeezenet_1_1")
    assert "there is no file" in fails(model, tmp_path / "weights.safetensors")
    path = written(tmp_path, weights_of("squeezenet_1_1"))
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:5], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        assert "weights.safetensors is not a whole safetensors file" in fails(model, path)
    other = tmp_path / "weights.h5"
    other.write_bytes(whole)
    assert "weights.h5 is none of .safetensors, .pth, .pt" in fails(model, other)
