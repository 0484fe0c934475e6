"""Convolutions in one, two and three dimensions and their adjoints: equalities, causality, batches of no images."""
import subprocess
import sys

import keras
import numpy as np
import passes
import pytest
from hypothesis import assume, given, settings, strategies as st
from keras import ops
from passes import FORMS, PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import convolution, reference, transposed
from cnn_repro.layers.batch import for_any_batch
from cnn_repro.layers.window import Window, pad
from cnn_repro.repro.check import error_of
from cnn_repro.repro.check.backends import second_derivatives

few = settings(max_examples=40, deadline=None, derandomize=True)
tensorflow = keras.backend.backend() == "tensorflow"


def per_axis(axes, low, high):
    return st.tuples(*[st.integers(low, high)] * axes)


# ------------------------------------------------------------------------------- the transposed convolution

@st.composite
def transpositions(draw, axes):
    """(window, output_padding) as Keras's layer takes them, and a stride beside a dilation."""
    window = Window(draw(per_axis(axes, 1, 3)), draw(per_axis(axes, 1, 3)), draw(st.sampled_from(["valid", "same"])),
                    draw(per_axis(axes, 1, 2)))
    more = draw(st.none() | st.tuples(*[st.integers(0, s - 1) for s in window.strides]))
    return window, more


@few
@given(st.data(), st.integers(1, 3))
def test_the_transposed_convolution_is_the_loops(data, axes):
    """Y, dX and dW for random sizes, strides, paddings, output paddings and dilations, in 1 to 3 dimensions."""
    window, more = data.draw(transpositions(axes))
    space = data.draw(per_axis(axes, 1, 6 - axes))
    x, kernel = numbers(2, *space, 2), numbers(*window.size, 3, 2, seed=1)
    arguments = (window.strides, window.padding, more, window.dilation)
    expected = reference.transposed_convolution(x, kernel, *arguments)
    assume(expected.size)
    y, gradients = passes.run(lambda x, w: L.convolve_transposed(x, w, *arguments), {"x": x, "w": kernel},
                              dy=numbers(*expected.shape, seed=2))
    assert error_of(y, expected) < within(1e-12)
    dx, dkernel = reference.transposed_convolution_gradients(
        numbers(*y.shape, seed=2), x, kernel, window.strides, window.padding, window.dilation)
    assert error_of(gradients["x"], dx) < within(1e-12) and error_of(gradients["w"], dkernel) < within(1e-12)


@few
@given(st.data(), st.integers(1, 3))
def test_it_is_the_adjoint_of_the_convolution(data, axes):
    """⟨C(x), y⟩ = ⟨x, Cᵀ(y)⟩, the output padding chosen so that Cᵀ(y) has the size of x; and dX of C is Cᵀ(dY)."""
    window, _ = data.draw(transpositions(axes))
    space = data.draw(per_axis(axes, 1, 8 - axes))
    outputs = window.outputs(space)
    assume(min(outputs) > 0)
    x, kernel, y = numbers(2, *space, 2), numbers(*window.size, 2, 3, seed=1), numbers(2, *outputs, 3, seed=2)
    least = [e if window.padding == "valid" else e % 2 for e in window.extent]
    more = tuple(m - (n - 1) * s - e for m, n, s, e in zip(space, outputs, window.strides, least))
    there = array(L.convolve(x, kernel, window.strides, window.padding, window.dilation))
    back = array(L.convolve_transposed(y, kernel, window.strides, window.padding, more, window.dilation))
    assert back.shape == x.shape
    scale = np.abs(there * y).sum() + 1
    assert abs((there * y).sum() - (x * back).sum()) / scale < within(1e-12)
    assert error_of(back, convolution.input_gradient(y, x, kernel, window)) < within(1e-12)


