"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size. Iandola, Han,
Moskewicz, Ashraf, Dally, Keutzer. 2016. arXiv:1602.07360. Table 1 and figure 2.

A fire module squeezes to few maps by 1×1 kernels and expands by 1×1 and 3×3 kernels side by side.
`squeezenet` is table 1 (release 1.0), `squeezenet_simple_bypass` adds the input of fire3, 5, 7 and 9 to their
output, `squeezenet_complex_bypass` also that of fire2, 4, 6 and 8 through a 1×1 convolution (section 6).
`squeezenet_1_1` is the authors' release of 2016 with 2.4 times fewer multiply-adds. torchvision's two
networks are these.

Table 1 says images of 224×224; its 111×111 maps behind a 7×7 window in steps of 2 need 227×227, as in the
authors' Caffe files. Those pad conv10 of release 1.0 by one pixel, whose 15×15 maps are not table 1's 13×13:
not so here.
"""
from functools import partial

import keras

from .blocks import channel_axis, conv, max_pool, xavier
from .registry import Architecture, register

FIRES = {
    #         s1x1, e1x1, e3x3
    "fire2": (16,   64,   64),
    "fire3": (16,   64,   64),
    "fire4": (32,   128,  128),
    "fire5": (32,   128,  128),
    "fire6": (48,   192,  192),
    "fire7": (48,   192,  192),
    "fire8": (64,   256,  256),
    "fire9": (64,   256,  256),
}
CONV1 = {"1.0": (96, 7), "1.1": (64, 3)}                            # maps and window, in steps of 2
POOLS = {"1.0": ("fire4", "fire8"), "1.1": ("fire3", "fire5")}      # a 3×3 pool in steps of 2 behind these


def convolution(x, width, size, L, name, stride=1, **arguments):
    """Convolution and ReLU; strided ones are not padded."""
    return conv(x, width, size, stride, L, name, 0 if stride > 1 else None,
                **{"activation": "relu", "kernel_initializer": xavier(), **arguments})


def fire(x, L, name):
    """Figure 1: squeeze, then two expansions of it side by side."""
    squeeze, ones, threes = FIRES[name]
    x = convolution(x, squeeze, 1, L, f"{name}_squeeze")
    return L.Concatenate(axis=channel_axis(), name=f"{name}_out")([
        convolution(x, ones, 1, L, f"{name}_expand1x1"), convolution(x, threes, 3, L, f"{name}_expand3x3")])


def simple_bypass(x, y, L, name):
    """Figure 2, middle: past the modules that leave the number of maps as it is."""
    if x.shape[channel_axis()] != y.shape[channel_axis()]:
        return y
    return L.Add(name=f"{name}_add")([x, y])


def complex_bypass(x, y, L, name):
    """Figure 2, right: past all modules, where the number of maps changes through 1×1 kernels."""
    if x.shape[channel_axis()] != y.shape[channel_axis()]:
        x = convolution(x, y.shape[channel_axis()], 1, L, f"{name}_bypass", activation=None)
    return L.Add(name=f"{name}_add")([x, y])


def no_bypass(x, y, L, name):
    return y


def body(x, L, release="1.0", bypass=no_bypass):
    maps, size = CONV1[release]
    x = convolution(x, maps, size, L, "conv1", stride=2)
    x = max_pool(x, 3, 2, L, "pool1", ceil=True)
    for name in FIRES:
        x = bypass(x, fire(x, L, name), L, name)
        if name in POOLS[release]:
            x = max_pool(x, 3, 2, L, f"pool{name[-1]}", ceil=True)
    return L.Dropout(0.5, name="fire9_dropout")(x)


def head(x, classes, L):
    """A map for every class, its ReLU, and the mean of each map."""
    x = convolution(x, classes, 1, L, "conv10", kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01))
    return L.GlobalAveragePooling2D(name="pool10")(x)


register(Architecture("squeezenet", "SqueezeNet", body, head, (227, 227, 3), 1000, smallest=(39, 39, 3)))
for bypass in (simple_bypass, complex_bypass):
    register(Architecture(f"squeezenet_{bypass.__name__}", f"SqueezeNet, {bypass.__name__.replace('_', ' ')}",
                          partial(body, bypass=bypass), head, (227, 227, 3), 1000, smallest=(39, 39, 3)))
register(Architecture("squeezenet_1_1", "SqueezeNet, release 1.1", partial(body, release="1.1"), head,
                      (227, 227, 3), 1000, smallest=(35, 35, 3)))
