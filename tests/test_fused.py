"""What XLA makes one loop of inside TensorFlow: when it does, and that it computes the same."""
import keras
import numpy as np
import passes
import pytest
from keras import ops
from passes import array, numbers

from cnn_repro import layers as L
from cnn_repro.layers import gradient, normalization, pooling, reference
from cnn_repro.layers.window import Window
from cnn_repro.repro.check import error_of
from cnn_repro.repro.check.backends import second_derivatives

tensorflow = keras.backend.backend() == "tensorflow"
only_tensorflow = pytest.mark.skipif(not tensorflow, reason="about TensorFlow")


@pytest.fixture
def compiled(monkeypatch):
    """Everything is large; the formulas that were handed to the compiler, with their settings."""
    found, compile_ = [], gradient._compiled
    monkeypatch.setattr(gradient, "LARGE", 1)
    monkeypatch.setattr(gradient, "_compiled", lambda formula, settings, shapes: (
        found.append((formula.__name__, *settings)), compile_(formula, settings, shapes))[1])
    return found


WINDOWS = [("max", 2, 2, "valid"), ("max", 3, 2, "same"), ("max", 3, 1, "valid"), ("max", 2, 3, "same"),
           ("average", 3, 2, "same"), ("average", 3, 1, "valid"), ("average", 2, 1, "same")]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("kind, size, stride, padding", WINDOWS)
@only_tensorflow
def test_a_fused_pool_is_the_loops(kind, size, stride, padding, dtype, compiled):
    """Of ties too, in an eager pass; the compiled graph of `passes` does not know the number of images."""
    window = Window.of((size, size), stride, padding)
    x = np.round(numbers(3, 7, 6, 2)).astype(dtype)                         # whole numbers: many are equal
    dy = np.round(4 * numbers(3, *window.outputs((7, 6)), 2, seed=1)).astype(dtype)
    pool = L.max_pool if kind == "max" else L.average_pool
    _, found = passes.run(lambda x: pool(x, window.size, window.strides, padding), {"x": x}, dy=dy)
    definition = reference.max_pool_gradient if kind == "max" else reference.average_pool_gradient
    expected = definition(*(value.astype("float64") for value in (dy, x)), window.size, window.strides, padding)
    assert error_of(found["x"], expected) < (1e-6 if dtype != "float16" else 1e-3) and found["x"].dtype == dtype
    assert compiled == [("max_pool_gradient" if kind == "max" else "_shared", window)]


@only_tensorflow
def test_a_fused_normalisation_is_the_loops(compiled):
    x, gamma, beta, dy = numbers(4, 3, 2, 5) + 3, numbers(5, seed=1), numbers(5, seed=2), numbers(4, 3, 2, 5, seed=3)

    def normalize(x, gamma, beta):
        return normalization.batch_normalize(x, gamma, beta, (0, 1, 2), 1e-3)[0]

    y, found = passes.run(normalize, {"x": x, "gamma": gamma, "beta": beta}, dy=dy)
    assert error_of(y, reference.batch_norm(x, gamma, beta, 1e-3)) < 1e-12
    expected = reference.batch_norm_gradients(dy, x, gamma, 1e-3)
    for name, one in zip(("x", "gamma", "beta"), expected, strict=True):
        assert error_of(np.squeeze(found[name]), one) < 1e-12, name
    assert set(compiled) == {("_squares", 2), ("_scaled",), ("_products", 2), ("_through_moments",)}


TWICE = {"max pool": lambda x: L.max_pool(x, (2, 2)),
         "batch normalisation": lambda x: normalization.batch_normalize(
             x[:, ::2, ::2], numbers(1, 1, 1, 2), numbers(1, 1, 1, 2, seed=1), (0, 1, 2), 1e-3)[0]}


@pytest.mark.parametrize("operator", TWICE)
@only_tensorflow
def test_it_can_be_differentiated_once_more(operator, compiled):
    x, dy, direction = numbers(2, 6, 6, 2, seed=1), numbers(2, 3, 3, 2, seed=2), numbers(2, 6, 6, 2, seed=3)
    squared = lambda x: ops.square(TWICE[operator](x))                                      # noqa: E731
    found = second_derivatives(squared, [x], dy, [direction])
    assert compiled
    compiled.clear()
    gradient.LARGE = 10**9                                                  # the fixture puts it back
    for one, expected in zip(found, second_derivatives(squared, [x], dy, [direction]), strict=True):
        assert error_of(array(one), array(expected)) < 1e-6 and np.abs(array(expected)).max() > 0.1
    assert not compiled


@only_tensorflow
def test_only_large_tensors_of_known_shape_and_outside_of_xla(compiled):
    import tensorflow as tf
    x = numbers(2, 6, 6, 2, dtype="float32")

    def backward(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = L.max_pool(x, (2, 2))
        return tape.gradient(y, x)

    expected = backward(tf.constant(x))
    assert len(compiled) == 1
    for form, signature, fused in (({}, (2, 6, 6, 2), True), ({}, (None, 6, 6, 2), False),
                                   ({"jit_compile": True}, (2, 6, 6, 2), False)):
        compiled.clear()
        found = tf.function(backward, input_signature=[tf.TensorSpec(signature)], autograph=False, **form)(x)
        np.testing.assert_array_equal(found, expected)
        assert bool(compiled) == fused
    compiled.clear()
    gradient.LARGE = x.size + 1                                             # the fixture puts it back
    backward(tf.constant(x))
    assert not compiled


@only_tensorflow
def test_one_compilation_a_shape():
    """However often, and by whichever layer; another window is another one."""
    gradient._compiled.cache_clear()
    x = ops.convert_to_tensor(np.zeros((8, 128, 128, 1), "float32"))
    for window in (Window.of((2, 2), 2, "valid"), Window.of((2, 2), 2, "valid"), Window.of((4, 4), 2, "valid")):
        dy = ops.ones((8, *window.outputs((128, 128)), 1))
        assert float(ops.sum(pooling.max_pool_gradient(dy, ops.zeros_like(dy), x, window))) == float(ops.sum(dy))
    assert (gradient._compiled.cache_info().misses, gradient._compiled.cache_info().hits) == (2, 1)


@only_tensorflow
def test_arrays_are_tensors_too(compiled):
    """A formula can be called by itself, with what NumPy made; mixed, the settings are still the settings."""
    window = Window.of((2, 2), 2, "valid")
    x, dy = numbers(2, 6, 6, 2), numbers(2, 3, 3, 2, seed=1)
    y = reference.max_pool(x, window.size, window.strides)
    expected = reference.max_pool_gradient(dy, x, window.size, window.strides)
    for given in ((dy, y, x), (ops.convert_to_tensor(dy), y, x)):
        assert error_of(array(pooling.max_pool_gradient(*given, window)), expected) < 1e-12
    assert compiled == [("max_pool_gradient", window)] * 2


@only_tensorflow
def test_without_the_compiler_it_is_the_operations(compiled, monkeypatch):
    monkeypatch.setattr(gradient, "_xla_is_there", lambda: False)
    layer = L.MaxPooling2D(2)
    _, found = passes.of(layer, numbers(2, 6, 6, 2, dtype="float32"))
    assert not compiled and np.count_nonzero(found["input"]) == 2 * 3 * 3 * 2


@pytest.mark.skipif(tensorflow, reason="about the other backends")
def test_the_others_fuse_by_themselves(compiled):
    passes.of(L.MaxPooling2D(2), numbers(2, 6, 6, 2, dtype="float32"))
    assert not compiled
