"""Deep Residual Learning for Image Recognition. He, Zhang, Ren, Sun. CVPR 2016. arXiv:1512.03385.

Section 4.1, table 1. Where the shape changes, a shortcut is one of three (section 3.3): A takes every second
pixel and appends zero channels, B projects by a 1×1 convolution, C projects everywhere. Table 2 has 18 and 34
layers with A, table 3 has 34 layers with A, B and C, and 50, 101 and 152 layers with B; so have tables 4 and 5.
A plain name is B: `resnet18` (which the paper trained with A only), `resnet34`, …; the others are `resnet18_a`,
`resnet34_a`, `resnet34_c`.

As in the authors' Caffe models (github.com/KaimingHe/deep-residual-networks) the stride of a bottleneck is in
its first 1×1 convolution, and the last window of the max pooling hangs over the border. Their ResNet-50 has
biases in conv1, in front of a batch normalisation that takes them away again; here it has none, as their other
models. The dense layer begins as the convolutions do.
"""
from functools import partial

from .blocks import average_head, batch_norm, channel_axis, conv, he, max_pool
from .registry import Architecture, register
from .resnet import shortcut as zeros

DEPTHS = {
    #   blocks in conv2, conv3, conv4, conv5
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
WIDTHS = (64, 128, 256, 512)                # a bottleneck ends in four times as many


def conv_bn(x, width, size, stride, L, name, initial=he):
    """Convolution and batch normalisation, in front of the activation (section 3.4)."""
    x = conv(x, width, size, stride, L, f"{name}_conv", use_bias=False, kernel_initializer=initial())
    return batch_norm(x, L, f"{name}_bn")


def conv_bn_relu(x, width, size, stride, L, name, initial=he):
    return L.ReLU(name=f"{name}_relu")(conv_bn(x, width, size, stride, L, name, initial))


def project(x, width, stride, L, name, initial=he):
    """1×1 convolution and batch normalisation: option C everywhere, option B where the shape changes."""
    return conv_bn(x, width, 1, stride, L, f"{name}_0", initial)


def project_if_changed(x, width, stride, L, name, initial=he):
    """Option B."""
    same = stride == 1 and x.shape[channel_axis()] == width
    return x if same else project(x, width, stride, L, name, initial)


def add(x, y, L, name):
    return L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([x, y]))


def plain(x, width, stride, L, name):
    """Two 3×3 convolutions without a shortcut (figure 3, middle)."""
    x = conv_bn_relu(x, width, 3, stride, L, f"{name}_1")
    return L.ReLU(name=f"{name}_out")(conv_bn(x, width, 3, 1, L, f"{name}_2"))


def basic(x, width, stride, L, name, shortcut=project_if_changed):
    """Two 3×3 convolutions and a shortcut (figure 5, left)."""
    y = conv_bn_relu(x, width, 3, stride, L, f"{name}_1")
    y = conv_bn(y, width, 3, 1, L, f"{name}_2")
    return add(shortcut(x, width, stride, L, name), y, L, name)


def bottleneck(x, width, stride, L, name):
    """1×1, 3×3 and 1×1 convolutions, the first with the stride (figure 5, right)."""
    y = conv_bn_relu(x, width, 1, stride, L, f"{name}_1")
    y = conv_bn_relu(y, width, 3, 1, L, f"{name}_2")
    y = conv_bn(y, 4 * width, 1, 1, L, f"{name}_3")
    return add(project_if_changed(x, 4 * width, stride, L, name), y, L, name)


def body(x, L, block, blocks):
    """conv1, then four stages; the first begins with the max pooling, the others with stride 2 (table 1)."""
    x = conv_bn_relu(x, 64, 7, 2, L, "conv1")
    x = max_pool(x, 3, 2, L, "conv2_pool", ceil=True)
    return stages(x, L, block, blocks)


def stages(x, L, block, blocks):
    for stage, (width, count) in enumerate(zip(WIDTHS, blocks), 2):
        for index in range(1, count + 1):
            x = block(x, width, 2 if stage > 2 and index == 1 else 1, L, f"conv{stage}_{index}")
    return x


def add_network(name, title, block, depth, body=body, head=partial(average_head, initial=he), differs=""):
    register(Architecture(name, title, partial(body, block=block, blocks=DEPTHS[depth]), head, (224, 224, 3), 1000,
                          smallest=(32, 32, 3), differs=differs))


for depth in DEPTHS:
    add_network(f"resnet{depth}", f"ResNet-{depth}", basic if depth < 50 else bottleneck, depth)
add_network("resnet18_a", "ResNet-18 with zero-padded shortcuts", partial(basic, shortcut=zeros), 18)
add_network("resnet34_a", "ResNet-34 with zero-padded shortcuts", partial(basic, shortcut=zeros), 34)
add_network("resnet34_c", "ResNet-34 with projections everywhere", partial(basic, shortcut=project), 34)
for depth in (18, 34):
    add_network(f"plain{depth}", f"Plain-{depth}", plain, depth)
