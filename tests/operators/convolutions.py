"""Convolution."""
from cnn_repro import layers as L
from cnn_repro.layers import convolution, dense

from .activations import shifted
from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)

DROP_INS = [
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=(3, 2), padding="same", use_bias=False)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, strides=2)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=2, strides=(2, 3), padding="SAME", activation="relu")),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=1, strides=2, use_bias=False, activation="tanh")),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=2, dilation_rate=2, activation="sigmoid")),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, dilation_rate=(1, 2), padding="same", activation="gelu")),
    ("Conv2D", (2, 7, 6, 4), dict(filters=6, kernel_size=3, groups=2, activation=shifted)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=4, kernel_size=2, groups=4, strides=2, padding="same")),
    ("Conv2D", (2, 4, 7, 6), dict(filters=4, kernel_size=2, groups=2, data_format="channels_first", strides=2)),
]

WRONG = [
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, strides=2, dilation_rate=2)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=-1, kernel_size=3)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=4, kernel_size=3, groups=3)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, groups=3)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=(1, 2, 3))),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=0)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, padding="causal")),
    ("Conv2D", (2, 2, 2, 4), dict(filters=3, kernel_size=3)),
    ("Conv2D", (2, 7, 6), dict(filters=3, kernel_size=3)),
    ("Conv2D", (2, 7, 6, 5, 4), dict(filters=3, kernel_size=3)),
    ("Conv2D", (2, 7, 6, 4), dict(filters=3, kernel_size=3, data_format="NCHW")),
]

ANY_SIZE = [
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, activation="relu")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=(3, 2), padding="same")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2)),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=2, strides=3, padding="same")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, dilation_rate=2, padding="same")),
    ("Conv2D", IMAGES, dict(filters=4, kernel_size=3, groups=2, strides=2, padding="same")),
]

PRECISIONS = [
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, activation="relu")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2, padding="same", activation="tanh")),
    ("Conv2D", IMAGES, dict(filters=4, kernel_size=3, groups=2, activation="sigmoid")),
]

TWICE = [
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3)),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2, padding="same")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=2, dilation_rate=2, activation="tanh")),
]

CHECKED = {"convolve": "Conv2D"}
LINEAR = {"Conv2D"}


def sabotages():
    conv = dict(module=convolution, operator="Conv2D")
    yield Sabotage(**conv, formula="input_gradient", subject=lambda: L.Conv2D(3, 3), changes={"input"})
    same = lambda: L.Conv2D(3, 3, padding="same")                                       # noqa: E731
    yield Sabotage(**conv, formula="kernel_gradient", subject=same, changes={"kernel"})
    strided = lambda: L.Conv2D(3, 3, strides=2)                                         # noqa: E731
    yield Sabotage(**conv, formula="_input_gradient_strided", subject=strided, changes={"input"})
    grouped = lambda: L.Conv2D(4, 3, groups=2)                                          # noqa: E731
    yield Sabotage(**conv, formula="_input_gradient_by_taps", subject=grouped, changes={"input"})
    yield Sabotage(**conv, formula="_kernel_gradient_by_taps", subject=grouped, changes={"kernel"})
    yield Sabotage(dense, "bias_gradient", "Dense", lambda: L.Conv2D(3, 3), {"bias"})
