"""The ResNets of table 1: shortcuts A, B and C, where the stride is, and the networks of other projects."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, find

SMALL = (32, 32, 3)


def kinds(name):
    return {layer.name: layer for layer in build(name, input_shape=SMALL).layers}


@pytest.mark.parametrize("name, projected, padded", [
    ("resnet18", 3, 0), ("resnet34", 3, 0), ("resnet50", 4, 0),                     # B: where the shape changes
    ("resnet18_a", 0, 3), ("resnet34_a", 0, 3),                                     # A
    ("resnet34_c", 16, 0),                                                          # C: every block
    ("plain18", 0, 0), ("plain34", 0, 0)])
def test_shortcuts_are_those_of_section_3_3(name, projected, padded):
    layers = kinds(name)
    assert sum(layer.endswith("_0_conv") for layer in layers) == projected
    assert sum(type(layer).__name__ == "PadChannels" for layer in layers.values()) == padded
    assert any(isinstance(layer, keras.layers.Add) for layer in layers.values()) == ("plain" not in name)


def test_the_plain_network_is_the_residual_one_of_option_a_without_its_shortcuts():
    residual, plain = (build(name, input_shape=SMALL) for name in ("resnet18_a", "plain18"))
    assert [(w.path, w.shape) for w in residual.weights] == [(w.path, w.shape) for w in plain.weights]


@pytest.mark.parametrize("name, first, second", [("resnet50", 2, 1), ("resnet50_torchvision", 1, 2),
                                                 ("resnet50_keras", 2, 1)])
def test_the_stride_of_a_bottleneck(name, first, second):
    layers = kinds(name)
    for stage in (3, 4, 5):
        assert layers[f"conv{stage}_1_1_conv"].strides == (first, first)
        assert layers[f"conv{stage}_1_2_conv"].strides == (second, second)
        assert layers[f"conv{stage}_1_0_conv"].strides == (2, 2)
        assert layers[f"conv{stage}_2_1_conv"].strides == layers[f"conv{stage}_2_2_conv"].strides == (1, 1)


@pytest.mark.parametrize("name, border", [("resnet18", ((0, 1), (0, 1))), ("resnet18_torchvision", ((1, 1), (1, 1))),
                                          ("resnet50_keras", ((1, 1), (1, 1)))])
def test_the_max_pooling_hangs_over_the_border_or_is_padded(name, border):
    assert kinds(name)["conv2_pool_pad"].padding == border


def test_initial_weights_count_inputs_and_torchvisions_outputs():
    for name, fan in (("resnet18", 9 * 256), ("resnet18_torchvision", 9 * 512)):
        kernel = kinds(name)["conv5_1_1_conv"].kernel
        assert float(np.var(kernel)) == pytest.approx(2 / fan, rel=0.02)


def test_constants_of_batch_normalisation_and_biases():
    for name, epsilon, momentum, biased in (("resnet50", 1e-5, 0.9, False),
                                            ("resnet50_torchvision", 1e-5, 0.9, False),
                                            ("resnet50_keras", 1.001e-5, 0.99, True)):
        for layer in kinds(name).values():
            if isinstance(layer, keras.layers.BatchNormalization):
                assert (layer.epsilon, layer.momentum) == (epsilon, momentum)
            elif isinstance(layer, keras.layers.Conv2D):
                assert layer.use_bias == biased


def test_what_is_not_the_papers_says_so():
    for depth in (18, 34, 50, 101, 152):
        assert not find(f"resnet{depth}").differs and find(f"resnet{depth}_torchvision").differs
    assert find("resnet50_keras").differs and find("resnet50v2_keras").differs
