"""The namespace of layers: those whose backward pass is written out here, and stock Keras for the rest.

    from cnn_repro.layers import Conv2D          # in place of keras.layers.Conv2D
    from cnn_repro import layers as L            # L.Conv2D is ours, L.Flatten is keras.layers.Flatten
"""
import keras

from .activation import Activation, ReLU, relu, scaled_tanh, sigmoid, tanh
from .convolution import Conv2D, TableConv2D, convolve
from .dense import Dense
from .gradient import with_gradient
from .initializer import FanIn
from .normalization import BatchNormalization
from .pooling import (AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D, Subsampling2D, average_pool,
                      global_average_pool, max_pool)
from .radial import RadialBasis, map_loss
from .scores import ClassScores
from .structure import PadChannels

__all__ = [
    "Activation", "AveragePooling2D", "BatchNormalization", "ClassScores", "Conv2D", "Dense", "FanIn",
    "GlobalAveragePooling2D", "MaxPooling2D", "PadChannels", "RadialBasis", "ReLU", "Subsampling2D", "TableConv2D",
    "average_pool", "convolve", "global_average_pool", "map_loss", "max_pool", "relu", "scaled_tanh", "sigmoid",
    "tanh", "with_gradient",
]


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return getattr(keras.layers, name)
    except AttributeError:
        raise AttributeError(f"neither cnn_repro.layers nor keras.layers has {name!r}") from None
