"""Pooling and its gradients.

    max              Y[p] = max_t X[p·s + t]       dX: dY[p] goes to the first position of the maximum
    average          Y[p] = 1/m Σ_t X[p·s + t]     dX: dY[p]/m goes to each of the m positions
    global average   Y = 1/n Σ X                   dX: dY/n goes to each of the n positions
    global max       Y = max X                     dX: dY/k goes to each of the k positions that hold the maximum
    subsampling (LeNet)  Y = w Σ_t X + b           dX: w dY everywhere;  dw = Σ dY Σ_t X;  db = Σ dY

In one, two or three dimensions. Windows may overlap (AlexNet's do), then the gradients add up. With `same`, padded
positions are never a maximum and do not count in an average's m. Of equal maxima a window's first gets all and the
global maximum's share alike: both are what Keras does on TensorFlow, JAX and PyTorch.
Source: lecture note 001, section 3.1; Krizhevsky et al. 2012, section 3.4 (overlapping); Lin et al. 2014, section 3.2
(global average); LeCun et al. 1998, section II.B (subsampling).
"""
from functools import reduce
from operator import add

import keras
from keras import ops

from .activation import activate
from .dense import add_bias
from .gradient import fused, with_gradient
from .window import (Window, check_positive, crop, from_channels_last, known_format, last_shape, pad, scatter, shape_in,
                     space_of, taps, to_channels_last)


def max_pool(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Maximum over windows of x (N, *space, C) → (N, *outputs, C)."""
    strides = pool_size if strides is None else strides
    return _pool(x, Window.of(pool_size, strides, padding), data_format, _largest, max_pool_gradient)


def average_pool(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Mean over windows of x (N, *space, C) → (N, *outputs, C)."""
    strides = pool_size if strides is None else strides
    return _pool(x, Window.of(pool_size, strides, padding), data_format, _mean, average_pool_gradient)


def _pool(x, window, data_format, operator, gradient):
    window.check(x.shape, data_format)

    def forward(x):
        return operator(x, window)

    def backward(dy, y, x):
        return gradient(dy, y, x, window)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format)), data_format)


def _largest(x, window):
    if _volumes_without_a_kernel(x):
        return reduce(ops.maximum, _views(x, window, float("-inf")))
    return ops.max_pool(x, window.size, window.strides, window.padding, data_format="channels_last")


def _mean(x, window):
    # where PyTorch has more positions to pad after than before, Keras repeats the border and counts it as input
    uneven = keras.backend.backend() == "torch" and any(low != high for low, high in window.pads(space_of(x)))
    if uneven or _volumes_without_a_kernel(x):
        return reduce(add, _views(x, window, 0)) / _positions(x, window)
    return ops.average_pool(x, window.size, window.strides, window.padding, data_format="channels_last")


def _volumes_without_a_kernel(x):
    """Three dimensions in float64, or in float16 on a CPU: TensorFlow pools no such thing."""
    return len(x.shape) == 5 and keras.backend.standardize_dtype(x.dtype) in ("float64", "float16")


def _views(x, window, beyond):
    """The taps of x with the value `beyond` around it."""
    space = space_of(x)
    return taps(pad(x, window.pads(space), value=beyond), window, window.outputs(space))


def _positions(x, window):
    """m: how many positions of each window lie inside x, (1, *outputs, 1)."""
    return reduce(add, _views(ops.ones_like(x[:1, ..., :1]), window, 0))     # ops.add takes no images for a bias


@fused
def max_pool_gradient(dy, y, x, window: Window):
    """dX: each dY where its window's maximum stands; of equal ones the first in row-major order gets it.

    Windows that overlap are taken axis by axis, k + k comparisons a window in place of k²: a window's maximum is the
    largest of its rows' maxima, and it stands first in the first such row. Side by side, one pass sees every number
    once. In ms, fused:                                 all taps    axis by axis
        2×2, 32 × 32×32×64                                   1.3             2.0
        3×3 by 2, 32 × 55×55×96                             26.6            12.8
    """
    pads = window.pads(space_of(x))
    padded = pad(x, pads, value=float("-inf"))
    if not _overlap(window):
        found = _to_the_first(dy, y, taps(padded, window, space_of(y)))
        return crop(scatter(found, window, space_of(padded)), pads, space_of(x))
    axes, parts = range(len(window.size)), [padded]
    for axis in reversed(axes):                                         # maxima along the last axis, then of those
        parts.append(reduce(ops.maximum, _along(parts[-1], window, axis)[0]))
    for axis in axes:
        largest, part = parts[-1 - axis], parts[-2 - axis]
        views, one = _along(part, window, axis)
        dy = scatter(_to_the_first(dy, largest, views), one, space_of(part))
    return crop(dy, pads, space_of(x))


