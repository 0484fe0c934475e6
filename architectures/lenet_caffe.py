"""Deep Compression. Han, Mao, Dally. ICLR 2016. arXiv:1510.00149. Tables 1 to 3: its two networks for MNIST.

`lenet300_100` is a network of two hidden layers, 266,610 parameters; `lenet5_caffe` Caffe's LeNet, which
papers on pruning call LeNet-5: 28×28 pixels, no ReLU behind its convolutions, 431,080 parameters. LeCun's own
is `lenet5`.

The paper prints numbers of weights; windows, order and first weights are those of Caffe's examples/mnist. A
ReLU behind the hidden layers of `lenet300_100` is what the programs for it have, the paper does not say.
"""
from .blocks import xavier
from .registry import Architecture, register

CONVOLUTIONS = {"conv1": 20, "conv2": 50}       # 5×5, each with a 2×2 max pool behind it


def convolutions(x, L):
    for name, width in CONVOLUTIONS.items():
        x = L.Conv2D(width, 5, kernel_initializer=xavier(), name=name)(x)
        x = L.MaxPooling2D(2, name=f"pool{name[-1]}")(x)
    return x


def lenet5_head(x, classes, L):
    x = L.Flatten(name="ip1_flat")(x)
    x = L.Dense(500, activation="relu", kernel_initializer=xavier(), name="ip1")(x)
    return L.Dense(classes, kernel_initializer=xavier(), name="ip2")(x)


def pixels(x, L):
    """No features before the head: the image itself."""
    return L.Activation("linear", name="image")(x)


def lenet300_100_head(x, classes, L):
    x = L.Flatten(name="ip1_flat")(x)
    x = L.Dense(300, activation="relu", kernel_initializer=xavier(), name="ip1")(x)
    x = L.Dense(100, activation="relu", kernel_initializer=xavier(), name="ip2")(x)
    return L.Dense(classes, kernel_initializer=xavier(), name="ip3")(x)


register(Architecture("lenet300_100", "LeNet-300-100, two hidden layers", pixels, lenet300_100_head, (28, 28, 1), 10,
                      smallest=(4, 4, 1)))
register(Architecture("lenet5_caffe", "Caffe's LeNet", convolutions, lenet5_head, (28, 28, 1), 10,
                      smallest=(16, 16, 1)))
