"""Regularized Evolution for Image Classifier Architecture Search. Real, Aggarwal, Huang, Le. AAAI 2019.
arXiv:1802.01548. AmoebaNet-A: the cells of figure 6, stacked as NASNet's; tables 1 (CIFAR) and 2 (ImageNet).

AmoebaNet-A (N, F) has N normal cells in each of three groups, whose operations make F, 2F and 4F maps. The cells, and
how they are fed, are those of the authors' program (tensorflow/tpu, models/official/amoeba_net); what it has in
common with NASNet's is built by nasnet.py, initial weights and constants, too. An identity between other sizes is a 1×1
convolution, 1×7 and 7×1 run in a bottleneck of a quarter of the maps, and some states are in a cell's output although
others take them. On CIFAR the first convolution makes 3F maps, as NASNet's does. F = 190 does not divide by four: the
stem's first cell has 47 maps, of which two halves make 46. The auxiliary classifier and ScheduledDropPath are
NASNet's.
"""
from functools import partial

from .blocks import batch_norm, channel_axis
from .nasnet import (classifiers, convolution, fitted, head, imagenet_norm, no_path, projected, same_pool, separable,
                     stacked, weights)
from .registry import Architecture, register

# (operation, state) + (operation, state), states 0 and 1 are h_i and h_{i−1}; the states of the output
NORMAL = (
    (("avg", 0), ("max", 0)), (("sep3", 1), ("same", 1)), (("same", 0), ("avg", 1)), (("sep3", 0), ("sep5", 2)),
    (("avg", 5), ("sep3", 0)),
), (1, 3, 4, 6)
REDUCTION = (   # whatever takes states 0 or 1 does so with stride 2
    (("sep3", 1), ("avg", 0)), (("max", 0), ("sep7", 2)), (("max", 1), ("max", 0)), (("sep3", 4), ("1x7_7x1", 0)),
    (("avg", 1), ("sep7", 0)),
), (2, 3, 4, 5, 6)
NETWORKS = {
    # name:                maps F, first maps, dropout, side, classes; N = 6 everywhere
    "amoebanet_a32_cifar": (32, 96, 0, 32, 10),
    "amoebanet_a36_cifar": (36, 108, 0, 32, 10),
    "amoebanet_a190":      (190, 32, 0.5, 331, 1000),
    "amoebanet_a448":      (448, 32, 0.5, 331, 1000),
}
CELLS = 6


def pixelwise(x, width, stride, L, name, norm):
    """ReLU, 1×1 convolution, BN."""
    x = L.Conv2D(width, 1, strides=stride, use_bias=False, kernel_initializer=weights(), name=f"{name}_conv")(
        L.ReLU(name=f"{name}_relu")(x))
    return norm(x, L, f"{name}_bn")


def factorised(x, width, stride, L, name, norm):
    """1×7, then 7×1, in a bottleneck of a quarter of the maps."""
    x = pixelwise(x, width // 4, 1, L, f"{name}_in", norm)
    for part, size, step in (("row", (1, 7), (1, stride)), ("column", (7, 1), (stride, 1))):
        x = L.ReLU(name=f"{name}_{part}_relu")(x)
        x = L.Conv2D(width // 4, size, strides=step, padding="same", use_bias=False, kernel_initializer=weights(),
                     name=f"{name}_{part}_conv")(x)
        x = norm(x, L, f"{name}_{part}_bn")
    return pixelwise(x, width, 1, L, f"{name}_out", norm)


def operate(operation, x, width, stride, L, name, norm):
    if operation.startswith("sep"):
        return separable(x, width, int(operation[3]), stride, L, name, norm)
    if operation == "1x7_7x1":
        return factorised(x, width, stride, L, name, norm)
    if operation == "same":
        changes = stride > 1 or x.shape[channel_axis()] != width
        return pixelwise(x, width, stride, L, name, norm) if changes else x
    x = same_pool(x, {"max": "MaxPooling2D", "avg": "AveragePooling2D"}[operation], stride, L, name)
    return projected(x, width, L, name, norm)


def cell(h, before, width, table, L, name, norm, larger=False, drop=no_path):
    """Five pairs of operations added up; the output is the listed states side by side."""
    pairs, joined = table
    before = fitted(before, h, width, L, f"{name}_before", norm, larger)
    h = norm(convolution(L.ReLU(name=f"{name}_relu")(h), width, L, f"{name}_conv"), L, f"{name}_bn")
    states = [h, before]
    for index, pair in enumerate(pairs, 1):
        parts = []
        for side, (operation, state) in zip(("left", "right"), pair):
            part = f"{name}_{index}_{side}"
            x = operate(operation, states[state], width, 2 if table is REDUCTION and state < 2 else 1, L, part, norm)
            parts.append(x if operation == "same" else drop(x, part))
        states.append(L.Add(name=f"{name}_{index}_add")(parts))
    out = [projected(states[state], width, L, f"{name}_{state}_kept", norm) for state in joined]
    return L.Concatenate(axis=channel_axis(), name=f"{name}_out")(out)


def body(x, L, width, first, imagenet, drop_path=None):
    norm = imagenet_norm if imagenet else batch_norm
    normal, reduction = (partial(cell, table=table, L=L, norm=norm) for table in (NORMAL, REDUCTION))
    return stacked(x, L, width, first, CELLS, imagenet, norm, normal, reduction, drop_path=drop_path)


for name, (width, first, dropout, side, classes) in NETWORKS.items():
    register(Architecture(name, f"AmoebaNet-A (N = {CELLS}, F = {width})",
                          partial(body, width=width, first=first, imagenet=side > 32), partial(head, dropout=dropout),
                          (side, side, 3), classes, smallest=(32, 32, 3) if side > 32 else (8, 8, 3),
                          auxiliary=classifiers(CELLS, imagenet_norm if side > 32 else batch_norm), drops_paths=True))
