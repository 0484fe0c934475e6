"""Activation functions with their derivative.

    relu        y = max(x, 0)               dx = dy where x > 0
    tanh        y = tanh x                  dx = dy (1 − y²)
    sigmoid     y = 1/(1 + e^−x)            dx = dy y (1 − y)
    scaled tanh y = A tanh(S x)             dx = dy S/A (A² − y²)

Source: lecture note 001, section 3.2 (the factor σ′(z)); scaled tanh: LeCun et al. 1998, appendix A.
"""
import keras
from keras import ops

from .gradient import with_gradient

AMPLITUDE, SLOPE = 1.7159, 2 / 3        # LeCun et al. 1998, appendix A: f(±1) = ±1, the curvature is largest there


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """Keras's rectifier: min(x, max_value) above the threshold, negative_slope·(x − threshold) below it."""
    def forward(x):
        return keras.activations.relu(x, negative_slope, max_value, threshold)

    def backward(dy, y, x):
        return relu_gradient(dy, x, negative_slope, max_value, threshold)

    return with_gradient(forward, backward, x)


def relu_gradient(dy, x, negative_slope=0.0, max_value=None, threshold=0.0):
    """dx: dy where threshold < x < max_value, negative_slope·dy up to the threshold, 0 from max_value on."""
    below = dy * negative_slope if negative_slope else ops.zeros_like(dy)
    above = dy if max_value is None else ops.where(x < max_value, dy, ops.zeros_like(dy))
    return ops.where(x > threshold, above, below)


def tanh(x):
    """Hyperbolic tangent, elementwise."""
    return with_gradient(ops.tanh, lambda dy, y, x: tanh_gradient(dy, y), x)


def tanh_gradient(dy, y):
    """dx = dy (1 − y²)."""
    return dy * (1 - y * y)


def sigmoid(x):
    """Logistic function, elementwise."""
    return with_gradient(ops.sigmoid, lambda dy, y, x: sigmoid_gradient(dy, y), x)


def sigmoid_gradient(dy, y):
    """dx = dy y (1 − y)."""
    return dy * y * (1 - y)


@keras.saving.register_keras_serializable(package="cnn_repro")
def scaled_tanh(x):
    """1.7159 tanh(2x/3), elementwise: the squashing function of LeNet-5."""
    return with_gradient(lambda x: AMPLITUDE * ops.tanh(SLOPE * x),
                         lambda dy, y, x: scaled_tanh_gradient(dy, y), x)


def scaled_tanh_gradient(dy, y):
    """dx = dy S/A (A² − y²)."""
    return dy * (SLOPE / AMPLITUDE) * (AMPLITUDE**2 - y * y)


EXPLICIT = {keras.activations.relu: relu, keras.activations.tanh: tanh, keras.activations.sigmoid: sigmoid}


def activate(activation, x):
    """Apply a layer's activation, by the function of this module where there is one for Keras's.

    The layer keeps Keras's function as its attribute, so that config and files stay the stock layer's.
    """
    if activation is None or activation is keras.activations.linear:
        return x
    return EXPLICIT.get(activation, activation)(x)


@keras.saving.register_keras_serializable(package="cnn_repro")
class ReLU(keras.layers.ReLU):
    """keras.layers.ReLU with its derivative written out. Any shape."""

    def call(self, inputs):
        return relu(inputs, self.negative_slope, self.max_value, self.threshold)


@keras.saving.register_keras_serializable(package="cnn_repro")
class Activation(keras.layers.Activation):
    """keras.layers.Activation; "relu", "tanh" and "sigmoid" with their derivative written out. Any shape."""

    def call(self, inputs):
        return activate(self.activation, inputs)
