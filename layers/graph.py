"""Graph convolution and its gradients.

    H′ = σ(Â H W)                   dH = Âᵀ dY Wᵀ       dW = (Â H)ᵀ dY       dÂ = dY (H W)ᵀ
    h′_i = σ(Σ_j Â_ij h_j W)        the same, node by node; Â_ij weights what node j tells node i

Along a list of edges e = (s → t) of weight a, which is Â without its zeros:

    y_i = Σ_{e: t = i} a_e h_s      dh_j = Σ_{e: s = j} a_e dy_t: every edge turned round      da_e = h_s · dy_t

Â is one of the propagation rules of the paper's table 3 (`normalized_adjacency`, `normalized_edges`):

    renormalized        D̃^−½ (A + I) D̃^−½           equations (2) and (8): "renormalization trick"
    single_parameter    I + D^−½ A D^−½             equation (7)
    neighbours          D^−½ A D^−½                 "1st-order term only"; with `self_weight` equation (6):
                                                    X W₀ + Â X W₁, "1st-order model"
    scaled_laplacian    2 L/λ_max − I               of the Chebyshev filters, with L = I − D^−½ A D^−½

D is the diagonal of A's row sums, D̃ that of A + I. The lecture note's own formula is that of the neighbours: its
1/c_ij is 1/√(d_i d_j).  A Chebyshev filter of order K is a polynomial of L̃, the scaled Laplacian, K edges far:

    Y = Σ_{k=0..K} T_k(L̃) H W_k     T_0 = I,  T_1 = L̃,  T_k = 2 L̃ T_{k−1} − T_{k−2}

computed from its highest order down (Clenshaw), so that K products go along the edges, each as narrow as Y:

    Z_k = H W_k     B_k = Z_k + 2 L̃ B_{k+1} − B_{k+2}, none above K      Y = Z_0 + L̃ B_1 − B_2
    dZ_k = T_k(L̃ᵀ) dY = dB_k                                           dL̃ = dY B_1ᵀ + 2 Σ_{k=1..K−1} dZ_k B_{k+1}ᵀ

Source: Kipf and Welling 2017, sections 2 and 6.2; the filters: its equation (5), after Defferrard et al. 2016, equation
(4); lecture note 002, section 2.2.
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

RULES = ("renormalized", "single_parameter", "neighbours", "scaled_laplacian")


def graph_convolve(h, graph, kernel):
    """Â H W for the features h (V, F) or (B, V, F) of V nodes and kernel (F, F′) → (V, F′) or (B, V, F′).

    graph: Â as an array, (V, V) or (B, V, V); or, for h (V, F), a pair of edges (E, 2), integers (source, target),
    and weights (E,). The array and the weights have a gradient, the edges have none. ValueError for other shapes.
    """
    _check_call("graph_convolve", h, graph, kernel)
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


def chebyshev_convolve(h, graph, kernels):
    """Σ_k T_k(L̃) H W_k for the features h as in `graph_convolve` and two kernels W_k (F, F′) or more.

    graph: L̃ as an array, or as (edges, weights), of the rule "scaled_laplacian". ValueError for other shapes.
    """
    _check_call("chebyshev_convolve", h, graph, *kernels)
    terms = [multiply(h, kernel) for kernel in kernels]
    if not isinstance(graph, tuple):
        return _chebyshev(terms, graph, lambda h, adjacency: ops.matmul(adjacency, h), feature_gradient,
                          adjacency_gradient)
    edges, weights = graph
    sources, targets = edges[:, 0], edges[:, 1]
    return _chebyshev(terms, weights,
                      lambda h, weights: send(h, sources, targets, weights),
                      lambda dy, weights: edge_feature_gradient(dy, sources, targets, weights),
                      lambda dy, h: edge_weight_gradient(dy, h, sources, targets))


def _chebyshev(terms, numbers, there, back, of_numbers):
    """Σ_k T_k(L̃) Z_k, L̃ made of `numbers`: there(h, …) is L̃ h, back(dy, …) L̃ᵀ dy, of_numbers(dy, h) dL̃ of L̃ h."""
    def forward(*tensors):
        *terms, numbers = tensors
        first, second, *_ = _from_above(terms, numbers, there)
        return terms[0] + there(first, numbers) - second

    def backward(dy, y, *tensors):
        *terms, numbers = tensors
        upstream = chebyshev_gradient(dy, terms, numbers, back)
        return *ops.unstack(upstream), chebyshev_graph_gradient(upstream, terms, numbers, there, of_numbers)

    return with_gradient(forward, backward, *terms, numbers)


def _from_above(terms, numbers, there):
    """[B_1, …, B_K, 0]."""
    found = [terms[-1], ops.zeros_like(terms[-1])]
    for term in reversed(terms[1:-1]):
        found.insert(0, term + 2 * there(found[0], numbers) - found[1])
    return found


def chebyshev_gradient(dy, terms, numbers, back):
    """dZ_k = T_k(L̃ᵀ) dY for all orders, stacked."""
    found = [dy, back(dy, numbers)]
    while len(found) < len(terms):
        found.append(2 * back(found[-1], numbers) - found[-2])
    return ops.stack(found)


def chebyshev_graph_gradient(upstream, terms, numbers, there, of_numbers):
    """dL̃ = dZ_0 B_1ᵀ + 2 Σ_{k=1..K−1} dZ_k B_{k+1}ᵀ, dZ_0 being dY."""
    partial = _from_above(terms, numbers, there)            # B_{k+1} stands at k
    shares = [of_numbers(upstream[k], partial[k]) for k in range(len(terms) - 1)]
    return shares[0] + 2 * sum(shares[1:])


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
    """Â of the NumPy array A (V, V) or (B, V, V) by one of RULES, in A's floating dtype. Without edges: zeros.

    "scaled_laplacian" is that of an undirected graph, each of a batch with its own λ_max.
    """
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
    if rule == "scaled_laplacian":
        laplacian = loops - a
        single = laplacian.astype("float64").reshape(-1, *loops.shape)
        highest = [_highest(lambda x, one=one: one @ x, len(one)) for one in single]
        return (2 / np.array(highest, a.dtype).reshape(*a.shape[:-2], 1, 1)) * laplacian - loops
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
    if rule == "scaled_laplacian":
        highest = _highest(lambda x: x - np.bincount(targets, weights * x[sources], minlength=nodes), nodes)
        own = np.full(nodes, 2 / highest - 1)
        edges, weights = np.concatenate([edges, loops]), np.concatenate([-2 / highest * weights, own])
    elif rule == "single_parameter":
        edges, weights = np.concatenate([edges, loops]), np.concatenate([weights, np.ones(nodes)])
    return edges, weights.astype("float32")


def _known(rule):
    if rule not in RULES:
        raise ValueError(f"no propagation rule {rule!r}; there are {', '.join(RULES)}")


def _highest(product, nodes, steps=100):
    """λ_max of a Laplacian, given as x → L x, by Lanczos's method; 1 where L is zero, of a graph of loops alone.

    All eigenvalues of Cora's would take longer than to train on it.
    """
    start = np.random.default_rng(0).normal(size=nodes)
    basis, diagonal, beside = [start / np.linalg.norm(start)], [], []
    while True:
        x = product(basis[-1])
        diagonal.append(basis[-1] @ x)
        for _ in range(2):                              # once leaves rounding errors, which grow
            x = x - np.transpose(basis) @ (np.array(basis) @ x)
        beside.append(np.linalg.norm(x))
        if len(basis) == min(nodes, steps) or beside[-1] < 1e-9:        # or all that the start has a share in
            break
        basis.append(x / beside[-1])
    beside = beside[:-1]
    highest = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[-1]
    return highest if highest > 1e-6 else 1


def _inverse_root(degrees):
    """d^−½; 0 for a node without edges."""
    linked = degrees > 0
    return np.where(linked, np.where(linked, degrees, 1)**-0.5, 0).astype(degrees.dtype)


class _OnGraphs(keras.layers.Layer):
    """What graph convolutions have in common: how they are called, their kernels by one rule, bias and activation."""

    def __init__(self, units, activation=None, use_bias=False, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias = int(units), bool(use_bias)
        check_positive(units=self.units)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        self._build_kernels(_checked_shapes(type(self).__name__, input_shape)[-1])
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer=self.bias_initializer)
        self.built = True

    def _kernel(self, name, index, features):
        return self.add_weight(name=name, shape=(features, self.units), regularizer=self.kernel_regularizer,
                               initializer=another(self.kernel_initializer, index))

    def call(self, inputs):
        h, *graph = inputs
        y = self._convolve(h, graph[0] if len(graph) == 1 else tuple(graph))
        if self.use_bias:
            y = add_bias(y, self.bias)
        return activate(self.activation, y)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias,
                "activation": keras.activations.serialize(self.activation),
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
                "bias_initializer": keras.initializers.serialize(self.bias_initializer),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer)}


@keras.saving.register_keras_serializable(package="cnn_repro")
class GraphConvolution(_OnGraphs):
    """Graph convolution σ(Â H W) whose backward pass is written out (this module's formulas).

    Called with [features, adjacency]: (B, V, F) and (B, V, V), or for one graph (V, F) and (V, V).
    Called with [features, edges, weights]: (V, F), (E, 2) integers (source, target) and (E,). In a functional model
    these are Input((F,)), Input((2,), dtype="int32") and Input(()): nodes and edges take the place of the batch.
    Adjacency and weights are those of Â, already normalised. Output: the features' shape with `units` at its end.

    self_weight: a second kernel W₀ for the node itself, σ(H W₀ + Â H W), equation (6) and the lecture note's formula.
    use_bias: the paper has none.  Padding nodes of zeros without edges stay zeros, as long as there is no bias.
    Source: Kipf and Welling 2017, equation (2).
    """

    def __init__(self, units, activation=None, use_bias=False, self_weight=False, **kwargs):
        super().__init__(units, activation, use_bias, **kwargs)
        self.self_weight = bool(self_weight)

    def _build_kernels(self, features):
        self.kernel = self._kernel("kernel", 0, features)
        self.self_kernel = self._kernel("self_kernel", 1, features) if self.self_weight else None

    def _convolve(self, h, graph):
        y = graph_convolve(h, graph, self.kernel)
        return add([y, multiply(h, self.self_kernel)]) if self.self_weight else y

    def get_config(self):
        return {**super().get_config(), "self_weight": self.self_weight}


@keras.saving.register_keras_serializable(package="cnn_repro")
class ChebyshevConvolution(_OnGraphs):
    """Chebyshev filters on a graph, σ(Σ_{k=0..K} T_k(L̃) H W_k), with the backward pass written out.

    Called as GraphConvolution is, with L̃ in place of Â: of the rule "scaled_laplacian" of `normalized_adjacency` and
    `normalized_edges`. order: K, one or more; K + 1 kernels, each drawn as a dense layer's.
    Source: Kipf and Welling 2017, equation (5); Defferrard et al. 2016, equation (4).
    """

    def __init__(self, units, order=2, activation=None, use_bias=False, **kwargs):
        super().__init__(units, activation, use_bias, **kwargs)
        if order < 1:
            raise ValueError(f"order={order} must be 1 or more: without a neighbour it is a dense layer.")
        self.order = int(order)

    def _build_kernels(self, features):
        self.kernels = [self._kernel(f"kernel_{k}", k, features) for k in range(self.order + 1)]

    def _convolve(self, h, graph):
        return chebyshev_convolve(h, graph, self.kernels)

    def get_config(self):
        return {**super().get_config(), "order": self.order}


def _check_call(who, h, graph, *kernels):
    """ValueError where features, graph and kernels do not go together, as far as they are known."""
    if isinstance(graph, list):
        raise ValueError("The graph is an array Â or a tuple (edges, weights), not a list.")
    features = _checked_shapes(who, [h.shape, *(one.shape for one in (graph if isinstance(graph, tuple) else [graph]))])
    for kernel in kernels:
        if len(kernel.shape) != 2 or differ(kernel.shape[0], features[-1]):
            raise ValueError(f"The kernel has shape {tuple(kernel.shape)}, for {features[-1]} features it must be "
                             f"({features[-1]}, F′).")


def _checked_shapes(who, shapes) -> tuple:
    """The features' shape, if the others go with it."""
    if isinstance(shapes[0], (int, type(None))) or len(shapes) not in (2, 3):
        raise ValueError(f"{who} takes [features, adjacency] or [features, edges, weights].")
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
