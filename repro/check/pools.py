"""Pooling in one, two and three dimensions, and blurred pooling."""
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from ...layers.window import Window
from .case import Case, channels_first
from .convolutions import one_more


def cases(random) -> Iterator[Case]:
    """Windows that overlap, that leave positions out, that are larger than the input; ties; no images."""
    yield from _windowed(random)
    yield from _global(random)
    yield from _blurred(random)
    yield from _elsewhere(random)


def _windowed(random):
    grid = [
        # input   window  stride  padding
        ((4, 4), (2, 2), (2, 2), "valid"),
        ((5, 5), (3, 3), (2, 2), "valid"),              # AlexNet's overlap
        ((5, 6), (3, 3), (2, 2), "same"),
        ((7, 5), (3, 2), (2, 1), "valid"),
        ((5, 5), (2, 2), (3, 3), "valid"),
        ((3, 2), (4, 4), (1, 1), "same"),
        ((1, 1), (1, 1), (1, 1), "valid"),
        ((7,), (3,), (2,), "same"),
        ((6,), (2,), (3,), "valid"),
        ((3, 3, 4), (3, 2, 2), (2, 2, 1), "same"),
    ]
    for space, size, strides, padding in grid:
        arguments, text = (size, strides, padding), _called(space, size, strides, padding)
        x = random.normal(size=(2, *space, 2))
        yield _case("Max", text, x, arguments)
        if size[0] != strides[0]:
            yield _case("Max", text + ", ties", np.round(x), arguments)
        yield _case("Average", text, x, arguments)
    for kind in ("Max", "Average"):
        arguments, text = ((3, 2), (2, 2), "same"), _called((5, 4), (3, 2), (2, 2), "same")
        yield _case(kind, f"{text}, channels first", random.normal(size=(2, 3, 5, 4)), arguments, "channels_first")
        yield _case(kind, f"{text}, empty batch", np.zeros((0, 5, 4, 3)), arguments)


def _elsewhere(random):
    """One and three dimensions once more: channels first, no images; blurs likewise; a second case of what had one."""
    for kind in ("Max", "Average"):
        for space, size, strides, padding in (((6,), (3,), (2,), "same"), ((3, 4, 2), (2, 3, 1), (1, 2, 2), "valid")):
            arguments, text = (size, strides, padding), _called(space, size, strides, padding)
            yield _case(kind, text, random.normal(size=(2, *space, 2)), arguments)
            yield _case(kind, f"{text}, empty batch", np.zeros((0, *space, 2)), arguments)
            case = _case(kind, text, random.normal(size=(2, *space, 2)), arguments)
            yield channels_first(replace(case, ours=_first(L.max_pool if kind == "Max" else L.average_pool, arguments)))
    for space, size, strides in (((6,), (3,), (2,)), ((4, 5), (3, 2), (2, 2))):
        case = _blur(random.normal(size=(2, *space, 2)), size, strides, "reflect")
        yield channels_first(replace(case, ours=_first(L.blur_pool, (size, strides, "reflect"))))
        yield _blur(np.zeros((0, *space, 2)), size, strides, "reflect")
        case = _max_blur(random.normal(size=(2, *space, 2)), size, strides, "same", 3)
        yield case
        yield channels_first(replace(case, ours=_first(L.max_blur_pool, (size, strides, 3, "same"))))
        yield _max_blur(np.zeros((0, *space, 2)), size, strides, "valid", 3)
    yield Case("reflect padding", "3, no image", {"input": np.zeros((0, 3, 2))}, lambda x: L.reflect_pad(x, [(1, 2)]),
               lambda x: ops.pad(one_more(x), [(0, 0), (1, 2), (0, 0)], mode="reflect")[:-1],
               lambda x: reference.reflect_pad(x, [(1, 2)]), lambda dy, x: [np.zeros_like(x)], ("input",))


def _first(pool, arguments):
    return lambda x: pool(x, *arguments, data_format="channels_first")


def _called(space, size, strides, padding):
    space, size, strides = ("×".join(map(str, sizes)) for sizes in (space, size, strides))
    return f"{space}, window {size}, stride {strides}, {padding}"


