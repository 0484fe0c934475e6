"""Batch normalisation and its gradient.

    μ = mean x,  σ² = var x,  x̂ = (x − μ)/√(σ² + ε),  y = γ x̂ + β        statistics per channel over m values
    dβ = Σ dy       dγ = Σ dy x̂
    dx = γ/√(σ² + ε) · (dy − dβ/m − x̂ dγ/m)                             training: through mean and variance
    dx = γ/√(σ² + ε) · dy                                               prediction: both are constants

m counts the batch and all positions.  Source: Ioffe and Szegedy 2015, section 3 and algorithm 1.

On TensorFlow keras.ops.moments holds μ constant inside σ². The variance's first derivative is right all the same,
because Σ(x − μ) = 0, but the second lacks −2/m², and stock batch normalisation's own is wrong for it. Here σ² itself
stands in the backward pass, whose derivative therefore needs the first derivative of σ² only, and is right.
"""
import keras
from keras import ops

from .gradient import with_gradient


def batch_normalize(x, gamma, beta, axes, epsilon, mean, variance):
    """Normalise x by the mean and variance of its own `axes`; returns y like x.

    gamma, beta: shaped to broadcast against x. mean, variance: the moments of x, likewise shaped, which the
    caller has computed anyway; the backward pass goes through them as functions of x.
    """
    def forward(x, gamma, beta):
        return _affine(x, gamma, beta, mean, variance, epsilon)

    def backward(dy, y, x, gamma, beta):
        # from x itself, so that the backward pass can be differentiated as well
        mean, variance = ops.moments(x, axes, keepdims=True)
        return batch_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon)

    return with_gradient(forward, backward, x, gamma, beta)


def normalize_by(x, gamma, beta, axes, epsilon, mean, variance):
    """Normalise x by a given mean and variance (moving averages), which have no gradient; shapes as above."""
    def forward(x, gamma, beta):
        return _affine(x, gamma, beta, mean, variance, epsilon)

    def backward(dy, y, x, gamma, beta):
        return frozen_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon)

    return with_gradient(forward, backward, x, gamma, beta)


def _affine(x, gamma, beta, mean, variance, epsilon):
    scale = gamma * ops.rsqrt(variance + epsilon)
    return x * scale + (beta - mean * scale)


def batch_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon):
    """(dx, dγ, dβ) through the batch's own statistics."""
    inverse = ops.rsqrt(variance + epsilon)
    normal = (x - mean) * inverse
    # Σ/m as a mean: no count, so that an unknown batch size and half precision are no special cases
    mean_dy = ops.mean(dy, axes, keepdims=True)
    mean_dy_normal = ops.mean(dy * normal, axes, keepdims=True)
    dx = gamma * inverse * (dy - mean_dy - normal * mean_dy_normal)
    return dx, ops.sum(dy * normal, axes, keepdims=True), ops.sum(dy, axes, keepdims=True)


def frozen_norm_gradient(dy, x, gamma, mean, variance, axes, epsilon):
    """(dx, dγ, dβ) with constant statistics."""
    inverse = ops.rsqrt(variance + epsilon)
    dgamma = ops.sum(dy * (x - mean) * inverse, axes, keepdims=True)
    return gamma * inverse * dy, dgamma, ops.sum(dy, axes, keepdims=True)


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
            mean, variance = ops.moments(ops.stop_gradient(x), axes, keepdims=True)
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, variance)
            y = batch_normalize(x, gamma, beta, axes, self.epsilon, mean, variance)
        else:
            y = normalize_by(x, gamma, beta, axes, self.epsilon, wide(self.moving_mean), wide(self.moving_variance))
        return ops.cast(y, self.compute_dtype)

    def _follow(self, average, value):
        """Moving average: average ← momentum · average + (1 − momentum) · value."""
        value = ops.reshape(value, average.shape)
        average.assign(ops.cast(average, value.dtype) * self.momentum + value * (1.0 - self.momentum))
