"""The operators as plain NumPy loops: their definition, slow and obvious.

Every gradient is written as the contribution of one term of the forward sum, added up: no flips, no dilation, no
transposition, so that it can be checked by eye against the forward loop above it. Channels last.
"""
from .activations import (relu, relu_gradient, scaled_tanh, scaled_tanh_gradient, sigmoid, sigmoid_gradient, tanh,
                          tanh_gradient)
from .convolutions import convolution, convolution_gradients
from .differences import central_differences
from .normalizations import batch_norm, batch_norm_gradients
from .pools import (average_pool, average_pool_gradient, global_average_pool, global_average_pool_gradient, max_pool,
                    max_pool_gradient, subsampling, subsampling_gradients)
from .structures import pad_channels, pad_channels_gradient
from .units import dense, dense_gradients, map_loss, map_loss_gradient, radial, radial_gradients
from .windows import padding_of
