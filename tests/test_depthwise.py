"""Depthwise and separable convolution: a case by hand, what they equal, and every combination that Keras takes."""
from itertools import product

import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from passes import numbers, within

from cnn_repro import layers as L
from cnn_repro.layers import convolution, depthwise
from cnn_repro.layers.window import Window, pad
from cnn_repro.repro.check import error_of


def assert_same(found, expected):
    """Outputs and gradients of `passes.run`."""
    assert error_of(found[0], expected[0]) < within(1e-12)
    for name in expected[1]:
        assert error_of(found[1][name], expected[1][name]) < within(1e-12), name


def test_by_hand():
    """Two channels with two kernels each: 1 2 3 and 10 20 30 under (1, 2), (0, 1) and (1, 0), (3, −1)."""
    x = np.array([[[1, 10], [2, 20], [3, 30]]], "float32")
    kernel = np.array([[[1, 0], [1, 3]], [[2, 1], [0, -1]]], "float32")                 # (taps, C, m)
    dy = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], "float32")
    y, gradients = passes.run(L.depthwise_convolve, {"x": x, "w": kernel}, dy=dy)
    assert y.tolist() == [[[1 + 4, 2, 10, 30 - 20], [2 + 6, 3, 20, 60 - 30]]]
    assert gradients["x"].tolist() == [[
        [1 * 1 + 2 * 0, 3 * 1 + 4 * 3],
        [1 * 2 + 2 * 1 + 5 * 1 + 6 * 0, 3 * 0 - 4 * 1 + 7 * 1 + 8 * 3],
        [5 * 2 + 6 * 1, 7 * 0 - 8 * 1]]]
    assert gradients["w"].tolist() == [
        [[1 * 1 + 2 * 5, 1 * 2 + 2 * 6], [10 * 3 + 20 * 7, 10 * 4 + 20 * 8]],
        [[2 * 1 + 3 * 5, 2 * 2 + 3 * 6], [20 * 3 + 30 * 7, 20 * 4 + 30 * 8]]]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("strides, dilation, padding", list(product([1, 2, 3], [1, 2], ["valid", "same"])))
def test_every_combination_is_that_of_keras(strides, dilation, padding, data_format):
    """With the multipliers 1 and 2, over one axis and two, odd and even sizes and kernels."""
    arguments = (strides, padding, dilation, data_format)
    for space, size, multiplier in (((7, 8), (3, 2), 1), ((8, 7), (2, 3), 2), ((9,), (3,), 2), ((8,), (4,), 1)):
        shape = (2, *space, 3) if data_format == "channels_last" else (2, 3, *space)
        tensors = {"x": numbers(*shape), "w": numbers(*size, 3, multiplier, seed=1)}
        ours = lambda x, w: L.depthwise_convolve(x, w, *arguments)                      # noqa: E731
        stock = lambda x, w: ops.depthwise_conv(x, w, strides, padding, data_format, dilation)     # noqa: E731
        assert_same(passes.run(ours, tensors), passes.run(stock, tensors))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_the_gradients_are_adjoints(data):
    """⟨Y, dY⟩ = ⟨X, dX⟩ = ⟨W, dW⟩, for another size and dilation along each axis."""
    draw = lambda low, high: tuple(data.draw(st.tuples(*[st.integers(low, high)] * 2)))    # noqa: E731
    size, dilation, (channels, multiplier) = draw(1, 4), draw(1, 3), draw(1, 3)
    strides = data.draw(st.integers(1, 3))              # TensorFlow wants the same one along both axes
    padding = data.draw(st.sampled_from(["valid", "same"]))
    least = [(k - 1) * d + 1 if padding == "valid" else 1 for k, d in zip(size, dilation)]
    space = [n + more for n, more in zip(least, draw(0, 5))]
    x, w = numbers(2, *space, channels), numbers(*size, channels, multiplier, seed=1)
    tensors, convolve = {"x": x, "w": w}, lambda x, w: L.depthwise_convolve(x, w, strides, padding, dilation)
    y, _ = passes.run(convolve, tensors)
    dy = numbers(*y.shape, seed=2)
    _, found = passes.run(convolve, tensors, dy=dy)
    scale = np.abs(y * dy).sum() + 1e-3
    for name, tensor in tensors.items():
        assert found[name].shape == tensor.shape
        assert abs((tensor * found[name]).sum() - (y * dy).sum()) < within(1e-12) * scale


@pytest.mark.parametrize("space, size", [((7, 6), (3, 2)), ((5,), (4,))])
@pytest.mark.parametrize("strides, padding", [(1, "same"), (2, "valid"), (3, "same")])
def test_both_forms_of_the_kernel_gradient_are_the_same(space, size, strides, padding):
    window = Window.of(size, strides, padding)
    x, kernel = pad(numbers(3, *space, 4), window.pads(space)), numbers(*size, 4, 1)
    dy = numbers(3, *window.outputs(space), 4, seed=1)
    assert error_of(depthwise.depthwise_kernel_gradient_by_images(dy, x, kernel, window),
                    depthwise.depthwise_kernel_gradient_by_taps(dy, x, kernel, window)) < within(1e-12)


