"""What networks of several papers share: initial weights, the commonest head, padding and rounding as in their programs.

Caffe and Torch pad a window of size k by ⌊k/2⌋ zeros on *both* sides, and may let the last pooling window hang over the
border (output ⌈(n + 2p − k)/s⌉ + 1). TensorFlow's `same` pads only as much as is needed, the larger half behind: with
stride 2 and an even size its windows lie one pixel further. A plain name is padded as its paper's program does it.
"""
import keras


def channel_axis() -> int:
    """The axis of the channels in Keras's current data format."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def he(fan="fan_in"):
    """N(0, 2/fan), a fresh one a layer: He et al. 2015 (arXiv:1502.01852), equation 10; Torch's programs take fan_out."""
    return keras.initializers.VarianceScaling(2.0, fan, "untruncated_normal")


def linear():
    """U(−1/√n, 1/√n) for n inputs, a fresh one a layer: Torch's initial weights of a dense layer."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def xavier():
    """U(−√(3/n), √(3/n)) for n inputs, a fresh one a layer: Caffe's, of variance 1/n."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")


def batch_norm(x, L, name, momentum=0.9, epsilon=1e-5, **arguments):
    """Batch normalisation per channel with Torch's constants (its momentum is 1 − Keras's)."""
    return L.BatchNormalization(axis=channel_axis(), momentum=momentum, epsilon=epsilon, name=name, **arguments)(x)


def conv(x, width, size, stride, L, name, pad=None, **arguments):
    """A convolution padded by `pad` zeros on both sides, ⌊size/2⌋ where not given; its layer is called `name`."""
    pad = size // 2 if pad is None else pad
    if stride == 1 and 2 * pad == size - 1:                 # then `same` is the same
        return L.Conv2D(width, size, padding="same", name=name, **arguments)(x)
    if pad:
        x = L.ZeroPadding2D(pad, name=f"{name}_pad")(x)
    return L.Conv2D(width, size, strides=stride, name=name, **arguments)(x)


def max_pool(x, size, stride, L, name, pad=0, ceil=False):
    """Max pooling of values ≥ 0 (behind a ReLU: zeros then pad like −∞), padded by `pad` on both sides.

    ceil: the last window may hang over the border, as Caffe has it, unless it lay in the padding altogether.
    """
    rows, columns = x.shape[1:3] if channel_axis() == -1 else x.shape[2:4]
    border = tuple((pad, pad + (overhang(n, size, stride, pad) if ceil else 0)) for n in (rows, columns))
    if border != ((0, 0), (0, 0)):
        x = L.ZeroPadding2D(border, name=f"{name}_pad")(x)
    return L.MaxPooling2D(size, strides=stride, name=name)(x)


def overhang(n: int | None, size: int, stride: int, pad: int = 0) -> int:
    """By how many pixels the last of ⌈(n + 2·pad − size)/stride⌉ + 1 windows passes the padded border.

    Where n is not known (and pad is 0, stride ≤ size) stride − 1, the most that it can be: then
    ⌊(n + stride − 1 − size)/stride⌋ + 1 windows fit, which are as many, and what is too much none of them sees.
    """
    if n is None:
        return stride - 1
    windows = -(-(n + 2 * pad - size) // stride) + 1
    if (windows - 1) * stride >= n + pad:                   # it would begin behind the image: Caffe drops it
        windows -= 1
    return max((windows - 1) * stride + size - n - 2 * pad, 0)


def average_head(x, classes, L, initial=linear):
    """Global average pooling and a dense layer: maps (N, H, W, C) → logits (N, classes)."""
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return L.Dense(classes, kernel_initializer=initial(), name="fc")(x)
