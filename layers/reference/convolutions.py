"""Convolution and transposed convolution, term by term."""
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


def transposed_convolution(x, kernel, strides, padding="valid", output_padding=None, dilation=(1, 1)):
    """Y[n,q,k] = Σ X[n,p,c] W[t,k,c] over all p and t with p·s + t·d − before = q."""
    y = np.zeros((x.shape[0], *_transposed_outputs(x, kernel, strides, padding, output_padding, dilation),
                  kernel.shape[-2]), x.dtype)
    for p, t, q in _writes(x, y, kernel, strides, padding, dilation):
        for n, k, c in product(range(x.shape[0]), range(kernel.shape[-2]), range(kernel.shape[-1])):
            y[(n, *q, k)] += x[(n, *p, c)] * kernel[(*t, k, c)]
    return y


def transposed_convolution_gradients(dy, x, kernel, strides, padding="valid", dilation=(1, 1)):
    """(dX, dW): every term X·W of the forward sum gives dY·W to dX and X·dY to dW."""
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for p, t, q in _writes(x, dy, kernel, strides, padding, dilation):
        for n, k, c in product(range(x.shape[0]), range(kernel.shape[-2]), range(kernel.shape[-1])):
            dx[(n, *p, c)] += dy[(n, *q, k)] * kernel[(*t, k, c)]
            dkernel[(*t, k, c)] += x[(n, *p, c)] * dy[(n, *q, k)]
    return dx, dkernel


def _transposed_outputs(x, kernel, strides, padding, output_padding, dilation):
    """Keras's rule for the size of every axis; output_padding: None or one integer an axis."""
    sizes = []
    for axis, (n, s) in enumerate(zip(x.shape[1:-1], strides)):
        extent = (kernel.shape[axis] - 1) * dilation[axis] + 1
        if output_padding is None:
            sizes.append(n * s if padding == "same" else (n - 1) * s + max(extent, s))
        else:
            sizes.append((n - 1) * s + (extent % 2 if padding == "same" else extent) + output_padding[axis])
    return sizes


def _writes(x, y, kernel, strides, padding, dilation):
    """All (p, t, q): input position, tap, and the output position that they are added to; those cut off left out."""
    before = []
    for axis, (n, m, s) in enumerate(zip(x.shape[1:-1], y.shape[1:-1], strides)):
        written = (n - 1) * s + (kernel.shape[axis] - 1) * dilation[axis] + 1
        before.append(max(written - m, 0) // 2 if padding == "same" else 0)
    for p, t in product(np.ndindex(*x.shape[1:-1]), np.ndindex(*kernel.shape[:-2])):
        q = tuple(pi * s + ti * d - low for pi, s, ti, d, low in zip(p, strides, t, dilation, before))
        if all(0 <= qi < m for qi, m in zip(q, y.shape[1:-1])):
            yield p, t, q
