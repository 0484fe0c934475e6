"""Capsules: groups of units whose vector's length says that something is there, and whose direction says how.

    v = ‖s‖²/(1 + ‖s‖²) · s/‖s‖                        squashing, the paper's equation (1)
    ds = h dv + h′ (n·dv) s                            h = ‖s‖/(1 + ‖s‖²),  h′ = (1 − ‖s‖²)/(1 + ‖s‖²)²,  n = s/‖s‖

    û_j|i = W_ij u_i                                   du_i = Σ_j W_ijᵀ dû_j|i       dW_ij = Σ_n u_i dû_j|i

Routing (procedure 1) from b_ij = 0, and each of its lines backward. û stands in the lines 5 and 7 of every iteration,
b runs through all of them, so their contributions add up:

    line 4     c_i = softmax_j b_ij                    db_ij += c_ij (dc_ij − Σ_k dc_ik c_ik)
    line 5     s_j = Σ_i c_ij û_j|i                    dc_ij = ds_j · û_j|i          dû_j|i += c_ij ds_j
    line 6     v_j = squash(s_j)                       as above
    line 7     b_ij += û_j|i · v_j                     dv_j = Σ_i db_ij û_j|i        dû_j|i += db_ij v_j

The gradient goes through the coupling coefficients as it does in the authors' program; a common variant, which
treats them as constants, is another gradient. The line 7 of the last iteration has no effect and is left out.

    E = Σ_k T_k max(0, 0.9 − ‖v_k‖)² + ½ (1 − T_k) max(0, ‖v_k‖ − 0.1)²                margin loss, equation (4)
    dE/d‖v_k‖ = −2 T_k max(0, 0.9 − ‖v_k‖) + (1 − T_k) max(0, ‖v_k‖ − 0.1)             d‖v‖ = n·dv

Source: Sabour, Frosst and Hinton 2017, sections 2 to 4; lecture note 002, section 4.2.
"""
from math import prod

import keras
from keras import ops

from .activation import softmax_gradient
from .convolution import convolve
from .dense import add_bias
from .gradient import with_gradient
from .loss import one_hot
from .window import Window, check_positive, differ, known_format, last_shape, space_of, to_channels_last

PRESENT, ABSENT, ABSENT_WEIGHT = 0.9, 0.1, 0.5          # m⁺, m⁻ and λ of equation (4)


def squash(s):
    """Capsules s (..., D) → (..., D): the direction kept, the length ‖s‖ made ‖s‖²/(1 + ‖s‖²); zero stays zero."""
    return with_gradient(_squashed, lambda dv, v, s: squash_gradient(dv, s), s)


def _squashed(s):
    length = lengths_of(s)
    return ops.cast(_wide(s) * (length / (1 + ops.square(length))), s.dtype)


def squash_gradient(dv, s):
    """ds = h dv + h′ (n·dv) s; 0 where s is 0."""
    wide, upstream, length = _wide(s), _wide(dv), lengths_of(s)
    grown = 1 + ops.square(length)
    along = ops.sum(_direction(s) * upstream, axis=-1, keepdims=True)
    ds = length / grown * upstream + (2 - grown) / ops.square(grown) * along * wide
    return ops.cast(ds, s.dtype)


def lengths_of(s):
    """‖s‖ of (..., D) → (..., 1), at least in float32; its derivative at zero is zero, not one over zero."""
    squared = ops.sum(ops.square(_wide(s)), axis=-1, keepdims=True)
    some = squared > 0
    return ops.where(some, ops.sqrt(ops.where(some, squared, ops.ones_like(squared))), ops.zeros_like(squared))


def _direction(s):
    """n = s/‖s‖; 0 where s is 0."""
    length = lengths_of(s)
    return _wide(s) / ops.where(length > 0, length, ops.ones_like(length))


