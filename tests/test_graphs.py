"""Graph convolution: the propagation rules, both forms of a graph, the order of the nodes."""
import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers.graph import RULES
from cnn_repro.repro.check import error_of

quickly = settings(max_examples=40, deadline=None, derandomize=True)
PATH = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], "float64")       # 0 – 1 – 2


def random_graph(nodes, seed=0, weighted=False):
    """A symmetric adjacency without self-loops."""
    random = np.random.default_rng(seed)
    half = np.triu(random.uniform(size=(nodes, nodes)) < 0.5, 1) * (random.uniform(0.5, 2, (nodes, nodes)) if weighted
                                                                    else 1.0)
    return half + half.T


def edges_of(adjacency):
    """(edges (E, 2), weights (E,)) of an adjacency: A_ij is the weight of the edge j → i."""
    targets, sources = np.nonzero(adjacency)
    return np.stack([sources, targets], 1).astype("int32"), adjacency[targets, sources]


def layer_with_weights(features, units, **arguments):
    layer = L.GraphConvolution(units, dtype=PRECISE, **arguments)
    layer.build([(None, features), (None, None)])
    layer.set_weights([numbers(*weight.shape, seed=index) for index, weight in enumerate(layer.weights)])
    return layer


def as_edges(adjacency):
    edges, weights = edges_of(adjacency)
    return ops.convert_to_tensor(edges), ops.convert_to_tensor(weights.astype(PRECISE), dtype=PRECISE)


# ------------------------------------------------------------------------------------------- propagation rules

def test_a_path_of_three_nodes_by_hand():
    root = 6**-0.5                                      # degrees with self-loops: 2, 3, 2
    np.testing.assert_allclose(L.normalized_adjacency(PATH),
                               [[1 / 2, root, 0], [root, 1 / 3, root], [0, root, 1 / 2]], rtol=1e-15)
    half = 2**-0.5                                      # degrees without: 1, 2, 1
    neighbours = np.array([[0, half, 0], [half, 0, half], [0, half, 0]])
    np.testing.assert_allclose(L.normalized_adjacency(PATH, "neighbours"), neighbours, rtol=1e-15)
    np.testing.assert_allclose(L.normalized_adjacency(PATH, "single_parameter"), neighbours + np.eye(3), rtol=1e-15)
    # the Laplacian's eigenvalues are 0, 1 and 2, a triangle's 0 and 3/2 twice
    np.testing.assert_allclose(L.normalized_adjacency(PATH, "scaled_laplacian"), -neighbours, atol=1e-12)
    triangle = 1 - np.eye(3)
    np.testing.assert_allclose(L.normalized_adjacency(triangle, "scaled_laplacian"), (np.eye(3) - 2 * triangle) / 3,
                               atol=1e-12)


def test_a_scaled_laplacian_reaches_from_minus_one_to_one():
    graph = random_graph(120)                           # more nodes than Lanczos's steps
    values = np.linalg.eigvalsh(L.normalized_adjacency(np.stack([graph, np.eye(120)]), "scaled_laplacian"))
    np.testing.assert_allclose(values[:, [0, -1]], [[-1, 1], [-1, -1]], atol=1e-9)      # of loops alone L is zero


@pytest.mark.parametrize("rule", RULES)
@quickly
@given(nodes=st.integers(1, 7), seed=st.integers(0, 99), weighted=st.booleans())
def test_edges_and_adjacency_are_normalised_alike(rule, nodes, seed, weighted):
    adjacency = random_graph(nodes, seed, weighted)
    edges, weights = edges_of(adjacency)
    edges, weights = L.normalized_edges(edges, nodes, weights, rule)
    assert edges.dtype == "int32" and weights.dtype == "float32"
    found = np.zeros((nodes, nodes))
    np.add.at(found, (edges[:, 1], edges[:, 0]), weights)
    expected = L.normalized_adjacency(adjacency, rule)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if nodes > 1:
        assert np.abs(np.linalg.eigvalsh(expected)).max() < (2 if rule == "single_parameter" else 1) + 1e-9


