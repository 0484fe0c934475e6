"""Pooling, window by window."""
from itertools import product

import numpy as np

from .windows import looks, outputs_of


def max_pool(x, size, strides, padding="valid"):
    """Y[p] = max_t X[q]."""
    ones = (1,) * len(size)
    y = np.full((x.shape[0], *outputs_of(x.shape, size, strides, padding, ones), x.shape[-1]), -np.inf, x.dtype)
    for p, t, q in looks(x.shape, size, strides, padding, ones):
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            y[(n, *p, c)] = max(y[(n, *p, c)], x[(n, *q, c)])
    return y


def max_pool_gradient(dy, x, size, strides, padding="valid"):
    """dX: dY goes to the first position, in row-major order, that holds the maximum."""
    y = max_pool(x, size, strides, padding)
    dx, given = np.zeros_like(x), np.zeros(y.shape, bool)
    for p, t, q in looks(x.shape, size, strides, padding, (1,) * len(size)):
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            if not given[(n, *p, c)] and x[(n, *q, c)] == y[(n, *p, c)]:
                given[(n, *p, c)] = True
                dx[(n, *q, c)] += dy[(n, *p, c)]
    return dx


def average_pool(x, size, strides, padding="valid"):
    """Y[p] = mean_t X[q] over the positions inside the input."""
    return window_sum(x, size, strides, padding) / _window_count(x, size, strides, padding)


def average_pool_gradient(dy, x, size, strides, padding="valid"):
    """dX: dY/m to each of the m positions."""
    count = _window_count(x, size, strides, padding)
    dx = np.zeros_like(x)
    for p, t, q in looks(x.shape, size, strides, padding, (1,) * len(size)):
        dx[(slice(None), *q)] += dy[(slice(None), *p)] / count[(slice(None), *p)]
    return dx


def window_sum(x, size, strides, padding):
    ones = (1,) * len(size)
    y = np.zeros((x.shape[0], *outputs_of(x.shape, size, strides, padding, ones), x.shape[-1]), x.dtype)
    for p, t, q in looks(x.shape, size, strides, padding, ones):
        y[(slice(None), *p)] += x[(slice(None), *q)]
    return y


def _window_count(x, size, strides, padding):
    return window_sum(np.ones((1, *x.shape[1:-1], 1), x.dtype), size, strides, padding)


def global_average_pool(x):
    """Y = 1/(H·W) Σ X."""
    return x.reshape(x.shape[0], -1, x.shape[-1]).sum(axis=1) / np.prod(x.shape[1:-1])


def global_average_pool_gradient(dy, x):
    """dX: dY/(H·W) everywhere."""
    dx = np.zeros_like(x)
    for n, c in product(range(x.shape[0]), range(x.shape[-1])):
        dx[n, ..., c] = dy[n, c] / np.prod(x.shape[1:-1])
    return dx


def subsampling(x, coefficient, bias, pool):
    """Y = w Σ_t X + b."""
    return window_sum(x, (pool, pool), (pool, pool), "valid") * coefficient + bias


def subsampling_gradients(dy, x, coefficient, pool):
    """(dX, dw, db)."""
    dx = np.zeros_like(x)
    for p, t, q in looks(x.shape, (pool, pool), (pool, pool), "valid", (1, 1)):
        dx[(slice(None), *q)] += coefficient * dy[(slice(None), *p)]
    total = window_sum(x, (pool, pool), (pool, pool), "valid")
    return dx, (dy * total).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))