def _case(kind, text, x, arguments, data_format="channels_last") -> Case:
    ours, stock, output, gradient = {
        "Max": (L.max_pool, stock_max, reference.max_pool, reference.max_pool_gradient),
        "Average": (L.average_pool, stock_average, reference.average_pool, reference.average_pool_gradient)}[kind]
    last, first = (lambda a: a, lambda a: a) if data_format == "channels_last" else (
        lambda a: np.moveaxis(a, 1, -1), lambda a: np.moveaxis(a, -1, 1))
    ties = "ties" in text
    return Case(f"{kind}Pooling{x.ndim - 2}D", text, {"input": x},
                lambda x: ours(x, *arguments, data_format=data_format),
                lambda x: stock(x, *arguments, data_format=data_format),
                lambda x: first(output(last(x), *arguments)),
                lambda dy, x: [first(gradient(last(dy), last(x), *arguments))],
                # with ties, JAX's second derivative of the stock operator is another one than TensorFlow's
                ("input",) if kind == "Average" else (), smooth=not ties, twice=not ties)


def stock_max(x, size, strides, padding, data_format):
    """keras.ops.max_pool."""
    if _volumes_of_doubles(x):
        return _plane_by_plane(ops.max_pool, x, size, strides, padding)
    return ops.max_pool(x, size, strides, padding, data_format=data_format)


def stock_average(x, size, strides, padding, data_format):
    """keras.ops.average_pool. On PyTorch its `same` may count positions beyond the border: a quotient there."""
    if _volumes_of_doubles(x):
        return _plane_by_plane(ops.average_pool, x, size, strides, padding)
    if padding == "valid" or keras.backend.backend() != "torch":
        return ops.average_pool(x, size, strides, padding, data_format=data_format)
    x = ops.moveaxis(x, 1, -1) if data_format == "channels_first" else x
    pads = Window.of(size, strides, padding).pads(x.shape[1:-1])
    total, inside = (ops.average_pool(ops.pad(a, [(0, 0), *pads, (0, 0)]), size, strides, data_format="channels_last")
                     for a in (x, ops.ones_like(x)))
    return ops.moveaxis(total / inside, -1, 1) if data_format == "channels_first" else total / inside


def _volumes_of_doubles(x):
    """What TensorFlow has no operator for."""
    return len(x.shape) == 5 and keras.backend.standardize_dtype(x.dtype) == "float64"


def _plane_by_plane(pool, x, size, strides, padding):
    """Pooling of volumes as pooling of their planes, and then in depth."""
    images, depth, *plane = x.shape
    y = pool(ops.reshape(x, (-1, *plane)), size[1:], strides[1:], padding, data_format="channels_last")
    _, *plane = y.shape
    y = pool(ops.reshape(y, (images, depth, -1, plane[-1])), (size[0], 1), (strides[0], 1), padding,
             data_format="channels_last")
    return ops.reshape(y, (images, -1, *plane))


def _global(random):
    for space in ((5,), (3, 5), (2, 3, 2)):
        axes, text = tuple(range(1, len(space) + 1)), "×".join(map(str, space))
        x = random.normal(size=(2, *space, 4))
        yield Case(f"GlobalAveragePooling{len(space)}D", text, {"input": x},
                   lambda x, axes=axes: L.global_average_pool(x, axes), lambda x, axes=axes: ops.mean(x, axis=axes),
                   reference.global_average_pool, lambda dy, x: [reference.global_average_pool_gradient(dy, x)],
                   ("input",))
        for ties, values in (("", x), (", ties", np.round(x))):
            yield Case(f"GlobalMaxPooling{len(space)}D", text + ties, {"input": values},
                       lambda x, axes=axes: L.global_max_pool(x, axes), lambda x, axes=axes: ops.max(x, axis=axes),
                       reference.global_max_pool, lambda dy, x: [reference.global_max_pool_gradient(dy, x)],
                       smooth=not ties)
        for kind, ours in (("Average", L.global_average_pool), ("Max", L.global_max_pool)):
            # of no images Keras has no maximum; their sums are as many numbers, none
            yield Case(f"Global{kind}Pooling{len(space)}D", f"{text}, empty batch", {"input": x[:0]},
                       lambda x, axes=axes, ours=ours: ours(x, axes), lambda x, axes=axes: ops.sum(x, axis=axes),
                       lambda x, axes=axes: x.sum(axes), lambda dy, x: [np.zeros_like(x)])


