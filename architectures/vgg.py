"""Very Deep Convolutional Networks for Large-Scale Image Recognition. Simonyan, Zisserman. ICLR 2015.
arXiv:1409.1556.

Table 1: configurations A, A-LRN, B, C, D and E, here by their number of weighted layers: `vgg11`,
`vgg11_lrn`, `vgg13`, `vgg16_c`, `vgg16`, `vgg19`. Not of the paper: `vgg11_bn` … as torchvision has them,
with batch normalisation behind every convolution, whose biases stay; `vgg11_bn_cifar` …, the same
convolutions on 32×32 pixels with one dense layer behind the last pool (512 → classes), and `vgg16_cifar`
without the normalisation.

The paper draws the first weights of A from N(0, 10⁻²) and begins the deeper networks with A's trained layers.
With that variance A's logits begin around ±10⁸, for pixels less their mean. Section 3.1 adds that Glorot's
rule needs no layers trained before: the suite takes it for all six, with biases of zero. The networks of
these names in torchvision and, but for their dropout, in keras.applications have the same layers.
"""
from functools import partial

import keras

from .blocks import batch_norm, channel_axis, he
from .registry import Architecture, register

CONFIGURATIONS = {      # maps of each 3×3 convolution, a pool behind each bracket; "1×1": C's small ones
    #             conv1        conv2       conv3                 conv4                 conv5
    "vgg11":     ((64,),       (128,),     (256, 256),           (512, 512),           (512, 512)),
    "vgg11_lrn": ((64, "LRN"), (128,),     (256, 256),           (512, 512),           (512, 512)),
    "vgg13":     ((64, 64),    (128, 128), (256, 256),           (512, 512),           (512, 512)),
    "vgg16_c":   ((64, 64),    (128, 128), (256, 256, "1×1"),    (512, 512, "1×1"),    (512, 512, "1×1")),
    "vgg16":     ((64, 64),    (128, 128), (256, 256, 256),      (512, 512, 512),      (512, 512, 512)),
    "vgg19":     ((64, 64),    (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}
TITLES = {"vgg11": "A", "vgg11_lrn": "A-LRN", "vgg13": "B", "vgg16_c": "C", "vgg16": "D", "vgg19": "E"}


def plain(x, width, size, L, name):
    """Convolution and ReLU."""
    return L.Conv2D(width, size, padding="same", activation="relu", name=f"{name}_conv")(x)


def normalised(x, width, size, L, name):
    """Convolution with biases, batch normalisation, ReLU."""
    x = L.Conv2D(width, size, padding="same", kernel_initializer=he("fan_out"), name=f"{name}_conv")(x)
    return L.ReLU(name=f"{name}_relu")(batch_norm(x, L, f"{name}_bn"))


def body(x, L, configuration, block=plain):
    """Five stages, each with a 2×2 max pool behind it."""
    for stage, rows in enumerate(configuration, 1):
        for index, row in enumerate(rows, 1):
            name = f"conv{stage}_{index}"
            if row == "LRN":                                    # section 2.1: the constants of AlexNet
                x = L.LocalResponseNormalization(axis=channel_axis(), name=f"conv{stage}_norm")(x)
            elif row == "1×1":
                x = block(x, rows[0], 1, L, name)
            else:
                x = block(x, row, 3, L, name)
        x = L.MaxPooling2D(2, name=f"pool{stage}")(x)
    return x


def head(x, classes, L):
    """Two hidden layers of 4096 with dropout (section 3.1)."""
    x = L.Flatten(name="fc6_flat")(x)
    for name in ("fc6", "fc7"):
        x = L.Dense(4096, activation="relu", name=name)(x)
        x = L.Dropout(0.5, name=f"{name}_dropout")(x)
    return L.Dense(classes, name="fc8")(x)


def torchvision_head(x, classes, L):
    """The same with torchvision's first weights, N(0, 0.01²)."""
    small = lambda: keras.initializers.RandomNormal(0.0, 0.01)                              # noqa: E731
    x = L.Flatten(name="fc6_flat")(x)
    for name in ("fc6", "fc7"):
        x = L.Dense(4096, activation="relu", kernel_initializer=small(), name=name)(x)
        x = L.Dropout(0.5, name=f"{name}_dropout")(x)
    return L.Dense(classes, kernel_initializer=small(), name="fc8")(x)


def cifar_head(x, classes, L):
    """The last pool leaves one position of a 32×32 image: one dense layer on its 512 values."""
    return L.Dense(classes, name="fc")(L.Flatten(name="fc_flat")(x))


for name, rows in CONFIGURATIONS.items():
    register(Architecture(name, f"VGG, configuration {TITLES[name]}", partial(body, configuration=rows), head,
                          (224, 224, 3), 1000, smallest=(32, 32, 3)))
for name in ("vgg11", "vgg13", "vgg16", "vgg19"):
    rows = CONFIGURATIONS[name]
    register(Architecture(f"{name}_bn", f"VGG-{name[3:]} with batch normalisation, as torchvision has it",
                          partial(body, configuration=rows, block=normalised), torchvision_head, (224, 224, 3), 1000,
                          smallest=(32, 32, 3),
                          differs="batch normalisation between every convolution, with its biases, and its ReLU; "
                                  "torchvision's first weights"))
    register(Architecture(f"{name}_bn_cifar", f"VGG-{name[3:]} with batch normalisation for CIFAR",
                          partial(body, configuration=rows, block=normalised), cifar_head, (32, 32, 3), 10,
                          smallest=(32, 32, 3),
                          differs="batch normalisation between every convolution, with its biases, and its ReLU; "
                                  "one dense layer, no dropout"))
register(Architecture("vgg16_cifar", "VGG-16 for CIFAR", partial(body, configuration=CONFIGURATIONS["vgg16"]),
                      cifar_head, (32, 32, 3), 10, smallest=(32, 32, 3), differs="one dense layer, no dropout"))
