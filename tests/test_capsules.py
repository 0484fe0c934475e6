"""Capsules: lengths and directions, routing by agreement, the margin loss, the paper's sizes."""
import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import capsule
from cnn_repro.repro.check import error_of

quickly = settings(max_examples=40, deadline=None, derandomize=True)


# ------------------------------------------------------------------------------------------- one capsule

def test_lengths_by_hand():
    s = np.array([[1, 0], [3, 4], [0, -2], [0, 0]], PRECISE)
    expected = np.array([[1 / 2, 0], [3 / 5 * 25 / 26, 4 / 5 * 25 / 26], [0, -4 / 5], [0, 0]])
    assert error_of(L.squash(s), expected) < within(1e-15)
    assert error_of(L.capsule_length(L.squash(s)), [1 / 2, 25 / 26, 4 / 5, 0]) < within(1e-15)


@quickly
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_squashing_keeps_the_direction_and_the_order_of_lengths(scale, seed):
    s = scale * numbers(1, 4, seed=seed)
    v, wider = array(L.squash(s)), array(L.squash(1.5 * s))
    length = np.linalg.norm(s)
    assert np.linalg.norm(v) == pytest.approx(length**2 / (1 + length**2), rel=1e-5)
    np.testing.assert_allclose(v / np.linalg.norm(v), s / length, atol=1e-5)
    assert np.linalg.norm(v) < np.linalg.norm(wider) <= 1 + 1e-6


@pytest.mark.parametrize("function", [L.squash, L.capsule_length])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_no_length_and_hardly_any_and_a_great_one_have_gradients(function, dtype):
    for scale in (0, 1e-7, 1e4):
        s = np.full((2, 3), scale, dtype)
        for form in passes.FORMS:
            y, gradients = passes.run(function, {"input": s}, form=form)
            assert y.dtype == gradients["input"].dtype == dtype
            assert np.isfinite(y).all() and np.isfinite(gradients["input"]).all(), (scale, form)
            assert scale or not (y.any() or gradients["input"].any())


def test_second_derivatives_at_no_length_are_numbers():
    from cnn_repro.repro.check import second_derivatives
    for function, dy in ((L.squash, np.ones((2, 3))), (L.capsule_length, np.ones(2))):
        found = second_derivatives(function, [np.zeros((2, 3), "float32")], dy.astype("float32"),
                                   [np.ones((2, 3), "float32")])
        assert all(np.isfinite(one).all() for one in found)


# ------------------------------------------------------------------------------------------- routing

def stock_routing(predictions, iterations, stopped=False):
    """Procedure 1 on û (N, J, I, E) in stock operators; `stopped`: couplings as constants, the common variant."""
    voting = ops.stop_gradient(predictions) if stopped else predictions
    logits = ops.zeros_like(predictions[..., 0])
    for iteration in range(iterations):
        last = iteration == iterations - 1
        s = ops.sum(ops.softmax(logits, 1)[..., None] * (predictions if last else voting), axis=2)
        squared = ops.sum(s * s, axis=-1, keepdims=True)
        v = squared / (1 + squared) * s / ops.sqrt(squared)
        logits = logits + ops.sum(voting * v[:, :, None], axis=-1)
    return v


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_the_gradient_goes_through_the_couplings(iterations):
    predictions = {"predictions": numbers(2, 3, 4, 2)}
    _, ours = passes.run(lambda u: L.routing(u, iterations), predictions)
    _, whole = passes.run(lambda u: stock_routing(u, iterations), predictions)
    _, stopped = passes.run(lambda u: stock_routing(u, iterations, stopped=True), predictions)
    assert error_of(ours["predictions"], whole["predictions"]) < within(1e-12)
    apart = error_of(stopped["predictions"], whole["predictions"])
    assert apart == 0 if iterations == 1 else apart > 0.01


def couplings(predictions, iterations):
    return array(capsule._iterate(ops.convert_to_tensor(predictions), iterations)[-1][0])


def test_capsules_below_share_themselves_out():
    predictions = numbers(3, 4, 5, 2, dtype="float32")
    assert error_of(couplings(predictions, 1), np.full((3, 4, 5), 1 / 4)) < 1e-6
    for iterations in (2, 4):
        c = couplings(predictions, iterations)
        assert (c > 0).all() and error_of(c.sum(1), np.ones((3, 5))) < 1e-6


def test_agreement_is_rewarded():
    """Three capsules predict the same for the first above and contradict each other about the second."""
    predictions = np.zeros((1, 2, 3, 2), "float32")
    predictions[0, 0] = [2, 0]
    predictions[0, 1] = [[2, 0], [-1, 1.7], [-1, -1.7]]
    shares = [couplings(predictions, iterations)[0, 0].mean() for iterations in (1, 2, 3)]
    assert shares[0] == pytest.approx(0.5) and shares[0] < shares[1] < shares[2] and shares[2] > 0.9
    lengths = array(L.capsule_length(L.routing(predictions, 3)))[0]
    assert lengths[0] > 0.9 > 0.1 > lengths[1]


