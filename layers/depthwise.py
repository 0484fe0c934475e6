"""Depthwise convolution, which keeps the channels apart, and the depthwise separable convolution made of it.

    Y[n,p,c·m+j] = Σ_t X[n, p·s + t·d, c] W[t,c,j]              forward: m kernels (the depth multiplier) a channel
    dW[t,c,j]    = Σ_np X[n, p·s + t·d, c] dY[n,p,c·m+j]        correlation of each channel with its own dY
    dX[n,q,c]    = Σ_tj dY⁰[n, q − t·d, c·m+j] W[t,c,j]         depthwise convolution of dY with W turned by 180°

p, q, t run over all spatial axes, X is the padded input, dY⁰ is dY with s − 1 zeros between its entries. It is the
convolution with as many groups as channels. A separable convolution lets a pointwise (1×1) one follow, which mixes
the channels: with M channels, N filters and a kernel of D_K × D_K, D_K²·M + M·N multiplications a position instead of
D_K²·M·N.

Source: Howard et al. 2017 (MobileNet), section 3.1, equations 3 and 5; Chollet 2017 (Xception), section 1; lecture
note 002, section 3.4, and lecture note 003, "MobileNet" (the count).
"""
import keras
from keras import ops

from .batch import for_any_batch
from .convolution import ForAnyBatch, convolve_batch
from .gradient import operation_by_operation, with_gradient
from .window import (Window, at_least_zero, check_channels, crop, from_channels_last, pad, space_of, taps,
                     to_channels_last)


def depthwise_convolve(x, kernel, strides=1, padding="valid", dilation_rate=1, data_format="channels_last"):
    """Depthwise convolution of x (N, *space, C) with kernel (*size, C, m) → (N, *outputs, C·m), one or two axes.

    Output channel c·m + j is channel c under its kernel j. A stride and a dilation above 1 go together; padding is
    "valid" or "same"; the batch may be empty. Any floating dtype, the same for both; `data_format` is that of x and
    of the result. TensorFlow's operator raises InvalidArgumentError for two different strides, except in float32.
    """
    return for_any_batch(lambda x: _depthwise_convolve(x, kernel, strides, padding, dilation_rate, data_format), x)


def _depthwise_convolve(x, kernel, strides, padding, dilation_rate, data_format):
    window = Window.of(kernel.shape[:-2], strides, padding, dilation_rate)
    check_channels(window.check(x.shape, data_format), kernel.shape[-2], kernel)

    def forward(x, kernel):
        return depthwise_convolution(x, kernel, window)

    def backward(dy, y, x, kernel):
        return depthwise_input_gradient(dy, x, kernel, window), depthwise_kernel_gradient(dy, x, kernel, window)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format), kernel), data_format)


def depthwise_convolution(x, kernel, window: Window):
    """Y of x (N, *space, C) and kernel (*size, C, m)."""
    return ops.depthwise_conv(x, kernel, strides=window.strides, padding=window.padding, data_format="channels_last",
                              dilation_rate=window.dilation)


def depthwise_input_gradient(dy, x, kernel, window: Window):
    """dX (N, *space, C) of dY (N, *outputs, C·m). Of x only the shape counts: the operator is linear."""
    *size, channels, multiplier = kernel.shape
    turned = ops.reshape(ops.flip(kernel, tuple(range(len(size)))), (*size, channels * multiplier, 1))
    dx = ops.depthwise_conv(_spread(dy, window, space_of(x)), turned, padding="same", data_format="channels_last",
                            dilation_rate=window.dilation)
    dx = crop(dx, ((0, 0),) * len(size), space_of(x))
    return dx if multiplier == 1 else ops.sum(ops.reshape(dx, (*ops.shape(x), multiplier)), axis=-1)


