"""Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift.

Ioffe, Szegedy. ICML 2015. arXiv:1502.03167, appendix, figure 5: the Inception network with batch normalisation
behind every convolution and in front of its ReLU, each with γ and β in place of biases; no dropout, no response
normalisation (section 4.2.1). Two 3×3 convolutions stand for the 5×5 of GoogLeNet, modules (3c) and (4e) halve
the maps, and conv1 is a separable convolution with depth multiplier 8. TensorFlow's `same` padding, initial
weights and constants (decay 0.9997, ε = 0.001) are those of Google's later program (tensorflow/models,
slim/nets/inception_v2.py), which leaves γ out and has dropout.

Figure 5 contradicts itself in (4c) and (4d): it prints "avg + 128", and 576 maps, which only + 96 gives; Google's
program has 96, and so has this. The text speaks of 13.6 million parameters, which neither reading comes near.
"""
import keras

from .blocks import batch_norm, channel_axis
from .registry import Architecture, register

INCEPTION = {
    #      1×1  3×3 reduce, 3×3  double 3×3 reduce, 3×3  pool, proj
    "3a": (64,  64, 64,          64, 96,                 "avg", 32),
    "3b": (64,  64, 96,          64, 96,                 "avg", 64),
    "3c": (0,   128, 160,        64, 96,                 "max", 0),         # stride 2; the pool passes through
    "4a": (224, 64, 96,          96, 128,                "avg", 128),
    "4b": (192, 96, 128,         96, 128,                "avg", 128),
    "4c": (160, 128, 160,        128, 160,               "avg", 96),
    "4d": (96,  128, 192,        160, 192,               "avg", 96),
    "4e": (0,   128, 192,        192, 256,               "max", 0),         # stride 2
    "5a": (352, 192, 320,        160, 224,               "avg", 128),
    "5b": (352, 192, 320,        192, 224,               "max", 128),
}


def bn_relu(x, L, name):
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn", momentum=0.9997, epsilon=1e-3))


def scaled():
    """slim's: truncated normal of variance 2/inputs."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal")


def narrow(deviation):
    return keras.initializers.TruncatedNormal(0.0, deviation)


def convolution(x, width, size, L, name, stride=1, initial=scaled):
    x = L.Conv2D(width, size, strides=stride, padding="same", use_bias=False, kernel_initializer=initial(),
                 name=f"{name}_conv")(x)
    return bn_relu(x, L, name)


def reduce(x, width, L, name):
    """A 1×1 convolution in front of a 3×3."""
    return convolution(x, width, 1, L, f"{name}_reduce", initial=lambda: narrow(0.09))


def inception(x, module, L):
    """Up to four ways side by side; where there is no 1×1, all of them go in steps of 2."""
    one, reduce3, three, reduce_double, double, kind, proj = INCEPTION[module]
    name, stride = f"inception{module}", 1 if one else 2
    ways = [convolution(x, one, 1, L, f"{name}_1x1")] if one else []
    ways.append(convolution(reduce(x, reduce3, L, f"{name}_3x3"), three, 3, L, f"{name}_3x3", stride))
    y = convolution(reduce(x, reduce_double, L, f"{name}_double"), double, 3, L, f"{name}_double_1")
    ways.append(convolution(y, double, 3, L, f"{name}_double_2", stride))
    pool = L.AveragePooling2D if kind == "avg" else L.MaxPooling2D
    y = pool(3, strides=stride, padding="same", name=f"{name}_pool")(x)
    ways.append(convolution(y, proj, 1, L, f"{name}_proj", initial=lambda: narrow(0.1)) if proj else y)
    return L.Concatenate(axis=channel_axis(), name=f"{name}_concat")(ways)


def body(x, L):
    """Figure 5."""
    x = L.SeparableConv2D(64, 7, strides=2, padding="same", depth_multiplier=8, use_bias=False,
                          depthwise_initializer=narrow(1.0), pointwise_initializer=narrow(1.0), name="conv1_conv")(x)
    x = L.MaxPooling2D(3, strides=2, padding="same", name="pool1")(bn_relu(x, L, "conv1"))
    x = convolution(x, 64, 1, L, "conv2_reduce", initial=lambda: narrow(0.1))
    x = convolution(x, 192, 3, L, "conv2")
    x = L.MaxPooling2D(3, strides=2, padding="same", name="pool2")(x)
    for module in INCEPTION:
        x = inception(x, module, L)
    return x


def head(x, classes, L):
    """Average pooling and a dense layer."""
    x = L.GlobalAveragePooling2D(name="pool5")(x)
    return L.Dense(classes, kernel_initializer=scaled(), name="linear")(x)


register(Architecture("bn_inception", "BN-Inception", body, head, (224, 224, 3), 1000, smallest=(32, 32, 3)))
