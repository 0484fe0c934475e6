"""Network in Network: a perceptron at every pixel."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build


def test_an_mlpconv_layer_is_a_perceptron_that_slides_over_the_image():
    """Section 3.1: the same three dense layers, each with its ReLU, on every 5×5 window."""
    model = build("nin_cifar", input_shape=(16, 16, 3), include_top=False)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
    values = keras.Model(model.input, model.get_layer("mlpconv1_cccp2").output)(x).numpy()
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    for row, column in ((0, 0), (3, 7), (15, 15)):
        unit = padded[:, row:row + 5, column:column + 5].reshape(1, -1)
        for part in ("conv", "cccp1", "cccp2"):
            kernel, bias = model.get_layer(f"mlpconv1_{part}").get_weights()
            unit = np.maximum(unit @ kernel.reshape(-1, kernel.shape[-1]) + bias, 0)
        np.testing.assert_allclose(values[:, row, column], unit, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, pools, dropouts", [
    ("nin_cifar", ["pool1", "pool2", "pool"], ["pool1_dropout", "pool2_dropout"]),
    ("nin", ["pool1", "pool2", "pool3", "pool"], ["pool3_dropout"])])
def test_a_relu_behind_every_convolution_and_no_dense_layer(name, pools, dropouts):
    layers = build(name, input_shape=(67, 67, 3)).layers
    kinds = lambda kind: [layer for layer in layers if isinstance(layer, kind)]                 # noqa: E731
    assert {layer.activation.__name__ for layer in kinds(keras.layers.Conv2D)} == {"relu"}
    assert not kinds(keras.layers.Dense)
    assert [layer.name for layer in kinds((keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D))] == pools
    assert [(layer.name, layer.rate) for layer in kinds(keras.layers.Dropout)] == [(each, 0.5) for each in dropouts]


def test_the_last_window_of_a_pool_hangs_over_the_border():
    """32 → 16 → 8, the 8×8 window of the authors' last pool; rounded down it would be 32 → 15 → 7."""
    model = build("nin_cifar")
    assert [model.get_layer(f"pool{index}").output.shape[1:3] for index in (1, 2)] == [(16, 16), (8, 8)]


@pytest.mark.parametrize("name, deviations", [
    ("nin_cifar", 9 * [0.05]), ("nin", [0.01, 0.05, 0.05] + 3 * [0.05] + [0.01, 0.05, 0.05] + [0.05, 0.05, 0.01])])
def test_first_weights_are_those_of_the_authors_files(name, deviations):
    kernels = [layer.kernel for layer in build(name, input_shape=(67, 67, 3)).layers if hasattr(layer, "kernel")]
    assert [float(np.std(kernel)) for kernel in kernels] == pytest.approx(deviations, rel=0.07)
