"""Learning Transferable Architectures for Scalable Image Recognition. Zoph, Vasudevan, Shlens, Le. CVPR 2018.
arXiv:1707.07012. NASNet-A: the cells of figure 4, stacked as in figure 2; table 1 (CIFAR), tables 2 and 3 (ImageNet).

NASNet-A (N @ P) has N normal cells in each of three groups, and P maps behind the last. How the cells are fed,
padding, constants, initial weights and dropout 0.5 before the classifier are those of the authors' program
(tensorflow/models, slim/nets/nasnet). Its auxiliary classifier comes with build(…, auxiliary=True), ScheduledDropPath,
which leaves out whole operations more and more often in training, with build(…, drop_path=(rate, steps)).
"""
import itertools
from functools import partial

import keras

from .blocks import batch_norm, channel_axis
from .registry import Architecture, register

NORMAL = (      # figure 4, left: (operation, state) + (operation, state); states 0 and 1 are h_i and h_{i−1}
    (("sep5", 0), ("sep3", 1)), (("sep5", 1), ("sep3", 1)), (("avg", 0), ("same", 1)), (("avg", 1), ("avg", 1)),
    (("sep3", 0), ("same", 0)),
)
REDUCTION = (   # figure 4, right; whatever takes states 0 or 1 does so with stride 2
    (("sep5", 0), ("sep7", 1)), (("max", 0), ("sep7", 1)), (("avg", 0), ("sep5", 1)), (("same", 3), ("avg", 2)),
    (("sep3", 2), ("max", 0)),
)
NETWORKS = {
    # name:          cells N, maps P, first maps, the input passes a reduction by, dropout, side, classes
    "nasnet_cifar":  (6, 768, 96, False, 0, 32, 10),
    "nasnet_mobile": (4, 1056, 32, False, 0.5, 224, 1000),
    "nasnet_large":  (6, 4032, 96, True, 0.5, 331, 1000),
}


def weights():
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def imagenet_norm(x, L, name):
    return batch_norm(x, L, name, momentum=0.9997, epsilon=1e-3)


def convolution(x, width, L, name):
    return L.Conv2D(width, 1, use_bias=False, kernel_initializer=weights(), name=name)(x)


def separable(x, width, size, stride, L, name, norm):
    """ReLU, separable convolution, BN, all of it twice (appendix A.4)."""
    for index, step in ((1, stride), (2, 1)):
        x = L.ReLU(name=f"{name}_{index}_relu")(x)
        x = L.SeparableConv2D(width, size, strides=step, padding="same", use_bias=False,
                              depthwise_initializer=weights(), pointwise_initializer=weights(),
                              name=f"{name}_{index}_sep")(x)
        x = norm(x, L, f"{name}_{index}_bn")
    return x


def same_pool(x, pool, stride, L, name):
    return getattr(L, pool)(3, strides=stride, padding="same", name=name)(x)


def keras_pool(x, pool, stride, L, name):
    """keras.applications pads with zeros what it pools in steps of 2: they count in a mean, and are above a minus."""
    if stride == 1:
        return same_pool(x, pool, stride, L, name)
    space = x.shape[1:3] if channel_axis() == -1 else x.shape[2:4]
    if None in space:                       # `same` begins where these windows do; its own padding is cropped off again
        x = L.ZeroPadding2D(2, name=f"{name}_pad")(x)
        x = getattr(L, pool)(3, strides=stride, padding="same", name=name)(x)
        return L.Cropping2D(1, name=f"{name}_crop")(x)
    x = L.ZeroPadding2D(tuple((n % 2, 1) for n in space), name=f"{name}_pad")(x)
    return getattr(L, pool)(3, strides=stride, name=name)(x)


def fitted(x, like, width, L, name, norm, larger):
    """h_{i−1} with the size and the maps of this cell: every second pixel twice, the second time one further.

    larger: whether h_{i−1} is what a reduction cell took. The first cell has none before it, and takes its own input,
    which is not fitted.
    """
    if x is None:
        return like
    if larger:
        x = L.ReLU(name=f"{name}_relu")(x)
        shifted = L.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_2_pad")(x)
        shifted = L.Cropping2D(((1, 0), (1, 0)), name=f"{name}_2_crop")(shifted)
        halves = [convolution(L.AveragePooling2D(1, strides=2, name=f"{name}_{index}_subsample")(half), width // 2, L,
                              f"{name}_{index}_conv") for index, half in ((1, x), (2, shifted))]
        return norm(L.Concatenate(axis=channel_axis(), name=f"{name}_concat")(halves), L, f"{name}_bn")
    if x.shape[channel_axis()] != width:
        x = convolution(L.ReLU(name=f"{name}_relu")(x), width, L, f"{name}_conv")
        return norm(x, L, f"{name}_bn")
    return x


def projected(x, width, L, name, norm):
    """1×1 convolution and BN where the maps are not as many: in the first cell on CIFAR."""
    return x if x.shape[channel_axis()] == width else norm(convolution(x, width, L, f"{name}_conv"), L, f"{name}_bn")


def no_path(x, name):
    """What an operation makes is passed on."""
    return x


def dropped(L, number, cells, drop_path):
    """The function of (x, name) behind every operation of a cell but identities: ScheduledDropPath, or nothing.

    number: of the cell, from 1. The k-th of K cells drops at k/K of the rate (slim, nasnet_utils, version 3).
    """
    if drop_path is None:
        return no_path
    rate, steps = drop_path
    return lambda x, name: L.ScheduledDropPath(rate * number / cells, steps, name=f"{name}_path")(x)


