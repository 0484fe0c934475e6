"""Graph convolution."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case

EDGES = np.array([(0, 1), (1, 0), (1, 2), (2, 1), (3, 3), (0, 1)], "int32")     # a double one, and node 4 has none


def cases(random) -> Iterator[Case]:
    """Â as an array and as edges, more and fewer features than before, several graphs, one node, no edge; filters."""
    for nodes, features, units in ((5, 4, 3), (4, 2, 5), (1, 3, 2)):
        yield Case("GraphConvolution", f"{nodes} nodes, {features} to {units} features, adjacency", {
            "features": random.normal(size=(nodes, features)), "adjacency": random.normal(size=(nodes, nodes)),
            "kernel": random.normal(size=(features, units))}, L.graph_convolve,
            lambda h, a, w: ops.einsum("ij,jc,ck->ik", a, h, w), _output, _loops,
            ("features", "adjacency", "kernel"))
    adjacency = (random.uniform(size=(5, 5)) < 0.5).astype("float64")
    adjacency = np.triu(adjacency, 1) + np.triu(adjacency, 1).T
    fixed = L.normalized_adjacency(adjacency)
    known = reference.renormalized(adjacency)
    yield Case("GraphConvolution", "5 nodes, renormalized", {
        "features": random.normal(size=(5, 3)), "kernel": random.normal(size=(3, 2))},
        lambda h, w: L.graph_convolve(h, ops.cast(fixed, h.dtype), w),
        lambda h, w: ops.matmul(ops.matmul(ops.cast(fixed, h.dtype), h), w),
        lambda h, w: _output(h, known, w), lambda dy, h, w: _loops(dy, h, known, w)[::2], ("features", "kernel"))
    yield Case("GraphConvolution", "2 graphs of 3 nodes", {
        "features": random.normal(size=(2, 3, 4)), "adjacency": random.normal(size=(2, 3, 3)),
        "kernel": random.normal(size=(4, 2))}, L.graph_convolve,
        lambda h, a, w: ops.einsum("bij,bjc,ck->bik", a, h, w),
        lambda h, a, w: np.stack([_output(one, of, w) for one, of in zip(h, a)]), _batch_loops,
        ("features", "adjacency", "kernel"))
    yield Case("GraphConvolution", "no graph of 3 nodes", {
        "features": np.zeros((0, 3, 2)), "adjacency": np.zeros((0, 3, 3)), "kernel": random.normal(size=(2, 4))},
        L.graph_convolve, lambda h, a, w: ops.einsum("bij,bjc,ck->bik", a, h, w),
        lambda h, a, w: h @ w, lambda dy, *given: [np.zeros_like(one) for one in given])
    for edges, features, units in ((EDGES, 4, 3), (EDGES, 2, 4), (EDGES[:0], 3, 2)):
        yield Case("GraphConvolution", f"5 nodes, {features} to {units} features, {len(edges)} edges", {
            "features": random.normal(size=(5, features)), "weights": random.normal(size=len(edges)),
            "kernel": random.normal(size=(features, units))},
            lambda h, a, w, edges=edges: L.graph_convolve(h, (ops.convert_to_tensor(edges), a), w),
            lambda h, a, w, edges=edges: ops.matmul(_scattered(edges, a, 5), ops.matmul(h, w)),
            lambda h, a, w, edges=edges: reference.graph_convolution(h, edges, a, w),
            lambda dy, h, a, w, edges=edges: reference.graph_convolution_gradients(dy, h, edges, a, w),
            ("features", "weights", "kernel"))

    for order, nodes, edges in ((1, 4, None), (2, 5, None), (4, 3, None), (3, 5, EDGES), (2, 5, EDGES[:0])):
        yield _filters(random, order, nodes, edges)
    kernels = {f"kernel {k}": random.normal(size=(4, 2)) for k in range(3)}
    yield Case("ChebyshevConvolution", "2 graphs of 3 nodes, order 2", {
        "features": random.normal(size=(2, 3, 4)), "laplacian": random.normal(size=(2, 3, 3)), **kernels},
        lambda h, a, *w: L.chebyshev_convolve(h, a, w), _powers,
        lambda h, a, *w: np.stack([_filtered(one, of, *w) for one, of in zip(h, a)]), _batch_filter_loops,
        ("features",))


def _filters(random, order, nodes, edges) -> Case:
    """Chebyshev filters on a graph of that many nodes, 3 to 2 features."""
    kernels = {f"kernel {k}": random.normal(size=(3, 2)) for k in range(order + 1)}
    features = {"features": random.normal(size=(nodes, 3))}
    if edges is None:
        return Case("ChebyshevConvolution", f"{nodes} nodes, order {order}, adjacency", {
            **features, "laplacian": random.normal(size=(nodes, nodes)), **kernels},
            lambda h, a, *w: L.chebyshev_convolve(h, a, w), _powers, _filtered, _filter_loops, ("features",))

    def loops(dy, h, a, *w):
        dh, da, dw = reference.chebyshev_gradients(dy, h, edges, a, w)
        return dh, da, *dw

    return Case("ChebyshevConvolution", f"{nodes} nodes, order {order}, {len(edges)} edges", {
        **features, "laplacian": random.normal(size=len(edges)), **kernels},         # its numbers along the edges
        lambda h, a, *w: L.chebyshev_convolve(h, (ops.convert_to_tensor(edges), a), w),
        lambda h, a, *w: _powers(h, _scattered(edges, a, nodes), *w),
        lambda h, a, *w: reference.chebyshev_convolution(h, edges, a, w), loops, ("features",))


def _powers(h, laplacian, *kernels):
    """The same from powers of L̃ and the polynomials' coefficients, order by order."""
    coefficients, power, y = [[1], [0, 1]], h, 0
    while len(coefficients) < len(kernels):
        twice = [0, *(2 * c for c in coefficients[-1])]
        coefficients.append([c - d for c, d in zip(twice, [*coefficients[-2], 0, 0])])
    for degree in range(len(kernels)):
        y = y + sum(c[degree] * ops.matmul(power, w) for c, w in zip(coefficients, kernels) if degree < len(c))
        power = ops.matmul(laplacian, power)
    return y


