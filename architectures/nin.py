"""Network In Network. Lin, Chen, Yan. ICLR 2014. arXiv:1312.4400. Sections 3 and 4, figure 2.

An mlpconv layer is a convolution and two 1×1 convolutions behind it, each with a ReLU, the last one too;
global average pooling of as many maps as there are classes stands in place of dense layers. `nin_cifar` is
section 4's network of three mlpconv layers, `nin` the ImageNet network of the authors' in Caffe's model zoo,
which the paper does not have.

The paper prints neither widths nor windows. They are those of the authors' programs, first weights too: for
CIFAR-10 NIN/cifar-10_def in their fork of cuda-convnet (mavenlin/cuda-convnet), for ImageNet the zoo's
nin_imagenet. Both let the last window of a pool hang over the border. The zoo's network for CIFAR-10, not
this one, averages in its second pool.
"""
import keras

from .blocks import conv, max_pool
from .registry import Architecture, register

CIFAR = {
    #            window, maps of the convolution and of the two 1×1
    "mlpconv1": (5, 192, 160, 96),
    "mlpconv2": (5, 192, 192, 192),
    "mlpconv3": (3, 192, 192),                  # its last 1×1 has a map for every class
}
IMAGENET = {
    #            window stride pad, maps, deviations of the first weights
    "mlpconv1": (11, 4, 0, (96, 96, 96), (0.01, 0.05, 0.05)),
    "mlpconv2": (5, 1, 2, (256, 256, 256), (0.05, 0.05, 0.05)),
    "mlpconv3": (3, 1, 1, (384, 384, 384), (0.01, 0.05, 0.05)),
    "mlpconv4": (3, 1, 1, (1024, 1024), (0.05, 0.05, 0.01)),
}


def mlpconv(x, L, stage, size, stride, pad, maps, deviations):
    """A convolution and 1×1 convolutions of `maps` maps, a ReLU behind each; `deviations` of their first weights."""
    for index, (width, deviation) in enumerate(zip(maps, deviations, strict=True)):
        small = keras.initializers.RandomNormal(0.0, deviation)
        if index == 0:
            x = conv(x, width, size, stride, L, f"{stage}_conv", pad, activation="relu", kernel_initializer=small)
        else:
            x = L.Conv2D(width, 1, activation="relu", kernel_initializer=small, name=f"{stage}_cccp{index}")(x)
    return x


def cifar_body(x, L):
    for stage, (size, *maps) in list(CIFAR.items())[:2]:
        x = mlpconv(x, L, stage, size, 1, size // 2, maps, 3 * (0.05,))
        x = max_pool(x, 3, 2, L, f"pool{stage[-1]}", ceil=True)
        x = L.Dropout(0.5, name=f"pool{stage[-1]}_dropout")(x)
    size, *maps = CIFAR["mlpconv3"]
    return mlpconv(x, L, "mlpconv3", size, 1, size // 2, maps, 2 * (0.05,))


def imagenet_body(x, L):
    for stage, (size, stride, pad, maps, deviations) in IMAGENET.items():
        x = mlpconv(x, L, stage, size, stride, pad, maps, deviations[:len(maps)])
        if stage != "mlpconv4":
            x = max_pool(x, 3, 2, L, f"pool{stage[-1]}", ceil=True)
        if stage == "mlpconv3":
            x = L.Dropout(0.5, name="pool3_dropout")(x)
    return x


def head(x, classes, L, stage, deviation):
    """A map for every class, its ReLU, and the mean of each map."""
    small = keras.initializers.RandomNormal(0.0, deviation)
    x = L.Conv2D(classes, 1, activation="relu", kernel_initializer=small, name=f"{stage}_cccp2")(x)
    return L.GlobalAveragePooling2D(name="pool")(x)


def cifar_head(x, classes, L):
    return head(x, classes, L, "mlpconv3", 0.05)


def imagenet_head(x, classes, L):
    return head(x, classes, L, "mlpconv4", IMAGENET["mlpconv4"][-1][-1])


register(Architecture("nin", "Network in Network for ImageNet, of Caffe's model zoo", imagenet_body, imagenet_head,
                      (224, 224, 3), 1000, smallest=(67, 67, 3)))
register(Architecture("nin_cifar", "Network in Network for CIFAR", cifar_body, cifar_head, (32, 32, 3), 10,
                      smallest=(16, 16, 3)))
