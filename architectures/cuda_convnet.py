"""cuda-convnet. Krizhevsky 2011. code.google.com/p/cuda-convnet, example-layers: its networks for CIFAR-10.

They are called by their test error. `cuda_convnet_11pct_cifar` and `cuda_convnet_13pct_cifar` see 24×24 crops
and end in two locally connected layers; `cuda_convnet_18pct_cifar` normalises within each map, over 3×3 pixels;
`cuda_convnet_26pct_cifar` is the one that trains in 80 seconds.
`caffe_quick_cifar` is Caffe's cifar10_quick, the last one without a ReLU between its dense layers. Their
pools let the last window hang over the border.
"""
import keras

from .blocks import channel_axis, conv, max_pool
from .registry import Architecture, register


def gaussian(deviation):
    return keras.initializers.RandomNormal(0.0, deviation)


def convolution(x, width, deviation, L, name):
    """5×5 and ReLU, as many pixels out as in. Where the files have the ReLU behind a max pool it is the same."""
    return conv(x, width, 5, 1, L, name, activation="relu", kernel_initializer=gaussian(deviation))


def normalise(x, L, name):
    """Across nine maps with k = 1, β = 0.75; the program divides the file's scale of 0.001 by the nine."""
    return L.LocalResponseNormalization(9, 1.0, 0.001 / 9, 0.75, axis=channel_axis(), name=name)(x)


def normalise_within(x, L, name):
    """Over 3×3 pixels of each map with k = 1, β = 0.75; the program divides the file's scale of 5e-5 by the nine."""
    return L.MapResponseNormalization(3, 1.0, 5e-5 / 9, 0.75, name=name)(x)


def average_pool(x, L, name):
    """3×3 windows in steps of 2, the last one over the border: the mean of the pixels that it has.

    An even size is one pixel short, which TensorFlow's `same` adds behind and does not count either. Where one is
    even and the other odd, or neither known, the windows are every second one of those around every pixel.
    """
    sizes = x.shape[1:3] if channel_axis() == -1 else x.shape[2:4]
    odd = {n if n is None else n % 2 for n in sizes}
    if odd in ({0}, {1}):
        return L.AveragePooling2D(3, strides=2, padding="valid" if odd == {1} else "same", name=name)(x)
    x = L.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_mean")(x)
    x = L.Cropping2D(((1, 0), (1, 0)), name=f"{name}_crop")(x)              # the first window begins at the first pixel
    return L.AveragePooling2D(1, strides=2, name=name)(x)


def local(x, width, L, name):
    """3×3 windows with weights and biases of their own at every position, and ReLU."""
    return L.LocallyConnected2D(width, 3, padding="same", activation="relu", kernel_initializer=gaussian(0.04),
                                name=name)(x)


def body_11pct(x, L):
    x = convolution(x, 64, 0.0001, L, "conv1")                              # 24×24
    x = max_pool(x, 3, 2, L, "pool1", ceil=True)                            # 12×12
    x = normalise(x, L, "rnorm1")
    x = convolution(x, 64, 0.01, L, "conv2")
    x = normalise(x, L, "rnorm2")
    x = max_pool(x, 3, 2, L, "pool2", ceil=True)                            # 6×6
    x = local(x, 64, L, "local3")
    return local(x, 32, L, "local4")


def body_13pct(x, L):
    x = convolution(x, 64, 0.0001, L, "conv1")
    x = max_pool(x, 3, 2, L, "pool1", ceil=True)
    x = convolution(x, 64, 0.01, L, "conv2")
    x = max_pool(x, 3, 2, L, "pool2", ceil=True)
    x = local(x, 32, L, "local3")
    return local(x, 32, L, "local4")


def dense_head(x, classes, L):
    x = L.Flatten(name="fc10_flat")(x)
    return L.Dense(classes, kernel_initializer=gaussian(0.01), name="fc10")(x)


def body_18pct(x, L):
    x = convolution(x, 32, 0.0001, L, "conv1")                              # 32×32
    x = max_pool(x, 3, 2, L, "pool1", ceil=True)                            # 16×16
    x = normalise_within(x, L, "rnorm1")
    x = convolution(x, 32, 0.01, L, "conv2")
    x = average_pool(x, L, "pool2")                                         # 8×8
    x = normalise_within(x, L, "rnorm2")
    x = convolution(x, 64, 0.01, L, "conv3")
    return average_pool(x, L, "pool3")                                      # 4×4


def body_26pct(x, L):
    x = convolution(x, 32, 0.0001, L, "conv1")                              # 32×32
    x = max_pool(x, 3, 2, L, "pool1", ceil=True)                            # 16×16
    x = convolution(x, 32, 0.01, L, "conv2")
    x = average_pool(x, L, "pool2")                                         # 8×8
    x = convolution(x, 64, 0.01, L, "conv3")
    return average_pool(x, L, "pool3")                                      # 4×4


def head_26pct(x, classes, L):
    x = L.Flatten(name="fc64_flat")(x)
    x = L.Dense(64, activation="relu", kernel_initializer=gaussian(0.1), name="fc64")(x)
    return L.Dense(classes, kernel_initializer=gaussian(0.1), name="fc10")(x)


def caffe_head(x, classes, L):
    x = L.Flatten(name="ip1_flat")(x)
    x = L.Dense(64, kernel_initializer=gaussian(0.1), name="ip1")(x)
    return L.Dense(classes, kernel_initializer=gaussian(0.1), name="ip2")(x)


for body, error in ((body_11pct, 11), (body_13pct, 13)):
    register(Architecture(f"cuda_convnet_{error}pct_cifar", f"cuda-convnet's network of {error} % for CIFAR-10", body,
                          dense_head, (24, 24, 3), 10, smallest=(8, 8, 3)))
register(Architecture("cuda_convnet_18pct_cifar", "cuda-convnet's network of 18 % for CIFAR-10", body_18pct, dense_head,
                      (32, 32, 3), 10, smallest=(16, 16, 3)))
register(Architecture("cuda_convnet_26pct_cifar", "cuda-convnet's network of 26 % in 80 seconds for CIFAR-10",
                      body_26pct, head_26pct, (32, 32, 3), 10, smallest=(16, 16, 3)))
register(Architecture("caffe_quick_cifar", "Caffe's cifar10_quick", body_26pct, caffe_head, (32, 32, 3), 10,
                      smallest=(16, 16, 3), differs="no ReLU between the dense layers"))
