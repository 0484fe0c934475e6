"""Sums, joints, shuffles, gates and dropout: where the values and their gradients go."""
import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings, strategies as st
from keras import ops
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import dropout, structure
from cnn_repro.repro.check import error_of

few = settings(max_examples=40, deadline=None, derandomize=True)


def adjoint(function, tensors):
    """⟨Y, dY⟩ and Σ ⟨X_i, dX_i⟩ of an operator that is linear in all tensors together."""
    dy = numbers(*function(*tensors).shape, seed=77)
    y, gradients = passes.run(function, {str(index): x for index, x in enumerate(tensors)}, dy=dy)
    return (y * dy).sum(), sum((x * gradients[str(index)]).sum() for index, x in enumerate(tensors))


same = dict(rel=within(1e-10), abs=1e-5 if PRECISE == "float32" else 1e-10)


# ------------------------------------------------------------------------------------------- sums

@few
@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3))
def test_a_sum_is_linear_and_its_gradients_have_the_summands_shapes(data, shape, count):
    """With any axes of any summand repeated."""
    masks = [data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape))) for _ in range(count)]
    tensors = [numbers(*(1 if one else size for one, size in zip(mask, shape)), seed=seed)
               for seed, mask in enumerate(masks)]
    there, back = adjoint(lambda *x: structure.add(x), tensors)
    assert there == pytest.approx(back, **same)


def test_a_column_is_no_bias():
    """keras.ops.add takes it for one on TensorFlow, and so does stock Add: there, columns are added to rows."""
    square, column = np.zeros((1, 1, 2, 2), "float32"), np.array([1, 2], "float32").reshape(1, 1, 2, 1)
    y, gradients = passes.of(L.Add(), [square, column], dy=np.array([1, 2, 4, 8]).reshape(1, 1, 2, 2))
    assert y.ravel().tolist() == [1, 1, 2, 2]
    assert gradients["input 2"].ravel().tolist() == [3, 12]


def test_every_summand_of_a_residual_block_gets_the_whole_gradient():
    """He et al. 2016, equation (1), twice: y = x + F(x) has dy and F's share of it."""
    x = numbers(2, 3)
    _, gradients = passes.run(lambda x: L.Add()([x, x, 3 * x]), {"x": x}, dy=np.ones((2, 3)))
    np.testing.assert_allclose(gradients["x"], np.full((2, 3), 5))


def test_integers_are_added_too():
    assert array(L.Add()([np.array([[1, 2]]), np.array([[3, 4]])])).tolist() == [[4, 6]]


def test_keras_masks_pass_through_sums_and_joints():
    x = keras.layers.Masking()(np.array([[[1, 2], [0, 0]]], "float32"))
    for layer in (L.Add(), L.Concatenate()):
        assert array(layer([x, x])._keras_mask).tolist() == [[True, False]]


# ------------------------------------------------------------------------------------------- joints

@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(-3, 2))
def test_joined_tensors_get_their_own_slices(sizes, axis):
    shapes = [[2, 3, 4] for _ in sizes]
    for shape, size in zip(shapes, sizes):
        shape[axis] = size
    tensors = [numbers(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    there, back = adjoint(lambda *x: structure.concatenate(x, axis), tensors)
    assert there == pytest.approx(back, **same)
    dy = np.concatenate(tensors, axis)                          # then every tensor's gradient is the tensor
    _, gradients = passes.run(lambda *x: structure.concatenate(x, axis),
                              {str(index): x for index, x in enumerate(tensors)}, dy=dy)
    for index, x in enumerate(tensors):
        np.testing.assert_array_equal(gradients[str(index)], x)


# ------------------------------------------------------------------------------------------- shuffles

def test_the_papers_figure():
    """Figure 1 of Zhang et al. 2018: 3 groups of 3; each new group has one channel of every old one."""
    found = array(L.ChannelShuffle(3)(np.arange(9.0)[None]))
    assert found.tolist() == [[0, 3, 6, 1, 4, 7, 2, 5, 8]]


@few
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2))
def test_the_gradient_of_a_shuffle_undoes_it(groups, each, axis):
    shape = [2, 3, 4]
    shape[axis] = groups * each
    x = numbers(*shape)
    y = array(L.shuffle_channels(ops.convert_to_tensor(x), groups, axis))
    assert sorted(y.ravel()) == sorted(np.asarray(x, y.dtype).ravel())
    np.testing.assert_array_equal(array(structure.shuffle_gradient(ops.convert_to_tensor(y), groups, axis)),
                                  np.asarray(x, y.dtype))
    there, back = adjoint(lambda x: L.shuffle_channels(x, groups, axis), [x])
    assert there == pytest.approx(back, **same)


def test_only_a_shuffle_lets_groups_talk():
    """The Jacobian of two grouped 1×1 convolutions is block-diagonal; with a shuffle between them it has no zero."""
    def crossing(between):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1, 1, 4)), L.Conv2D(4, 1, groups=2), *between,
                                  L.Conv2D(4, 1, groups=2)])
        dy = np.array([1, 0, 0, 0], "float32").reshape(1, 1, 1, 4)                      # an output of the first group
        return passes.of(model, numbers(1, 1, 1, 4, dtype="float32"), dy=dy)[1]["input"].ravel()

    assert not crossing([])[2:].any() and crossing([])[:2].all()
    assert crossing([L.ChannelShuffle(2)]).all()


# ------------------------------------------------------------------------------------------- gates

