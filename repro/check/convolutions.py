"""Convolution and transposed convolution in one, two and three dimensions."""
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from ...layers.window import Window
from .case import Case, channels_first

ONE, TWO, THREE = (1, 1), (2, 2), (3, 3)

# stride × padding × dilation × groups, odd and even sizes, size 1, kernels larger than the input, windows that leave
# positions out; images, input, kernel, stride, padding, dilation, groups, channels, filters
CONVOLUTIONS = {
    "Conv1D": [
        (2, (7,), (3,), (1,), "same", (1,), 1, 2, 3),
        (2, (8,), (2,), (2,), "valid", (1,), 1, 3, 2),
        (2, (9,), (3,), (2,), "same", (2,), 1, 2, 2),
        (2, (6,), (3,), (1,), "causal", (1,), 1, 2, 3),
        (2, (7,), (2,), (3,), "causal", (1,), 1, 2, 2),
        (2, (8,), (3,), (1,), "causal", (2,), 1, 2, 2),
        (2, (7,), (2,), (2,), "causal", (3,), 1, 2, 2),
        (2, (6,), (3,), (2,), "causal", (1,), 2, 4, 2),
        (2, (3,), (5,), (1,), "causal", (1,), 1, 2, 2),
        (2, (6,), (1,), (1,), "causal", (1,), 3, 3, 3),
        (0, (6,), (3,), (1,), "causal", (1,), 1, 2, 3),
        (0, (6,), (3,), (2,), "valid", (1,), 1, 2, 3),
    ],
    "Conv2D": [
        (2, (5, 6), (3, 3), ONE, "same", ONE, 1, 3, 4),
        (2, (5, 6), (3, 2), ONE, "valid", ONE, 1, 2, 3),
        (2, (6, 5), (2, 2), ONE, "same", ONE, 1, 2, 3),
        (2, (7, 6), (3, 3), TWO, "same", ONE, 1, 2, 3),
        (2, (6, 7), (3, 3), (2, 3), "valid", ONE, 1, 2, 3),
        (2, (7, 7), (2, 2), THREE, "valid", ONE, 1, 2, 2),
        (2, (6, 5), (3, 3), (3, 2), "same", ONE, 1, 1, 2),
        (2, (5, 4), (2, 1), (1, 3), "valid", ONE, 1, 2, 1),
        (2, (6, 6), (1, 1), TWO, "same", ONE, 1, 3, 2),
        (2, (7, 7), (3, 3), ONE, "same", TWO, 1, 2, 2),
        (2, (8, 7), (3, 2), ONE, "valid", TWO, 1, 2, 2),
        (2, (5, 6), (2, 3), ONE, "same", (3, 1), 1, 2, 2),
        (2, (8, 8), (3, 3), TWO, "same", TWO, 1, 2, 2),
        (2, (7, 6), (2, 3), (1, 2), "valid", (2, 1), 1, 2, 2),
        (2, (6, 6), (2, 2), THREE, "same", (2, 3), 1, 2, 1),
        (2, (2, 3), (5, 5), ONE, "same", ONE, 1, 2, 2),
        (2, (7, 6), (4, 3), TWO, "same", ONE, 1, 2, 3),
        (2, (8, 7), (3, 4), ONE, "same", TWO, 1, 3, 2),
        (1, (9, 10), (4, 3), TWO, "valid", TWO, 1, 2, 2),
        (2, (1, 1), (3, 3), ONE, "same", ONE, 1, 2, 2),
        (2, (3, 3), (3, 3), ONE, "valid", ONE, 1, 3, 2),
        (2, (5, 5), (3, 3), ONE, "same", ONE, 2, 4, 6),
        (2, (5, 6), (2, 2), TWO, "same", ONE, 2, 4, 4),
        (2, (4, 5), (2, 2), ONE, "valid", ONE, 3, 3, 3),
        (2, (5, 4), (3, 1), (1, 2), "same", ONE, 2, 4, 2),
        (2, (4, 4), (1, 1), THREE, "valid", ONE, 2, 4, 2),
        (2, (5, 5), (1, 3), ONE, "same", TWO, 2, 2, 4),
        (2, (6, 5), (2, 1), ONE, "valid", (3, 1), 3, 3, 6),
        (2, (6, 5), (2, 2), TWO, "valid", TWO, 4, 4, 4),
        (2, (5, 6), (2, 2), (2, 3), "same", TWO, 2, 2, 2),
        (2, (2, 2), (1, 5), ONE, "same", ONE, 2, 4, 2),
        (0, (5, 6), (3, 3), ONE, "same", ONE, 1, 2, 3),
        (0, (5, 6), (3, 2), TWO, "valid", ONE, 1, 2, 3),
        (0, (5, 6), (2, 2), ONE, "valid", TWO, 1, 2, 3),
        (0, (5, 6), (2, 2), TWO, "same", ONE, 2, 4, 2),
    ],
    "Conv3D": [
        (2, (3, 4, 3), (2, 2, 2), (1, 1, 1), "valid", (1, 1, 1), 1, 1, 2),
        (1, (3, 3, 4), (3, 2, 1), (1, 1, 1), "same", (1, 1, 1), 1, 2, 2),
        (1, (4, 3, 5), (2, 3, 2), (2, 1, 2), "same", (1, 1, 1), 1, 2, 1),
        (1, (5, 4, 3), (2, 2, 3), (3, 2, 1), "valid", (1, 1, 1), 1, 1, 2),
        (1, (4, 4, 4), (2, 2, 2), (1, 1, 1), "same", (2, 1, 3), 1, 1, 2),
        (1, (4, 5, 3), (2, 2, 1), (1, 2, 1), "valid", (2, 1, 1), 1, 2, 2),
        (1, (3, 4, 3), (2, 1, 2), (1, 2, 1), "same", (1, 1, 1), 2, 2, 4),
        (2, (3, 3, 3), (3, 2, 2), (1, 1, 1), "valid", (1, 1, 1), 1, 1, 3),
        (2, (1, 2, 1), (3, 3, 1), (1, 1, 1), "same", (1, 1, 1), 1, 2, 2),
        (0, (3, 4, 3), (2, 2, 2), (1, 2, 1), "valid", (1, 1, 1), 1, 2, 2),
    ],
}

