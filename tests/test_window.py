"""Sliding windows: the way back is the adjoint of the way there, whatever the size, stride and dilation."""
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from passes import array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import convolution, pooling, reference, window
from cnn_repro.layers.window import Window
from cnn_repro.repro.check import error_of
from cnn_repro.repro.check.backends import to_tensors

few = settings(max_examples=40, deadline=None, derandomize=True)
paddings = st.sampled_from(["valid", "same"])


def per_axis(axes, low, high):
    return st.tuples(*[st.integers(low, high)] * axes)


@st.composite
def windows(draw, axes=2, largest=3):
    return Window(draw(per_axis(axes, 1, largest)), draw(per_axis(axes, 1, 3)), draw(paddings),
                  draw(per_axis(axes, 1, 3)))


@few
@given(st.data(), st.integers(1, 3))
def test_scatter_is_the_adjoint_of_taps(data, axes):
    """⟨taps(x), v⟩ = ⟨x, scatter(v)⟩ in one, two and three dimensions."""
    shape = data.draw(windows(axes))
    space = data.draw(per_axis(axes, 1, 9))
    pads = shape.pads(space)
    padded = tuple(n + low + high for n, (low, high) in zip(space, pads))
    outputs = shape.outputs(space)
    assume(min(outputs) > 0)
    x = numbers(2, *padded, 2)
    views = [array(view) for view in window.taps(x, shape, outputs)]
    assert len(views) == shape.count and all(view.shape == (2, *outputs, 2) for view in views)
    others = [numbers(*view.shape, seed=index) for index, view in enumerate(views)]
    back = array(window.scatter(others, shape, padded))
    assert back.shape == x.shape
    there = sum((view * other).sum() for view, other in zip(views, others))
    assert there == pytest.approx((x * back).sum(), rel=within(1e-10), abs=within(1e-10) * shape.count)


@few
@given(per_axis(3, 1, 4), per_axis(2, 1, 4))
def test_dilate_puts_zeros_between(shape, rates):
    x = numbers(*shape, 2)
    found = array(window.dilate(x, rates, (1, 2)))
    assert found.shape == (shape[0], *((n - 1) * rate + 1 for n, rate in zip(shape[1:], rates)), 2)
    assert (found[:, ::rates[0], ::rates[1]] == x).all()
    assert np.count_nonzero(found) == x.size


@few
@given(per_axis(2, 1, 5), st.tuples(per_axis(2, 0, 3), per_axis(2, 0, 3)), st.sampled_from([0.0, -np.inf, 7.0]))
def test_crop_undoes_pad(space, pads, value):
    x = numbers(2, *space, 3)
    wide = array(window.pad(x, pads, value))
    assert wide.shape == (2, *(n + low + high for n, (low, high) in zip(space, pads)), 3)
    assert (array(window.crop(wide, pads, space)) == x).all()
    assert (wide == value).sum() == wide.size - x.size


@few
@given(windows(), per_axis(2, 1, 8))
def test_outputs_and_pads_are_tensorflows(shape, space):
    outputs = shape.outputs(space)
    assert [reference.padding_of(n, k, s, shape.padding, d) for n, k, s, d
            in zip(space, shape.size, shape.strides, shape.dilation)] == [
                (low, p) for (low, _), p in zip(shape.pads(space), outputs)]
    assert all(high - low in (0, 1) for low, high in shape.pads(space))


@few
@given(per_axis(2, 1, 4), per_axis(2, 1, 3), paddings, per_axis(2, 1, 7), st.booleans())
def test_pooling_is_the_loops(size, strides, padding, space, ties):
    shape = Window.of(size, strides, padding)
    assume(min(shape.outputs(space)) > 0)
    x = numbers(2, *space, 2)
    x = np.sign(x) if ties else x
    largest, mean = (array(pool(x, size, strides, padding)) for pool in (L.max_pool, L.average_pool))
    assert (largest == reference.max_pool(x, size, strides, padding)).all()
    assert error_of(mean, reference.average_pool(x, size, strides, padding)) < within(1e-12)
    dy = numbers(*largest.shape, seed=1)
    assert error_of(pooling.max_pool_gradient(*to_tensors([dy, largest, x]), shape),
                    reference.max_pool_gradient(dy, x, size, strides, padding)) < within(1e-12)
    assert error_of(pooling.average_pool_gradient(*to_tensors([dy, mean, x]), shape),
                    reference.average_pool_gradient(dy, x, size, strides, padding)) < within(1e-12)
