"""MobileNetV2: Inverted Residuals and Linear Bottlenecks. Sandler, Howard, Zhu, Zhmoginov, Chen. CVPR 2018.
arXiv:1801.04381.

Table 2 and figure 4(d). Padding, initial weights, batch normalisation's constants, the rounding of widths to
multiples of 8 and dropout 0.2 before the classifier are those of the authors' program (tensorflow/models,
slim/nets/mobilenet). As there, multipliers below 1 leave the last convolution its 1280 maps (section 6.1), and the
first block, of expansion 1, has no expanding convolution. The last 1×1 convolution of table 2, which sees a single
position, is a dense layer.
"""
from functools import partial

import keras

from .blocks import batch_norm, channel_axis, conv, he
from .registry import Architecture, register

TABLE_2 = (
    # expansion t, maps c, repeated n times, first stride s
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
WIDTHS = {"": 1.0, "_035": 0.35, "_050": 0.5, "_075": 0.75, "_130": 1.3, "_140": 1.4}


def maps(count, width):
    """count · width, rounded to a multiple of 8 that is not below nine tenths of it."""
    wanted = count * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def published_norm(x, L, name, momentum=0.997):
    return batch_norm(x, L, name, momentum=momentum, epsilon=1e-3)


def keras_norm(x, L, name):
    return published_norm(x, L, name, momentum=0.999)


def published_weights():
    return keras.initializers.TruncatedNormal(stddev=0.09)


def small():
    return keras.initializers.RandomNormal(stddev=0.01)


def same(x, width, size, stride, L, name, **arguments):
    return L.Conv2D(width, size, strides=stride, padding="same", name=name, **arguments)(x)


def same_depthwise(x, stride, L, name, **arguments):
    return L.DepthwiseConv2D(3, strides=stride, padding="same", name=name, **arguments)(x)


def torch_depthwise(x, stride, L, name, **arguments):
    """Padded by one zero on both sides; initial weights of variance 2/9C for C channels, as Torch counts outputs."""
    arguments["depthwise_initializer"] = keras.initializers.RandomNormal(
        stddev=(2 / (9 * x.shape[channel_axis()])) ** 0.5)
    x = L.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return L.DepthwiseConv2D(3, strides=stride, name=name, **arguments)(x)


def block(x, expansion, width, stride, L, name, norm, weights, depthwise):
    """Expanded by a 1×1 convolution, filtered, and projected without a non-linearity (table 1; figure 4(d))."""
    before = x.shape[channel_axis()]
    y = x
    if expansion > 1:
        y = L.Conv2D(expansion * before, 1, use_bias=False, kernel_initializer=weights(), name=f"{name}_expand")(y)
        y = L.ReLU(6.0, name=f"{name}_expand_relu")(norm(y, L, f"{name}_expand_bn"))
    y = depthwise(y, stride, L, f"{name}_dw", use_bias=False, depthwise_initializer=weights())
    y = L.ReLU(6.0, name=f"{name}_dw_relu")(norm(y, L, f"{name}_dw_bn"))
    y = L.Conv2D(width, 1, use_bias=False, kernel_initializer=weights(), name=f"{name}_project")(y)
    y = norm(y, L, f"{name}_project_bn")
    return L.Add(name=f"{name}_add")([x, y]) if (stride, before) == (1, width) else y


def body(x, L, width=1.0, norm=published_norm, weights=published_weights, convolve=same, depthwise=same_depthwise):
    def conv_bn_relu(x, count, size, stride, name):
        x = convolve(x, count, size, stride, L, name, use_bias=False, kernel_initializer=weights())
        return L.ReLU(6.0, name=f"{name}_relu")(norm(x, L, f"{name}_bn"))

    x = conv_bn_relu(x, maps(32, width), 3, 2, "conv1")
    for stage, (t, c, n, s) in enumerate(TABLE_2, 1):
        for index in range(1, n + 1):
            x = block(x, t, maps(c, width), s if index == 1 else 1, L, f"bottleneck{stage}_{index}", norm, weights,
                      depthwise)
    return conv_bn_relu(x, maps(1280, max(width, 1)), 1, 1, "conv2")


def head(x, classes, L, dropout=0.2, weights=published_weights):
    x = L.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = L.Dropout(dropout, name="pool_dropout")(x)
    return L.Dense(classes, kernel_initializer=weights(), name="fc")(x)


for suffix, width in WIDTHS.items():
    register(Architecture(f"mobilenet_v2{suffix}", f"MobileNetV2 {width}", partial(body, width=width), head,
                          (224, 224, 3), 1000, smallest=(48, 48, 3)))
for suffix, width in WIDTHS.items():
    register(Architecture(f"mobilenet_v2{suffix}_keras", f"MobileNetV2 {width} of keras.applications",
                          partial(body, width=width, norm=keras_norm, weights=keras.initializers.GlorotUniform),
                          partial(head, dropout=0, weights=keras.initializers.GlorotUniform), (224, 224, 3), 1000,
                          smallest=(48, 48, 3), differs="no dropout; BN momentum 0.999; Glorot initial weights"))
register(Architecture("mobilenet_v2_torchvision", "MobileNetV2 of torchvision",
                      partial(body, norm=batch_norm, weights=partial(he, "fan_out"), convolve=conv,
                              depthwise=torch_depthwise),
                      partial(head, weights=small), (224, 224, 3), 1000,
                      smallest=(48, 48, 3),
                      differs="zeros on both sides of what is strided; BN epsilon 1e-5 and momentum 0.9; He initial "
                              "weights"))
