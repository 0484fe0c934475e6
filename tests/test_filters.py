"""Kernels set by hand: what Sobel's and Prewitt's answer, and a convolution that starts with them."""
import keras
import numpy as np
import passes
import pytest
from keras import ops
from passes import PRECISE, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers.filters import BANKS, PREWITT, SOBEL
from cnn_repro.repro.check import error_of

RISE = {"sobel": 4, "prewitt": 3}       # the weights on one side of the edge add up to that


def image(rows):
    return np.array(rows, "float32")[None, :, :, None]


@pytest.mark.parametrize("name", BANKS)
def test_a_vertical_edge(name):
    """Dark on the left, bright on the right: the first filter answers at the edge alone, the second nowhere."""
    edge = image([[0, 0, 0, 1, 1, 1]] * 4)
    y = passes.array(L.FixedFilters2D(name)(edge))[0]
    assert y[..., 0].tolist() == [[0, RISE[name], RISE[name], 0]] * 2 and not y[..., 1].any()
    turned = passes.array(L.FixedFilters2D(name)(edge.transpose(0, 2, 1, 3)))[0]
    assert np.array_equal(turned[..., 1], y[..., 0].T) and not turned[..., 0].any()
    assert (passes.array(L.FixedFilters2D(name)(1 - edge))[0] == -y).all()


@pytest.mark.parametrize("name", BANKS)
def test_a_slope_is_measured_and_brightness_is_not(name):
    """On a ramp of slope 1 a difference over two pixels is 2, times the smoothing's weights."""
    rows, columns = np.mgrid[:5, :6].astype("float32")
    y = passes.array(L.apply_filters((7 + 2 * columns + 3 * rows)[None, :, :, None], name))[0]
    assert (y == [2 * 2 * RISE[name], 3 * 2 * RISE[name]]).all()


def test_the_kernels_are_a_difference_smoothed_along_the_other_axis():
    for bank, smooth in ((SOBEL, [1, 2, 1]), (PREWITT, [1, 1, 1])):
        assert np.array_equal(bank[0], np.outer(smooth, [-1, 0, 1])) and np.array_equal(bank[1], np.array(bank[0]).T)


def test_channels_stay_apart_and_keep_their_order():
    x = numbers(2, 5, 4, 3)
    y, gradients = passes.of(L.FixedFilters2D("sobel", "same", dtype=PRECISE), x)
    assert y.shape == (2, 5, 4, 6)
    for c in range(3):
        alone = passes.array(L.apply_filters(ops.convert_to_tensor(x[..., c:c + 1], dtype=PRECISE), "sobel", "same"))
        assert error_of(y[..., 2 * c:2 * c + 2], alone) < within(1e-12)
    first = L.FixedFilters2D("sobel", "same", "channels_first", dtype=PRECISE)
    dy = numbers(2, 6, 5, 4)
    found = passes.of(first, x.transpose(0, 3, 1, 2), dy=dy)
    expected = passes.of(L.FixedFilters2D("sobel", "same", dtype=PRECISE), x, dy=dy.transpose(0, 2, 3, 1))
    assert error_of(found[0].transpose(0, 2, 3, 1), expected[0]) < within(1e-12)
    assert error_of(found[1]["input"].transpose(0, 2, 3, 1), expected[1]["input"]) < within(1e-12)


def test_nothing_is_learned():
    layer = L.FixedFilters2D()
    layer.build((None, 5, 4, 3))
    assert not layer.weights and layer.count_params() == 0


def test_the_number_of_channels_must_be_known():
    with pytest.raises(ValueError, match="number of channels must be known"):
        L.FixedFilters2D().build((None, 5, 4, None))


# ---------------------------------------------------------------------------------- as a convolution's first kernels

def test_a_convolution_whose_kernels_are_the_filters():
    layer = L.Conv2D(3, 5, kernel_initializer=L.FilterBank("sobel"), trainable=False)
    layer.build((None, 9, 8, 2))
    kernel = layer.get_weights()[0]
    assert not layer.trainable_weights
    assert np.array_equal(2 * kernel[1:4, 1:4, 0, :2], np.moveaxis(SOBEL, 0, -1))
    assert np.array_equal(kernel[..., 0, :], kernel[..., 1, :]) and np.array_equal(kernel[..., 2], kernel[..., 0])
    assert np.abs(kernel).sum() == 3 * 8                # nothing around the 3×3
    x = numbers(2, 9, 8, 2, dtype="float32")
    fixed = passes.array(L.FixedFilters2D()(x.mean(-1, keepdims=True)))[:, 1:-1, 1:-1]
    assert error_of(passes.array(layer(x))[..., :2], fixed) < 1e-5


@pytest.mark.parametrize("kernels", ["prewitt", [[[1.0, -2.0]], [[0.5, 3.0]]]], ids=str)
def test_the_bank_is_kept_in_the_config(kernels):
    bank = L.FilterBank(kernels)
    again = keras.initializers.get(keras.saving.serialize_keras_object(bank))
    assert type(again) is L.FilterBank and again.get_config() == bank.get_config() == {"kernels": kernels}
    assert error_of(again((3, 3, 1, 4), dtype="float32"), bank((3, 3, 1, 4))) == 0


@pytest.mark.parametrize("shape", [(2, 3, 1, 2), (3, 1, 2), (9, 2)], ids=str)
def test_a_kernel_too_small_for_the_filters(shape):
    with pytest.raises(ValueError, match="Filters of 3×3 do not fit into a kernel of shape"):
        L.FilterBank()(shape)
