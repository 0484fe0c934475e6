"""Batch normalisation."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ...layers import normalization, reference
from .case import Case


def cases(random) -> Iterator[Case]:
    """By the batch's own statistics and by given ones."""
    axes, epsilon = (0, 1, 2), 1e-3
    arguments = {"input": 1 + 2 * random.normal(size=(3, 2, 4, 3)),
                 "gamma": random.normal(size=3), "beta": random.normal(size=3)}
    wide = lambda v: ops.reshape(v, (1, 1, 1, -1))                                      # noqa: E731

    def ours(x, gamma, beta):
        mean, variance = ops.moments(ops.stop_gradient(x), axes, keepdims=True)
        return normalization.batch_normalize(x, wide(gamma), wide(beta), axes, epsilon, mean, variance)

    def stock(x, gamma, beta):
        # keras.ops.moments stops a gradient inside the variance on TensorFlow, which makes its second derivative wrong
        mean = ops.mean(x, axes)
        variance = ops.mean(ops.square(x - mean), axes)
        return ops.batch_normalization(x, mean, variance, -1, beta, gamma, epsilon)

    yield Case("BatchNormalization", "3×2×4, training", arguments, ours, stock,
               lambda x, gamma, beta: reference.batch_norm(x, gamma, beta, epsilon),
               lambda dy, x, gamma, beta: reference.batch_norm_gradients(dy, x, gamma, epsilon))
    mean, variance = random.normal(size=3), random.uniform(0.5, 2, size=3)

    def frozen(x, gamma, beta):
        cast = lambda v: wide(ops.cast(v, x.dtype))                                     # noqa: E731
        return normalization.normalize_by(x, wide(gamma), wide(beta), axes, epsilon, cast(mean), cast(variance))

    def frozen_stock(x, gamma, beta):
        return (x - ops.cast(mean, x.dtype)) / ops.cast(np.sqrt(variance + epsilon), x.dtype) * gamma + beta

    def frozen_output(x, gamma, beta):
        return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta

    def frozen_loops(dy, x, gamma, beta):
        normal = (x - mean) / np.sqrt(variance + epsilon)
        return dy * gamma / np.sqrt(variance + epsilon), (dy * normal).sum(axes), dy.sum(axes)

    yield Case("BatchNormalization", "3×2×4, prediction", arguments, frozen, frozen_stock, frozen_output,
               frozen_loops)
