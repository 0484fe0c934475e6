"""Operators that join, move or mix values.

    pad channels    Y = [X, 0]                      dX = the first channels of dY
    concatenate     Y = [X_1, …, X_n]               dX_i = the part of dY where X_i lies
    add             Y = X_1 + … + X_n               dX_i = dY, summed along the axes where X_i was repeated
    shuffle         Y[…, j·g + i] = X[…, i·m + j]   dX[…, i·m + j] = dY[…, j·g + i]: the shuffle of m groups
    highway         y = h t + x (1 − t)             dh = dy t,  dx = dy (1 − t),  dt = dy (h − x)

In the shuffle i runs over the g groups and j over the m channels of each. Every summand gets all of dY: a residual
block hands its gradient on undiminished.

Sources: pad: He et al. 2016, section 3.3, option A; add: the same, equation (1); concatenate: Huang et al. 2017,
section 3; shuffle: Zhang et al. 2018, section 3.1; highway: Srivastava et al. 2015, section 2, equation (3).
"""
from itertools import accumulate

import keras
from keras import ops

from .gradient import with_gradient
from .window import channel_axis, check_positive, checked_axis, differ


def _along(axis, part):
    """The index that takes `part` of one axis, counted from the front, and all of the others."""
    return (slice(None),) * axis + (part,)


# ------------------------------------------------------------------------------------------------- channels of zeros

def pad_channels(x, channels, axis=-1):
    """Append zero channels until there are `channels`: Y = [X, 0], dX = the first entries of dY."""
    axis = checked_axis(axis, x.shape)
    own = x.shape[axis]
    if channels < own:
        raise ValueError(f"Axis {axis} of the input has size {own}, more than channels={channels}.")

    def forward(x):
        return ops.pad(x, [(0, channels - own if other == axis else 0) for other in range(len(x.shape))])

    return with_gradient(forward, lambda dy, y, x: pad_channels_gradient(dy, own, axis), x)


def pad_channels_gradient(dy, own, axis):
    """dX: the first `own` entries of dY along the axis; the appended zeros depend on nothing."""
    return dy[_along(axis, slice(0, own))]


@keras.saving.register_keras_serializable(package="cnn_repro")
class PadChannels(keras.layers.Layer):
    """Zero channels appended up to `channels`: the parameter-free shortcut between stages of different width.

    Input with c ≤ channels entries along `axis` → the same with `channels`.
    Source: He et al. 2016, section 3.3, option A.
    """

    def __init__(self, channels, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.axis = int(channels), int(axis)

    def build(self, input_shape):
        if input_shape[channel_axis(self.axis, input_shape)] > self.channels:
            raise ValueError(f"Axis {self.axis} of the input has size {input_shape[self.axis]}, "
                             f"more than channels={self.channels}.")
        self.built = True

    def call(self, inputs):
        return pad_channels(inputs, self.channels, self.axis)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[self.axis] = self.channels
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "axis": self.axis}


# ------------------------------------------------------------------------------------------------- several tensors

def add(tensors):
    """The sum of tensors of one dtype and of equally many axes; where one has size 1 and others more, it is repeated.

    Sizes that are unknown while a graph is built are taken to be equal.
    """
    def forward(total, *others):
        for other in others:
            # not ops.add: on TensorFlow it takes (2, 2) + (2, 1) for a bias and adds it along the last axis
            total = total + other
        return total

    def backward(dy, y, *tensors):
        return (*(add_gradient(dy, x.shape) for x in tensors),)

    return with_gradient(forward, backward, *tensors)


def add_gradient(dy, shape):
    """dX of a summand of this shape: dY, summed along the axes where the summand was repeated."""
    repeated = [axis for axis, size in enumerate(shape) if size == 1 and dy.shape[axis] != 1]
    return ops.sum(dy, repeated, keepdims=True) if repeated else dy


@keras.saving.register_keras_serializable(package="cnn_repro")
class Add(keras.layers.Add):
    """keras.layers.Add with its backward pass written out: a list of tensors that broadcast → their sum."""

    def _merge_function(self, inputs):
        return add(inputs)


def concatenate(tensors, axis=-1):
    """The tensors one after the other along the axis; their other sizes are the same."""
    own = axis % len(tensors[0].shape)

    def backward(dy, y, *tensors):
        return concatenate_gradient(dy, [ops.shape(x)[own] for x in tensors], own)

    return with_gradient(lambda *tensors: ops.concatenate(tensors, axis), backward, *tensors)


