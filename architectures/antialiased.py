"""Making Convolutional Networks Shift-Invariant Again. Zhang. ICML 2019. arXiv:1904.11486. Section 3 and figure 6.

torchvision's networks with a blur wherever positions are left out: max pooling becomes dense and leaves its stride
to the blur behind it (MaxBlurPool), a strided convolution becomes dense and its stride a blur behind its ReLU
(ConvBlurPool), and average pooling becomes the blur (BlurPool). `_blur2`, `_blur3` and `_blur5` are the paper's
filters Rect-2, Tri-3 and Bin-5. Where there is no blur follows the author's program
(github.com/adobe/antialiased-cnns): the first convolution of ResNet, DenseNet and MobileNetV2 keeps its stride, the
costliest to blur, and half of AlexNet's 4 stays in its conv1. From there come also ResNet's max pooling over 2×2 and
MobileNetV2 without dropout. Blurs are mirrored at the border.
"""
from functools import partial

from . import alexnet, densenet, mobilenet_v2, vgg
from .blocks import average_head, batch_norm, channel_axis, conv, he
from .densenet import bn_relu, convolution, dense_block
from .registry import Architecture, register
from .resnet_imagenet import DEPTHS, WIDTHS, add, conv_bn, conv_bn_relu
from .resnet_presets import FAN_OUT

FILTERS = (2, 3, 5)


def blur(x, size, L, name):
    """Every second position of the blurred maps."""
    return L.BlurPooling2D(size, strides=2, name=name)(x)


def max_blur(x, window, size, L, name, padding="valid"):
    return L.MaxBlurPooling2D(window, strides=2, padding=padding, blur_size=size, name=name)(x)


# ------------------------------------------------------------------------------------------------- AlexNet and VGG

def alexnet_body(x, L, size):
    for name, (kernels, kernel, stride, pad) in alexnet.TORCHVISION.items():
        stride = 2 if name == "conv1" else stride
        x = conv(x, kernels, kernel, stride, L, name, pad, activation="relu",
                 **alexnet.torch(kernel**2 * x.shape[channel_axis()]))
        if name == "conv1":
            x = blur(x, size, L, "conv1_blur")
        if name in ("conv1", "conv2", "conv5"):
            x = max_blur(x, 3, size, L, f"pool{name[-1]}")
    return x


def plain(x, width, kernel, L, name):
    return L.Conv2D(width, kernel, padding="same", activation="relu", kernel_initializer=he("fan_out"),
                    name=f"{name}_conv")(x)


def vgg_body(x, L, size, block):
    for stage, widths in enumerate(vgg.CONFIGURATIONS["vgg16"], 1):
        for index, width in enumerate(widths, 1):
            x = block(x, width, 3, L, f"conv{stage}_{index}")
        x = max_blur(x, 2, size, L, f"pool{stage}")
    return x


# ---------------------------------------------------------------------------------------------------------- ResNet

def shortcut(x, width, stride, size, L, name):
    if stride == 2:
        x = blur(x, size, L, f"{name}_0_blur")
    return x if x.shape[channel_axis()] == width else conv_bn(x, width, 1, 1, L, f"{name}_0", FAN_OUT)


def basic(x, width, stride, size, L, name):
    y = conv_bn_relu(x, width, 3, 1, L, f"{name}_1", FAN_OUT)
    if stride == 2:
        y = blur(y, size, L, f"{name}_1_blur")
    y = conv_bn(y, width, 3, 1, L, f"{name}_2", FAN_OUT)
    return add(shortcut(x, width, stride, size, L, name), y, L, name)


def bottleneck(x, width, stride, size, L, name):
    y = conv_bn_relu(x, width, 1, 1, L, f"{name}_1", FAN_OUT)
    y = conv_bn_relu(y, width, 3, 1, L, f"{name}_2", FAN_OUT)
    if stride == 2:
        y = blur(y, size, L, f"{name}_2_blur")
    y = conv_bn(y, 4 * width, 1, 1, L, f"{name}_3", FAN_OUT)
    return add(shortcut(x, 4 * width, stride, size, L, name), y, L, name)


