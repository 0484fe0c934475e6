"""Operators that move values, index by index."""
import numpy as np


def pad_channels(x, channels):
    """The channels of x, then zeros."""
    y = np.zeros((*x.shape[:-1], channels), x.dtype)
    for c in range(x.shape[-1]):
        y[..., c] = x[..., c]
    return y


def pad_channels_gradient(dy, own):
    """dX: the gradient of the channels that x has."""
    dx = np.zeros((*dy.shape[:-1], own), dy.dtype)
    for c in range(own):
        dx[..., c] = dy[..., c]
    return dx