def _overlap(window):
    return any(k > s for k, s in zip(window.size, window.strides))


def _along(x, window, axis):
    """The taps of x along one axis alone, and their window."""
    single = lambda sizes: tuple(n if other == axis else 1 for other, n in enumerate(sizes))     # noqa: E731
    one = Window(single(window.size), single(window.strides), "valid", single(window.dilation))
    return taps(x, one, one.outputs(space_of(x))), one


def _to_the_first(dy, largest, views):
    """One tensor a view, in which dY stands where the view is the first that is the largest, and 0 elsewhere."""
    found = []
    for view in views:
        found.append(dy * ops.cast(view == largest, dy.dtype))          # a product takes half the time of a choice
        dy = dy - found[-1]
    return found


def average_pool_gradient(dy, y, x, window: Window):
    """dX: dY/m at each of the window's m positions."""
    # what does not overlap only repeats dY: one pass as it is
    return (fused(_shared) if _overlap(window) else _shared)(dy, x, window)


def _shared(dy, x, window):
    pads = window.pads(space_of(x))
    padded = tuple(n + low + high for n, (low, high) in zip(space_of(x), pads))
    share = dy / (window.count if window.padding == "valid" else _positions(x, window))
    return crop(scatter([share] * window.count, window, padded), pads, space_of(x))


def global_average_pool(x, axes=(1, 2), keepdims=False):
    """Mean of x over the spatial `axes`: (N, H, W, C) → (N, C), or (N, 1, 1, C) with keepdims."""
    def forward(x):
        return ops.mean(x, axis=axes, keepdims=keepdims)

    def backward(dy, y, x):
        return global_average_pool_gradient(dy, x, axes, keepdims)

    return with_gradient(forward, backward, x)


def global_average_pool_gradient(dy, x, axes, keepdims=False):
    """dX: dY/n everywhere."""
    shape = ops.shape(x)
    count = 1
    for axis in axes:
        count = count * shape[axis]
    dy = dy if keepdims else ops.expand_dims(dy, axes)
    return ops.broadcast_to(dy / ops.cast(count, dy.dtype), shape)


def global_max_pool(x, axes=(1, 2), keepdims=False):
    """Maximum of x over the spatial `axes`: (N, H, W, C) → (N, C), or (N, 1, 1, C) with keepdims."""
    def forward(x):
        if x.shape[0] == 0:             # ops.max refuses an empty batch; its sum has the same shape and no entries
            return ops.sum(x, axis=axes, keepdims=keepdims)
        return ops.max(x, axis=axes, keepdims=keepdims)

    def backward(dy, y, x):
        return global_max_pool_gradient(dy, y, x, axes, keepdims)

    return with_gradient(forward, backward, x)


def global_max_pool_gradient(dy, y, x, axes, keepdims=False):
    """dX: dY/k at each of the k positions that hold the maximum, as the mean of all ways to choose one of them."""
    if not keepdims:
        dy, y = ops.expand_dims(dy, axes), ops.expand_dims(y, axes)
    hit = ops.cast(x == y, "float32")                   # float16 cannot count beyond 2048
    share = dy / ops.cast(ops.sum(hit, axis=axes, keepdims=True), dy.dtype)
    return ops.cast(hit, dy.dtype) * share


def subsample(x, coefficient, bias, pool_size):
    """LeNet's subsampling: x (N, H, W, C), one coefficient and one bias a map → (N, H/pool, W/pool, C)."""
    window = Window.of((pool_size, pool_size), pool_size, "valid")
    window.check(x.shape)

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


class _MaxPooling:
    def call(self, inputs):
        return max_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


class _AveragePooling:
    def call(self, inputs):
        return average_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


class _GlobalAveragePooling:
    def call(self, inputs):
        return global_average_pool(inputs, _spatial_axes(inputs, self.data_format), self.keepdims)


class _GlobalMaxPooling:
    def call(self, inputs):
        return global_max_pool(inputs, _spatial_axes(inputs, self.data_format), self.keepdims)


def _spatial_axes(x, data_format):
    first = 1 if data_format == "channels_last" else 2
    return tuple(range(first, first + len(x.shape) - 2))


