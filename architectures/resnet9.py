"""How to Train Your ResNet. Page. myrtle.ai 2018. github.com/davidcpage/cifar10-fast, dawn.py: the function
net().

`resnet9_cifar`: eight 3×3 convolutions and a dense layer, two residual blocks, made to reach 94 % on CIFAR-10
soon; 6,573,120 parameters. A residual block adds what is behind its second ReLU, and there is no ReLU behind
the sum. The logits are an eighth of what the dense layer gives.
"""
from ..layers import FanIn
from .blocks import batch_norm, conv
from .registry import Architecture, register

LAYERS = {
    #         maps, 2×2 max pool, residual block behind it
    "prep":   (64,  False,        False),
    "layer1": (128, True,         True),
    "layer2": (256, True,         False),
    "layer3": (512, True,         True),
}


def conv_bn(x, width, L, name):
    """3×3 convolution, batch normalisation, ReLU."""
    x = conv(x, width, 3, 1, L, f"{name}_conv", use_bias=False, kernel_initializer=FanIn(1.0, 0.5))
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn"))


def residual(x, width, L, name):
    y = conv_bn(x, width, L, f"{name}_res1")
    y = conv_bn(y, width, L, f"{name}_res2")
    return L.Add(name=f"{name}_add")([x, y])


def body(x, L):
    for name, (width, pool, block) in LAYERS.items():
        x = conv_bn(x, width, L, name)
        x = L.MaxPooling2D(2, name=f"{name}_pool")(x) if pool else x
        x = residual(x, width, L, name) if block else x
    return x


def head(x, classes, L):
    """A 4×4 max pool takes all that is left of a 32×32 image."""
    x = L.MaxPooling2D(4, name="pool")(x)
    x = L.Flatten(name="linear_flat")(x)
    x = L.Dense(classes, use_bias=False, kernel_initializer=FanIn(1.0, 0.5), name="linear")(x)
    return L.Rescaling(0.125, name="classifier")(x)


register(Architecture("resnet9_cifar", "ResNet-9 for CIFAR-10 in a minute", body, head, (32, 32, 3), 10,
                      smallest=(32, 32, 3)))