def resnet_body(x, L, size, depth):
    x = conv_bn_relu(x, 64, 7, 2, L, "conv1", FAN_OUT)
    x = max_blur(x, 2, size, L, "conv2_pool")
    block = basic if depth < 50 else bottleneck
    for stage, (width, count) in enumerate(zip(WIDTHS, DEPTHS[depth]), 2):
        for index in range(1, count + 1):
            x = block(x, width, 2 if stage > 2 and index == 1 else 1, size, L, f"conv{stage}_{index}")
    return x


# ------------------------------------------------------------------------------------------ DenseNet and MobileNetV2

def densenet_body(x, L, size, growth, counts):
    x = conv(x, 2 * growth, 7, 2, L, "convolution", use_bias=False, kernel_initializer=he("fan_out"))
    x = max_blur(bn_relu(x, L, "convolution", batch_norm), 3, size, L, "pooling", padding="same")
    for index, layers in enumerate(counts, 1):
        x = dense_block(x, layers, growth, densenet.bottleneck, L, f"denseblock{index}", batch_norm)
        if index < len(counts):
            x = bn_relu(x, L, f"transition{index}", batch_norm)
            x = convolution(x, x.shape[channel_axis()] // 2, 1, L, f"transition{index}_conv")
            x = blur(x, size, L, f"transition{index}_pool")
    return bn_relu(x, L, f"denseblock{len(counts)}", batch_norm)


def inverted(x, expansion, width, stride, size, L, name):
    """MobileNetV2's block, blurred behind the depthwise convolution's ReLU."""
    def bn_relu6(y, part):
        return L.ReLU(6.0, name=f"{name}_{part}_relu")(batch_norm(y, L, f"{name}_{part}_bn"))

    before, y = x.shape[channel_axis()], x
    if expansion > 1:
        y = convolution(y, expansion * before, 1, L, f"{name}_expand")
        y = bn_relu6(y, "expand")
    y = bn_relu6(mobilenet_v2.torch_depthwise(y, 1, L, f"{name}_dw", use_bias=False), "dw")
    if stride == 2:
        y = blur(y, size, L, f"{name}_blur")
    y = batch_norm(convolution(y, width, 1, L, f"{name}_project"), L, f"{name}_project_bn")
    return L.Add(name=f"{name}_add")([x, y]) if (stride, before) == (1, width) else y


def mobilenet_body(x, L, size):
    x = conv(x, 32, 3, 2, L, "conv1", use_bias=False, kernel_initializer=he("fan_out"))
    x = L.ReLU(6.0, name="conv1_relu")(batch_norm(x, L, "conv1_bn"))
    for stage, (t, c, n, s) in enumerate(mobilenet_v2.TABLE_2, 1):
        for index in range(1, n + 1):
            x = inverted(x, t, c, s if index == 1 else 1, size, L, f"bottleneck{stage}_{index}")
    x = batch_norm(convolution(x, 1280, 1, L, "conv2"), L, "conv2_bn")
    return L.ReLU(6.0, name="conv2_relu")(x)


NETWORKS = {
    #              body, head, smallest side
    "alexnet":     (alexnet_body, alexnet.torchvision_head, 95),
    "vgg16":       (partial(vgg_body, block=plain), vgg.torchvision_head, 64),
    "vgg16_bn":    (partial(vgg_body, block=vgg.normalised), vgg.torchvision_head, 64),
    "resnet18":    (partial(resnet_body, depth=18), average_head, 64),
    "resnet34":    (partial(resnet_body, depth=34), average_head, 64),
    "resnet50":    (partial(resnet_body, depth=50), average_head, 64),
    "resnet101":   (partial(resnet_body, depth=101), average_head, 64),
    "densenet121": (partial(densenet_body, growth=32, counts=densenet.IMAGENET[121][1]), densenet.head, 64),
    "mobilenet_v2": (mobilenet_body, partial(mobilenet_v2.head, dropout=0, weights=mobilenet_v2.small), 64),
}
for name, (body, head, side) in NETWORKS.items():
    for size in FILTERS:
        register(Architecture(f"{name}_blur{size}", f"{name} anti-aliased, filter of {size}",
                              partial(body, size=size), head, (224, 224, 3), 1000, smallest=(side, side, 3)))