def test_every_number_lays_down_the_kernel():
    x = np.array([[1, 10], [100, 1000]], "float32").reshape(1, 2, 2, 1)
    kernel = np.array([[1, 2], [3, 4]], "float32").reshape(2, 2, 1, 1)
    side_by_side = array(L.convolve_transposed(x, kernel, 2))[0, ..., 0]
    assert side_by_side.tolist() == [[1, 2, 10, 20], [3, 4, 30, 40], [100, 200, 1000, 2000], [300, 400, 3000, 4000]]
    overlapping = array(L.convolve_transposed(x, kernel, 1))[0, ..., 0]
    # the residuals of lecture note 001, section 3.2, which a convolution with this kernel sends back
    assert overlapping.tolist() == [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]
    cut = array(L.convolve_transposed(x, kernel, 1, "same"))[0, ..., 0]
    assert cut.tolist() == [[1, 12], [103, 1234]]
    apart = array(L.convolve_transposed(x, kernel[:1, :1], 2))[0, ..., 0]
    assert apart.tolist() == [[1, 0, 10, 0], [0, 0, 0, 0], [100, 0, 1000, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_dilated_kernel_is_one_with_zeros_in_it(padding):
    """Keras's own layer with the zeros written out: on a CPU TensorFlow has no dilated one in double precision."""
    ours = L.Conv2DTranspose(3, (2, 3), padding=padding, dilation_rate=(3, 2), dtype=PRECISE)
    stock = keras.layers.Conv2DTranspose(3, (4, 5), padding=padding, dtype=PRECISE)
    for layer in (ours, stock):
        layer.build((None, 4, 5, 2))
    wide = np.zeros((4, 5, 3, 2), PRECISE)
    wide[::3, ::2] = numbers(2, 3, 3, 2)
    ours.set_weights([wide[::3, ::2], numbers(3, seed=1)])
    stock.set_weights([wide, numbers(3, seed=1)])
    found, expected = (passes.of(layer, numbers(2, 4, 5, 2, seed=2)) for layer in (ours, stock))
    expected[1]["kernel"] = expected[1]["kernel"][::3, ::2]
    assert error_of(found[0], expected[0]) < within(1e-12)
    for name in expected[1]:
        assert error_of(found[1][name], expected[1][name]) < within(1e-12), name


def test_it_is_not_the_inverse():
    """Sums over 2×2 blocks, laid down again: the blocks' shape comes back, their numbers do not, scaled or not."""
    x, kernel = np.arange(16, dtype="float32").reshape(1, 4, 4, 1), np.ones((2, 2, 1, 1), "float32")
    back = array(L.convolve_transposed(L.convolve(x, kernel, 2), kernel, 2))
    assert back.shape == x.shape and back[0, :2, :2, 0].tolist() == [[10, 10], [10, 10]]    # 0 + 1 + 4 + 5
    assert np.ptp(back[0, :2, :2]) == 0 < np.ptp(x[0, :2, :2])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("more", [0, (0, 1)])
def test_an_even_kernel_without_output_padding(form, more):
    """For which keras.layers.Conv2DTranspose raises on TensorFlow and ends the process on JAX."""
    x, kernel = numbers(2, 3, 4, 2), numbers(4, 1, 3, 2, seed=1)
    arguments = (x, kernel, (2, 2), "same")
    expected = reference.transposed_convolution(*arguments, more or (0, 0))
    dy = numbers(*expected.shape, seed=2)
    y, gradients = passes.run(lambda x, w: L.convolve_transposed(x, w, 2, "same", more), {"x": x, "w": kernel},
                              form=form, dy=dy)
    assert error_of(y, expected) < within(1e-12)
    dx, dkernel = reference.transposed_convolution_gradients(dy, *arguments)
    assert error_of(gradients["x"], dx) < within(1e-12) and error_of(gradients["w"], dkernel) < within(1e-12)


# ------------------------------------------------------------------------------------------ dimensions

@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strides, padding, dilation", [
    (1, "valid", 1), (2, "valid", 1), (1, "same", 1), (1, "valid", 2)])
def test_a_convolution_over_channels_is_one_whose_kernel_spans_the_depth(form, strides, padding, dilation):
    """The channels become a third axis: outputs and gradients are equal."""
    x, kernel = numbers(2, 6, 5, 4), numbers(3, 2, 4, 3, seed=1)

    def flat(x, w):
        return L.convolve(x, w, strides, padding, dilation)

    def deep(x, w):
        x, w = ops.moveaxis(x, -1, 1)[..., None], ops.moveaxis(w, 2, 0)[..., None, :]
        if padding == "same":                           # over the images alone
            x = ops.pad(x, [(0, 0), (0, 0), *Window.of((3, 2), 1, "same").pads((6, 5)), (0, 0)])
        return L.convolve(x, w, (1, strides, strides), "valid", (1, dilation, dilation))[:, 0]

    found, expected = (passes.run(function, {"x": x, "w": kernel}, form=form) for function in (deep, flat))
    assert error_of(found[0], expected[0]) < within(1e-12)
    for name in ("x", "w"):
        assert error_of(found[1][name], expected[1][name]) < within(1e-12), name