def test_a_node_without_neighbours_has_itself_or_nothing():
    lonely = np.zeros((2, 2))
    assert (L.normalized_adjacency(lonely) == np.eye(2)).all()
    assert (L.normalized_adjacency(lonely, "single_parameter") == np.eye(2)).all()
    assert (L.normalized_adjacency(lonely, "neighbours") == 0).all()
    assert L.normalized_edges([], 2, rule="neighbours")[0].shape == (0, 2)


def test_adjacencies_keep_their_dtype_and_their_batch():
    batch = np.stack([random_graph(4, seed) for seed in range(3)])
    assert L.normalized_adjacency(batch.astype("float32")).dtype == "float32"
    assert L.normalized_adjacency(batch.astype("int64")).dtype == "float64"
    for one, alone in zip(L.normalized_adjacency(batch), batch):
        assert (one == L.normalized_adjacency(alone)).all()
    with pytest.raises(ValueError, match="no propagation rule 'random walk'; there are renormalized, single_"):
        L.normalized_adjacency(PATH, "random walk")
    with pytest.raises(ValueError, match="no propagation rule 'random walk'"):
        L.normalized_edges([], 3, rule="random walk")


# ------------------------------------------------------------------------------------------- the layer

@pytest.mark.parametrize("features, units", [(4, 2), (2, 4)])
@pytest.mark.parametrize("self_weight", [False, True])
def test_both_forms_of_a_graph_give_the_same(features, units, self_weight):
    layer = layer_with_weights(features, units, self_weight=self_weight, use_bias=True, activation="tanh")
    adjacency = L.normalized_adjacency(random_graph(6)).astype(PRECISE)
    edges, weights = as_edges(adjacency)
    h, dy = {"features": numbers(6, features, seed=5)}, numbers(6, units, seed=6)
    dense = passes.run(lambda h, a: layer([h, a]), h | {"graph": adjacency}, layer.trainable_weights, dy=dy)
    for form in passes.FORMS:
        sparse = passes.run(lambda h, a: layer([h, edges, a]), h | {"graph": array(weights)},
                            layer.trainable_weights, form, dy=dy)
        targets, sources = array(edges)[:, 1], array(edges)[:, 0]
        listed = dense[1] | {"graph": dense[1]["graph"][targets, sources]}
        assert error_of(sparse[0], dense[0]) < within(1e-12)
        assert sparse[1].keys() == listed.keys() == {"features", "graph", *(w.name for w in layer.weights)}
        for name in listed:
            assert error_of(sparse[1][name], listed[name]) < within(1e-12), (form, name)


def test_the_notes_formula():
    """h′_i = σ(h_i W₀ + Σ_neighbours 1/c_ij h_j W) with c_ij = √(d_i d_j), node by node."""
    layer = layer_with_weights(2, 3, self_weight=True, activation="relu")
    kernel, own = layer.get_weights()
    h, degrees = numbers(3, 2, seed=3), PATH.sum(1)
    expected = [np.maximum(h[i] @ own + sum(h[j] @ kernel / np.sqrt(degrees[i] * degrees[j])
                                            for j in range(3) if PATH[i, j]), 0) for i in range(3)]
    found = layer([h, L.normalized_adjacency(PATH, "neighbours").astype(PRECISE)])
    assert error_of(found, expected) < within(1e-12)
    assert [weight.name for weight in layer.weights] == ["kernel", "self_kernel"]