# the forms of the kernel's gradient for many channels, on small maps and on large ones; too many numbers to move each
WIDE = [
    (2, (5, 4), (3, 3), ONE, "same", ONE, 1, 16, 2),
    (1, (5, 6), (3, 2), TWO, "same", ONE, 1, 16, 2),
    (1, (6, 7), (2, 2), (2, 3), "valid", TWO, 1, 17, 2),
    (1, (6, 5), (2, 2), ONE, "valid", (2, 1), 1, 18, 3),
    (1, (16, 16), (3, 2), ONE, "same", ONE, 1, 16, 5),
    (2, (17, 18), (2, 3), ONE, "valid", ONE, 1, 16, 5),
    (1, (16, 17), (2, 2), ONE, "same", (2, 1), 1, 16, 5),
    (0, (16, 16), (2, 2), ONE, "same", ONE, 1, 16, 5),
]

# images, input, kernel, stride, padding, output_padding, dilation, channels, filters; without an even extent, `same`
# and output_padding 0, where stock Keras fails
TRANSPOSED = {
    "Conv1DTranspose": [
        (2, (5,), (3,), (1,), "same", None, (1,), 2, 3),
        (2, (4,), (3,), (2,), "valid", None, (1,), 3, 2),
        (2, (4,), (2,), (3,), "same", (2,), (1,), 2, 2),
        (2, (4,), (3,), (1,), "valid", None, (2,), 2, 2),
        (2, (3,), (2,), (2,), "valid", (1,), (3,), 2, 2),
        (0, (4,), (3,), (2,), "same", None, (1,), 2, 2),
    ],
    "Conv2DTranspose": [
        (2, (3, 4), (3, 3), ONE, "valid", None, ONE, 2, 3),
        (2, (4, 3), (3, 2), ONE, "same", None, ONE, 3, 2),
        (2, (3, 4), (3, 3), TWO, "same", None, ONE, 2, 3),
        (2, (3, 3), (2, 3), TWO, "valid", None, ONE, 2, 3),
        (2, (3, 2), (4, 4), (2, 3), "same", None, ONE, 2, 2),
        (2, (3, 4), (1, 1), TWO, "valid", None, ONE, 3, 2),
        (2, (3, 3), (1, 2), THREE, "same", None, ONE, 2, 2),
        (2, (3, 3), (3, 3), TWO, "same", (1, 0), ONE, 2, 2),
        (2, (3, 3), (4, 2), (3, 2), "same", (2, 1), ONE, 2, 2),
        (2, (3, 2), (3, 2), THREE, "valid", (0, 2), ONE, 2, 2),
        (2, (2, 3), (1, 1), THREE, "valid", (0, 1), ONE, 2, 2),
        (2, (4, 3), (3, 2), ONE, "valid", None, TWO, 2, 2),
        (2, (4, 4), (2, 3), ONE, "same", None, (1, 2), 2, 2),
        (2, (3, 3), (2, 3), TWO, "same", None, TWO, 2, 2),
        (2, (2, 3), (3, 2), (1, 2), "valid", (0, 1), (2, 1), 2, 2),
        (2, (1, 1), (3, 3), TWO, "same", None, ONE, 2, 2),
        (2, (1, 2), (5, 5), ONE, "same", None, ONE, 1, 2),
        (0, (3, 4), (3, 3), ONE, "same", None, ONE, 2, 3),
        (0, (3, 4), (3, 2), TWO, "valid", None, ONE, 2, 3),
    ],
    "Conv3DTranspose": [
        (2, (2, 3, 2), (2, 2, 3), (1, 1, 1), "valid", None, (1, 1, 1), 2, 1),
        (1, (2, 3, 2), (3, 2, 2), (1, 2, 1), "same", None, (1, 1, 1), 2, 2),
        (1, (2, 2, 3), (3, 1, 2), (2, 2, 1), "valid", (1, 0, 0), (1, 1, 1), 2, 2),
        (1, (3, 2, 2), (2, 2, 2), (1, 1, 1), "same", None, (2, 1, 2), 2, 2),
        (0, (2, 3, 2), (2, 2, 2), (2, 1, 1), "same", None, (1, 1, 1), 2, 2),
    ],
}


