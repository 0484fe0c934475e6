"""Convolution and its two gradients.

    Y[n,p,k]   = Σ_tc X[n, p·s + t·d, c] W[t,c,k]       forward: a cross-correlation, the kernel is not flipped
    dW[t,c,k]  = Σ_np X[n, p·s + t·d, c] dY[n,p,k]      correlation of the layer's input with dY
    dX[n,q,c]  = Σ_tk dY⁰[n, q − t·d, k] W[t,c,k]       full correlation of dY with W turned by 180°

p, q, t run over all spatial axes, X is the padded input, dY⁰ is dY with s − 1 zeros between its entries.
Source: LeCun et al. 1998, section II.A (forward); lecture note 001, sections 3.2 and 3.3 (backward).
"""
import keras
import numpy as np
from keras import ops

from .activation import activate
from .dense import add_bias
from .gradient import with_gradient
from .window import (Window, at_least_zero, crop, dilate, from_channels_last, pad, scatter, space_of, taps,
                     to_channels_last)


def convolve(x, kernel, strides=1, padding="valid", dilation_rate=1, data_format="channels_last"):
    """Convolution of x (N, *space, C) with kernel (*size, C/groups, K) → (N, *outputs, K).

    The number of groups follows from the kernel's channels, as in keras.ops.conv. Unlike there, a stride and a
    dilation above 1 go together. Any floating dtype, the same for both; `data_format` is that of x and of the result.
    """
    window = Window.of(kernel.shape[:-2], strides, padding, dilation_rate)

    def forward(x, kernel):
        return convolution(x, kernel, window)

    def backward(dy, y, x, kernel):
        return input_gradient(dy, x, kernel, window), kernel_gradient(dy, x, kernel, window)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format), kernel), data_format)


def convolution(x, kernel, window: Window):
    """Y of x (N, *space, C) and kernel (*size, C/groups, K)."""
    rates = window.dilation
    if max(window.strides) > 1 and max(rates) > 1:      # no backend takes both: the zeros go into the kernel
        kernel, rates = dilate(kernel, rates, range(len(rates))), 1
    return ops.conv(x, kernel, strides=window.strides, padding=window.padding,
                    data_format="channels_last", dilation_rate=rates)


def input_gradient(dy, x, kernel, window: Window):
    """dX (N, *space, C) of dY (N, *outputs, K). Of x only the shape counts: the operator is linear."""
    space, groups = space_of(x), _groups(x, kernel)
    if groups > 1:
        return _input_gradient_by_taps(dy, kernel, window, space, groups)
    if max(window.strides) > 1:
        return _input_gradient_strided(dy, kernel, window, space)
    turned = ops.swapaxes(ops.flip(kernel, tuple(range(len(space)))), -1, -2)
    if window.padding == "same" and all(extent % 2 for extent in window.extent):
        return ops.conv(dy, turned, padding="same", data_format="channels_last", dilation_rate=window.dilation)
    full = [(extent - 1 - low, extent - 1 - high)
            for extent, (low, high) in zip(window.extent, window.pads(space))]
    return ops.conv(pad(dy, full), turned, padding="valid", data_format="channels_last",
                    dilation_rate=window.dilation)


def _input_gradient_strided(dy, kernel, window, space):
    """The same for a stride above 1: as a transposed convolution, which multiplies none of the stride's zeros."""
    kernel = dilate(kernel, window.dilation, range(len(space)))
    full = ops.conv_transpose(dy, kernel, strides=window.strides, padding="valid", data_format="channels_last")
    pads = window.pads(space)
    # input rows that no window reached have no gradient: zeros, where `full` ends before them
    missing = [low + n - m for (low, _), n, m in zip(pads, space, space_of(full))]
    full = pad(full, [(0, at_least_zero(value)) for value in missing])
    return crop(full, pads, space)


def _input_gradient_by_taps(dy, kernel, window, space, groups):
    """The same for several groups: dY Wᵀ for every tap and group, added back where the tap looked."""
    pads = window.pads(space)
    parts = _split_channels(dy, groups)                                                 # (N, *P, g, 1, K/g)
    weights = ops.reshape(kernel, (window.count, kernel.shape[-2], groups, -1))         # (t, C/g, g, K/g)
    views = [_merge_channels(ops.matmul(parts, ops.transpose(weights[t], (1, 2, 0)))) for t in range(window.count)]
    padded = tuple(n + low + high for n, (low, high) in zip(space, pads))
    return crop(scatter(views, window, padded), pads, space)


def kernel_gradient(dy, x, kernel, window: Window):
    """dW (*size, C/groups, K) of dY (N, *outputs, K) and x (N, *space, C). Of the kernel only the shape counts."""
    x = pad(x, window.pads(space_of(x)))
    if _groups(x, kernel) > 1:
        return _kernel_gradient_by_taps(dy, x, kernel, window)
    # One convolution in which the batch plays the channels and dY the kernel: stride and dilation change roles.
    rates = window.strides
    if max(rates) > 1 and max(window.dilation) > 1:
        dy, rates = dilate(dy, rates, range(1, 1 + len(rates))), 1
    axes = tuple(range(1, len(window.size) + 1))
    images = ops.transpose(x, (len(axes) + 1, *axes, 0))                                # (C, *space, N)
    kernels = ops.transpose(dy, (*axes, 0, len(axes) + 1))                              # (*outputs, N, K)
    dw = ops.conv(images, kernels, strides=window.dilation, padding="valid",
                  data_format="channels_last", dilation_rate=rates)                     # (C, *size or more, K)
    dw = ops.moveaxis(dw, 0, -2)
    dw = dw[tuple(slice(0, k) for k in window.size)]    # more, where the stride left input rows unused
    return ops.reshape(dw, kernel.shape)                # a graph of unknown image size would forget it


