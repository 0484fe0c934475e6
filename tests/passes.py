"""One forward and one backward pass of an operator or a layer on the backend at hand: eager or compiled."""
import keras
import numpy as np
from keras import ops

from cnn_repro.repro.check.backends import forms, precision, to_tensors, vjp

FORMS = ("eager", *(forms() or ("jit",) * (keras.backend.backend() == "jax")))
PRECISE = precision()                   # float64, where Keras has it


def within(threshold: float) -> float:
    """A threshold for float64; where Keras has none of it, float32's."""
    return threshold if PRECISE == "float64" else max(threshold, 2e-5)



def run(function, tensors: dict, variables=(), form="eager", free=1, dy=None):
    """Output y, and the gradients of Σ y·dy (default cos(index)) as {name of a tensor or a weight: array}.

    tensors: name → array, passed to the function in that order. TensorFlow's compiled forms know neither the first
    `free` axes of the first tensor nor, where it has the same length, the first axis of the others.
    """
    names = [*tensors, *(variable.name for variable in variables)]
    if len(set(names)) < len(names):                    # a model's weights
        names = [*tensors, *(variable.path for variable in variables)]
    values = to_tensors([np.asarray(value) for value in tensors.values()])
    count = len(values)
    jax = keras.backend.backend() == "jax"              # which differentiates values; the others differentiate variables

    def forward(*everything):
        if not jax:
            return function(*everything[:count])
        with keras.StatelessScope(zip(variables, everything[count:])):
            return function(*everything[:count])

    def both(*everything):
        everything = [*everything, *([] if jax else (variable.value for variable in variables))]
        y = forward(*everything)
        weights = dy
        if dy is None:
            weights = ops.reshape(ops.cos(ops.arange(ops.size(y), dtype="float32")), ops.shape(y))
        return y, vjp(forward, everything, ops.cast(weights, y.dtype), missing=None)

    if jax:
        values += [variable.value for variable in variables]
    y, gradients = _compiled(both, values, form, free)(*values)
    return array(y), {name: None if gradient is None else array(gradient)
                      for name, gradient in zip(names, gradients, strict=True)}


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


def of(layer, x, form="eager", free=1, dy=None, **call):
    """The same for a layer: gradients of its input or inputs and of its trainable weights, by their names."""
    if not layer.built:
        layer.build([one.shape for one in x] if isinstance(x, list) else x.shape)
    pack = (lambda *tensors: list(tensors)) if isinstance(x, list) else lambda x: x
    return run(lambda *tensors: layer(pack(*tensors), **call), named(x), layer.trainable_weights, form, free, dy)


def named(x) -> dict:
    """What `of` calls an input; a list of them, of a layer that takes several, is counted from 1."""
    return {f"input {index}": one for index, one in enumerate(x, 1)} if isinstance(x, list) else {"input": x}


def numbers(*shape, seed=0, dtype=PRECISE):
    """Normal random numbers, the same in every run and rounded to the dtype."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def drawn(shape, seed=0, dtype=PRECISE):
    """The same for a layer's input of this shape, or for each of its inputs where it is a list of shapes."""
    if isinstance(shape, list):
        return [numbers(*one, seed=seed + index, dtype=dtype) for index, one in enumerate(shape)]
    return numbers(*shape, seed=seed, dtype=dtype)


def resized(shape, *sizes):
    """The shape, or each in a list of them, with these sizes in front."""
    if isinstance(shape, list):
        return [resized(one, *sizes) for one in shape]
    return (*sizes, *shape[len(sizes):])


def array(value):
    """A tensor's numbers; bfloat16 is ml_dtypes', PyTorch's own has no arrays."""
    if keras.backend.backend() == "torch" and "bfloat16" in str(getattr(value, "dtype", "")):
        return array(value.float()).astype("bfloat16")
    return ops.convert_to_numpy(value)


def called(name, arguments: dict) -> str:
    """The call that makes a layer, as a test's name."""
    def text(value):
        return getattr(value, "__name__", type(value).__name__ if hasattr(value, "get_config") else value)

    return f"{name}({', '.join(f'{key}={text(value)}' for key, value in arguments.items())})"