@quickly
@given(nodes=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_order_of_the_nodes_changes_nothing_but_the_order(nodes, seed):
    """Node outputs are permuted along, a readout over the nodes stays the same."""
    layer = layer_with_weights(3, 4, self_weight=True, activation="relu")
    adjacency = L.normalized_adjacency(random_graph(nodes, seed)).astype(PRECISE)
    h, order = numbers(nodes, 3, seed=seed), np.random.default_rng(seed).permutation(nodes)
    y, permuted = array(layer([h, adjacency])), array(layer([h[order], adjacency[order][:, order]]))
    np.testing.assert_allclose(permuted, y[order], atol=1e-6)
    for readout in (np.sum, np.mean, np.max):
        np.testing.assert_allclose(readout(permuted, 0), readout(y, 0), atol=1e-6)
    along = array(layer([h, *as_edges(adjacency)]))
    shuffled = np.random.default_rng(seed).permutation(np.count_nonzero(adjacency))
    again = array(layer([h, *(ops.take(part, shuffled, axis=0) for part in as_edges(adjacency))]))
    np.testing.assert_allclose(again, along, atol=1e-6)             # nor does the order of the edges


def test_a_node_hears_of_its_neighbours_and_of_nobody_else():
    layer = layer_with_weights(2, 2)
    adjacency = L.normalized_adjacency(PATH).astype(PRECISE)
    dy = np.zeros((3, 2), PRECISE)
    dy[0] = 1
    _, gradients = passes.run(lambda h: layer([h, adjacency]), {"features": numbers(3, 2)}, dy=dy)
    assert gradients["features"][:2].all() and not gradients["features"][2].any()


def test_padding_nodes_stay_zero_and_do_not_disturb():
    graphs = [random_graph(3, 1), random_graph(5, 2)]
    wide, adjacency = np.zeros((2, 5, 4), PRECISE), np.zeros((2, 5, 5), PRECISE)
    layer = layer_with_weights(4, 3, activation="relu")
    alone = []
    for index, graph in enumerate(graphs):
        nodes = len(graph)
        wide[index, :nodes] = numbers(nodes, 4, seed=index)
        adjacency[index, :nodes, :nodes] = L.normalized_adjacency(graph)
        alone.append(array(layer([wide[index, :nodes], adjacency[index, :nodes, :nodes]])))
    batch = L.GraphConvolution(3, activation="relu", dtype=PRECISE)
    batch.build([(None, 5, 4), (None, 5, 5)])
    batch.set_weights(layer.get_weights())
    y = array(batch([wide, adjacency]))
    assert not y[0, 3:].any()
    for one, expected in zip(y, alone):
        assert error_of(one.sum(0), expected.sum(0)) < within(1e-12)


def test_several_graphs_go_as_one_list_of_edges():
    graphs, layer = [random_graph(nodes, nodes) for nodes in (3, 1, 4)], layer_with_weights(2, 3)
    h, start, listed = [numbers(len(graph), 2, seed=len(graph)) for graph in graphs], 0, []
    for graph in graphs:
        listed.append(edges_of(graph)[0] + start)
        start += len(graph)
    edges, weights = L.normalized_edges(np.concatenate(listed), start)
    together = layer([np.concatenate(h), edges, weights.astype(PRECISE)])
    alone = [array(layer([one, L.normalized_adjacency(graph).astype(PRECISE)])) for one, graph in zip(h, graphs)]
    assert error_of(together, np.concatenate(alone)) < within(1e-6)


# on PyTorch keras.ops.segment_sum takes no segments for a number left out
@pytest.mark.parametrize("nodes", [3] if keras.backend.backend() == "torch" else [0, 3])
def test_nothing_to_send(nodes):
    layer = layer_with_weights(2, 4)
    edges, h = ops.zeros((0, 2), "int32"), np.ones((nodes, 2), PRECISE)
    y, gradients = passes.run(lambda h, a: layer([h, edges, a]), {"features": h, "weights": np.zeros(0, PRECISE)},
                              layer.trainable_weights)
    assert y.shape == (nodes, 4) and not y.any()
    assert {name: gradient.shape for name, gradient in gradients.items()} == {
        "features": (nodes, 2), "weights": (0,), "kernel": (2, 4)}
    assert not any(gradient.any() for gradient in gradients.values())


def test_filters_of_order_nought_are_refused():
    with pytest.raises(ValueError, match="order=0 must be 1 or more"):
        L.ChebyshevConvolution(2, 0)
    with pytest.raises(ValueError, match=r"ChebyshevConvolution takes \[features, adjacency\] or"):
        L.ChebyshevConvolution(2)(np.zeros((5, 3), "float32"))


@pytest.mark.parametrize("shapes, message", [
    ([(5, 3)], r"takes \[features, adjacency\] or \[features, edges, weights\]"),
    ([(5, 3), (5, 4)], r"adjacency has shape \(5, 4\), for features of shape \(5, 3\) it must be \(5, 5\)"),
    ([(2, 5, 3), (5, 5)], r"it must be \(2, 5, 5\)"),
    ([(5, 3), (7, 3), (7,)], r"shapes \(5, 3\), \(7, 3\) and \(7,\); they must be \(V, F\), \(E, 2\) and \(E,\)"),
    ([(5, 3), (7, 2), (6,)], r"they must be"),
    ([(2, 5, 3), (7, 2), (7,)], r"they must be"),
])
def test_shape_errors_say_what_is_wrong(shapes, message):
    with pytest.raises(ValueError, match=message):
        L.GraphConvolution(2)([np.zeros(shape, "float32") for shape in shapes])
    if len(shapes) == 1:
        with pytest.raises(ValueError, match=message):
            L.GraphConvolution(2)(np.zeros(shapes[0], "float32"))


# ------------------------------------------------------------------------------------------- models

def network(sparse, nodes=None):
    """Two layers as in the paper's section 3.1, for a graph of edges or for batches of adjacencies."""
    arguments = dict(activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2))
    if sparse:
        inputs = [keras.Input((4,)), keras.Input((2,), dtype="int32"), keras.Input(())]
    else:
        inputs = [keras.Input((nodes, 4)), keras.Input((nodes, nodes))]
    hidden = L.GraphConvolution(5, name="first", **arguments)([inputs[0], *inputs[1:]])
    y = L.GraphConvolution(2, self_weight=True, use_bias=True, name="second")([hidden, *inputs[1:]])
    return keras.Model(inputs, y)


