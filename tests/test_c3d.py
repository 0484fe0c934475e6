"""C3D: the classes of UCF101, and the pooling that hangs over the border."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, c3d, describe, weightless


def test_101_classes():
    """published/canonical_params.csv: rebuilt in PyTorch and counted."""
    with weightless():
        found = describe(build("c3d", classes=101))
    assert (found["parameters"], found["multiply_adds"], found["depth"]) == (78_409_573, 38_547_378_176, 11)


def test_fc6_sees_512_maps_of_four_by_four():
    with weightless():
        model = build("c3d")
    assert model.get_layer("pool5_pad").padding == ((0, 0), (0, 1), (0, 1))
    assert model.get_layer("fc6").kernel.shape == (8192, 4096)
    assert not any(name.endswith("_pad") for name in (layer.name for layer in model.layers) if name != "pool5_pad")


@pytest.mark.parametrize("space", [(2, 5, 4), (None, None, None)])
def test_the_last_window_takes_what_there_is(space):
    inputs = keras.Input((*space, 1))
    model = keras.Model(inputs, c3d.max_pool(inputs, (2, 2, 2), keras.layers, "pool"))
    x = np.random.default_rng(0).uniform(size=(1, 2, 5, 4, 1)).astype("float32")
    y = model(x).numpy()
    assert y.shape == (1, 1, 3, 2, 1)
    np.testing.assert_array_equal(y[0, 0, 2, :, 0], x[0, :, 4, :, 0].max(axis=0).reshape(2, 2).max(axis=1))


def test_first_weights_and_biases():
    with weightless():
        layers = {layer.name: layer for layer in build("c3d").layers}
    biases = {name: layer.bias_initializer.value for name, layer in layers.items()
              if hasattr(layer, "bias_initializer")}
    assert {name for name, bias in biases.items() if bias == 0} == {"conv1a", "fc8"}
    assert {bias for bias in biases.values()} == {0, 1}
    assert layers["fc6"].kernel_initializer.stddev == 0.005 and layers["conv5b"].kernel_initializer.stddev == 0.01
