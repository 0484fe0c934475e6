"""Learning Spatiotemporal Features with 3D Convolutional Networks. Tran, Bourdev, Fergus, Torresani, Paluri. ICCV
2015. arXiv:1412.0767. Figure 3: clips of 16 frames of 112×112; 487 classes of Sports-1M.

Padding, the last window of pool5, which hangs over the border (7×7 → 4×4, as Caffe pools), and initial weights are
those of the authors' program (github.com/facebookarchive/C3D).
"""
import keras

from .blocks import channel_axis, overhang
from .registry import Architecture, register

FIGURE_3 = (
    # maps of the convolutions, all 3×3×3, and the pooling behind them, (frames, rows, columns)
    (("conv1a", 64),), (1, 2, 2),
    (("conv2a", 128),), (2, 2, 2),
    (("conv3a", 256), ("conv3b", 256)), (2, 2, 2),
    (("conv4a", 512), ("conv4b", 512)), (2, 2, 2),
    (("conv5a", 512), ("conv5b", 512)), (2, 2, 2),
)


def gaussian(deviation, bias):
    return {"kernel_initializer": keras.initializers.RandomNormal(stddev=deviation),
            "bias_initializer": keras.initializers.Constant(bias)}


def max_pool(x, size, L, name):
    """Windows side by side, the last of an axis over the border where it is odd; values ≥ 0 in front of it."""
    space = x.shape[1:4] if channel_axis() == -1 else x.shape[2:5]
    over = tuple((0, overhang(n, k, k)) for n, k in zip(space, size))
    if max(over) > (0, 0):
        x = L.ZeroPadding3D(over, name=f"{name}_pad")(x)
    return L.MaxPooling3D(size, name=name)(x)


def body(x, L):
    for group, (convolutions, size) in enumerate(zip(FIGURE_3[::2], FIGURE_3[1::2]), 1):
        for name, width in convolutions:
            x = L.Conv3D(width, 3, padding="same", activation="relu", name=name,
                         **gaussian(0.01, 0 if name == "conv1a" else 1))(x)
        x = max_pool(x, size, L, f"pool{group}")
    return x


def head(x, classes, L):
    x = L.Flatten(name="fc6_flat")(x)
    for name in ("fc6", "fc7"):
        x = L.Dense(4096, activation="relu", name=name, **gaussian(0.005, 1))(x)
        x = L.Dropout(0.5, name=f"{name}_dropout")(x)
    return L.Dense(classes, name="fc8", **gaussian(0.01, 0))(x)


register(Architecture("c3d", "C3D", body, head, (16, 112, 112, 3), 487, smallest=(16, 16, 16, 3)))
