"""GCN: equation 9 written out, other data sets, and the network that does not look at the graph."""
import numpy as np
import pytest

from cnn_repro.architectures import build, describe, find, weightless
from cnn_repro.layers import normalized_adjacency

EDGES = np.array([[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], "float32")
X = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")


def logits(name):
    rule = find(name).rule
    model = build(name, input_shape=(6,), classes=3, classifier_activation=None)
    return model, model([X, normalized_adjacency(EDGES, rule)]).numpy()


@pytest.mark.parametrize("name, rule", [("gcn", "renormalized"), ("gcn_single_parameter", "single_parameter"),
                                        ("gcn_first_order_term", "neighbours")])
def test_gcn_is_equation_9_with_the_adjacency_of_its_row(name, rule):
    model, found = logits(name)
    (first, second), a = model.get_weights(), normalized_adjacency(EDGES, rule)
    np.testing.assert_allclose(found, a @ np.maximum(a @ X @ first, 0) @ second, rtol=1e-5, atol=1e-6)


def test_the_first_order_model_is_equation_6():
    model, found = logits("gcn_first_order")
    a = normalized_adjacency(EDGES, "neighbours")
    y = X
    for name in ("layer1", "layer2"):
        layer, h = model.get_layer(name), y if name == "layer1" else np.maximum(y, 0)
        y = a @ h @ layer.kernel.numpy() + h @ layer.self_kernel.numpy()
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [2, 3])
def test_chebyshev_filters_are_equation_5(order):
    model, found = logits(f"gcn_chebyshev{order}")
    degrees = EDGES.sum(0)**-0.5
    laplacian = np.eye(5) - degrees[:, None] * EDGES * degrees
    scaled = 2 / np.linalg.eigvalsh(laplacian).max() * laplacian - np.eye(5)
    values, vectors = np.linalg.eigh(scaled)                # T_k(cos φ) = cos kφ
    filters = [vectors * np.cos(k * np.arccos(np.clip(values, -1, 1))) @ vectors.T for k in range(order + 1)]
    y = X
    for layer in (model.get_layer("layer1"), model.get_layer("layer2")):
        y = sum(t @ np.maximum(y, 0 if layer.name == "layer2" else y) @ kernel.numpy()
                for t, kernel in zip(filters, layer.kernels, strict=True))
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


def test_the_perceptron_is_gcn_on_a_graph_of_loops():
    graph, _ = logits("gcn")
    perceptron = build("gcn_mlp", input_shape=(6,), classes=3, classifier_activation=None)
    perceptron.set_weights(graph.get_weights())
    np.testing.assert_allclose(perceptron(X), graph([X, np.eye(5, dtype="float32")]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("features, classes, parameters", [(1433, 7, 23_040), (3703, 6, 59_344), (500, 3, 8_048)])
def test_cora_citeseer_and_pubmed(features, classes, parameters):
    with weightless():
        found = describe(build("gcn", input_shape=(features,), classes=classes))
    assert found["parameters"] == parameters == 16 * (features + classes)


def test_both_layers_drop_half_of_their_inputs():
    model = build("gcn", input_shape=(6,), classes=3)
    assert [layer.rate for layer in model.layers if "dropout" in layer.name] == [0.5, 0.5]
    assert not any(layer.use_bias for layer in model.layers if hasattr(layer, "use_bias"))
