"""Backpropagation Applied to Handwritten Zip Code Recognition. LeCun, Boser, Denker, Henderson, Howard,
Hubbard, Jackel. Neural Computation 1(4), 541–551, 1989. Figure 3.

The first convolutional network that was trained by backpropagation on images of the world: 16×16 pixels, two
layers of twelve maps in steps of 2, 30 hidden units, ten outputs; 9,760 parameters and 64,660 connections.
All units of a map share 25 weights a map that they see, but each has a bias of its own, here the weight of a
unit that is always on: 960 multiply-adds.

The scheme by which a map of H2 sees eight of the twelve maps of H1 is not printed. Here the first four see
maps 1 to 8, the next four 9 to 12 and 1 to 4, the last four 5 to 12. Windows that pass the border see a
background of −1, in H1 as printed and in H2 likewise. The first weights are printed as uniform in ±2.4/F; as
in LeNet-5 the suite takes ±2.4/√F. The paper squashes the ten outputs too, against targets of ±1; here, as
everywhere, the head ends with their sums.
"""
from ..layers import FanIn, scaled_tanh
from .blocks import channel_axis
from .registry import Architecture, register


def weights(inputs):
    return FanIn(2.4, 0.5, inputs)


def background(x, L, name):
    """A border of two pixels of −1: zeros around x + 1, and 1 off again."""
    x = L.Rescaling(1.0, offset=1.0, name=f"{name}_up")(x)
    x = L.ZeroPadding2D(2, name=f"{name}_pad")(x)
    return L.Rescaling(1.0, offset=-1.0, name=f"{name}_down")(x)


def maps(x, on, L, name, inputs, **arguments):
    """Twelve maps of 5×5 windows in steps of 2, a bias for every unit: the weight of the unit `on` at its place."""
    x = L.Conv2D(12, 5, strides=2, use_bias=False, kernel_initializer=weights(inputs), name=f"{name}_conv",
                 **arguments)(background(x, L, name))
    biases = L.LocallyConnected2D(12, 1, use_bias=False, kernel_initializer="zeros", name=f"{name}_bias")(on)
    x = L.Add(name=f"{name}_sum")([x, biases])
    return L.Activation(scaled_tanh, name=f"{name}_out")(x)


def body(x, L):
    on = L.Rescaling(0.0, offset=1.0, name="H1_on")(L.AveragePooling2D(2, name="H1_places")(x))
    x = maps(x, on, L, "H1", 25)                                                                    # 8×8
    seen = L.Concatenate(axis=channel_axis(), name="H2_seen")([x, x])       # 1…12, 1…12: three groups of eight
    on = L.AveragePooling2D(2, name="H2_on")(on)
    return maps(seen, on, L, "H2", 200, groups=3)                                                   # 4×4


def head(x, classes, L):
    x = L.Flatten(name="H3_flat")(x)
    x = L.Dense(30, activation=scaled_tanh, kernel_initializer=weights(192), name="H3")(x)
    return L.Dense(classes, kernel_initializer=weights(30), name="output")(x)


register(Architecture("lecun1989", "The network of 1989 for zip codes", body, head, (16, 16, 1), 10,
                      smallest=(16, 16, 1)))