def _wide(x):
    """Half precision has no room for squares."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def capsule_length(v):
    """‖v‖ of capsules v (..., D) → (...)."""
    return with_gradient(lambda v: ops.cast(lengths_of(v)[..., 0], v.dtype),
                         lambda dy, y, v: capsule_length_gradient(dy, v), v)


def capsule_length_gradient(dy, v):
    """dv = n dy; 0 where v is 0."""
    return ops.cast(_direction(v), v.dtype) * dy[..., None]


def predict(u, kernel):
    """û_j|i = W_ij u_i for capsules u (N, I, D) and kernel W (I, J, D, E) → (N, J, I, E)."""
    return with_gradient(lambda u, kernel: ops.einsum("nid,ijde->njie", u, kernel),
                         lambda dy, y, u, kernel: prediction_gradients(dy, u, kernel), u, kernel)


def prediction_gradients(dy, u, kernel):
    """(du, dW)."""
    return ops.einsum("njie,ijde->nid", dy, kernel), ops.einsum("nid,njie->ijde", u, dy)


def routing(predictions, iterations=3):
    """Dynamic routing of predictions û (N, J, I, E) to capsules v (N, J, E): procedure 1."""
    if len(predictions.shape) != 4 or iterations < 1:
        raise ValueError(f"Predictions of shape {tuple(predictions.shape)} and iterations={iterations} must be "
                         "(N, J, I, E) and 1 or more.")
    return with_gradient(lambda predictions: _iterate(predictions, iterations)[-1][-1],
                         lambda dv, v, predictions: routing_gradient(dv, predictions, iterations), predictions)


def _iterate(predictions, iterations) -> list:
    """c (N, J, I), s and v (N, J, E) of every iteration."""
    steps, logits = [], ops.zeros_like(predictions[..., 0])
    for iteration in range(iterations):
        if iteration > 0:
            logits = logits + agree(predictions, steps[-1][-1])
        c = ops.softmax(logits, axis=1)
        s = weigh(c, predictions)
        steps.append((c, s, _squashed(s)))
    return steps


def weigh(c, predictions):
    """Σ_i c_ij û_j|i of c (N, J, I) and û (N, J, I, E) → (N, J, E)."""
    return ops.einsum("nji,njie->nje", c, predictions)


def agree(predictions, v):
    """û_j|i · v_j of û (N, J, I, E) and v (N, J, E) → (N, J, I)."""
    return ops.einsum("njie,nje->nji", predictions, v)


def spread(c, v):
    """c_ij v_j of c (N, J, I) and v (N, J, E) → (N, J, I, E)."""
    return c[..., None] * v[:, :, None, :]


def routing_gradient(dv, predictions, iterations):
    """dû: the lines of procedure 1 from the last to the first."""
    steps = _iterate(predictions, iterations)           # once more: a compiled step finds them computed already
    c, s, _ = steps.pop()
    ds = squash_gradient(dv, s)                                                         # line 6
    total, dlogits = spread(c, ds), 0                                                   # line 5
    while steps:
        dlogits = dlogits + softmax_gradient(agree(predictions, ds), c, axis=1)         # lines 5 and 4
        c, s, v = steps.pop()                           # the iteration before
        ds = squash_gradient(weigh(dlogits, predictions), s)                            # lines 7 and 6
        total = total + spread(dlogits, v) + spread(c, ds)                              # lines 7 and 5
    return total


def margin_loss(labels, lengths):
    """E of each image: lengths (N, K) of the class capsules → (N,).

    labels: (N,) integers, of which one that is no class makes E NaN, or T as (N, K) zeros and ones where several
    classes may be present at once.
    """
    present = one_hot(labels, lengths) if len(labels.shape) == 1 else labels
    if len(present.shape) != 2 or any(differ(*pair) for pair in zip(present.shape, lengths.shape)):
        raise ValueError(f"Labels of shape {tuple(labels.shape)} do not go with lengths of shape "
                         f"{tuple(lengths.shape)}: they must be (N,) or (N, K).")
    present = ops.cast(present, lengths.dtype)

    def forward(lengths):
        return ops.sum(present * ops.square(ops.maximum(PRESENT - lengths, 0)) + ABSENT_WEIGHT * (1 - present)
                       * ops.square(ops.maximum(lengths - ABSENT, 0)), axis=-1)

    return with_gradient(forward, lambda de, e, lengths: margin_loss_gradient(de, present, lengths), lengths)


def margin_loss_gradient(de, present, lengths):
    """d‖v_k‖."""
    short, long = ops.maximum(PRESENT - lengths, 0), ops.maximum(lengths - ABSENT, 0)
    return de[:, None] * 2 * (ABSENT_WEIGHT * (1 - present) * long - present * short)


@keras.saving.register_keras_serializable(package="cnn_repro")
class PrimaryCapsules(keras.layers.Layer):
    """Convolutional capsules: a convolution with channels · dimension filters, whose units are squashed in groups.

    channels: capsules at a position, of `dimension` units each. kernel_size, strides: one integer. The paper's are
    PrimaryCapsules(32, 8, kernel_size=9, strides=2).
    data_format: of the input, as for Keras's layers; by default Keras's own.
    Input (N, H, W, C), or (N, C, H, W) → output (N, P · Q · channels, dimension), the same of both.
    Source: Sabour et al. 2017, section 4.
    """

    def __init__(self, channels, dimension, kernel_size, strides=1, padding="valid",
                 kernel_initializer="glorot_uniform", data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = known_format(data_format)
        self.channels, self.dimension = int(channels), int(dimension)
        self.kernel_size, self.strides, self.padding = int(kernel_size), int(strides), padding.lower()
        check_positive(channels=self.channels, dimension=self.dimension, kernel_size=self.kernel_size,
                       strides=self.strides)
        if self.padding not in ("valid", "same"):
            raise ValueError(f"padding={padding!r} must be one of valid, same.")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(f"The input has {len(input_shape)} axes; PrimaryCapsules takes 4: (N, H, W, C).")
        for axis in (1, 2) if self.data_format == "channels_last" else (2, 3):
            if self.padding == "valid" and input_shape[axis] is not None and input_shape[axis] < self.kernel_size:
                raise ValueError(f"Axis {axis} of the input has size {input_shape[axis]}, "
                                 f"less than kernel_size={self.kernel_size}.")
        channels, filters = last_shape(input_shape, self.data_format)[-1], self.channels * self.dimension
        self.kernel = self.add_weight(
            name="kernel", shape=(self.kernel_size, self.kernel_size, channels, filters),
            initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(filters,), initializer="zeros")
        self.built = True

    def call(self, inputs):
        return self.capsules_of(to_channels_last(inputs, self.data_format), self.kernel, self.bias)

    def capsules_of(self, inputs, kernel, bias):
        """Squashed capsules of inputs (N, H, W, C) by a kernel (k, k, C, filters) and a bias (filters,)."""
        y = add_bias(convolve(inputs, kernel, self.strides, self.padding), bias)
        capsules = prod(space_of(y)) * self.channels
        return squash(ops.reshape(y, (ops.shape(y)[0], capsules, self.dimension)))

    def compute_output_shape(self, input_shape):
        space, capsules = last_shape(input_shape, self.data_format)[1:-1], None
        if None not in space:
            window = Window.of((self.kernel_size,) * 2, self.strides, self.padding)
            capsules = prod(window.outputs(space)) * self.channels
        return (input_shape[0], capsules, self.dimension)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "dimension": self.dimension,
                "kernel_size": self.kernel_size, "strides": self.strides, "padding": self.padding,
                "data_format": self.data_format,
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


@keras.saving.register_keras_serializable(package="cnn_repro")
class DynamicRouting(keras.layers.Layer):
    """Capsules fully connected by routing: a matrix W_ij a pair of capsules, the couplings by agreement.

    I · capsules · D · dimension parameters. Input (N, I, D) → output (N, capsules, dimension); the number I of
    capsules below is fixed when the layer is built. The paper's digit capsules are DynamicRouting(10, 16).
    kernel_initializer: the paper names none; normal numbers of deviation 0.1 are those of the authors' program.
    Source: Sabour et al. 2017, equation (2) and procedure 1.
    """

    def __init__(self, capsules, dimension, iterations=3, kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.capsules, self.dimension, self.iterations = int(capsules), int(dimension), int(iterations)
        check_positive(capsules=self.capsules, dimension=self.dimension)
        if self.iterations < 1:
            raise ValueError(f"iterations={iterations} must be 1 or more.")
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer or keras.initializers.TruncatedNormal(stddev=0.1))

    def build(self, input_shape):
        if len(input_shape) != 3 or None in input_shape[1:]:
            raise ValueError(f"The input has shape {tuple(input_shape)}; DynamicRouting takes (N, I, D) "
                             "with I and D known.")
        below, units = input_shape[1:]
        self.kernel = self.add_weight(name="kernel", shape=(below, self.capsules, units, self.dimension),
                                      initializer=self.kernel_initializer)
        self.built = True

    def call(self, inputs):
        return routing(predict(inputs, self.kernel), self.iterations)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.capsules, self.dimension)

    def get_config(self):
        return {**super().get_config(), "capsules": self.capsules, "dimension": self.dimension,
                "iterations": self.iterations,
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


@keras.saving.register_keras_serializable(package="cnn_repro")
class CapsuleLength(keras.layers.Layer):
    """The length of every capsule: (..., J, E) → (..., J), the scores of a capsule network's classes."""

    def call(self, inputs):
        return capsule_length(inputs)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[:-1])
