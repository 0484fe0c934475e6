"""The one place that knows the backends: how each takes a gradient function, and what one of them lacks."""
import keras
from keras import ops


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


def kernels_know_one_group() -> bool:
    """Whether convolutions of several groups have no kernel: on TensorFlow without a GPU, but for what XLA compiles."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    return not tf.config.get_visible_devices("GPU") and tf.__internal__.get_enclosing_xla_context() is None
