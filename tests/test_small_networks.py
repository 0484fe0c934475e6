"""ResNet-9, Conv-2/4/6 and the two networks of Deep Compression."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build


def test_resnet9_adds_what_is_behind_the_second_relu_and_leaves_the_sum_alone():
    model = build("resnet9_cifar", classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    names = [layer.name for layer in model.layers]
    every = keras.Model(model.input, [layer.output for layer in model.layers])
    value = dict(zip(names, every(x, training=True)))
    for name in ("layer1", "layer3"):
        expected = value[f"{name}_pool"] + value[f"{name}_res2_relu"]
        np.testing.assert_allclose(value[f"{name}_add"], expected, rtol=1e-6)
    assert [name for name in names if name.endswith("_add")] == ["layer1_add", "layer3_add"]
    assert model.get_layer("layer2_conv").input is model.get_layer("layer1_add").output
    np.testing.assert_allclose(value["classifier"], value["linear"] / 8, rtol=1e-6)


def test_resnet9_first_weights_are_torchs():
    """Uniform in ±1/√inputs; no biases, batch normalisation with momentum 0.9."""
    for layer in build("resnet9_cifar").layers:
        if hasattr(layer, "kernel"):
            bound = np.prod(layer.kernel.shape[:-1])**-0.5
            assert 0.99 * bound < float(np.abs(layer.kernel).max()) <= bound * (1 + 1e-6) and not layer.use_bias
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize("n, convolutions", [(2, 38_592), (4, 259_776), (6, 1_144_512)])
def test_conv_n_has_n_convolutions_with_figure_2s_weights(n, convolutions):
    layers = build(f"conv{n}_cifar").layers
    kernels = [layer.kernel for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == n and sum(np.prod(kernel.shape) for kernel in kernels) == convolutions
    assert [layer.units for layer in layers if isinstance(layer, keras.layers.Dense)] == [256, 256, 10]


def test_caffes_lenet_has_one_relu_and_first_weights_of_variance_one_over_inputs():
    layers = [layer for layer in build("lenet5_caffe").layers if hasattr(layer, "kernel")]
    assert [layer.activation.__name__ for layer in layers] == ["linear", "linear", "relu", "linear"]
    for layer in layers[1:]:
        inputs = np.prod(layer.kernel.shape[:-1])
        assert float(np.var(layer.kernel)) == pytest.approx(1 / inputs, rel=0.05), layer.name
        assert float(np.abs(layer.kernel).max()) <= np.sqrt(3 / inputs) * (1 + 1e-6)


def test_lenet300_100_without_its_head_is_the_image():
    x = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    np.testing.assert_array_equal(build("lenet300_100", include_top=False)(x), x)
