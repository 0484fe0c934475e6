"""Convolution and transposed convolution."""
import keras

from cnn_repro import layers as L
from cnn_repro.layers import convolution, dense, transposed

from .activations import shifted
from .sabotage import Sabotage

SIGNALS, IMAGES, VOLUMES = (2, 9, 4), (2, 8, 6, 4), (2, 5, 4, 6, 2)

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
    ("Conv1D", (2, 8, 4), dict(filters=3, kernel_size=3)),
    ("Conv1D", (2, 8, 4), dict(filters=3, kernel_size=2, strides=3, padding="same", activation="relu")),
    ("Conv1D", (2, 8, 4), dict(filters=3, kernel_size=3, dilation_rate=2, use_bias=False)),
    ("Conv1D", (2, 8, 4), dict(filters=3, kernel_size=3, padding="causal")),
    ("Conv1D", (2, 8, 4), dict(filters=3, kernel_size=3, padding="causal", dilation_rate=2, activation="tanh")),
    ("Conv1D", (2, 8, 4), dict(filters=4, kernel_size=4, padding="causal", strides=3, groups=2)),
    ("Conv1D", (2, 4, 8), dict(filters=4, kernel_size=3, padding="causal", groups=2, data_format="channels_first")),
    ("Conv3D", (2, 5, 4, 6, 2), dict(filters=3, kernel_size=2)),
    ("Conv3D", (2, 5, 4, 6, 2), dict(filters=3, kernel_size=(3, 2, 1), padding="same", activation="relu")),
    ("Conv3D", (2, 5, 4, 6, 2), dict(filters=3, kernel_size=3, strides=(2, 1, 3), padding="same", use_bias=False)),
    ("Conv3D", (2, 5, 4, 6, 2), dict(filters=3, kernel_size=2, dilation_rate=(2, 1, 2), activation="sigmoid")),
    ("Conv3D", (2, 5, 4, 6, 4), dict(filters=4, kernel_size=(1, 2, 2), groups=2, strides=2)),
    ("Conv3D", (2, 4, 5, 4, 3), dict(filters=4, kernel_size=2, groups=2, data_format="channels_first")),
    ("Conv1DTranspose", (2, 5, 4), dict(filters=3, kernel_size=3)),
    ("Conv1DTranspose", (2, 5, 4), dict(filters=3, kernel_size=2, strides=3, padding="same", activation="relu")),
    ("Conv1DTranspose", (2, 5, 4), dict(filters=3, kernel_size=3, strides=2, output_padding=1, use_bias=False)),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=3)),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=(3, 2), padding="same", use_bias=False)),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=3, strides=2, padding="SAME", activation="relu")),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=4, strides=(2, 3), activation="sigmoid")),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=1, strides=2, activation="tanh")),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=3, strides=2, padding="same", output_padding=0)),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=(3, 4), strides=2, output_padding=(0, 1))),
    ("Conv3DTranspose", (2, 2, 3, 2, 3), dict(filters=2, kernel_size=2)),
    ("Conv3DTranspose", (2, 2, 3, 2, 3), dict(filters=2, kernel_size=(2, 3, 1), strides=(1, 2, 2), padding="same")),
    ("Conv3DTranspose", (2, 2, 3, 2, 3), dict(filters=2, kernel_size=3, strides=2, output_padding=1)),
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
    ("Conv1D", (2, 7, 4), dict(filters=3, kernel_size=3, strides=2, dilation_rate=2)),
    ("Conv1D", (2, 2, 4), dict(filters=3, kernel_size=3)),
    ("Conv1D", (2, 7, 4), dict(filters=3, kernel_size=3, padding="full")),
    ("Conv1D", (2, 7), dict(filters=3, kernel_size=3)),
    ("Conv3D", (2, 4, 4, 4, 2), dict(filters=3, kernel_size=2, padding="causal")),
    ("Conv3D", (2, 4, 4, 4, 3), dict(filters=4, kernel_size=2, groups=2)),
    ("Conv3D", (2, 4, 4, 4), dict(filters=4, kernel_size=2)),
    ("Conv1DTranspose", (2, 5, 4), dict(filters=3, kernel_size=3, padding="causal")),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=0, kernel_size=3)),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=3, strides=2, output_padding=2)),
    ("Conv2DTranspose", (2, 4, 3, 4), dict(filters=3, kernel_size=3, strides=2, dilation_rate=2)),
    ("Conv2DTranspose", (2, 4, 3), dict(filters=3, kernel_size=3)),
    ("Conv3DTranspose", (2, 4, 3, 4, 2), dict(filters=3, kernel_size=(2, 2))),
]

