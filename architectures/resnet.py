"""Deep Residual Learning for Image Recognition. He, Zhang, Ren, Sun. CVPR 2016. arXiv:1512.03385.

Section 4.2, table 6. The CIFAR networks: 6n + 2 weighted layers in three stages of n blocks, parameter-free
shortcuts (option A), and the plain networks without shortcuts; those of table 1 are in resnet_imagenet.py. An
option A shortcut takes every second pixel and appends zero channels; the paper does not say where the zeros go,
here they are the last channels.
"""
from functools import partial

from .blocks import average_head, batch_norm, channel_axis, conv, he
from .registry import Architecture, register

CIFAR = {
    #         blocks a stage
    20: 3,
    32: 5,
    44: 7,
    56: 9,
    110: 18,
}
WIDTHS = (16, 32, 64)           # feature maps at 32×32, 16×16, 8×8


def conv_bn(x, width, stride, L, name):
    """3×3 convolution and batch normalisation, in front of the activation (section 3.4)."""
    x = conv(x, width, 3, stride, L, f"{name}_conv", use_bias=False, kernel_initializer=he())
    return batch_norm(x, L, f"{name}_bn")


def shortcut(x, width, stride, L, name):
    """Identity, or option A where the shape changes: every second pixel, zero channels appended."""
    if stride == 1:
        return x
    x = L.AveragePooling2D(1, strides=stride, name=f"{name}_subsample")(x)
    return L.PadChannels(width, axis=channel_axis(), name=f"{name}_zeros")(x)


def residual(x, width, stride, L, name):
    """y = ReLU(F(x) + x) (figure 2)."""
    y = conv_bn(x, width, stride, L, f"{name}_1")
    y = L.ReLU(name=f"{name}_1_relu")(y)
    y = conv_bn(y, width, 1, L, f"{name}_2")
    y = L.Add(name=f"{name}_add")([y, shortcut(x, width, stride, L, name)])
    return L.ReLU(name=f"{name}_out")(y)


def plain(x, width, stride, L, name):
    """The same two layers without the shortcut (section 3.3)."""
    for index, step in ((1, stride), (2, 1)):
        x = conv_bn(x, width, step, L, f"{name}_{index}")
        x = L.ReLU(name=f"{name}_{index}_relu" if index == 1 else f"{name}_out")(x)
    return x


def cifar_body(x, L, block, blocks):
    """conv1, then three stages; every stage but the first begins with stride 2."""
    x = conv_bn(x, WIDTHS[0], 1, L, "conv1")
    x = L.ReLU(name="conv1_out")(x)
    for stage, width in enumerate(WIDTHS):
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(x, width, stride, L, f"conv{stage + 2}_{index + 1}")
    return x


cifar_head = partial(average_head, initial=he)          # section 4.2


for depth, blocks in CIFAR.items():
    for block, family in ((residual, "resnet"), (plain, "plain")):
        title = f"{'ResNet' if block is residual else 'Plain'}-{depth} for CIFAR"
        register(Architecture(f"{family}{depth}_cifar", title, partial(cifar_body, block=block, blocks=blocks),
                              cifar_head, (32, 32, 3), 10, smallest=(16, 16, 3)))
# The one with more than a thousand layers (section 4.2, "Exploring Over 1000 layers") has no plain twin.
register(Architecture("resnet1202_cifar", "ResNet-1202 for CIFAR", partial(cifar_body, block=residual, blocks=200),
                      cifar_head, (32, 32, 3), 10, smallest=(16, 16, 3)))
