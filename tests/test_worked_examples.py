"""The worked examples of lecture note 001, section 3: number by number and term by term."""
from itertools import product

import keras
import numpy as np
import pytest
import passes
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers.convolution import input_gradient, kernel_gradient
from cnn_repro.layers.window import Window

MAP = np.array([[1, 8, 4, 3],
                [7, 2, 1, 9],
                [6, 1, 2, 4],
                [8, 7, 6, 0]], "float64").reshape(1, 4, 4, 1)


def backward(layer, x, delta):
    """The layer's output and the gradient of its input and weights for the residual δ."""
    if not layer.built:
        layer.build(x.shape)
    y, gradients = passes.of(layer, x.astype(PRECISE), dy=delta.astype(PRECISE))
    return y, list(gradients.values())


# ------------------------------------------------------------------------------------------------- pooling

def test_maximum_pooling_sends_the_residual_to_the_maximum():
    delta = np.array([[7, 3], [1, 4]], "float64").reshape(1, 2, 2, 1)
    y, (dx,) = backward(L.MaxPooling2D(2, dtype=PRECISE), MAP, delta)
    assert y[0, ..., 0].tolist() == [[8, 9], [8, 6]]
    assert dx[0, ..., 0].tolist() == [[0, 7, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0], [1, 0, 4, 0]]
    assert {tuple(place): dx[(0, *place, 0)] for place in np.argwhere(dx[0, ..., 0])} == {
        (0, 1): 7, (1, 3): 3, (3, 0): 1, (3, 2): 4}


def test_average_pooling_spreads_the_residual_evenly():
    delta = np.array([[8, 4], [16, 4]], "float64").reshape(1, 2, 2, 1)
    y, (dx,) = backward(L.AveragePooling2D(2, dtype=PRECISE), MAP, delta)
    assert y[0, ..., 0].tolist() == [[4.5, 4.25], [5.5, 3]]
    assert dx[0, ..., 0].tolist() == [[2, 2, 1, 1], [2, 2, 1, 1], [4, 4, 1, 1], [4, 4, 1, 1]]


def test_of_equal_maxima_the_first_gets_all_and_overlapping_windows_add_up():
    flat = np.zeros((1, 3, 3, 1))
    delta = np.array([[1, 2], [4, 8]], "float64").reshape(1, 2, 2, 1)
    _, (dx,) = backward(L.MaxPooling2D(2, 1, dtype=PRECISE), flat, delta)
    assert dx[0, ..., 0].tolist() == [[1, 2, 0], [4, 8, 0], [0, 0, 0]]
    peak = flat.copy()
    peak[0, 1, 1, 0] = 5
    _, (dx,) = backward(L.MaxPooling2D(2, 1, dtype=PRECISE), peak, delta)
    assert dx[0, ..., 0].tolist() == [[0, 0, 0], [0, 15, 0], [0, 0, 0]]


# --------------------------------------------------------------------------------- 3×3 input, 2×2 kernel

PLACES = list(product((1, 2), repeat=2))            # of δ and of w, counted from 1 as the note does
WINDOW = Window.of((2, 2), 1, "valid")


def units(size):
    """Every array of this size that is 1 at one place and 0 elsewhere: (size², size, size)."""
    return np.eye(size * size).reshape(-1, size, size)