CALLS_WRONG = [
    ("convolve", [(2, 4, 4, 1), (5, 5, 1, 2)], dict(), "Axis 1 .* size 4, less than the window's 5 without padding"),
    ("convolve", [(2, 4, 4, 1), (3, 3, 1, 2)], dict(dilation_rate=(1, 2)), "Axis 2 .* less than the window's 5"),
    ("convolve", [(2, 1, 5, 4), (5, 5, 1, 2)], dict(data_format="channels_first"), "Axis 3 of the input has size 4"),
    ("convolve", [(2, 4, 1), (3, 3, 1, 2)], dict(), "The input has 3 axes; a window over 2 spatial axes takes 4"),
    ("convolve", [(2, 4, 4, 3), (3, 3, 2, 2)], dict(), r"has 3 channels, the kernel of shape \(3, 3, 2, 2\) takes 2"),
    ("convolve", [(2, 4, 4, 4), (3, 3, 2, 3)], dict(), "several groups of equally many filters"),
    ("convolve", [(2, 4, 4, 1), (3, 3, 1, 2)], dict(strides=(1, 2, 3)), r"strides=\(1, 2, 3\) must be .*, or 2"),
    ("convolve", [(2, 4, 4, 1), (3, 3, 1, 2)], dict(strides=0), "strides=0 must be a positive integer"),
    ("convolve", [(2, 4, 4, 1), (3, 3, 1, 2)], dict(dilation_rate=0), "dilation=0 must be a positive integer"),
    ("convolve", [(2, 4, 4, 1), (3, 3, 1, 2)], dict(padding="full"), "'full' must be one of valid, same, causal"),
    ("convolve", [(2, 4, 4, 1), (3, 3, 1, 2)], dict(data_format="NCHW"), "'NCHW' must be one of channels_last"),
    ("convolve", [(2, 4), (4, 3)], dict(), r"an integer for every spatial axis; it is \(\)"),
    ("convolve_transposed", [(2, 4, 1), (3, 3, 2, 1)], dict(), "a window over 2 spatial axes takes 4"),
    ("convolve_transposed", [(2, 4, 4, 1), (3, 3, 2, 3)], dict(), "The input has 1 channels, the kernel .* takes 3"),
    ("convolve_transposed", [(2, 4, 4, 1), (3, 3, 2, 1)], dict(padding="causal"), "must be one of valid, same"),
    ("convolve_transposed", [(2, 4, 4, 1), (3, 3, 2, 1)], dict(strides=2, output_padding=2), "must be below strides"),
    ("convolve_transposed", [(2, 4, 4, 1), (3, 3, 2, 1)], dict(output_padding=(0, 0, 0)), "an integer, or 2"),
]

ANY_SIZE = [
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, activation="relu")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=(3, 2), padding="same")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2)),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=2, strides=3, padding="same")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, dilation_rate=2, padding="same")),
    ("Conv2D", IMAGES, dict(filters=4, kernel_size=3, groups=2, strides=2, padding="same")),
    ("Conv2D", IMAGES, dict(filters=4, kernel_size=2, groups=2)),
    ("Conv1D", SIGNALS, dict(filters=3, kernel_size=3, padding="causal")),
    ("Conv1D", SIGNALS, dict(filters=3, kernel_size=2, strides=2, padding="causal")),
    ("Conv1D", SIGNALS, dict(filters=3, kernel_size=3, strides=2, padding="same")),
    ("Conv3D", VOLUMES, dict(filters=3, kernel_size=(2, 3, 2), activation="relu")),
    ("Conv3D", VOLUMES, dict(filters=3, kernel_size=2, strides=(1, 2, 2), padding="same")),
    ("Conv1DTranspose", SIGNALS, dict(filters=3, kernel_size=3, strides=2, padding="same")),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=3, padding="same", activation="relu")),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=(3, 2), strides=2)),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=2, strides=3, padding="same", output_padding=2)),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=2, dilation_rate=2)),
    ("Conv3DTranspose", VOLUMES, dict(filters=2, kernel_size=2, strides=2, padding="same")),
]

