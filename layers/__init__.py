"""The namespace of layers: those whose backward pass is written out here, and stock Keras for the rest.

    from cnn_repro.layers import Conv2D          # in place of keras.layers.Conv2D
    from cnn_repro import layers as L            # L.Conv2D is ours, L.Flatten is keras.layers.Flatten
"""
import keras

from .activation import (Activation, LeakyReLU, ReLU, Softmax, leaky_relu, relu, scaled_tanh, sigmoid, softmax,
                         tanh)
from .attention import NonLocal, attend
from .blur import (BlurPooling1D, BlurPooling2D, MaxBlurPooling1D, MaxBlurPooling2D, blur_pool, max_blur_pool,
                   reflect_pad)
from .capsule import (CapsuleLength, DynamicRouting, PrimaryCapsules, capsule_length, margin_loss, routing,
                      squash)
from .convolution import Conv1D, Conv2D, Conv3D, convolve
from .dense import Dense
from .depthwise import (DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D, depthwise_convolve,
                        separable_convolve)
from .dropout import Dropout, ScheduledDropPath, drop
from .filters import FilterBank, FixedFilters2D, apply_filters
from .gradient import with_gradient
from .graph import (ChebyshevConvolution, GraphConvolution, chebyshev_convolve, graph_convolve, normalized_adjacency,
                    normalized_edges)
from .initializer import FanIn
from .local import LocallyConnected1D, LocallyConnected2D, locally_connect
from .loss import softmax_cross_entropy
from .normalization import BatchNormalization
from .pooling import (AveragePooling1D, AveragePooling2D, AveragePooling3D, GlobalAveragePooling1D,
                      GlobalAveragePooling2D, GlobalAveragePooling3D, GlobalMaxPooling1D, GlobalMaxPooling2D,
                      GlobalMaxPooling3D, MaxPooling1D, MaxPooling2D, MaxPooling3D, Subsampling2D, average_pool,
                      global_average_pool, global_max_pool, max_pool)
from .radial import RadialBasis, map_loss
from .response import LocalResponseNormalization, MapResponseNormalization, normalize_response
from .scores import ClassScores
from .structure import Add, ChannelShuffle, Concatenate, HighwayGate, PadChannels, highway, shuffle_channels
from .table import TableConv2D
from .toeplitz import convolve_as_dense, toeplitz_matrix
from .transposed import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, convolve_transposed

__all__ = [
    "Activation", "Add", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "BatchNormalization",
    "BlurPooling1D", "BlurPooling2D", "CapsuleLength", "ChannelShuffle", "ChebyshevConvolution", "ClassScores",
    "Concatenate", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense",
    "DepthwiseConv1D", "DepthwiseConv2D", "Dropout", "DynamicRouting", "FanIn", "FilterBank", "FixedFilters2D",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GraphConvolution", "HighwayGate", "LeakyReLU",
    "LocalResponseNormalization", "LocallyConnected1D", "LocallyConnected2D", "MapResponseNormalization",
    "MaxBlurPooling1D", "MaxBlurPooling2D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "NonLocal", "PadChannels",
    "PrimaryCapsules", "RadialBasis", "ReLU", "ScheduledDropPath", "SeparableConv1D", "SeparableConv2D", "Softmax",
    "Subsampling2D", "TableConv2D", "apply_filters", "attend", "average_pool", "blur_pool", "capsule_length", "chebyshev_convolve",
    "convolve", "convolve_as_dense", "convolve_transposed", "depthwise_convolve", "drop", "global_average_pool",
    "global_max_pool", "graph_convolve", "highway", "leaky_relu", "locally_connect", "map_loss", "margin_loss",
    "max_blur_pool", "max_pool", "normalize_response", "normalized_adjacency", "normalized_edges", "reflect_pad",
    "relu", "routing", "scaled_tanh", "separable_convolve", "shuffle_channels", "sigmoid", "softmax",
    "softmax_cross_entropy", "squash", "tanh", "toeplitz_matrix", "with_gradient",
]


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return getattr(keras.layers, name)
    except AttributeError:
        raise AttributeError(f"neither cnn_repro.layers nor keras.layers has {name!r}") from None
