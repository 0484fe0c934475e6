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
