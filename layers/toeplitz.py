"""A convolution as one dense product: the matrix T with vec(Y) = T vec(X).

    T[pk, qc] = W[t,c,k] where q = p·s + t·d, else 0       one row an output, one column an input
    vec(dX) = Tᵀ vec(dY)                                   the residual of a dense layer: backwards through T
    dT = Σ_n vec(dY) vec(X)ᵀ                               its weight gradient, were all entries free
    dW[t,c,k] = Σ dT over the entries that are W[t,c,k]    they are not: they share one weight, so it gets their sum

vec numbers (*space, channels) in row-major order. T is sparse, a row has taps·C/groups entries, and for one axis, one
channel and stride 1 a Toeplitz matrix: constant along its diagonals. It is large, P·K × Q·C: a form to understand
and to check a convolution by, not to compute with.
Source: lecture note 001, sections 2.2 (a convolution unfolded into a dense layer) and 3.2 (δ ~ Wᵀδ).
"""
from math import prod

import numpy as np
from keras import ops

from .dense import multiply
from .gradient import with_gradient
from .local import known_outputs
from .window import Window, check_groups


def convolve_as_dense(x, kernel, strides=1, padding="valid", dilation_rate=1):
    """`convolve`, as the dense product of T with the flattened images: x (N, *space, C) → (N, *outputs, K).

    Backwards it is the dense layer's dX = dY T and dT = dYᵀ X, for images as rows, and the sum over equal entries.
    """
    matrix = toeplitz_matrix(kernel, x.shape[1:], strides, padding, dilation_rate)
    outputs = Window.of(kernel.shape[:-2], strides, padding, dilation_rate).outputs(x.shape[1:-1])
    y = multiply(ops.reshape(x, (-1, prod(x.shape[1:]))), ops.transpose(matrix))
    return ops.reshape(y, (-1, *outputs, kernel.shape[-1]))


def toeplitz_matrix(kernel, input_shape, strides=1, padding="valid", dilation_rate=1):
    """T (outputs·K, inputs·C) of kernel (*size, C/groups, K) for images of `input_shape` (*space, C).

    The number of groups follows from the channels; strides and dilation go together. Raises ValueError
    for an image whose size is unknown or smaller than the kernel.
    """
    window = Window.of(kernel.shape[:-2], strides, padding, dilation_rate)
    check_groups(window.check_axes((None, *input_shape), paddings=("valid", "same", "causal"))[1], kernel)
    entries = shared_entries(tuple(kernel.shape), tuple(input_shape), window)

    def forward(kernel):
        weights = ops.reshape(kernel, (-1,))
        return ops.take(ops.concatenate([weights, ops.zeros_like(weights[:1])]), entries)

    return with_gradient(forward, lambda dmatrix, _, kernel: shared_weight_gradient(dmatrix, kernel, entries), kernel)


def shared_weight_gradient(dmatrix, kernel, entries):
    """dW: the sum of dT over the entries of T that are the same weight. Of the kernel only the shape counts."""
    weights = prod(kernel.shape)
    sums = ops.segment_sum(ops.reshape(dmatrix, (-1,)), entries.reshape(-1), num_segments=weights + 1)
    return ops.reshape(sums[:weights], kernel.shape)    # the last sum is that of the entries that are always zero


def shared_entries(kernel_shape, input_shape, window: Window):
    """Which number of the flat kernel each entry of T is; the first number past its end where T is zero."""
    *space, channels = input_shape
    *_, inner, filters = kernel_shape
    outputs = known_outputs(window, space)
    inputs = np.arange(prod(space)).reshape(1, *space, 1)
    inputs = np.pad(inputs, ((0, 0), *window.pads(space), (0, 0)), constant_values=-1)      # −1: padding
    entries = np.full((prod(outputs), filters, prod(space), channels), prod(kernel_shape), "int32")
    k, i = np.arange(filters)[:, None], np.arange(inner)
    c = k // (filters * inner // channels) * inner + i                  # the channels of the group that k belongs to
    for t, offset in enumerate(window.offsets()):
        places = [o + np.arange(p) * s for o, p, s in zip(offset, outputs, window.strides)]     # where tap t looks
        q = inputs[np.ix_([0], *places, [0])].reshape(-1)
        p = np.flatnonzero(q >= 0)
        entries[p[:, None, None], k, q[p, None, None], c] = (t * inner + i) * filters + k
    return entries.reshape(prod(outputs) * filters, -1)