def test_one_training_step_of_both_forms_and_a_file_of_each(tmp_path):
    adjacency = L.normalized_adjacency(random_graph(6)).astype("float32")
    edges, weights = edges_of(adjacency)
    h, target = numbers(6, 4, dtype="float32"), numbers(6, 2, seed=1, dtype="float32")
    after = []
    for model, inputs, y in ((network(True), [h, edges, weights], target),
                             (network(False, 6), [h[None], adjacency[None]], target[None]),
                             (network(False), [h[None], adjacency[None]], target[None])):
        model.set_weights([numbers(*weight.shape, seed=index) for index, weight in enumerate(model.weights)])
        assert model.output_shape[-1] == 2 and len(model.losses) == 1
        model.compile(keras.optimizers.SGD(0.1), "mse")
        first = model.train_on_batch(inputs, y)
        assert model.train_on_batch(inputs, y) < first
        after.append([array(weight.value) for weight in model.weights])
        model.save(tmp_path / "network.keras")
        again = keras.models.load_model(tmp_path / "network.keras")
        assert again.get_layer("second").get_config() == model.get_layer("second").get_config()
        assert error_of(again(inputs), model(inputs)) == 0
    for other in after[1:]:
        for one, two in zip(after[0], other, strict=True):
            assert error_of(two, one) < 1e-5


@pytest.mark.parametrize("policy, threshold", [("mixed_float16", 1e-2), ("mixed_bfloat16", 5e-2)])
def test_half_precision(policy, threshold):
    adjacency = L.normalized_adjacency(random_graph(6)).astype("float32")
    plain, half = (L.GraphConvolution(3, dtype=dtype) for dtype in ("float32", policy))
    for layer in (plain, half):
        layer.build([(None, 4), (None, None)])
        layer.set_weights([numbers(4, 3, dtype="float32")])
    h, (edges, weights) = numbers(6, 4, seed=1, dtype="float32"), edges_of(adjacency)
    expected = plain([h, adjacency])
    for graph in ([adjacency], [edges, weights]):
        y = half([h, *graph])
        assert keras.backend.standardize_dtype(y.dtype) == half.compute_dtype
        assert error_of(array(y).astype("float64"), expected) < threshold
