"""Dense and radial units, LeNet-5's own layers and its loss."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import dense, pooling, radial, reference
from ...layers.table import TableConv2D
from .case import Case


def cases(random) -> Iterator[Case]:
    """One of each: their shapes have no corners."""
    yield Case("Dense", "3×4 to 5", {
        "input": random.normal(size=(3, 4)), "kernel": random.normal(size=(4, 5)), "bias": random.normal(size=5)},
        lambda x, w, b: dense.add_bias(dense.multiply(x, w), b), lambda x, w, b: ops.matmul(x, w) + b,
        reference.dense, lambda dy, x, w, b: reference.dense_gradients(dy, x, w))
    yield Case("Subsampling2D", "4×6, window 2×2", {
        "input": random.normal(size=(2, 4, 6, 3)), "coefficient": random.normal(size=3), "bias": random.normal(size=3)},
        lambda x, w, b: pooling.subsample(x, w, b, 2),
        lambda x, w, b: 4 * ops.average_pool(x, 2, 2, data_format="channels_last") * w + b,
        lambda x, w, b: reference.subsampling(x, w, b, 2),
        lambda dy, x, w, b: reference.subsampling_gradients(dy, x, w, 2))


    yield Case("RadialBasis", "4 to 3 centres", {
        "input": random.normal(size=(3, 4)), "centres": random.normal(size=(3, 4))}, radial.negative_penalty,
        lambda x, c: -ops.sum(ops.square(x[:, None] - c[None]), axis=-1), reference.radial,
        reference.radial_gradients)
    labels = np.array([0, 2, 1])
    yield Case("MAP loss", "3 images, 4 classes, j = 1", {"logits": random.normal(size=(3, 4))},
               lambda z: L.map_loss(labels, z, 1.0),
               lambda z: ops.log(np.exp(-1.0) + ops.sum(ops.exp(z), axis=1))
               - ops.sum(z * ops.convert_to_tensor(np.eye(4)[labels], z.dtype), axis=1),
               lambda z: reference.map_loss(labels, z, 1.0),
               lambda de, z: [reference.map_loss_gradient(de, labels, z, 1.0)])
    yield _table(random)


def _table(random) -> Case:
    layer = TableConv2D([(0, 1), (1, 2), (0, 1, 2)], 2, dtype="float64")
    layer.build((None, 4, 4, 3))
    spread = layer.spread.astype("float64")

    def table_loops(dy, x, w):
        wide = (w @ spread).reshape(2, 2, 3, 3)
        dx, dwide = reference.convolution_gradients(dy, x, wide, (1, 1))
        pairs = [(c, k) for k, row in enumerate(layer.table) for c in row]
        return dx, np.stack([dwide[:, :, c, k] for c, k in pairs], -1)

    def table_output(x, w):
        return reference.convolution(x, (w @ spread).reshape(2, 2, 3, 3), (1, 1))

    def table_ours(x, w):
        return L.convolve(x, layer.dense_kernel(w))

    return Case("TableConv2D", "4×4, kernel 2×2, 7 of 9 connections", {
        "input": random.normal(size=(2, 4, 4, 3)), "kernel": random.normal(size=(2, 2, 7))}, table_ours,
        lambda x, w: ops.conv(x, ops.reshape(ops.matmul(w, ops.cast(spread, w.dtype)), (2, 2, 3, 3)),
                              data_format="channels_last"),
        table_output, table_loops, ("input", "kernel"))