def test_every_residual_of_the_example_consists_of_the_notes_terms():
    """For each pair δ_uv, w_pq an image with both 1, all others 0: where dX is 1, its sum has the term δ_uv w_pq."""
    kernel = np.moveaxis(units(2), 0, -1)[:, :, None, :]                        # filter k holds the k-th w alone
    delta = np.zeros((4, 4, 2, 2, 4))
    for uv, pq in product(range(4), repeat=2):
        delta[uv, pq, ..., pq] = units(2)[uv]
    dx = array(input_gradient(delta.reshape(16, 2, 2, 4), np.zeros((16, 3, 3, 1)), kernel, WINDOW))
    assert set(np.unique(dx)) == {0, 1} and dx.sum() == 16                       # every term once, none twice
    sums = {}
    for (uv, pq), image in zip(product(PLACES, PLACES), dx[..., 0]):
        for row, column in np.argwhere(image) + 1:
            sums.setdefault(f"δ{row}{column}", set()).add("δ{}{} w{}{}".format(*uv, *pq))
    assert sums == {
        "δ11": {"δ11 w11"},
        "δ12": {"δ11 w12", "δ12 w11"},
        "δ13": {"δ12 w12"},
        "δ21": {"δ11 w21", "δ21 w11"},
        "δ22": {"δ11 w22", "δ12 w21", "δ21 w12", "δ22 w11"},
        "δ23": {"δ12 w22", "δ22 w12"},
        "δ31": {"δ21 w21"},
        "δ32": {"δ21 w22", "δ22 w21"},
        "δ33": {"δ22 w22"},
    }


def test_every_kernel_gradient_of_the_example_consists_of_the_notes_terms():
    """dw_pq = Σ_uv δ_uv a_{u+p−1, v+q−1}: each a in a channel and each δ in a filter of its own."""
    a = np.moveaxis(units(3), 0, -1)[None]
    delta = np.moveaxis(units(2), 0, -1)[None]
    dw = array(kernel_gradient(delta, a, np.zeros((2, 2, 9, 4)), WINDOW))
    for (p, q), (k, (u, v)) in product(PLACES, enumerate(PLACES)):
        expected = np.zeros((3, 3))
        expected[u + p - 2, v + q - 2] = 1
        assert (dw[p - 1, q - 1, :, k].reshape(3, 3) == expected).all()


def test_the_example_in_whole_numbers_with_its_bias():
    a = np.arange(1.0, 10).reshape(1, 3, 3, 1)
    delta = np.array([[1, 10], [100, 1000]], "float64").reshape(1, 2, 2, 1)
    layer = L.Conv2D(1, 2, dtype=PRECISE)
    layer.build(a.shape)
    layer.set_weights([np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1), np.array([5])])
    z, (dx, dw, db) = backward(layer, a, delta)
    assert z[0, ..., 0].tolist() == [[42, 52], [72, 82]]            # z₁₁ = 1·1 + 2·2 + 4·3 + 5·4 + 5
    assert dx[0, ..., 0].tolist() == [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]
    assert dw[..., 0, 0].tolist() == [[5421, 6532], [8754, 9865]]   # the digits of dw₁₁: a₂₂ a₂₁ a₁₂ a₁₁
    assert db.tolist() == [1111]                                    # db = Σ δ


# --------------------------------------------------------------------------------- the note's recipes, in NumPy

def correlate(x, kernel):
    """Σ_mnk x[u + m, v + n, k] w[m, n, c, k] over one image, as plain loops."""
    rows, columns = (x.shape[axis] - kernel.shape[axis] + 1 for axis in (0, 1))
    return np.array([[np.einsum("mnk,mnck->c", x[u:u + kernel.shape[0], v:v + kernel.shape[1]], kernel)
                      for v in range(columns)] for u in range(rows)])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("rows, columns", [(7, 7), (8, 9), (6, 5)])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_turn_the_kernel_put_zeros_between_pad_and_convolve(stride, rows, columns, size):
    window = Window.of((size, size), stride, "valid")
    kernel = numbers(size, size, 2, 3, seed=1)
    p, q = window.outputs((rows, columns))
    delta = numbers(p, q, 3, seed=2)
    # 1. the kernel turned by 180°; 2. stride − 1 zeros between the residuals; 3. zeros around; 4. convolve
    spread = np.zeros(((p - 1) * stride + 1, (q - 1) * stride + 1, 3))
    spread[::stride, ::stride] = delta
    unused = [rows - size + 1 - spread.shape[0], columns - size + 1 - spread.shape[1]]     # no window's
    around = np.pad(spread, [(size - 1, size - 1 + unused[0]), (size - 1, size - 1 + unused[1]), (0, 0)])
    expected = correlate(around, kernel[::-1, ::-1])
    found = input_gradient(delta[None], np.zeros((1, rows, columns, 2)), kernel, window)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=within(1e-13))