def test_a_kernel_that_does_not_span_the_depth_makes_an_output_axis_of_it():
    """Each plane of the output is the 2-D convolution of the channels that its kernel covers."""
    x, kernel = numbers(2, 5, 4, 3, 1), numbers(2, 2, 2, 1, 3, seed=1)
    y = array(L.convolve(x, kernel))
    assert y.shape == (2, 4, 3, 2, 3)
    for depth in range(4):
        channels = np.moveaxis(x[:, depth:depth + 2, ..., 0], 1, -1)
        plane = L.convolve(channels, np.moveaxis(kernel[..., 0, :], 0, 2))
        assert error_of(y[:, depth], plane) < within(1e-12)


def assert_the_loops(x, kernel, window):
    """Y, dX and dW of a convolution are those of the loops."""
    arguments = (window.strides, window.padding, window.dilation)
    y = array(L.convolve(x, kernel, *arguments))
    assert error_of(y, reference.convolution(x, kernel, *arguments)) < within(1e-12)
    dy = numbers(*y.shape, seed=2)
    dx, dkernel = reference.convolution_gradients(dy, x, kernel, *arguments)
    assert error_of(convolution.input_gradient(dy, x, kernel, window), dx) < within(1e-12)
    assert error_of(convolution.kernel_gradient(dy, x, kernel, window), dkernel) < within(1e-12)


@few
@given(st.data(), st.integers(1, 3), st.integers(1, 2))
def test_convolutions_of_any_rank_are_the_loops(data, axes, groups):
    """Also with causal padding, where stride, dilation and groups go together with it."""
    window = Window(data.draw(per_axis(axes, 1, 3)), data.draw(per_axis(axes, 1, 3)),
                    data.draw(st.sampled_from(["valid", "same", "causal"])), data.draw(per_axis(axes, 1, 2)))
    space = data.draw(per_axis(axes, 1, 8 - 2 * axes))
    assume(min(window.outputs(space)) > 0)
    assert_the_loops(numbers(1, *space, 2 * groups), numbers(*window.size, 2, 2 * groups, seed=1), window)


