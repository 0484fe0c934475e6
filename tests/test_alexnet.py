"""AlexNet's two GPUs, and what its namesakes do differently."""
import keras
import numpy as np
import pytest

from cnn_repro import layers as L
from cnn_repro.architectures import alexnet, build, find


def drawn(name: str) -> tuple[keras.Model, np.ndarray]:
    """The features of a network on the smallest images, with weights large enough to tell maps apart."""
    keras.utils.set_random_seed(0)
    model = build(name, input_shape=find(name).smallest, include_top=False)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            fan_in = np.prod(layer.kernel.shape[:-1])
            layer.kernel.assign(random.normal(0, np.sqrt(2 / fan_in), layer.kernel.shape))
            layer.bias.assign(random.normal(0, 0.1, layer.bias.shape))
    return model, random.normal(size=(2, *find(name).smallest)).astype("float32")


def test_two_groups_are_two_towers_that_meet_where_the_paper_says():
    """Section 3.2: each GPU has half of the kernels; conv3 sees all maps, conv2, 4 and 5 those of their GPU."""
    model, x = drawn("alexnet")
    weights = {layer.name: [np.array(w) for w in layer.get_weights()] for layer in model.layers}

    def half(name, gpu):
        return [np.split(w, 2, axis=-1)[gpu] for w in weights[name]]

    def tower(x, name, gpu):
        kernel, bias = half(name, gpu)
        _, _, stride, pad, *_ = alexnet.CONVOLUTIONS[name]
        x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        return np.maximum(keras.ops.conv(x, kernel, strides=stride) + bias, 0)

    def both(halves):                   # the maps of both GPUs, and back to each
        joined = np.array(L.normalize_response(np.concatenate(halves, -1)))
        return np.split(np.array(L.MaxPooling2D(3, strides=2)(joined)), 2, axis=-1)

    gpus = both([tower(x, "conv1", gpu) for gpu in (0, 1)])
    gpus = both([tower(gpus[gpu], "conv2", gpu) for gpu in (0, 1)])
    gpus = [tower(np.concatenate(gpus, -1), "conv3", gpu) for gpu in (0, 1)]
    for name in ("conv4", "conv5"):
        gpus = [tower(gpus[gpu], name, gpu) for gpu in (0, 1)]
    expected = L.MaxPooling2D(3, strides=2)(np.concatenate(gpus, -1))
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    assert float(np.abs(expected).max()) > 0.1


def test_one_tower_without_the_weights_between_the_gpus_is_two():
    two, x = drawn("alexnet")
    one, _ = drawn("alexnet_one_tower")
    for layer in two.layers:
        if not layer.get_weights():
            continue
        kernel, bias = layer.get_weights()
        wide = np.zeros(one.get_layer(layer.name).kernel.shape, "float32")
        groups = wide.shape[2] // kernel.shape[2]
        for group, part in enumerate(np.split(kernel, groups, axis=-1)):
            c, k = kernel.shape[2], part.shape[-1]
            wide[:, :, group * c:(group + 1) * c, group * k:(group + 1) * k] = part
        one.get_layer(layer.name).set_weights([wide, bias])
    np.testing.assert_allclose(one(x), two(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, ones", [
    ("alexnet", {"conv2", "conv4", "conv5", "fc6", "fc7"}), ("caffenet", {"conv2", "conv4", "conv5", "fc6", "fc7"})])
def test_the_biases_that_begin_at_one(name, ones):
    """Section 5: so that their ReLUs see positive values at first."""
    model = build(name, input_shape=find(name).smallest)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            assert np.unique(layer.bias).tolist() == [float(layer.name in ones)], layer.name
            deviation = 0.005 if name == "caffenet" and layer.name in ("fc6", "fc7") else 0.01
            assert float(np.std(layer.kernel)) == pytest.approx(deviation, rel=0.05), layer.name


def test_the_paper_normalises_before_it_pools_and_caffenet_behind():
    order = {name: [layer.name for layer in build(name, input_shape=(67, 67, 3)).layers
                    if layer.name[:4] in ("norm", "pool")] for name in ("alexnet", "caffenet", "alexnet_torchvision")}
    assert order["alexnet"] == ["norm1", "pool1", "norm2", "pool2", "pool5"]
    assert order["caffenet"] == ["pool1", "norm1", "pool2", "norm2", "pool5"]
    assert order["alexnet_torchvision"] == ["pool1", "pool2", "pool5"]


def test_the_constants_of_response_normalisation():
    """Section 3.3, k = 2; Caffe's k is 1, and it divides α by the five maps."""
    of = lambda name: build(name, input_shape=(67, 67, 3)).get_layer("norm1")                   # noqa: E731
    assert (of("alexnet").depth, of("alexnet").bias, of("alexnet").alpha, of("alexnet").beta) == (5, 2, 1e-4, 0.75)
    assert (of("caffenet").depth, of("caffenet").bias, of("caffenet").beta) == (5, 1, 0.75)
    assert of("caffenet").alpha == pytest.approx(2e-5)


def test_torchvisions_first_weights_and_biases_are_uniform_in_one_over_root_of_inputs():
    model = build("alexnet_torchvision", input_shape=(63, 63, 3))
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            bound = np.prod(layer.kernel.shape[:-1])**-0.5
            for values in (layer.kernel, layer.bias):
                assert 0.9 * bound < float(np.abs(values).max()) <= bound * (1 + 1e-6), layer.name
