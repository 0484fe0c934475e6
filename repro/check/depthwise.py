"""Depthwise and separable convolution."""
from collections.abc import Iterator

from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case, channels_first


def cases(random) -> Iterator[Case]:
    """Stride × padding × dilation × depth multiplier; odd and even sizes, size 1, kernels larger than the input."""
    for batch, space, size, strides, padding, dilation, channels, multiplier in [
        (2, (5, 6), (3, 3), (1, 1), "same", 1, 2, 1),
        (2, (5, 6), (3, 2), (1, 1), "valid", 1, 2, 2),
        (2, (4, 5), (2, 2), (1, 1), "same", 1, 3, 1),
        (2, (6, 6), (3, 3), (2, 2), "same", 1, 2, 1),
        (2, (7, 5), (3, 3), (2, 2), "same", 1, 2, 2),
        (2, (6, 7), (3, 3), (2, 2), "valid", 1, 1, 3),
        (2, (7, 7), (2, 2), (3, 3), "valid", 1, 1, 1),
        (2, (5, 6), (1, 1), (2, 2), "same", 1, 2, 2),
        (2, (6, 5), (3, 3), (1, 1), "same", 2, 2, 1),
        (2, (7, 6), (3, 2), (1, 1), "valid", 2, 1, 2),
        (2, (7, 8), (3, 3), (2, 2), "same", 2, 1, 2),
        (1, (8, 8), (2, 3), (2, 2), "valid", 3, 1, 1),
        (2, (2, 3), (5, 4), (1, 1), "same", 1, 2, 1),
        (2, (2, 3), (4, 5), (2, 2), "same", 1, 2, 1),
        (2, (1, 1), (3, 3), (1, 1), "same", 1, 2, 2),
        (0, (4, 5), (3, 3), (2, 2), "valid", 1, 2, 2),
    ]:
        yield _depthwise("DepthwiseConv2D", random, batch, space, size, strides, padding, dilation, channels,
                         multiplier)
    for batch, space, size, strides, padding, dilation, channels, multiplier in [
        (2, (7,), (3,), (1,), "same", 1, 3, 1),
        (2, (7,), (4,), (2,), "same", 1, 2, 2),
        (2, (9,), (3,), (1,), "valid", 2, 2, 2),
        (2, (8,), (2,), (3,), "valid", 2, 2, 1),
        (0, (5,), (2,), (1,), "valid", 1, 2, 1),
    ]:
        yield _depthwise("DepthwiseConv1D", random, batch, space, size, strides, padding, dilation, channels,
                         multiplier)
    for operator, batch, space, size, strides, padding, dilation, channels, multiplier, filters in [
        ("SeparableConv2D", 2, (4, 5), (3, 3), (1, 1), "same", 1, 2, 1, 3),
        ("SeparableConv2D", 2, (6, 5), (3, 2), (2, 2), "same", 1, 2, 2, 2),
        ("SeparableConv2D", 2, (5, 6), (2, 2), (1, 1), "valid", 2, 1, 2, 2),
        ("SeparableConv2D", 0, (4, 4), (3, 3), (1, 1), "valid", 1, 2, 1, 2),
        ("SeparableConv1D", 2, (7,), (3,), (1,), "valid", 1, 2, 2, 3),
        ("SeparableConv1D", 2, (8,), (3,), (2,), "same", 1, 2, 1, 2),
        ("SeparableConv1D", 0, (6,), (3,), (1,), "same", 1, 2, 1, 2),
    ]:
        yield _separable(operator, random, batch, space, size, strides, padding, dilation, channels, multiplier,
                         filters)
    first = dict(data_format="channels_first")
    for axes in (1, 2):
        space, size, strides = (5, 6)[:axes], (3, 2)[:axes], (2, 2)[:axes]
        yield channels_first(_depthwise(f"DepthwiseConv{axes}D", random, 2, space, size, strides, "same", 1, 3, 2,
                                        **first))
        yield channels_first(_separable(f"SeparableConv{axes}D", random, 2, space, size, strides, "same", 1, 2, 2, 3,
                                        **first))


def _depthwise(operator, random, batch, space, size, strides, padding, dilation, channels, multiplier,
               data_format="channels_last") -> Case:
    rates = (dilation,) * len(size)
    return Case(
        operator, _text(batch, space, size, strides, padding, dilation, multiplier),
        {"input": random.normal(size=(batch, *space, channels)),
         "kernel": random.normal(size=(*size, channels, multiplier))},
        lambda x, w: L.depthwise_convolve(x, w, strides, padding, dilation, data_format),
        lambda x, w: stock_depthwise(x, w, strides, padding, dilation),
        lambda x, w: reference.depthwise_convolution(x, w, strides, padding, rates),
        lambda dy, x, w: reference.depthwise_gradients(dy, x, w, strides, padding, rates),
        ("input", "kernel"))


def _separable(operator, random, batch, space, size, strides, padding, dilation, channels, multiplier,
               filters, data_format="channels_last") -> Case:
    rates, ones = (dilation,) * len(size), (1,) * len(size)

    def stock(x, w, u):
        return ops.conv(stock_depthwise(x, w, strides, padding, dilation), u, data_format="channels_last")

    return Case(
        operator, _text(batch, space, size, strides, padding, dilation, multiplier) + f", {filters} filters",
        {"input": random.normal(size=(batch, *space, channels)),
         "depthwise_kernel": random.normal(size=(*size, channels, multiplier)),
         "pointwise_kernel": random.normal(size=(*ones, channels * multiplier, filters))},
        lambda x, w, u: L.separable_convolve(x, w, u, strides, padding, dilation, data_format), stock,
        lambda x, w, u: reference.separable_convolution(x, w, u, strides, padding, rates),
        lambda dy, x, w, u: reference.separable_gradients(dy, x, w, u, strides, padding, rates),
        ("input", "depthwise_kernel", "pointwise_kernel"))


def stock_depthwise(x, w, strides, padding, dilation):
    """keras.ops.depthwise_conv. No images take one of zeros along: on TensorFlow dW would be whatever memory held."""
    empty = x.shape[0] == 0
    x = ops.pad(x, [(0, 1)] + [(0, 0)] * (len(x.shape) - 1)) if empty else x
    y = ops.depthwise_conv(x, w, strides, padding, "channels_last", dilation)
    return y[:0] if empty else y


def _text(batch, space, size, strides, padding, dilation, multiplier):
    by = lambda numbers: "×".join(map(str, numbers))                                    # noqa: E731
    return (f"{by(space)}, kernel {by(size)}, stride {by(strides)}, {padding}"
            + (f", dilation {dilation}" if dilation > 1 else "")
            + (f", multiplier {multiplier}" if multiplier > 1 else "") + ("" if batch else ", no images"))
