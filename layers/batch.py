"""Batches of no images, as the last one of an uneven distribution over devices."""
from keras import ops

from .window import at_least_zero


def for_any_batch(operator, x):
    """operator(x) of x (N, …), also where N is 0, for an operator that treats every image alone.

    Convolutions need it: of no images TensorFlow's CPU kernels return the shape of their input, no backend convolves
    over the zero channels that a kernel gradient would make of them, and XLA's compiler dies of it. So the operator
    is shown one image of ones instead and its result is left out, which makes all gradients zeros.

    A known number of images above 0 costs nothing. An unknown one costs no copy: TensorFlow's pad by nothing and
    slice of everything are the tensor itself. Whatever it could fuse, such as a convolution with its bias and its
    activation, belongs inside one operator, because it does not fuse across the slice.
    """
    images = ops.shape(x)[0]
    if isinstance(images, int) and images:
        return operator(x)
    pads = [(0, at_least_zero(1 - images))] + [(0, 0)] * (len(x.shape) - 1)
    # ones, because TensorFlow fuses a pad by zeros into the convolution, which then sees no images again
    y = operator(ops.pad(x, pads, constant_values=1))
    return ops.slice(y, [0] * len(y.shape), (images, *ops.shape(y)[1:]))