def concatenate_gradient(dy, sizes, axis):
    """(dX_1, …): the slices of dY of these sizes."""
    ends = list(accumulate(sizes))
    return tuple(dy[_along(axis, slice(end - size, end))] for size, end in zip(sizes, ends))


@keras.saving.register_keras_serializable(package="cnn_repro")
class Concatenate(keras.layers.Concatenate):
    """keras.layers.Concatenate with its backward pass written out: a list of tensors → one along `axis`."""

    def _merge_function(self, inputs):
        return concatenate(inputs, self.axis)


# ------------------------------------------------------------------------------------------------- channel shuffle

def shuffle_channels(x, groups, axis=-1):
    """Deal the channels of each group out to all groups of the next layer: any shape → the same."""
    axis = checked_axis(axis, x.shape)
    check_positive(groups=groups)
    if x.shape[axis] % groups:
        raise ValueError(f"Axis {axis} of the input has size {x.shape[axis]}, which groups={groups} does not divide.")
    return with_gradient(lambda x: _deal(x, groups, axis), lambda dy, y, x: shuffle_gradient(dy, groups, axis), x)


def shuffle_gradient(dy, groups, axis):
    """dX: back to their places, which is the shuffle of as many groups as a group has channels."""
    return _deal(dy, dy.shape[axis] // groups, axis)


def _deal(x, groups, axis):
    """(groups, channels of each) → transposed → in one row again: the paper's reshape, transpose and flatten."""
    shape = tuple(ops.shape(x))
    rows = ops.reshape(x, (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1:]))
    return ops.reshape(ops.swapaxes(rows, axis, axis + 1), shape)


@keras.saving.register_keras_serializable(package="cnn_repro")
class ChannelShuffle(keras.layers.Layer):
    """ShuffleNet's channel shuffle between two grouped convolutions of as many `groups`. Any shape → the same.

    Without it a stack of grouped convolutions is as many separate networks: no channel sees another group's.
    Source: Zhang et al. 2018, section 3.1.
    """

    def __init__(self, groups, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.groups, self.axis = int(groups), int(axis)
        check_positive(groups=self.groups)

    def build(self, input_shape):
        if input_shape[channel_axis(self.axis, input_shape)] % self.groups:
            raise ValueError(f"Axis {self.axis} of the input has size {input_shape[self.axis]}, "
                             f"which groups={self.groups} does not divide.")
        self.built = True

    def call(self, inputs):
        return shuffle_channels(inputs, self.groups, self.axis)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "axis": self.axis}


# ------------------------------------------------------------------------------------------------- highway

def highway(x, h, t):
    """y = h t + x (1 − t), elementwise: where the gate t is 1 the transformed h passes, where it is 0 the input x."""
    _check_alike(x.shape, h.shape, t.shape)
    return with_gradient(lambda x, h, t: h * t + x * (1 - t),
                         lambda dy, y, x, h, t: highway_gradients(dy, x, h, t), x, h, t)


def _check_alike(*shapes):
    """ValueError where the shapes, as far as they are known, are not one."""
    if len({len(shape) for shape in shapes}) > 1 or any(
            differ(size, other) for size, *others in zip(*shapes) for other in others):
        raise ValueError(f"x, h and t must have one shape, not {', '.join(str(tuple(shape)) for shape in shapes)}.")


def highway_gradients(dy, x, h, t):
    """(dx, dh, dt) = (dy (1 − t), dy t, dy (h − x))."""
    return dy * (1 - t), dy * t, dy * (h - x)


@keras.saving.register_keras_serializable(package="cnn_repro")
class HighwayGate(keras.layers.Layer):
    """The join of a highway block, of a list [x, h, t] of tensors of one shape → the same.

    x: the block's input. h = H(x): its transformation. t = T(x): its gate, between 0 and 1. The gate comes from
    outside, because a block is made of ordinary layers and the paper has several kinds: dense H and T, or two
    convolutions of the same size with padding="same". The paper starts the gates nearly closed, by negative biases:

        h = L.Conv2D(width, 3, padding="same", activation="relu")(x)
        t = L.Conv2D(width, 3, padding="same", activation="sigmoid", bias_initializer=Constant(-2.0))(x)
        y = L.HighwayGate()([x, h, t])

    Source: Srivastava et al. 2015, section 2, equation (3); convolutional blocks: section 2.1; biases: section 2.2.
    """

    def build(self, input_shape):
        if not isinstance(input_shape[0], (list, tuple)) or len(input_shape) != 3:
            raise ValueError("A highway gate takes a list of three tensors: [x, h, t].")
        _check_alike(*input_shape)
        self.built = True

    def call(self, inputs):
        return highway(*inputs)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])
