"""Depthwise and separable convolution."""
import keras

from cnn_repro import layers as L
from cnn_repro.layers import dense, depthwise

from .activations import shifted
from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)
SERIES = (2, 9, 4)

DROP_INS = [
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=(3, 2), padding="same", use_bias=False)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3, strides=2, depth_multiplier=2)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=2, strides=3, padding="SAME", activation="relu")),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=1, strides=2, use_bias=False, activation="tanh")),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=2, dilation_rate=2, depth_multiplier=3, activation="gelu")),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3, dilation_rate=(1, 2), padding="same", activation=shifted)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=2, strides=2, dilation_rate=3, padding="same")),
    ("DepthwiseConv2D", (2, 4, 7, 6), dict(kernel_size=3, strides=2, depth_multiplier=2,
                                           data_format="channels_first")),
    ("DepthwiseConv1D", (2, 7, 4), dict(kernel_size=3)),
    ("DepthwiseConv1D", (2, 7, 4), dict(kernel_size=4, strides=2, padding="same", depth_multiplier=2)),
    ("DepthwiseConv1D", (2, 7, 4), dict(kernel_size=3, dilation_rate=2, activation="sigmoid", use_bias=False)),
    ("DepthwiseConv1D", (2, 4, 7), dict(kernel_size=2, strides=3, data_format="channels_first")),
    ("SeparableConv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3)),
    ("SeparableConv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, strides=2, padding="same", depth_multiplier=2,
                                           activation="relu")),
    ("SeparableConv2D", (2, 7, 6, 4), dict(filters=5, kernel_size=2, dilation_rate=2, use_bias=False)),
    ("SeparableConv1D", (2, 7, 4), dict(filters=3, kernel_size=3, padding="same", activation="tanh")),
    ("SeparableConv1D", (2, 7, 4), dict(filters=3, kernel_size=2, strides=2, depth_multiplier=3, use_bias=False)),
]

WRONG = [
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3, depth_multiplier=0)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=0)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3, strides=0)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3, padding="causal")),
    ("DepthwiseConv2D", (2, 2, 2, 4), dict(kernel_size=3)),
    ("DepthwiseConv2D", (2, 7, 6), dict(kernel_size=3)),
    ("DepthwiseConv2D", (2, 7, 6, 5, 4), dict(kernel_size=3)),
    ("DepthwiseConv2D", (2, 7, 6, 4), dict(kernel_size=3, data_format="NCHW")),
    ("DepthwiseConv1D", (2, 7, 4), dict(kernel_size=(3, 3))),
    ("DepthwiseConv1D", (2, 2, 4), dict(kernel_size=3)),
    ("DepthwiseConv1D", (2, 7, 4), dict(kernel_size=3, padding="causal")),
    ("SeparableConv2D", (2, 7, 6, 4), dict(filters=0, kernel_size=3)),
    ("SeparableConv2D", (2, 7, 6), dict(filters=3, kernel_size=3)),
    ("SeparableConv2D", (2, 2, 2, 4), dict(filters=3, kernel_size=3)),
    ("SeparableConv1D", (2, 7, 4), dict(filters=3, kernel_size=3, strides=0)),
    ("SeparableConv1D", (2, 7, 4), dict(filters=3, kernel_size=3, padding="causal")),
]

CALLS_WRONG = [
    ("depthwise_convolve", [(2, 4, 4, 1), (5, 5, 1, 2)], dict(), "Axis 1 .* size 4, less than the window's 5 without"),
    ("depthwise_convolve", [(2, 4, 1), (3, 3, 1, 1)], dict(), "a window over 2 spatial axes takes 4"),
    ("depthwise_convolve", [(2, 4, 4, 3), (3, 3, 2, 1)], dict(), r"has 3 channels, the kernel .* takes 2"),
    ("depthwise_convolve", [(2, 4, 3), (3, 3, 1)], dict(padding="causal"), "'causal' must be one of valid, same"),
    ("separable_convolve", [(2, 4, 1), (3, 3, 1, 1), (1, 1, 1, 2)], dict(), "a window over 2 spatial axes takes 4"),
    ("separable_convolve", [(2, 4, 4, 2), (3, 3, 2, 1), (1, 1, 3, 2)], dict(), "has 2 channels, the kernel .* takes 3"),
    ("separable_convolve", [(2, 4, 4, 2), (2, 2, 2, 1), (2, 2, 2, 2)], dict(), "A pointwise kernel has one tap"),
]

