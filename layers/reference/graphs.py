"""Graph convolution, edge by edge and number by number."""
from itertools import product

import numpy as np


def graph_convolution(h, edges, weights, kernel):
    """y_i = Σ_{e: j → i} a_e h_j W."""
    y = np.zeros((h.shape[0], kernel.shape[1]), h.dtype)
    for (j, i), a in zip(edges, weights):
        for c, k in product(*map(range, kernel.shape)):
            y[i, k] += a * h[j, c] * kernel[c, k]
    return y


def graph_convolution_gradients(dy, h, edges, weights, kernel):
    """(dh, da, dW): every term a·h·W of the forward sum gives each factor dY times the other two."""
    dh, dweights, dkernel = np.zeros_like(h), np.zeros_like(weights), np.zeros_like(kernel)
    for e, (j, i) in enumerate(edges):
        for c, k in product(*map(range, kernel.shape)):
            dh[j, c] += dy[i, k] * weights[e] * kernel[c, k]
            dweights[e] += dy[i, k] * h[j, c] * kernel[c, k]
            dkernel[c, k] += dy[i, k] * weights[e] * h[j, c]
    return dh, dweights, dkernel


def chebyshev_convolution(h, edges, weights, kernels):
    """y = Σ_k T_k(L̃) h W_k, L̃ the sum of the edges: each T_k(L̃) as a matrix by its recurrence."""
    return sum(polynomial @ h @ kernel for polynomial, kernel in zip(
        _polynomials(len(h), edges, weights, len(kernels)), kernels))


def chebyshev_gradients(dy, h, edges, weights, kernels):
    """(dh, da, [dW_k]); da by T_k′ = 2 (L̃′ T_{k−1} + L̃ T_{k−1}′) − T_{k−2}′, one edge's derivative at a time."""
    nodes = len(h)
    polynomials = _polynomials(nodes, edges, weights, len(kernels))
    dh, dweights = np.zeros_like(h), np.zeros_like(weights)
    dkernels = [np.zeros_like(kernel) for kernel in kernels]
    for k, kernel in enumerate(kernels):
        for i, j in product(range(nodes), repeat=2):                # every term T_ij h_j W gives each factor its share
            dh[j] += polynomials[k][i, j] * (kernel @ dy[i])
            dkernels[k] += polynomials[k][i, j] * np.outer(h[j], dy[i])
    laplacian = polynomials[1]
    for e, (j, i) in enumerate(edges):
        one = np.zeros((nodes, nodes))
        one[i, j] = 1
        slopes = [np.zeros((nodes, nodes)), one]
        for k in range(2, len(kernels)):
            slopes.append(2 * (one @ polynomials[k - 1] + laplacian @ slopes[k - 1]) - slopes[k - 2])
        dweights[e] = sum((dy * (slope @ h @ kernel)).sum() for slope, kernel in zip(slopes, kernels))
    return dh, dweights, dkernels


def _polynomials(nodes, edges, weights, count):
    laplacian = np.zeros((nodes, nodes))
    for (j, i), a in zip(edges, weights):
        laplacian[i, j] += a
    found = [np.eye(nodes), laplacian]
    while len(found) < count:
        found.append(2 * laplacian @ found[-1] - found[-2])
    return found


def edges_of(adjacency):
    """All pairs (j, i), and their weights Â_ij, zeros too."""
    edges = list(product(range(adjacency.shape[1]), range(adjacency.shape[0])))
    return edges, np.array([adjacency[i, j] for j, i in edges])


def renormalized(adjacency):
    """Â_ij = (A + I)_ij/√(d̃_i d̃_j)."""
    nodes = len(adjacency)
    linked = [[float(adjacency[i, j]) + (i == j) for j in range(nodes)] for i in range(nodes)]
    return np.array([[linked[i][j] / (sum(linked[i]) * sum(linked[j]))**0.5 for j in range(nodes)]
                     for i in range(nodes)])