@keras.saving.register_keras_serializable(package="cnn_repro")
class MaxPooling1D(_MaxPooling, keras.layers.MaxPooling1D):
    """keras.layers.MaxPooling1D with its backward pass written out. (N, L, C) → (N, P, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class MaxPooling2D(_MaxPooling, keras.layers.MaxPooling2D):
    """keras.layers.MaxPooling2D with its backward pass written out. (N, H, W, C) → (N, P, Q, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class MaxPooling3D(_MaxPooling, keras.layers.MaxPooling3D):
    """keras.layers.MaxPooling3D with its backward pass written out. (N, D, H, W, C) → (N, O, P, Q, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class AveragePooling1D(_AveragePooling, keras.layers.AveragePooling1D):
    """keras.layers.AveragePooling1D with its backward pass written out. (N, L, C) → (N, P, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class AveragePooling2D(_AveragePooling, keras.layers.AveragePooling2D):
    """keras.layers.AveragePooling2D with its backward pass written out. (N, H, W, C) → (N, P, Q, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class AveragePooling3D(_AveragePooling, keras.layers.AveragePooling3D):
    """keras.layers.AveragePooling3D with its backward pass written out. (N, D, H, W, C) → (N, O, P, Q, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalAveragePooling1D(_GlobalAveragePooling, keras.layers.GlobalAveragePooling1D):
    """keras.layers.GlobalAveragePooling1D with its backward pass written out. (N, L, C) → (N, C).

    With a mask (N, L) it is the mean over the steps that are kept, another operator: the stock layer computes it.
    """

    def call(self, inputs, mask=None):
        if mask is not None:
            return keras.layers.GlobalAveragePooling1D.call(self, inputs, mask=mask)
        return super().call(inputs)


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalAveragePooling2D(_GlobalAveragePooling, keras.layers.GlobalAveragePooling2D):
    """keras.layers.GlobalAveragePooling2D with its backward pass written out. (N, H, W, C) → (N, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalAveragePooling3D(_GlobalAveragePooling, keras.layers.GlobalAveragePooling3D):
    """keras.layers.GlobalAveragePooling3D with its backward pass written out. (N, D, H, W, C) → (N, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalMaxPooling1D(_GlobalMaxPooling, keras.layers.GlobalMaxPooling1D):
    """keras.layers.GlobalMaxPooling1D with its backward pass written out. (N, L, C) → (N, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalMaxPooling2D(_GlobalMaxPooling, keras.layers.GlobalMaxPooling2D):
    """keras.layers.GlobalMaxPooling2D with its backward pass written out. (N, H, W, C) → (N, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class GlobalMaxPooling3D(_GlobalMaxPooling, keras.layers.GlobalMaxPooling3D):
    """keras.layers.GlobalMaxPooling3D with its backward pass written out. (N, D, H, W, C) → (N, C)."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class Subsampling2D(keras.layers.Layer):
    """Trainable subsampling: the sum over a window times a coefficient plus a bias, then an activation.

    2·C parameters. Input (N, H, W, C) → output (N, H/pool_size, W/pool_size, C); both must divide. channels_first:
    (N, C, H, W) → (N, C, H/pool_size, W/pool_size). data_format: as for Keras's layers; by default Keras's own.
    coefficient_initializer: default 1/pool_size², the average.
    Source: LeCun et al. 1998, section II.B (S2 and S4).
    """

    def __init__(self, pool_size=2, activation=None, coefficient_initializer=None, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = known_format(data_format)
        self.pool_size = int(pool_size)
        check_positive(pool_size=self.pool_size)
        self.activation = keras.activations.get(activation)
        self.coefficient_initializer = keras.initializers.get(
            coefficient_initializer or keras.initializers.Constant(1 / self.pool_size**2))

    def build(self, input_shape):
        Window.of((self.pool_size,) * 2, self.pool_size, "valid").check(input_shape, self.data_format)
        for axis in (1, 2) if self.data_format == "channels_last" else (2, 3):
            if input_shape[axis] is not None and input_shape[axis] % self.pool_size:
                raise ValueError(f"Axis {axis} of the input has size {input_shape[axis]}, "
                                 f"which pool_size={self.pool_size} does not divide.")
        maps = last_shape(input_shape, self.data_format)[-1]
        self.coefficient = self.add_weight(name="coefficient", shape=(maps,), initializer=self.coefficient_initializer)
        self.bias = self.add_weight(name="bias", shape=(maps,), initializer="zeros")
        self.built = True

    def call(self, inputs):
        y = subsample(to_channels_last(inputs, self.data_format), self.coefficient, self.bias, self.pool_size)
        return activate(self.activation, from_channels_last(y, self.data_format))

    def compute_output_shape(self, input_shape):
        shrink = lambda n: None if n is None else n // self.pool_size                   # noqa: E731
        images, rows, columns, maps = last_shape(input_shape, self.data_format)
        return shape_in((images, shrink(rows), shrink(columns), maps), self.data_format)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size,
                "data_format": self.data_format,
                "activation": keras.activations.serialize(self.activation),
                "coefficient_initializer": keras.initializers.serialize(self.coefficient_initializer)}
