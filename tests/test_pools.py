"""Pooling: dense pooling and subsampling, whose the gradient of a tie is, what borders count, blur and shifts."""
from itertools import product

import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings, strategies as st
from keras import ops
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import blur, pooling, reference
from cnn_repro.layers.window import Window
from cnn_repro.repro import check
from cnn_repro.repro.check import error_of

few = settings(max_examples=40, deadline=None, derandomize=True)
POOLS = [(name, getattr(L, name)) for name in ("max_pool", "average_pool")]


# ----------------------------------------------------------------------------------- dense pooling + subsampling

@pytest.mark.parametrize("name, pool", POOLS)
@pytest.mark.parametrize("space, size, stride", [
    ((9,), 3, 2), ((8, 7), 2, 2), ((9, 8), 3, 2), ((7, 8), 2, 3), ((5, 4, 6), 2, 2)], ids=str)
def test_a_stride_is_dense_pooling_and_subsampling_bit_by_bit(name, pool, space, size, stride):
    """Without padding, which depends on the stride. float32: TensorFlow's own operators in three dimensions too."""
    size = (size,) * len(space)
    every = (slice(None), *[slice(None, None, stride)] * len(space))
    x = numbers(2, *space, 3, dtype="float32")
    strided, dense, subsampled = (passes.run(function, {"input": x}) for function in (
        lambda x: pool(x, size, stride), lambda x: pool(x, size, 1)[every],
        lambda x: L.blur_pool(pool(x, size, 1), 1, stride)))
    for other in (dense, subsampled):
        assert (strided[0] == other[0]).all() and strided[0].shape == other[0].shape
        assert (strided[1]["input"] == other[1]["input"]).all() and other[1]["input"].any()


def test_max_blur_pooling_is_dense_pooling_then_the_blur():
    """Of Subsample∘Blur∘Max, blur size 1 leaves max pooling."""
    x = numbers(2, 8, 7, 3, dtype="float32")
    found, parts = (passes.run(function, {"input": x}) for function in (
        L.MaxBlurPooling2D(3, 2, blur_size=5), lambda x: L.BlurPooling2D(5)(L.MaxPooling2D(3, 1)(x))))
    assert (found[0] == parts[0]).all() and (found[1]["input"] == parts[1]["input"]).all()
    bare, stock = (passes.of(layer, x) for layer in (L.MaxBlurPooling2D(3, 2, blur_size=1), L.MaxPooling2D(3, 2)))
    assert (bare[0] == stock[0]).all() and (bare[1]["input"] == stock[1]["input"]).all()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size, strides", [(2, None), (3, 2), (2, 3), (3, 1)])
def test_max_blur_pooling_has_the_shape_of_max_pooling(padding, size, strides):
    for shape in ((2, 9, 8, 3), (1, 7, 6, 2)):
        x = np.zeros(shape, "float32")
        assert L.MaxBlurPooling2D(size, strides, padding)(x).shape == L.MaxPooling2D(size, strides, padding)(x).shape


# ------------------------------------------------------------------------------------------------- ties, borders

TIES = np.array([3.0, 1, 3, 2, 3, 0], "float32").reshape(1, 6, 1)


def test_of_equal_maxima_a_window_gives_all_to_the_first_and_the_global_maximum_shares():
    ones = lambda x, pool: np.ones(pool(x).shape, "float32")                                    # noqa: E731
    for layer, expected in ((L.MaxPooling1D(6), [1, 0, 0, 0, 0, 0]),
                            (L.GlobalMaxPooling1D(), [1 / 3, 0, 1 / 3, 0, 1 / 3, 0])):
        stock = getattr(keras.layers, type(layer).__name__).from_config(layer.get_config())
        for one in (layer, stock):
            found, = check.gradients(one, [TIES], ones(TIES, one))
            assert found.ravel().tolist() == pytest.approx(expected)


def test_the_share_of_a_map_that_a_rectifier_emptied():
    """60 × 60 zeros in half precision, which cannot count them one by one."""
    x = np.zeros((1, 60, 60, 1), "float16")
    found, = check.gradients(L.GlobalMaxPooling2D(dtype="float16"), [x], np.ones((1, 1), "float16"))
    assert found.astype("float64") == pytest.approx(np.full(x.shape, 1 / 3600), rel=1e-3)


def test_a_border_does_not_count_in_an_average():
    """Wherever `same` puts it, on every backend: the mean of 1, …, 4 over 2 with one position beyond the end."""
    x = np.arange(1.0, 5).reshape(1, 4, 1)
    assert array(L.average_pool(x, (3,), 2, "same")).ravel().tolist() == [2, 3.5]
    assert array(L.average_pool(x, (2,), 1, "same")).ravel().tolist() == [1.5, 2.5, 3.5, 4]
    for space, size, strides in product(((5, 4), (4, 6)), ((2, 2), (5, 3)), ((1, 1), (2, 3))):
        x = numbers(2, *space, 2)
        expected = reference.average_pool(x, size, strides, "same")
        dy = numbers(*expected.shape, seed=1)
        y, gradients = passes.run(lambda x: L.average_pool(x, size, strides, "same"), {"input": x}, dy=dy)
        assert error_of(y, expected) < within(1e-12)
        expected = reference.average_pool_gradient(dy, x, size, strides, "same")
        assert error_of(gradients["input"], expected) < within(1e-12)