def test_an_open_gate_passes_the_transformed_and_a_closed_one_the_input():
    x, h = numbers(2, 3), numbers(2, 3, seed=1)
    for t, (to_x, to_h) in ((0.0, (1, 0)), (1.0, (0, 1)), (0.25, (0.75, 0.25))):
        y, gradients = passes.run(L.highway, {"x": x, "h": h, "t": np.full_like(x, t)}, dy=np.ones_like(x))
        np.testing.assert_allclose(y, t * h + (1 - t) * x, rtol=within(1e-12))
        assert (gradients["x"] == to_x).all() and (gradients["h"] == to_h).all()
        np.testing.assert_allclose(gradients["t"], h - x, rtol=within(1e-12))


def test_a_convolutional_highway_block_starts_as_almost_the_identity():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 4))
    for _ in range(3):
        h = L.Conv2D(4, 3, padding="same", activation="relu")(x)
        t = L.Conv2D(4, 3, padding="same", activation="sigmoid",
                     bias_initializer=keras.initializers.Constant(-20.0))(x)
        x = L.HighwayGate()([x, h, t])
    model = keras.Model(inputs, x)
    images = numbers(2, 6, 6, 4, dtype="float32")
    assert error_of(model(images), images) < 1e-4
    again = keras.Model.from_config(model.get_config())
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]


@pytest.mark.parametrize("policy, threshold", [("mixed_float16", 5e-3), ("mixed_bfloat16", 3e-2)])
@pytest.mark.parametrize("layer, count", [(L.Add, 2), (L.Concatenate, 2), (L.HighwayGate, 3)])
def test_half_precision_of_several_tensors(layer, count, policy, threshold):
    x = passes.drawn([(2, 3, 4)] * count, dtype="float32")
    expected, found = passes.of(layer(), x), passes.of(layer(dtype=policy), x)
    assert str(found[0].dtype) == policy[6:] and error_of(found[0].astype("float64"), expected[0]) < threshold
    for name, gradient in expected[1].items():
        assert error_of(found[1][name].astype("float64"), gradient) < threshold


# ------------------------------------------------------------------------------------------- dropout

@pytest.mark.parametrize("rate, noise_shape", [(0.5, None), (0.3, (None, 1, 1, None)), (1.0, None)])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
def test_dropout_leaves_out_the_units_that_keras_does_step_after_step(rate, noise_shape, dtype):
    ours, stock = (namespace.Dropout(rate, noise_shape, seed=5, dtype=dtype) for namespace in (L, keras.layers))
    x = 1 + np.abs(numbers(4, 5, 3, 6, dtype="float32"))
    steps = []
    for _ in range(3):
        y, expected = (array(layer(x, training=True)).astype("float64") for layer in (ours, stock))
        assert ((y == 0) == (expected == 0)).all() and error_of(y, expected) < 1e-2
        steps.append(y)
    assert rate == 1 or not ((steps[0] == 0) == (steps[1] == 0)).all()
    assert error_of(ours(x), stock(x)) == 0
    generators = [array(layer.seed_generator.state.value) for layer in (ours, stock)]
    assert (generators[0] == generators[1]).all()


def test_without_a_seed_it_follows_the_global_one():
    x = np.ones((30, 30), "float32")
    drawn = []
    for namespace in (L, keras.layers):
        keras.utils.set_random_seed(8)
        drawn.append(array(namespace.Dropout(0.5)(x, training=True)))
    assert (drawn[0] == drawn[1]).all() and set(np.unique(drawn[0])) == {0, 2}


@pytest.mark.parametrize("form", passes.FORMS)
def test_the_backward_pass_has_the_forward_passs_mask(form):
    """A sum of ones through dropout: every unit's gradient is its own output, in every step."""
    layer = L.Dropout(0.4, seed=1)
    layer.build((None, 50))
    x = np.ones((20, 50), "float32")

    def output_and_gradient(x):
        return ops.stack([layer(x, training=True)])[0] ** 2 / 2

    y, gradients = passes.run(output_and_gradient, {"x": x}, dy=np.ones_like(x), form=form)
    dx = gradients["x"]
    assert set(np.round(np.unique(dx), 4)) == {0, np.float32(np.round(1 / 0.36, 4))}
    assert 0.3 < (dx == 0).mean() < 0.5


def test_the_mean_of_dropout_is_the_input():
    x = numbers(1, 6, dtype="float32")
    many = np.repeat(x, 20000, axis=0)
    y = array(dropout.drop(ops.convert_to_tensor(many), dropout.draw_mask(ops.convert_to_tensor(many), 0.3, seed=2)))
    np.testing.assert_allclose(y.mean(0), x[0], rtol=0.05)


def test_a_layer_in_prediction_or_of_rate_zero_does_nothing():
    x = numbers(3, 4, dtype="float32")
    assert (array(L.Dropout(0.9)(x)) == x).all() and (array(L.Dropout(0)(x, training=True)) == x).all()
    assert not array(L.Dropout(1.0)(x, training=True)).any()


@pytest.mark.parametrize("compiled", [False, True])
def test_fit_learns_with_dropout_as_with_keras_own(compiled):
    """The same units are left out in every step, compiled or not."""
    x, labels = numbers(64, 8, dtype="float32"), np.arange(64) % 2
    losses = []
    for namespace in (L, keras.layers):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8,))
        h = namespace.LeakyReLU(0.25)(namespace.Dense(8)(inputs))
        h = namespace.Dropout(0.5, seed=3)(namespace.Add()([h, inputs]))
        model = keras.Model(inputs, namespace.Dense(2)(namespace.Concatenate()([h, inputs])))
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      jit_compile=compiled and keras.backend.backend() != "torch")
        losses.append(model.fit(x, labels, batch_size=20, epochs=3, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