def _filtered(h, laplacian, *kernels):
    return reference.chebyshev_convolution(h, *reference.edges_of(laplacian), kernels)


def _filter_loops(dy, h, laplacian, *kernels):
    edges, weights = reference.edges_of(laplacian)
    dh, dweights, dkernels = reference.chebyshev_gradients(dy, h, edges, weights, kernels)
    dlaplacian = np.zeros_like(laplacian)
    for (j, i), value in zip(edges, dweights):
        dlaplacian[i, j] = value
    return dh, dlaplacian, *dkernels


def _batch_filter_loops(dy, h, laplacian, *kernels):
    dh, dlaplacian, *dkernels = zip(*(_filter_loops(*one, *kernels) for one in zip(dy, h, laplacian)))
    return np.stack(dh), np.stack(dlaplacian), *(sum(one) for one in dkernels)


def _output(h, adjacency, w):
    return reference.graph_convolution(h, *reference.edges_of(adjacency), w)


def _loops(dy, h, adjacency, w):
    edges, weights = reference.edges_of(adjacency)
    dh, dweights, dw = reference.graph_convolution_gradients(dy, h, edges, weights, w)
    dadjacency = np.zeros_like(adjacency)
    for (j, i), value in zip(edges, dweights):
        dadjacency[i, j] = value
    return dh, dadjacency, dw


def _batch_loops(dy, h, adjacency, w):
    dh, dadjacency, dw = zip(*(_loops(*one, w) for one in zip(dy, h, adjacency)))
    return np.stack(dh), np.stack(dadjacency), sum(dw)


def _scattered(edges, weights, nodes):
    """Â out of its edges, by one-hot vectors of their ends."""
    sources, targets = (ops.convert_to_tensor(np.eye(nodes)[edges[:, end]], weights.dtype) for end in (0, 1))
    return ops.matmul(ops.transpose(targets), weights[:, None] * sources)