@few
@given(per_axis(2, 1, 3), per_axis(2, 1, 3), st.sampled_from(["valid", "same"]), per_axis(2, 1, 3), per_axis(2, 1, 6),
       st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_convolutions_of_images_are_the_loops(size, strides, padding, dilation, space, groups, inner, outer):
    """Random sizes, strides, paddings, dilations and groups of any width, over two images."""
    window = Window(size, strides, padding, dilation)
    assume(min(window.outputs(space)) > 0)
    assert_the_loops(numbers(2, *space, groups * inner), numbers(*size, inner, groups * outer, seed=1), window)


@pytest.mark.parametrize("form", ["by_channels", "by_taps", "beside"])
@few
@given(data=st.data())
def test_every_form_of_the_kernel_gradient_is_the_loops(form, data):
    """The layers choose among them by shape alone."""
    axes = data.draw(st.integers(1, 3))
    window = Window(data.draw(per_axis(axes, 1, 3)), data.draw(per_axis(axes, 1, 1 if form == "beside" else 3)),
                    data.draw(st.sampled_from(["valid", "same", "causal"])), data.draw(per_axis(axes, 1, 2)))
    space = data.draw(per_axis(axes, 1, 8 - 2 * axes))
    assume(min(window.outputs(space)) > 0)
    x, kernel = numbers(2, *space, 2), numbers(*window.size, 2, 3, seed=1)
    dy = numbers(2, *window.outputs(space), 3, seed=2)
    seen = pad(x, window.pads(space)) if form == "by_taps" else x
    found = getattr(convolution, f"kernel_gradient_{form}")(dy, seen, kernel, window)
    expected = reference.convolution_gradients(dy, x, kernel, window.strides, window.padding, window.dilation)[1]
    assert error_of(found, expected) < within(1e-12)


@pytest.mark.skipif(not tensorflow, reason="elsewhere nothing runs operation by operation")
@pytest.mark.parametrize("images", [1, 4, 5])
@pytest.mark.parametrize("form", FORMS)
def test_a_sum_over_blocks_of_two_images_is_the_sum(form, images, monkeypatch):
    """The last block may be smaller; a graph does not know how many images there are, and XLA needs no blocks."""
    monkeypatch.setattr(convolution, "BLOCK", 2 * 4 * 6 * 7 * (2 + 5))
    monkeypatch.setattr(convolution, "FULL", 1)
    seen, compute = [], convolution._channels_along_the_width
    monkeypatch.setattr(convolution, "_channels_along_the_width",
                        lambda dy, *others: (seen.append(dy.shape[0]), compute(dy, *others))[1])
    x, kernel, dy = numbers(images, 6, 7, 2), numbers(4, 4, 2, 5, seed=1), numbers(images, 6, 7, 5, seed=2)
    _, found = passes.run(lambda x, kernel: L.convolve(x, kernel, padding="same"), {"x": x, "kernel": kernel}, form=form, dy=dy)
    expected = reference.convolution_gradients(dy, x, kernel, (1, 1), "same", (1, 1))[1]
    assert error_of(found["kernel"], expected) < 1e-12
    if form == "eager":
        assert seen == {1: [1], 4: [2, 2], 5: [2, 2, 1]}[images]


@pytest.mark.skipif(not tensorflow, reason="elsewhere nothing runs operation by operation")
@pytest.mark.parametrize("strides, padding", [(1, "same"), (2, "valid")])
def test_the_channels_along_the_width_can_be_differentiated_once_more(strides, padding, monkeypatch):
    """Whole and in blocks, against the form by taps, whose derivative is the backend's own."""
    x, kernel = numbers(5, 8, 7, 2), numbers(4, 4, 2, 3, seed=1)
    window = Window.of((4, 4), strides, padding)
    squared = lambda x, kernel: ops.square(L.convolve(x, kernel, strides, padding))        # noqa: E731
    directions = [numbers(*x.shape, seed=3), numbers(*kernel.shape, seed=4)]
    arguments = squared, [x, kernel], numbers(5, *window.outputs((8, 7)), 3, seed=2), directions
    whole = second_derivatives(*arguments)
    monkeypatch.setattr(convolution, "FULL", 1)
    monkeypatch.setattr(convolution, "BLOCK", 2000)
    blocks = second_derivatives(*arguments)
    monkeypatch.setattr(convolution, "operation_by_operation", lambda: False)         # on a GPU
    for one, other, expected in zip(whole, blocks, second_derivatives(*arguments), strict=True):
        assert error_of(array(one), array(expected)) < 1e-12 and error_of(array(other), array(expected)) < 1e-12
        assert np.abs(array(expected)).max() > 1


def test_a_block_fills_a_vector_and_maps_of_unknown_size_are_one():
    def block(*shape, filters):
        x = keras.KerasTensor(shape)
        return convolution._images_of_a_block(keras.KerasTensor((*shape[:-1], filters)), x)

    assert block(128, 32, 32, 16, filters=16) == block(None, 32, 32, 16, filters=16) == 16
    assert block(128, 8, 8, 64, filters=64) == 64
    assert block(32, 224, 224, 64, filters=64) == 16                # however large they are
    assert block(16, 32, 32, 16, filters=16) is block(128, 14, 14, 6, filters=6) is None
    assert block(128, None, None, 16, filters=16) is None


@pytest.mark.parametrize("channels, filters, size, strides, dilation, chosen", [
    (6, 16, 5, 1, 1, "by_channels"), (16, 16, 3, 1, 1, "by_channels"), (100, 12, 3, 2, 1, "by_channels"),
    (100, 12, 3, 1, 1, "beside"), (28, 12, 3, 1, 1, "by_channels"), (64, 256, 1, 1, 1, "by_taps"),
    (16, 16, 3, 1, 2, "by_taps")])
def test_the_form_is_the_one_that_measured_fastest(channels, filters, size, strides, dilation, chosen, monkeypatch):
    for form in ("by_channels", "by_taps", "beside"):
        monkeypatch.setattr(convolution, f"kernel_gradient_{form}", lambda *arguments, form=form: form)
    window = Window.of((size, size), strides, "same", dilation)
    x = ops.zeros((1, 32, 32, channels))
    dy = ops.zeros((1, *window.outputs((32, 32)), filters))
    if keras.backend.backend() == "torch":
        chosen = chosen.replace("by_channels", "by_taps")
    assert convolution.kernel_gradient(dy, x, ops.zeros((size, size, channels, filters)), window) == chosen


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("strides, dilation, padding", [(1, 1, "same"), (2, 1, "valid"), (1, 2, "valid")])
def test_the_same_formulas_hold_in_one_and_three_dimensions(axes, strides, dilation, padding):
    window = Window.of((2,) * axes, strides, padding, dilation)
    assert_the_loops(numbers(1, *(5,) * axes, 2), numbers(*(2,) * axes, 2, 2, seed=1), window)


def test_a_layer_that_keras_would_refuse_works_as_a_function():
    """Stride and dilation above 1 together: keras.layers.Conv2D keeps its error, `convolve` computes it."""
    x, kernel = numbers(1, 9, 8, 2), numbers(3, 2, 2, 3, seed=1)
    assert error_of(L.convolve(x, kernel, (2, 3), "same", 2),
                    reference.convolution(x, kernel, (2, 3), "same", (2, 2))) < within(1e-12)


@pytest.mark.parametrize("strides, dilation, groups", [(1, 1, 1), (1, 2, 1), (3, 1, 1), (2, 1, 2)])
def test_a_causal_convolution_never_looks_ahead(strides, dilation, groups):
    """Numbers from step t on change no output before it, and the gradient of an output reaches none after it."""
    layer = L.Conv1D(4, 3, strides=strides, dilation_rate=dilation, groups=groups, padding="causal")
    layer.build((None, 10, 4))
    x = numbers(1, 10, 4, dtype="float32")
    y, _ = passes.of(layer, x)
    assert y.shape == (1, -(-10 // strides), 4)
    for p in range(y.shape[1]):
        later = x.copy()
        later[:, p * strides + 1:] = 7
        assert error_of(array(layer(later))[:, :p + 1], y[:, :p + 1]) < 1e-6
        dy = np.zeros_like(y)
        dy[:, p] = 1
        _, gradients = passes.of(layer, x, dy=dy)
        assert not gradients["input"][:, p * strides + 1:].any()
        assert np.abs(gradients["input"][:, p * strides]).max() > 1e-3          # the step itself counts


# ------------------------------------------------------------------------------------------ no images

EMPTY = {
    "causal": (lambda x, w: L.convolve(x, w, 2, "causal"), (0, 7, 2), (3, 2, 3), (0, 4, 3)),
    "same": (lambda x, w: L.convolve(x, w, 1, "same"), (0, 5, 6, 2), (3, 3, 2, 3), (0, 5, 6, 3)),
    "dilated": (lambda x, w: L.convolve(x, w, 1, "valid", 2), (0, 7, 6, 2), (3, 2, 2, 3), (0, 3, 4, 3)),
    "strided and dilated": (lambda x, w: L.convolve(x, w, 2, "same", 2), (0, 7, 6, 2), (3, 2, 2, 3), (0, 4, 3, 3)),
    "grouped": (lambda x, w: L.convolve(x, w, 2), (0, 7, 6, 4), (3, 2, 2, 4), (0, 3, 3, 4)),
    "channels first": (lambda x, w: L.convolve(x, w, 1, data_format="channels_first"), (0, 2, 5, 6), (3, 3, 2, 3),
                       (0, 3, 3, 4)),
    "volumes": (lambda x, w: L.convolve(x, w, (1, 2, 1)), (0, 4, 5, 3, 2), (2, 2, 2, 2, 3), (0, 3, 2, 2, 3)),
    "transposed": (lambda x, w: L.convolve_transposed(x, w, 2, "same"), (0, 3, 4, 2), (3, 3, 3, 2), (0, 6, 8, 3)),
    "transposed, stride 1": (lambda x, w: L.convolve_transposed(x, w), (0, 3, 4, 2), (3, 3, 3, 2), (0, 5, 6, 3)),
    "transposed, dilated": (lambda x, w: L.convolve_transposed(x, w, 1, "same", None, 2), (0, 3, 4, 2), (3, 2, 3, 2),
                            (0, 3, 4, 3)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function, x, kernel, y", EMPTY.values(), ids=EMPTY)
def test_of_no_images_there_are_no_outputs_and_zero_gradients(form, function, x, kernel, y):
    found, gradients = passes.run(function, {"x": numbers(*x, dtype="float32"),
                                             "w": numbers(*kernel, dtype="float32")}, form=form)
    assert found.shape == y and gradients["x"].shape == x
    assert gradients["w"].shape == kernel and not gradients["w"].any()


@pytest.mark.skipif(not tensorflow, reason="only TensorFlow traces sizes that it does not know")
@pytest.mark.parametrize("xla", [False, True])
def test_one_graph_serves_any_number_of_images(xla):
    import tensorflow as tf
    model = keras.Sequential([keras.Input((9, 8, 2)), L.Conv2D(3, 3, activation="relu"), L.Conv2D(4, 2, strides=2),
                              L.Conv2DTranspose(3, 3, strides=2), L.Conv2D(2, 1)])

    @tf.function(input_signature=[tf.TensorSpec([None, 9, 8, 2])], jit_compile=xla)
    def step(x):
        with tf.GradientTape() as tape:
            y = model(x)
            loss = tf.reduce_sum(y**2)
        return y, tape.gradient(loss, model.trainable_weights)

    x = numbers(5, 9, 8, 2, dtype="float32")
    for images in (5, 0, 1, 2, 0):
        y, gradients = step(x[:images])
        assert error_of(y, model(x)[:images]) < 1e-5
        assert [gradient.shape for gradient in gradients] == [weight.shape for weight in model.trainable_weights]
        assert any(gradient.numpy().any() for gradient in gradients) == (images > 0)


def test_a_known_number_of_images_is_left_alone():
    x = ops.convert_to_tensor(numbers(2, 3, 3, 1, dtype="float32"))
    assert for_any_batch(lambda seen: seen, x) is x
    seen = []
    assert for_any_batch(lambda x: seen.append(x.shape) or x, x[:0]).shape == (0, 3, 3, 1)
    assert tuple(seen[0]) == (1, 3, 3, 1)


# ------------------------------------------------------------------------------------------ files

FILES = {
    "Conv1D": ((7, 2), dict(padding="causal", dilation_rate=2)), "Conv3D": ((3, 4, 3, 2), dict(padding="same")),
    "Conv1DTranspose": ((5, 2), dict(strides=2)), "Conv3DTranspose": ((2, 3, 2, 2), dict()),
    "Conv2DTranspose": ((3, 4, 2), dict(strides=2, padding="same", output_padding=1)),
}

ELSEWHERE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np

def same(model, name):
    y = keras.ops.convert_to_numpy(model(np.load(f"{name}_x.npy")))
    np.testing.assert_allclose(y, np.load(f"{name}_y.npy"), rtol=1e-4, atol=1e-5)

names = {names!r}
for name in names:
    known = {"cnn_repro>" + name: getattr(keras.layers, name)}
    stock = keras.models.load_model(f"{name}.keras", custom_objects=known)
    assert type(stock.layers[-1]) is getattr(keras.layers, name)
    same(stock, name)
assert not any(name.startswith("cnn_repro.layers") for name in sys.modules)
import cnn_repro.layers as L
for name in names:
    ours = keras.models.load_model(f"{name}.keras")
    assert type(ours.layers[-1]) is getattr(L, name)
    same(ours, name)
"""


def test_saved_layers_open_in_another_process_as_keras_own_and_as_ours(tmp_path):
    for name, (shape, arguments) in FILES.items():
        model = keras.Sequential([keras.Input(shape), getattr(L, name)(3, 3, **arguments)])
        model.save(tmp_path / f"{name}.keras")
        x = numbers(2, *shape, dtype="float32")
        np.save(tmp_path / f"{name}_x.npy", x)
        np.save(tmp_path / f"{name}_y.npy", array(model(x)))
    code = ELSEWHERE.replace("{names!r}", repr(list(FILES)))
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]


def test_what_the_transposed_convolution_leaves_out():
    """Half before and half after, the odd one after; below zero zeros are appended."""
    window = Window.of((4, 1), (1, 3), "same")
    assert transposed.cuts(window) == [3, -2] and transposed.halves([3, -2]) == [(1, 2), (0, -2)]
    assert transposed.cuts(Window.of((4, 1), (2, 3), "valid")) == [0, -2]
    assert transposed.cuts(Window.of((4, 3), 2, "same"), 1) == [3, 1]