@pytest.mark.parametrize("strides, dilation, multiplier", [(1, 1, 1), (2, 1, 2), (1, 2, 3), (2, 2, 1)])
def test_it_is_the_convolution_with_as_many_groups_as_channels(strides, dilation, multiplier):
    tensors = {"x": numbers(2, 7, 6, 3), "w": numbers(3, 2, 3, multiplier, seed=1)}
    grouped = lambda x, w: L.convolve(x, ops.reshape(w, (3, 2, 1, -1)), strides, "same", dilation)   # noqa: E731
    assert_same(passes.run(lambda x, w: L.depthwise_convolve(x, w, strides, "same", dilation), tensors),
                passes.run(grouped, tensors))


@pytest.mark.parametrize("strides, multiplier", [(1, 1), (2, 2)])
def test_a_separable_convolution_is_a_dense_one_with_a_kernel_in_factors(strides, multiplier):
    """W[t,c,k] = Σ_j D[t,c,j] P[c·m+j,k]."""
    tensors = {"x": numbers(2, 6, 5, 3), "depthwise": numbers(3, 3, 3, multiplier, seed=1),
               "pointwise": numbers(1, 1, 3 * multiplier, 4, seed=2)}

    def dense(x, depthwise, pointwise):
        kernel = ops.einsum("hwcj,cjk->hwck", depthwise, ops.reshape(pointwise, (3, multiplier, 4)))
        return L.convolve(x, kernel, strides, "same")

    assert_same(passes.run(lambda *factors: L.separable_convolve(*factors, strides, "same"), tensors),
                passes.run(dense, tensors))


@pytest.mark.parametrize("name, shape", [("SeparableConv1D", (2, 7, 3)), ("SeparableConv2D", (2, 6, 5, 3))])
def test_its_pointwise_half_is_our_convolution(name, shape, monkeypatch):
    layer, right = getattr(L, name)(4, 3), convolution.kernel_gradient
    _, gradients = passes.of(layer, numbers(*shape, dtype="float32"))
    monkeypatch.setattr(convolution, "kernel_gradient", lambda *tensors: 2 * right(*tensors))
    for form in passes.FORMS:
        _, found = passes.of(layer, numbers(*shape, dtype="float32"), form)
        for key, gradient in gradients.items():
            assert error_of(found[key], gradient * (2 if key == "pointwise_kernel" else 1)) < 1e-5, (form, key)


@pytest.mark.parametrize("size, channels, filters", [(3, 8, 16), (5, 4, 4), (1, 3, 7), (3, 512, 512)])
def test_the_multiplications_that_it_saves(size, channels, filters):
    """D_K²·M + M·N weights, each used once a position, in place of D_K²·M·N: the fraction 1/N + 1/D_K²."""
    separable = L.SeparableConv2D(filters, size, use_bias=False)
    dense = L.Conv2D(filters, size, use_bias=False)
    for layer in (separable, dense):
        layer.build((None, 8, 8, channels))
    assert separable.count_params() == size**2 * channels + channels * filters
    assert dense.count_params() == size**2 * channels * filters
    assert separable.count_params() / dense.count_params() == pytest.approx(1 / filters + 1 / size**2)


@pytest.mark.parametrize("form", passes.FORMS)
@pytest.mark.parametrize("name, shape, arguments", [
    ("DepthwiseConv2D", (6, 5, 3), dict(kernel_size=3, strides=2, depth_multiplier=2)),
    ("DepthwiseConv1D", (7, 3), dict(kernel_size=3)),
    ("SeparableConv2D", (6, 5, 3), dict(filters=4, kernel_size=3, dilation_rate=2)),
    ("SeparableConv1D", (7, 3), dict(filters=4, kernel_size=2, strides=2, padding="same")),
])
def test_no_images_have_no_gradient(name, shape, arguments, form):
    layer = getattr(L, name)(**arguments)
    layer.build((None, *shape))
    y, gradients = passes.of(layer, np.zeros((0, *shape), "float32"), form)
    assert y.shape == layer.compute_output_shape((0, *shape)) and gradients["input"].shape == (0, *shape)
    for weight in layer.trainable_weights:
        assert gradients[weight.name].shape == weight.shape and not gradients[weight.name].any()


def test_stock_keras_opens_the_weights(tmp_path):
    """Both ways, with layers that have no name of their own."""
    def network(namespace):
        x = inputs = keras.Input((8, 7, 3))
        x = namespace.SeparableConv2D(4, 3, padding="same")(namespace.DepthwiseConv2D(3, depth_multiplier=2)(x))
        x = ops.reshape(x, (-1, 30, 4))
        return keras.Model(inputs, namespace.SeparableConv1D(2, 3)(namespace.DepthwiseConv1D(3, strides=2)(x)))

    x = numbers(2, 8, 7, 3, dtype="float32")
    for source, target in ((L, keras.layers), (keras.layers, L)):
        model, other = network(source), network(target)
        model.save_weights(tmp_path / "network.weights.h5")
        other.load_weights(tmp_path / "network.weights.h5")
        assert error_of(other(x), model(x)) < 1e-5
