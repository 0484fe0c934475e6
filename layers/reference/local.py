"""Unshared weights, the matrix of a convolution and fixed filters, term by term."""
from itertools import product
from math import prod

import numpy as np

from .windows import looks, outputs_of


def _number(position, sizes):
    """The number of a position when all are counted in row-major order."""
    number = 0
    for index, size in zip(position, sizes):
        number = number * size + index
    return number


def _terms(x, kernel, size, strides, padding):
    """All (p, its number, q, the row of the kernel, c, k): output position, what it sees, and with which weight."""
    outputs = outputs_of(x.shape, size, strides, padding, (1,) * len(size))
    for p, t, q in looks(x.shape, size, strides, padding, (1,) * len(size)):
        for c, k in product(range(x.shape[-1]), range(kernel.shape[-1])):
            yield p, _number(p, outputs), q, _number(t, size) * x.shape[-1] + c, c, k


def locally_connected(x, kernel, size, strides, padding):
    """Y[n,p,k] = Σ_tc X[n,q,c] W[p,tc,k] with q = p·s + t."""
    outputs = outputs_of(x.shape, size, strides, padding, (1,) * len(size))
    y = np.zeros((x.shape[0], *outputs, kernel.shape[-1]), x.dtype)
    for p, number, q, row, c, k in _terms(x, kernel, size, strides, padding):
        for n in range(x.shape[0]):
            y[(n, *p, k)] += x[(n, *q, c)] * kernel[number, row, k]
    return y


def locally_connected_gradients(dy, x, kernel, size, strides, padding):
    """(dX, dW): every term X·W of the forward sum gives dY·W to dX and X·dY to dW."""
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for p, number, q, row, c, k in _terms(x, kernel, size, strides, padding):
        for n in range(x.shape[0]):
            dx[(n, *q, c)] += dy[(n, *p, k)] * kernel[number, row, k]
            dkernel[number, row, k] += x[(n, *q, c)] * dy[(n, *p, k)]
    return dx, dkernel


def local_bias_gradient(dy):
    """db[p,k] = Σ_n dY[n,p,k]."""
    dbias = np.zeros(dy.shape[1:], dy.dtype)
    for n in range(dy.shape[0]):
        dbias += dy[n]
    return dbias


def toeplitz(kernel, input_shape, strides, padding="valid", dilation=(1, 1)):
    """T[pk,qc] = W[t,c,k] where output p sees input q through tap t; zero elsewhere."""
    *space, channels = input_shape
    *size, inner, filters = kernel.shape
    shape, groups = (1, *input_shape), channels // inner
    outputs = outputs_of(shape, size, strides, padding, dilation)
    matrix = np.zeros((prod(outputs) * filters, prod(input_shape)), kernel.dtype)
    for p, t, q in looks(shape, size, strides, padding, dilation):
        for i, k in product(range(inner), range(filters)):
            c = k // (filters // groups) * inner + i
            matrix[_number(p, outputs) * filters + k, _number(q, space) * channels + c] = kernel[(*t, i, k)]
    return matrix


def fixed_filters(x, bank, padding):
    """Y[n,p,c·m+i] = Σ_t X[n,q,c] F[i,t] with q = p + t."""
    outputs = outputs_of(x.shape, bank.shape[1:], (1, 1), padding, (1, 1))
    y = np.zeros((x.shape[0], *outputs, x.shape[-1] * len(bank)), x.dtype)
    for p, t, q in looks(x.shape, bank.shape[1:], (1, 1), padding, (1, 1)):
        for n, c, i in product(range(x.shape[0]), range(x.shape[-1]), range(len(bank))):
            y[(n, *p, c * len(bank) + i)] += x[(n, *q, c)] * bank[(i, *t)]
    return y


def fixed_filters_gradient(dy, x, bank, padding):
    """dX: every term X·F gives dY·F."""
    dx = np.zeros_like(x)
    for p, t, q in looks(x.shape, bank.shape[1:], (1, 1), padding, (1, 1)):
        for n, c, i in product(range(x.shape[0]), range(x.shape[-1]), range(len(bank))):
            dx[(n, *q, c)] += dy[(n, *p, c * len(bank) + i)] * bank[(i, *t)]
    return dx
