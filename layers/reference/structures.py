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


def add(*tensors):
    """At every place of the sum one entry of each tensor, the same again along its axes of size 1."""
    y = np.zeros(np.broadcast_shapes(*(x.shape for x in tensors)))
    for place in np.ndindex(y.shape):
        for x in tensors:
            y[place] += x[_own(place, x.shape)]
    return y


def add_gradients(dy, *tensors):
    """One a tensor: every place of dy goes to the entries that were added up there."""
    gradients = tuple(np.zeros_like(x) for x in tensors)
    for place in np.ndindex(dy.shape):
        for dx in gradients:
            dx[_own(place, dx.shape)] += dy[place]
    return gradients


def _own(place, shape):
    return tuple(0 if size == 1 else index for index, size in zip(place, shape))


def concatenate(*tensors):
    """Channel after channel."""
    return np.stack([x[..., c] for x in tensors for c in range(x.shape[-1])], axis=-1)


def concatenate_gradients(dy, *tensors):
    """One a tensor: channel after channel, each back to where it came from."""
    gradients, k = tuple(np.zeros_like(x) for x in tensors), 0
    for dx in gradients:
        for c in range(dx.shape[-1]):
            dx[..., c] = dy[..., k]
            k += 1
    return gradients


def shuffle_channels(x, groups):
    """Channel j of group i becomes channel i of group j."""
    y, each = np.zeros_like(x), x.shape[-1] // groups
    for i in range(groups):
        for j in range(each):
            y[..., j * groups + i] = x[..., i * each + j]
    return y


def shuffle_channels_gradient(dy, groups):
    """dX: each channel's gradient from where it went."""
    dx, each = np.zeros_like(dy), dy.shape[-1] // groups
    for i in range(groups):
        for j in range(each):
            dx[..., i * each + j] = dy[..., j * groups + i]
    return dx


def highway(x, h, t):
    """Place by place h where t is 1, x where t is 0, between them in between."""
    y = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        y[place] = t[place] * h[place] + (1 - t[place]) * x[place]
    return y


def highway_gradients(dy, x, h, t):
    """(dX, dH, dT): the derivatives of t h + (1 − t) x."""
    dx, dh, dt = np.zeros_like(x), np.zeros_like(h), np.zeros_like(t)
    for place in np.ndindex(dy.shape):
        dx[place] = dy[place] * (1 - t[place])
        dh[place] = dy[place] * t[place]
        dt[place] = dy[place] * h[place] - dy[place] * x[place]
    return dx, dh, dt


def dropout(x, kept, rate):
    """x/(1 − rate) where it is kept, 0 elsewhere."""
    y = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        if kept[place]:
            y[place] = x[place] / (1 - rate)
    return y


def dropout_gradient(dy, kept, rate):
    """dX: 1/(1 − rate) of dy where the unit took part."""
    dx = np.zeros_like(dy)
    for place in np.ndindex(dy.shape):
        if kept[place]:
            dx[place] = dy[place] / (1 - rate)
    return dx
