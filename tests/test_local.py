"""Between the dense layer and the convolution: locally connected layers, and the convolution as one matrix."""
from math import prod

import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import PRECISE, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import reference
from cnn_repro.repro.check import error_of
from cnn_repro.repro.check.backends import evaluate, second_derivatives

EXAMPLES = 10 if keras.backend.backend() == "jax" else 40        # every shape is compiled anew there
ANY = settings(max_examples=EXAMPLES, deadline=None, derandomize=True)


@st.composite
def convolutions(draw, shared_only=False):
    """(x, kernel, strides, padding, dilation): a convolution over one or two axes, whatever its sizes."""
    axes = draw(st.integers(1, 2))
    size = [draw(st.integers(1, 3)) for _ in range(axes)]
    groups, dilation = (1, 1) if shared_only else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    space = [draw(st.integers((k - 1) * dilation + 1, (k - 1) * dilation + 3)) for k in size]
    strides = tuple(draw(st.integers(1, 3)) for _ in size)
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    x = numbers(draw(st.integers(1, 2)), *space, channels, seed=draw(st.integers(0, 99)))
    return (x, numbers(*size, channels // groups, filters, seed=1), strides,
            draw(st.sampled_from(["valid", "same"])), dilation)


def assert_same(found, expected, threshold=1e-12):
    """Outputs and gradients of `passes.run`."""
    assert error_of(found[0], expected[0]) < within(threshold)
    assert found[1].keys() == expected[1].keys()
    for name in found[1]:
        assert error_of(found[1][name], expected[1][name]) < within(threshold), name


# ------------------------------------------------------------------------------- dense, local, convolutional

@ANY
@given(convolutions(shared_only=True))
def test_a_convolution_is_the_local_layer_whose_kernels_are_all_equal(case):
    """Weight sharing: the same output; and the shared kernel's gradient is the sum of all positions'."""
    x, kernel, strides, padding, _ = case
    size = kernel.shape[:-2]
    expected = passes.run(lambda x, w: L.convolve(x, w, strides, padding), {"input": x, "kernel": kernel})
    positions = prod(expected[0].shape[1:-1])
    unshared = np.tile(kernel.reshape(1, -1, kernel.shape[-1]), (positions, 1, 1))
    y, gradients = passes.run(lambda x, w: L.locally_connect(x, w, size, strides, padding),
                              {"input": x, "kernel": unshared})
    gradients["kernel"] = gradients["kernel"].sum(0).reshape(kernel.shape)
    assert_same((y, gradients), expected)


def test_a_window_as_large_as_the_image_is_a_dense_layer():
    local, dense = L.LocallyConnected2D(5, (3, 4), dtype=PRECISE), L.Dense(5, dtype=PRECISE)
    local.build((None, 3, 4, 2))
    dense.build((None, 24))
    kernel, bias = numbers(24, 5), numbers(5, seed=1)
    local.set_weights([kernel[None], bias[None, None]])
    dense.set_weights([kernel, bias])
    x = numbers(3, 3, 4, 2, seed=2)
    y, gradients = passes.of(local, x)
    gradients["input"] = gradients["input"].reshape(3, -1)
    shapes = {"kernel": (24, 5), "bias": (5,), "input": (3, 24)}
    assert_same((y.reshape(3, 5), {name: value.reshape(shapes[name]) for name, value in gradients.items()}),
                passes.of(dense, x.reshape(3, -1)))


def parameters(layer, shape) -> int:
    layer.build((None, *shape))
    return layer.count_params()


@pytest.mark.parametrize("shape, filters, size, dense, local, shared", [
    ((3, 3, 1), 1, 2, 40, 20, 5),                       # the note's example: 3×3 image, 2×2 kernel, 2×2 map
    ((32, 32, 1), 6, 5, 4_821_600, 122_304, 156),       # LeNet-5's C1: its paper's 122,304 connections, 156 weights
])
def test_local_connections_then_shared_weights_leave_fewer_parameters(shape, filters, size, dense, local, shared):
    """Dense: every output sees every input. Local: it sees its window. Convolution: with the same weights."""
    convolution = L.Conv2D(filters, size)
    outputs = prod(convolution.compute_output_shape((1, *shape)))
    assert parameters(L.Dense(outputs), (prod(shape),)) == dense == outputs * (prod(shape) + 1)
    assert parameters(L.LocallyConnected2D(filters, size), shape) == local == outputs * (size**2 * shape[-1] + 1)
    assert parameters(convolution, shape) == shared == filters * (size**2 * shape[-1] + 1)
    # the matrix of the convolution: as many connections as the local layer, as many different weights as the kernel
    weights = numbers(size, size, shape[-1], filters, dtype="float32")
    if prod(shape) < 100:
        matrix = evaluate(lambda w: L.toeplitz_matrix(w, shape), [weights])
        assert np.count_nonzero(matrix) == local - outputs
        assert len(np.unique(matrix[matrix != 0])) == shared - filters


def test_net_3_of_lecun_1989_has_1226_weights():
    """16×16 → 8×8 through 3×3 windows → 4×4 through 5×5 windows, two apart → 10 dense units."""
    net = keras.Sequential([
        keras.Input((16, 16, 1)), L.LocallyConnected2D(1, 3, strides=2, padding="same", activation=L.scaled_tanh),
        L.LocallyConnected2D(1, 5, strides=2, padding="same", activation=L.scaled_tanh),
        keras.layers.Flatten(), L.Dense(10)])
    assert [layer.count_params() for layer in net.layers] == [640, 416, 0, 170] and net.count_params() == 1226


def test_cuda_convnets_local_layer_with_padding():
    """local3 of its CIFAR-10 network: 8×8×64, 64 filters of 3×3, padding 1."""
    layer = L.LocallyConnected2D(64, 3, padding="same")
    assert parameters(layer, (8, 8, 64)) == 64 * (9 * 64) * 64 + 64 * 64
    assert layer.kernel.shape == (64, 576, 64) and layer.bias.shape == (8, 8, 64)


# --------------------------------------------------------------------------------------------- the local layers

def test_every_position_has_its_own_weights():
    layer = L.LocallyConnected1D(1, 2)
    layer.build((None, 4, 1))
    layer.set_weights([np.array([[[1], [0]], [[0], [1]], [[2], [3]]]), np.array([[0], [10], [100]])])
    y, gradients = passes.of(layer, np.array([[[1], [2], [3], [4]]], "float32"), dy=np.array([[[1], [2], [4]]]))
    assert y.ravel().tolist() == [1, 13, 118]
    assert gradients["kernel"][..., 0].tolist() == [[1, 2], [4, 6], [12, 16]]
    assert gradients["input"].ravel().tolist() == [1, 0, 2 + 8, 12]
    assert gradients["bias"].ravel().tolist() == [1, 2, 4]


@pytest.mark.parametrize("arguments", [dict(), dict(strides=2, padding="same", activation="relu")], ids=str)
def test_channels_first_is_channels_last_transposed(arguments):
    last, first = (L.LocallyConnected2D(3, 2, data_format=data_format, dtype=PRECISE, **arguments)
                   for data_format in ("channels_last", "channels_first"))
    last.build((None, 5, 4, 2))
    first.build((None, 2, 5, 4))
    for layer in (last, first):
        layer.set_weights([numbers(*weight.shape, seed=index) for index, weight in enumerate(last.weights)])
    x, dy = numbers(2, 5, 4, 2), numbers(*last.compute_output_shape((2, 5, 4, 2)))
    y, gradients = passes.of(first, x.transpose(0, 3, 1, 2), dy=dy.transpose(0, 3, 1, 2))
    gradients["input"] = gradients["input"].transpose(0, 2, 3, 1)
    assert_same((y.transpose(0, 2, 3, 1), gradients), passes.of(last, x, dy=dy))


@pytest.mark.parametrize("layer, shape", [
    (L.LocallyConnected2D(3, 2, padding="same", strides=2), (5, 4, 2)), (L.LocallyConnected1D(3, 2), (5, 2))],
    ids=["2D", "1D"])
@pytest.mark.parametrize("form", passes.FORMS)
def test_an_empty_batch_has_gradients_of_zero(layer, shape, form):
    y, gradients = passes.of(layer, np.zeros((0, *shape), "float32"), form)
    assert y.shape == layer.compute_output_shape((0, *shape)) and gradients["input"].shape == (0, *shape)
    for weight in layer.trainable_weights:
        assert gradients[weight.name].shape == weight.shape and not gradients[weight.name].any()


@pytest.mark.parametrize("layer, shape, sizes", [
    (L.LocallyConnected2D(3, 2), (None, 5, 2), "unknown, 5"),
    (L.LocallyConnected1D(3, 2), (None, 2), "unknown")], ids=["2D", "1D"])
def test_the_image_size_must_be_known(layer, shape, sizes):
    with pytest.raises(ValueError, match=rf"^The input has size \({sizes}\), which must be known"):
        layer(keras.Input(shape))


def test_the_number_of_channels_must_be_known():
    with pytest.raises(ValueError, match="number of channels must be known"):
        L.LocallyConnected2D(3, 2).build((None, 5, 4, None))


@pytest.mark.parametrize("initializer, variance", [("he_normal", 2 / 27), ("glorot_uniform", 2 / (27 + 8)),
                                                   (keras.initializers.RandomNormal(stddev=0.5), 0.25)])
def test_initial_kernels_have_the_fan_in_of_one_unit(initializer, variance):
    keras.utils.set_random_seed(0)
    layer = L.LocallyConnected2D(8, 3, kernel_initializer=initializer)
    layer.build((None, 10, 10, 3))
    kernel = layer.get_weights()[0]
    assert kernel.var() == pytest.approx(variance, rel=0.05)
    assert error_of(kernel[0], kernel[1]) > 0.5         # no two positions alike


def test_regularizers_and_constraints_are_those_of_the_weights():
    layer = L.LocallyConnected2D(2, 2, kernel_regularizer=keras.regularizers.L2(0.1),
                                 activity_regularizer=keras.regularizers.L1(0.2), kernel_constraint="non_neg",
                                 bias_initializer="ones", bias_regularizer=keras.regularizers.L1(0.5))
    x = numbers(3, 4, 4, 1, dtype="float32")
    y = passes.array(layer(x))
    kernel, bias = layer.get_weights()
    losses = sorted(float(loss) for loss in layer.losses)
    expected = [0.1 * (kernel**2).sum(), 0.5 * bias.size, 0.2 * np.abs(y).sum() / 3]    # activities: a mean of images
    assert losses == pytest.approx(sorted(expected), rel=1e-4)
    assert isinstance(layer.kernel.constraint, keras.constraints.NonNeg)


# ------------------------------------------------------------------------------------ the convolution as a matrix

def test_the_notes_example_as_a_matrix():
    """Lecture note 001, sections 2.2 and 3.2: z11 = a11 w11 + a12 w12 + a21 w21 + a22 w22 and so on; δ is Tᵀδ."""
    a, b, c, d = 1.0, 2.0, 3.0, 5.0
    kernel = np.array([[a, b], [c, d]], "float32")[:, :, None, None]
    matrix = evaluate(lambda w: L.toeplitz_matrix(w, (3, 3, 1)), [kernel])
    assert matrix.tolist() == [
        [a, b, 0, c, d, 0, 0, 0, 0],
        [0, a, b, 0, c, d, 0, 0, 0],
        [0, 0, 0, a, b, 0, c, d, 0],
        [0, 0, 0, 0, a, b, 0, c, d]]
    delta = numbers(1, 2, 2, 1, dtype="float32")
    y, gradients = passes.run(L.convolve_as_dense, {"input": np.ones((1, 3, 3, 1), "float32"), "kernel": kernel},
                              dy=delta)
    assert (y == a + b + c + d).all()
    assert error_of(gradients["input"].ravel(), matrix.T @ delta.ravel()) < 1e-6
    assert error_of(gradients["kernel"].ravel(), [delta.sum()] * 4) < 1e-6


def test_along_one_axis_it_is_a_toeplitz_matrix():
    """Constant along every diagonal; without padding its first and last row go, a stride takes every other row."""
    kernel = numbers(3, 1, 1, dtype="float32")
    matrix = evaluate(lambda w: L.toeplitz_matrix(w, (6, 1), padding="same"), [kernel])
    for offset in range(-5, 6):
        assert len(set(np.diagonal(matrix, offset))) == 1
    assert np.array_equal(matrix[1, :3], kernel.ravel())
    valid = evaluate(lambda w: L.toeplitz_matrix(w, (6, 1)), [kernel])
    assert np.array_equal(valid, matrix[1:-1])
    assert np.array_equal(evaluate(lambda w: L.toeplitz_matrix(w, (6, 1), 2), [kernel]), valid[::2])


@ANY
@given(convolutions())
def test_the_matrix_is_the_convolution_forwards_and_backwards(case):
    x, kernel, *rest = case
    matrix = evaluate(lambda w: L.toeplitz_matrix(w, x.shape[1:], *rest), [kernel])
    strides, padding, dilation = rest
    loops = reference.toeplitz(kernel, x.shape[1:], strides, padding, (dilation,) * len(strides))
    assert np.array_equal(matrix, loops)
    tensors = {"input": x, "kernel": kernel}
    expected = passes.run(lambda x, w: L.convolve(x, w, *rest), tensors)
    assert_same(passes.run(lambda x, w: L.convolve_as_dense(x, w, *rest), tensors), expected)
    assert error_of((x.reshape(len(x), -1) @ matrix.T).reshape(expected[0].shape), expected[0]) < within(1e-12)


def test_the_matrix_can_be_differentiated_twice():
    """It is linear in the kernel: the second derivative is that of what follows it."""
    w, dy, direction = numbers(2, 2, 1, 1), numbers(4, 9, seed=1), numbers(2, 2, 1, 1, seed=2)

    def squared(w):
        return L.toeplitz_matrix(w, (3, 3, 1))**2       # every weight four times: d²/dw² Σ dy T² = 2 Σ dy

    found, _ = second_derivatives(squared, [w], dy, [direction])
    places = evaluate(lambda w: L.toeplitz_matrix(w, (3, 3, 1)), [np.arange(1.0, 5).reshape(2, 2, 1, 1)])
    expected = [2 * dy[places == number].sum() * direction.ravel()[number - 1] for number in (1, 2, 3, 4)]
    assert error_of(found.ravel(), expected) < within(1e-12)


@pytest.mark.parametrize("shape, message", [
    ((None, 4, 1), r"\(unknown, 4\), which must be known"),
    ((2, 4, 1), r"size \(2, 4\), less than the window's \(3, 3\)")])
def test_a_matrix_needs_an_image_that_it_can_be_the_matrix_of(shape, message):
    with pytest.raises(ValueError, match=message):
        L.toeplitz_matrix(np.zeros((3, 3, 1, 1), "float32"), shape)
