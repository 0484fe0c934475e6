"""One forward and one backward pass of an operator or a layer: eager, as a graph, or compiled by XLA."""
import numpy as np
import tensorflow as tf

FORMS = ("eager", "graph", "xla")


def run(function, tensors: dict, variables=(), form="eager", free=1):
    """Output y, and the gradients of Σ y·cos(index) as {name of a tensor or a weight: array}.

    tensors: name → array, passed to the function in that order. Compiled forms know neither the first `free`
    axes of the first tensor nor, where it has the same length, the first axis of the others.
    """
    names = [*tensors, *(weight.name for weight in variables)]
    values = [tf.constant(value) for value in tensors.values()]

    def both(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            y = function(*values)
            weight = tf.reshape(tf.cos(tf.cast(tf.range(tf.size(y)), "float64")), tf.shape(y))
            total = tf.reduce_sum(y * tf.cast(weight, y.dtype))
        return y, tape.gradient(total, [*values, *(variable.value for variable in variables)])

    if form != "eager":
        signature = [tf.TensorSpec([None] * (free if value is values[0] else 0)
                                   + list(value.shape)[free if value is values[0] else 0:], value.dtype)
                     for value in values]
        both = tf.function(both, input_signature=signature, jit_compile=form == "xla", autograph=False)
    y, gradients = both(*values)
    return y.numpy(), {name: None if gradient is None else gradient.numpy()
                       for name, gradient in zip(names, gradients, strict=True)}


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
