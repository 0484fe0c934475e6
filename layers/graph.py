"""Graph convolution and its gradients.

    H′ = σ(Â H W)                   dH = Âᵀ dY Wᵀ       dW = (Â H)ᵀ dY       dÂ = dY (H W)ᵀ
    h′_i = σ(Σ_j Â_ij h_j W)        the same, node by node; Â_ij weights what node j tells node i

Along a list of edges e = (s → t) of weight a, which is Â without its zeros:

    y_i = Σ_{e: t = i} a_e h_s      dh_j = Σ_{e: s = j} a_e dy_t: every edge turned round      da_e = h_s · dy_t

Â is one of the propagation rules of the paper's table 3 (`normalized_adjacency`, `normalized_edges`):

    renormalized        D̃^−½ (A + I) D̃^−½           equations (2) and (8): "renormalization trick"
    single_parameter    I + D^−½ A D^−½             equation (7)
    neighbours          D^−½ A D^−½                 with `self_weight` equation (6): X W₀ + Â X W₁, "1st-order model"

D is the diagonal of A's row sums, D̃ that of A + I. The lecture note's own formula is the last: its 1/c_ij is
1/√(d_i d_j).  Source: Kipf and Welling 2017, sections 2 and 6.2; lecture note 002, section 2.2.
"""
import keras
import numpy as np
from keras import ops

from .activation import activate
from .dense import add_bias, multiply
from .gradient import with_gradient
from .initializer import another
from .structure import add
from .window import check_positive, differ

RULES = ("renormalized", "single_parameter", "neighbours")


def graph_convolve(h, graph, kernel):
    """Â H W for the features h (V, F) or (B, V, F) of V nodes and kernel (F, F′) → (V, F′) or (B, V, F′).

    graph: Â as an array, (V, V) or (B, V, V); or, for h (V, F), a pair of edges (E, 2), integers (source, target),
    and weights (E,). The array and the weights have a gradient, the edges have none. ValueError for other shapes.
    """
    if isinstance(graph, list):
        raise ValueError("The graph is an array Â or a tuple (edges, weights), not a list.")
    features = _checked_shapes([h.shape, *(one.shape for one in (graph if isinstance(graph, tuple) else [graph]))])
    if len(kernel.shape) != 2 or differ(kernel.shape[0], features[-1]):
        raise ValueError(f"The kernel has shape {tuple(kernel.shape)}, for {features[-1]} features it must be "
                         f"({features[-1]}, F′).")
    along = propagate_edges if isinstance(graph, tuple) else propagate
    if kernel.shape[0] < kernel.shape[1]:               # (Â H) W = Â (H W): the narrower one goes along the edges
        return multiply(along(h, graph), kernel)
    return along(multiply(h, kernel), graph)


def propagate(h, adjacency):
    """Â H: every node's weighted sum over its neighbours, in the shape of h."""
    def backward(dy, y, h, adjacency):
        return feature_gradient(dy, adjacency), adjacency_gradient(dy, h)

    return with_gradient(lambda h, adjacency: ops.matmul(adjacency, h), backward, h, adjacency)


def propagate_edges(h, graph):
    """The same along edges."""
    edges, weights = graph
    sources, targets = edges[:, 0], edges[:, 1]

    def backward(dy, y, h, weights):
        return edge_feature_gradient(dy, sources, targets, weights), edge_weight_gradient(dy, h, sources, targets)

    return with_gradient(lambda h, weights: send(h, sources, targets, weights), backward, h, weights)


def send(h, sources, targets, weights):
    """Every edge takes its weight times its source's features to its target, where they add up."""
    messages = weights[:, None] * ops.take(h, sources, axis=0)
    return ops.segment_sum(messages, targets, num_segments=ops.shape(h)[0])


def feature_gradient(dy, adjacency):
    """dH = Âᵀ dY."""
    return ops.matmul(ops.swapaxes(adjacency, -1, -2), dy)


def adjacency_gradient(dy, h):
    """dÂ = dY Hᵀ."""
    return ops.matmul(dy, ops.swapaxes(h, -1, -2))


def edge_feature_gradient(dy, sources, targets, weights):
    """dh_j = Σ_{e: s = j} a_e dy_t."""
    return send(dy, targets, sources, weights)


def edge_weight_gradient(dy, h, sources, targets):
    """da_e = h_s · dy_t."""
    return ops.sum(ops.take(h, sources, axis=0) * ops.take(dy, targets, axis=0), axis=-1)


def normalized_adjacency(adjacency, rule="renormalized"):
    """Â of the NumPy array A (V, V) or (B, V, V) by one of RULES, in A's floating dtype. Without edges: zeros."""
    a = np.asarray(adjacency)
    a = a if np.issubdtype(a.dtype, np.floating) else a.astype("float64")
    _known(rule)
    if a.ndim not in (2, 3) or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"The adjacency has shape {a.shape}; it must be (V, V) or (B, V, V).")
    loops = np.eye(a.shape[-1], dtype=a.dtype)
    if rule == "renormalized":
        a = a + loops
    scale = _inverse_root(a.sum(-1))
    a = scale[..., :, None] * a * scale[..., None, :]
    return a + loops if rule == "single_parameter" else a