def _spread(dy, window, space):
    """dY⁰ with zeros around it: placed so that a `same` convolution with the turned kernel gives dX, from 0 on.

    There the turned kernel reaches extent // 2 ahead, and what the padding put before x is not part of dX: dY[p]
    comes to p·s + extent // 2 − before. One pad of (N, P, 1, Q, 1, C) writes all of the zeros.
    """
    split, pads, lengths = [], [], []
    for p, s, e, (before, _), n in zip(space_of(dy), window.strides, window.extent, window.pads(space), space):
        lead = e // 2 - before
        first, offset = lead // s, lead % s
        last = at_least_zero(-(-n // s) - first - p)
        split += [p, 1]
        pads += [(first, last), (offset, s - 1 - offset)]
        lengths.append((first + p + last) * s)
    batch, channels = ops.shape(dy)[0], dy.shape[-1]
    return ops.reshape(pad(ops.reshape(dy, (batch, *split, channels)), pads), (batch, *lengths, channels))


def depthwise_kernel_gradient(dy, x, kernel, window: Window):
    """dW (*size, C, m) of dY (N, *outputs, C·m) and x (N, *space, C). Of the kernel only the shape counts.

    Two forms of the one sum, because none is fast everywhere. On two cores of a CPU they took, in ms:
                                        TensorFlow's own    by images    by taps
        TensorFlow, 32 × 14×14×512                   3.3          8.8       25.2
        TensorFlow, 32 × 112×112×32                  4.7         35.1       68.0
        TensorFlow by XLA, 64 × 32×32×32                           87         47
        JAX (XLA), 128 × 32×32×32                                 320         73
        PyTorch, 128 × 32×32×32                                   143         46
    """
    x = pad(x, window.pads(space_of(x)))
    plain = kernel.shape[-1] == 1 and max(window.dilation) == 1 and len(set(window.strides)) == 1
    images = plain and operation_by_operation()
    return (depthwise_kernel_gradient_by_images if images else depthwise_kernel_gradient_by_taps)(
        dy, x, kernel, window)


def depthwise_kernel_gradient_by_taps(dy, x, kernel, window):
    """As a product and a sum a tap."""
    dys = ops.reshape(dy, (*ops.shape(dy)[:-1], *kernel.shape[-2:]))
    axes = tuple(range(len(dy.shape) - 1))
    dw = [ops.sum(ops.expand_dims(view, -1) * dys, axis=axes) for view in taps(x, window, space_of(dy))]
    return ops.reshape(ops.stack(dw), kernel.shape)


def depthwise_kernel_gradient_by_images(dy, x, kernel, window):
    """As one depthwise convolution of N·C channels with dY as its kernel, for m = 1, then the sum over the images.

    The stride and the dilation change roles.
    """
    beside = lambda y: ops.reshape(ops.moveaxis(y, 0, -2), (*ops.shape(y)[1:-1], -1))       # noqa: E731  (*space, N·C)
    dw = ops.depthwise_conv(beside(x)[None], beside(dy)[..., None], strides=window.dilation, padding="valid",
                            data_format="channels_last", dilation_rate=window.strides)[0]
    dw = dw[tuple(slice(0, k) for k in window.size)]        # more, where the stride left input rows unused
    return ops.reshape(ops.sum(ops.reshape(dw, (*window.size, -1, kernel.shape[-2])), axis=-2), kernel.shape)


def separable_convolve(x, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", dilation_rate=1,
                       data_format="channels_last"):
    """A depthwise convolution of x (N, *space, C), then a pointwise one → (N, *outputs, K).

    depthwise_kernel (*size, C, m), pointwise_kernel (1, …, C·m, K); the rest as for `depthwise_convolve`.
    """
    return for_any_batch(lambda x: _separable_convolve(
        x, depthwise_kernel, pointwise_kernel, strides, padding, dilation_rate, data_format), x)


def _separable_convolve(x, depthwise_kernel, pointwise_kernel, strides, padding, dilation_rate, data_format):
    if max(pointwise_kernel.shape[:-2], default=0) != 1:
        raise ValueError("A pointwise kernel has one tap, (1, …, C·m, K), not the shape "
                         f"{tuple(pointwise_kernel.shape)}.")
    y = _depthwise_convolve(x, depthwise_kernel, strides, padding, dilation_rate, data_format)
    return convolve_batch(y, pointwise_kernel, 1, "valid", 1, data_format)


class _Depthwise(ForAnyBatch):

    def linear(self, inputs):
        return _depthwise_convolve(inputs, self.kernel, self.strides, self.padding, self.dilation_rate,
                                   self.data_format)


class _Separable(ForAnyBatch):

    def linear(self, inputs):
        return _separable_convolve(inputs, self.depthwise_kernel, self.pointwise_kernel, self.strides, self.padding,
                                   self.dilation_rate, self.data_format)


@keras.saving.register_keras_serializable(package="cnn_repro")
class DepthwiseConv1D(_Depthwise, keras.layers.DepthwiseConv1D):
    """1-D depthwise convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.DepthwiseConv1D.
    Input (N, T, C) → output (N, P, C·depth_multiplier); (N, C, T) → (N, C·depth_multiplier, P) for channels_first.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class DepthwiseConv2D(_Depthwise, keras.layers.DepthwiseConv2D):
    """2-D depthwise convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.DepthwiseConv2D.
    Input (N, H, W, C) → output (N, P, Q, C·depth_multiplier); the channels on axis 1 for channels_first.
    Source: Howard et al. 2017, section 3.1.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class SeparableConv1D(_Separable, keras.layers.SeparableConv1D):
    """1-D depthwise separable convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.SeparableConv1D.
    Input (N, T, C) → output (N, P, filters); (N, C, T) → (N, filters, P) for channels_first.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class SeparableConv2D(_Separable, keras.layers.SeparableConv2D):
    """2-D depthwise separable convolution whose backward pass is written out (this module's formulas).

    Arguments, weights, config, files and error messages are those of keras.layers.SeparableConv2D. Between the two
    convolutions is nothing, no activation and no bias; the paper's blocks, which normalize and rectify there, are a
    DepthwiseConv2D and a Conv2D.
    Input (N, H, W, C) → output (N, P, Q, filters); the channels on axis 1 for channels_first.
    Source: Chollet 2017, section 1; Howard et al. 2017, section 3.1.
    """