@pytest.mark.parametrize("name, slope", [("sigmoid", lambda a: a * (1 - a)), ("tanh", lambda a: 1 - a**2),
                                         ("relu", lambda a: a > 0)])
def test_the_residual_of_a_dense_layer(name, slope):
    """δ⁽¹⁾ = Wᵀδ⁽²⁾ ⊙ σ′(z⁽¹⁾), read off as the bias gradient of the layer below, image by image."""
    below, above = L.Dense(4, activation=name, dtype=PRECISE), L.Dense(3, dtype=PRECISE)
    model = keras.Sequential([below, above])
    model.build((1, 5))
    below.set_weights([numbers(5, 4), numbers(4, seed=1)])
    above.set_weights([numbers(4, 3, seed=2), numbers(3, seed=3)])
    delta = numbers(1, 3, seed=4)
    _, (dx, dw1, db1, dw2, db2) = backward(model, numbers(1, 5, seed=5), delta)
    a = array(below(numbers(1, 5, seed=5)))
    expected = delta @ above.get_weights()[0].T * slope(a)
    np.testing.assert_allclose(db1[None], expected, rtol=within(1e-12))
    np.testing.assert_allclose(dx, expected @ below.get_weights()[0].T, rtol=within(1e-12))
    np.testing.assert_allclose(dw2, a.T @ delta, rtol=within(1e-12))
    np.testing.assert_allclose(dw1, numbers(1, 5, seed=5).T @ expected, rtol=within(1e-12))
    np.testing.assert_allclose(db2[None], delta, rtol=within(1e-12))


def test_zero_padding_adds_nothing_but_a_border_to_cut_off():
    x, kernel, delta = numbers(2, 5, 5, 2), numbers(3, 3, 2, 3, seed=1), numbers(2, 5, 5, 3, seed=2)
    same, valid = Window.of((3, 3), 1, "same"), Window.of((3, 3), 1, "valid")
    wide = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    np.testing.assert_allclose(input_gradient(delta, x, kernel, same),
                               input_gradient(delta, wide, kernel, valid)[:, 1:-1, 1:-1], atol=within(1e-13))
    np.testing.assert_allclose(kernel_gradient(delta, x, kernel, same),
                               kernel_gradient(delta, wide, kernel, valid), atol=within(1e-12))


def test_a_convolution_is_a_sparse_dense_layer():
    """The matrix T of the layer, column by column: dX = Tᵀ dY, and only window positions are connected."""
    kernel = numbers(2, 2, 1, 1)
    matrix = array(L.convolve(units(3)[..., None].astype(PRECISE), kernel)).reshape(9, 4).T
    assert np.count_nonzero(matrix) == 4 * 4 and len(np.unique(matrix.round(5))) == 5           # 4 shared weights, 0
    delta = numbers(1, 2, 2, 1, seed=1)
    dx = input_gradient(delta, np.zeros((1, 3, 3, 1)), kernel, WINDOW)
    np.testing.assert_allclose(np.ravel(dx), matrix.T @ delta.ravel(), rtol=within(1e-12))


def test_the_forward_kernel_is_not_turned():
    x, kernel = numbers(1, 4, 4, 1), numbers(2, 2, 1, 1, seed=1)
    correlation = correlate(x[0], np.swapaxes(kernel, 2, 3))
    np.testing.assert_allclose(L.convolve(x, kernel)[0], correlation, rtol=within(1e-12))
    assert np.abs(L.convolve(x, kernel[::-1, ::-1])[0] - correlation).max() > 0.1
