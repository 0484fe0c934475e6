"""The one place that knows how a backend takes a gradient function."""
from keras import ops


def with_gradient(forward, backward, *tensors):
    """Compute `forward(*tensors)`, differentiated by `backward` and by nothing else.

    forward(*tensors) -> y                          one tensor
    backward(dy, y, *tensors) -> gradients          one a tensor, same shapes; a single tensor needs no tuple

    Strides, padding and the like are closed over; only tensors are passed. `backward` consists of
    keras.ops, so the result can be differentiated again.  Works on TensorFlow, JAX and PyTorch, eager and
    compiled: TensorFlow and JAX call the gradient function with dy, PyTorch with the inputs and `upstream`.
    """
    @ops.custom_gradient
    def operator(*tensors):
        y = forward(*tensors)

        def gradient(*arguments, upstream=None):
            dy = arguments[0] if upstream is None else upstream
            return backward(dy, y, *tensors)

        return y, gradient

    # A raw Keras variable is a TypeError on eager TensorFlow and a silent zero on PyTorch: pass its value.
    return operator(*(ops.copy(tensor) for tensor in tensors))