def test_the_order_of_the_capsules_below_does_not_matter():
    layer = L.DynamicRouting(3, 2, dtype=PRECISE)
    u, order = numbers(2, 5, 4), np.random.default_rng(0).permutation(5)
    y = array(layer(u))
    layer.kernel.assign(array(layer.kernel.value)[order])
    assert error_of(layer(u[:, order]), y) < within(1e-12)


def test_an_empty_batch_is_routed():
    layer = L.DynamicRouting(3, 2)
    layer.build((None, 5, 4))
    for form in passes.FORMS:
        y, gradients = passes.of(layer, np.zeros((0, 5, 4), "float32"), form)
        assert y.shape == (0, 3, 2) and gradients["input"].shape == (0, 5, 4)
        assert gradients["kernel"].shape == layer.kernel.shape and not gradients["kernel"].any()


def test_the_papers_sizes():
    """1,152 primary capsules of 8 units, 16 units a digit, and the weights that follow (section 4)."""
    primary, digits = L.PrimaryCapsules(32, 8, kernel_size=9, strides=2), L.DynamicRouting(10, 16)
    assert primary.compute_output_shape((None, 20, 20, 256)) == (None, 32 * 6 * 6, 8)
    assert primary.compute_output_shape((None, None, 20, 256)) == (None, None, 8)
    primary.build((None, 20, 20, 256))
    digits.build((None, 1152, 8))
    assert primary.count_params() == 9 * 9 * 256 * 256 + 256
    assert digits.count_params() == 1152 * 10 * 8 * 16 == 1_474_560
    assert array(digits.kernel.value).std() == pytest.approx(0.088, rel=0.01)       # 0.1, cut off at two deviations


def test_a_primary_capsule_is_a_group_of_a_convolutions_units():
    layer, x = L.PrimaryCapsules(2, 3, kernel_size=2, dtype=PRECISE), numbers(2, 3, 4, 2)
    layer.build(x.shape)
    convolution = keras.layers.Conv2D(6, 2, dtype=PRECISE)
    convolution.build(x.shape)
    convolution.set_weights(layer.get_weights())
    y = array(convolution(x)).reshape(2, 2, 3, 2, 3)        # image, row, column, channel of capsules, unit
    assert error_of(layer(x), array(L.squash(y)).reshape(2, 12, 3)) < within(1e-12)


# ------------------------------------------------------------------------------------------- the loss

@pytest.mark.parametrize("lengths, expected", [
    ([0.9, 0.1, 0.1], 0), ([1.0, 0.0, 0.05], 0), ([0.5, 0.1, 0.0], 0.16), ([0.9, 0.5, 0.3], 0.5 * (0.16 + 0.04)),
    ([0.0, 1.0, 0.0], 0.81 + 0.5 * 0.81)])
def test_margin_loss_by_hand(lengths, expected):
    assert array(L.margin_loss(np.array([0]), np.array([lengths], "float32")))[0] == pytest.approx(expected, abs=1e-6)


def test_margin_loss_is_flat_within_the_margins_and_smooth_at_them():
    lengths = np.array([[0.9, 0.1], [0.95, 0.02]], "float32")
    _, gradients = passes.run(lambda x: L.margin_loss(np.array([0, 0]), x), {"lengths": lengths})
    assert np.abs(gradients["lengths"]).max() < 1e-6
    _, gradients = passes.run(lambda x: L.margin_loss(np.array([0, 0]), x), {"lengths": 1 - lengths},
                              dy=np.ones(2, "float32"))
    assert error_of(gradients["lengths"], [[-1.6, 0.8], [-1.7, 0.88]]) < 1e-5


def test_classes_as_numbers_and_as_zeros_and_ones():
    labels, lengths = np.array([2, 0]), np.random.default_rng(0).uniform(size=(2, 3)).astype("float32")
    several = np.eye(3, dtype="int32")[labels]
    assert error_of(L.margin_loss(several, lengths), L.margin_loss(labels, lengths)) == 0
    both = L.margin_loss(np.array([[1, 0, 1]]), np.array([[0.9, 0.1, 0.9]], "float32"))
    assert array(both)[0] == pytest.approx(0, abs=1e-6)     # two digits in one image


def test_a_capsule_network_learns_and_is_saved(tmp_path):
    keras.utils.set_random_seed(0)
    x, labels = numbers(60, 8, 8, 1, dtype="float32"), np.arange(60) % 2
    x[labels == 1, :, ::2] += 1.5                           # stripes
    model = keras.Sequential([
        keras.Input((8, 8, 1)), L.Conv2D(6, 3, activation="relu"), L.PrimaryCapsules(2, 4, kernel_size=3, strides=2),
        L.DynamicRouting(2, 4, name="digits"), L.CapsuleLength()])
    model.compile(keras.optimizers.Adam(0.01), L.margin_loss)
    losses = model.fit(x, labels, batch_size=20, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "network.keras", include_optimizer=False)
    again = keras.models.load_model(tmp_path / "network.keras", compile=False)
    assert error_of(again.predict(x, verbose=0), model.predict(x, verbose=0)) == 0
