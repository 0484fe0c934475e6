"""What a convolution's gradients could have been computed by: every form was tried, one became the layers' own.

All give the same numbers (the benchmark compares them before it times them), for one group and dilation 1:

    dW[t,c,k] = Σ_np X[n, p·s + t, c] dY[n,p,k]         functions of dY, the input and the kernel's shape
    dX[n,q,c] = Σ_tk dY⁰[n, q − t, k] W[t,c,k]          functions of dY, the input's shape and the kernel

X is padded, dY⁰ is dY with s − 1 zeros between its entries, X_t is the view of X that tap t sees.
"""
from itertools import product

import numpy as np
from keras import ops

from ...layers.convolution import (convolution, input_gradient, input_gradient_transposed, kernel_gradient,
                                   kernel_gradient_beside, kernel_gradient_by_channels, kernel_gradient_by_taps, padded)
from ...layers.window import Window, crop, dilate, pad, scatter, space_of, taps
from ..check.backends import vjp
from .question import Inapplicable, Question


def rows(x):
    """(..., C) → (N·P, C)."""
    return ops.reshape(x, (-1, x.shape[-1]))


# -------------------------------------------------------------------------------------- the kernel's gradient

def batch_as_channels(dy, x, kernel, window):
    """one convolution: the batch is its channels, dY its kernel, dilated by s; X's channels lie along the width"""
    return kernel_gradient_by_channels(dy, x, kernel, window)


def channels_as_batch(dy, x, kernel, window):
    """the same with X's channels as the batch, which leaves a kernel's width of neighbouring outputs"""
    images = ops.transpose(padded(x, window), (3, 1, 2, 0))                                 # (C, *space, N)
    kernels = ops.transpose(dy, (1, 2, 0, 3))                                               # (*outputs, N, K)
    dw = ops.conv(images, kernels, padding="valid", data_format="channels_last", dilation_rate=window.strides)
    return ops.transpose(dw, (1, 2, 0, 3))[:window.size[0], :window.size[1]]


def product_a_tap(dy, x, kernel, window):
    """dW[t] = X_tᵀ dY: a matrix product a tap over all N·P windows"""
    return kernel_gradient_by_taps(dy, padded(x, window), kernel, window)


def product_a_shift(dy, x, kernel, window):
    """dW[t] = Σ_r X[r + o_t] dY[r]: the same with dY as wide as X, so that a tap is a shift of the rows and no copy"""
    if max(window.strides) > 1:
        raise Inapplicable("a tap is a shift at stride 1")
    x = padded(x, window)
    height, width = space_of(x)
    dys = rows(pad(dy, [(0, n - p) for n, p in zip((height, width), space_of(dy))]))
    shifts = [i * width + j for i, j in window.offsets()]
    count = dys.shape[0] - shifts[-1]
    dw = [ops.matmul(ops.transpose(rows(x)[o:o + count]), dys[:count]) for o in shifts]
    return ops.reshape(ops.stack(dw), kernel.shape)


def product_beside(dy, x, kernel, window):
    """[dW_0 dW_1 …] = Xᵀ [dY_0 dY_1 …]: one product, dY moved by every tap side by side"""
    if max(window.strides) > 1:
        raise Inapplicable("dY moves by taps at stride 1")
    return kernel_gradient_beside(dy, x, kernel, window)


def product_a_tap_and_image(dy, x, kernel, window):
    """dW[t] = Σ_n X_t[n]ᵀ dY[n]: a product a tap and image, then the sum over the images"""
    flat = lambda y: ops.reshape(y, (y.shape[0], -1, y.shape[-1]))                          # noqa: E731
    views = taps(padded(x, window), window, space_of(dy))
    dw = [ops.sum(ops.matmul(ops.transpose(flat(view), (0, 2, 1)), flat(dy)), axis=0) for view in views]
    return ops.reshape(ops.stack(dw), kernel.shape)


def product_a_row(dy, x, kernel, window):
    """dW[i] = [X_i0 X_i1 …]ᵀ dY: a product a kernel row, the views of its taps side by side"""
    views = taps(padded(x, window), window, space_of(dy))
    width = window.size[1]
    dw = [ops.matmul(ops.transpose(rows(ops.concatenate(views[i:i + width], -1))), rows(dy))
          for i in range(0, window.count, width)]
    return ops.reshape(ops.stack(dw), kernel.shape)