ANY_SIZE = [
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, padding="same", activation="relu")),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=(3, 2), depth_multiplier=2)),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, strides=2, padding="same")),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=2, strides=3, depth_multiplier=2)),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, dilation_rate=2, padding="same")),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, dilation_rate=2, strides=2, padding="same")),
    ("DepthwiseConv1D", SERIES, dict(kernel_size=3, strides=2)),
    ("SeparableConv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2, padding="same")),
    ("SeparableConv1D", SERIES, dict(filters=3, kernel_size=3, depth_multiplier=2)),
]

PRECISIONS = [
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, activation="relu")),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, strides=2, padding="same", depth_multiplier=2)),
    ("DepthwiseConv1D", SERIES, dict(kernel_size=3, activation="tanh")),
    ("SeparableConv2D", IMAGES, dict(filters=3, kernel_size=3, padding="same")),
    ("SeparableConv1D", SERIES, dict(filters=3, kernel_size=3, strides=2)),
]

TWICE = [
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, padding="same")),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=3, strides=2, depth_multiplier=2)),
    ("DepthwiseConv2D", IMAGES, dict(kernel_size=2, dilation_rate=2, activation="tanh")),
    ("DepthwiseConv1D", SERIES, dict(kernel_size=3, strides=2, padding="same")),
    ("SeparableConv2D", IMAGES, dict(filters=3, kernel_size=3, activation="tanh")),
    ("SeparableConv1D", SERIES, dict(filters=3, kernel_size=2)),
]

CHECKED = {"depthwise_convolve": "DepthwiseConv2D", "separable_convolve": "SeparableConv2D"}
LINEAR = {"DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}


def sabotages():
    images = dict(module=depthwise, operator="DepthwiseConv2D")
    same = lambda: L.DepthwiseConv2D(3, padding="same")                                 # noqa: E731
    strided = lambda: L.DepthwiseConv2D(3, strides=2, depth_multiplier=2)               # noqa: E731
    yield Sabotage(**images, formula="depthwise_input_gradient", subject=same, changes={"input"})
    yield Sabotage(**images, formula="depthwise_input_gradient", subject=strided, changes={"input"})
    for formula, subject in (("depthwise_kernel_gradient", same), ("depthwise_kernel_gradient", strided),
                             ("depthwise_kernel_gradient_by_taps", strided)):
        yield Sabotage(**images, formula=formula, subject=subject, changes={"kernel"})
    tensorflow = keras.backend.backend() == "tensorflow"
    yield Sabotage(**images, formula=f"depthwise_kernel_gradient_by_{'images' if tensorflow else 'taps'}", subject=same,
                   changes={"kernel"}, xla=not tensorflow)
    series = dict(tensors=((2, 7, 4),), subject=lambda: L.DepthwiseConv1D(3, strides=2, padding="same"))
    yield Sabotage(depthwise, "depthwise_input_gradient", "DepthwiseConv1D", changes={"input"}, **series)
    yield Sabotage(depthwise, "depthwise_kernel_gradient", "DepthwiseConv1D", changes={"kernel"}, **series)
    yield Sabotage(dense, "bias_gradient", "Dense", same, {"bias"})
    for operator, shape in (("SeparableConv2D", (2, 6, 6, 4)), ("SeparableConv1D", (2, 7, 4))):
        layer = getattr(L, operator)
        mixed = dict(operator=operator, subject=lambda layer=layer: layer(3, 3), tensors=(shape,))
        yield Sabotage(depthwise, "depthwise_input_gradient", changes={"input"}, **mixed)
        yield Sabotage(depthwise, "depthwise_kernel_gradient", changes={"depthwise_kernel"}, **mixed)
