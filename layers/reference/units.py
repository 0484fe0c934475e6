"""Dense and radial units and their loss, number by number."""
from itertools import product

import numpy as np


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
