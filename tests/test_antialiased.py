"""Anti-aliased networks: blurs where positions are left out, and with a filter of one tap the networks themselves."""
from functools import partial

import keras
import numpy as np
import pytest

from cnn_repro import layers as explicit
from cnn_repro.architectures import antialiased, build, describe, names, weightless
from cnn_repro.architectures.registry import Layers

ALL = [name for name in names() if name.rpartition("_")[2] in ("blur2", "blur3", "blur5")]
STRIDED = {"alexnet": ["conv1"], "vgg": [], "resnet": ["conv1_conv"], "densenet": ["convolution"],
           "mobilenet": ["conv1"]}
BLURS = {          # MaxBlurPooling2D, BlurPooling2D
    "alexnet": (3, 1), "vgg": (5, 0), "resnet": (1, 6), "densenet": (1, 3), "mobilenet": (0, 4)}


def family(name):
    return next(first for first in STRIDED if name.startswith(first))


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name.endswith("blur3") else pytest.mark.slow) for name in ALL])
def test_only_the_first_convolution_and_blurs_leave_positions_out(name):
    size = int(name[-1])
    with weightless():
        model = build(name)
    strided = [layer for layer in model.layers if max(np.ravel(getattr(layer, "strides", 1))) > 1]
    blurs = [layer for layer in strided if "Blur" in type(layer).__name__]
    assert [layer.name for layer in strided if layer not in blurs] == STRIDED[family(name)]
    for layer in blurs:
        taps = layer.blur_size if isinstance(layer, explicit.MaxBlurPooling2D) else layer.pool_size[0]
        assert (taps, layer.strides) == (size, (2, 2))
    kinds = [type(layer).__name__ for layer in blurs]
    assert (kinds.count("MaxBlurPooling2D"), kinds.count("BlurPooling2D")) == BLURS[family(name)]


def test_a_blur_stands_behind_the_relu():
    """Section 3.2: Relu ∘ Conv with a stride becomes Blur ∘ Relu ∘ Conv, not Relu ∘ Blur ∘ Conv."""
    for name in ("resnet50_blur3", "resnet18_blur3", "mobilenet_v2_blur3"):
        with weightless():
            blurs = [layer for layer in build(name).layers if type(layer).__name__ == "BlurPooling2D"]
        before = {layer.input._keras_history.operation for layer in blurs}
        assert all(isinstance(layer, keras.layers.ReLU) for layer in before), name


@pytest.mark.parametrize("base, other", [
    ("alexnet", "alexnet_torchvision"), ("vgg16", "vgg16"), ("vgg16_bn", "vgg16_bn"),
    ("resnet18", "resnet18_torchvision"), ("resnet34", "resnet34_torchvision"),
    ("resnet50", "resnet50_torchvision"),
    *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (
        ("resnet101", "resnet101_torchvision"), ("densenet121", "densenet121"))), ("mobilenet_v2", "mobilenet_v2_torchvision")])
def test_a_blur_adds_no_parameters(base, other):
    with weightless():
        plain = describe(build(other))["parameters"]
        blurred = {describe(build(f"{base}_blur{size}"))["parameters"] for size in (2, 3, 5)}
    assert blurred == {plain}


@pytest.mark.parametrize("base, other, side", [
    ("mobilenet_v2", "mobilenet_v2_torchvision", 32), ("alexnet", "alexnet_torchvision", 63), ("vgg16", "vgg16", 32)])
def test_a_filter_of_one_tap_gives_the_aliased_network(base, other, side):
    """Where the two differ in nothing else: ResNet pools 2×2, DenseNet averages."""
    body, inputs = antialiased.NETWORKS[base][0], keras.Input((side, side, 3))
    ours = keras.Model(inputs, partial(body, size=1)(inputs, Layers(explicit)))
    plain = build(other, input_shape=(side, side, 3), include_top=False)
    ours.set_weights(plain.get_weights())
    x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype("float32")
    np.testing.assert_allclose(ours(x), plain(x), rtol=1e-4, atol=1e-5)
