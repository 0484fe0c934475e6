"""Non-local Neural Networks. Wang, Girshick, Gupta, He. CVPR 2018. arXiv:1711.07971. Table 1, section 4, tables 2(a)
to (f).

ResNets on clips of 32 frames, for the 400 classes of Kinetics: C2D, whose kernels see one frame; I3D (3×1×1), which
inflates conv1 to five frames and the first convolution of every second block to three, of res2's blocks all; and
both with non-local blocks, one, five or ten. Sizes are table 1's, so the poolings are padded by one. The stride of a
bottleneck is in its first convolution, as in the ResNets that the paper cites: table 2(e)'s 34.2 billion
multiply-adds of C2D with 101 layers are those of this network with unpadded poolings (34.17; padded 34.36; stride in
the 3×3 over 35). The authors' program (facebookresearch/video-nonlocal-net), written anew after the paper, differs
in both. From there come the places of the blocks, what I3D inflates and the constants; its non-local blocks have
biases and divide θ·φ by √channels, those of the paper have and do neither. The paper begins with ImageNet's weights;
here all weights are fresh.
"""
from functools import partial

import keras

from .blocks import batch_norm, channel_axis, he
from .registry import Architecture, register

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}             # blocks in res2, res3, res4 and res5
WIDTHS = (64, 128, 256, 512)                                # a bottleneck ends in four times as many
NOWHERE = ((), (), (), ())
# Blocks of each stage, from 1, that a non-local block follows: tables 2(a) and 2(c)
ONE = ((), (), (5,), ())
FIVE = {50: ((), (2, 4), (2, 4, 6), ()), 101: ((), (2, 4), (7, 14, 21), ())}
TEN = ((), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6), ())
# And those that I3D inflates: all of res2, then every second one
INFLATED = {50: ((1, 2, 3), (1, 3), (1, 3, 5), (2,)), 101: ((1, 2, 3), (1, 3), tuple(range(1, 24, 2)), (2,))}


def conv_bn(x, width, size, stride, L, name):
    """Convolution of size and stride (frames, rows, columns), padded on both sides, and batch normalisation."""
    padding = "same"
    if max(stride) > 1:
        padding, pad = "valid", tuple(k // 2 for k in size)
        x = L.ZeroPadding3D(pad, name=f"{name}_pad")(x) if max(pad) else x
    x = L.Conv3D(width, size, strides=stride, padding=padding, use_bias=False, kernel_initializer=he(),
                 name=f"{name}_conv")(x)
    return batch_norm(x, L, f"{name}_bn")


def conv_bn_relu(x, width, size, stride, L, name):
    return L.ReLU(name=f"{name}_relu")(conv_bn(x, width, size, stride, L, name))


def max_pool(x, size, stride, L, name):
    """Padded by one wherever the window is larger than one; behind a ReLU."""
    x = L.ZeroPadding3D(tuple(k // 2 for k in size), name=f"{name}_pad")(x)
    return L.MaxPooling3D(size, strides=stride, name=name)(x)


def bottleneck(x, width, frames, stride, L, name):
    """(frames)×1×1 with the stride, 1×3×3, 1×1×1, and a projection where the shape changes."""
    stride = (1, stride, stride)
    y = conv_bn_relu(x, width, (frames, 1, 1), stride, L, f"{name}_1")
    y = conv_bn_relu(y, width, (1, 3, 3), (1, 1, 1), L, f"{name}_2")
    y = conv_bn(y, 4 * width, (1, 1, 1), (1, 1, 1), L, f"{name}_3")
    if x.shape[channel_axis()] != 4 * width:
        x = conv_bn(x, 4 * width, (1, 1, 1), stride, L, f"{name}_0")
    return L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([x, y]))


def non_local(x, L, name, kind="embedded_gaussian"):
    """z = W_z y + x, φ and g max-pooled over space (figure 2 and section 3.3)."""
    return L.NonLocal(kind, subsample=(1, 2, 2), name=name)(x)


def body(x, L, depth, inflated=NOWHERE, places=NOWHERE, block=None):
    x = conv_bn_relu(x, 64, (1 if inflated == NOWHERE else 5, 7, 7), (2, 2, 2), L, "conv1")
    x = max_pool(x, (3, 3, 3), (2, 2, 2), L, "pool1")
    for stage, (width, blocks) in enumerate(zip(WIDTHS, DEPTHS[depth]), 2):
        for index in range(1, blocks + 1):
            frames = 3 if index in inflated[stage - 2] else 1
            stride = 2 if index == 1 and stage > 2 else 1
            x = bottleneck(x, width, frames, stride, L, f"res{stage}_{index}")
            if index in places[stage - 2]:
                x = block(x, L, f"res{stage}_{index}_nonlocal")
        if stage == 2:
            x = max_pool(x, (3, 1, 1), (2, 1, 1), L, "pool2")
    return x


def head(x, classes, L):
    x = L.GlobalAveragePooling3D(name="pool5")(x)
    x = L.Dropout(0.5, name="pool5_dropout")(x)
    return L.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="fc")(x)


def network(name, title, **arguments):
    register(Architecture(name, title, partial(body, **arguments), head, (32, 224, 224, 3), 400,
                          smallest=(8, 64, 64, 3)))


network("resnet50_c2d", "ResNet-50 C2D", depth=50)
network("resnet50_i3d", "ResNet-50 I3D", depth=50, inflated=INFLATED[50])
network("resnet101_c2d", "ResNet-101 C2D", depth=101)
network("resnet101_i3d", "ResNet-101 I3D", depth=101, inflated=INFLATED[101])
network("nonlocal1_resnet50_c2d", "ResNet-50 C2D with one non-local block", depth=50, places=ONE,
        block=non_local)
for kind in ("gaussian", "dot_product", "concatenation"):
    network(f"nonlocal1_{kind}_resnet50_c2d", f"ResNet-50 C2D with one non-local block, {kind.replace('_', ' ')}",
            depth=50, places=ONE, block=partial(non_local, kind=kind))
network("nonlocal_resnet50_c2d", "ResNet-50 C2D with five non-local blocks", depth=50, places=FIVE[50],
        block=non_local)
network("nonlocal10_resnet50_c2d", "ResNet-50 C2D with ten non-local blocks", depth=50, places=TEN,
        block=non_local)
network("nonlocal_resnet50_i3d", "ResNet-50 I3D with five non-local blocks", depth=50, inflated=INFLATED[50],
        places=FIVE[50], block=non_local)
network("nonlocal_resnet101_c2d", "ResNet-101 C2D with five non-local blocks", depth=101, places=FIVE[101],
        block=non_local)
