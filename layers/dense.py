"""The dense (fully connected) layer and the bias.

    Y = X W + b        dX = dY Wᵀ        dW = Xᵀ dY        db = Σ dY over everything but the units

Source: lecture note 001, section 3.2 (δ ~ Wᵀδ) and section 3.3 (the bias gradient sums δ over the feature map).
"""
import keras
from keras import ops

from .activation import activate
from .gradient import with_gradient

SHORT = 16          # channels: rows shorter than a vector register are summed otherwise, see bias_gradient


def multiply(x, kernel):
    """X W for x (..., inputs) and kernel (inputs, units) → (..., units)."""
    def backward(dy, y, x, kernel):
        return dense_input_gradient(dy, kernel), dense_kernel_gradient(dy, x)

    return with_gradient(ops.matmul, backward, x, kernel)


def dense_input_gradient(dy, kernel):
    """dX = dY Wᵀ."""
    return ops.matmul(dy, ops.transpose(kernel))


def dense_kernel_gradient(dy, x):
    """dW = Xᵀ dY, summed over all leading axes."""
    rows = lambda y: ops.reshape(y, (-1, y.shape[-1]))                                  # noqa: E731
    return ops.matmul(ops.transpose(rows(x)), rows(dy))


def add_bias(y, bias, data_format="channels_last"):
    """Y + b, one b a unit or feature map: y (..., K) or (N, K, *space) for channels_first, bias (K,)."""
    axis = -1 if data_format == "channels_last" else 1

    def forward(y, bias):
        shape = [1] * len(y.shape)
        shape[axis] = -1
        return y + ops.reshape(bias, shape)

    def backward(dy, _, y, bias):
        return dy, bias_gradient(dy, axis)

    return with_gradient(forward, backward, y, bias)


def bias_gradient(dy, axis=-1):
    """db: the sum of dY over everything but `axis`.

    Few channels at the end are summed row by row first: TensorFlow adds long rows faster than many short ones (28×28
    positions of 6 channels: 0.28 in place of 0.58 ms; from 16 channels on it is slower).
    """
    axis = axis % len(dy.shape)
    few = isinstance(dy.shape[-1], int) and dy.shape[-1] < SHORT
    if axis == len(dy.shape) - 1 > 1 and few and isinstance(dy.shape[-2], int):
        rows = ops.sum(ops.reshape(dy, (-1, dy.shape[-2] * dy.shape[-1])), axis=0)
        return ops.sum(ops.reshape(rows, dy.shape[-2:]), axis=0)
    return ops.sum(dy, axis=[other for other in range(len(dy.shape)) if other != axis])


@keras.saving.register_keras_serializable(package="cnn_repro")
class Dense(keras.layers.Dense):
    """Fully connected layer whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.Dense.
    Input (..., inputs) → output (..., units).
    """

    def call(self, inputs, training=None):
        y = multiply(inputs, self.kernel)
        if self.bias is not None:
            y = add_bias(y, self.bias)
        return activate(self.activation, y)
