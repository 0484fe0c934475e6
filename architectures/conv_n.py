"""The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks. Frankle, Carbin. ICLR 2019.
arXiv:1803.03635.

Figure 2: Conv-2, Conv-4 and Conv-6, cut from the front of VGG and made for CIFAR-10: pairs of 3×3
convolutions with a 2×2 max pool behind each pair, and dense layers of 256, 256 and 10. First weights by
Glorot's normal rule.

Figure 2 prints 1.7M weights for Conv-6, of which 1.1M in convolutions. The convolutions have 1,144,512; but
behind three pools 4×4×256 values are left, so that the dense layers alone have 1.1M and all together 2.26M.
Not explained.
"""
from functools import partial

from .registry import Architecture, register

PAIRS = {
    "conv2_cifar": (64,),
    "conv4_cifar": (64, 128),
    "conv6_cifar": (64, 128, 256),
}


def body(x, L, pairs):
    """Pairs of 3×3 convolutions with ReLUs, a max pool behind each pair."""
    for stage, width in enumerate(pairs, 1):
        for index in (1, 2):
            x = L.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="glorot_normal",
                         name=f"pair{stage}_conv{index}")(x)
        x = L.MaxPooling2D(2, name=f"pair{stage}_pool")(x)
    return x


def head(x, classes, L):
    x = L.Flatten(name="fc1_flat")(x)
    for name in ("fc1", "fc2"):
        x = L.Dense(256, activation="relu", kernel_initializer="glorot_normal", name=name)(x)
    return L.Dense(classes, kernel_initializer="glorot_normal", name="fc3")(x)


for name, pairs in PAIRS.items():
    register(Architecture(name, f"Conv-{name[4]} for CIFAR-10", partial(body, pairs=pairs), head, (32, 32, 3), 10,
                          smallest=(16, 16, 3)))
