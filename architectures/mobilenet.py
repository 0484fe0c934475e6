"""MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications. Howard et al.
arXiv:1704.04861, 2017.

Table 1, the width multipliers of table 6, and the full convolutions and the shallow network of tables 4 and 5. The
other resolutions of table 7 are the argument `input_shape`. Padding, initial weights and batch normalisation's
constants are those of the authors' program (tensorflow/models, slim/nets/mobilenet_v1.py). That rectifies at 6 and
drops 0.1 % before the classifier; the paper says ReLU and no dropout, and so these networks. Table 1 prints stride 2
for the last depthwise convolution, whose input and output are 7×7: it is 1, as in the program.
"""
from functools import partial

import keras

from .blocks import batch_norm
from .registry import Architecture, register

TABLE_1 = (
    # stride, width of each separable convolution, behind a full one of 32 maps with stride 2
    (1, 64),
    (2, 128), (1, 128),
    (2, 256), (1, 256),
    (2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512),
    (2, 1024), (1, 1024),
)
SHALLOW = TABLE_1[:6] + TABLE_1[11:]                        # table 5: without the five of 14×14×512
WIDTHS = {"": 1.0, "_075": 0.75, "_050": 0.5, "_025": 0.25}


def weights():
    return keras.initializers.TruncatedNormal(stddev=0.09)


def bn_relu(x, L, name, momentum=0.9997, limit=None):
    return L.ReLU(limit, name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn", momentum=momentum, epsilon=1e-3))


def full(x, width, stride, L, name):
    """3×3 convolution, BN, ReLU (figure 3, left)."""
    x = L.Conv2D(width, 3, strides=stride, padding="same", use_bias=False, kernel_initializer=weights(),
                 name=f"{name}_conv")(x)
    return bn_relu(x, L, name)


def separable(x, width, stride, L, name):
    """3×3 depthwise convolution, BN, ReLU, 1×1 convolution, BN, ReLU (figure 3, right)."""
    x = L.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, depthwise_initializer=weights(),
                          name=f"{name}_dw")(x)
    x = bn_relu(x, L, f"{name}_dw")
    x = L.Conv2D(width, 1, use_bias=False, kernel_initializer=weights(), name=f"{name}_pw")(x)
    return bn_relu(x, L, f"{name}_pw")


def body(x, L, table=TABLE_1, block=separable, width=1.0):
    x = full(x, int(32 * width), 2, L, "conv1")
    for index, (stride, maps) in enumerate(table, 2):
        x = block(x, int(maps * width), stride, L, f"conv{index}")
    return x


def head(x, classes, L):
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return L.Dense(classes, kernel_initializer=weights(), name="fc")(x)


def keras_body(x, L, width):
    """The same in keras.applications: rectified at 6, one row and column of zeros behind what is strided."""
    x = L.Conv2D(int(32 * width), 3, strides=2, padding="same", use_bias=False, name="conv1_conv")(x)
    x = bn_relu(x, L, "conv1", 0.99, 6.0)
    for index, (stride, maps) in enumerate(TABLE_1, 2):
        name, padding = f"conv{index}", "same"
        if stride == 2:
            x, padding = L.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x), "valid"
        x = L.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, name=f"{name}_dw")(x)
        x = bn_relu(x, L, f"{name}_dw", 0.99, 6.0)
        x = L.Conv2D(int(maps * width), 1, use_bias=False, name=f"{name}_pw")(x)
        x = bn_relu(x, L, f"{name}_pw", 0.99, 6.0)
    return x


def keras_head(x, classes, L):
    """A 1×1 convolution of the mean, with dropout."""
    x = L.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = L.Dropout(1e-3, name="pool_dropout")(x)
    x = L.Conv2D(classes, 1, name="fc")(x)
    return L.Flatten(name="fc_flat")(x)


for suffix, width in WIDTHS.items():
    register(Architecture(f"mobilenet_v1{suffix}", f"{width} MobileNet", partial(body, width=width), head,
                          (224, 224, 3), 1000, smallest=(32, 32, 3)))
register(Architecture("mobilenet_v1_conv", "Conv MobileNet, full convolutions", partial(body, block=full), head,
                      (224, 224, 3), 1000, smallest=(32, 32, 3)))
register(Architecture("mobilenet_v1_shallow", "Shallow MobileNet", partial(body, table=SHALLOW), head,
                      (224, 224, 3), 1000, smallest=(32, 32, 3)))
for suffix, width in WIDTHS.items():
    register(Architecture(f"mobilenet_v1{suffix}_keras", f"{width} MobileNet of keras.applications",
                          partial(keras_body, width=width), keras_head, (224, 224, 3), 1000, smallest=(32, 32, 3),
                          differs="ReLU at 6; zeros only behind what is strided where the size is odd; dropout "
                                  "0.001 and a 1×1 convolution as classifier; BN momentum 0.99; Glorot initial "
                                  "weights"))
