"""Softmax and cross-entropy as one operator.

    E = −Σ_k t_k log y_k        y = softmax z, t a distribution over the classes
    dz_k = dE (y_k − t_k)

Alone, the logarithm's derivative −t/y overflows where softmax's y underflows; together they cancel. With Σ t = 1,
∂E/∂z_i = −Σ_k t_k/y_k · y_k ([i = k] − y_i) = y_i Σ_k t_k − t_i = y_i − t_i.

Sources: Bridle 1990; t other than a class's indicator, (1 − ε)[k = class] + ε/K: Szegedy et al. 2016, section 7.
"""
from keras import ops

from .activation import softmax
from .gradient import with_gradient


def softmax_cross_entropy(labels, logits):
    """E of each image: logits z (…, K) → (…).

    labels: class numbers (…), or distributions over the classes (…, K), which sum to one. They are constants and have
    no gradient. A number that is no class makes E and dz NaN, on every backend.
    Raises ValueError for any other shape of labels.
    """
    target = _distribution(ops.convert_to_tensor(labels), logits)

    def forward(z):
        # where t = 0, a class without any probability costs nothing: 0·log 0 = 0
        return -ops.sum(ops.where(target == 0, ops.zeros_like(z), target * ops.log_softmax(z)), axis=-1)

    return with_gradient(forward, lambda de, e, z: cross_entropy_gradient(de, z, target), logits)


def cross_entropy_gradient(de, z, target):
    """dz = dE (softmax z − t)."""
    return ops.expand_dims(de, -1) * (softmax(z) - target)


def one_hot(labels, logits):
    """1 at the class of each number in labels (…), 0 at the others (…, K); NaN for a number that is no class.

    keras.ops.one_hot makes zeros of it on TensorFlow and JAX: a loss that is too small, and training that goes on. An
    error would have to wait for the labels' values, in every step.
    """
    chosen = ops.equal(ops.expand_dims(labels, -1), ops.arange(logits.shape[-1]))
    return ops.where(ops.any(chosen, axis=-1, keepdims=True), ops.cast(chosen, logits.dtype), float("nan"))


def _distribution(labels, logits):
    """t for class numbers or for t itself."""
    if len(labels.shape) == len(logits.shape):
        if all(None in pair or pair[0] == pair[1] for pair in zip(labels.shape, logits.shape)):
            return ops.stop_gradient(ops.cast(labels, logits.dtype))
    elif len(labels.shape) == len(logits.shape) - 1:
        return one_hot(labels, logits)
    raise ValueError(f"Labels of shape {tuple(labels.shape)} are neither class numbers nor distributions "
                     f"for logits of shape {tuple(logits.shape)}.")
