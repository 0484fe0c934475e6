"""Three networks by the shape of their convolutions, as functions of a namespace of layers L: images 32×32 → logits.

They stand in for the papers' networks until the suite has those: the layers and widths are the papers', but not the
classifier, the initialisation or the regularisation. Without dropout, so that twins compute the same numbers.
"""
import keras

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
MOBILENET = (
    # stride, width of the pointwise convolution
    (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))


def vgg16(L):
    """Thirteen 3×3 convolutions with ReLU, five 2×2 max pools, a hidden dense layer (arXiv:1409.1556, table 1, D)."""
    x = inputs = keras.Input((32, 32, 3))
    for width in VGG16:
        if width == "pool":
            x = L.MaxPooling2D(2)(x)
        else:
            x = L.ReLU()(L.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")(x))
    x = L.ReLU()(L.Dense(512, kernel_initializer="he_normal")(L.Flatten()(x)))
    return keras.Model(inputs, L.Dense(10)(x))


def densenet40(L, growth=12, layers=12):
    """Three dense blocks of twelve 3×3 convolutions, growth rate 12, no bottlenecks (arXiv:1608.06993, section 3)."""
    inputs = keras.Input((32, 32, 3))
    x = L.Conv2D(16, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(inputs)
    for block in range(3):
        if block:                                                       # transition
            x = L.AveragePooling2D(2)(_norm_relu_conv(x, x.shape[-1], 1, L))
        for _ in range(layers):
            x = L.Concatenate()([x, _norm_relu_conv(x, growth, 3, L)])
    x = L.GlobalAveragePooling2D()(L.ReLU()(L.BatchNormalization()(x)))
    return keras.Model(inputs, L.Dense(10)(x))


def _norm_relu_conv(x, width, size, L):
    x = L.ReLU()(L.BatchNormalization()(x))
    return L.Conv2D(width, size, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def mobilenet(L):
    """Thirteen depthwise separable convolutions (arXiv:1704.04861, table 1); the first convolution with stride 1."""
    inputs = keras.Input((32, 32, 3))
    x = _conv_norm_relu(inputs, L.Conv2D(32, 3, padding="same", use_bias=False, kernel_initializer="he_normal"), L)
    for stride, width in MOBILENET:
        x = _conv_norm_relu(x, L.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False,
                                                 depthwise_initializer="he_normal"), L)
        x = _conv_norm_relu(x, L.Conv2D(width, 1, use_bias=False, kernel_initializer="he_normal"), L)
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def _conv_norm_relu(x, convolution, L):
    return L.ReLU()(L.BatchNormalization()(convolution(x)))
