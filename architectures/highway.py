"""Training Very Deep Networks. Srivastava, Greff, Schmidhuber. NIPS 2015. arXiv:1507.06228.

`highway10_mnist` … `highway100_mnist` and their plain twins are the thin networks of section 3.1: a fully
connected layer, then 9, 19, 49 or 99 highway layers of 50 units, or plain ones of 71 (about 5,000 parameters a
layer), and a softmax. The paper searched for the activation (ReLU or tanh) and the gates' first bias (−1 to
−10) and does not print what it found; here tanh, and −2 as in its 50 layers of section 4. Table 1:
`highway_conv10_w16_mnist` and `…_w32_mnist`, ten layers with 16 and 32 maps. Table 3: `highway19_cifar`,
Highway B with a 1×1 convolution in place of its fully connected layer.

Windows, dropout and initial weights of the convolutional ones are those of the authors' program
(github.com/flukeskywalker/highway-networks, examples/highways), whose "xavier" draws from N(0, 2/inputs), and
whose conv1 on CIFAR begins from N(0, 1), Caffe's default. Highway A, B and C of table 2 are not described to
the last width, and left out.
"""
from functools import partial

import keras

from .blocks import conv, he, max_pool
from .registry import Architecture, register

CIFAR = {
    #  maps, and highway layers behind the first layer of a stage; conv1 … conv17
    1: (32, 4),
    2: (80, 5),
    3: (128, 5),
}


def gate_bias(value):
    return keras.initializers.Constant(value)


def dense_highway(x, L, name):
    """y = h t + x (1 − t) of dense H and T (equation 3)."""
    width = x.shape[-1]
    h = L.Dense(width, activation="tanh", name=f"{name}_h")(x)
    t = L.Dense(width, activation="sigmoid", bias_initializer=gate_bias(-2.0), name=f"{name}_t")(x)
    return L.HighwayGate(name=f"{name}_gate")([x, h, t])


def dense_plain(x, L, name):
    return L.Dense(x.shape[-1], activation="tanh", name=f"{name}_h")(x)


def dense_body(x, L, layers, layer, width):
    """Section 3.1."""
    x = L.Dense(width, activation="tanh", name="layer1_h")(L.Flatten(name="layer1_flat")(x))
    for index in range(2, layers + 1):
        x = layer(x, L, f"layer{index}")
    return x


def dense_head(x, classes, L):
    return L.Dense(classes, name="output")(x)


def convolution(x, width, size, L, name, initial=he, pad=None):
    return conv(x, width, size, 1, L, name, pad, activation="relu", kernel_initializer=initial())


def conv_highway(x, L, name, width, bias):
    """The same of 3×3 convolutions, with ReLU (section 2.1)."""
    h = L.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer=he(), name=f"{name}_h")(x)
    t = L.Conv2D(width, 3, padding="same", activation="sigmoid", kernel_initializer=he(),
                 bias_initializer=gate_bias(bias), name=f"{name}_t")(x)
    return L.HighwayGate(name=f"{name}_gate")([x, h, t])


def mnist_body(x, L, width):
    """conv1 and eight highway layers, pools behind the third, sixth and ninth layer."""
    x = convolution(L.Dropout(0.2, name="conv1_dropout")(x), width, 5, L, "conv1", pad=0)
    for index in range(2, 10):
        x = conv_highway(x, L, f"conv{index}", width, -1.0)
        if index in (3, 6):
            x = max_pool(x, 3, 2, L, f"pool{index // 3}", ceil=True)
            x = L.Dropout(0.3 if index == 3 else 0.4, name=f"pool{index // 3}_dropout")(x)
    return L.Dropout(0.5, name="pool3_dropout")(max_pool(x, 2, 2, L, "pool3", ceil=True))


def mnist_head(x, classes, L):
    x = L.Flatten(name="output_flat")(x)
    return L.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(0.0, 0.1), name="output")(x)


def cifar_body(x, L):
    """Three stages, each a plain convolution and highway layers; dropout 0.2 in front of each."""
    layer = 0
    for stage, (width, highways) in CIFAR.items():
        layer += 1
        x = L.Dropout(0.2, name=f"conv{layer}_dropout")(x)
        initial = he if stage > 1 else partial(keras.initializers.RandomNormal, 0.0, 1.0)
        x = convolution(x, width, 3, L, f"conv{layer}", initial)
        for _ in range(highways):
            layer += 1
            x = conv_highway(x, L, f"conv{layer}", width, -2.0)
        if stage < 3:
            x = L.MaxPooling2D(2, name=f"pool{stage}")(x)
    return x


def cifar_head(x, classes, L):
    """100 maps by 1×1, their averages, a dense layer."""
    x = L.GlobalAveragePooling2D(name="pool3")(convolution(x, 100, 1, L, "conv18"))
    x = L.Dropout(0.2, name="pool3_dropout")(x)
    return L.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(0.0, 0.05), name="output")(x)


for layers in (10, 20, 50, 100):
    for kind, layer, width in (("highway", dense_highway, 50), ("plain", dense_plain, 71)):
        register(Architecture(f"{kind}{layers}_mnist", f"{layers} thin {kind} layers for MNIST",
                              partial(dense_body, layers=layers, layer=layer, width=width), dense_head,
                              (28, 28, 1), 10, smallest=(8, 8, 1)))
for width in (16, 32):
    register(Architecture(f"highway_conv10_w{width}_mnist",
                          f"Convolutional highway network of width {width} for MNIST",
                          partial(mnist_body, width=width), mnist_head, (28, 28, 1), 10, smallest=(12, 12, 1)))
register(Architecture("highway19_cifar", "Highway network with 19 layers for CIFAR", cifar_body, cifar_head,
                      (32, 32, 3), 10, smallest=(8, 8, 3)))
