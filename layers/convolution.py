"""Convolution and its two gradients.

    Y[n,p,k]   = Σ_tc X[n, p·s + t·d, c] W[t,c,k]       forward: a cross-correlation, the kernel is not flipped
    dW[t,c,k]  = Σ_np X[n, p·s + t·d, c] dY[n,p,k]      correlation of the layer's input with dY
    dX[n,q,c]  = Σ_tk dY⁰[n, q − t·d, k] W[t,c,k]       full correlation of dY with W turned by 180°

p, q, t run over all spatial axes, X is the padded input, dY⁰ is dY with s − 1 zeros between its entries. With several
groups, k and c belong to the same one.  Source: LeCun et al. 1998, section II.A (forward); lecture note 001, sections
3.2 and 3.3 (backward); lecture note 002, section 2.1 (three dimensions).
"""
import keras
from keras import ops

from .activation import activate
from .dense import add_bias
from .gradient import with_gradient
from .window import (Window, at_least_zero, crop, dilate, from_channels_last, pad, scatter, space_of, taps,
                     to_channels_last)


def convolve(x, kernel, strides=1, padding="valid", dilation_rate=1, data_format="channels_last"):
    """Convolution of x (N, *space, C) with kernel (*size, C/groups, K) → (N, *outputs, K).

    The number of groups follows from the kernel's channels, as in keras.ops.conv. Unlike there, a stride and a
    dilation above 1 go together, padding may be "causal" (all before the first position), and the batch may be empty.
    Any floating dtype, the same for both; `data_format` is that of x and of the result.
    """
    window = Window.of(kernel.shape[:-2], strides, padding, dilation_rate)

    def forward(x, kernel):
        return convolution(x, kernel, window)

    def backward(dy, y, x, kernel):
        return input_gradient(dy, x, kernel, window), kernel_gradient(dy, x, kernel, window)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format), kernel), data_format)


def convolution(x, kernel, window: Window):
    """Y of x (N, *space, C) and kernel (*size, C/groups, K)."""
    rates, padding = window.dilation, window.padding
    if max(window.strides) > 1 and max(rates) > 1:      # no backend takes both: the zeros go into the kernel
        kernel, rates = dilate(kernel, rates, range(len(rates))), 1
    if padding == "causal":
        x, padding = pad(x, window.pads(space_of(x))), "valid"
    return _conv(x, kernel, window.strides, padding, rates)


def _conv(x, kernel, strides, padding, rates):
    """keras.ops.conv of any number of images. Of none TensorFlow's CPU kernels return the shape of their input."""
    images = ops.shape(x)[0]
    y = ops.conv(_one_image_at_least(x), kernel, strides=strides, padding=padding, data_format="channels_last",
                 dilation_rate=rates)
    return y if isinstance(images, int) and images else y[:images]


def _one_image_at_least(x):
    """x; of no images, one of zeros. Where their number is unknown it costs nothing: TensorFlow decides while it
    runs, and its pad by nothing, like its slice of everything, is the tensor itself and no copy."""
    missing = at_least_zero(1 - ops.shape(x)[0])
    if isinstance(missing, int) and not missing:
        return x
    return ops.pad(x, [(0, missing)] + [(0, 0)] * (len(x.shape) - 1))


def input_gradient(dy, x, kernel, window: Window):
    """dX (N, *space, C) of dY (N, *outputs, K). Of x only the shape counts: the operator is linear."""
    space, groups = space_of(x), _groups(x, kernel)
    if groups > 1:
        return _input_gradient_by_taps(dy, kernel, window, space, groups)
    if max(window.strides) > 1:
        return _input_gradient_strided(dy, kernel, window, space)
    return full_correlation(dy, kernel, window, window.pads(space))


def full_correlation(dy, kernel, window: Window, cuts):
    """Σ_tk dY[n, q − t·d, k] W[t,c,k], where the stride is 1: (N, *space, C) of dY (N, *outputs, K).

    The kernel is turned by 180°, its channels are swapped. cuts: (before, after) of each axis, positions q left out.
    """
    turned = ops.swapaxes(ops.flip(kernel, tuple(range(len(window.size)))), -1, -2)
    pads = [(e - 1 - low, e - 1 - high) for e, (low, high) in zip(window.extent, cuts)]
    if all(low + high == e - 1 and low == high for (low, high), e in zip(pads, window.extent)):
        return _conv(dy, turned, 1, "same", window.dilation)            # the backend pads faster
    return _conv(pad(dy, pads), turned, 1, "valid", window.dilation)


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
    # no backend convolves over the zero channels that a batch of none would make (XLA's compiler dies of it)
    x, dy = _one_image_at_least(pad(x, window.pads(space_of(x)))), _one_image_at_least(dy)
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


class _Convolution:
    """What the layers below do in place of `call`. Keras's Conv1D has one that goes round its `convolution_op`."""

    def convolution_op(self, inputs, kernel):
        return convolve(inputs, kernel, self.strides, self.padding, self.dilation_rate, self.data_format)

    def call(self, inputs):
        y = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            y = add_bias(y, self.bias, self.data_format)
        return activate(self.activation, y)


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv1D(_Convolution, keras.layers.Conv1D):
    """1-D convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.Conv1D, padding="causal" included.
    Input (N, T, C) → output (N, P, filters); (N, C, T) → (N, filters, P) for channels_first.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv2D(_Convolution, keras.layers.Conv2D):
    """2-D convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.Conv2D.
    Input (N, H, W, C) → output (N, P, Q, filters); (N, C, H, W) → (N, filters, P, Q) for channels_first.
    Source: LeCun et al. 1998, section II.A.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv3D(_Convolution, keras.layers.Conv3D):
    """3-D convolution, of videos and volumes, whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.Conv3D. A kernel that spans the
    whole depth of one channel makes it the 2-D convolution over as many channels.
    Input (N, D, H, W, C) → output (N, O, P, Q, filters); (N, C, D, H, W) → (N, filters, O, P, Q) for channels_first.
    Source: lecture note 002, section 2.1; Tran et al. 2015, section 3.1.
    """