def cases(random) -> Iterator[Case]:
    """The grids; a few cases of each with the channels first."""
    for operator, grid in CONVOLUTIONS.items():
        for row in grid:
            yield _convolution(operator, random, *row)
    for row in WIDE:
        yield replace(_convolution("Conv2D", random, *row), smooth=False)
    for row in (CONVOLUTIONS["Conv1D"][3], *CONVOLUTIONS["Conv2D"][3:5], CONVOLUTIONS["Conv2D"][19],
                CONVOLUTIONS["Conv2D"][-1], CONVOLUTIONS["Conv3D"][1]):
        yield channels_first(_convolution(f"Conv{len(row[1])}D", random, *row, data_format="channels_first"))
    for operator, grid in TRANSPOSED.items():
        for row in grid:
            yield _transposed(operator, random, *row)
    for row in (TRANSPOSED["Conv1DTranspose"][1], *TRANSPOSED["Conv2DTranspose"][2:4],
                TRANSPOSED["Conv3DTranspose"][1]):
        yield channels_first(_transposed(f"Conv{len(row[1])}DTranspose", random, *row, data_format="channels_first"))


def _convolution(operator, random, images, space, size, strides, padding, dilation, groups, channels, filters,
                 data_format="channels_last") -> Case:
    rest = (strides, padding, dilation)
    return Case(operator, _text(images, space, size, strides, padding, dilation, groups, channels), {
        "input": random.normal(size=(images, *space, channels)),
        "kernel": random.normal(size=(*size, channels // groups, filters))},
        lambda x, w: L.convolve(x, w, *rest, data_format), lambda x, w: stock_convolution(x, w, *rest, groups),
        lambda x, w: reference.convolution(x, w, *rest),
        lambda dy, x, w: reference.convolution_gradients(dy, x, w, *rest), ("input", "kernel"))


def _transposed(operator, random, images, space, size, strides, padding, more, dilation, channels, filters,
                data_format="channels_last") -> Case:
    text = _text(images, space, size, strides, padding, dilation)
    return Case(operator, text + ("" if more is None else f", output padding {_times(more)}"), {
        "input": random.normal(size=(images, *space, channels)),
        "kernel": random.normal(size=(*size, filters, channels))},
        lambda x, w: L.convolve_transposed(x, w, strides, padding, more, dilation, data_format),
        lambda x, w: stock_transposed(x, w, strides, padding, more, dilation),
        lambda x, w: reference.transposed_convolution(x, w, strides, padding, more, dilation),
        lambda dy, x, w: reference.transposed_convolution_gradients(dy, x, w, strides, padding, dilation),
        ("input", "kernel"))


def _text(images, space, size, strides, padding, dilation, groups=1, channels=0) -> str:
    return (f"{_times(space)}, kernel {_times(size)}, stride {_times(strides)}, {padding}"
            + (f", dilation {_times(dilation)}" if max(dilation) > 1 else "")
            + (f", {groups} groups" if groups > 1 else "") + (f", {channels} channels" if channels > 8 else "")
            + ("" if images else ", no images"))


def _times(sizes) -> str:
    return "×".join(map(str, sizes))


def stock_convolution(x, w, strides, padding, dilation, groups):
    """keras.ops.conv, group by group; dilation: one integer, or one an axis.

    Where it cannot, with what Keras has around it: the dilation's zeros are written into the kernel beside a stride,
    causal padding comes first, and for no images there is one more, which is left out.
    """
    window = Window.of(w.shape[:-2], strides, padding, dilation)
    if x.shape[0] == 0:
        return stock_convolution(one_more(x), w, strides, padding, dilation, groups)[:-1]
    if padding == "causal":
        x, padding = ops.pad(x, [(0, 0), *window.pads(x.shape[1:-1]), (0, 0)]), "valid"
    if max(window.strides) > 1 and max(window.dilation) > 1:
        w, dilation = _spread(w, window), 1
    parts = [ops.conv(a, b, strides=strides, padding=padding, dilation_rate=dilation, data_format="channels_last")
             for a, b in zip(ops.split(x, groups, -1), ops.split(w, groups, -1))]
    return ops.concatenate(parts, -1)


def stock_transposed(x, w, strides, padding, output_padding, dilation):
    """keras.ops.conv_transpose, likewise; a dilation's zeros always, on a CPU TensorFlow takes none."""
    if x.shape[0] == 0:
        return stock_transposed(one_more(x), w, strides, padding, output_padding, dilation)[:-1]
    w = _spread(w, Window.of(w.shape[:-2], strides, padding, dilation))
    return ops.conv_transpose(x, w, strides=strides, padding=padding, output_padding=output_padding,
                              data_format="channels_last")


def one_more(x):
    """With one more image, of zeros."""
    return ops.pad(x, [(0, 1)] + [(0, 0)] * (len(x.shape) - 1))


def _spread(w, window):
    """The kernel as wide as its extent, by a 0/1 matrix an axis."""
    for axis, (extent, rate) in enumerate(zip(window.extent, window.dilation)):
        places = ops.convert_to_tensor(np.eye(extent)[::rate], w.dtype)
        w = ops.moveaxis(ops.tensordot(places, w, axes=((0,), (axis,))), 0, axis)
    return w
