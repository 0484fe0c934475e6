"""Depthwise and separable convolution, term by term."""
from itertools import product

import numpy as np

from .windows import looks, outputs_of


def depthwise_convolution(x, kernel, strides, padding="valid", dilation=(1, 1)):
    """Y[n,p,c·m+j] = Σ_t X[n,q,c] W[t,c,j] with q = p·s + t·d: every channel under m kernels of its own."""
    *size, channels, multiplier = kernel.shape
    outputs = outputs_of(x.shape, size, strides, padding, dilation)
    y = np.zeros((x.shape[0], *outputs, channels * multiplier), x.dtype)
    for p, t, q in looks(x.shape, size, strides, padding, dilation):
        for n, c, j in product(range(x.shape[0]), range(channels), range(multiplier)):
            y[(n, *p, c * multiplier + j)] += x[(n, *q, c)] * kernel[(*t, c, j)]
    return y


def depthwise_gradients(dy, x, kernel, strides, padding="valid", dilation=(1, 1)):
    """(dX, dW): every term X·W of the forward sum gives dY·W to dX and X·dY to dW."""
    *size, channels, multiplier = kernel.shape
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for p, t, q in looks(x.shape, size, strides, padding, dilation):
        for n, c, j in product(range(x.shape[0]), range(channels), range(multiplier)):
            term = dy[(n, *p, c * multiplier + j)]
            dx[(n, *q, c)] += term * kernel[(*t, c, j)]
            dkernel[(*t, c, j)] += x[(n, *q, c)] * term
    return dx, dkernel


def separable_convolution(x, kernel, pointwise, strides, padding="valid", dilation=(1, 1)):
    """Y[n,p,k] = Σ_tcj X[n,q,c] W[t,c,j] U[c·m+j,k]: a depthwise convolution, then a product at every position."""
    *size, channels, multiplier = kernel.shape
    filters = pointwise.shape[-1]
    mix = pointwise.reshape(-1, filters)
    y = np.zeros((x.shape[0], *outputs_of(x.shape, size, strides, padding, dilation), filters), x.dtype)
    for p, t, q in looks(x.shape, size, strides, padding, dilation):
        for n, c, j, k in product(range(x.shape[0]), range(channels), range(multiplier), range(filters)):
            y[(n, *p, k)] += x[(n, *q, c)] * kernel[(*t, c, j)] * mix[c * multiplier + j, k]
    return y


def separable_gradients(dy, x, kernel, pointwise, strides, padding="valid", dilation=(1, 1)):
    """(dX, dW, dU): every term X·W·U of the forward sum gives each factor dY times the other two."""
    *size, channels, multiplier = kernel.shape
    filters = pointwise.shape[-1]
    mix = pointwise.reshape(-1, filters)
    dx, dkernel, dmix = np.zeros_like(x), np.zeros_like(kernel), np.zeros_like(mix)
    for p, t, q in looks(x.shape, size, strides, padding, dilation):
        for n, c, j, k in product(range(x.shape[0]), range(channels), range(multiplier), range(filters)):
            row, term = c * multiplier + j, dy[(n, *p, k)]
            dx[(n, *q, c)] += term * kernel[(*t, c, j)] * mix[row, k]
            dkernel[(*t, c, j)] += term * x[(n, *q, c)] * mix[row, k]
            dmix[row, k] += term * x[(n, *q, c)] * kernel[(*t, c, j)]
    return dx, dkernel, dmix.reshape(pointwise.shape)
