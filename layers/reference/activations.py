"""Activation functions and their derivatives, written without the output y that the layers reuse."""
import numpy as np


def relu(x, negative_slope=0.0, max_value=np.inf, threshold=0.0):
    """x between threshold and max_value, max_value above, negative_slope (x − threshold) below."""
    return np.where(x > threshold, np.minimum(x, max_value), negative_slope * (x - threshold))


def relu_gradient(dy, x, negative_slope=0.0, max_value=np.inf, threshold=0.0):
    """dx: the slope of the piece that x lies on."""
    return dy * np.where(x > threshold, np.where(x < max_value, 1.0, 0.0), negative_slope)


def tanh(x):
    """(e^x − e^−x)/(e^x + e^−x)."""
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


def tanh_gradient(dy, x):
    """dx = dy/cosh² x."""
    return dy / np.cosh(x)**2


def sigmoid(x):
    """1/(1 + e^−x)."""
    return 1 / (1 + np.exp(-x))


def sigmoid_gradient(dy, x):
    """dx = dy e^−x/(1 + e^−x)²."""
    return dy * np.exp(-x) / (1 + np.exp(-x))**2


def scaled_tanh(x):
    """1.7159 tanh(2x/3)."""
    return 1.7159 * tanh(2 / 3 * x)


def scaled_tanh_gradient(dy, x):
    """dx = dy · 1.7159 · 2/3 / cosh²(2x/3)."""
    return dy * 1.7159 * 2 / 3 / np.cosh(2 / 3 * x)**2


def softmax(x):
    """e^x_i/Σ_j e^x_j along the last axis."""
    y = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        y[place] = np.exp(x[place]) / np.exp(x[place[:-1]]).sum()
    return y


def softmax_gradient(dy, x):
    """dx: of every output y_j its ∂y_j/∂x_i = y_j ([i = j] − y_i)."""
    dx, y = np.zeros_like(x), softmax(x)
    for (*row, j) in np.ndindex(x.shape):
        for i in range(x.shape[-1]):
            dx[(*row, i)] += dy[(*row, j)] * y[(*row, j)] * ((i == j) - y[(*row, i)])
    return dx
