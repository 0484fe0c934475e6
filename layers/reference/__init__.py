"""The operators as plain NumPy loops: their definition, slow and obvious.

Every gradient is written as the contribution of one term of the forward sum, added up: no flips, no dilation, no
transposition, so that it can be checked by eye against the forward loop above it. Channels last.
"""
from .activations import (relu, relu_gradient, scaled_tanh, scaled_tanh_gradient, sigmoid, sigmoid_gradient, softmax,
                          softmax_gradient, tanh, tanh_gradient)
from .attentions import attend, attend_gradients
from .capsules import (capsule_length, capsule_length_gradient, dynamic_routing, dynamic_routing_gradients,
                       margin_loss, margin_loss_gradient, squash, squash_gradient)
from .convolutions import (convolution, convolution_gradients, transposed_convolution,
                           transposed_convolution_gradients)
from .depthwise import depthwise_convolution, depthwise_gradients, separable_convolution, separable_gradients
from .differences import central_differences
from .graphs import (chebyshev_convolution, chebyshev_gradients, edges_of, graph_convolution,
                     graph_convolution_gradients, renormalized)
from .local import (fixed_filters, fixed_filters_gradient, local_bias_gradient, locally_connected,
                    locally_connected_gradients, toeplitz)
from .losses import cross_entropy, cross_entropy_gradient
from .normalizations import (batch_norm, batch_norm_gradients, map_response_norm, map_response_norm_gradient,
                             response_norm, response_norm_gradient)
from .pools import (average_pool, average_pool_gradient, blur_pool, blur_pool_gradient, global_average_pool,
                    global_average_pool_gradient, global_max_pool, global_max_pool_gradient, max_pool,
                    max_pool_gradient, reflect_pad, reflect_pad_gradient, subsampling, subsampling_gradients)
from .structures import (add, add_gradients, concatenate, concatenate_gradients, dropout, dropout_gradient, highway,
                         highway_gradients, pad_channels, pad_channels_gradient, shuffle_channels,
                         shuffle_channels_gradient)
from .units import dense, dense_gradients, map_loss, map_loss_gradient, radial, radial_gradients
from .windows import padding_of
