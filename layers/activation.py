"""Activation functions with their derivative.

    relu        y = max(x, 0)               dx = dy where x > 0
    leaky relu  y = x, or αx where x ≤ 0    dx = dy, or α dy where x ≤ 0
    tanh        y = tanh x                  dx = dy (1 − y²)
    sigmoid     y = 1/(1 + e^−x)            dx = dy y (1 − y)
    scaled tanh y = A tanh(S x)             dx = dy S/A (A² − y²)
    softmax     y_i = e^x_i / Σ_j e^x_j     dx_i = dy_i y_i − y_i Σ_j dy_j y_j = y_i (dy_i − Σ_j dy_j y_j)

Softmax's Jacobian is ∂y_j/∂x_i = y_j ([i = j] − y_i); the last line is its product with dy, without the matrix.

A rectifier has no derivative at its corners. Here it has that of the piece below at the threshold and 0 at the
ceiling, on every backend and for all arguments: relu 0 at 0, leaky relu α at 0, relu6 0 at 0 and at 6. Stock Keras
has no one rule: at a ceiling other than 6 its derivative is 1 (JAX: 0.5), at 6 it is 0; at 0 it is α for leaky relu
(JAX: 1), and 0 as soon as there is a ceiling as well. The forward passes are the same everywhere.

Sources: lecture note 001, section 3.2 (the factor σ′(z)); scaled tanh: LeCun et al. 1998, appendix A; leaky relu:
Maas et al. 2013, section 2; softmax: Bridle 1990.
"""
import keras
from keras import ops

from .gradient import with_gradient

AMPLITUDE, SLOPE = 1.7159, 2 / 3        # LeCun et al. 1998, appendix A: f(±1) = ±1, the curvature is largest there


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """Keras's rectifier: min(x, max_value) above the threshold ≥ 0, negative_slope·(x − threshold) below it."""
    if threshold < 0:
        raise ValueError(f"threshold={threshold} must not be negative.")

    def forward(x):
        return keras.activations.relu(x, negative_slope, max_value, threshold)

    return with_gradient(forward, lambda dy, y, x: relu_gradient(dy, y, negative_slope, max_value), x)


def relu_gradient(dy, y, negative_slope=0.0, max_value=None):
    """dx: dy where 0 < y < max_value, negative_slope·dy where y is not above 0, 0 where it is max_value.

    By y, which the next layer keeps anyway: x need not be. A product with 0 and 1 takes half the time of a choice.
    """
    if max_value is not None:
        dy = dy * ops.cast(y < max_value, dy.dtype)
    if 0 <= negative_slope <= 1:
        slope = ops.cast(y > 0, dy.dtype)
        return dy * (ops.maximum(slope, negative_slope) if negative_slope else slope)
    return ops.where(y > 0, dy, negative_slope * dy)


def leaky_relu(x, negative_slope=0.2):
    """x where positive, negative_slope·x elsewhere: the rectifier that is nowhere flat.

    In float64 too, TensorFlow's forward pass takes the slope that is nearest in float32.
    """
    return relu(x, negative_slope)


def tanh(x):
    """Hyperbolic tangent, elementwise."""
    return with_gradient(ops.tanh, lambda dy, y, x: tanh_gradient(dy, y), x)


def tanh_gradient(dy, y):
    """dx = dy (1 − y²)."""
    return dy * (1 - y * y)


def sigmoid(x):
    """Logistic function, elementwise."""
    return _with_logits(with_gradient(ops.sigmoid, lambda dy, y, x: sigmoid_gradient(dy, y), x), x)


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


def softmax(x, axis=-1):
    """e^x divided by its sum along `axis`, an integer or several: any shape → the same."""
    several = isinstance(axis, (tuple, list)) and len(axis) > 1
    if not several and isinstance(axis, (tuple, list)):
        axis, = axis

    def forward(x):
        return ops.exp(x - ops.logsumexp(x, axis, keepdims=True)) if several else ops.softmax(x, axis)

    y = with_gradient(forward, lambda dy, y, x: softmax_gradient(dy, y, axis), x)
    return y if several else _with_logits(y, x)


def softmax_gradient(dy, y, axis=-1):
    """dx = y (dy − Σ dy y), the sum along `axis`."""
    return y * (dy - ops.sum(dy * y, axis, keepdims=True))


def _with_logits(y, x):
    """y, which on TensorFlow carries x: given probabilities, Keras's cross-entropies go back to the logits there."""
    if keras.backend.backend() == "tensorflow":
        y._keras_logits = x
    return y


EXPLICIT = {keras.activations.relu: relu, keras.activations.leaky_relu: leaky_relu,
            keras.activations.relu6: lambda x: relu(x, max_value=6.0), keras.activations.tanh: tanh,
            keras.activations.sigmoid: sigmoid, keras.activations.softmax: softmax}


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
class LeakyReLU(keras.layers.LeakyReLU):
    """keras.layers.LeakyReLU with its derivative written out. Any shape; Keras's slope is 0.3, the paper's 0.01."""

    def call(self, inputs):
        return leaky_relu(inputs, self.negative_slope)


@keras.saving.register_keras_serializable(package="cnn_repro")
class Softmax(keras.layers.Softmax):
    """keras.layers.Softmax with its gradient written out. Any shape; with a mask the stock layer computes it."""

    def call(self, inputs, mask=None):
        return super().call(inputs, mask=mask) if mask is not None else softmax(inputs, self.axis)


@keras.saving.register_keras_serializable(package="cnn_repro")
class Activation(keras.layers.Activation):
    """keras.layers.Activation; relu, leaky_relu, relu6, tanh, sigmoid and softmax by this module. Any shape."""

    def call(self, inputs):
        return activate(self.activation, inputs)
