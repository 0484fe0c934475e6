"""The ResNets of torchvision and keras.applications, where they differ from those of the paper (resnet_imagenet.py).

torchvision's follow fb.resnet.torch: the stride of a bottleneck is in its 3×3 convolution, the max pooling is
padded on both sides, and the first weights count a kernel's outputs. keras.applications has biases in every
convolution and other constants of batch normalisation; its order of weights is kept, so that its weights can be
set as a list.
"""
from functools import partial

import keras

from .blocks import average_head, batch_norm, channel_axis, conv, he, max_pool
from .resnet_imagenet import DEPTHS, add, add_network, conv_bn, conv_bn_relu, project_if_changed, stages

FAN_OUT = partial(he, "fan_out")


def torchvision_basic(x, width, stride, L, name):
    y = conv_bn_relu(x, width, 3, stride, L, f"{name}_1", FAN_OUT)
    y = conv_bn(y, width, 3, 1, L, f"{name}_2", FAN_OUT)
    return add(project_if_changed(x, width, stride, L, name, FAN_OUT), y, L, name)


def torchvision_bottleneck(x, width, stride, L, name):
    y = conv_bn_relu(x, width, 1, 1, L, f"{name}_1", FAN_OUT)
    y = conv_bn_relu(y, width, 3, stride, L, f"{name}_2", FAN_OUT)
    y = conv_bn(y, 4 * width, 1, 1, L, f"{name}_3", FAN_OUT)
    return add(project_if_changed(x, 4 * width, stride, L, name, FAN_OUT), y, L, name)


def torchvision_body(x, L, block, blocks):
    x = conv_bn_relu(x, 64, 7, 2, L, "conv1", FAN_OUT)
    x = max_pool(x, 3, 2, L, "conv2_pool", pad=1)
    return stages(x, L, block, blocks)


def keras_conv_bn(x, width, size, stride, L, name):
    x = conv(x, width, size, stride, L, f"{name}_conv")
    return batch_norm(x, L, f"{name}_bn", momentum=0.99, epsilon=1.001e-5)


def keras_bottleneck(x, width, stride, L, name):
    """Its shortcut comes first, and so do its weights."""
    if x.shape[channel_axis()] == 4 * width:
        skipped = x
    else:
        skipped = keras_conv_bn(x, 4 * width, 1, stride, L, f"{name}_0")
    y = L.ReLU(name=f"{name}_1_relu")(keras_conv_bn(x, width, 1, stride, L, f"{name}_1"))
    y = L.ReLU(name=f"{name}_2_relu")(keras_conv_bn(y, width, 3, 1, L, f"{name}_2"))
    return add(skipped, keras_conv_bn(y, 4 * width, 1, 1, L, f"{name}_3"), L, name)


def keras_body(x, L, block, blocks):
    x = L.ReLU(name="conv1_relu")(keras_conv_bn(x, 64, 7, 2, L, "conv1"))
    x = max_pool(x, 3, 2, L, "conv2_pool", pad=1)
    return stages(x, L, block, blocks)


for depth in DEPTHS:
    small = depth < 50
    add_network(f"resnet{depth}_torchvision", f"ResNet-{depth} of torchvision",
                torchvision_basic if small else torchvision_bottleneck, depth, torchvision_body,
                average_head,
                ("" if small else "stride in the 3×3 convolution of a bottleneck; ")
                + "max pooling padded on both sides; first weights count outputs")
for depth in (50, 101, 152):
    add_network(f"resnet{depth}_keras", f"ResNet-{depth} of keras.applications", keras_bottleneck, depth, keras_body,
                partial(average_head, initial=keras.initializers.GlorotUniform),
                "biases in every convolution; max pooling padded on both sides; epsilon 1.001e-5 and "
                "momentum 0.99 of batch normalisation; Glorot's first weights")
