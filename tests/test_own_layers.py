"""The layers that Keras has none of: LeNet-5's, the zero-padded shortcut, scores with names; initial weights."""
import keras
import numpy as np
import operators
import passes
import pytest
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.architectures.lenet import C3
from cnn_repro.layers import reference
from cnn_repro.repro.check import error_of

CENTRES = [[1, -1, 1, -1], [-1, 1, -1, 1], [1, 1, -1, -1]]
OWN = operators.every("OWN")


@pytest.mark.parametrize("name, shape, arguments", OWN, ids=[passes.called(name, rest) for name, _, rest in OWN])
def test_config_and_shape(name, shape, arguments):
    keras.utils.set_random_seed(0)
    layer = getattr(L, name)(name="layer", **arguments)
    x = passes.drawn(shape, dtype="float32")
    y = layer(x)
    assert layer.compute_output_shape(shape) == y.shape
    assert layer.compute_output_shape(passes.resized(shape, None)) == (None, *y.shape[1:])
    symbols = [keras.Input(one.shape[1:]) for one in passes.named(x).values()]
    assert layer(symbols if isinstance(shape, list) else symbols[0]).shape == (None, *y.shape[1:])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer) and again.get_config() == layer.get_config()
    if not again.built:
        again.build(shape)
    again.set_weights(layer.get_weights())
    assert error_of(again(x), y) == 0


