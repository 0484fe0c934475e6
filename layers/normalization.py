"""Batch normalisation and its gradient.

    μ = mean x,  σ² = var x,  x̂ = (x − μ)/√(σ² + ε),  y = γ x̂ + β        statistics per channel over m values
    dβ = Σ dy       dγ = Σ dy x̂
    dx = γ/√(σ² + ε) · (dy − dβ/m − x̂ dγ/m)                             training: through mean and variance
    dx = γ/√(σ² + ε) · dy                                               prediction: both are constants

m counts the batch and all positions.  Source: Ioffe and Szegedy 2015, section 3 and algorithm 1.

On TensorFlow keras.ops.moments holds μ constant inside σ². The variance's first derivative is right all the same,
because Σ(x − μ) = 0, but the second lacks −2/m², and stock batch normalisation's own is wrong for it. Here the moments
are the sums that they are, and all their derivatives follow.
"""
from functools import reduce

import keras
from keras import ops

from .gradient import fused, with_gradient


def batch_normalize(x, gamma, beta, axes, epsilon):
    """Normalise x by the mean and variance along its `axes`; gamma and beta broadcast against x.

    Returns (y, mean, variance): y like x, the moments shaped to broadcast against it.
    """
    mean, variance = moments(x, axes)

    def forward(x, gamma, beta, mean, variance):
        return _affine(x, gamma, beta, mean, variance, epsilon)

    def backward(dy, y, x, gamma, beta, mean, variance):
        # dx goes through the moments already. They are handed in because it is a function of them as well, when it is
        # differentiated once more: closed over, they would be constants.
        return *batch_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon), None, None

    return with_gradient(forward, backward, x, gamma, beta, mean, variance), mean, variance


def normalize_by(x, gamma, beta, axes, epsilon, mean, variance):
    """The same by a given mean and variance (moving averages), which broadcast likewise and have no gradient."""
    def forward(x, gamma, beta):
        return _affine(x, gamma, beta, mean, variance, epsilon)

    def backward(dy, y, x, gamma, beta):
        return frozen_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon)

    return with_gradient(forward, backward, x, gamma, beta)


def moments(x, axes):
    """(μ, σ²) of x along its `axes`, which stay."""
    count = _count(x, axes)
    mean = _sum(x, axes) / count
    return mean, _sum(_squares(x, mean, axes[-1]), axes) / count


def _count(x, axes):
    return ops.cast(reduce(lambda m, axis: m * ops.shape(x)[axis], axes, 1), x.dtype)


def _sum(x, axes):
    """Σ along the axes, which stay: of each image, then of the images. On TensorFlow large maps take less time so
    (32×32×32×160: 2.5 in place of 4.5 ms, 128×32×32×16: 1.0 of 1.2), small ones the same or a little more."""
    within = [axis for axis in axes if axis > 0]
    x = ops.sum(x, within, keepdims=True) if within else x
    return ops.sum(x, 0, keepdims=True) if 0 in axes else x


# Sums of products begin inside one loop, along one axis: a product is not written to be read again, and what is left to
# add is a row's length shorter. The whole sum in that loop takes up to four times as long: it runs on one core.

@fused
def _squares(x, mean, axis):
    """(x − μ)², summed along one axis."""
    deviation = x - mean
    return ops.sum(deviation * deviation, axis, keepdims=True)


@fused
def _products(dy, x, mean, axis):
    """dy (x − μ), summed along one axis."""
    return ops.sum(dy * (x - mean), axis, keepdims=True)


def _affine(x, gamma, beta, mean, variance, epsilon):
    scale = gamma * ops.rsqrt(variance + epsilon)
    return _scaled(x, scale, beta - mean * scale)


@fused
def _scaled(x, scale, offset):
    return x * scale + offset


def batch_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon):
    """(dx, dγ, dβ) through the batch's own statistics; x̂ = (x − μ)/σ is not formed, to spare passes over memory."""
    count = _count(x, axes)
    inverse = ops.rsqrt(variance + epsilon)
    inverse = ops.where(count > 0, inverse, ops.zeros_like(inverse))        # of no images the moments are no numbers
    dbeta = _sum(dy, axes)
    dgamma = _sum(_products(dy, x, mean, axes[-1]), axes) * inverse
    return _through_moments(dy, x, mean, gamma * inverse, inverse * dgamma / count, dbeta / count), dgamma, dbeta


@fused
def _through_moments(dy, x, mean, scale, slope, offset):
    """dx = γ/σ (dy − (x − μ)/σ · dγ/m − dβ/m), the factors a channel at hand."""
    return scale * (dy - (x - mean) * slope - offset)


def frozen_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon):
    """(dx, dγ, dβ) with constant statistics."""
    inverse = ops.rsqrt(variance + epsilon)
    return gamma * inverse * dy, _sum(_products(dy, x, mean, axes[-1]), axes) * inverse, _sum(dy, axes)


@keras.saving.register_keras_serializable(package="cnn_repro")
class BatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization with its backward pass written out. Any shape with a channel axis.

    Arguments, weights, moving averages, config and files are the stock layer's. Keras's defaults (momentum 0.99,
    epsilon 1e-3) are not those of the papers (0.9 and 1e-5 in most). Masks, `renorm` and `synchronized`
    are other operators than the paper's: the stock layer computes them.
    """

    def call(self, inputs, training=None, mask=None):
        if mask is not None or self.renorm or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))    # half precision overflows
        axis = self.axis % len(x.shape)
        axes = tuple(other for other in range(len(x.shape)) if other != axis)
        shape = [1] * len(x.shape)
        shape[axis] = x.shape[axis]
        wide = lambda value: ops.reshape(ops.cast(value, x.dtype), shape)           # noqa: E731
        gamma = wide(self.gamma) if self.scale else ops.ones(shape, x.dtype)
        beta = wide(self.beta) if self.center else ops.zeros(shape, x.dtype)
        if training and self.trainable:
            y, mean, variance = batch_normalize(x, gamma, beta, axes, self.epsilon)
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, variance)
        else:
            y = normalize_by(x, gamma, beta, axes, self.epsilon, wide(self.moving_mean), wide(self.moving_variance))
        return ops.cast(y, self.compute_dtype)

    def _follow(self, average, value):
        """Moving average: average ← momentum · average + (1 − momentum) · value."""
        value = ops.reshape(value, average.shape)
        average.assign(ops.cast(average, value.dtype) * self.momentum + value * (1.0 - self.momentum))
