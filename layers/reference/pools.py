"""Pooling, window by window."""
from itertools import product
from math import comb

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


def global_max_pool(x):
    """Y = max X."""
    return x.reshape(x.shape[0], -1, x.shape[-1]).max(axis=1)


def global_max_pool_gradient(dy, x):
    """dX: dY/k to each of the k positions that hold the maximum."""
    dx = np.zeros_like(x)
    for n, c in product(range(x.shape[0]), range(x.shape[-1])):
        hit = x[n, ..., c] == x[n, ..., c].max()
        dx[n, ..., c][hit] = dy[n, c] / hit.sum()
    return dx


def blur_pool(x, size, strides, padding="reflect"):
    """Y[p] = Σ_t b_t X[q], q reflected at the border."""
    y = np.zeros((x.shape[0], *_blurred_space(x, size, strides, padding), x.shape[-1]), x.dtype)
    for p, q, weight in _blurs(x, size, strides, padding):
        y[(slice(None), *p)] += weight * x[(slice(None), *q)]
    return y


def blur_pool_gradient(dy, x, size, strides, padding="reflect"):
    """dX: b_t dY[p] to the position that tap t looked at."""
    dx = np.zeros_like(x)
    for p, q, weight in _blurs(x, size, strides, padding):
        dx[(slice(None), *q)] += weight * dy[(slice(None), *p)]
    return dx


def _blurred_space(x, size, strides, padding):
    return [(n - (k if padding == "valid" else 1)) // s + 1 for n, k, s in zip(x.shape[1:-1], size, strides)]


def _blurs(x, size, strides, padding):
    """All (p, q, weight): output position, the input position behind one tap, the tap's binomial weight."""
    before = [0 if padding == "valid" else (k - 1) // 2 for k in size]
    for p in product(*(range(n) for n in _blurred_space(x, size, strides, padding))):
        for t in product(*(range(k) for k in size)):
            q = tuple(_mirrored(pi * s + ti - b, n)
                      for pi, s, ti, b, n in zip(p, strides, t, before, x.shape[1:-1]))
            yield p, q, np.prod([comb(k - 1, ti) / 2 ** (k - 1) for k, ti in zip(size, t)])


def _mirrored(q, n):
    """The position inside an axis of length n that q, perhaps beyond its border, is the image of."""
    return -q if q < 0 else 2 * (n - 1) - q if q >= n else q


def reflect_pad(x, pads):
    """X̂[q] = X[q mirrored]."""
    wide = np.zeros((x.shape[0], *(low + n + high for n, (low, high) in zip(x.shape[1:-1], pads)), x.shape[-1]))
    for place, q in _reflections(x, pads):
        wide[(slice(None), *place)] = x[(slice(None), *q)]
    return wide


def reflect_pad_gradient(dy, x, pads):
    """dX: what each image received."""
    dx = np.zeros_like(x)
    for place, q in _reflections(x, pads):
        dx[(slice(None), *q)] += dy[(slice(None), *place)]
    return dx


def _reflections(x, pads):
    for place in product(*(range(low + n + high) for n, (low, high) in zip(x.shape[1:-1], pads))):
        yield place, tuple(_mirrored(i - low, n) for i, (low, _), n in zip(place, pads, x.shape[1:-1]))


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
