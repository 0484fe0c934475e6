"""Graph convolution."""
import numpy as np
from keras import ops

from cnn_repro import layers as L
from cnn_repro.layers import graph

from .sabotage import Sabotage

EDGES = np.array([(0, 1), (1, 0), (1, 2), (2, 1), (3, 3), (4, 0)], "int32")

CHECKED = {"graph_convolve": "GraphConvolution", "chebyshev_convolve": "ChebyshevConvolution"}
LINEAR = {"GraphConvolution", "ChebyshevConvolution"}


def along_edges(h, weights, kernel):
    return L.graph_convolve(h, (ops.convert_to_tensor(EDGES), weights), kernel)


def filtered(h, laplacian, *kernels):
    return L.chebyshev_convolve(h, laplacian, kernels)


def sabotages():
    dense = dict(module=graph, operator="GraphConvolution", subject=lambda: L.graph_convolve,
                 tensors=((5, 4), (5, 5), (4, 3)), names=("features", "adjacency", "kernel"))
    narrow = dense | dict(tensors=((5, 2), (5, 5), (2, 3)))         # where Â H comes first
    yield Sabotage(**narrow, formula="feature_gradient", changes={"features"})
    yield Sabotage(**dense, formula="feature_gradient", changes={"features", "kernel"})
    yield Sabotage(**dense, formula="adjacency_gradient", changes={"adjacency"})
    sparse = dense | dict(subject=lambda: along_edges, tensors=((5, 4), (6,), (4, 3)),
                          names=("features", "weights", "kernel"))
    yield Sabotage(**sparse, formula="edge_feature_gradient", changes={"features", "kernel"})
    yield Sabotage(**sparse, formula="edge_weight_gradient", changes={"weights"})
    kernels = [f"kernel {k}" for k in range(5)]                     # of as high an order as the check's
    filters = dict(module=graph, operator="ChebyshevConvolution", subject=lambda: filtered,
                   tensors=((5, 4), (5, 5), *(5 * ((4, 3),))), names=("features", "laplacian", *kernels))
    yield Sabotage(**filters, formula="chebyshev_graph_gradient", changes={"laplacian"})
    yield Sabotage(**filters, formula="chebyshev_gradient", changes={"features", "laplacian", *kernels})
