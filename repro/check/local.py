"""Locally connected layers, a convolution as one dense product, and fixed filters."""
from collections.abc import Iterator
from math import prod

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import filters, local, reference
from .case import Case, channels_first
from .convolutions import stock_convolution


def cases(random) -> Iterator[Case]:
    """Odd and even sizes, one position, windows larger than the image, strides beyond the window, no image at all."""
    for batch, space, size, strides, padding, channels, k in [
        (2, (4, 5), (3, 3), (1, 1), "valid", 2, 2),
        (2, (4, 3), (2, 3), (1, 1), "same", 1, 3),
        (3, (5, 4), (2, 2), (2, 3), "same", 2, 1),
        (2, (5, 5), (1, 2), (3, 3), "valid", 2, 2),
        (2, (2, 3), (4, 4), (1, 1), "same", 1, 1),
        (2, (3, 3), (3, 3), (1, 1), "valid", 2, 2),
        (0, (3, 3), (2, 2), (1, 1), "valid", 2, 2),
    ]:
        yield _local("LocallyConnected2D", random, batch, space, size, strides, padding, channels, k)
    for batch, space, size, strides, padding, channels, k in [
        (2, (7,), (3,), (2,), "valid", 2, 3),
        (2, (6,), (3,), (1,), "same", 2, 2),
        (1, (5,), (2,), (3,), "same", 1, 2),
    ]:
        yield _local("LocallyConnected1D", random, batch, space, size, strides, padding, channels, k)
    for batch, space, size, strides, padding, dilation, groups, channels, k in [
        (2, (4, 5), (3, 3), (1, 1), "same", 1, 1, 2, 2),
        (2, (5, 4), (2, 3), (2, 1), "valid", 1, 1, 1, 2),
        (2, (5, 5), (2, 2), (1, 1), "same", 2, 1, 1, 2),
        (2, (6, 5), (2, 2), (2, 2), "valid", 2, 2, 2, 2),
        (2, (3, 4), (3, 2), (1, 2), "same", 1, 2, 4, 2),
        (2, (2, 2), (3, 3), (1, 1), "same", 1, 1, 2, 2),
        (0, (3, 3), (2, 2), (1, 1), "valid", 1, 1, 2, 2),
    ]:
        yield _toeplitz(random, batch, space, size, strides, padding, dilation, groups, channels, k)
    for batch, space, kernels, padding, channels in [
        (2, (4, 5), "sobel", "valid", 2), (2, (4, 4), "prewitt", "same", 1), (1, (3, 4), "sobel", "same", 3),
        (2, (4, 3), np.array([[[1.0, -2.0]], [[0.5, 3.0]], [[2.0, 0.0]]]), "same", 2),
        (0, (3, 3), "sobel", "valid", 2),
    ]:
        yield _filters(random, batch, space, kernels, padding, channels)
    first = dict(data_format="channels_first")
    yield channels_first(_local("LocallyConnected2D", random, 2, (4, 5), (3, 2), (1, 2), "same", 2, 3, **first))
    yield channels_first(_local("LocallyConnected1D", random, 2, (6,), (3,), (2,), "valid", 2, 3, **first))
    yield _local("LocallyConnected1D", random, 0, (4,), (2,), (1,), "valid", 2, 3)
    yield channels_first(_filters(random, 2, (4, 3), "sobel", "same", 2, **first))


def _local(operator, random, batch, space, size, strides, padding, channels, k, data_format="channels_last") -> Case:
    """Over images without a bias, which keeps it linear; over one axis with it."""
    window = local.Window.of(size, strides, padding)
    outputs = window.outputs(space)

    def ours(x, w, b=None):
        y = L.locally_connect(x, w, size, strides, padding, data_format)
        if b is not None and data_format == "channels_first":
            b = ops.moveaxis(b, -1, 0)
        return y if b is None else local.add_local_bias(y, b)

    def stock(x, w, b=None):
        x, seen = ops.pad(x, [(0, 0), *window.pads(space), (0, 0)]), []
        for index, p in enumerate(np.ndindex(*outputs)):
            corner = tuple(slice(i * s, i * s + n) for i, s, n in zip(p, strides, size))
            patch = ops.reshape(x[(slice(None), *corner)], (-1, prod(size) * channels))
            seen.append(ops.matmul(patch, w[index]))
        y = ops.reshape(ops.stack(seen, axis=1), (-1, *outputs, k))
        return y if b is None else y + b

    def output(x, w, b=0):
        return reference.locally_connected(x, w, size, strides, padding) + b

    def loops(dy, x, w, b=None):
        found = reference.locally_connected_gradients(dy, x, w, size, strides, padding)
        return found if b is None else (*found, reference.local_bias_gradient(dy))

    arguments = {"input": random.normal(size=(batch, *space, channels)),
                 "kernel": random.normal(size=(prod(outputs), prod(size) * channels, k))}
    if operator == "LocallyConnected1D":
        arguments["bias"] = random.normal(size=(*outputs, k))
    by = lambda sizes: "×".join(map(str, sizes))                                        # noqa: E731
    text = f"{batch} images, {by(space)}, window {by(size)}, stride {by(strides)}, {padding}"
    return Case(operator, text, arguments, ours, stock, output, loops,
                () if "bias" in arguments else ("input", "kernel"))


def _toeplitz(random, batch, space, size, strides, padding, dilation, groups, channels, k) -> Case:
    rates = (dilation,) * len(size)
    text = (f"{batch} images, {space[0]}×{space[1]}, kernel {size[0]}×{size[1]}, stride {strides[0]}×{strides[1]}, "
            f"{padding}, dilation {dilation}, {groups} groups")
    return Case("Toeplitz form", text, {
        "input": random.normal(size=(batch, *space, channels)),
        "kernel": random.normal(size=(*size, channels // groups, k))},
        lambda x, w: L.convolve_as_dense(x, w, strides, padding, dilation),
        lambda x, w: stock_convolution(x, w, strides, padding, dilation, groups),
        lambda x, w: reference.convolution(x, w, strides, padding, rates),
        lambda dy, x, w: reference.convolution_gradients(dy, x, w, strides, padding, rates), ("input", "kernel"))


def _filters(random, batch, space, kernels, padding, channels, data_format="channels_last") -> Case:
    bank = filters.bank_of(kernels)

    def stock(x):
        maps = [ops.conv(x[..., c:c + 1], ops.convert_to_tensor(bank[i, :, :, None, None], x.dtype), padding=padding,
                         data_format="channels_last") for c in range(channels) for i in range(len(bank))]
        return ops.concatenate(maps, axis=-1)

    text = (f"{batch} images, {space[0]}×{space[1]}×{channels}, "
            f"{kernels if isinstance(kernels, str) else 'three 1×2 filters'}, {padding}")
    return Case("FixedFilters2D", text, {"input": random.normal(size=(batch, *space, channels))},
                lambda x: L.apply_filters(x, kernels, padding, data_format), stock,
                lambda x: reference.fixed_filters(x, bank, padding),
                lambda dy, x: [reference.fixed_filters_gradient(dy, x, bank, padding)], ("input",))
