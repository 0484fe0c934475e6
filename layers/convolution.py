"""Convolution and its two gradients.

    Y[n,p,k]   = Σ_tc X[n, p·s + t·d, c] W[t,c,k]       forward: a cross-correlation, the kernel is not flipped
    dW[t,c,k]  = Σ_np X[n, p·s + t·d, c] dY[n,p,k]      correlation of the layer's input with dY
    dX[n,q,c]  = Σ_tk dY⁰[n, q − t·d, k] W[t,c,k]       full correlation of dY with W turned by 180°

p, q, t run over all spatial axes, X is the padded input, dY⁰ is dY with s − 1 zeros between its entries. With several
groups, k and c belong to the same one.  Source: LeCun et al. 1998, section II.A (forward); lecture note 001, sections
3.2 and 3.3 (backward); lecture note 002, section 2.1 (three dimensions).
"""
from functools import partial, reduce
from math import prod

import keras
from keras import ops

from .activation import activate
from .batch import for_any_batch
from .dense import add_bias
from .gradient import operation_by_operation, with_gradient
from .window import (Window, at_least_zero, check_groups, crop, dilate, from_channels_last, pad, scatter, space_of, taps,
                     to_channels_last)

# where the forms of the kernel's gradient change places, see there
FEW_CHANNELS, NARROW, LARGE_MAP, ALIGNED = 16, 24, 16 * 16, 16
MANY_GROUPS = 64
# the sum in blocks of images: channels times maps at most, bytes of X and dY that stay in a core's own cache
FEW_PRODUCTS, BLOCK = 32 * 32, 2**20


def convolve(x, kernel, strides=1, padding="valid", dilation_rate=1, data_format="channels_last"):
    """Convolution of x (N, *space, C) with kernel (*size, C/groups, K) → (N, *outputs, K).

    The number of groups follows from the kernel's channels, as in keras.ops.conv. Unlike there, a stride and a
    dilation above 1 go together, padding may be "causal" (all before the first position), and the batch may be empty.
    Any floating dtype, the same for both; `data_format` is that of x and of the result. ValueError, in one line, for
    arguments that do not go together, a kernel larger than the unpadded input among them: as of the operators below.
    """
    return for_any_batch(lambda x: convolve_batch(x, kernel, strides, padding, dilation_rate, data_format), x)


def convolve_batch(x, kernel, strides, padding, dilation_rate, data_format):
    """`convolve` of one image at least."""
    window = Window.of(kernel.shape[:-2], strides, padding, dilation_rate)
    check_groups(window.check(x.shape, data_format, ("valid", "same", "causal")), kernel)

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
    convolved = partial(ops.conv, strides=window.strides, padding=padding, data_format="channels_last",
                        dilation_rate=rates)
    groups = _groups(x, kernel)
    if 1 < groups <= MANY_GROUPS and operation_by_operation():
        # 1.1 to 6.7 times as fast as Keras's way, which XLA compiles by itself and no ONNX file can hold (ResNeXt's 32
        # groups of 4 channels at 56×56, N = 8: 23 ms against 157); a graph of hundreds would be too large
        parts = zip(ops.split(x, groups, -1), ops.split(kernel, groups, -1))
        return ops.concatenate([convolved(*part) for part in parts], -1)
    return convolved(x, kernel)


def input_gradient(dy, x, kernel, window: Window):
    """dX (N, *space, C) of dY (N, *outputs, K). Of x only the shape counts: the operator is linear."""
    space, groups = space_of(x), _groups(x, kernel)
    if groups > 1:
        return input_gradient_by_taps(dy, kernel, window, space, groups)
    if max(window.dilation) > 1 and max(window.strides) == 1:
        return full_correlation(dy, kernel, window, window.pads(space))
    return input_gradient_transposed(dy, kernel, window, space)


def full_correlation(dy, kernel, window: Window, cuts):
    """Σ_tk dY[n, q − t·d, k] W[t,c,k], where the stride is 1: (N, *space, C) of dY (N, *outputs, K).

    The kernel is turned by 180°, its channels are swapped. cuts: (before, after) of each axis, positions q left out.
    """
    turned = ops.swapaxes(ops.flip(kernel, tuple(range(len(window.size)))), -1, -2)
    pads = [(e - 1 - low, e - 1 - high) for e, (low, high) in zip(window.extent, cuts)]
    if all(low + high == e - 1 and low == high for (low, high), e in zip(pads, window.extent)):
        return ops.conv(dy, turned, padding="same", data_format="channels_last", dilation_rate=window.dilation)
    return ops.conv(pad(dy, pads), turned, padding="valid", data_format="channels_last",
                    dilation_rate=window.dilation)


