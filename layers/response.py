"""Local response normalisation: activities inhibit their neighbours, in other maps or in their own.

    s_i = k + α Σ_j a_j²        over the n maps j centred on map i, fewer at the first and the last maps
    b_i = a_i s_i^−β
    da_i = db_i s_i^−β − 2αβ a_i Σ_j db_j a_j s_j^(−β−1)        over the maps j whose window contains i

Map j's window contains i where i's contains j, so the last sum runs over i's own window. The first term is what b_i
gains by a_i itself; in the second a_i damps all its neighbours and itself.

Within a map the same formulas hold for the window of n × n pixels around each, fewer at the border, in place of the n
maps: the sum over a square is that over its columns of that over their rows, and its own adjoint as well.

Source: Krizhevsky et al. 2012, section 3.3, with k = 2, n = 5, α = 1e-4, β = 0.75; α multiplies the sum. Caffe and
PyTorch multiply the mean over n, so that their α = 1e-4 is α = 1e-4/n here. Within maps: cuda-convnet's rnorm (2011),
whose file's scale is divided by n² (layer.py), with k = 1.
"""
from functools import reduce

import keras
from keras import ops

from .gradient import with_gradient
from .window import channel_axis, checked_axis


def normalize_response(x, depth=5, bias=2.0, alpha=1e-4, beta=0.75, axis=-1):
    """b of activities a = x, along the axis of the maps: any shape → the same. depth is n (odd), bias is k.

    With two axes, those of the pixels, it normalises within maps, over squares of depth × depth. ValueError for an even
    n, whose windows have no centre, as with the layers.
    """
    _check_depth(depth)
    for one in (axis,) if isinstance(axis, int) else axis:
        checked_axis(one, x.shape)

    def forward(x):
        return x * ops.power(bias + alpha * window_sum(x * x, depth, axis), -beta)

    def backward(dy, y, x):
        return response_gradient(dy, x, depth, bias, alpha, beta, axis)

    return with_gradient(forward, backward, x)


def _check_depth(depth):
    if depth < 1 or depth % 2 != 1:
        raise ValueError(f"depth={depth} must be a positive odd number: a window is centred on its map.")


def response_gradient(dy, x, depth, bias, alpha, beta, axis):
    """da = db s^−β − 2αβ a Σ db a s^(−β−1), the sum over the window of each map."""
    s = bias + alpha * window_sum(x * x, depth, axis)
    power = ops.power(s, -beta)
    return dy * power - 2 * alpha * beta * x * window_sum(dy * x * power / s, depth, axis)


def window_sum(x, depth, axis):
    """For each map the sum of the `depth` maps centred on it, as far as there are any; of several axes, a square's."""
    if isinstance(axis, tuple):
        return reduce(lambda total, one: window_sum(total, depth, one), axis, x)
    axis, maps = axis % len(x.shape), ops.shape(x)[axis]
    padded = ops.pad(x, [(depth // 2, depth // 2) if other == axis else (0, 0) for other in range(len(x.shape))])
    before = (slice(None),) * axis
    total = padded[(*before, slice(0, maps))]
    for start in range(1, depth):
        total = total + padded[(*before, slice(start, start + maps))]
    return total


class _Response(keras.layers.Layer):
    """What both have in common: constants, and that it computes in float32 in half precision. No weights."""

    def __init__(self, depth, bias, alpha, beta, **kwargs):
        super().__init__(**kwargs)
        _check_depth(depth)
        if bias <= 0:
            raise ValueError(f"bias={bias} must be positive: where all activities are zero, nothing else is.")
        self.depth, self.bias, self.alpha, self.beta = int(depth), float(bias), float(alpha), float(beta)

    def call(self, inputs):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        y = normalize_response(x, self.depth, self.bias, self.alpha, self.beta, self._axes())
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "depth": self.depth, "bias": self.bias, "alpha": self.alpha,
                "beta": self.beta}


@keras.saving.register_keras_serializable(package="cnn_repro")
class LocalResponseNormalization(_Response):
    """AlexNet's normalisation across `depth` neighbouring maps. Any shape with an axis of maps → the same.

    depth: n, odd, so that a window has a centre. bias: k, positive. alpha, beta: α and β. axis: that of the maps.
    In half precision it computes in float32, because the squares overflow. No weights.
    """

    def __init__(self, depth=5, bias=2.0, alpha=1e-4, beta=0.75, axis=-1, **kwargs):
        super().__init__(depth, bias, alpha, beta, **kwargs)
        self.axis = int(axis)

    def build(self, input_shape):
        channel_axis(self.axis, input_shape)
        self.built = True

    def _axes(self):
        return self.axis

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


@keras.saving.register_keras_serializable(package="cnn_repro")
class MapResponseNormalization(_Response):
    """cuda-convnet's rnorm: normalisation within each map over `depth` × `depth` pixels. (N, H, W, C) → the same.

    depth: n, odd. bias: k, positive. alpha: α, which multiplies the sum of the squares, so that the program's scale is
    alpha·n². beta: β. data_format: as of Keras's layers. Computes in float32 in half precision. No weights.
    """

    def __init__(self, depth=3, bias=1.0, alpha=5e-5 / 9, beta=0.75, data_format=None, **kwargs):
        super().__init__(depth, bias, alpha, beta, **kwargs)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def _axes(self):
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}