PRECISIONS = [
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, activation="relu")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2, padding="same", activation="tanh")),
    ("Conv2D", IMAGES, dict(filters=4, kernel_size=3, groups=2, activation="sigmoid")),
    ("Conv1D", SIGNALS, dict(filters=3, kernel_size=3, padding="causal", activation="relu")),
    ("Conv3D", VOLUMES, dict(filters=3, kernel_size=2, strides=2)),
    ("Conv1DTranspose", SIGNALS, dict(filters=3, kernel_size=3)),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=3, strides=2, padding="same", activation="tanh")),
    ("Conv3DTranspose", (2, 3, 2, 2, 2), dict(filters=2, kernel_size=2, strides=(1, 2, 1))),
]

TWICE = [
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3)),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=3, strides=2, padding="same")),
    ("Conv2D", IMAGES, dict(filters=3, kernel_size=2, dilation_rate=2, activation="tanh")),
    ("Conv1D", SIGNALS, dict(filters=3, kernel_size=3, padding="causal", strides=2)),
    ("Conv3D", VOLUMES, dict(filters=2, kernel_size=2, strides=(1, 2, 1), padding="same")),
    ("Conv1DTranspose", SIGNALS, dict(filters=3, kernel_size=3, padding="same")),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=3, strides=2)),
    ("Conv2DTranspose", IMAGES, dict(filters=3, kernel_size=3, padding="same", activation="tanh")),
    ("Conv3DTranspose", VOLUMES, dict(filters=2, kernel_size=2, strides=2)),
]

CHECKED = {"convolve": "Conv2D", "convolve_transposed": "Conv2DTranspose"}
LINEAR = {"Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}


def sabotages():
    for operator, subject, shape in (
            ("Conv1D", lambda: L.Conv1D(3, 3, padding="causal"), (2, 7, 4)),
            ("Conv3D", lambda: L.Conv3D(3, 2, padding="same"), (2, 3, 4, 3, 2)),
            ("Conv2D", lambda: L.Conv2D(3, 3), IMAGES), ("Conv2D", lambda: L.Conv2D(3, 3, padding="same"), IMAGES)):
        conv = dict(module=convolution, operator=operator, subject=subject, tensors=(shape,))
        yield Sabotage(**conv, formula="input_gradient", changes={"input"})
        yield Sabotage(**conv, formula="kernel_gradient", changes={"kernel"})
        yield Sabotage(dense, "bias_gradient", "Dense", subject, {"bias"}, tensors=(shape,))
    conv = dict(module=convolution, operator="Conv2D")
    strided = lambda: L.Conv2D(3, 3, strides=2)                                         # noqa: E731
    yield Sabotage(**conv, formula="input_gradient_transposed", subject=strided, changes={"input"})
    grouped = dict(conv, subject=lambda: L.Conv2D(4, 3, groups=2), limits={"MANY_GROUPS": 1})
    yield Sabotage(**grouped, formula="input_gradient_by_taps", changes={"input"})
    yield Sabotage(**grouped, formula="kernel_gradient_by_groups", changes={"kernel"})
    yield Sabotage(**conv, formula="kernel_gradient_by_taps", subject=lambda: L.Conv2D(3, 1), changes={"kernel"})
    if keras.backend.backend() != "torch":
        yield Sabotage(**conv, formula="kernel_gradient_by_channels", subject=lambda: L.Conv2D(3, 3), changes={"kernel"})
    yield Sabotage(**conv, formula="kernel_gradient_beside", subject=lambda: L.Conv2D(2, 3), tensors=((2, 5, 4, 8),),
                   changes={"kernel"})
    for operator, subject, shape in (
            ("Conv1DTranspose", lambda: L.Conv1DTranspose(3, 3, strides=2, padding="same"), (2, 5, 4)),
            ("Conv3DTranspose", lambda: L.Conv3DTranspose(3, 2), (2, 2, 3, 2, 3)),
            ("Conv2DTranspose", lambda: L.Conv2DTranspose(3, 3, strides=2), (2, 3, 4, 4))):
        back = dict(module=transposed, operator=operator, subject=subject, tensors=(shape,))
        yield Sabotage(**back, formula="transposed_input_gradient", changes={"input"})
        yield Sabotage(**back, formula="transposed_kernel_gradient", changes={"kernel"})
        yield Sabotage(**back, formula="uncut", changes={"input", "kernel"}, output=0)
        yield Sabotage(dense, "bias_gradient", "Dense", subject, {"bias"}, tensors=(shape,))
