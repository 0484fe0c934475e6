"""Activation functions."""
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case


def cases(random) -> Iterator[Case]:
    """Elementwise functions, away from their kinks; softmax along any axes."""
    x = random.normal(size=(4, 30))
    x = np.where(np.abs(x) < 1e-2, 1.0, x)
    definitions = {
        "ReLU": (L.relu, keras.activations.relu, reference.relu, reference.relu_gradient),
        "Tanh": (L.tanh, ops.tanh, reference.tanh, reference.tanh_gradient),
        "Sigmoid": (L.sigmoid, ops.sigmoid, reference.sigmoid, reference.sigmoid_gradient),
        "ScaledTanh": (L.scaled_tanh, lambda x: 1.7159 * ops.tanh(2 / 3 * x), reference.scaled_tanh,
                       reference.scaled_tanh_gradient)}
    for name, (ours, stock, output, gradient) in definitions.items():
        yield Case(name, "120 numbers", {"input": x}, ours, stock, output,
                   lambda dy, x, gradient=gradient: [gradient(dy, x)])
    arguments = (0.1, 1.0, 0.2)
    yield Case("ReLU", "slope 0.1, ceiling 1, threshold 0.2", {"input": x},
               lambda x: L.relu(x, *arguments), lambda x: keras.activations.relu(x, *arguments),
               lambda x: reference.relu(x, *arguments), lambda dy, x: [reference.relu_gradient(dy, x, *arguments)])
    for slope in (0.25, 2.0**-7, 0.0):          # exact in float32, to which TensorFlow rounds its own in every dtype
        yield Case("LeakyReLU", f"slope {slope}", {"input": x},
                   lambda x, slope=slope: L.leaky_relu(x, slope),
                   lambda x, slope=slope: ops.leaky_relu(x, negative_slope=slope),
                   lambda x, slope=slope: reference.relu(x, slope),
                   lambda dy, x, slope=slope: [reference.relu_gradient(dy, x, slope)])
    definitions["LeakyReLU"] = (lambda x: L.leaky_relu(x, 0.25), lambda x: ops.leaky_relu(x, negative_slope=0.25),
                                lambda x: reference.relu(x, 0.25), None)
    for name, (ours, stock, output, _) in definitions.items():
        yield Case(name, "an empty batch", {"input": x[:0]}, ours, stock, output, lambda dy, x: [np.zeros_like(x)])
    yield from _softmax(random)


def _softmax(random) -> Iterator[Case]:
    for text, shape, axis in (("4×7", (4, 7), -1), ("two classes", (3, 2), -1), ("axis 1 of 2×5×3", (2, 5, 3), 1),
                              ("axis 0", (3, 4), 0), ("axes 1 and 2 of 2×3×4", (2, 3, 4), (1, 2)),
                              ("an empty batch", (0, 5), -1), ("logits of 8", (4, 7), -1)):
        x = random.normal(size=shape) * (8 if "logits" in text else 1)
        last, back = _as_one_axis(shape, axis)
        yield Case("Softmax", text, {"input": x}, lambda x, axis=axis: L.softmax(x, axis),
                   lambda x, axis=axis: ops.softmax(x, axis),
                   lambda x, last=last, back=back: back(reference.softmax(last(x))),
                   lambda dy, x, last=last, back=back: [back(reference.softmax_gradient(last(dy), last(x)))])


def _as_one_axis(shape, axis):
    """How the loops see it: the axes of the sum moved to the end, as one; and the way back."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    ends = tuple(range(-len(axes), 0))
    moved = np.moveaxis(np.empty(shape), axes, ends).shape
    flat = (*moved[:-len(axes)], int(np.prod(moved[-len(axes):])))
    return (lambda x: np.moveaxis(x, axes, ends).reshape(flat),
            lambda y: np.moveaxis(y.reshape(moved), ends, axes))
