"""Rethinking the Inception Architecture for Computer Vision. Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. CVPR 2016.

arXiv:1512.00567, table 1 and figures 5, 6, 7 and 10, as Google's program of it has them (tensorflow/models,
slim/nets/inception_v3.py): modules of figure 5 with 5×5 convolutions at 35×35, of figure 6 with n = 7 at 17×17,
of figure 7 at 8×8, reductions as in figure 10, batch normalisation without γ. Table 1 differs in the stem: it
reaches 35×35×288 by three 3×3 convolutions (80, 192 and 288 maps) where the program has 1×1 (80), 3×3 (192) and
a pooling; the first module at 35×35 makes 256 maps; the reductions are modules of their own. The auxiliary
classifier with batch normalisation (figure 8, section 4) comes with build(…, auxiliary=True).

`inception_v3_keras` is keras.applications', `inception_v3_torchvision` torchvision's.
"""
from functools import partial

import keras

from .blocks import batch_norm, channel_axis
from .bn_inception import narrow, scaled
from .registry import Architecture, register


def slim(x, width, size, L, name, stride=1, padding="same", initial=scaled, momentum=0.9997, scale=False):
    """Convolution without bias, batch normalisation without γ, ReLU."""
    x = L.Conv2D(width, size, strides=stride, padding=padding, use_bias=False, kernel_initializer=initial(),
                 name=f"{name}_conv")(x)
    x = batch_norm(x, L, f"{name}_bn", momentum=momentum, epsilon=1e-3, scale=scale)
    return L.ReLU(name=f"{name}_relu")(x)


def inside(x, L, name):
    """Averages of the pixels inside the border, as TensorFlow has them."""
    return L.AveragePooling2D(3, strides=1, padding="same", name=name)(x)


def padded(x, L, name):
    """Averages with zeros beyond the border, as Torch has them."""
    return L.AveragePooling2D(3, strides=1, name=name)(L.ZeroPadding2D(1, name=f"{name}_pad")(x))


def chain(x, steps, L, name, conv):
    """Convolutions one after the other; steps: (width, (height, width of the kernel))."""
    for index, (width, size) in enumerate(steps, 1):
        x = conv(x, width, size, L, f"{name}_{index}")
    return x


def joined(ways, L, name):
    return L.Concatenate(axis=channel_axis(), name=f"{name}_concat")(ways)


def figure5(x, proj, L, name, conv, average):
    """35×35: 1×1, 5×5, two 3×3, pool."""
    return joined([conv(x, 64, 1, L, f"{name}_1x1"),
                   chain(x, ((48, 1), (64, 5)), L, f"{name}_5x5", conv),
                   chain(x, ((64, 1), (96, 3), (96, 3)), L, f"{name}_double", conv),
                   conv(average(x, L, f"{name}_pool"), proj, 1, L, f"{name}_proj")], L, name)


def to17(x, L, name, conv):
    """Figure 10: 35×35 → 17×17."""
    y = chain(x, ((64, 1), (96, 3)), L, f"{name}_double", conv)
    return joined([conv(x, 384, 3, L, f"{name}_3x3", 2, "valid"), conv(y, 96, 3, L, f"{name}_double_3", 2, "valid"),
                   L.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)], L, name)


def figure6(x, n, L, name, conv, average):
    """17×17: 1×1, 7×7 as 1×7 and 7×1, the same twice, pool. n: the width between."""
    return joined([conv(x, 192, 1, L, f"{name}_1x1"),
                   chain(x, ((n, 1), (n, (1, 7)), (192, (7, 1))), L, f"{name}_7x7", conv),
                   chain(x, ((n, 1), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7))), L, f"{name}_double",
                         conv),
                   conv(average(x, L, f"{name}_pool"), 192, 1, L, f"{name}_proj")], L, name)


def to8(x, L, name, conv):
    """17×17 → 8×8."""
    y = conv(x, 192, 1, L, f"{name}_3x3_1")
    z = chain(x, ((192, 1), (192, (1, 7)), (192, (7, 1))), L, f"{name}_7x7", conv)
    return joined([conv(y, 320, 3, L, f"{name}_3x3_2", 2, "valid"), conv(z, 192, 3, L, f"{name}_7x7_4", 2, "valid"),
                   L.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)], L, name)


