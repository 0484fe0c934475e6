"""Normalisation, channel by channel."""
from itertools import product

import numpy as np


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


def response_norm(x, depth, bias, alpha, beta):
    """a_i (k + α Σ a_j²)^−β, the sum over the maps j that are at most (n − 1)/2 away."""
    y = np.zeros_like(x)
    for i in range(x.shape[-1]):
        y[..., i] = x[..., i] * _scale(x, i, depth, bias, alpha)**-beta
    return y


def response_norm_gradient(dy, x, depth, bias, alpha, beta):
    """dX: what each output map b_i = a_i s_i^−β hands to the a_j of its window, and to its own a_i once more."""
    dx = np.zeros_like(x)
    for i in range(x.shape[-1]):
        s = _scale(x, i, depth, bias, alpha)
        dx[..., i] += dy[..., i] * s**-beta
        for j in _window(i, depth, x.shape[-1]):
            dx[..., j] += dy[..., i] * x[..., i] * -beta * s**(-beta - 1) * alpha * 2 * x[..., j]
    return dx


def map_response_norm(x, depth, bias, alpha, beta):
    """a_pq (k + α Σ a²)^−β, the sum over the pixels of the same map that are at most (n − 1)/2 away along each axis."""
    y = np.zeros_like(x)
    for image, p, q, c in np.ndindex(x.shape):
        y[image, p, q, c] = x[image, p, q, c] * _scale_within(x, image, p, q, c, depth, bias, alpha)**-beta
    return y


def map_response_norm_gradient(dy, x, depth, bias, alpha, beta):
    """dX: what each b_pq hands to the activities of its square, and to its own once more."""
    dx = np.zeros_like(x)
    for image, p, q, c in np.ndindex(x.shape):
        s = _scale_within(x, image, p, q, c, depth, bias, alpha)
        dx[image, p, q, c] += dy[image, p, q, c] * s**-beta
        common = dy[image, p, q, c] * x[image, p, q, c] * -beta * s**(-beta - 1) * alpha * 2
        for u, v in product(_window(p, depth, x.shape[1]), _window(q, depth, x.shape[2])):
            dx[image, u, v, c] += common * x[image, u, v, c]
    return dx


def _scale_within(x, image, p, q, c, depth, bias, alpha):
    square = product(_window(p, depth, x.shape[1]), _window(q, depth, x.shape[2]))
    return bias + alpha * sum(x[image, u, v, c]**2 for u, v in square)


def _window(i, depth, maps):
    return range(max(0, i - depth // 2), min(maps, i + depth // 2 + 1))


def _scale(x, i, depth, bias, alpha):
    return bias + alpha * sum(x[..., j]**2 for j in _window(i, depth, x.shape[-1]))
