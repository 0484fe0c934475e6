"""The transposed convolution: the adjoint of the convolution, as a layer.

    Y[n, p·s + t·d, k] += X[n,p,c] W[t,k,c]                     forward: every input number lays down its kernel
    dX[n,p,c]  = Σ_tk dY[n, p·s + t·d, k] W[t,k,c]              the convolution of dY with W
    dW[t,k,c]  = Σ_np dY[n, p·s + t·d, k] X[n,p,c]              that convolution's kernel gradient, dY its input

p, t run over all spatial axes, and Y is cut to its size as below. With C the convolution that has the same kernel,
strides and padding, ⟨C(y), x⟩ = ⟨y, Cᵀ(x)⟩: this is Cᵀ, the operator that carries a convolution's residuals back. It
is *not* C's inverse, in spite of its other name, "deconvolution": Cᵀ(C(y)) has y's shape and other values.
Source: lecture note 002, section 1.2 (which calls it that); Dumoulin and Visin 2016, chapter 4.
"""
import keras
from keras import ops

from .batch import for_any_batch
from .convolution import ForAnyBatch, convolution, full_correlation, kernel_gradient
from .gradient import with_gradient
from .window import Window, check_channels, crop, dilate, from_channels_last, pad, space_of, to_channels_last


def convolve_transposed(x, kernel, strides=1, padding="valid", output_padding=None, dilation_rate=1,
                        data_format="channels_last"):
    """Transposed convolution of x (N, *space, C) with kernel (*size, K, C) → (N, *outputs, K).

    Of an axis of n positions, with e = (size − 1)·dilation + 1, Keras makes
        valid   n·s + max(e − s, 0)             (n − 1)·s + e + output_padding
        same    n·s                             (n − 1)·s + (e mod 2) + output_padding
    on the left where output_padding is None. output_padding: None, an integer below the stride, which `same` reaches
    where e is even, or one an axis. A
    stride and a dilation above 1 go together, and the batch may be empty. Any floating dtype, the same for both;
    `data_format` is that of x and of the result.
    """
    return for_any_batch(
        lambda x: _convolve_transposed(x, kernel, strides, padding, output_padding, dilation_rate, data_format), x)


def _convolve_transposed(x, kernel, strides, padding, output_padding, dilation_rate, data_format):
    window = Window.of(kernel.shape[:-2], strides, padding, dilation_rate)
    check_channels(window.check_axes(x.shape, data_format)[1], kernel.shape[-1], kernel)
    even = [window.padding == "same" and e % 2 == 0 for e in window.extent]     # there the stride itself is in reach
    if any(more is not None and not 0 <= more < s + one_more
           for more, s, one_more in zip(_each(output_padding, window), window.strides, even)):
        raise ValueError(f"output_padding={output_padding!r} must be below strides={window.strides} and not negative.")

    def forward(x, kernel):
        return transposed_convolution(x, kernel, window, output_padding)

    def backward(dy, y, x, kernel):
        dy, full = uncut(dy, window, output_padding)
        return transposed_input_gradient(dy, kernel, full), transposed_kernel_gradient(dy, x, kernel, full)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format), kernel), data_format)


def transposed_convolution(x, kernel, window: Window, output_padding=None):
    """Y of x (N, *space, C) and kernel (*size, K, C)."""
    left_out = cuts(window, output_padding)
    if max(window.strides) == 1:
        return full_correlation(x, kernel, window, halves(left_out))
    kernel = dilate(kernel, window.dilation, range(len(window.size)))   # no backend takes a stride and a dilation
    if any(cut == e for cut, e in zip(left_out, window.extent)):
        # an even extent, `same` and output_padding 0: TensorFlow's operator refuses it, XLA's compiler dies of it
        full = ops.conv_transpose(x, kernel, strides=window.strides, padding="valid", data_format="channels_last",
                                  output_padding=tuple(max(-cut, 0) for cut in left_out))
        pads = halves([max(cut, 0) for cut in left_out])
        return crop(full, pads, [n - low - high for n, (low, high) in zip(space_of(full), pads)])
    return ops.conv_transpose(x, kernel, strides=window.strides, padding=window.padding, data_format="channels_last",
                              output_padding=output_padding)


def cuts(window: Window, output_padding=None) -> list[int]:
    """Of the (n − 1)·s + e positions of an axis that are written, how many Keras leaves out; below zero: how many
    zeros it appends."""
    wanted = _each(output_padding, window)
    if window.padding == "valid":
        return [min(e - s, 0) if more is None else -more
                for e, s, more in zip(window.extent, window.strides, wanted)]
    return [e - s if more is None else e - e % 2 - more for e, s, more in zip(window.extent, window.strides, wanted)]


def _each(output_padding, window):
    """One an axis."""
    if not isinstance(output_padding, (tuple, list)):
        return [output_padding] * len(window.size)
    if len(output_padding) != len(window.size):
        raise ValueError(f"output_padding={output_padding!r} must be an integer, or {len(window.size)}.")
    return output_padding


def halves(cuts) -> list[tuple[int, int]]:
    """(before, after): an odd position is left out after, and zeros are appended."""
    return [(max(cut, 0) // 2, cut - max(cut, 0) // 2) for cut in cuts]


def uncut(dy, window: Window, output_padding=None):
    """dY with zeros where positions of Y were left out, and the window that reads it without padding."""
    pads = [(before, max(after, 0)) for before, after in halves(cuts(window, output_padding))]
    return pad(dy, pads), Window.of(window.size, window.strides, "valid", window.dilation)


def transposed_input_gradient(dy, kernel, window: Window):
    """dX (N, *space, C): the convolution of the uncut dY (N, *full, K)."""
    return convolution(dy, kernel, window)


def transposed_kernel_gradient(dy, x, kernel, window: Window):
    """dW (*size, K, C): x stands where that convolution's residual stood, the uncut dY where its input did."""
    return kernel_gradient(x, dy, kernel, window)


class _Transposed(ForAnyBatch):

    def linear(self, inputs):
        return _convolve_transposed(inputs, self.kernel, self.strides, self.padding, self.output_padding,
                                    self.dilation_rate, self.data_format)


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv1DTranspose(_Transposed, keras.layers.Conv1DTranspose):
    """1-D transposed convolution, the adjoint of Conv1D, whose backward pass is written out.

    Arguments, weights, config, files and error messages are those of keras.layers.Conv1DTranspose.
    Input (N, T, C) → output (N, P, filters); (N, C, T) → (N, filters, P) for channels_first.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv2DTranspose(_Transposed, keras.layers.Conv2DTranspose):
    """2-D transposed convolution, the adjoint of Conv2D, whose backward pass is written out.

    Arguments, weights, config, files and error messages are those of keras.layers.Conv2DTranspose.
    Input (N, H, W, C) → output (N, P, Q, filters); (N, C, H, W) → (N, filters, P, Q) for channels_first.
    """


@keras.saving.register_keras_serializable(package="cnn_repro")
class Conv3DTranspose(_Transposed, keras.layers.Conv3DTranspose):
    """3-D transposed convolution, the adjoint of Conv3D, whose backward pass is written out.

    Arguments, weights, config, files and error messages are those of keras.layers.Conv3DTranspose.
    Input (N, D, H, W, C) → output (N, O, P, Q, filters); (N, C, D, H, W) → (N, filters, O, P, Q) for channels_first.
    """
