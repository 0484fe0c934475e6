"""VGG's configurations, and batch normalisation added to them."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, find


@pytest.mark.parametrize("name", ["vgg11", "vgg11_lrn", "vgg13", "vgg16_c", "vgg16", "vgg19"])
def test_configurations_have_their_number_of_weighted_layers(name):
    """Table 1: 3×3 windows; in C the third convolution of the last three stages is 1×1."""
    layers = build(name, input_shape=(32, 32, 3)).layers
    sizes = {layer.name: layer.kernel_size for layer in layers if isinstance(layer, keras.layers.Conv2D)}
    assert len(sizes) + 3 == int(name[3:5])
    ones = {f"conv{stage}_3_conv" for stage in (3, 4, 5)} if name == "vgg16_c" else set()
    assert {layer for layer, size in sizes.items() if size == (1, 1)} == ones
    assert set(sizes.values()) <= {(3, 3), (1, 1)}


def test_a_lrn_is_a_with_response_normalisation_behind_conv1():
    a, normalised = (build(name, input_shape=(32, 32, 3)) for name in ("vgg11", "vgg11_lrn"))
    names = [layer.name for layer in normalised.layers]
    assert names.pop(names.index("conv1_1_conv") + 1) == "conv1_norm"
    assert names == [layer.name for layer in a.layers]
    assert [w.shape for w in a.weights] == [w.shape for w in normalised.weights]


def test_batch_normalisation_by_the_identity_gives_the_plain_network():
    plain, normalised = (build(name, classifier_activation=None) for name in ("vgg16_cifar", "vgg16_bn_cifar"))
    random = np.random.default_rng(0)
    for layer in normalised.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)
            layer.gamma.assign(np.full(layer.gamma.shape, np.sqrt(1 + layer.epsilon)))
        elif hasattr(layer, "kernel"):
            assert layer.use_bias
            layer.bias.assign(random.normal(0, 0.1, layer.bias.shape))
            plain.get_layer(layer.name).set_weights(layer.get_weights())
    x = random.normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(normalised(x), plain(x), rtol=1e-3, atol=1e-4)


def test_first_weights_are_glorots_and_torchvisions():
    ours = build("vgg16", input_shape=(32, 32, 3)).get_layer("conv3_2_conv").kernel
    assert float(np.var(ours)) == pytest.approx(2 / (9 * 256 + 9 * 256), rel=0.02)
    assert float(np.abs(ours).max()) <= np.sqrt(3 * 2 / (9 * 512))                 # uniform
    theirs = build("vgg16_bn", input_shape=(32, 32, 3))
    assert float(np.var(theirs.get_layer("conv3_1_conv").kernel)) == pytest.approx(2 / (9 * 256), rel=0.02)
    assert float(np.std(theirs.get_layer("fc7").kernel)) == pytest.approx(0.01, rel=0.01)


def test_what_is_not_the_papers_says_so():
    for name in ("vgg11_bn", "vgg19_bn", "vgg11_bn_cifar", "vgg16_cifar"):
        assert find(name).differs
    assert not any(find(name).differs for name in ("vgg11", "vgg11_lrn", "vgg13", "vgg16_c", "vgg16", "vgg19"))
