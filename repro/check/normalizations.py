"""Normalisation: by a batch's statistics, by given ones, by neighbouring maps, by neighbouring pixels."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ...layers import normalization, reference, response
from .case import Case

EPSILON = 1e-3


def cases(random) -> Iterator[Case]:
    """Batch normalisation, its channels last, second or all there is; response normalisation of any window."""
    for text, shape, axis in (("3×2×4", (3, 2, 4, 3), -1), ("channels in axis 1", (2, 4, 3, 2), 1),
                              ("6 rows of 4", (6, 4), -1), ("5 images of one pixel", (5, 1, 1, 3), -1)):
        yield _training(random, text, shape, axis)
        yield _prediction(random, text, shape, axis)
    yield _prediction(random, "no image", (0, 2, 2, 3), -1)
    for text, shape, arguments, axis in (
            ("AlexNet's", (2, 2, 2, 8), (5, 2.0, 1e-4, 0.75), -1),
            ("strong, 3 of 7 maps", (2, 2, 1, 7), (3, 1.0, 0.7, 0.75), -1),
            ("strong, 9 of 4 maps", (2, 3, 2, 4), (9, 2.0, 0.5, 0.5), -1),
            ("each map alone", (2, 2, 2, 3), (1, 0.5, 0.3, 1.0), -1),
            ("a single map", (2, 3, 2, 1), (5, 1.0, 1.0, 2.0), -1),
            ("maps in axis 1", (2, 6, 2, 2), (5, 1.0, 0.3, 0.75), 1),
            ("no image", (0, 2, 2, 6), (5, 2.0, 0.3, 0.75), -1)):
        yield _response(random, text, shape, arguments, axis)
    for text, shape, arguments, axes in (
            ("cuda-convnet's", (2, 4, 5, 2), (3, 1.0, 5e-5 / 9, 0.75), (1, 2)),
            ("strong, 3×3", (2, 4, 3, 2), (3, 1.0, 0.5, 0.75), (1, 2)),
            ("strong, 5×5 of 2×4 pixels", (1, 2, 4, 2), (5, 2.0, 0.3, 0.5), (1, 2)),
            ("pixels in axes 2 and 3", (2, 2, 3, 4), (3, 1.0, 0.3, 0.75), (2, 3)),
            ("no image", (0, 3, 3, 2), (3, 1.0, 0.3, 0.75), (1, 2))):
        yield _within_maps(random, text, shape, arguments, axes)


def _batch(random, shape, axis):
    """Arguments, the axes of the statistics, and how a channel's value broadcasts."""
    channels, axis = shape[axis], axis % len(shape)
    arguments = {"input": 1 + 2 * random.normal(size=shape), "gamma": random.normal(size=channels),
                 "beta": random.normal(size=channels)}
    wide = [channels if other == axis else 1 for other in range(len(shape))]
    return arguments, tuple(other for other in range(len(shape)) if other != axis), wide


def _training(random, text, shape, axis) -> Case:
    arguments, axes, wide = _batch(random, shape, axis)

    def ours(x, gamma, beta):
        return normalization.batch_normalize(x, ops.reshape(gamma, wide), ops.reshape(beta, wide), axes, EPSILON)[0]

    def stock(x, gamma, beta):
        # not keras.ops.moments, whose second derivative is wrong on TensorFlow
        mean = ops.mean(x, axes, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axes)
        return ops.batch_normalization(x, ops.mean(x, axes), variance, axis, beta, gamma, EPSILON)

    def output(x, gamma, beta):
        return np.moveaxis(reference.batch_norm(np.moveaxis(x, axis, -1), gamma, beta, EPSILON), -1, axis)

    def loops(dy, x, gamma, beta):
        dx, dgamma, dbeta = reference.batch_norm_gradients(np.moveaxis(dy, axis, -1), np.moveaxis(x, axis, -1),
                                                           gamma, EPSILON)
        return np.moveaxis(dx, -1, axis), dgamma, dbeta

    return Case("BatchNormalization", f"{text}, training", arguments, ours, stock, output, loops)


def _prediction(random, text, shape, axis) -> Case:
    arguments, axes, wide = _batch(random, shape, axis)
    mean, variance = random.normal(size=wide), random.uniform(0.5, 2, size=wide)

    def ours(x, gamma, beta):
        return normalization.normalize_by(x, ops.reshape(gamma, wide), ops.reshape(beta, wide), axes, EPSILON,
                                          ops.cast(mean, x.dtype), ops.cast(variance, x.dtype))

    def stock(x, gamma, beta):
        normal = (x - ops.cast(mean, x.dtype)) / ops.cast(np.sqrt(variance + EPSILON), x.dtype)
        return normal * ops.reshape(gamma, wide) + ops.reshape(beta, wide)

    def output(x, gamma, beta):
        return (x - mean) / np.sqrt(variance + EPSILON) * gamma.reshape(wide) + beta.reshape(wide)

    def loops(dy, x, gamma, beta):
        normal = (x - mean) / np.sqrt(variance + EPSILON)
        return dy * gamma.reshape(wide) / np.sqrt(variance + EPSILON), (dy * normal).sum(axes), dy.sum(axes)

    return Case("BatchNormalization", f"{text}, prediction", arguments, ours, stock, output, loops)


def _response(random, text, shape, arguments, axis) -> Case:
    depth, bias, alpha, beta = arguments
    distance = np.abs(np.subtract.outer(range(shape[axis]), range(shape[axis])))

    def stock(x):
        near = ops.cast(distance <= depth // 2, x.dtype)
        sums = ops.moveaxis(ops.tensordot(ops.square(x), near, axes=[[axis % len(shape)], [0]]), -1, axis)
        return x / ops.power(bias + alpha * sums, beta)

    def last(function, *tensors):
        return np.moveaxis(function(*(np.moveaxis(tensor, axis, -1) for tensor in tensors), *arguments), -1, axis)

    return Case("LocalResponseNormalization", text, {"input": 2 * random.normal(size=shape)},
                lambda x: response.normalize_response(x, *arguments, axis), stock,
                lambda x: last(reference.response_norm, x),
                lambda dy, x: [last(reference.response_norm_gradient, dy, x)])


def _within_maps(random, text, shape, arguments, axes) -> Case:
    depth, bias, alpha, beta = arguments

    def stock(x):
        sums = ops.square(x)
        for axis in axes:
            distance = np.abs(np.subtract.outer(range(shape[axis]), range(shape[axis])))
            near = ops.cast(distance <= depth // 2, x.dtype)
            sums = ops.moveaxis(ops.tensordot(sums, near, axes=[[axis], [0]]), -1, axis)
        return x / ops.power(bias + alpha * sums, beta)

    def last(function, *tensors):
        if axes == (1, 2):
            return function(*tensors, *arguments)
        return np.moveaxis(function(*(np.moveaxis(tensor, 1, -1) for tensor in tensors), *arguments), -1, 1)

    return Case("MapResponseNormalization", text, {"input": 2 * random.normal(size=shape)},
                lambda x: response.normalize_response(x, *arguments, axes), stock,
                lambda x: last(reference.map_response_norm, x),
                lambda dy, x: [last(reference.map_response_norm_gradient, dy, x)])