def cell(h, before, width, table, L, name, norm, pool, larger=False, drop=no_path):
    """Five pairs of operations added up; the output is the states 1 to 6 of a normal cell, 3 to 6 of a reduction."""
    before = fitted(before, h, width, L, f"{name}_before", norm, larger)
    h = norm(convolution(L.ReLU(name=f"{name}_relu")(h), width, L, f"{name}_conv"), L, f"{name}_bn")
    states = [h, before]
    for index, pair in enumerate(table, 1):
        parts = []
        for side, (operation, state) in zip(("left", "right"), pair):
            x, part = states[state], f"{name}_{index}_{side}"
            stride = 2 if table is REDUCTION and state < 2 else 1
            if operation.startswith("sep"):
                x = separable(x, width, int(operation[3]), stride, L, part, norm)
            elif operation != "same":
                x = pool(x, {"max": "MaxPooling2D", "avg": "AveragePooling2D"}[operation], stride, L, part)
            elif x.shape[channel_axis()] != width:
                x = L.ReLU(name=f"{part}_relu")(x)
            x = projected(x, width, L, part, norm)
            parts.append(x if operation == "same" else drop(x, part))
        states.append(L.Add(name=f"{name}_{index}_add")(parts))
    out = [projected(before, width, L, f"{name}_kept", norm), *states[2:]] if table is NORMAL else states[3:]
    return L.Concatenate(axis=channel_axis(), name=f"{name}_out")(out)


def stacked(x, L, width, first, cells, imagenet, norm, normal, reduction, around=False, drop_path=None):
    """Three groups of `cells` normal cells with a reduction between two; on ImageNet two smaller reductions before them.

    normal, reduction: cell(h_i, h_{i−1}, width, name=…, larger=…, drop=…). around: the input of a reduction is not
    h_{i−1} of the cell behind it.
    """
    numbers, total = itertools.count(1), 3 * cells + (4 if imagenet else 2)
    following = lambda: dropped(L, next(numbers), total, drop_path)                         # noqa: E731
    x = L.Conv2D(first, 3, strides=2 if imagenet else 1, padding="valid" if imagenet else "same", use_bias=False,
                 kernel_initializer=weights(), name="conv0")(x)
    x, before = norm(x, L, "conv0_bn"), None
    if imagenet:
        for index, part in ((1, 4), (2, 2)):
            x, before = reduction(x, before, width // part, name=f"stem{index}_1", larger=index > 1,
                                  drop=following()), x
    for group in (1, 2, 3):
        if group > 1:
            width *= 2
            reduced = reduction(x, before, width, name=f"reduction{group - 1}_1", drop=following())
            x, before = reduced, before if around else x
        for index in range(1, cells + 1):
            larger = index == 1 and (imagenet or group > 1)
            x, before = normal(x, before, width, name=f"normal{group}_{index}", larger=larger, drop=following()), x
    return L.ReLU(name="normal3_relu")(x)


def body(x, L, name, norm=imagenet_norm, pool=same_pool, drop_path=None):
    cells, last, first, around, _, side, _ = NETWORKS[name]
    normal, reduction = (partial(cell, table=table, L=L, norm=norm, pool=pool) for table in (NORMAL, REDUCTION))
    # six states of the last cells' width, which doubles twice
    return stacked(x, L, last // 24, first, cells, side > 32, norm, normal, reduction, around, drop_path)


def head(x, classes, L, dropout):
    x = L.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = L.Dropout(dropout, name="pool_dropout")(x)
    return L.Dense(classes, kernel_initializer=weights(), name="fc")(x)


def auxiliary(x, classes, L, norm):
    """Behind the second group: averages of 5×5 in steps of 3, 128 maps of 1×1, a convolution of 768 as large as they are."""
    side = lambda x: [n for axis, n in enumerate(x.shape) if axis not in (0, channel_axis() % 4)]   # noqa: E731
    x = L.ReLU(name="aux_relu")(x)
    x = L.AveragePooling2D([min(5, n) for n in side(x)], strides=3, name="aux_pool")(x)
    x = L.ReLU(name="aux_1_relu")(norm(convolution(x, 128, L, "aux_1_conv"), L, "aux_1_bn"))
    x = L.Conv2D(768, side(x), use_bias=False, kernel_initializer=weights(), name="aux_2_conv")(x)
    x = L.Flatten(name="aux_flat")(L.ReLU(name="aux_2_relu")(norm(x, L, "aux_2_bn")))
    return L.Dense(classes, kernel_initializer=weights(), name="aux_fc")(x)


def classifiers(cells, norm):
    return ((f"normal2_{cells}_out", partial(auxiliary, norm=norm)),)


for name, (cells, last, _, _, dropout, side, classes) in NETWORKS.items():
    title, shape, smallest = f"NASNet-A ({cells} @ {last})", (side, side, 3), (32, 32, 3) if side > 32 else (8, 8, 3)
    norm = imagenet_norm if side > 32 else batch_norm
    register(Architecture(name, title, partial(body, name=name, norm=norm), partial(head, dropout=dropout), shape, classes,
                          smallest=smallest, auxiliary=classifiers(cells, norm), drops_paths=True))
    if side > 32:
        register(Architecture(f"{name}_keras", f"{title} of keras.applications",
                              partial(body, name=name, pool=keras_pool), partial(head, dropout=0), shape, classes,
                              smallest=smallest,
                              differs="pooling with stride 2 takes padded zeros for values; no dropout"))
