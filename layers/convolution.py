"""Convolution and its two gradients.

    Y[n,p,k]   = Σ_tc X[n, p·s + t·d, c] W[t,c,k]       forward: a cross-correlation, the kernel is not flipped
    dW[t,c,k]  = Σ_np X[n, p·s + t·d, c] dY[n,p,k]      correlation of the layer's input with dY
    dX[n,q,c]  = Σ_tk dY⁰[n, q − t·d, k] W[t,c,k]       full correlation of dY with W turned by 180°

p, q, t run over all spatial axes, X is the padded input, dY⁰ is dY with s − 1 zeros between its entries. With several
groups, k and c belong to the same one.  Source: LeCun et al. 1998, section II.A (forward); lecture note 001, sections
3.2 and 3.3 (backward); lecture note 002, section 2.1 (three dimensions).
"""
from functools import partial
from math import prod

import keras
from keras import ops

from .activation import activate
from .batch import for_any_batch
from .dense import add_bias
from .gradient import compiled_by_xla, operation_by_operation, padded_convolution, with_gradient
from .window import (Window, at_least_zero, check_groups, crop, dilate, from_channels_last, pad, scatter, space_of, taps,
                     to_channels_last)

# dY has few channels and the input four times as many: where its taps fit beside each other
NARROW = 24
# of more, each by itself would be too large a graph
MANY_GROUPS = 64
# the sum in blocks of images: bytes of X and dY that stay in the cache, images that fill a vector
BLOCK, FULL = 2**21, 16


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
    if _group_by_group(x, kernel):
        # 1.1 to 6.7 times as fast as Keras's way, which XLA compiles by itself and no ONNX file can hold (ResNeXt's 32
        # groups of 4 channels at 56×56, N = 8: 23 ms against 157)
        return _side_by_side(convolved, x, kernel, groups=_groups(x, kernel))
    return convolved(x, kernel)


def _group_by_group(x, kernel) -> bool:
    """Whether each of several groups is computed by itself."""
    return 1 < _groups(x, kernel) <= MANY_GROUPS and operation_by_operation()


def _side_by_side(form, *tensors, groups):
    """The results of each group's part of the tensors, one after the other along the channels."""
    return ops.concatenate([form(*part) for part in zip(*(ops.split(one, groups, -1) for one in tensors))], -1)


def input_gradient(dy, x, kernel, window: Window):
    """dX (N, *space, C) of dY (N, *outputs, K). Of x only the shape counts: the operator is linear."""
    groups = _groups(x, kernel)
    one = partial(_dx_of_one_group, window=window)
    if _group_by_group(x, kernel):          # AlexNet's two, 5×5, 27×27, 96 to 256 channels, N = 32: 63 ms in place of 251
        return _side_by_side(one, dy, x, kernel, groups=groups)
    return one(dy, x, kernel) if groups == 1 else input_gradient_by_taps(dy, kernel, window, space_of(x), groups)


def _dx_of_one_group(dy, x, kernel, window):
    space = space_of(x)
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

    Four forms of the one sum, a convolution and three kinds of matrix product. Where one operation runs after the other,
    on two cores of a CPU, the gradient of TensorFlow's own, and these, took in ms (3×3 but where said otherwise):
                                                    stock   channels     taps   beside
        5×5, 28×28, 1 to 6 channels, N = 128          1.1        1.4      4.8     14.6
        32×32, 16 to 16 channels, N = 128             3.6        4.8      9.2     15.5
        32×32, 64 to 64 channels, N = 32             12.4       13.9     18.2
        112×112, 64 to 128 channels, N = 16         154.9      173.1    236.1
        8×8, 256 to 256 channels, N = 128            42.7       48.9     52.4
        stride 2, 32×32, 16 to 32 channels            2.1        3.7      5.4
        32×32, 100 to 12 channels, N = 32             6.3        8.2     16.9      7.5
        1×1, 4×4, 512 to 512 channels                 6.6        7.0      5.6
        the second row on JAX, its own and these     11.4       13.6     39.3     64.2
    `python -m repro bench --forms` measures them again, and others that lost.
    """
    groups = _groups(x, kernel)
    one = partial(_dw_of_one_group, window=window)
    if _group_by_group(x, kernel):          # AlexNet's two, 5×5, 27×27, 96 to 256 channels, N = 32: 77 ms in place of 144
        return _side_by_side(one, dy, x, kernel, groups=groups)
    return one(dy, x, kernel) if groups == 1 else kernel_gradient_by_groups(dy, padded(x, window), kernel, window)


def _dw_of_one_group(dy, x, kernel, window):
    channels, maps, once = x.shape[-1], dy.shape[-1], max(window.strides) == 1
    if once and maps <= NARROW and 4 * maps <= channels:
        return kernel_gradient_beside(dy, x, kernel, window)
    if window.count > 1 and max(window.dilation) == 1 and (operation_by_operation() or compiled_by_xla()):
        return kernel_gradient_by_channels(dy, x, kernel, window)
    return kernel_gradient_by_taps(dy, padded(x, window), kernel, window)


def padded(x, window):
    """The input with the window's zeros around it."""
    return pad(x, window.pads(space_of(x)))


