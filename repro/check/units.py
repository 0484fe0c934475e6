"""Dense and radial units, LeNet-5's own layers and its loss."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import dense, pooling, radial, reference
from ...layers.table import TableConv2D
from .case import Case
from .convolutions import stock_convolution


def cases(random) -> Iterator[Case]:
    """Several shapes of each: one unit, more axes, other windows; no images."""
    for text, shape, units in (("3×4 to 5", (3, 4), 5), ("2×3×4 to 2, units of a position", (2, 3, 4), 2),
                               ("5×1 to 1", (5, 1), 1), ("an empty batch, 4 to 3", (0, 4), 3)):
        yield _dense(text, *(random.normal(size=size) for size in (shape, (shape[-1], units), units)))
    for images, space, pool in ((2, (4, 6), 2), (2, (6, 3), 3), (0, (4, 2), 2)):
        x, w, b = (random.normal(size=size) for size in ((images, *space, 3), 3, 3))
        yield Case("Subsampling2D", f"{space[0]}×{space[1]}, window {pool}×{pool}" + ("" if images else ", no images"),
                   {"input": x, "coefficient": w, "bias": b},
                   lambda x, w, b, pool=pool: pooling.subsample(x, w, b, pool),
                   lambda x, w, b, pool=pool: pool**2 * ops.average_pool(x, pool, pool, data_format="channels_last")
                   * w + b, lambda x, w, b, pool=pool: reference.subsampling(x, w, b, pool),
                   lambda dy, x, w, b, pool=pool: reference.subsampling_gradients(dy, x, w, pool))
    for text, images, inputs, centres in (("4 to 3 centres", 3, 4, 3), ("2 to 1 centre", 4, 2, 1),
                                          ("no images", 0, 4, 3)):
        yield Case("RadialBasis", text, {
            "input": random.normal(size=(images, inputs)), "centres": random.normal(size=(centres, inputs))},
            radial.negative_penalty, lambda x, c: -ops.sum(ops.square(x[:, None] - c[None]), axis=-1),
            reference.radial, reference.radial_gradients)
    labels = np.array([0, 2, 1])
    yield Case("MAP loss", "3 images, 4 classes, j = 1", {"logits": random.normal(size=(3, 4))},
               lambda z: L.map_loss(labels, z, 1.0),
               lambda z: ops.log(np.exp(-1.0) + ops.sum(ops.exp(z), axis=1))
               - ops.sum(z * ops.convert_to_tensor(np.eye(4)[labels], z.dtype), axis=1),
               lambda z: reference.map_loss(labels, z, 1.0),
               lambda de, z: [reference.map_loss_gradient(de, labels, z, 1.0)])
    yield Case("MAP loss", "no image, 4 classes, j = 1", {"logits": np.zeros((0, 4))},
               lambda z: L.map_loss(labels[:0], z, 1.0), lambda z: ops.sum(z, axis=1),
               lambda z: np.zeros(0), lambda de, z: [np.zeros_like(z)])
    table = [(0, 1), (1, 2), (0, 1, 2)]
    yield _table(random, table, (2, 4, 4, 3), 2)
    yield _table(random, [(1,), (0, 1)], (2, 5, 3, 2), 3)
    yield _table(random, table, (0, 3, 4, 3), 2)


def _dense(text, x, w, b) -> Case:
    rows = lambda a: a.reshape(int(np.prod(a.shape[:-1])), a.shape[-1])                 # noqa: E731

    def loops(dy, x, w, b):
        dx, *others = reference.dense_gradients(rows(dy), rows(x), w)
        return dx.reshape(x.shape), *others

    return Case("Dense", text, {"input": x, "kernel": w, "bias": b},
                lambda x, w, b: dense.add_bias(dense.multiply(x, w), b), lambda x, w, b: ops.matmul(x, w) + b,
                lambda x, w, b: reference.dense(rows(x), w, b).reshape(*x.shape[:-1], w.shape[-1]), loops)


def _table(random, table, shape, size) -> Case:
    layer = TableConv2D(table, size, dtype="float64")
    layer.build((None, *shape[1:]))
    wide, count = (size, size, shape[-1], len(table)), sum(map(len, table))
    spread = layer.spread.astype("float64")

    def table_loops(dy, x, w):
        dx, dwide = reference.convolution_gradients(dy, x, (w @ spread).reshape(wide), (1, 1))
        pairs = [(c, k) for k, row in enumerate(layer.table) for c in row]
        return dx, np.stack([dwide[:, :, c, k] for c, k in pairs], -1)

    def table_output(x, w):
        return reference.convolution(x, (w @ spread).reshape(wide), (1, 1))

    def table_ours(x, w):
        return L.convolve(x, layer.dense_kernel(w))

    text = f"{shape[1]}×{shape[2]}, kernel {size}×{size}, {count} of {shape[-1] * len(table)} connections"
    return Case("TableConv2D", text + ("" if shape[0] else ", no images"), {
        "input": random.normal(size=shape), "kernel": random.normal(size=(size, size, count))}, table_ours,
        lambda x, w: stock_convolution(
            x, ops.reshape(ops.matmul(w, ops.cast(spread, w.dtype)), wide), (1, 1), "valid", 1, 1),
        table_output, table_loops, ("input", "kernel"))