def input_gradient_transposed(dy, kernel, window, space):
    """The same as a transposed convolution, which multiplies none of the stride's zeros and takes the kernel as it lies.

    At stride 1 too: on two cores of a CPU, 3×3, N = 32, in ms        correlation    transposed
        2×2, 512 to 512 channels, whose kernel is 9 MB to turn               13.6           9.7
        4×4, 512 to 512 channels                                             21.8          18.3
        32×32, 16 to 16 channels, N = 128                                     4.6           4.2
    """
    kernel = dilate(kernel, window.dilation, range(len(space)))
    pads = window.pads(space)
    if max(window.strides) == 1 and all(low == high == e // 2 for (low, high), e in zip(pads, window.extent)):
        return ops.conv_transpose(dy, kernel, padding="same", data_format="channels_last")
    full = ops.conv_transpose(dy, kernel, strides=window.strides, padding="valid", data_format="channels_last")
    # input rows that no window reached have no gradient: zeros, where `full` ends before them
    missing = [low + n - m for (low, _), n, m in zip(pads, space, space_of(full))]
    full = pad(full, [(0, at_least_zero(value)) for value in missing])
    return crop(full, pads, space)


def input_gradient_by_taps(dy, kernel, window, space, groups):
    """The same for several groups: dY Wᵀ for every tap and group, added back where the tap looked."""
    pads = window.pads(space)
    parts = _split_channels(dy, groups)                                                 # (N, *P, g, 1, K/g)
    weights = ops.reshape(kernel, (window.count, kernel.shape[-2], groups, -1))         # (t, C/g, g, K/g)
    views = [_merge_channels(ops.matmul(parts, ops.transpose(weights[t], (1, 2, 0)))) for t in range(window.count)]
    padded = tuple(n + low + high for n, (low, high) in zip(space, pads))
    return crop(scatter(views, window, padded), pads, space)


def kernel_gradient(dy, x, kernel, window: Window):
    """dW (*size, C/groups, K) of dY (N, *outputs, K) and x (N, *space, C). Of the kernel only the shape counts.

    Four forms of the one sum. On two cores of a CPU the gradient of TensorFlow's own, and these, took in ms (3×3 but
    where said otherwise, N = 128, or 32 for 12 kernels):
                                              stock   channels   shifts     taps   beside
        5×5, 28×28, 1 to 6 channels             0.9        1.3      4.1      3.9
        32×32, 16 to 16 channels                2.4        9.6      4.3      8.1     13.9
        32×32, 100 to 12 channels               4.6                17.5     13.1      6.5
        16×16, 250 to 12 channels               3.7                 8.5      6.0      3.5
        8×8, 256 to 256 channels               22.8       60.1     37.1     28.1
        stride 2, 32×32, 16 to 32 channels      2.3        8.9      4.0      4.8
        1×1, 4×4, 512 to 512 channels           4.1       14.6      3.8      3.6
    `python -m repro bench --forms` measures them again, and others that lost.
    """
    channels, maps, once, groups = x.shape[-1], dy.shape[-1], max(window.strides) == 1, _groups(x, kernel)
    if groups > 1:
        return kernel_gradient_by_groups(dy, padded(x, window), kernel, window)
    if once and maps <= NARROW and 4 * maps <= channels:
        return kernel_gradient_beside(dy, x, kernel, window)
    if channels < FEW_CHANNELS and window.count > 9:
        return over_blocks(kernel_gradient_by_channels, dy, x, kernel, window)
    large = all(isinstance(p, int) for p in space_of(dy)) and prod(space_of(dy)) >= LARGE_MAP
    if once and large and channels % ALIGNED == 0:      # else TensorFlow's slices of rows are copies
        return over_blocks(kernel_gradient_by_shifts, dy, x, kernel, window)
    return kernel_gradient_by_taps(dy, padded(x, window), kernel, window)


def padded(x, window):
    """The input with the window's zeros around it."""
    return pad(x, window.pads(space_of(x)))


def over_blocks(form, dy, x, kernel, window):
    """Σ over blocks of images, each of which stays in the cache until every tap has seen it: the nine products of 16
    with 16 channels at 32×32, N = 128, take 7.8 ms in place of 11.2. Where one operation runs after the other, and few
    channels leave them waiting for memory."""
    block = _images_of_a_block(dy, x) if operation_by_operation() else None
    if block is None:
        return form(dy, padded(x, window), kernel, window)

    def add(index, dw):
        images = slice(index * block, (index + 1) * block)
        return dw + form(dy[images], padded(x[images], window), kernel, window)

    return ops.fori_loop(0, -(-ops.shape(x)[0] // block), add, ops.zeros(kernel.shape, dy.dtype))


def _images_of_a_block(dy, x):
    """None for all of them."""
    if dy.shape[-1] * x.shape[-1] > FEW_PRODUCTS or None in (*dy.shape[1:], *x.shape[1:]):
        return None
    block = max(1, BLOCK // (4 * (prod(dy.shape[1:]) + prod(x.shape[1:]))))
    return None if isinstance(x.shape[0], int) and x.shape[0] <= block else block


def kernel_gradient_by_channels(dy, x, kernel, window):
    """As one convolution, in which the batch plays the channels and dY the kernel: stride and dilation change roles."""
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


def kernel_gradient_by_taps(dy, x, kernel, window):
    """As a matrix product a tap, over all windows: dW[t] = X_tᵀ dY, X_t being what tap t sees."""
    dys = _rows(dy)
    dw = [ops.matmul(ops.transpose(_rows(view)), dys) for view in taps(x, window, space_of(dy))]
    return ops.reshape(ops.stack(dw), kernel.shape)


def kernel_gradient_by_shifts(dy, x, kernel, window):
    """The same at stride 1 without a copy a tap: with dY padded to the size of X, as lists of positions, what tap t
    sees is X from some position o_t on. dW[t] = Σ_r X[r + o_t] dY[r]; where r + o_t is in another row, dY[r] is 0."""
    space = space_of(x)
    dys = _rows(pad(dy, [(0, n - p) for n, p in zip(space, space_of(dy))]))
    xs, shifts = _rows(x), [reduce(lambda r, axis: r * axis[1] + axis[0], zip(offset, space), 0)
                            for offset in window.offsets()]
    count = at_least_zero(ops.shape(dys)[0] - max(shifts))
    dys = dys[:count]
    return ops.reshape(ops.stack([ops.matmul(ops.transpose(xs[o:o + count]), dys) for o in shifts]), kernel.shape)


def kernel_gradient_beside(dy, x, kernel, window):
    """As one product at stride 1, where dY is narrow: [dW_0 dW_1 …] = Xᵀ [dY_0 dY_1 …], dY_t being dY moved by tap t,
    dY_t[q] = dY[q − t·d]. X is the one without padding, whose zeros would add nothing."""
    pads = [(e - 1 - low, e - 1 - high) for e, (low, high) in zip(window.extent, window.pads(space_of(x)))]
    moved = taps(pad(dy, pads), window, space_of(x))[::-1]
    dw = ops.matmul(ops.transpose(_rows(x)), _rows(ops.concatenate(moved, -1)))         # (C, t·K)
    dw = ops.reshape(dw, (x.shape[-1], window.count, dy.shape[-1]))
    return ops.reshape(ops.swapaxes(dw, 0, 1), kernel.shape)


def kernel_gradient_by_groups(dy, x, kernel, window):
    """A matrix product a tap and group."""
    groups = _groups(x, kernel)
    rows = lambda y: ops.transpose(                                                     # noqa: E731
        ops.reshape(y, (-1, groups, y.shape[-1] // groups)), (1, 0, 2))                 # (g, N·P, channels/g)
    dys = rows(dy)
    dw = [ops.matmul(ops.swapaxes(rows(view), 1, 2), dys) for view in taps(x, window, space_of(dy))]
    dw = ops.transpose(ops.stack(dw), (0, 2, 1, 3))                                     # (t, C/g, g, K/g)
    return ops.reshape(dw, kernel.shape)


def _rows(y):
    """(N, *space, C) → (N·positions, C)."""
    return ops.reshape(y, (-1, y.shape[-1]))


def _groups(x, kernel) -> int:
    return x.shape[-1] // kernel.shape[-2]


def _split_channels(x, groups):
    return ops.reshape(x, (*ops.shape(x)[:-1], groups, 1, x.shape[-1] // groups))


def _merge_channels(x):
    return ops.reshape(x, (*ops.shape(x)[:-3], x.shape[-3] * x.shape[-1]))


class ForAnyBatch:
    """What the layers of this family do in place of Keras's `call`: their `linear` part, a bias, an activation."""

    def call(self, inputs):
        return for_any_batch(self._respond, inputs)

    def _respond(self, inputs):
        y = self.linear(inputs)
        if self.use_bias:
            y = add_bias(y, self.bias, self.data_format)
        return activate(self.activation, y)


class _Convolution(ForAnyBatch):

    def linear(self, inputs):
        return self.convolution_op(inputs, self.kernel)         # not for Conv1D alone, whose stock `call` goes round it

    def convolution_op(self, inputs, kernel):
        return convolve_batch(inputs, kernel, self.strides, self.padding, self.dilation_rate, self.data_format)


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
