"""Identity Mappings in Deep Residual Networks. He, Zhang, Ren, Sun. ECCV 2016. arXiv:1603.05027. Tables 3, 4 and 5.

Batch normalisation and ReLU stand in front of every convolution (figure 1b), so that a shortcut is the identity
from end to end. Two units are special (appendix): the first begins behind the activation of conv1, on both its
ways, and the last has an activation of its own behind it. Where the width of a bottleneck changes, its shortcut
projects the activated input by a 1×1 convolution; the basic units of the 110 layers have the parameter-free
option A of the first paper.

The stride is in the first 1×1 convolution and initial weights count a kernel's outputs, as in the authors'
CIFAR program (github.com/KaimingHe/resnet-1k-layers). Their program for ImageNet is not public: `preact152` and
`preact200` have the same units in the stages of ResNet-152; 200 layers have sixteen units more in conv3.
fb.resnet.torch puts the stride into the 3×3 convolution. `resnet50v2_keras` … are those of keras.applications.
"""
from functools import partial

import keras

from .blocks import average_head, batch_norm, channel_axis, conv, he, max_pool
from .registry import Architecture, register
from .resnet import shortcut as zeros

IMAGENET = {
    #   units in conv2, conv3, conv4, conv5
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
KERAS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def convolution(x, width, size, stride, L, name):
    return conv(x, width, size, stride, L, f"{name}_conv", use_bias=False, kernel_initializer=he("fan_out"))


def bn_relu(x, L, name):
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn"))


def basic(x, active, width, stride, L, name):
    """x + F(x) of two 3×3 convolutions; active: x behind its activation."""
    y = convolution(active, width, 3, stride, L, f"{name}_1")
    y = convolution(bn_relu(y, L, f"{name}_2"), width, 3, 1, L, f"{name}_2")
    return L.Add(name=f"{name}_add")([zeros(x, width, stride, L, name), y])


def bottleneck(x, active, width, stride, L, name):
    """x + F(x) of 1×1, 3×3 and 1×1 convolutions; a projection where the width changes."""
    if x.shape[channel_axis()] != width:
        x = convolution(active, width, 1, stride, L, f"{name}_0")
    y = convolution(active, width // 4, 1, stride, L, f"{name}_1")
    y = convolution(bn_relu(y, L, f"{name}_2"), width // 4, 3, 1, L, f"{name}_2")
    y = convolution(bn_relu(y, L, f"{name}_3"), width, 1, 1, L, f"{name}_3")
    return L.Add(name=f"{name}_add")([x, y])


def stages(x, L, unit, widths, counts):
    """x is active already: the first unit takes it as it is. An activation behind the last unit."""
    for stage, (width, count) in enumerate(zip(widths, counts), 2):
        for index in range(1, count + 1):
            name = f"conv{stage}_{index}"
            active = x if name == "conv2_1" else bn_relu(x, L, f"{name}_1")
            x = unit(x, active, width, 2 if stage > 2 and index == 1 else 1, L, name)
    return bn_relu(x, L, f"conv{stage}")


def cifar_body(x, L, unit, widths, count):
    x = bn_relu(convolution(x, 16, 3, 1, L, "conv1"), L, "conv1")
    return stages(x, L, unit, widths, 3 * (count,))


def imagenet_body(x, L, counts):
    x = bn_relu(convolution(x, 64, 7, 2, L, "conv1"), L, "conv1")
    x = max_pool(x, 3, 2, L, "conv2_pool", ceil=True)
    return stages(x, L, bottleneck, (256, 512, 1024, 2048), counts)


def keras_bn_relu(x, L, name):
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn", momentum=0.99, epsilon=1.001e-5))


def keras_unit(x, width, stride, project, L, name):
    """Biases in the projection and the last convolution, stride in the 3×3; unprojected shortcuts take pixels."""
    active = keras_bn_relu(x, L, f"{name}_1")
    if project:
        x = conv(active, width, 1, stride, L, f"{name}_0_conv")
    elif stride > 1:
        x = L.MaxPooling2D(1, strides=stride, name=f"{name}_subsample")(x)
    y = conv(active, width // 4, 1, 1, L, f"{name}_1_conv", use_bias=False)
    y = keras_bn_relu(y, L, f"{name}_2")
    y = conv(y, width // 4, 3, stride, L, f"{name}_2_conv", use_bias=False)
    y = conv(keras_bn_relu(y, L, f"{name}_3"), width, 1, 1, L, f"{name}_3_conv")
    return L.Add(name=f"{name}_add")([x, y])


def keras_body(x, L, counts):
    """The last unit of a stage has the stride; no activation behind conv1."""
    x = conv(x, 64, 7, 2, L, "conv1_conv")
    x = max_pool(x, 3, 2, L, "conv2_pool", pad=1)           # pads with zeros, whatever the sign of the values
    for stage, (width, count) in enumerate(zip((256, 512, 1024, 2048), counts), 2):
        for index in range(1, count + 1):
            stride = 2 if stage < 5 and index == count else 1
            x = keras_unit(x, width, stride, index == 1, L, f"conv{stage}_{index}")
    return keras_bn_relu(x, L, "conv5")


for depth, unit, widths, count in ((110, basic, (16, 32, 64), 18), (164, bottleneck, (64, 128, 256), 18),
                                   (1001, bottleneck, (64, 128, 256), 111)):
    register(Architecture(f"preact{depth}_cifar", f"Pre-activation ResNet-{depth} for CIFAR",
                          partial(cifar_body, unit=unit, widths=widths, count=count), average_head, (32, 32, 3), 10,
                          smallest=(16, 16, 3)))
for depth, counts in IMAGENET.items():
    register(Architecture(f"preact{depth}", f"Pre-activation ResNet-{depth}", partial(imagenet_body, counts=counts),
                          average_head, (224, 224, 3), 1000, smallest=(32, 32, 3)))
for depth, counts in KERAS.items():
    register(Architecture(f"resnet{depth}v2_keras", f"ResNet-{depth} V2 of keras.applications",
                          partial(keras_body, counts=counts), partial(average_head, initial=keras.initializers.GlorotUniform), (224, 224, 3), 1000, smallest=(32, 32, 3),
                          differs="no activation behind conv1; stride in the 3×3 convolution of a stage's last unit; "
                                  "biases in some convolutions; epsilon 1.001e-5 and momentum 0.99 of batch "
                                  "normalisation; Glorot's first weights"))
