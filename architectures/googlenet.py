"""Going Deeper with Convolutions. Szegedy et al. CVPR 2015. arXiv:1409.4842. Table 1, figure 3.

The authors' program is not public. Padding, pooling windows that hang over the border, response normalisation
(k = 1; α multiplies the mean over 5 maps), Glorot's initial weights and biases of 0.2 are those of Caffe's
replication (BVLC/caffe, models/bvlc_googlenet). The two auxiliary classifiers of section 5 come with build(…,
auxiliary=True).

Table 1's multiply-adds agree to within a million but for conv1 (34M, where 7×7 kernels over three colours take
118M) and (5a) (54M, where the printed widths give 51M). Its parameters are weights in units of 1,024 and up to
8 % off in (4c) to (5b); conv1's 2.7K are 9.4K.

`googlenet_torchvision` is torchvision's: batch normalisation, no response normalisation, 3×3 convolutions in
place of the 5×5 (a slip that its weights were trained with), a fourth pooling of 2×2.
"""
from functools import partial

import keras

from .blocks import batch_norm, channel_axis, conv, max_pool, xavier
from .registry import Architecture, register

INCEPTION = {
    #      1×1  3×3 reduce, 3×3  5×5 reduce, 5×5  pool proj
    "3a": (64,  96, 128,         16, 32,          32),
    "3b": (128, 128, 192,        32, 96,          64),
    "4a": (192, 96, 208,         16, 48,          64),
    "4b": (160, 112, 224,        24, 64,          64),
    "4c": (128, 128, 256,        24, 64,          64),
    "4d": (112, 144, 288,        32, 64,          64),
    "4e": (256, 160, 320,        32, 128,         128),
    "5a": (256, 160, 320,        32, 128,         128),
    "5b": (384, 192, 384,        48, 128,         128),
}


def small():
    return keras.initializers.TruncatedNormal(0.0, 0.01)


def convolution(x, width, size, L, name, stride=1):
    return conv(x, width, size, stride, L, name, activation="relu", kernel_initializer=xavier(),
                bias_initializer=keras.initializers.Constant(0.2))


def normalised(x, width, size, L, name, stride=1):
    """torchvision's: convolution without bias, batch normalisation, ReLU."""
    x = conv(x, width, size, stride, L, f"{name}_conv", use_bias=False, kernel_initializer=small())
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn", epsilon=1e-3))


def response_norm(x, L, name):
    return L.LocalResponseNormalization(bias=1.0, alpha=1e-4 / 5, axis=channel_axis(), name=name)(x)


def inception(x, module, L, conv=convolution, large=5):
    """Four ways side by side (figure 2b). `large`: the size of the largest kernels."""
    one, reduce3, three, reduce5, five, proj = INCEPTION[module]
    name = f"inception{module}"
    pooled = L.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    ways = [conv(x, one, 1, L, f"{name}_1x1"),
            conv(conv(x, reduce3, 1, L, f"{name}_3x3_reduce"), three, 3, L, f"{name}_3x3"),
            conv(conv(x, reduce5, 1, L, f"{name}_5x5_reduce"), five, large, L, f"{name}_5x5"),
            conv(pooled, proj, 1, L, f"{name}_proj")]
    return L.Concatenate(axis=channel_axis(), name=f"{name}_concat")(ways)


def body(x, L):
    """Table 1, down to inception (5b)."""
    x = max_pool(convolution(x, 64, 7, L, "conv1", stride=2), 3, 2, L, "pool1", ceil=True)
    x = convolution(response_norm(x, L, "pool1_norm"), 64, 1, L, "conv2_reduce")
    x = response_norm(convolution(x, 192, 3, L, "conv2"), L, "conv2_norm")
    x = max_pool(x, 3, 2, L, "pool2", ceil=True)
    for module in INCEPTION:
        x = inception(x, module, L)
        if module in ("3b", "4e"):
            x = max_pool(x, 3, 2, L, f"pool{module[0]}", ceil=True)
    return x


def head(x, classes, L):
    """Average pooling, dropout 0.4, a dense layer."""
    x = L.GlobalAveragePooling2D(name="pool5")(x)
    x = L.Dropout(0.4, name="pool5_dropout")(x)
    return L.Dense(classes, kernel_initializer=xavier(), name="linear")(x)


def auxiliary(x, classes, L, name):
    """Averages of 5×5 in steps of 3, 128 filters of 1×1, 1024 units, dropout 0.7 (section 5)."""
    x = L.AveragePooling2D(5, strides=3, name=f"{name}_pool")(x)
    x = L.Flatten(name=f"{name}_flat")(convolution(x, 128, 1, L, f"{name}_conv"))
    x = L.Dense(1024, activation="relu", kernel_initializer=xavier(),
                bias_initializer=keras.initializers.Constant(0.2), name=f"{name}_fc")(x)
    x = L.Dropout(0.7, name=f"{name}_dropout")(x)
    return L.Dense(classes, kernel_initializer=xavier(), name=f"{name}_linear")(x)


def torchvision_body(x, L):
    x = max_pool(normalised(x, 64, 7, L, "conv1", stride=2), 3, 2, L, "pool1", ceil=True)
    x = normalised(normalised(x, 64, 1, L, "conv2_reduce"), 192, 3, L, "conv2")
    x = max_pool(x, 3, 2, L, "pool2", ceil=True)
    for module in INCEPTION:
        x = inception(x, module, L, normalised, large=3)
        if module in ("3b", "4e"):
            x = max_pool(x, 3 if module == "3b" else 2, 2, L, f"pool{module[0]}", ceil=True)
    return x


def torchvision_head(x, classes, L):
    x = L.GlobalAveragePooling2D(name="pool5")(x)
    x = L.Dropout(0.2, name="pool5_dropout")(x)
    return L.Dense(classes, kernel_initializer=small(), name="linear")(x)


def torchvision_auxiliary(x, classes, L, name):
    """Averages of 4×4 windows that share the map out as evenly as can be."""
    x = L.AdaptiveAveragePooling2D(4, name=f"{name}_pool")(x)
    x = L.Flatten(name=f"{name}_flat")(normalised(x, 128, 1, L, name))
    x = L.Dense(1024, activation="relu", kernel_initializer=small(), name=f"{name}_fc")(x)
    x = L.Dropout(0.7, name=f"{name}_dropout")(x)
    return L.Dense(classes, kernel_initializer=small(), name=f"{name}_linear")(x)


def classifiers(build):
    """Those behind inception (4a) and (4d)."""
    return (("inception4a_concat", partial(build, name="aux1")), ("inception4d_concat", partial(build, name="aux2")))


register(Architecture("googlenet", "GoogLeNet", body, head, (224, 224, 3), 1000, smallest=(80, 80, 3),
                      auxiliary=classifiers(auxiliary)))
register(Architecture("googlenet_torchvision", "GoogLeNet of torchvision", torchvision_body, torchvision_head,
                      (224, 224, 3), 1000, smallest=(64, 64, 3), auxiliary=classifiers(torchvision_auxiliary),
                      differs="batch normalisation, no response normalisation; 3×3 in place of 5×5; a fourth pooling "
                              "of 2×2; dropout 0.2; auxiliary averages that share the map out evenly"))
