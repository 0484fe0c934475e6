"""Convolution."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case


def cases(random) -> Iterator[Case]:
    """The grid: stride × padding × dilation × groups, odd and even sizes, size 1, kernels larger than the input."""
    grid = [
        # input   kernel  stride  padding  dilation groups channels filters
        ((5, 6), (3, 3), (1, 1), "same", 1, 1, 3, 4),
        ((5, 6), (3, 2), (1, 1), "valid", 1, 1, 2, 3),
        ((6, 5), (2, 2), (1, 1), "same", 1, 1, 2, 3),
        ((7, 6), (3, 3), (2, 2), "same", 1, 1, 2, 3),
        ((6, 7), (3, 3), (2, 3), "valid", 1, 1, 2, 3),
        ((7, 7), (2, 2), (3, 3), "valid", 1, 1, 2, 2),
        ((6, 6), (1, 1), (2, 2), "same", 1, 1, 3, 2),
        ((7, 7), (3, 3), (1, 1), "same", 2, 1, 2, 2),
        ((8, 7), (3, 2), (1, 1), "valid", 2, 1, 2, 2),
        ((8, 8), (3, 3), (2, 2), "same", 2, 1, 2, 2),
        ((2, 3), (5, 5), (1, 1), "same", 1, 1, 2, 2),
        ((1, 1), (3, 3), (1, 1), "same", 1, 1, 2, 2),
        ((5, 5), (3, 3), (1, 1), "same", 1, 2, 4, 6),
        ((5, 6), (3, 3), (2, 2), "same", 1, 2, 4, 4),
        ((6, 5), (2, 2), (2, 2), "valid", 2, 4, 4, 4),
    ]
    for space, size, strides, padding, dilation, groups, channels, filters in grid:
        def ours(x, w, strides=strides, padding=padding, dilation=dilation):
            return L.convolve(x, w, strides, padding, dilation)

        def stock(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups):
            return stock_convolution(x, w, strides, padding, dilation, groups)

        def output(x, w, strides=strides, padding=padding, dilation=dilation):
            return reference.convolution(x, w, strides, padding, (dilation, dilation))

        def loops(dy, x, w, strides=strides, padding=padding, dilation=dilation):
            return reference.convolution_gradients(dy, x, w, strides, padding, (dilation, dilation))

        text = (f"{space[0]}×{space[1]}, kernel {size[0]}×{size[1]}, stride {strides[0]}×{strides[1]}, {padding}"
                + (f", dilation {dilation}" if dilation > 1 else "") + (f", {groups} groups" if groups > 1 else ""))
        yield Case("Conv2D", text, {
            "input": random.normal(size=(2, *space, channels)),
            "kernel": random.normal(size=(*size, channels // groups, filters))},
            ours, stock, output, loops, ("input", "kernel"))


def stock_convolution(x, w, strides, padding, dilation, groups):
    """keras.ops.conv; group by group, and with the dilation's zeros written into the kernel where both are above 1."""
    if dilation > 1 and max(strides) > 1:
        size = [(k - 1) * dilation + 1 for k in w.shape[:2]]
        spread = [ops.convert_to_tensor(np.eye(n)[::dilation], w.dtype) for n in size]
        w = ops.einsum("ia,jb,ijck->abck", *spread, w)
        dilation = 1
    parts = [ops.conv(a, b, strides=strides, padding=padding, dilation_rate=dilation, data_format="channels_last")
             for a, b in zip(ops.split(x, groups, -1), ops.split(w, groups, -1))]
    return ops.concatenate(parts, -1)
