"""What is special about the CIFAR networks of He et al. 2016: 6n + 2 layers, option A, and plain twins."""
import math

import keras
import numpy as np
import pytest
from zoo import IMAGES, anatomy_of, batch, network

from cnn_repro import layers as explicit
from cnn_repro.architectures import resnet


@pytest.mark.parametrize("depth, n", resnet.CIFAR.items())
def test_cifar_networks_have_6n_plus_2_weighted_layers_and_the_counted_multiply_adds(depth, n):
    found = anatomy_of(f"resnet{depth}_cifar")
    assert sum(row["multiply_adds"] > 0 for row in found["layers"]) == 6 * n + 2 == depth
    by_hand = 32 * 32 * 9 * 3 * 16 + 64 * 10
    for side, width in ((32, 16), (16, 32), (8, 64)):
        by_hand += 2 * n * side**2 * 9 * width**2 - (width > 16) * side**2 * 9 * width * width // 2
    assert found["multiply_adds"] == by_hand


@pytest.mark.parametrize("depth", [
    pytest.param(depth, marks=pytest.mark.slow if depth > 44 else []) for depth in resnet.CIFAR])
def test_plain_and_residual_networks_have_the_same_weights(depth):
    """Section 3.3: the shortcuts of option A add neither parameters nor multiply-adds."""
    residual, plain = anatomy_of(f"resnet{depth}_cifar"), anatomy_of(f"plain{depth}_cifar")
    weighted = lambda found: [(row["name"], row["output"], row["parameters"], row["multiply_adds"])   # noqa: E731
                              for row in found["layers"] if row["parameters"]]
    assert weighted(residual) == weighted(plain)
    assert any(row["type"] == "Add" for row in residual["layers"])
    assert not any(row["type"] in ("Add", "PadChannels") for row in plain["layers"])


def test_cifar_kernels_have_variance_2_over_fan_in_and_batch_norm_the_papers_constants():
    model = network("resnet56_cifar")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            fan_in = math.prod(layer.kernel.shape[:-1])
            assert float(np.std(layer.kernel)) == pytest.approx(math.sqrt(2 / fan_in), rel=0.12), layer.name
            assert not layer.use_bias
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


# --------------------------------------------------------------------------------------- option A, on its own

def shortcut_of(x: np.ndarray, width: int, stride: int) -> np.ndarray:
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, resnet.shortcut(inputs, width, stride, explicit, "block"))
    assert model.count_params() == 0
    return model(x).numpy()


def test_option_a_takes_every_second_pixel_and_appends_zero_channels():
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype("float32")
    y = shortcut_of(x, 5, 2)
    assert y.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], np.zeros((2, 3, 4, 2)))
    odd = np.random.default_rng(1).normal(size=(1, 7, 5, 2)).astype("float32")
    np.testing.assert_array_equal(shortcut_of(odd, 2, 2), odd[:, ::2, ::2])       # as many as a strided 3×3 has
    np.testing.assert_array_equal(shortcut_of(x, 3, 1), x)                        # inside a stage: the identity


def test_a_residual_block_with_dead_convolutions_is_its_shortcut():
    model = network("resnet20_cifar", include_top=False, input_shape=(16, 16, 3))
    for layer in model.layers:
        if layer.name.endswith("_2_bn"):                # γ = β = 0 behind F(x): y = ReLU(x), x ≥ 0
            layer.gamma.assign(np.zeros_like(layer.gamma))
    x, _ = batch(model, "resnet20_cifar")
    first = keras.Model(model.input, model.get_layer("conv1_out").output)(x).numpy()
    expected = np.zeros((IMAGES, 4, 4, 64), "float32")
    expected[..., :16] = first[:, ::4, ::4]
    np.testing.assert_array_equal(model(x).numpy(), expected)


@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar"])
def test_every_block_computes_its_figure(name):
    """Figure 2: y = ReLU(F(x) + shortcut), F two convolutions with a ReLU between; the plain twin y = ReLU(F(x))."""
    model = network(name)
    x, _ = batch(model, name)
    outputs = dict(zip([layer.name for layer in model.layers],
                       keras.Model(model.input, [layer.output for layer in model.layers])(x, training=True)))
    value = {layer: output.numpy() for layer, output in outputs.items()}
    inputs = {layer.name: layer.input._keras_history.operation.name for layer in model.layers
              if isinstance(layer, (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.ZeroPadding2D))}
    inputs = {layer: inputs.get(f"{layer}_pad", before) for layer, before in inputs.items()}
    before = "conv1_out"
    np.testing.assert_array_equal(value[before], np.maximum(value["conv1_bn"], 0))
    for block in (f"conv{stage}_{index}" for stage in (2, 3, 4) for index in (1, 2, 3)):
        assert inputs[f"{block}_1_conv"] == before and inputs[f"{block}_2_conv"] == f"{block}_1_relu"
        assert inputs[f"{block}_1_bn"] == f"{block}_1_conv" and inputs[f"{block}_2_bn"] == f"{block}_2_conv"
        np.testing.assert_array_equal(value[f"{block}_1_relu"], np.maximum(value[f"{block}_1_bn"], 0))
        total = value[f"{block}_2_bn"]
        if name.startswith("resnet"):
            step = value[before].shape[1] // total.shape[1]
            skipped = value[before][:, ::step, ::step]
            total = total + np.pad(skipped, [(0, 0)] * 3 + [(0, total.shape[-1] - skipped.shape[-1])])
        before = f"{block}_out"
        np.testing.assert_array_equal(value[before], np.maximum(total, 0))
    np.testing.assert_allclose(value["pool"], value[before].mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
