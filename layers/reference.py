"""The operators as plain NumPy loops: their definition, slow and obvious.

Every gradient is written as the contribution of one term of the forward sum, added up: no flips, no dilation, no
transposition, so that it can be checked by eye against the forward loop above it. Channels last.
"""
from itertools import product

import numpy as np


def padding_of(n, k, stride, padding, dilation=1):
    """(before, outputs) along one axis: TensorFlow's rule for `same`."""
    extent = (k - 1) * dilation + 1
    if padding == "valid":
        return 0, (n - extent) // stride + 1
    outputs = -(-n // stride)
    return max((outputs - 1) * stride + extent - n, 0) // 2, outputs


def _looks(x_shape, size, strides, padding, dilation):
    """All (p, t, q): output position, tap, and the input position that they meet; padded positions left out."""
    axes = [padding_of(n, k, s, padding, d) for n, k, s, d in zip(x_shape[1:-1], size, strides, dilation)]
    for p in product(*(range(outputs) for _, outputs in axes)):
        for t in product(*(range(k) for k in size)):
            q = tuple(pi * s + ti * d - before
                      for pi, s, ti, d, (before, _) in zip(p, strides, t, dilation, axes))
            if all(0 <= qi < n for qi, n in zip(q, x_shape[1:-1])):
                yield p, t, q


def _outputs(x_shape, size, strides, padding, dilation):
    return tuple(padding_of(n, k, s, padding, d)[1]
                 for n, k, s, d in zip(x_shape[1:-1], size, strides, dilation))


def convolution(x, kernel, strides, padding="valid", dilation=(1, 1)):
    """Y[n,p,k] = Σ_tc X[n,q,c] W[t,c,k] with q = p·s + t·d, per group of channels."""
    size, filters = kernel.shape[:-2], kernel.shape[-1]
    y = np.zeros((x.shape[0], *_outputs(x.shape, size, strides, padding, dilation), filters), x.dtype)
    for p, t, q in _looks(x.shape, size, strides, padding, dilation):
        for n, (c, inner, k) in product(range(x.shape[0]), _channel_pairs(x, kernel)):
            y[(n, *p, k)] += x[(n, *q, c)] * kernel[(*t, inner, k)]
    return y


def convolution_gradients(dy, x, kernel, strides, padding="valid", dilation=(1, 1)):
    """(dX, dW): every term X·W of the forward sum gives dY·W to dX and X·dY to dW."""
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for p, t, q in _looks(x.shape, kernel.shape[:-2], strides, padding, dilation):
        for n, (c, inner, k) in product(range(x.shape[0]), _channel_pairs(x, kernel)):
            dx[(n, *q, c)] += dy[(n, *p, k)] * kernel[(*t, inner, k)]
            dkernel[(*t, inner, k)] += x[(n, *q, c)] * dy[(n, *p, k)]
    return dx, dkernel


def _channel_pairs(x, kernel):
    """All (input channel, its index within the group, output channel) that are connected."""
    inner, filters = kernel.shape[-2:]
    groups = x.shape[-1] // inner
    return [(k // (filters // groups) * inner + i, i, k) for k in range(filters) for i in range(inner)]


def max_pool(x, size, strides, padding="valid"):
    """Y[p] = max_t X[q]."""
    ones = (1,) * len(size)
    y = np.full((x.shape[0], *_outputs(x.shape, size, strides, padding, ones), x.shape[-1]), -np.inf, x.dtype)
    for p, t, q in _looks(x.shape, size, strides, padding, ones):
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            y[(n, *p, c)] = max(y[(n, *p, c)], x[(n, *q, c)])
    return y


def max_pool_gradient(dy, x, size, strides, padding="valid"):
    """dX: dY goes to the first position, in row-major order, that holds the maximum."""
    y = max_pool(x, size, strides, padding)
    dx, given = np.zeros_like(x), np.zeros(y.shape, bool)
    for p, t, q in _looks(x.shape, size, strides, padding, (1,) * len(size)):
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            if not given[(n, *p, c)] and x[(n, *q, c)] == y[(n, *p, c)]:
                given[(n, *p, c)] = True
                dx[(n, *q, c)] += dy[(n, *p, c)]
    return dx


def average_pool(x, size, strides, padding="valid"):
    """Y[p] = mean_t X[q] over the positions inside the input."""
    return _window_sum(x, size, strides, padding) / _window_count(x, size, strides, padding)


def average_pool_gradient(dy, x, size, strides, padding="valid"):
    """dX: dY/m to each of the m positions."""
    count = _window_count(x, size, strides, padding)
    dx = np.zeros_like(x)
    for p, t, q in _looks(x.shape, size, strides, padding, (1,) * len(size)):
        dx[(slice(None), *q)] += dy[(slice(None), *p)] / count[(slice(None), *p)]
    return dx


def _window_sum(x, size, strides, padding):
    ones = (1,) * len(size)
    y = np.zeros((x.shape[0], *_outputs(x.shape, size, strides, padding, ones), x.shape[-1]), x.dtype)
    for p, t, q in _looks(x.shape, size, strides, padding, ones):
        y[(slice(None), *p)] += x[(slice(None), *q)]
    return y


def _window_count(x, size, strides, padding):
    return _window_sum(np.ones((1, *x.shape[1:-1], 1), x.dtype), size, strides, padding)


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
    return _window_sum(x, (pool, pool), (pool, pool), "valid") * coefficient + bias


def subsampling_gradients(dy, x, coefficient, pool):
    """(dX, dw, db)."""
    dx = np.zeros_like(x)
    for p, t, q in _looks(x.shape, (pool, pool), (pool, pool), "valid", (1, 1)):
        dx[(slice(None), *q)] += coefficient * dy[(slice(None), *p)]
    total = _window_sum(x, (pool, pool), (pool, pool), "valid")
    return dx, (dy * total).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))


def dense(x, kernel, bias):
    """y_nk = Σ_i x_ni w_ik + b_k."""
    y = np.zeros((x.shape[0], kernel.shape[1]), x.dtype)
    for n, k in product(range(x.shape[0]), range(kernel.shape[1])):
        y[n, k] = sum(x[n, i] * kernel[i, k] for i in range(x.shape[1])) + bias[k]
    return y


def dense_gradients(dy, x, kernel):
    """(dX, dW, db)."""
    dx, dkernel, dbias = np.zeros_like(x), np.zeros_like(kernel), np.zeros(kernel.shape[1], x.dtype)
    for n, i, k in product(range(x.shape[0]), range(x.shape[1]), range(kernel.shape[1])):
        dx[n, i] += dy[n, k] * kernel[i, k]
        dkernel[i, k] += x[n, i] * dy[n, k]
    for n, k in product(range(x.shape[0]), range(kernel.shape[1])):
        dbias[k] += dy[n, k]
    return dx, dkernel, dbias


def batch_norm(x, gamma, beta, epsilon):
    """γ (x − μ)/√(σ² + ε) + β, channel by channel."""
    y = np.zeros_like(x)
    for c in range(x.shape[-1]):
        values = x[..., c]
        y[..., c] = gamma[c] * (values - values.mean()) / np.sqrt(values.var() + epsilon) + beta[c]
    return y


def batch_norm_gradients(dy, x, gamma, epsilon):
    """(dX, dγ, dβ) by the chain rule through x̂, σ² and μ, one step at a time (Ioffe and Szegedy 2015, section 3)."""
    dx, dgamma, dbeta = np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)
    for c in range(x.shape[-1]):
        values, upstream, m = x[..., c], dy[..., c], x[..., c].size
        centred, root = values - values.mean(), np.sqrt(values.var() + epsilon)
        dnormal = upstream * gamma[c]
        dvariance = (dnormal * centred).sum() * -0.5 * root**-3
        dmean = -dnormal.sum() / root + dvariance * -2 * centred.sum() / m
        dx[..., c] = dnormal / root + dvariance * 2 * centred / m + dmean / m
        dgamma[c] = (upstream * centred / root).sum()
        dbeta[c] = upstream.sum()
    return dx, dgamma, dbeta


