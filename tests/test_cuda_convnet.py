"""cuda-convnet's networks: pools over the border, locally connected layers."""
import keras
import numpy as np
import pytest

from cnn_repro import layers as L
from cnn_repro.architectures import build, describe
from cnn_repro.architectures.cuda_convnet import average_pool


@pytest.mark.parametrize("rows, columns", [(8, 8), (7, 7), (6, 10), (5, 9), (8, 7)])
@pytest.mark.parametrize("known", [True, False])
def test_an_average_over_the_border_is_that_of_the_pixels_there_are(rows, columns, known):
    x = np.random.default_rng(0).normal(size=(2, rows, columns, 3)).astype("float32")
    inputs = keras.Input(x.shape[1:] if known else (None, None, 3))
    y = keras.Model(inputs, average_pool(inputs, L, "pool"))(x).numpy()
    outputs = [-(-(n - 3) // 2) + 1 for n in (rows, columns)]                   # Caffe's and cuda-convnet's
    assert y.shape[1:3] == tuple(outputs)
    for p in range(outputs[0]):
        for q in range(outputs[1]):
            window = x[:, 2 * p:2 * p + 3, 2 * q:2 * q + 3]
            np.testing.assert_allclose(y[:, p, q], window.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_local_layers_share_nothing():
    model = build("cuda_convnet_11pct_cifar")
    local3, local4 = model.get_layer("local3"), model.get_layer("local4")
    assert isinstance(local3, L.LocallyConnected2D) and isinstance(local4, L.LocallyConnected2D)
    assert local3.kernel.shape == (36, 9 * 64, 64) and local3.bias.shape == (6, 6, 64)
    assert local4.kernel.shape == (36, 9 * 64, 32) and local4.bias.shape == (6, 6, 32)
    for layer, deviation in (("conv1", 1e-4), ("conv2", 0.01), ("local3", 0.04), ("local4", 0.04), ("fc10", 0.01)):
        assert float(np.std(model.get_layer(layer).kernel)) == pytest.approx(deviation, rel=0.05), layer


def test_normalisation_is_that_of_the_files():
    """11 %: rnorm1 behind pool1, rnorm2 in front of pool2, across nine maps; 13 %: none."""
    order = [layer.name for layer in build("cuda_convnet_11pct_cifar").layers]
    assert [name for name in order if name.startswith(("pool", "rnorm")) and not name.endswith("_pad")] == [
        "pool1", "rnorm1", "rnorm2", "pool2"]
    norm = build("cuda_convnet_11pct_cifar").get_layer("rnorm1")
    assert (norm.depth, norm.bias, norm.beta) == (9, 1, 0.75) and norm.alpha == pytest.approx(0.001 / 9)
    assert not any("norm" in layer.name for layer in build("cuda_convnet_13pct_cifar").layers)


def test_the_network_of_18_percent_normalises_within_its_maps_behind_its_first_pools():
    model = build("cuda_convnet_18pct_cifar")
    norms = [layer for layer in model.layers if isinstance(layer, L.MapResponseNormalization)]
    assert [norm.input._keras_history.operation.name for norm in norms] == ["pool1", "pool2"]
    for norm in norms:
        assert (norm.depth, norm.bias, norm.beta) == (3, 1, 0.75) and norm.alpha == pytest.approx(5e-5 / 9)
    fields = {row["name"]: row["receptive_field"] for row in describe(model)["layers"]}
    assert (fields["conv1"], fields["pool1"], fields["rnorm1"]) == (5, 5 + 2, 5 + 2 + 2 * 2)    # two pixels a step


def test_caffe_has_no_relu_between_the_dense_layers():
    assert build("cuda_convnet_26pct_cifar").get_layer("fc64").activation.__name__ == "relu"
    assert build("caffe_quick_cifar").get_layer("ip1").activation.__name__ == "linear"
