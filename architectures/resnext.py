"""Aggregated Residual Transformations for Deep Neural Networks. Xie, Girshick, Dollár, Tu, He. CVPR 2017.

arXiv:1611.05431. Tables 1, 3 and 4 (ImageNet), section 5.3 and table 7 (CIFAR). `resnext50_32x4d` has
cardinality 32 and width 4: 32 paths of 4 maps in a bottleneck of conv2, twice as many with every stage. Figure
3 draws the block in three forms that compute the same: (a) every path ends in a 1×1 convolution and the outputs
are summed, (b) the paths are concatenated and end in one 1×1 convolution, (c) the paths are the groups of one
convolution. The networks are of form (c), as the authors' program (github.com/facebookresearch/ResNeXt): stride
in the 3×3, initial weights that count a kernel's outputs. The other forms of the smaller CIFAR network are
`resnext29_8x64d_summed_cifar` and `resnext29_8x64d_concatenated_cifar`.

`resnext101_32x8d` is torchvision's, not in the paper. The other ImageNet networks are the same in torchvision,
and their weights fit. For CIFAR the first version of the paper had pre-activated blocks; its program has these.
"""
from functools import partial

from .blocks import average_head, batch_norm, channel_axis, conv, he, max_pool
from .registry import Architecture, register

IMAGENET = {
    #       blocks in conv2, conv3, conv4, conv5
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}


def convolution(x, width, size, stride, L, name, **arguments):
    return conv(x, width, size, stride, L, f"{name}_conv", use_bias=False, kernel_initializer=he("fan_out"),
                **arguments)


def conv_bn(x, width, size, stride, L, name, **arguments):
    return batch_norm(convolution(x, width, size, stride, L, name, **arguments), L, f"{name}_bn")


def conv_bn_relu(x, width, size, stride, L, name, **arguments):
    return L.ReLU(name=f"{name}_relu")(conv_bn(x, width, size, stride, L, name, **arguments))


def paths(x, cardinality, width, stride, L, name):
    """1×1 and 3×3 convolutions of every path."""
    for path in range(1, cardinality + 1):
        y = conv_bn_relu(x, width, 1, 1, L, f"{name}_1_{path}")
        yield conv_bn_relu(y, width, 3, stride, L, f"{name}_2_{path}")


def summed(x, cardinality, width, wide, stride, L, name):
    """Figure 3(a). The normalisation is behind the sum (section 5)."""
    ends = [convolution(y, wide, 1, 1, L, f"{name}_3_{path}")
            for path, y in enumerate(paths(x, cardinality, width, stride, L, name), 1)]
    return batch_norm(L.Add(name=f"{name}_3_sum")(ends), L, f"{name}_3_bn")


def concatenated(x, cardinality, width, wide, stride, L, name):
    """Figure 3(b)."""
    ends = list(paths(x, cardinality, width, stride, L, name))
    return conv_bn(L.Concatenate(axis=channel_axis(), name=f"{name}_2_concat")(ends), wide, 1, 1, L, f"{name}_3")


def grouped(x, cardinality, width, wide, stride, L, name):
    """Figure 3(c)."""
    y = conv_bn_relu(x, cardinality * width, 1, 1, L, f"{name}_1")
    y = conv_bn_relu(y, cardinality * width, 3, stride, L, f"{name}_2", groups=cardinality)
    return conv_bn(y, wide, 1, 1, L, f"{name}_3")


def stages(x, L, counts, cardinality, width, form):
    """Residual blocks y = ReLU(x + F(x)); shortcuts project where the width changes (section 5, option B)."""
    for stage, count in enumerate(counts, 2):
        wide, path = 256 * 2**(stage - 2), width * 2**(stage - 2)
        for index in range(1, count + 1):
            name, stride = f"conv{stage}_{index}", 2 if stage > 2 and index == 1 else 1
            y = form(x, cardinality, path, wide, stride, L, name)
            if x.shape[channel_axis()] != wide:
                x = conv_bn(x, wide, 1, stride, L, f"{name}_0")
            x = L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([x, y]))
    return x


def imagenet_body(x, L, counts, cardinality, width, form=grouped):
    """Table 1."""
    x = conv_bn_relu(x, 64, 7, 2, L, "conv1")
    x = max_pool(x, 3, 2, L, "conv2_pool", pad=1)
    return stages(x, L, counts, cardinality, width, form)


def cifar_body(x, L, cardinality, width, form=grouped):
    """Three stages of three blocks, 29 layers."""
    return stages(conv_bn_relu(x, 64, 3, 1, L, "conv1"), L, (3, 3, 3), cardinality, width, form)


for depth, cardinality, width in ((50, 32, 4), (101, 32, 4), (101, 64, 4), (101, 32, 8)):
    register(Architecture(f"resnext{depth}_{cardinality}x{width}d", f"ResNeXt-{depth} ({cardinality}×{width}d)",
                          partial(imagenet_body, counts=IMAGENET[depth], cardinality=cardinality, width=width),
                          average_head, (224, 224, 3), 1000, smallest=(32, 32, 3),
                          differs="not in the paper: torchvision's" if width == 8 else ""))
for cardinality in (8, 16):
    register(Architecture(f"resnext29_{cardinality}x64d_cifar", f"ResNeXt-29 ({cardinality}×64d) for CIFAR",
                          partial(cifar_body, cardinality=cardinality, width=64), average_head, (32, 32, 3), 10,
                          smallest=(8, 8, 3)))
for form in (summed, concatenated):
    kind = form.__name__
    register(Architecture(f"resnext29_8x64d_{kind}_cifar", f"ResNeXt-29 (8×64d) for CIFAR, paths {kind}",
                          partial(cifar_body, cardinality=8, width=64, form=form), average_head, (32, 32, 3), 10,
                          smallest=(8, 8, 3)))
