"""Locally connected layers, a convolution as one dense product, and fixed filters."""
import keras

from cnn_repro import layers as L
from cnn_repro.layers import dense, depthwise, local, toeplitz

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)
LAPLACE = [[[0, 1, 0], [1, -4, 1], [0, 1, 0]]]

OWN = [
    ("LocallyConnected2D", (2, 6, 5, 3), dict(filters=2, kernel_size=3)),
    ("LocallyConnected2D", (2, 6, 5, 3), dict(filters=2, kernel_size=(3, 2), strides=(2, 1), padding="SAME",
                                              activation="relu", use_bias=False)),
    ("LocallyConnected2D", (2, 3, 6, 5), dict(
        filters=2, kernel_size=2, data_format="channels_first", kernel_initializer=L.FanIn(2.4, inputs=12),
        kernel_regularizer=keras.regularizers.L2(0.1), bias_constraint="non_neg",
        activity_regularizer=keras.regularizers.L2(0.2))),
    ("LocallyConnected1D", (2, 7, 3), dict(filters=4, kernel_size=3, strides=2, activation=L.scaled_tanh)),
    ("LocallyConnected1D", (2, 3, 7), dict(filters=4, kernel_size=3, padding="same", data_format="channels_first")),
    ("FixedFilters2D", (2, 6, 5, 3), dict()),
    ("FixedFilters2D", (2, 3, 6, 5), dict(kernels="prewitt", padding="SAME", data_format="channels_first")),
    ("FixedFilters2D", (2, 6, 5, 1), dict(kernels=LAPLACE)),
]

OWN_WRONG = [
    ("LocallyConnected2D", (2, 6, 5, 3), dict(filters=0, kernel_size=3), "^filters=0 must be a positive integer.$"),
    ("LocallyConnected2D", (2, 6, 5, 3), dict(filters=2, kernel_size=(1, 2, 3)), r"kernel_size=\(1, 2, 3\) .*, or 2"),
    ("LocallyConnected1D", (2, 6, 3), dict(filters=2, kernel_size=3, strides=-1), "strides=-1 must be a positive"),
    ("LocallyConnected2D", (2, 6, 5, 3), dict(filters=2, kernel_size=3, padding="causal"), "'causal' .* valid, sa"),
    ("LocallyConnected2D", (2, 6, 5, 3), dict(filters=2, kernel_size=3, data_format="NCHW"), "'NCHW' must be"),
    ("LocallyConnected2D", (2, 6, 5), dict(filters=2, kernel_size=3), r"2D takes 4 axes, not .* shape \(2, 6,"),
    ("LocallyConnected2D", (2, 2, 5, 3), dict(filters=2, kernel_size=3), r"size \(2, 5\), less than .* \(3, 3\)"),
    ("FixedFilters2D", (2, 6, 5, 3), dict(kernels="roberts"), "'roberts' must be one of sobel, prewitt, or filters"),
    ("FixedFilters2D", (2, 6, 5, 3), dict(kernels=LAPLACE[0]), r"must be filters .*, not of shape \(3, 3\)"),
    ("FixedFilters2D", (2, 6, 5, 3), dict(padding="full"), "padding='full' must be one of valid, same"),
    ("FixedFilters2D", (2, 6, 5, 3), dict(data_format="NHWC"), "data_format='NHWC' must be one of channels_last"),
    ("FixedFilters2D", (2, 5, 3), dict(), r"takes 4 axes, not an input of shape \(2, 5, 3\)"),
    ("FixedFilters2D", (2, 2, 5, 3), dict(), r"size \(2, 5\), less than the filters' \(3, 3\)"),
]

CALLS_WRONG = [
    ("locally_connect", [(2, 4, 1), (4, 9, 2)], dict(kernel_size=(3, 3)), "a window over 2 spatial axes takes 4"),
    ("locally_connect", [(2, 4, 4, 1), (5, 9, 2)], dict(kernel_size=(3, 3)), r"must be \(4, 9, K\)"),
    ("locally_connect", [(2, 4, 4, 1), (9, 2)], dict(kernel_size=(3, 3)), r"must be \(4, 9, K\)"),
    ("locally_connect", [(2, 4, 4, 1), (4, 9, 2)], dict(kernel_size=3), "an integer for every spatial axis; it is 3"),
    ("toeplitz_matrix", [(3, 3, 1, 2)], dict(input_shape=(4, 1)), "a window over 2 spatial axes takes 4"),
    ("toeplitz_matrix", [(3, 3, 2, 2)], dict(input_shape=(4, 4, 3)), "The input has 3 channels, the kernel"),
    ("apply_filters", [(2, 2, 4, 1)], dict(kernels="sobel"), "Axis 1 of the input has size 2, less than"),
]

ANY_SIZE = [
    ("FixedFilters2D", IMAGES, dict()),
    ("FixedFilters2D", IMAGES, dict(kernels="prewitt", padding="same")),
]

PRECISIONS = [
    ("LocallyConnected2D", IMAGES, dict(filters=3, kernel_size=3, activation="relu")),
    ("LocallyConnected2D", IMAGES, dict(filters=3, kernel_size=2, strides=2, padding="same", activation="tanh")),
    ("FixedFilters2D", IMAGES, dict(padding="same")),
]

CHECKED = {"locally_connect": "LocallyConnected2D", "convolve_as_dense": "Toeplitz form",
           "toeplitz_matrix": "Toeplitz form", "apply_filters": "FixedFilters2D"}
LINEAR = {"LocallyConnected2D", "Toeplitz form", "FixedFilters2D"}


def sabotages():
    images = lambda: L.LocallyConnected2D(3, 3, padding="same")                         # noqa: E731
    yield Sabotage(local, "local_input_gradient", "LocallyConnected2D", images, {"input"})
    yield Sabotage(local, "local_kernel_gradient", "LocallyConnected2D", images, {"kernel"})
    yield Sabotage(local, "local_bias_gradient", "LocallyConnected1D", lambda: L.LocallyConnected1D(3, 3), {"bias"},
                   tensors=((2, 6, 4),))
    product = dict(subject=lambda: L.convolve_as_dense, names=("input", "kernel"),
                   tensors=((2, 5, 4, 2), (3, 2, 2, 3)))
    yield Sabotage(toeplitz, "shared_weight_gradient", "Toeplitz form", changes={"kernel"}, **product)
    yield Sabotage(dense, "dense_input_gradient", "Dense", changes={"input"}, **product)
    yield Sabotage(dense, "dense_kernel_gradient", "Dense", changes={"kernel"}, **product)
    yield Sabotage(depthwise, "depthwise_input_gradient", "DepthwiseConv2D", L.FixedFilters2D, {"input"})
