"""ImageNet Classification with Deep Convolutional Neural Networks. Krizhevsky, Sutskever, Hinton. NIPS 2012.

Section 3.5 and figure 2: eight weighted layers on two GPUs. The kernels of conv2, conv4 and conv5 see the
maps of their own GPU alone, here the two groups of one convolution; 60,965,224 parameters.
`alexnet_one_tower` sees all maps in every layer, `caffenet` is Caffe's reference network,
`alexnet_torchvision` the narrower network of "One weird trick for parallelizing convolutional neural
networks" (Krizhevsky 2014, arXiv:1404.5997) as torchvision has it.

The paper's images have 224×224 pixels, from which an 11×11 kernel in steps of 4 does not give the 55×55 maps
of the layers behind; 227×227 gives them, and so Caffe has it. Response normalisation runs over all maps of a
layer, as the formula of section 3.3 has it and Caffe does; a program on two GPUs may have kept it to each
GPU's own maps, which would change the two maps on either side of the middle. Figure 2 counts 253,440 neurons
in conv1, which 55·55·96 is not.
"""
from functools import partial

import keras

from ..layers import FanIn
from .blocks import channel_axis, conv, max_pool
from .registry import Architecture, register

CONVOLUTIONS = {
    #         kernels size stride pad, groups, first bias (section 5)
    "conv1": (96,     11,  4,     0,   1,      0),
    "conv2": (256,    5,   1,     2,   2,      1),
    "conv3": (384,    3,   1,     1,   1,      0),
    "conv4": (384,    3,   1,     1,   2,      1),
    "conv5": (256,    3,   1,     1,   2,      1),
}
TORCHVISION = {
    #         kernels size stride pad
    "conv1": (64,     11,  4,     2),
    "conv2": (192,    5,   1,     2),
    "conv3": (384,    3,   1,     1),
    "conv4": (256,    3,   1,     1),
    "conv5": (256,    3,   1,     1),
}


def gaussian(deviation):
    return keras.initializers.RandomNormal(0.0, deviation)


def convolution(x, L, name, groups):
    """One row of the table, with its ReLU. `groups`: 2 GPUs or 1."""
    kernels, size, stride, pad, split, bias = CONVOLUTIONS[name]
    return conv(x, kernels, size, stride, L, name, pad, groups=min(split, groups), activation="relu",
                kernel_initializer=gaussian(0.01), bias_initializer=keras.initializers.Constant(bias))


def normalise_and_pool(x, L, index):
    """Response normalisation, then overlapping max pooling (sections 3.3 and 3.4)."""
    x = L.LocalResponseNormalization(axis=channel_axis(), name=f"norm{index}")(x)
    return max_pool(x, 3, 2, L, f"pool{index}", ceil=True)


def pool_and_normalise(x, L, index):
    """The other order, with Caffe's constants: k = 1, and its α = 1e-4 multiplies the mean over 5 maps."""
    x = max_pool(x, 3, 2, L, f"pool{index}", ceil=True)
    return L.LocalResponseNormalization(bias=1.0, alpha=1e-4 / 5, axis=channel_axis(), name=f"norm{index}")(x)


def body(x, L, shrink=normalise_and_pool, groups=2):
    x = shrink(convolution(x, L, "conv1", groups), L, 1)
    x = shrink(convolution(x, L, "conv2", groups), L, 2)
    for name in ("conv3", "conv4", "conv5"):
        x = convolution(x, L, name, groups)
    return max_pool(x, 3, 2, L, "pool5", ceil=True)


def head(x, classes, L, deviation=0.01):
    """Two hidden layers of 4096 with dropout. `deviation`: of their first weights."""
    x = L.Flatten(name="fc6_flat")(x)
    for name in ("fc6", "fc7"):
        x = L.Dense(4096, activation="relu", kernel_initializer=gaussian(deviation), bias_initializer="ones",
                    name=name)(x)
        x = L.Dropout(0.5, name=f"{name}_dropout")(x)
    return L.Dense(classes, kernel_initializer=gaussian(0.01), name="fc8")(x)


def torch(inputs):
    """Torch's first weights and biases of a unit with that many inputs: uniform in ±1/√inputs."""
    return {"kernel_initializer": FanIn(1.0, 0.5, inputs), "bias_initializer": FanIn(1.0, 0.5, inputs)}


def torchvision_body(x, L):
    for name, (kernels, size, stride, pad) in TORCHVISION.items():
        x = conv(x, kernels, size, stride, L, name, pad, activation="relu",
                 **torch(size**2 * x.shape[channel_axis()]))
        if name in ("conv1", "conv2", "conv5"):
            x = max_pool(x, 3, 2, L, f"pool{name[-1]}")
    return x


def torchvision_head(x, classes, L):
    """Dropout in front of the hidden layers instead of behind them."""
    x = L.Flatten(name="fc6_flat")(x)
    for name in ("fc6", "fc7"):
        x = L.Dropout(0.5, name=f"{name}_dropout")(x)
        x = L.Dense(4096, activation="relu", name=name, **torch(x.shape[-1]))(x)
    return L.Dense(classes, name="fc8", **torch(4096))(x)


register(Architecture("alexnet", "AlexNet on two GPUs", body, head, (227, 227, 3), 1000, smallest=(67, 67, 3)))
register(Architecture("alexnet_one_tower", "AlexNet on one GPU", partial(body, groups=1), head, (227, 227, 3), 1000,
                      smallest=(67, 67, 3), differs="conv2, conv4 and conv5 see all maps, not half of them"))
register(Architecture("caffenet", "CaffeNet, Caffe's reference network", partial(body, shrink=pool_and_normalise),
                      partial(head, deviation=0.005), (227, 227, 3), 1000, smallest=(67, 67, 3),
                      differs="pools before it normalises; normalises with k = 1 and α/5; fc6 and fc7 begin with a "
                              "deviation of 0.005"))
register(Architecture("alexnet_torchvision", "AlexNet as torchvision has it", torchvision_body, torchvision_head,
                      (224, 224, 3), 1000, smallest=(63, 63, 3),
                      differs="one tower of 64, 192, 384, 256 and 256 maps; no response normalisation; conv1 padded "
                              "by 2; dropout in front of fc6 and fc7; Torch's first weights"))