@pytest.mark.parametrize("name, shape, arguments, message", operators.every("OWN_WRONG"))
def test_shape_errors_say_what_is_wrong(name, shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(L, name)(**arguments)(passes.drawn(shape, dtype="float32"))


@pytest.mark.parametrize("name, shapes, arguments, message", operators.every("CALLS_WRONG"))
def test_functions_say_in_one_line_what_is_wrong(name, shapes, arguments, message):
    """Not what a backend makes of it: its own text, numbers from anywhere in memory, the end of the process."""
    with pytest.raises(ValueError, match=message) as error:
        getattr(L, name)(*passes.drawn(shapes, dtype="float32"), **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loss", [lambda labels, z: L.map_loss(labels, z, 1.0), L.margin_loss, L.softmax_cross_entropy])
def test_a_number_that_is_no_class_has_no_loss(loss):
    found = array(loss(np.array([0, 3, -1, 2]), numbers(4, 3, dtype="float32")))
    assert np.isnan(found).tolist() == [False, True, True, False]


@pytest.mark.parametrize("make", [
    lambda **rest: L.TableConv2D([(0, 1), (1, 3)], 2, activation="tanh", **rest),
    lambda **rest: L.Subsampling2D(2, **rest),
    lambda **rest: L.PrimaryCapsules(2, 3, 3, strides=2, **rest),
    lambda **rest: L.NonLocal("dot_product", normalize=False, subsample=(2, 1), **rest)])
def test_channels_first_is_the_same_on_images_turned_round(make):
    """Output, the input's gradient and the weights'; the format is Keras's own where none is given."""
    x, layer = numbers(2, 6, 4, 4), make(dtype=PRECISE)
    keras.config.set_image_data_format("channels_first")
    try:
        other = make(dtype=PRECISE)
    finally:
        keras.config.set_image_data_format("channels_last")
    turned = lambda t: np.moveaxis(t, -1, 1) if t.ndim == 4 else t                  # noqa: E731
    layer.build(x.shape)
    other.build(turned(x).shape)
    for one in (layer, other):
        one.set_weights([numbers(*weight.shape, seed=1) for weight in one.weights])
    dy = numbers(*layer.compute_output_shape(x.shape), seed=2)
    y, gradients = passes.of(layer, x, dy=dy)
    other_y, others = passes.of(other, turned(x), dy=turned(dy))
    assert other.data_format == "channels_first" != layer.data_format
    gradients["input"] = turned(gradients["input"])
    for a, b in zip((turned(y), *gradients.values()), (other_y, *others.values()), strict=True):
        assert error_of(b, a) < within(1e-12)


# ------------------------------------------------------------------------------------------------- LeNet-5

def test_c3_has_the_papers_parameters_and_is_a_masked_convolution():
    """1,516 parameters: 25·(6·3 + 9·4 + 1·6) + 16 (LeCun et al. 1998, section II.B)."""
    layer = L.TableConv2D(C3, 5, dtype=PRECISE)
    layer.build((None, 14, 14, 6))
    assert layer.count_params() == 1516 and layer.kernel.shape == (5, 5, 60)
    assert layer.connections * 10 * 10 == 151600
    layer.set_weights([numbers(5, 5, 60), numbers(16, seed=1)])
    dense = keras.layers.Conv2D(16, 5, dtype=PRECISE)
    dense.build((None, 14, 14, 6))
    mask = np.array([[c in row for row in C3] for c in range(6)])
    kernel = np.zeros((5, 5, 6, 16))
    pairs = [(c, k) for k, row in enumerate(C3) for c in sorted(row)]
    for index, (c, k) in enumerate(pairs):
        kernel[:, :, c, k] = layer.get_weights()[0][:, :, index]
    assert ((kernel != 0).all((0, 1)) == mask).all() and mask.sum() == 60
    dense.set_weights([kernel, layer.get_weights()[1]])
    found, expected = (passes.of(one, numbers(2, 14, 14, 6, seed=2)) for one in (layer, dense))
    assert error_of(found[0], expected[0]) < within(1e-12)
    for name in ("input", "bias"):
        assert error_of(found[1][name], expected[1][name]) < within(1e-12)
    listed = np.stack([expected[1]["kernel"][:, :, c, k] for c, k in pairs], -1)
    assert error_of(found[1]["kernel"], listed) < within(1e-12)


def test_a_table_layers_kernels_start_with_the_fan_in_of_their_map():
    keras.utils.set_random_seed(0)
    layer = L.TableConv2D([(0,), (0, 1, 2, 3)], 5, kernel_initializer=L.FanIn(2.4))
    layer.build((None, 9, 9, 4))
    kernel = np.abs(layer.get_weights()[0])
    for part, inputs in ((kernel[..., :1], 25), (kernel[..., 1:], 100)):
        assert 0.85 * 2.4 / inputs < part.max() <= 2.4 / inputs


@pytest.mark.parametrize("initializer", ["glorot_uniform", keras.initializers.HeNormal(seed=3), L.FanIn(2.4)])
def test_no_two_maps_of_a_table_layer_start_alike(initializer):
    layers = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        layer = L.TableConv2D([(0, 1), (1, 2), (0, 2)], 3, kernel_initializer=initializer)
        layer.build((None, 5, 5, 3))
        layers.append(layer.get_weights()[0])
    kernels = layers[0].reshape(9, 3, 2)
    assert np.abs(kernels[:, :, None] - kernels[:, None])[:, ~np.eye(3, dtype=bool)].max((0, 2)).min() > 0.01
    assert (layers[0] == layers[1]).all()               # and the same seed the same


@pytest.mark.parametrize("initializer, reach", [
    (L.FanIn(2.4), 2.4 / 100), (L.FanIn(2.4, power=0.5), 2.4 / 10), (L.FanIn(2.4, inputs=4), 2.4 / 4)])
def test_fan_in_is_uniform_within_its_bound(initializer, reach):
    keras.utils.set_random_seed(0)
    drawn = np.asarray(initializer((5, 5, 4, 60)))
    assert np.abs(drawn).max() <= reach and np.abs(drawn.mean()) < reach / 20
    assert drawn.std() == pytest.approx(reach / np.sqrt(3), rel=0.05)
    again = keras.initializers.get(keras.saving.serialize_keras_object(initializer))
    assert type(again) is L.FanIn and again.get_config() == initializer.get_config()


def test_subsampling_starts_as_the_average():
    x = numbers(2, 6, 4, 3, dtype="float32")
    layer = L.Subsampling2D(2)
    assert error_of(layer(x), reference.average_pool(x, (2, 2), (2, 2))) < within(1e-6)
    assert layer.count_params() == 2 * 3


def test_radial_units_answer_best_at_their_own_centre():
    layer = L.RadialBasis(CENTRES)
    z = array(layer(np.array(CENTRES, "float32")))
    assert (z.argmax(1) == [0, 1, 2]).all() and (np.diag(z) == 0).all() and z[0, 1] == -16
    assert layer.count_params() == 0


def test_map_loss_is_the_papers_equation():
    """E = y_D + log(e^−j + Σ e^−y) for penalties y = −z."""
    labels, z = np.array([2, 0]), -np.abs(numbers(2, 4))
    expected = -z[[0, 1], labels] + np.log(np.exp(-3.0) + np.exp(z).sum(1))
    np.testing.assert_allclose(array(L.map_loss(labels, z, 3.0)), expected, rtol=within(1e-12))


def test_scaled_tanh_keeps_one():
    assert array(L.scaled_tanh(np.array([1.0, -1.0, 0.0]))) == pytest.approx([1, -1, 0], abs=1e-4)


def test_padding_to_the_same_width_is_the_identity():
    x = numbers(2, 3, 3, 2, dtype="float32")
    assert (array(L.PadChannels(2)(x)) == x).all()
    wide = array(L.PadChannels(5)(x))
    assert (wide[..., :2] == x).all() and not wide[..., 2:].any()


def test_class_scores_are_a_softmax_that_knows_its_classes():
    layer = L.ClassScores(["cat", "dog", 3])
    assert layer.class_names == ["cat", "dog", "3"]
    z = numbers(2, 3, dtype="float32")
    assert error_of(layer(z), keras.layers.Softmax()(z)) == 0


@pytest.mark.parametrize("layer, shape", [(lambda **rest: L.GraphConvolution(4, self_weight=True, **rest), [(5, 4), (5, 5)]),
                                          (lambda **rest: L.ChebyshevConvolution(4, **rest), [(5, 4), (5, 5)]),
                                          (lambda **rest: L.NonLocal(channels=4, **rest), (1, 3, 3, 4))])
@pytest.mark.parametrize("seed", [None, 7])
def test_weights_of_one_rule_begin_with_other_numbers(layer, shape, seed):
    layer = layer(kernel_initializer=keras.initializers.GlorotUniform(seed=seed))
    layer.build(shape)
    drawn = [kernel for kernel in map(array, layer.trainable_variables) if kernel.shape == (4, 4) and kernel.any()]
    assert len(drawn) > 1
    assert len({kernel.tobytes() for kernel in drawn}) == len(drawn)
