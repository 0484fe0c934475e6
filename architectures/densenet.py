"""Densely Connected Convolutional Networks. Huang, Liu, van der Maaten, Weinberger. CVPR 2017. arXiv:1608.06993.

Table 1 (ImageNet) and section 3, "Implementation Details" (CIFAR). Padding, initial weights and DenseNet-161 are
those of the authors' program (github.com/liuzhuang13/DenseNet). Where that begins every CIFAR network with 2k maps,
those without bottlenecks have the paper's 16 here: only so its table 2's parameters come out. DenseNet-264 has the
blocks of table 1, and 265 layers.

Where the images are not augmented the paper drops 0.2 of what every convolution but the first makes (section 4.2):
the networks with _dropout in their names, for the columns C10 and C100 of table 2. Those of the columns C10+ and C100+,
and of ImageNet, have none. In the program, too, the convolutions inside a bottleneck and of a transition count.
"""
from functools import partial

from .blocks import batch_norm, channel_axis, conv, he, linear, max_pool
from .registry import Architecture, register

IMAGENET = {
    #    growth  layers a block
    121: (32, (6, 12, 24, 16)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
    264: (32, (6, 12, 64, 48)),
    161: (48, (6, 12, 36, 24)),
}
PLAIN = {       # (depth, growth): layers in each of three blocks, (depth − 4)/3
    (40, 12): 12,
    (100, 12): 32,
    (100, 24): 32,
}
BC = {          # with bottlenecks half as many
    (100, 12): 16,
    (250, 24): 41,
    (190, 40): 31,
}


def convolution(x, width, size, L, name):
    return conv(x, width, size, 1, L, name, use_bias=False, kernel_initializer=he("fan_out"))


def dropped(x, L, name, rate):
    """Dropout behind a convolution (section 4.2: 0.2 without augmentation)."""
    return L.Dropout(rate, name=f"{name}_dropout")(x) if rate else x


def bn_relu(x, L, name, norm):
    return L.ReLU(name=f"{name}_relu")(norm(x, L, f"{name}_bn"))


def plain(x, growth, L, name, norm, dropout=0):
    """BN-ReLU-Conv(3×3): k new maps (section 3, "Composite function")."""
    x = convolution(bn_relu(x, L, f"{name}_1", norm), growth, 3, L, f"{name}_1_conv")
    return dropped(x, L, f"{name}_1", dropout)


def bottleneck(x, growth, L, name, norm, dropout=0):
    """BN-ReLU-Conv(1×1)-BN-ReLU-Conv(3×3), 4k maps between (section 3, "Bottleneck layers")."""
    x = convolution(bn_relu(x, L, f"{name}_1", norm), 4 * growth, 1, L, f"{name}_1_conv")
    x = dropped(x, L, f"{name}_1", dropout)
    x = convolution(bn_relu(x, L, f"{name}_2", norm), growth, 3, L, f"{name}_2_conv")
    return dropped(x, L, f"{name}_2", dropout)


def dense_block(x, layers, growth, layer, L, name, norm, dropout=0):
    """Every layer sees what all before it made (equation 2)."""
    for index in range(1, layers + 1):
        new = layer(x, growth, L, f"{name}_{index}", norm, dropout)
        x = L.Concatenate(axis=channel_axis(), name=f"{name}_{index}_concat")([x, new])
    return x


def transition(x, compression, L, name, norm, dropout=0):
    """BN-ReLU-Conv(1×1) to ⌊θm⌋ maps, then averages of 2×2 (section 3, "Pooling layers" and "Compression")."""
    width = int(x.shape[channel_axis()] * compression)
    x = dropped(convolution(bn_relu(x, L, name, norm), width, 1, L, f"{name}_conv"), L, name, dropout)
    return L.AveragePooling2D(2, name=f"{name}_pool")(x)


def blocks(x, counts, growth, layer, compression, L, norm, dropout=0):
    """Dense blocks with transitions between them, a BN-ReLU behind the last."""
    for index, layers in enumerate(counts, 1):
        x = dense_block(x, layers, growth, layer, L, f"denseblock{index}", norm, dropout)
        if index < len(counts):
            x = transition(x, compression, L, f"transition{index}", norm, dropout)
    return bn_relu(x, L, f"denseblock{len(counts)}", norm)


def imagenet_body(x, L, growth, counts, norm=batch_norm):
    x = conv(x, 2 * growth, 7, 2, L, "convolution", use_bias=False, kernel_initializer=he("fan_out"))
    x = bn_relu(x, L, "convolution", norm)
    x = max_pool(x, 3, 2, L, "pooling", pad=1)
    return blocks(x, counts, growth, bottleneck, 0.5, L, norm)


def cifar_body(x, L, first, growth, layers, layer, compression, dropout=0):
    x = convolution(x, first, 3, L, "convolution")
    return blocks(x, 3 * (layers,), growth, layer, compression, L, batch_norm, dropout)


def head(x, classes, L):
    """Global average pooling and a dense layer (table 1, "Classification Layer")."""
    x = L.GlobalAveragePooling2D(name="classification_pool")(x)
    return L.Dense(classes, kernel_initializer=linear(), name="classification_fc")(x)


def keras_norm(x, L, name):
    return batch_norm(x, L, name, momentum=0.99, epsilon=1.001e-5)


for depth, (growth, counts) in IMAGENET.items():
    register(Architecture(f"densenet{depth}", f"DenseNet-{depth} (k = {growth})",
                          partial(imagenet_body, growth=growth, counts=counts), head, (224, 224, 3), 1000,
                          smallest=(32, 32, 3)))
for depth in (121, 169, 201):
    growth, counts = IMAGENET[depth]
    register(Architecture(f"densenet{depth}_keras", f"DenseNet-{depth} of keras.applications",
                          partial(imagenet_body, growth=growth, counts=counts, norm=keras_norm), head, (224, 224, 3),
                          1000, smallest=(32, 32, 3),
                          differs="epsilon 1.001e-5 and momentum 0.99 of batch normalisation"))


def register_cifar(name, title, body, dropout):
    """The network of table 2's columns with augmentation, and, where they have figures, of those without."""
    shape, smallest = (32, 32, 3), (8, 8, 3)
    register(Architecture(f"{name}_cifar", f"{title} for CIFAR", body, head, shape, 10, smallest=smallest))
    if dropout:
        register(Architecture(f"{name}_dropout_cifar", f"{title} for CIFAR without augmentation, with dropout 0.2",
                              partial(body, dropout=0.2), head, shape, 10, smallest=smallest))


for (depth, growth), layers in PLAIN.items():
    register_cifar(f"densenet{depth}_k{growth}", f"DenseNet-{depth} (k = {growth})",
                   partial(cifar_body, first=16, growth=growth, layers=layers, layer=plain, compression=1), True)
for (depth, growth), layers in BC.items():
    register_cifar(f"densenet_bc{depth}_k{growth}", f"DenseNet-BC-{depth} (k = {growth})",
                   partial(cifar_body, first=2 * growth, growth=growth, layers=layers, layer=bottleneck,
                           compression=0.5), (depth, growth) != (190, 40))
