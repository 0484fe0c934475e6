"""The one place that knows the backends: how each takes a gradient function, and what one of them lacks."""
from functools import cache, wraps
from math import prod

import keras
from keras import ops

LARGE = 2**17           # elements: of fewer, starting a compiled loop takes as long as the passes over memory it saves


def with_gradient(forward, backward, *tensors):
    """Compute `forward(*tensors)`, differentiated by `backward` and by nothing else.

    forward(*tensors) -> y                          one tensor
    backward(dy, y, *tensors) -> gradients          one a tensor, same shapes; a single tensor needs no tuple;
                                                    None for a tensor whose share another one's gradient contains

    Strides, padding and the like are closed over; only tensors are passed. `backward` consists of
    keras.ops, so the result can be differentiated again.  Works on TensorFlow, JAX and PyTorch, eager and
    compiled: TensorFlow and JAX call the gradient function with dy, PyTorch with the inputs and `upstream`.
    """
    @ops.custom_gradient
    def operator(*tensors):
        y = forward(*tensors)

        def gradient(*arguments, upstream=None):
            dy = arguments[0] if upstream is None else upstream
            # sizes that a TensorFlow graph forgot on the way back, in a slice's gradient; XLA even takes them for 0 then
            if dy.shape != y.shape or None in tuple(dy.shape):
                dy = ops.reshape(dy, ops.shape(y))
            return _without_none(backward(dy, *_after(dy, y, *tensors)), tensors)

        return y, gradient

    # A raw Keras variable is a TypeError on eager TensorFlow and a silent zero on PyTorch: pass its value.
    return operator(*(ops.copy(tensor) for tensor in tensors))


def _after(dy, *tensors):
    """The tensors, not to be had before dy. A TensorFlow graph computes what it can as soon as it can: all of a backward
    pass that does not depend on dy while it is still on its way forward, and keeps it. ResNet-20 took twice the memory.
    """
    if keras.backend.backend() != "tensorflow":
        return tensors
    import tensorflow as tf
    with tf.control_dependencies([dy]):
        return [tf.identity(tensor) for tensor in tensors]


def _without_none(gradients, tensors):
    """On JAX zeros in place of None."""
    if keras.backend.backend() != "jax" or not isinstance(gradients, (tuple, list)):
        return gradients
    return tuple(ops.zeros_like(tensor) if one is None else one for one, tensor in zip(gradients, tensors, strict=True))


def fused(formula):
    """A decorator: the formula, of tensors first and then of whatever can be hashed, as one loop over memory.

    On a processor TensorFlow makes every operation a pass over memory of its own, where its own gradients are one
    kernel each. What is elementwise, slices and pads can be one loop instead, which XLA compiles, once a shape (in
    about 0.2 s): worth it for many passes over large tensors, and possible where their shapes are known. In ms:
                                              TensorFlow's own    operations    fused
        max pool 2×2, 128 × 28×28×6                        5.4           4.2      1.5
        max pool 3×3 by 2, 16 × 112×112×64                  92           130       26
        average pool 3×3 by 2, 64 × 32×32×64               6.3          15.9      8.2
        batch normalisation, 128 × 32×32×16, forward                     2.9      1.7
                                             backward                    4.0      2.1
    With its sums in such loops too, steps of ResNet-20 take 12 % less time, of DenseNet-40 and MobileNet 7 and 8 %. Tried
    and not kept: the rectifier's (3.2, 2.6), by which steps became no faster. XLA sums over all positions on one core,
    along one axis on all.
    """
    @wraps(formula)
    def computed(*arguments):
        tensors = [value for value in arguments if hasattr(value, "shape")]
        if not _large(tensors) or not (operation_by_operation() and _xla_is_there()):
            return formula(*arguments)
        shapes = tuple((tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)) for tensor in tensors)
        return _compiled(formula, arguments[len(tensors):], shapes)(*tensors)

    return computed


def _large(tensors) -> bool:
    sizes = [tuple(tensor.shape) for tensor in tensors]
    return all(isinstance(n, int) for size in sizes for n in size) and max(map(prod, sizes)) >= LARGE


@cache
def _compiled(formula, settings, shapes):
    """One function for each of the shapes: TensorFlow warns of one that it compiles again and again."""
    import tensorflow as tf
    return tf.function(lambda *tensors: formula(*tensors, *settings), jit_compile=True, autograph=False)


@cache
def _xla_is_there() -> bool:
    """Not every build of TensorFlow has the compiler."""
    import tensorflow as tf
    try:
        with tf.init_scope():
            tf.function(lambda x: x + 1, jit_compile=True)(tf.zeros(()))
        return True
    except tf.errors.OpError:
        return False


def padded_convolution(x, kernel, pads, rates):
    """keras.ops.conv in two dimensions with dilation `rates` and zeros around x, (before, after) of each axis, that are
    no pass of their own: of a padded input the kernel gradient of 3×3 takes JAX 60 ms in place of 10 (16 to 16 channels,
    32×32, N = 128). Keras would move what TensorFlow's dilation skips into the batch and back."""
    name = keras.backend.backend()
    around = [(0, 0), *pads, (0, 0)]
    if not all(isinstance(value, int) for pair in pads for value in pair):      # of an image of unknown size
        x, around = ops.pad(x, around), [(0, 0)] * 4
    if name == "jax":
        from jax import lax
        return lax.conv_general_dilated(x, kernel, (1, 1), around[1:3], rhs_dilation=rates,
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))
    if name == "tensorflow":
        from tensorflow import nn
        return nn.conv2d(x, kernel, 1, around, dilations=rates)
    return ops.conv(ops.pad(x, around), kernel, data_format="channels_last", dilation_rate=rates)


def compiled_by_xla() -> bool:
    """Whether what is computed here becomes one program of XLA's: all of JAX, and TensorFlow's jit_compile."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        return tf.__internal__.get_enclosing_xla_context() is not None
    return keras.backend.backend() == "jax"


def operation_by_operation() -> bool:
    """Whether kernels of TensorFlow for processors run, one an operation: no GPU, and not what XLA compiles."""
    if keras.backend.backend() != "tensorflow" or compiled_by_xla():
        return False
    import tensorflow as tf
    return not tf.config.get_visible_devices("GPU")
