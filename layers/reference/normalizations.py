"""Normalisation, channel by channel."""
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
