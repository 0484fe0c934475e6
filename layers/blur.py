"""Anti-aliased down-sampling: blur before leaving positions out, and the gradient of both.

    blur pooling   Y[p] = Σ_t b_t X̂[p·s + t − ⌊(m−1)/2⌋]      b = binomial coefficients / 2^(m−1), along each axis
                   dX̂[q] = Σ_p b_t dY[p],  t = q − p·s + ⌊(m−1)/2⌋      the same filter, the other way
    reflection     X̂[−i] = X[i],  X̂[n−1+i] = X[n−1−i]         dX: what the border received folds back inwards
    max-blur       Y = blur(max_t X[p + t])                    max pooling at stride 1, its stride left to the blur

m = 1 is subsampling alone, 2 the average, 3 the triangle [1 2 1]/4, 5 is [1 4 6 4 1]/16. Max pooling with stride s is
dense max pooling and subsampling: the blur between the two removes the frequencies that the second would alias, so
that a shifted input gives a less different output.
Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", section 3; lecture note 002, section 4.2.
The reflected border, ⌊(m−1)/2⌋ positions before and ⌈(m−1)/2⌉ after whatever the stride, is that of the paper's code.
"""
from functools import reduce
from math import comb
from operator import add

import keras
from keras import ops

from .gradient import with_gradient
from .pooling import max_pool
from .window import Window, from_channels_last, scatter, space_of, taps, to_channels_last