def normalized_edges(edges, nodes, weights=None, rule="renormalized"):
    """(edges, weights) of Â, for the edges (E, 2) of A as integers (source, target), self-loops appended.

    An undirected edge is listed both ways. nodes: their number V. weights: of the edges of A, default 1. Returns
    NumPy arrays, int32 and float32, as `GraphConvolution` takes them. Several graphs go as one: their edges, the
    nodes numbered on.
    """
    edges = np.asarray(edges, "int32").reshape(-1, 2)
    weights = np.ones(len(edges)) if weights is None else np.asarray(weights, "float64")
    _known(rule)
    if edges.size and not 0 <= edges.min() <= edges.max() < nodes:
        raise ValueError(f"The edges name nodes from {edges.min()} to {edges.max()}; there are {nodes}, from 0 on.")
    loops = np.repeat(np.arange(nodes, dtype="int32")[:, None], 2, axis=1)
    if rule == "renormalized":
        edges, weights = np.concatenate([edges, loops]), np.concatenate([weights, np.ones(nodes)])
    sources, targets = edges.T
    scale = _inverse_root(np.bincount(targets, weights, minlength=nodes))
    weights = scale[targets] * weights * scale[sources]
    if rule == "single_parameter":
        edges, weights = np.concatenate([edges, loops]), np.concatenate([weights, np.ones(nodes)])
    return edges, weights.astype("float32")


def _known(rule):
    if rule not in RULES:
        raise ValueError(f"no propagation rule {rule!r}; there are {', '.join(RULES)}")


def _inverse_root(degrees):
    """d^−½; 0 for a node without edges."""
    linked = degrees > 0
    return np.where(linked, np.where(linked, degrees, 1)**-0.5, 0).astype(degrees.dtype)


@keras.saving.register_keras_serializable(package="cnn_repro")
class GraphConvolution(keras.layers.Layer):
    """Graph convolution σ(Â H W) whose backward pass is written out (this module's formulas).

    Called with [features, adjacency]: (B, V, F) and (B, V, V), or for one graph (V, F) and (V, V).
    Called with [features, edges, weights]: (V, F), (E, 2) integers (source, target) and (E,). In a functional model
    these are Input((F,)), Input((2,), dtype="int32") and Input(()): nodes and edges take the place of the batch.
    Adjacency and weights are those of Â, already normalised. Output: the features' shape with `units` at its end.

    self_weight: a second kernel W₀ for the node itself, σ(H W₀ + Â H W), equation (6) and the lecture note's formula.
    use_bias: the paper has none.  Padding nodes of zeros without edges stay zeros, as long as there is no bias.
    Source: Kipf and Welling 2017, equation (2).
    """

    def __init__(self, units, activation=None, use_bias=False, self_weight=False,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias, self.self_weight = int(units), bool(use_bias), bool(self_weight)
        check_positive(units=self.units)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        features = _checked_shapes(input_shape)
        self.kernel = self._kernel("kernel", 0, features[-1])
        self.self_kernel = self._kernel("self_kernel", 1, features[-1]) if self.self_weight else None
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer=self.bias_initializer)
        self.built = True

    def _kernel(self, name, index, features):
        return self.add_weight(name=name, shape=(features, self.units), regularizer=self.kernel_regularizer,
                               initializer=another(self.kernel_initializer, index))

    def call(self, inputs):
        h, *graph = inputs
        y = graph_convolve(h, graph[0] if len(graph) == 1 else tuple(graph), self.kernel)
        if self.self_weight:
            y = add([y, multiply(h, self.self_kernel)])
        if self.use_bias:
            y = add_bias(y, self.bias)
        return activate(self.activation, y)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias,
                "self_weight": self.self_weight, "activation": keras.activations.serialize(self.activation),
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
                "bias_initializer": keras.initializers.serialize(self.bias_initializer),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer)}


def _checked_shapes(shapes) -> tuple:
    """The features' shape, if the others go with it."""
    if isinstance(shapes[0], (int, type(None))) or len(shapes) not in (2, 3):
        raise ValueError("GraphConvolution takes [features, adjacency] or [features, edges, weights].")
    features, *graph = (tuple(shape) for shape in shapes)
    if len(features) not in (2, 3):
        raise ValueError(f"The features have shape {features}; they must be (V, F) or (B, V, F).")
    if len(graph) == 1:
        nodes = features[:-1]
        if len(graph[0]) != len(features) or not _agree(graph[0], (*nodes, nodes[-1])):
            raise ValueError(f"The adjacency has shape {graph[0]}, for features of shape {features} "
                             f"it must be {(*nodes, nodes[-1])}.")
    elif len(features) != 2 or len(graph[0]) != 2 or graph[0][1] != 2 or not _agree(graph[1], graph[0][:1]):
        raise ValueError(f"Features, edges and weights have the shapes {features}, {graph[0]} and {graph[1]}; "
                         "they must be (V, F), (E, 2) and (E,).")
    return features


def _agree(shape, other) -> bool:
    """Equal as far as they are known."""
    return len(shape) == len(other) and not any(differ(a, b) for a, b in zip(shape, other))
