"""What the gradients of pooling could have been computed by: every form was tried, one became the layers' own.

    max       dX: dY[p] goes to the first position, in row-major order, of window p's maximum
    average   dX: dY[p]/m goes to each of the window's m positions

Of equal maxima only the first counts, so a form that gave all of them a gradient would be another operator.
"""
import numpy as np
from keras import ops

from ...layers.pooling import average_pool_gradient, max_pool_gradient
from ...layers.window import Window, crop, pad, scatter, space_of, taps
from ..check.backends import vjp
from .question import Inapplicable, Question


# ------------------------------------------------------------------------------------------------- the maximum's

def layers_max_gradient(dy, y, x, window):
    """what cnn_repro.layers does"""
    return max_pool_gradient(dy, y, x, window)


def compared_taps(dy, y, x, window):
    """a comparison with Y a tap, while no earlier tap was equal; the parts added back"""
    pads, open_, views = window.pads(space_of(x)), ops.ones_like(y, dtype="bool"), []
    padded = pad(x, pads, float("-inf"))
    for view in taps(padded, window, space_of(y)):
        equal = view == y
        views.append(ops.where(ops.logical_and(open_, equal), dy, ops.zeros_like(dy)))
        open_ = ops.logical_and(open_, ops.logical_not(equal))
    return crop(scatter(views, window, space_of(padded)), pads, space_of(x))


def argmax(dy, y, x, window):
    """the place of the maximum among the taps, side by side; dY where a tap's number is that place, added back"""
    pads = window.pads(space_of(x))
    padded = pad(x, pads, float("-inf"))
    place = ops.argmax(ops.stack(taps(padded, window, space_of(y)), -1), -1)
    views = [ops.where(place == t, dy, ops.zeros_like(dy)) for t in range(window.count)]
    return crop(scatter(views, window, space_of(padded)), pads, space_of(x))


def blocks(dy, y, x, window):
    """windows side by side are blocks (N, P, s, Q, s, C) of x: the least number of a position equal to Y gets dY"""
    _side_by_side(x, window)
    (k, m), (height, width) = window.size, space_of(y)
    wide = lambda value: ops.reshape(value, (-1, height, 1, width, 1, value.shape[-1]))     # noqa: E731
    x = ops.reshape(x, (-1, height, k, width, m, x.shape[-1]))
    number = ops.reshape(ops.arange(k * m, dtype="float32"), (1, 1, k, 1, m, 1))
    number = ops.where(x == wide(y), number, float(k * m))
    first = ops.min(number, axis=(2, 4), keepdims=True)
    dx = ops.where(number == first, wide(dy), ops.zeros_like(x))
    return ops.reshape(dx, (-1, height * k, width * m, x.shape[-1]))


# ------------------------------------------------------------------------------------------------- the average's

def layers_average_gradient(dy, y, x, window):
    """what cnn_repro.layers does"""
    return average_pool_gradient(dy, y, x, window)


def added_back(dy, y, x, window):
    """dY/m at every tap, added back"""
    pads = window.pads(space_of(x))
    padded = [n + low + high for n, (low, high) in zip(space_of(x), pads)]
    return crop(scatter([_share(dy, x, window)] * window.count, window, padded), pads, space_of(x))


def repeated(dy, y, x, window):
    """windows side by side: dY/m repeated along each axis"""
    _side_by_side(x, window)
    dx = dy / window.count
    for axis, k in enumerate(window.size, 1):
        dx = ops.repeat(dx, k, axis)
    return dx


def ones(dy, y, x, window):
    """a transposed depthwise convolution of dY/m with ones, as one of each channel by itself"""
    pads, share = window.pads(space_of(x)), _share(dy, x, window)
    single = ops.reshape(ops.transpose(share, (0, 3, 1, 2)), (-1, *space_of(y), 1))
    full = ops.conv_transpose(single, ops.ones((*window.size, 1, 1)), strides=window.strides, padding="valid",
                              data_format="channels_last")
    full = ops.transpose(ops.reshape(full, (-1, x.shape[-1], *space_of(full))), (0, 2, 3, 1))
    missing = [n + low - m for n, (low, _), m in zip(space_of(x), pads, space_of(full))]
    return crop(pad(full, [(0, max(n, 0)) for n in missing]), pads, space_of(x))


def _share(dy, x, window):
    inside = pad(ops.ones_like(x[:1, ..., :1]), window.pads(space_of(x)))
    return dy / sum(taps(inside, window, space_of(dy)))


def _side_by_side(x, window):
    if window.size != window.strides or any(n % k for n, k in zip(space_of(x), window.size)):
        raise Inapplicable("windows that overlap or leave a rest are no blocks")


# ------------------------------------------------------------------------------------------------ what is asked

FORMS = {"MaxPooling2D": ("max_pool", (layers_max_gradient, compared_taps, argmax, blocks)),
         "AveragePooling2D": ("average_pool", (layers_average_gradient, added_back, repeated, ones))}


def questions(operator, batch: int) -> list[Question]:
    """The input gradient of a 2-D pooling; none for another operator."""
    if operator.layer not in FORMS:
        return []
    name, candidates = FORMS[operator.layer]
    pool, size = getattr(ops, name), (operator.arguments["pool_size"],) * 2
    window = Window.of(size, operator.arguments.get("strides", size), operator.arguments.get("padding", "valid"))
    # as behind a ReLU, where half of the numbers are equal
    x = np.maximum(np.random.default_rng(0).normal(size=(batch, *operator.shape)), 0).astype("float32")
    dy = np.random.default_rng(1).normal(size=(batch, *window.outputs(operator.shape[:2]), operator.shape[2]))

    def forward(x):
        return pool(x, window.size, window.strides, window.padding, data_format="channels_last")

    def stock(dy, y, x, window):
        return vjp(forward, [x], dy)[0]

    y = ops.convert_to_numpy(forward(x))
    return [Question(f"input gradient of {operator.text}", (dy.astype("float32"), y, x), window, stock, candidates)]
