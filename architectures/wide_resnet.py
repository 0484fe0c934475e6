"""Wide Residual Networks. Zagoruyko, Komodakis. BMVC 2016. arXiv:1605.07146. Tables 1, 5, 6 and 8.

WRN-n-k has n convolutions and stages k times as wide as those of the CIFAR ResNets, of pre-activation units
B(3, 3): `wrn28_10_cifar` is WRN-28-10. As the authors count, n takes the projections of the three stages in; a
network is 6N + 4 deep with N units a stage. In the _dropout networks a unit drops 0.3 of its values between its
convolutions (section 2.4).

`wrn50_2` is WRN-50-2-bottleneck: ResNet-50 with the inner width of its bottlenecks doubled, activations behind
the convolutions and the stride in the 3×3 (the authors' pretrained/wide-resnet.lua). torchvision's
wide_resnet50_2 is the same network, so its weights fit; its 101 layers are no network of the paper.
"""
from functools import partial

from .blocks import average_head, batch_norm, channel_axis, conv, he, max_pool
from .registry import Architecture, register

CIFAR = [
    #  n   k
    (16, 4),
    (16, 8),
    (28, 10),
    (40, 4),
]
DROPOUT = [(16, 4), (28, 10)]
IMAGENET = {
    #   bottlenecks in conv2, conv3, conv4, conv5
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}


def convolution(x, width, size, stride, L, name, fan="fan_out"):
    return conv(x, width, size, stride, L, f"{name}_conv", use_bias=False, kernel_initializer=he(fan))


def bn_relu(x, L, name):
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn"))


def wide(x, width, stride, L, name, dropout):
    """B(3, 3) of figure 1, c and d; a projection of the activated input where the width changes."""
    active = bn_relu(x, L, f"{name}_1")
    if x.shape[channel_axis()] != width:
        x = convolution(active, width, 1, stride, L, f"{name}_0")
    y = bn_relu(convolution(active, width, 3, stride, L, f"{name}_1"), L, f"{name}_2")
    if dropout:
        y = L.Dropout(dropout, name=f"{name}_dropout")(y)
    y = convolution(y, width, 3, 1, L, f"{name}_2")
    return L.Add(name=f"{name}_add")([x, y])


def cifar_body(x, L, units, factor, dropout=0):
    """Table 1: conv1 of 16 maps, then three stages of 16k, 32k and 64k, an activation behind the last."""
    x = convolution(x, 16, 3, 1, L, "conv1")
    for stage, width in ((2, 16), (3, 32), (4, 64)):
        for index in range(1, units + 1):
            stride = 2 if stage > 2 and index == 1 else 1
            x = wide(x, factor * width, stride, L, f"conv{stage}_{index}", dropout)
    return bn_relu(x, L, "conv4")


def bottleneck(x, width, stride, L, name, fan):
    """1×1, 3×3 and 1×1 convolutions; 2·width maps inside, 4·width behind them."""
    y = bn_relu(convolution(x, 2 * width, 1, 1, L, f"{name}_1", fan), L, f"{name}_1")
    y = bn_relu(convolution(y, 2 * width, 3, stride, L, f"{name}_2", fan), L, f"{name}_2")
    y = batch_norm(convolution(y, 4 * width, 1, 1, L, f"{name}_3", fan), L, f"{name}_3_bn")
    if x.shape[channel_axis()] != 4 * width:
        x = batch_norm(convolution(x, 4 * width, 1, stride, L, f"{name}_0", fan), L, f"{name}_0_bn")
    return L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([x, y]))


def imagenet_body(x, L, counts, fan="fan_in"):
    x = bn_relu(convolution(x, 64, 7, 2, L, "conv1", fan), L, "conv1")
    x = max_pool(x, 3, 2, L, "conv2_pool", pad=1)
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), counts), 2):
        for index in range(1, count + 1):
            x = bottleneck(x, width, 2 if stage > 2 and index == 1 else 1, L, f"conv{stage}_{index}", fan)
    return x


for depth, factor in CIFAR:
    register(Architecture(f"wrn{depth}_{factor}_cifar", f"WRN-{depth}-{factor} for CIFAR",
                          partial(cifar_body, units=(depth - 4) // 6, factor=factor), average_head, (32, 32, 3), 10,
                          smallest=(8, 8, 3)))
for depth, factor in DROPOUT:
    register(Architecture(f"wrn{depth}_{factor}_dropout_cifar", f"WRN-{depth}-{factor} with dropout for CIFAR",
                          partial(cifar_body, units=(depth - 4) // 6, factor=factor, dropout=0.3),
                          average_head, (32, 32, 3), 10, smallest=(8, 8, 3)))
register(Architecture("wrn50_2", "WRN-50-2-bottleneck", partial(imagenet_body, counts=IMAGENET[50]), average_head,
                      (224, 224, 3), 1000, smallest=(32, 32, 3)))
register(Architecture("wide_resnet101_2_torchvision", "Wide ResNet-101-2 of torchvision",
                      partial(imagenet_body, counts=IMAGENET[101], fan="fan_out"), average_head, (224, 224, 3), 1000,
                      smallest=(32, 32, 3), differs="not in the paper: WRN-50-2 with 101 layers"))
