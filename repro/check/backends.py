"""First and second derivatives of a function of tensors on TensorFlow, JAX and PyTorch; only here they differ."""
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

# JAX compiles always (one operation after the other takes it five times as long); torch.compile needs minutes a case
FORMS = {"tensorflow": ("graph", "xla"), "jax": (), "torch": ()}


def forms() -> tuple[str, ...]:
    """How the backend compiles what it also computes uncompiled."""
    return FORMS[keras.backend.backend()]


def precision() -> str:
    """The widest dtype in which Keras computes on this backend."""
    return "float64" if keras.backend.backend() == "tensorflow" else "float32"


def evaluate(function: Callable, arrays) -> np.ndarray:
    """The function's value as an array."""
    return ops.convert_to_numpy(compiled(function)(*to_tensors(arrays)))


def vjp(function: Callable, tensors, dy, missing="zero") -> list:
    """Gradients of Σ dy·function(*tensors), themselves differentiable; missing: "zero" or None where there is none."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = function(*tensors)
        return tape.gradient(y, tensors, output_gradients=dy, unconnected_gradients=missing or "none")
    if backend == "jax":
        import jax
        return list(jax.vjp(function, *tensors)[1](dy))
    import torch
    tensors = [tensor if tensor.requires_grad else tensor.detach().requires_grad_() for tensor in tensors]
    found = torch.autograd.grad(function(*tensors), tensors, dy, create_graph=True, allow_unused=True)
    return [torch.zeros_like(tensor) if one is None and missing else one for one, tensor in zip(found, tensors)]


def gradients(function: Callable, tensors, dy, form: str = "") -> list[np.ndarray]:
    """Gradients of Σ dy·function(*tensors) for arrays; form: "" or one of `forms()`, the batch unknown."""
    run = compiled(lambda dy, *tensors: vjp(function, tensors, dy), form, (dy, *tensors))
    return _arrays(run(*to_tensors((dy, *tensors))))


def second_derivatives(function: Callable, tensors, dy, directions) -> list[np.ndarray]:
    """Gradients, of the tensors and dy, of Σ directions·gradients(function, tensors, dy)."""
    directions = to_tensors(directions)

    def length(*arguments):
        *tensors, dy = arguments
        return sum(ops.sum(one * direction) for one, direction in zip(vjp(function, tensors, dy), directions))

    run = compiled(lambda *tensors: vjp(length, tensors, ops.ones((), dtype=str(dy.dtype))))
    return _arrays(run(*to_tensors((*tensors, dy))))


def compiled(function: Callable, form: str = "", arrays=()) -> Callable:
    """The function as the backend compiles it; on TensorFlow for any length of the arrays' first axis, where two
    share it."""
    if keras.backend.backend() == "jax":
        import jax
        return jax.jit(function)
    if not form:
        return function
    import tensorflow as tf
    batch = arrays[1].shape[:1]
    free = [tf.TensorSpec([None, *array.shape[1:]] if i < 2 and array.shape[:1] == batch != () else array.shape,
                          array.dtype) for i, array in enumerate(arrays)]
    return tf.function(function, input_signature=free, jit_compile=form == "xla", autograph=False)


def as_function_of_arrays(function: Callable) -> Callable:
    """Compiled once, from arrays to an array: central differences call it hundreds of times. TensorFlow."""
    import tensorflow as tf
    graph = tf.function(function, autograph=False)
    return lambda *arrays: graph(*to_tensors(arrays)).numpy()


def to_tensors(arrays) -> list:
    """Tensors of the arrays' own dtypes; PyTorch's would be of Keras's default otherwise."""
    return [ops.convert_to_tensor(array, dtype=str(array.dtype)) for array in arrays]


def _arrays(tensors) -> list[np.ndarray]:
    return [ops.convert_to_numpy(tensor) for tensor in tensors]