def kernel_gradient_by_channels(dy, x, kernel, window):
    """As one convolution, in which the batch plays the channels and dY the kernel, dilated by the stride:

        dW[t, u, c, k] = Σ_pqn X[p·s + t, q·s + u, c, n] dY[p, q, n, k]

    One or three axes become two: a row is an image, and a volume one for each plane, tap by tap of the first axis.
    """
    pads, size, strides, dilation = window.pads(space_of(x)), window.size, window.strides, window.dilation
    if len(size) == 1:
        row = Window((1, *size), (1, *strides), "valid", (1, *dilation))
        dw = kernel_gradient_by_channels(ops.expand_dims(dy, 1), ops.expand_dims(pad(x, pads), 1), kernel[None], row)
        return dw[0]
    if len(size) == 3:
        depth = Window((size[0], 1, 1), (strides[0], 1, 1), "valid", (dilation[0], 1, 1))
        plane = Window(size[1:], strides[1:], "valid", dilation[1:])
        x = pad(x, pads)
        planes = lambda volumes: ops.reshape(volumes, (-1, *ops.shape(volumes)[2:]))                # noqa: E731
        return ops.stack([kernel_gradient_by_channels(planes(dy), planes(view), kernel[0], plane)
                          for view in taps(x, depth, (ops.shape(dy)[1], *space_of(x)[1:]))])
    if not operation_by_operation():        # any derivative of it is XLA's to find
        return _channels_as_batch(dy, x, kernel, window)

    def forward(dy, x):
        return _sum_over_blocks(dy, x, kernel, window)

    def backward(g, dw, dy, x):             # dW is linear in both; TensorFlow has no derivative of a dilation
        return convolution(x, g, window), input_gradient(dy, x, g, window)

    return with_gradient(forward, backward, dy, x)


def _channels_as_batch(dy, x, kernel, window):
    """The channels of X are the batch, as XLA and cuDNN know it."""
    images, kernels = ops.transpose(x, (3, 1, 2, 0)), ops.transpose(dy, (1, 2, 0, 3))
    dw = padded_convolution(images, kernels, window.pads(space_of(x)), window.strides)
    return _sized(ops.transpose(dw, (1, 2, 0, 3)), kernel, window)


def _channels_along_the_width(dy, x, kernel, window):
    """The channels of X lie side by side, so that one step along the width is C positions and a kernel of oneDNN's has
    that many neighbouring outputs. dY of few channels has m columns side by side as well, v the place among them:

        dW[t, u, c, k] = Σ_v R[t, (v·s + u)·C + c, v·K + k]         R being the result with a step of m windows
    """
    (_, z), channels, (count, outputs, places, maps) = window.strides, x.shape[-1], ops.shape(dy)
    m = _neighbours(places, maps)
    kernels = ops.transpose(ops.reshape(dy, (count, outputs, places // m, m * maps)), (1, 2, 0, 3))
    height, width = space_of(x)
    images = ops.reshape(ops.transpose(x, (1, 2, 3, 0)), (1, height, width * channels, count))
    rows, (left, right) = window.pads((height, width))
    dw = padded_convolution(images, kernels, (rows, (left * channels, right * channels)),
                            (window.strides[0], m * z * channels))
    dw = ops.reshape(dw, (ops.shape(dw)[1], -1, channels, m, maps))
    return sum(_sized(dw[:, v * z:, :, v], kernel, window) for v in range(m))


def _sized(dw, kernel, window):
    """The taps alone: a stride that leaves rows unused finds more, a dilation those between them. With the shape, which
    a graph of unknown image size would forget."""
    return ops.reshape(dw[tuple(slice(0, e, d) for e, d in zip(window.extent, window.dilation))], kernel.shape)


def _neighbours(places, maps) -> int:
    """How many columns of dY lie side by side: so many that few maps fill a vector."""
    if not isinstance(places, int) or not places or maps > FULL // 2:
        return 1
    return next(m for m in range(1, places + 1) if places % m == 0 and (m * maps >= FULL or m == places))


def _sum_over_blocks(dy, x, kernel, window):
    """Σ over blocks of images that stay in the cache, where one operation runs after the other: 3×3, 16 to 16 channels
    at 32×32, N = 128, take 4.8 ms in place of 7.5."""
    block = _images_of_a_block(dy, x)
    if block is None:
        return _channels_along_the_width(dy, x, kernel, window)

    def add(index, dw):
        images = slice(index * block, (index + 1) * block)
        return dw + _channels_along_the_width(dy[images], x[images], kernel, window)

    return ops.fori_loop(0, -(-ops.shape(x)[0] // block), add, ops.zeros(kernel.shape, dy.dtype))


def _images_of_a_block(dy, x):
    """None for all of them."""
    if None in (*dy.shape[1:], *x.shape[1:]):
        return None
    fit = BLOCK // (4 * (prod(dy.shape[1:]) + prod(x.shape[1:])))
    block = max(1, fit // FULL) * FULL
    return None if isinstance(x.shape[0], int) and x.shape[0] <= block else block


def kernel_gradient_by_taps(dy, x, kernel, window):
    """As a matrix product a tap, over all windows: dW[t] = X_tᵀ dY, X_t being what tap t sees."""
    dys = _rows(dy)
    dw = [ops.matmul(ops.transpose(_rows(view)), dys) for view in taps(x, window, space_of(dy))]
    return ops.reshape(ops.stack(dw), kernel.shape)


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
