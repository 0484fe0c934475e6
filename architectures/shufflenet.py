"""ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices. Zhang, Zhou, Lin, Sun. CVPR
2018. arXiv:1707.01083. Table 1, the scales of tables 2 and 5, and the arms of table 3 without the shuffle.

Padding, initial weights and the classifier without a bias are those of the authors' program
(github.com/megvii-model/ShuffleNet-Series, ShuffleNetV1), and so are the first maps of the scales 0.5, 1.5 and 2.
The scale 0.25 is not in it: 12 first maps (8 for g = 8, which 12 do not fit) come nearest to the 13 million
multiply-adds of table 2. Where a quarter of the maps is no multiple of g, the bottleneck has the multiple below; the
paper is silent.
"""
from functools import partial

import keras

from .blocks import batch_norm, channel_axis, conv, max_pool
from .registry import Architecture, register

TABLE_1 = {
    # g: maps of stages 2, 3 and 4
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
UNITS = (4, 8, 4)
SCALES = {"": 1, "_050": 0.5, "_025": 0.25}
LARGER = {"_150": 1.5, "_200": 2}                               # table 5, g = 3
FIRST = {0.25: 12, 0.5: 12, 1: 24, 1.5: 24, 2: 48}              # maps of conv1
FIRST_OF_8 = {0.25: 8, 0.5: 16, 1: 24}


def bn(x, L, name):
    return batch_norm(x, L, name, beta_initializer=keras.initializers.Constant(1e-4))


def normal(deviation=0.01):
    return keras.initializers.RandomNormal(stddev=deviation)


def pointwise(x, width, groups, L, name):
    """1×1 group convolution and batch normalisation."""
    weights = normal(groups / x.shape[channel_axis()])
    return bn(L.Conv2D(width, 1, groups=groups, use_bias=False, kernel_initializer=weights, name=name)(x), L,
              f"{name}_bn")


def depthwise(x, stride, L, name):
    """3×3 depthwise convolution and batch normalisation, with no activation behind it."""
    padding = "same"
    if stride == 2:
        x, padding = L.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    x = L.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, depthwise_initializer=normal(1.0),
                          name=name)(x)
    return bn(x, L, f"{name}_bn")


def shuffled(x, groups, L, name):
    """A channel of every group to each group of the next layer (section 3.1)."""
    return L.ChannelShuffle(groups, axis=channel_axis(), name=f"{name}_shuffle")(x)


def unshuffled(x, groups, L, name):
    """Table 3's other arm, and a single group."""
    return x


def branch(x, bottleneck, width, stride, first, groups, mix, L, name):
    y = L.ReLU(name=f"{name}_reduce_relu")(pointwise(x, bottleneck, first, L, f"{name}_reduce"))
    y = depthwise(mix(y, groups, L, name), stride, L, f"{name}_dw")
    return pointwise(y, width, groups, L, f"{name}_expand")


def unit(x, width, groups, mix, L, name):
    """Figure 2(b): group convolution, shuffle, depthwise and group convolution, added to the input."""
    y = branch(x, bottleneck_of(width, groups), width, 1, groups, groups, mix, L, name)
    return L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([x, y]))


def strided_unit(x, width, first, groups, mix, L, name):
    """Figure 2(c): the branch adds the maps that its averaged input lacks. first: groups of its first convolution."""
    new = width - x.shape[channel_axis()]
    y = branch(x, bottleneck_of(width, groups), new, 2, first, groups, mix, L, name)
    y = L.ReLU(name=f"{name}_expand_relu")(y)
    x = L.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
    x = L.AveragePooling2D(3, strides=2, name=f"{name}_pool")(x)
    return L.Concatenate(axis=channel_axis(), name=f"{name}_out")([x, y])


def bottleneck_of(width, groups):
    """A quarter of the unit's maps (section 3.3), as a multiple of the groups."""
    return width // 4 // groups * groups


def body(x, L, groups, mix, scale=1):
    first = (FIRST_OF_8 if groups == 8 else FIRST)[scale]
    x = conv(x, first, 3, 2, L, "conv1", use_bias=False, kernel_initializer=normal())
    x = L.ReLU(name="conv1_relu")(bn(x, L, "conv1_bn"))
    x = max_pool(x, 3, 2, L, "maxpool", pad=1)
    for stage, (width, units) in enumerate(zip(TABLE_1[groups], UNITS), 2):
        width, ungrouped = int(width * scale), 1 if stage == 2 else groups      # table 1's caption
        x = strided_unit(x, width, ungrouped, groups, mix, L, f"stage{stage}_1")
        for index in range(2, units + 1):
            x = unit(x, width, groups, mix, L, f"stage{stage}_{index}")
    return x


def head(x, classes, L):
    x = L.GlobalAveragePooling2D(name="globalpool")(x)
    return L.Dense(classes, use_bias=False, kernel_initializer=normal(), name="fc")(x)


def network(name, title, **arguments):
    register(Architecture(name, title, partial(body, **arguments), head, (224, 224, 3), 1000, smallest=(32, 32, 3)))


for groups in TABLE_1:
    for suffix, scale in {**SCALES, **(LARGER if groups == 3 else {})}.items():
        network(f"shufflenet_v1_g{groups}{suffix}", f"ShuffleNet {scale}×, g = {groups}", groups=groups, scale=scale,
                mix=shuffled if groups > 1 else unshuffled)
for groups in (3, 8):
    for suffix, scale in SCALES.items():
        network(f"shufflenet_v1_g{groups}{suffix}_noshuffle", f"ShuffleNet {scale}×, g = {groups}, no shuffle",
                groups=groups, scale=scale, mix=unshuffled)