def figure7(x, L, name, conv, average):
    """8×8: the last kernels lie side by side."""
    def spread(y, part):
        return joined([conv(y, 384, (1, 3), L, f"{name}_{part}_a"), conv(y, 384, (3, 1), L, f"{name}_{part}_b")],
                      L, f"{name}_{part}")
    return joined([conv(x, 320, 1, L, f"{name}_1x1"),
                   spread(conv(x, 384, 1, L, f"{name}_3x3_1"), "3x3"),
                   spread(chain(x, ((448, 1), (384, 3)), L, f"{name}_double", conv), "double"),
                   conv(average(x, L, f"{name}_pool"), 192, 1, L, f"{name}_proj")], L, name)


def body(x, L, conv=slim, average=inside):
    x = conv(x, 32, 3, L, "conv1", 2, "valid")
    x = conv(x, 32, 3, L, "conv2", 1, "valid")
    x = conv(x, 64, 3, L, "conv3")
    x = L.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = conv(x, 80, 1, L, "conv4")
    x = conv(x, 192, 3, L, "conv5", 1, "valid")
    x = L.MaxPooling2D(3, strides=2, name="pool2")(x)
    for index, proj in enumerate((32, 64, 64)):
        x = figure5(x, proj, L, f"mixed{index}", conv, average)
    x = to17(x, L, "mixed3", conv)
    for index, n in enumerate((128, 160, 160, 192), 4):
        x = figure6(x, n, L, f"mixed{index}", conv, average)
    x = to8(x, L, "mixed8", conv)
    for name in ("mixed9", "mixed10"):
        x = figure7(x, L, name, conv, average)
    return x


def head(x, classes, L, dropout=0.2, initial=scaled):
    """Average pooling, dropout, a dense layer."""
    x = L.GlobalAveragePooling2D(name="pool")(x)
    x = L.Dropout(dropout, name="pool_dropout")(x) if dropout else x
    return L.Dense(classes, kernel_initializer=initial(), name="linear")(x)


def auxiliary(x, classes, L, conv=slim):
    """Behind the last module at 17×17; the 5×5 convolution sees all of a map of 5×5, or of a smaller one."""
    x = conv(L.AveragePooling2D(5, strides=3, name="aux_pool")(x), 128, 1, L, "aux_1")
    side = min(5, *(n for axis, n in enumerate(x.shape) if axis not in (0, channel_axis() % 4)))
    x = conv(x, 768, side, L, "aux_2", 1, "valid", initial=lambda: narrow(0.01))
    x = L.GlobalAveragePooling2D(name="aux_squeeze")(x)
    return L.Dense(classes, kernel_initializer=narrow(0.001), name="aux_linear")(x)


torch = partial(slim, initial=lambda: narrow(0.1), momentum=0.9, scale=True)
tf_keras = partial(slim, initial=keras.initializers.GlorotUniform, momentum=0.99)

for suffix, of, conv, average, top, aux, differs in (
        ("", "", slim, inside, head, True, ""),
        ("_keras", " of keras.applications", tf_keras, inside,
         partial(head, dropout=0, initial=keras.initializers.GlorotUniform), False,
         "no dropout, no auxiliary classifier; momentum 0.99 of batch normalisation; Glorot's first weights"),
        ("_torchvision", " of torchvision", torch, padded,
         partial(head, dropout=0.5, initial=lambda: narrow(0.1)), True,
         "batch normalisation with γ and momentum 0.9; averages with zeros beyond the border; dropout 0.5; "
         "first weights of deviation 0.1")):
    register(Architecture(f"inception_v3{suffix}", f"Inception-v3{of}",
                          partial(body, conv=conv, average=average), top, (299, 299, 3), 1000,
                          smallest=(107, 107, 3), differs=differs,
                          auxiliary=(("mixed7_concat", partial(auxiliary, conv=conv)),) if aux else ()))
