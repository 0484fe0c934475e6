"""Convolution, term by term."""
from itertools import product

import numpy as np

from .windows import looks, outputs_of


def convolution(x, kernel, strides, padding="valid", dilation=(1, 1)):
    """Y[n,p,k] = Σ_tc X[n,q,c] W[t,c,k] with q = p·s + t·d, per group of channels."""
    size, filters = kernel.shape[:-2], kernel.shape[-1]
    y = np.zeros((x.shape[0], *outputs_of(x.shape, size, strides, padding, dilation), filters), x.dtype)
    for p, t, q in looks(x.shape, size, strides, padding, dilation):
        for n, (c, inner, k) in product(range(x.shape[0]), _channel_pairs(x, kernel)):
            y[(n, *p, k)] += x[(n, *q, c)] * kernel[(*t, inner, k)]
    return y


def convolution_gradients(dy, x, kernel, strides, padding="valid", dilation=(1, 1)):
    """(dX, dW): every term X·W of the forward sum gives dY·W to dX and X·dY to dW."""
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for p, t, q in looks(x.shape, kernel.shape[:-2], strides, padding, dilation):
        for n, (c, inner, k) in product(range(x.shape[0]), _channel_pairs(x, kernel)):
            dx[(n, *q, c)] += dy[(n, *p, k)] * kernel[(*t, inner, k)]
            dkernel[(*t, inner, k)] += x[(n, *q, c)] * dy[(n, *p, k)]
    return dx, dkernel


def _channel_pairs(x, kernel):
    """All (input channel, its index within the group, output channel) that are connected."""
    inner, filters = kernel.shape[-2:]
    groups = x.shape[-1] // inner
    return [(k // (filters // groups) * inner + i, i, k) for k in range(filters) for i in range(inner)]