def radial(x, centres):
    """z_k = −Σ_i (x_i − c_ki)²."""
    z = np.zeros((x.shape[0], centres.shape[0]), x.dtype)
    for n, k, i in product(range(x.shape[0]), range(centres.shape[0]), range(x.shape[1])):
        z[n, k] -= (x[n, i] - centres[k, i])**2
    return z


def radial_gradients(dz, x, centres):
    """(dx, dc)."""
    dx, dcentres = np.zeros_like(x), np.zeros_like(centres)
    for n, k, i in product(range(x.shape[0]), range(centres.shape[0]), range(x.shape[1])):
        dx[n, i] -= 2 * dz[n, k] * (x[n, i] - centres[k, i])
        dcentres[k, i] += 2 * dz[n, k] * (x[n, i] - centres[k, i])
    return dx, dcentres


def map_loss(labels, z, j):
    """E = y_D + log(e^−j + Σ_k e^−y_k) with y = −z."""
    return np.array([-z[n, label] + np.log(np.exp(-j) + np.exp(z[n]).sum()) for n, label in enumerate(labels)])


def map_loss_gradient(de, labels, z, j):
    """dz."""
    dz = np.zeros_like(z)
    for n, label in enumerate(labels):
        total = np.exp(-j) + np.exp(z[n]).sum()
        for k in range(z.shape[1]):
            dz[n, k] = de[n] * (np.exp(z[n, k]) / total - (k == label))
    return dz


def central_differences(function, tensors, dy, step=1e-5):
    """Gradients of Σ dy·function(*tensors): each coordinate moved by ±step, float64 (cubic error: step²)."""
    gradients = []
    for index, tensor in enumerate(tensors):
        gradient = np.zeros_like(tensor)
        for position in np.ndindex(*tensor.shape):
            moved = []
            for sign in (1, -1):
                changed = tensor.copy()
                changed[position] += sign * step
                arguments = (*tensors[:index], changed, *tensors[index + 1:])
                moved.append((np.asarray(function(*arguments)) * dy).sum())
            gradient[position] = (moved[0] - moved[1]) / (2 * step)
        gradients.append(gradient)
    return gradients
