"""Response normalisation as the paper has it; the second derivative of batch normalisation."""
import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings, strategies as st
from keras import ops
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import normalization, reference, response
from cnn_repro.repro.check import error_of
from cnn_repro.repro.check.backends import gradients, second_derivatives

few = settings(max_examples=40, deadline=None, derandomize=True)
only_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow")


# ------------------------------------------------------------------------------------------- responses

def test_the_example_in_whole_numbers():
    """a = (1, 2, 0, 1), n = 3, k = α = β = 1: s = (1 + 5, 1 + 5, 1 + 5, 1 + 1)."""
    layer = L.LocalResponseNormalization(depth=3, bias=1, alpha=1, beta=1, dtype=PRECISE)
    y, gradient = passes.of(layer, np.array([[1, 2, 0, 1]], PRECISE), dy=np.array([[36, 0, 0, 0]], PRECISE))
    np.testing.assert_allclose(y, [[1 / 6, 2 / 6, 0, 1 / 2]], rtol=within(1e-12))
    # b_1 = a_1/(1 + a_1² + a_2²):  36 (6 − 2·1)/36  and  36 (−2·1·2)/36
    np.testing.assert_allclose(gradient["input"], [[4, -4, 0, 0]], rtol=within(1e-12), atol=1e-6)


def test_the_defaults_are_the_papers():
    assert {key: value for key, value in L.LocalResponseNormalization().get_config().items()
            if key in ("depth", "bias", "alpha", "beta")} == dict(depth=5, bias=2.0, alpha=1e-4, beta=0.75)


@only_tensorflow
@pytest.mark.parametrize("depth", [1, 3, 5, 11])
def test_it_is_tensorflows_operator(depth):
    """tf.nn.local_response_normalization counts the maps to one side, and knows float32 alone."""
    import tensorflow as tf
    x = 3 * numbers(2, 3, 4, 7, dtype="float32")
    found = passes.of(L.LocalResponseNormalization(depth, 1.5, 0.3, 0.6), x)
    expected = passes.run(lambda x: tf.nn.local_response_normalization(x, depth // 2, 1.5, 0.3, 0.6), {"input": x})
    assert error_of(found[0], expected[0]) < 1e-5 and error_of(found[1]["input"], expected[1]["input"]) < 1e-5


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="about PyTorch")
def test_pytorchs_operator_divides_alpha_by_the_window():
    import torch
    x = 3 * numbers(2, 7, 4, 3, dtype="float32")
    found = array(L.LocalResponseNormalization(5, 1.5, 0.3 / 5, 0.6, axis=1)(x))
    expected = torch.nn.functional.local_response_norm(torch.from_numpy(x), 5, alpha=0.3, beta=0.6, k=1.5)
    assert error_of(found, expected.numpy()) < 1e-5


def test_half_precision_does_not_overflow():
    """300² is beyond float16."""
    x = np.full((1, 2, 2, 6), 300, "float16")
    y, gradient = passes.of(L.LocalResponseNormalization(dtype="mixed_float16"), x)
    assert y.dtype == "float16" and gradient["input"].dtype == "float16"
    assert error_of(y, reference.response_norm(x.astype("float64"), 5, 2.0, 1e-4, 0.75)) < 1e-3
    assert np.isfinite(gradient["input"]).all()


@few
@given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 99))
def test_the_sum_over_a_window_is_its_own_adjoint(maps, half, seed):
    """⟨W x, v⟩ = ⟨x, W v⟩, which is why the gradient needs no other sum."""
    x, v = numbers(2, maps, seed=seed), numbers(2, maps, seed=seed + 100)
    there, back = (array(response.window_sum(ops.convert_to_tensor(one), 2 * half + 1, -1)) for one in (x, v))
    assert (there * v).sum() == pytest.approx((x * back).sum(), rel=1e-4, abs=1e-4)
    assert there[0, 0] == pytest.approx(x[0, :half + 1].sum(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("size", [3, 5])
def test_within_maps_it_is_a_mean_of_squares_padded_with_zeros(size):
    """Caffe's WITHIN_CHANNEL: x (1 + α mean)^−β, the mean over n² pixels at the border too."""
    x = 3 * numbers(2, 6, 5, 3, dtype="float32")
    wide = np.pad(x, [(0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)])
    mean = keras.layers.AveragePooling2D(size, strides=1)(wide**2)
    expected = x * (1 + 0.7 * array(mean))**-0.75
    found = L.MapResponseNormalization(size, alpha=0.7 / size**2, data_format="channels_last")(x)
    assert error_of(found, expected) < 1e-5
    turned = L.MapResponseNormalization(size, alpha=0.7 / size**2, data_format="channels_first")(np.moveaxis(x, -1, 1))
    assert error_of(np.moveaxis(array(turned), 1, -1), expected) < 1e-5


@few
@given(st.integers(1, 6), st.floats(0.1, 3), st.integers(0, 99))
def test_a_response_never_grows_and_keeps_its_sign(maps, alpha, seed):
    x = numbers(3, maps, seed=seed)
    y = array(L.normalize_response(ops.convert_to_tensor(x), 3, 1.0, alpha, 0.75))
    assert (np.sign(y) == np.sign(x)).all() and (np.abs(y) <= np.abs(x)).all()


# ------------------------------------------------------------------------------------------- batches

GAMMA, BETA = numbers(1, 4, seed=1), numbers(1, 4, seed=2)


def ours(x):
    """Squared, because then dy depends on y: JAX differentiates the forward pass itself on that way."""
    return normalization.batch_normalize(x, GAMMA, BETA, (0,), 1e-3)[0] ** 2


def stock(x):
    mean, variance = ops.moments(x, (0,), keepdims=True)
    return ((x - mean) * ops.rsqrt(variance + 1e-3) * GAMMA + BETA) ** 2


def error_of_second_derivative(function):
    """Of the gradient's product with a direction: against central differences of the gradient itself."""
    x, dy, direction = (numbers(6, 4, seed=seed) for seed in (0, 3, 4))
    found = second_derivatives(function, [x], dy, [direction])[0]
    step = 1e-5 if PRECISE == "float64" else 1e-2
    expected = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        above, below = ((gradients(function, [x + sign * moved], dy)[0] * direction).sum() for sign in (1, -1))
        expected[place] = (above - below) / (2 * step)
    return error_of(found, expected)


def test_the_second_derivative_is_that_of_central_differences():
    assert error_of_second_derivative(ours) < (1e-8 if PRECISE == "float64" else 1e-2)


@only_tensorflow
def test_that_of_keras_is_not():
    """Its moments stop a gradient inside the variance. Where it is right one day, the check may use it again."""
    assert error_of_second_derivative(stock) > 1e-2