def one_product(dy, x, kernel, window):
    """dW = [X_0 X_1 …]ᵀ dY: one product, the views of all taps side by side (im2col)"""
    views = taps(padded(x, window), window, space_of(dy))
    return ops.reshape(ops.matmul(ops.transpose(rows(ops.concatenate(views, -1))), rows(dy)), kernel.shape)


def patches(dy, x, kernel, window):
    """dW = patchesᵀ dY: the same with keras.ops.image.extract_patches"""
    columns = ops.image.extract_patches(padded(x, window), window.size, window.strides,
                                        padding="valid", data_format="channels_last")
    return ops.reshape(ops.matmul(ops.transpose(rows(columns)), rows(dy)), kernel.shape)


def _blocked_columns(dy, x, kernel, window, block):
    (height, width), (count, columns) = window.size, space_of(dy)
    if max(window.strides) > 1 or width > block + 1:
        raise Inapplicable(f"blocks of {block} columns take stride 1 and kernels up to {block + 1} wide")
    blocks = -(-columns // block)
    x = padded(x, window)
    missing = (blocks + 1) * block - x.shape[2]         # negative: columns that no window reaches
    x = pad(x, [(0, 0), (0, max(missing, 0))])[:, :, :(blocks + 1) * block]
    dy = pad(dy, [(0, 0), (0, blocks * block - columns)])
    channels, maps = x.shape[-1], dy.shape[-1]
    dy = ops.reshape(dy, (-1, block * maps))
    dw = []
    for i in range(height):
        groups = ops.reshape(x[:, i:i + count], (-1, count, blocks + 1, block * channels))
        parts = groups[:, :, :-1], groups[:, :, 1:]         # each block, and the one after it
        both = ops.concatenate([ops.matmul(ops.transpose(rows(part)), dy) for part in parts])
        both = ops.reshape(both, (2 * block, channels, block, maps))
        dw.append(ops.stack([sum(both[v + t, :, v] for v in range(block)) for t in range(width)]))
    return ops.stack(dw)


def columns_by_two(dy, x, kernel, window):
    """two products a kernel row of column pairs, [X_2j X_2j+1]ᵀ[dY_2j dY_2j+1] and X's next pair; diagonals sum"""
    return _blocked_columns(dy, x, kernel, window, 2)


def columns_by_four(dy, x, kernel, window):
    """the same with four columns at a time: larger products, of which less is used"""
    return _blocked_columns(dy, x, kernel, window, 4)


# --------------------------------------------------------------------------------------- the input's gradient

def full_correlation(dy, x, kernel, window):
    """one convolution: dY⁰, padded all around, with W turned by 180°"""
    return ops.conv(_spread(dy, x, window), _turned(kernel), data_format="channels_last")


def transposed(dy, x, kernel, window):
    """a transposed convolution, cropped: the stride's zeros are not multiplied"""
    return input_gradient_transposed(dy, kernel, window, space_of(x))


def phases(dy, x, kernel, window):
    """dX[q·s + r] = Σ_m dY[q − m] W[m·s + r]: one convolution, the s² phases r as its channels, then interleaved"""
    (s, z), pads, channels = window.strides, window.pads(space_of(x)), kernel.shape[2]
    if s == z == 1:
        raise Inapplicable("stride 1 has one phase")
    grown = ops.pad(kernel, [(0, -k % stride) for k, stride in zip(window.size, (s, z))] + [(0, 0)] * 2)
    m, w = grown.shape[0] // s, grown.shape[1] // z
    grown = ops.flip(ops.reshape(grown, (m, s, w, z, channels, -1)), (0, 2))
    grown = ops.reshape(ops.transpose(grown, (0, 2, 5, 1, 3, 4)), (m, w, -1, s * z * channels))
    lengths = [-(-(n + low + high) // stride) for n, (low, high), stride in zip(space_of(x), pads, (s, z))]
    dy = pad(dy, [(taps_ - 1, n - p) for taps_, n, p in zip((m, w), lengths, space_of(dy))])
    dx = ops.reshape(ops.conv(dy, grown, data_format="channels_last"), (-1, *lengths, s, z, channels))
    dx = ops.reshape(ops.transpose(dx, (0, 1, 3, 2, 4, 5)), (-1, lengths[0] * s, lengths[1] * z, channels))
    return crop(dx, pads, space_of(x))


def scatter_a_tap(dy, x, kernel, window):
    """dY W_tᵀ: a product a tap, each added back where its tap looked"""
    return _added_back([ops.matmul(dy, ops.transpose(kernel[i, j])) for i, j in _positions(kernel)], x, window)


def scatter_one_product(dy, x, kernel, window):
    """dY [W_0ᵀ W_1ᵀ …]: one product for all taps, its parts added back (col2im)"""
    turned = ops.concatenate([ops.transpose(kernel[i, j]) for i, j in _positions(kernel)], -1)
    return _added_back(ops.split(ops.matmul(dy, turned), window.count, -1), x, window)


def gather_a_row(dy, x, kernel, window):
    """the full correlation by a product a kernel row, the views of its taps side by side"""
    views, turned, width = _views(dy, x, window), _turned(kernel), window.size[1]
    return sum(ops.matmul(ops.concatenate(views[i * width:(i + 1) * width], -1), rows(turned[i]))
               for i in range(window.size[0]))


def gather_one_product(dy, x, kernel, window):
    """the full correlation by one product, the views of all taps side by side"""
    return ops.matmul(ops.concatenate(_views(dy, x, window), -1), rows(_turned(kernel)))


def _spread(dy, x, window):
    """dY⁰ with the zeros around it that leave an output of the input's size."""
    dy = dilate(dy, window.strides, (1, 2))
    sides = []
    for k, n, m, (low, _) in zip(window.size, space_of(x), space_of(dy), window.pads(space_of(x))):
        sides.append((k - 1 - low, n - m + low))
    return pad(dy, sides)


def _views(dy, x, window):
    return taps(_spread(dy, x, window), Window.of(window.size, 1, "valid"), space_of(x))


def _turned(kernel):
    return ops.swapaxes(ops.flip(kernel, (0, 1)), 2, 3)


def _positions(kernel):
    return product(*map(range, kernel.shape[:2]))


def _added_back(views, x, window):
    pads = window.pads(space_of(x))
    padded = [n + low + high for n, (low, high) in zip(space_of(x), pads)]
    return crop(scatter(views, window, padded), pads, space_of(x))


# ------------------------------------------------------------------------------------------------ what is asked

def layers_kernel_gradient(dy, x, kernel, window):
    """what cnn_repro.layers does"""
    return kernel_gradient(dy, x, kernel, window)


def layers_input_gradient(dy, x, kernel, window):
    """what cnn_repro.layers does"""
    return input_gradient(dy, x, kernel, window)


# of each gradient: the place of its argument among (x, kernel), then the forms
GRADIENTS = {
    "kernel gradient": (1, (layers_kernel_gradient, batch_as_channels, channels_as_batch, product_a_tap, product_a_shift,
                            product_beside, product_a_tap_and_image, product_a_row, one_product, patches, columns_by_two,
                            columns_by_four)),
    "input gradient": (0, (layers_input_gradient, full_correlation, transposed, phases, scatter_a_tap,
                           scatter_one_product, gather_a_row, gather_one_product)),
}


def questions(operator, batch: int) -> list[Question]:
    """Both gradients of a Conv2D of one group and no dilation; none for another operator."""
    given, shape = operator.arguments, operator.shape
    if operator.layer != "Conv2D" or given.keys() & {"groups", "dilation_rate"}:
        return []
    window = Window.of((given["kernel_size"],) * 2, given.get("strides", 1), given.get("padding", "valid"))
    draw = np.random.default_rng(0).normal
    shapes = ((batch, *window.outputs(shape[:2]), given["filters"]), (batch, *shape),
              (*window.size, shape[2], given["filters"]))
    arrays = tuple(draw(size=one).astype("float32") for one in shapes)
    return [Question(f"{text} of {operator.text}", arrays, window, _stock(argument), forms)
            for text, (argument, forms) in GRADIENTS.items()]


def _stock(argument):
    def stock(dy, x, kernel, window):
        """the gradient of keras.ops.conv by x or the kernel, as the backend differentiates it"""
        def forward(one):
            return convolution(*((one, kernel) if argument == 0 else (x, one)), window)

        return vjp(forward, [(x, kernel)[argument]], dy)[0]

    return stock