@pytest.mark.parametrize("arguments", [dict(), dict(keepdims=True), dict(data_format="channels_first")], ids=str)
def test_a_masked_average_is_left_to_keras(arguments):
    x = numbers(3, 5, 5)
    mask = ops.convert_to_tensor(np.arange(15).reshape(3, 5) % 4 > 0)
    ours, stock = (namespace.GlobalAveragePooling1D(dtype=PRECISE, **arguments) for namespace in (L, keras.layers))
    found, expected = (passes.of(layer, x, mask=mask) for layer in (ours, stock))
    assert error_of(found[0], expected[0]) == 0 and error_of(found[1]["input"], expected[1]["input"]) == 0
    assert error_of(found[0], passes.of(ours, x)[0]) > 1e-2
    padded = np.concatenate([np.ones((2, 3, 4)), np.zeros((2, 2, 4))], 1).astype("float32")
    chain = keras.Sequential([keras.layers.Masking(), L.GlobalAveragePooling1D()])
    assert array(chain(padded)).tolist() == np.ones((2, 4)).tolist()        # the mask came along


@pytest.mark.parametrize("layer, shape", [
    (L.MaxPooling2D(2), (0, 5, 4, 2)), (L.AveragePooling3D(3, 2, "same"), (0, 4, 3, 3, 2)),
    (L.GlobalMaxPooling1D(), (0, 4, 3)), (L.GlobalMaxPooling2D(), (0, 4, 3, 2)),
    (L.GlobalAveragePooling3D(), (0, 4, 3, 2, 2)), (L.BlurPooling2D(), (0, 5, 4, 2)),
    (L.MaxBlurPooling1D(), (0, 5, 2))], ids=lambda value: getattr(value, "name", None))
def test_no_images_give_no_gradients_compiled_or_not(layer, shape):
    for form in passes.FORMS:
        y, gradients = passes.of(layer, np.zeros(shape, "float32"), form)
        assert y.shape[0] == 0 and gradients["input"].shape == shape, form


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans())
def test_global_pooling_is_the_loops(space, ties):
    x = numbers(2, *space, 3)
    x = np.sign(x) if ties else x
    axes = tuple(range(1, len(space) + 1))
    y, dy = reference.global_max_pool(x), numbers(2, 3, seed=1)
    assert error_of(L.global_max_pool(x, axes), y) == 0
    assert error_of(pooling.global_max_pool_gradient(*tensors(dy, y, x), axes),
                    reference.global_max_pool_gradient(dy, x)) < within(1e-12)
    assert error_of(L.global_average_pool(x, axes), reference.global_average_pool(x)) < within(1e-12)
    assert error_of(pooling.global_average_pool_gradient(*tensors(dy, x), axes),
                    reference.global_average_pool_gradient(dy, x)) < within(1e-12)


def tensors(*arrays):
    return [ops.convert_to_tensor(each, dtype=PRECISE) for each in arrays]


# ------------------------------------------------------------------------------------------------- reflection

def test_a_reflected_border_folds_back_inwards():
    """Of 1 2 3 comes 3 2 | 1 2 3 | 2: the border's gradients add up at the positions that it is the image of."""
    x, dy = np.array([1.0, 2, 3]).reshape(1, 3, 1), 10.0 ** np.arange(6).reshape(1, 6, 1)
    assert array(L.reflect_pad(x, [(2, 1)])).ravel().tolist() == [3, 2, 1, 2, 3, 2]
    folded = array(blur.reflect_pad_gradient(*tensors(dy), [(2, 1)])).ravel()
    assert folded.tolist() == [100, 1000 + 10 + 100000, 10000 + 1]


def test_zeros_are_cut_off_and_reflections_are_not():
    """Cropping the padded gradient is the whole of it for zero padding only."""
    kernel = numbers(3, 3, 2, 2, seed=1)
    x, dy = numbers(1, 5, 5, 2), numbers(1, 5, 5, 2, seed=2)
    zeros, reflected = (passes.run(lambda x, pad=pad: L.convolve(pad(x), kernel), {"input": x}, dy=dy)[1]["input"]
                        for pad in (lambda x: ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]),
                                    lambda x: L.reflect_pad(x, ((1, 1), (1, 1)))))
    assert error_of(reflected[:, 2:-2, 2:-2], zeros[:, 2:-2, 2:-2]) < within(1e-12)
    assert error_of(zeros, reflected) > 0.1
    wide = np.asarray(passes.run(lambda x: L.convolve(x, kernel), {"input": np.zeros((1, 7, 7, 2), x.dtype)},
                                 dy=dy)[1]["input"])
    assert error_of(zeros, wide[:, 1:-1, 1:-1]) < within(1e-12)
    assert error_of(reflected, reference.reflect_pad_gradient(wide, x, ((1, 1), (1, 1)))) < within(1e-12)