def _blurred(random):
    grid = [
        # input   filter  stride  padding
        ((6, 5), (3, 3), (2, 2), "reflect"),
        ((4, 5), (2, 4), (2, 1), "reflect"),
        ((3, 7), (5, 1), (3, 2), "reflect"),
        ((5, 6), (3, 2), (2, 3), "valid"),
        ((6,), (5,), (2,), "reflect"),
        ((7,), (3,), (2,), "valid"),
    ]
    for space, size, strides, padding in grid:
        yield _blur(random.normal(size=(2, *space, 2)), size, strides, padding)
    for pads in (((1, 1), (1, 1)), ((0, 2), (1, 0))):
        yield Case("reflect padding", f"3×4, {pads[0]} and {pads[1]}", {"input": random.normal(size=(2, 3, 4, 2))},
                   lambda x, pads=pads: L.reflect_pad(x, pads),
                   lambda x, pads=pads: ops.pad(x, [(0, 0), *pads, (0, 0)], mode="reflect"),
                   lambda x, pads=pads: reference.reflect_pad(x, pads),
                   lambda dy, x, pads=pads: [reference.reflect_pad_gradient(dy, x, pads)], ("input",))
    for space, size, strides, padding, taps in (
        ((6, 5), (2, 2), (2, 2), "valid", 3), ((5, 5), (3, 3), (2, 1), "same", 5), ((7,), (3,), (2,), "valid", 2),
    ):
        yield _max_blur(random.normal(size=(2, *space, 2)), size, strides, padding, taps)


def _blur(x, *arguments):
    return Case(f"BlurPooling{x.ndim - 2}D", _called(x.shape[1:-1], *arguments) + ("" if len(x) else ", empty batch"),
                {"input": x}, lambda x: L.blur_pool(x, *arguments), lambda x: stock_blur(x, *arguments),
                lambda x: reference.blur_pool(x, *arguments),
                lambda dy, x: [reference.blur_pool_gradient(dy, x, *arguments)], ("input",))


def _max_blur(x, size, strides, padding, taps):
    ones, filters = (1,) * len(size), (taps,) * len(size)

    def loops(dy, x):
        dense = reference.max_pool(x, size, ones, padding)
        ddense = reference.blur_pool_gradient(dy, dense, filters, strides)
        return [reference.max_pool_gradient(ddense, x, size, ones, padding)]

    return Case(f"MaxBlurPooling{len(size)}D", _called(x.shape[1:-1], size, strides, padding) + f", blur {taps}"
                + ("" if len(x) else ", empty batch"),
                {"input": x}, lambda x: L.max_blur_pool(x, size, strides, taps, padding),
                lambda x: stock_blur(stock_max(x, size, ones, padding, "channels_last"), filters, strides),
                lambda x: reference.blur_pool(reference.max_pool(x, size, ones, padding), filters, strides), loops)


def stock_blur(x, size, strides, padding="reflect"):
    """One convolution of the reflected input, its kernel the binomial filter between each channel and itself."""
    if x.shape[0] == 0:                             # of no images Keras reflects none
        return stock_blur(one_more(x), size, strides, padding)[:-1]
    kernel = np.eye(x.shape[-1])
    for k in reversed(size):
        row = np.array(np.poly1d((0.5, 0.5)) ** (k - 1))
        kernel = row.reshape(-1, *[1] * kernel.ndim) * kernel
    if padding == "reflect":
        x = ops.pad(x, [(0, 0), *(((k - 1) // 2, k // 2) for k in size), (0, 0)], mode="reflect")
    return ops.conv(x, ops.convert_to_tensor(kernel, x.dtype), strides, "valid", data_format="channels_last")
