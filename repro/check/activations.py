"""Activation functions."""
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case


def cases(random) -> Iterator[Case]:
    """Elementwise functions, away from their kinks."""
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