def _kernel_gradient_by_taps(dy, x, kernel, window):
    """The same for several groups: for every tap and group the matrix product Xᵀ dY over all windows."""
    groups = _groups(x, kernel)
    rows = lambda y: ops.transpose(                                                     # noqa: E731
        ops.reshape(y, (-1, groups, y.shape[-1] // groups)), (1, 0, 2))                 # (g, N·P, channels/g)
    dys = rows(dy)
    dw = [ops.matmul(ops.swapaxes(rows(view), 1, 2), dys) for view in taps(x, window, space_of(dy))]
    dw = ops.transpose(ops.stack(dw), (0, 2, 1, 3))                                     # (t, C/g, g, K/g)
    return ops.reshape(dw, kernel.shape)


def _groups(x, kernel) -> int:
    return x.shape[-1] // kernel.shape[-2]


def _split_channels(x, groups):
    return ops.reshape(x, (*ops.shape(x)[:-1], groups, 1, x.shape[-1] // groups))


def _merge_channels(x):
    return ops.reshape(x, (*ops.shape(x)[:-3], x.shape[-3] * x.shape[-1]))


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv2D(keras.layers.Conv2D):
    """2-D convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.Conv2D.
    Input (N, H, W, C) → output (N, P, Q, filters); (N, C, H, W) → (N, filters, P, Q) for channels_first.
    Source: LeCun et al. 1998, section II.A.
    """

    def convolution_op(self, inputs, kernel):
        return convolve(inputs, kernel, self.strides, self.padding, self.dilation_rate, self.data_format)

    def call(self, inputs):
        y = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            y = add_bias(y, self.bias, self.data_format)
        return activate(self.activation, y)


def listed_kernels(dw, spread):
    """dw Sᵀ: out of the dense kernel's gradient (size, size, C, K), that of the listed kernels (size, size, pairs)."""
    flat = ops.reshape(dw, (*dw.shape[:2], -1))
    return ops.matmul(flat, ops.transpose(ops.cast(spread, flat.dtype)))


@keras.saving.register_keras_serializable(package="cnn_repro")
class TableConv2D(keras.layers.Layer):
    """Convolution in which every output map sees only the input maps that a connection table lists.

        Y[..., k] = Σ_{c ∈ table[k]} X[..., c] ⋆ w[:, :, (c,k)] + b[k]

    One kernel a listed pair (c, k), so the layer has size² · pairs + K parameters and no more. The kernels
    are spread over a dense kernel by a fixed 0/1 matrix S: W = w S, hence dw = dW Sᵀ.

    table: for every output map the input maps it sees. kernel_size: one integer. kernel_initializer sees
    the fan-in of each output map: "lecun98" (uniform in ±2.4/fan-in, appendix A) or any Keras initialiser.
    Input (N, H, W, C) → output (N, H − size + 1, W − size + 1, len(table)).
    Source: LeCun et al. 1998, section II.B, table I (layer C3).
    """

    def __init__(self, table, kernel_size, activation=None, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.table = [sorted(int(c) for c in row) for row in table]
        self.kernel_size = int(kernel_size)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        channels = input_shape[-1]
        for k, row in enumerate(self.table):
            if not row or row[-1] >= channels or row[0] < 0 or len(set(row)) < len(row):
                raise ValueError(f"table[{k}] = {row} must list distinct input maps from 0 to {channels - 1}.")
        pairs = [(c, k) for k, row in enumerate(self.table) for c in row]
        spread = np.zeros((len(pairs), channels, len(self.table)), "float32")
        for index, (c, k) in enumerate(pairs):
            spread[index, c, k] = 1
        self.spread = spread.reshape(len(pairs), -1)
        taps = self.kernel_size**2
        self.kernel = self.add_weight(
            name="kernel", shape=(self.kernel_size, self.kernel_size, len(pairs)),
            initializer=self._initial_kernel)
        self.bias = self.add_weight(name="bias", shape=(len(self.table),), initializer="zeros")
        self.connections = taps * len(pairs) + len(self.table)       # of one output position, biases included
        self.built = True

    def _initial_kernel(self, shape, dtype=None):
        """Every output map's kernels drawn as those of a dense convolution over the maps it sees."""
        size = (self.kernel_size, self.kernel_size)
        drawn = [ops.reshape(self.kernel_initializer((*size, len(row), 1), dtype=dtype), (*size, len(row)))
                 for row in self.table]
        return ops.concatenate(drawn, axis=-1)

    def call(self, inputs):
        y = convolve(inputs, self.dense_kernel(self.kernel))
        return activate(self.activation, add_bias(y, self.bias))

    def dense_kernel(self, kernel):
        """The kernel (size, size, C, K) of the equivalent dense convolution, zero where nothing is connected."""
        shape = (self.kernel_size, self.kernel_size, -1, len(self.table))

        def forward(kernel):
            return ops.reshape(ops.matmul(kernel, ops.cast(self.spread, kernel.dtype)), shape)

        return with_gradient(forward, lambda dw, w, kernel: listed_kernels(dw, self.spread), kernel)

    def compute_output_shape(self, input_shape):
        reach = self.kernel_size - 1
        grow = lambda n: None if n is None else n - reach                               # noqa: E731
        return (input_shape[0], grow(input_shape[1]), grow(input_shape[2]), len(self.table))

    def get_config(self):
        return {**super().get_config(), "table": self.table, "kernel_size": self.kernel_size,
                "activation": keras.activations.serialize(self.activation),
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}
