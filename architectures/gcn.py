"""Semi-Supervised Classification with Graph Convolutional Networks. Kipf, Welling. ICLR 2017. arXiv:1609.02907.

Equation 9 with section 5.2's 16 hidden units, on Cora's 1,433 features and 7 classes; other data sets are the
arguments `input_shape` and `classes`. The networks take [features, adjacency]: (V, F) of the V nodes of one graph,
and Â (V, V), which `layers.normalized_adjacency` makes of the graph. Of table 3 two rows are networks of their own:
the 1st-order model, which has a second kernel for the node itself and takes Â of the rule "neighbours", and the
multi-layer perceptron. "Single parameter" and "1st-order term only" are `gcn` with another Â. The Chebyshev filters
are not built. Dropout 0.5 before both layers, Glorot's initial weights and no biases are those of section 5.2,
section 3.1 and the authors' program (github.com/tkipf/gcn).
"""
from functools import partial

import keras

from .registry import Architecture, register

HIDDEN = 16


def graph(shape):
    """[features, adjacency] of one graph, its nodes in place of the batch."""
    return [keras.Input(shape, name="input"), keras.Input((None,), name="adjacency")]


def body(inputs, L, self_weight=False):
    """H = ReLU(Â X W0)."""
    x, adjacency = inputs
    x = L.Dropout(0.5, name="layer1_dropout")(x)
    return L.GraphConvolution(HIDDEN, activation="relu", self_weight=self_weight, name="layer1")([x, adjacency])


def head(x, classes, L, self_weight=False):
    """Â H W1, with the Â that H was made with: the logits of every node."""
    _, adjacency = x._keras_history.operation.input
    x = L.Dropout(0.5, name="layer2_dropout")(x)
    return L.GraphConvolution(classes, self_weight=self_weight, name="layer2")([x, adjacency])


def perceptron_body(x, L):
    """Every node for itself."""
    x = L.Dropout(0.5, name="layer1_dropout")(x)
    return L.Dense(HIDDEN, activation="relu", use_bias=False, name="layer1")(x)


def perceptron_head(x, classes, L):
    x = L.Dropout(0.5, name="layer2_dropout")(x)
    return L.Dense(classes, use_bias=False, name="layer2")(x)


register(Architecture("gcn", "GCN, renormalised", body, head, (1433,), 7, smallest=(5,), inputs=graph))
register(Architecture("gcn_first_order", "GCN, 1st-order model", partial(body, self_weight=True),
                      partial(head, self_weight=True), (1433,), 7, smallest=(5,), inputs=graph))
register(Architecture("gcn_mlp", "GCN's baseline without the graph", perceptron_body, perceptron_head, (1433,), 7,
                      smallest=(5,)))
