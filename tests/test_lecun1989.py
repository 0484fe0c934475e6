"""The network of 1989: unshared biases, a background of −1, eight of twelve maps."""
import keras
import numpy as np
import tensorflow as tf

from cnn_repro.architectures import build
from cnn_repro.layers import scaled_tanh


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("lecun1989", include_top=False)


def test_every_map_of_h2_sees_eight_maps_of_h1_and_is_one_of_eight_that_see_each():
    model = network()
    part = keras.Model(model.get_layer("H1_out").output, model.get_layer("H2_conv").output)
    maps = tf.constant(np.random.default_rng(0).normal(size=(1, 8, 8, 12)), tf.float32)
    sees = np.zeros((12, 12), bool)                                 # H2 by H1
    for k in range(12):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            total = tf.reduce_sum(part(maps)[..., k])
        sees[k] = np.abs(tape.gradient(total, maps).numpy()).sum(axis=(0, 1, 2)) > 0
    assert sees.sum(axis=1).tolist() == sees.sum(axis=0).tolist() == 12 * [8]
    assert len({tuple(row) for row in sees}) == 3                   # three schemes, four maps each


def test_the_border_is_background():
    """On an image of −1 all windows see the same, those over the border too."""
    model = network()
    values = keras.Model(model.input, model.get_layer("H1_conv").output)(-np.ones((1, 16, 16, 1), "float32")).numpy()
    np.testing.assert_allclose(values, np.broadcast_to(values[:, :1, :1], values.shape), rtol=1e-5, atol=1e-6)
    assert (np.abs(values) > 1e-3).any()


def test_every_unit_has_a_bias_of_its_own():
    model, random = network(), np.random.default_rng(0)
    x = random.normal(size=(3, 16, 16, 1)).astype("float32")
    outputs = [model.get_layer(name).output for name in ("H1_conv", "H1_on", "H1_out", "H2_on")]
    biases = random.normal(size=(64, 1, 12)).astype("float32")
    model.get_layer("H1_bias").set_weights([biases])
    conv, on, out, on_again = (value.numpy() for value in keras.Model(model.input, outputs)(x))
    np.testing.assert_array_equal(on, np.ones((3, 8, 8, 1)))        # whatever the image
    np.testing.assert_array_equal(on_again, np.ones((3, 4, 4, 1)))
    expected = scaled_tanh(conv + biases.reshape(1, 8, 8, 12))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_units_weights_and_connections_are_the_papers():
    """Figure 3 and the text: 768, 192, 30 and 10 units; 25 and 200 weights a map of H1 and H2."""
    model = build("lecun1989")
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")}
    assert shapes == {"H1_conv": (5, 5, 1, 12), "H1_bias": (64, 1, 12), "H2_conv": (5, 5, 8, 12),
                      "H2_bias": (16, 1, 12), "H3": (192, 30), "output": (30, 10)}
    for name, inputs in (("H1_conv", 25), ("H2_conv", 200), ("H3", 192), ("output", 30)):
        assert float(np.abs(model.get_layer(name).kernel).max()) <= 2.4 / np.sqrt(inputs), name
