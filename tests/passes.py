"""One forward and one backward pass of an operator or a layer on the backend at hand: eager or compiled."""
import keras
import numpy as np
from keras import ops

from cnn_repro.repro.check.backends import forms, to_tensors, vjp

FORMS = ("eager", *forms())


def run(function, tensors: dict, variables=(), form="eager", free=1):
    """Output y, and the gradients of Σ y·cos(index) as {name of a tensor or a weight: array}.

    tensors: name → array, passed to the function in that order. TensorFlow's compiled forms know neither the first
    `free` axes of the first tensor nor, where it has the same length, the first axis of the others.
    """
    names = [*tensors, *(variable.name for variable in variables)]
    values = to_tensors([np.asarray(value) for value in tensors.values()])
    jax = keras.backend.backend() == "jax"              # which differentiates values; the others differentiate variables

    def forward(*everything):
        if not jax:
            return function(*everything[:len(values)])
        with keras.StatelessScope(zip(variables, everything[len(values):])):
            return function(*everything[:len(values)])

    def both(*everything):
        everything = [*everything, *([] if jax else (variable.value for variable in variables))]
        y = forward(*everything)
        index = ops.reshape(ops.arange(ops.size(y), dtype="float32"), ops.shape(y))
        return y, vjp(forward, everything, ops.cast(ops.cos(index), y.dtype), missing=None)

    if jax:
        values += [variable.value for variable in variables]
    y, gradients = _compiled(both, values, form, free)(*values)
    array = lambda value: None if value is None else _array(value)                       # noqa: E731
    return array(y), {name: array(gradient) for name, gradient in zip(names, gradients, strict=True)}


def _compiled(function, values, form, free):
    if form == "eager":
        return function
    if form == "jit":
        import jax
        return jax.jit(function)
    import tensorflow as tf
    signature = [tf.TensorSpec([None] * (free if value is values[0] else 0)
                               + list(value.shape)[free if value is values[0] else 0:], value.dtype)
                 for value in values]
    return tf.function(function, input_signature=signature, jit_compile=form == "xla", autograph=False)


def _array(value):
    """bfloat16 stays the dtype that ml_dtypes gives it; PyTorch has no arrays of it."""
    if keras.backend.backend() == "torch" and str(value.dtype) == "torch.bfloat16":
        return _array(value.float()).astype("bfloat16")
    return ops.convert_to_numpy(value)


def of(layer, x, form="eager", free=1, **call):
    """The same for a layer: gradients of its "input" and of its trainable weights, by their names."""
    if not layer.built:
        layer.build(x.shape)
    return run(lambda x: layer(x, **call), {"input": x}, layer.trainable_weights, form, free)


def numbers(*shape, seed=0, dtype="float64"):
    """Normal random numbers, the same in every run."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def called(name, arguments: dict) -> str:
    """The call that makes a layer, as a test's name."""
    def text(value):
        return getattr(value, "__name__", type(value).__name__ if hasattr(value, "get_config") else value)

    return f"{name}({', '.join(f'{key}={text(value)}' for key, value in arguments.items())})"
