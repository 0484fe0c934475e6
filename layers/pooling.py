"""Pooling and its gradients.

    max       Y[p] = max_t X[p·s + t]          dX: dY[p] goes to the first position of the maximum
    average   Y[p] = 1/m Σ_t X[p·s + t]        dX: dY[p]/m goes to each of the m positions
    global    Y = 1/(H·W) Σ X                  dX: dY/(H·W) goes everywhere
    subsampling (LeNet)  Y = w Σ_t X + b       dX: w dY everywhere;  dw = Σ dY Σ_t X;  db = Σ dY

Windows may overlap, then the gradients add up. With `same`, padded positions are never a maximum and do not count
in an average's m.  Source: lecture note 001, section 3.1; LeCun et al. 1998, section II.B (subsampling).
"""
import keras
from keras import ops

from .activation import activate
from .dense import add_bias
from .gradient import with_gradient
from .window import Window, crop, from_channels_last, pad, scatter, space_of, taps, to_channels_last


def max_pool(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Maximum over windows of x (N, *space, C) → (N, *outputs, C)."""
    return _pool(x, Window.of(pool_size, strides or pool_size, padding), data_format, ops.max_pool, max_pool_gradient)


def average_pool(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Mean over windows of x (N, *space, C) → (N, *outputs, C)."""
    return _pool(x, Window.of(pool_size, strides or pool_size, padding), data_format,
                 ops.average_pool, average_pool_gradient)


def _pool(x, window, data_format, operator, gradient):
    def forward(x):
        return operator(x, window.size, window.strides, window.padding, data_format="channels_last")

    def backward(dy, y, x):
        return gradient(dy, y, x, window)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format)), data_format)


def max_pool_gradient(dy, y, x, window: Window):
    """dX: each dY where its window's maximum stands; of equal ones the first in row-major order gets it."""
    pads = window.pads(space_of(x))
    padded = pad(x, pads, value=float("-inf"))
    open_ = ops.ones_like(y, dtype="bool")              # windows whose maximum has not been met yet
    zero = ops.zeros_like(dy)
    views = []
    for view in taps(padded, window, space_of(y)):
        hit = ops.logical_and(open_, view == y)
        open_ = ops.logical_and(open_, ops.logical_not(hit))
        views.append(ops.where(hit, dy, zero))
    return crop(scatter(views, window, space_of(padded)), pads, space_of(x))


def average_pool_gradient(dy, y, x, window: Window):
    """dX: dY/m at each of the window's m positions."""
    pads = window.pads(space_of(x))
    padded = tuple(n + low + high for n, (low, high) in zip(space_of(x), pads))
    if window.padding == "valid":
        share = dy / window.count
    else:
        inside = pad(ops.ones_like(x[:1, ..., :1]), pads)
        share = dy / sum(taps(inside, window, space_of(y)))
    return crop(scatter([share] * window.count, window, padded), pads, space_of(x))


def global_average_pool(x, axes=(1, 2), keepdims=False):
    """Mean of x over the spatial `axes`: (N, H, W, C) → (N, C)."""
    def forward(x):
        return ops.mean(x, axis=axes, keepdims=keepdims)

    def backward(dy, y, x):
        return global_average_pool_gradient(dy, x, axes, keepdims)

    return with_gradient(forward, backward, x)


def global_average_pool_gradient(dy, x, axes, keepdims=False):
    """dX: dY/(H·W) everywhere."""
    shape = ops.shape(x)
    count = 1
    for axis in axes:
        count = count * shape[axis]
    dy = dy if keepdims else ops.expand_dims(dy, axes)
    return ops.broadcast_to(dy / ops.cast(count, dy.dtype), shape)


def subsample(x, coefficient, bias, pool_size):
    """LeNet's subsampling: x (N, H, W, C), one coefficient and one bias a map → (N, H/pool, W/pool, C)."""
    window = Window.of((pool_size, pool_size), pool_size, "valid")

    def forward(x, coefficient):
        return window_sum(x, window) * coefficient

    def backward(dy, y, x, coefficient):
        return subsampling_gradients(dy, x, coefficient, window)

    return add_bias(with_gradient(forward, backward, x, coefficient), bias)


def window_sum(x, window: Window):
    """Σ_t X[p·s + t], without padding."""
    return window.count * ops.average_pool(x, window.size, window.strides, data_format="channels_last")


def subsampling_gradients(dy, x, coefficient, window: Window):
    """(dX, dw): w dY at each of the window's positions; per map the sum of dY times its window's sum."""
    dx = scatter([dy * coefficient] * window.count, window, space_of(x))
    return dx, ops.sum(dy * window_sum(x, window), axis=(0, 1, 2))


@keras.saving.register_keras_serializable(package="cnn_repro")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """keras.layers.MaxPooling2D with its backward pass written out. (N, H, W, C) → (N, P, Q, C)."""

    def call(self, inputs):
        return max_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


@keras.saving.register_keras_serializable(package="cnn_repro")
class AveragePooling2D(keras.layers.AveragePooling2D):
    """keras.layers.AveragePooling2D with its backward pass written out. (N, H, W, C) → (N, P, Q, C)."""

    def call(self, inputs):
        return average_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalAveragePooling2D(keras.layers.GlobalAveragePooling2D):
    """keras.layers.GlobalAveragePooling2D with its backward pass written out. (N, H, W, C) → (N, C)."""

    def call(self, inputs):
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        return global_average_pool(inputs, axes, self.keepdims)


@keras.saving.register_keras_serializable(package="cnn_repro")
class Subsampling2D(keras.layers.Layer):
    """Trainable subsampling: the sum over a window times a coefficient plus a bias, then an activation.

    2·C parameters. Input (N, H, W, C) → output (N, H/pool_size, W/pool_size, C); both must divide.
    coefficient_initializer: default 1/pool_size², the average.
    Source: LeCun et al. 1998, section II.B (S2 and S4).
    """

    def __init__(self, pool_size=2, activation=None, coefficient_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = int(pool_size)
        self.activation = keras.activations.get(activation)
        self.coefficient_initializer = keras.initializers.get(
            coefficient_initializer or keras.initializers.Constant(1 / self.pool_size**2))

    def build(self, input_shape):
        for axis in (1, 2):
            if input_shape[axis] is not None and input_shape[axis] % self.pool_size:
                raise ValueError(f"Axis {axis} of the input has size {input_shape[axis]}, "
                                 f"which pool_size={self.pool_size} does not divide.")
        self.coefficient = self.add_weight(
            name="coefficient", shape=(input_shape[-1],), initializer=self.coefficient_initializer)
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")
        self.built = True

    def call(self, inputs):
        return activate(self.activation, subsample(inputs, self.coefficient, self.bias, self.pool_size))

    def compute_output_shape(self, input_shape):
        shrink = lambda n: None if n is None else n // self.pool_size                   # noqa: E731
        return (input_shape[0], shrink(input_shape[1]), shrink(input_shape[2]), input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size,
                "activation": keras.activations.serialize(self.activation),
                "coefficient_initializer": keras.initializers.serialize(self.coefficient_initializer)}