def blur_pool(x, pool_size=3, strides=2, padding="reflect", data_format="channels_last"):
    """Binomial filter of x (N, *space, C), then every stride-th position of it → (N, *outputs, C).

    pool_size, strides: an integer, or one an axis. padding: "reflect", which gives ⌈n/stride⌉ outputs along an axis
    of n, or "valid", none, ⌊(n − pool_size)/stride⌋ + 1. ValueError where the input is too small for either.
    """
    if padding not in ("reflect", "valid"):
        raise ValueError(f"padding is 'reflect' or 'valid', not {padding!r}.")
    x = to_channels_last(x, data_format)
    axes = len(x.shape) - 2
    size = (pool_size,) * axes if isinstance(pool_size, int) else tuple(pool_size)
    window = Window.of(size, strides, "valid")
    window.check_axes(x.shape)
    if padding == "reflect":
        x = reflect_pad(x, [((k - 1) // 2, k // 2) for k in size])
    for axis, (n, k) in enumerate(zip(x.shape[1:-1], size), 1):
        if n is not None and n < k:
            raise ValueError(f"Axis {axis} of the input has size {n}, less than pool_size={k} without padding.")

    def backward(dy, y, x):
        return blur_gradient(dy, x, window)

    return from_channels_last(with_gradient(lambda x: blur(x, window), backward, x), data_format)


def binomial(size: int) -> list[float]:
    """The filter of this size: row size − 1 of Pascal's triangle, divided by its sum."""
    return [comb(size - 1, t) / 2 ** (size - 1) for t in range(size)]


def blur(x, window: Window):
    """Y[p] = Σ_t b_t X[p·s + t], one axis after the other: the filter is a product of one an axis."""
    for axis, one in enumerate(_axis_by_axis(window)):
        space = list(space_of(x))
        space[axis] = one.outputs(space)[axis]
        x = reduce(add, (b * view for b, view in zip(binomial(window.size[axis]), taps(x, one, space))))
    return x


def blur_gradient(dy, x, window: Window):
    """dX[q] = Σ b_t dY[p] over q = p·s + t: each axis undone, the last first."""
    for axis, one in reversed(list(enumerate(_axis_by_axis(window)))):
        wide = list(space_of(dy))
        wide[axis] = space_of(x)[axis]
        dy = scatter([b * dy for b in binomial(window.size[axis])], one, wide)
    return dy


def _axis_by_axis(window):
    """The window along each axis, of size and stride 1 along the others."""
    for axis, (k, s) in enumerate(zip(window.size, window.strides)):
        alone = lambda value: tuple(value if other == axis else 1 for other in range(len(window.size)))  # noqa: E731
        yield Window.of(alone(k), alone(s), "valid")


def reflect_pad(x, pads):
    """X̂[−i] = X[i] and X̂[n−1+i] = X[n−1−i]: the border mirrored at its outermost positions.

    x (N, *space, C); pads: (before, after) integers an axis, below its size → (N, *(before + n + after), C).
    """
    if len(pads) != len(x.shape) - 2:
        raise ValueError(f"pads={pads!r} must be (before, after) for each of {len(x.shape) - 2} spatial axes.")
    for axis, (n, pair) in enumerate(zip(x.shape[1:-1], pads), 1):
        if n is not None and n <= max(pair):
            raise ValueError(f"Axis {axis} of the input has size {n}, too few to reflect {max(pair)} of them.")

    def forward(x):
        for axis, (before, after) in enumerate(pads, 1):            # ops.pad reflects no empty batch
            left = ops.flip(_part(x, axis, 1, 1 + before), axis)
            right = ops.flip(_part(x, axis, -1 - after, -1), axis)
            x = ops.concatenate([left, x, right], axis)
        return x

    return with_gradient(forward, lambda dy, y, x: reflect_pad_gradient(dy, pads), x)


def reflect_pad_gradient(dy, pads):
    """dX[i] += dY[−i] and dX[n−1−i] += dY[n−1+i]: unlike zeros, the border depends on the input."""
    for axis, (before, after) in reversed(list(enumerate(pads, 1))):
        n = ops.shape(dy)[axis] - before - after
        dx = _part(dy, axis, before, before + n)
        if before:
            dx = dx + _placed(ops.flip(_part(dy, axis, 0, before), axis), axis, 1, n - 1 - before)
        if after:
            dx = dx + _placed(ops.flip(_part(dy, axis, before + n, before + n + after), axis), axis, n - 1 - after, 1)
        dy = dx
    return dy


def _part(x, axis, start, stop):
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _placed(x, axis, before, after):
    """x with so many zeros before and after it along the axis."""
    return ops.pad(x, [(before, after) if other == axis else (0, 0) for other in range(len(x.shape))])


def max_blur_pool(x, pool_size, strides=None, blur_size=3, padding="valid", data_format="channels_last"):
    """Max pooling of x (N, *space, C) at stride 1, then blur_pool with the stride: the shape that max_pool gives."""
    y = max_pool(x, pool_size, (1,) * len(pool_size), padding, data_format)
    return blur_pool(y, blur_size, strides or pool_size, data_format=data_format)


class _BlurPooling:
    """A pooling layer of Keras's arguments with the blur's defaults and its way of padding."""

    def __init__(self, pool_size=3, strides=2, padding="reflect", data_format=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)

    def call(self, inputs):
        return blur_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)

    def compute_output_shape(self, input_shape):
        first = 1 if self.data_format == "channels_last" else 2
        shape = list(input_shape)
        for axis, (k, s) in enumerate(zip(self.pool_size, self.strides), first):
            if shape[axis] is not None:
                shape[axis] = (shape[axis] - (k if self.padding == "valid" else 1)) // s + 1
        return tuple(shape)


class _MaxBlurPooling:
    """A max pooling layer whose stride is the blur's."""

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, blur_size=3, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)
        self.blur_size = int(blur_size)
        if self.blur_size < 1:
            raise ValueError(f"blur_size is at least 1, not {blur_size}.")

    def call(self, inputs):
        return max_blur_pool(inputs, self.pool_size, self.strides, self.blur_size, self.padding, self.data_format)

    def get_config(self):
        return {**super().get_config(), "blur_size": self.blur_size}


@keras.saving.register_keras_serializable(package="cnn_repro")
class BlurPooling1D(_BlurPooling, keras.layers.AveragePooling1D):
    """Blur pooling of sequences: (N, L, C) → (N, ⌈L/strides⌉, C), or as BlurPooling2D with padding="valid"."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class BlurPooling2D(_BlurPooling, keras.layers.AveragePooling2D):
    """Average pooling with binomial weights: (N, H, W, C) → (N, ⌈H/strides⌉, ⌈W/strides⌉, C).

    Arguments as keras.layers.AveragePooling2D with other defaults; padding is "reflect", or "valid" for none
    and ⌊(H − pool_size)/strides⌋ + 1 rows. pool_size counts the filter's taps: 3 is [1 2 1]/4.
    Source: Zhang 2019, section 3: AvgPool → BlurPool, and behind a convolution at stride 1 ConvBlurPool.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class MaxBlurPooling1D(_MaxBlurPooling, keras.layers.MaxPooling1D):
    """Max pooling of sequences, anti-aliased: (N, L, C) → (N, P, C), the shape that MaxPooling1D gives."""


@keras.saving.register_keras_serializable(package="cnn_repro")
class MaxBlurPooling2D(_MaxBlurPooling, keras.layers.MaxPooling2D):
    """Max pooling, anti-aliased: (N, H, W, C) → (N, P, Q, C), the shape that MaxPooling2D gives.

    Arguments as keras.layers.MaxPooling2D, and blur_size, the taps of the filter between maximum and subsampling;
    1 is max pooling itself where padding is "valid".  Source: Zhang 2019, section 3: MaxPool → MaxBlurPool.
    """