@few
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3))
def test_folding_is_the_adjoint_of_reflecting(axes):
    """⟨reflect(x), v⟩ = ⟨x, fold(v)⟩ in one, two and three dimensions."""
    pads = [(min(low, n - 1), min(high, n - 1)) for n, low, high in axes]
    x = numbers(2, *(n for n, _, _ in axes), 2)
    wide = array(L.reflect_pad(x, pads))
    assert (wide == reference.reflect_pad(x, pads)).all()
    v = numbers(*wide.shape, seed=1)
    back = array(blur.reflect_pad_gradient(*tensors(v), pads))
    assert back.shape == x.shape
    assert (wide * v).sum() == pytest.approx((x * back).sum(), rel=within(1e-10), abs=within(1e-10))


# ------------------------------------------------------------------------------------------------- blur

def test_the_filters_are_rows_of_pascals_triangle():
    assert [[b * 2 ** (size - 1) for b in blur.binomial(size)] for size in (1, 2, 3, 4, 5)] == [
        [1], [1, 1], [1, 2, 1], [1, 3, 3, 1], [1, 4, 6, 4, 1]]
    flat = np.full((1, 7, 5, 2), 3.0)
    for size in range(1, 6):
        assert error_of(L.blur_pool(flat, size), np.full((1, 4, 3, 2), 3.0)) < within(1e-15)


def test_a_blur_of_two_is_the_average():
    x = numbers(2, 8, 6, 3)
    assert error_of(L.blur_pool(x, 2, padding="valid"), L.average_pool(x, (2, 2))) < within(1e-15)


@few
@given(st.data(), st.integers(1, 3), st.sampled_from(["reflect", "valid"]))
def test_blur_pooling_is_the_loops(data, axes, padding):
    size = data.draw(st.tuples(*[st.integers(1, 5)] * axes))
    strides = data.draw(st.tuples(*[st.integers(1, 3)] * axes))
    space = tuple(data.draw(st.integers(k if padding == "valid" else k // 2 + 1, 6)) for k in size)
    x = numbers(1, *space, 2)
    y = array(L.blur_pool(x, size, strides, padding))
    assert error_of(y, reference.blur_pool(x, size, strides, padding)) < within(1e-12)
    if padding == "valid":
        dy = numbers(*y.shape, seed=1)
        found = blur.blur_gradient(*tensors(dy, x), Window.of(size, strides, "valid"))
        assert error_of(found, reference.blur_pool_gradient(dy, x, size, strides, padding)) < within(1e-12)


# ------------------------------------------------------------------------------------------------- shifts

def test_the_papers_signal():
    """Zhang 2019, figure 4: max pooling of a signal and of the same one shifted are unlike; blurred, less so."""
    signal = np.tile([0.0, 0, 1, 1], 5)
    outputs = {}
    for name, layer in (("max", L.MaxPooling1D(2)), ("blurred", L.MaxBlurPooling1D(2))):
        for shift in (0, 1):
            x = np.roll(signal, -shift).reshape(1, -1, 1)
            outputs[name, shift] = array(layer(x)).ravel()[1:-1][:4].tolist()           # without the border
    assert outputs["max", 0] == [1, 0, 1, 0] and outputs["max", 1] == [1, 1, 1, 1]
    assert outputs["blurred", 0] == [1, 0.5, 1, 0.5] and outputs["blurred", 1] == [0.75, 0.75, 0.75, 0.75]


def unlike(layer, images):
    """How far from shift-equivariant: E|F(shift x) − shift F(x)|² / (2 var F), F repeated up to the input's size.

    Over all shifts of one to three positions; 0 is equivariant, about 1 unrelated.
    """
    def features(x):
        return np.kron(array(layer(x))[..., 0], np.ones((1, 2, 2)))

    total, spread = [], features(images).var()
    for shift in product(range(4), repeat=2):
        if any(shift):
            moved = features(np.roll(images, shift, (1, 2)))
            expected = np.roll(features(images), shift, (1, 2))
            total.append(((moved - expected)[:, 8:-8, 8:-8] ** 2).mean())               # away from the border
    return np.mean(total) / (2 * spread)


@pytest.mark.parametrize("images", ["noise", "edges"])
def test_blur_brings_pooling_nearer_to_shift_equivariance(images):
    """The longer the filter, the nearer: with three taps less than half as far as max pooling."""
    x = numbers(16, 32, 32, 1, dtype="float32")
    if images == "edges":                                       # rectangles: what a first layer of filters sees
        x = np.stack([np.sign(np.add.outer(np.sin(n + np.arange(32) / 2.3), np.cos(n * 2 + np.arange(32) / 3.1)))
                      for n in range(16)]).astype("float32")[..., None]
    measured = [unlike(layer, x) for layer in (
        L.MaxPooling2D(2), L.MaxBlurPooling2D(2, blur_size=2), L.MaxBlurPooling2D(2, blur_size=3),
        L.MaxBlurPooling2D(2, blur_size=5))]
    assert all(after < before for before, after in zip(measured, measured[1:]))
    assert 2 * measured[2] < measured[0]
    average, blurred = (unlike(layer, x) for layer in (L.AveragePooling2D(2), L.BlurPooling2D(3)))
    assert blurred < 0.9 * average
