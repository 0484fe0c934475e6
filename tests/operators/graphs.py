"""Graph convolution."""
import numpy as np
from keras import ops

from cnn_repro import layers as L
from cnn_repro.layers import graph

from .sabotage import Sabotage

EDGES = np.array([(0, 1), (1, 0), (1, 2), (2, 1), (3, 3), (4, 0)], "int32")

OWN_WRONG = [
    ("GraphConvolution", [(5, 3), (5, 5)], dict(units=0), "units=0 must be positive"),
    ("ChebyshevConvolution", [(5, 3), (5, 5)], dict(units=0), "units=0 must be positive"),
]

CALLS_WRONG = [
    ("graph_convolve", [(5, 3), (2, 5, 5), (3, 2)], dict(), r"adjacency has shape \(2, 5, 5\), .* must be \(5, 5\)"),
    ("graph_convolve", [(5, 3), (4, 4), (3, 2)], dict(), r"adjacency has shape \(4, 4\), .* must be \(5, 5\)"),
    ("graph_convolve", [(5, 3), (5, 5), (4, 2)], dict(), r"kernel has shape \(4, 2\), for 3 features"),
    ("graph_convolve", [(3,), (5, 5), (3, 2)], dict(), r"features have shape \(3,\)"),
    ("chebyshev_convolve", [(5, 3), (4, 4)], dict(kernels=[np.ones((3, 2))] * 2), r"adjacency has shape \(4, 4\)"),
    ("chebyshev_convolve", [(5, 3), (5, 5)], dict(kernels=[np.ones((4, 2))] * 2), r"kernel has shape \(4, 2\)"),
    ("graph_convolve", [(5, 3)], dict(graph=[EDGES, []], kernel=np.ones((3, 2))), r"a tuple \(edges, weights\), not a"),
    ("graph_convolve", [(5, 3)], dict(graph=(np.zeros((4, 3)), np.ones(4)), kernel=np.ones((3, 2))), r"\(E, 2\) and"),
    ("normalized_adjacency", [(3, 4)], dict(), r"shape \(3, 4\); it must be \(V, V\)"),
    ("normalized_edges", [], dict(edges=[(0, 7)], nodes=5), "nodes from 0 to 7; there are 5"),
]

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
