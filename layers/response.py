"""Local response normalisation: maps at the same position inhibit their neighbours.

    s_i = k + α Σ_j a_j²        over the n maps j centred on map i, fewer at the first and the last maps
    b_i = a_i s_i^−β
    da_i = db_i s_i^−β − 2αβ a_i Σ_j db_j a_j s_j^(−β−1)        over the maps j whose window contains i

Map j's window contains i where i's contains j, so the last sum runs over i's own window. The first term is what b_i
gains by a_i itself; in the second a_i damps all its neighbours and itself.

Source: Krizhevsky et al. 2012, section 3.3, with k = 2, n = 5, α = 1e-4, β = 0.75; α multiplies the sum. Caffe and
PyTorch multiply the mean over n, so that their α = 1e-4 is α = 1e-4/n here.
"""
import keras
from keras import ops

from .gradient import with_gradient
from .window import channel_axis, checked_axis


def normalize_response(x, depth=5, bias=2.0, alpha=1e-4, beta=0.75, axis=-1):
    """b of activities a = x, along the axis of the maps: any shape → the same. depth is n (odd), bias is k.

    ValueError for an even n, whose windows have no centre, as with the layer.
    """
    _check_depth(depth)
    checked_axis(axis, x.shape)

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
    """For each map the sum of the `depth` maps centred on it, as far as there are any."""
    axis, maps = axis % len(x.shape), ops.shape(x)[axis]
    padded = ops.pad(x, [(depth // 2, depth // 2) if other == axis else (0, 0) for other in range(len(x.shape))])
    before = (slice(None),) * axis
    total = padded[(*before, slice(0, maps))]
    for start in range(1, depth):
        total = total + padded[(*before, slice(start, start + maps))]
    return total


@keras.saving.register_keras_serializable(package="cnn_repro")
class LocalResponseNormalization(keras.layers.Layer):
    """AlexNet's normalisation across `depth` neighbouring maps. Any shape with an axis of maps → the same.

    depth: n, odd, so that a window has a centre. bias: k, positive. alpha, beta: α and β. axis: that of the maps.
    In half precision it computes in float32, because the squares overflow. No weights.
    """

    def __init__(self, depth=5, bias=2.0, alpha=1e-4, beta=0.75, axis=-1, **kwargs):
        super().__init__(**kwargs)
        _check_depth(depth)
        if bias <= 0:
            raise ValueError(f"bias={bias} must be positive: where all activities are zero, nothing else is.")
        self.depth, self.axis = int(depth), int(axis)
        self.bias, self.alpha, self.beta = float(bias), float(alpha), float(beta)

    def build(self, input_shape):
        channel_axis(self.axis, input_shape)
        self.built = True

    def call(self, inputs):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        y = normalize_response(x, self.depth, self.bias, self.alpha, self.beta, self.axis)
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "depth": self.depth, "bias": self.bias, "alpha": self.alpha,
                "beta": self.beta, "axis": self.axis}
