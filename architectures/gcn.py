"""Semi-Supervised Classification with Graph Convolutional Networks. Kipf, Welling. ICLR 2017. arXiv:1609.02907.

Equation 9 with section 5.2's 16 hidden units, on Cora's 1,433 features and 7 classes; other data sets are the
arguments `input_shape` and `classes`. The networks take [features, adjacency]: (V, F) of the V nodes of one graph,
and Â (V, V), which `layers.normalized_adjacency` makes of the graph by the network's `rule`. Every row of table 3 is a
network: "single parameter" and "1st-order term only" differ from `gcn` by Â alone; the 1st-order model has a second
kernel for the node itself; `gcn_chebyshev2` and `…3` take the scaled Laplacian for Â, and one more kernel for
every order of the polynomials (equation 5); the multi-layer perceptron looks at no graph. Dropout 0.5 before both
layers, Glorot's initial weights and no biases are those of section 5.2, section 3.1 and the authors' program
(github.com/tkipf/gcn).
"""
from functools import partial

import keras

from .registry import Architecture, register

HIDDEN = 16


def graph(shape):
    """[features, adjacency] of one graph, its nodes in place of the batch."""
    return [keras.Input(shape, name="input"), keras.Input((None,), name="adjacency")]


def plain(units, L, **arguments):
    return L.GraphConvolution(units, **arguments)


def first_order(units, L, **arguments):
    return L.GraphConvolution(units, self_weight=True, **arguments)


def chebyshev(units, L, order, **arguments):
    return L.ChebyshevConvolution(units, order, **arguments)


def body(inputs, L, layer=plain):
    """H = ReLU(Â X W0)."""
    x, adjacency = inputs
    x = L.Dropout(0.5, name="layer1_dropout")(x)
    return layer(HIDDEN, L, activation="relu", name="layer1")([x, adjacency])


def head(x, classes, L, layer=plain):
    """Â H W1, with the Â that H was made with: the logits of every node."""
    _, adjacency = x._keras_history.operation.input
    x = L.Dropout(0.5, name="layer2_dropout")(x)
    return layer(classes, L, name="layer2")([x, adjacency])


def perceptron_body(x, L):
    """Every node for itself."""
    x = L.Dropout(0.5, name="layer1_dropout")(x)
    return L.Dense(HIDDEN, activation="relu", use_bias=False, name="layer1")(x)


def perceptron_head(x, classes, L):
    x = L.Dropout(0.5, name="layer2_dropout")(x)
    return L.Dense(classes, use_bias=False, name="layer2")(x)


for name, title, layer, rule in (
        ("gcn", "GCN, renormalised", plain, "renormalized"),
        ("gcn_single_parameter", "GCN, single parameter", plain, "single_parameter"),
        ("gcn_first_order_term", "GCN, 1st-order term only", plain, "neighbours"),
        ("gcn_first_order", "GCN, 1st-order model", first_order, "neighbours"),
        ("gcn_chebyshev2", "GCN, Chebyshev filters of order 2", partial(chebyshev, order=2), "scaled_laplacian"),
        ("gcn_chebyshev3", "GCN, Chebyshev filters of order 3", partial(chebyshev, order=3), "scaled_laplacian")):
    register(Architecture(name, title, partial(body, layer=layer), partial(head, layer=layer), (1433,), 7,
                          smallest=(5,), inputs=graph, rule=rule))
register(Architecture("gcn_mlp", "GCN's baseline without the graph", perceptron_body, perceptron_head, (1433,), 7,
                      smallest=(5,)))
