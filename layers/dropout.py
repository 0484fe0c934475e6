"""Dropout: a random part of the units is left out of a training step.

    y = x m/(1 − p)         m = 0 with probability p (the rate), 1 otherwise, drawn anew in every step
    dx = dy m/(1 − p)       by the same m: a unit that was left out learns nothing

The layer is linear, with m/(1 − p) on the diagonal of its Jacobian, whose mean is 1. So nothing has to be scaled in
prediction; the paper has y = x m and halves the outgoing weights instead, which is the same network in expectation.

Sources: Hinton et al. 2012; Krizhevsky et al. 2012, section 4.2; the division: Srivastava et al. 2014, section 10.
"""
import keras
from keras import ops

from .gradient import with_gradient


def drop(x, mask):
    """y = x m/(1 − p) for x and mask = m/(1 − p) of one shape; the mask is a constant."""
    # closed over: the backward pass needs this very mask, and the mask no gradient
    return with_gradient(lambda x: x * mask, lambda dy, y, x: dropout_gradient(dy, mask), x)


def draw_mask(x, rate, noise_shape=None, seed=None):
    """m/(1 − p) for x: zeros with probability `rate`, and 1/(1 − rate). The m that Keras's dropout draws.

    noise_shape: the shape of m, which broadcasts against x; None, as a whole or as an entry: that of x. seed: an
    integer, which draws the same m each time, or a keras.random.SeedGenerator.
    """
    return keras.random.dropout(ops.ones_like(x), rate, noise_shape, seed)


def dropout_gradient(dy, mask):
    """dx = dy m/(1 − p)."""
    return dy * mask


@keras.saving.register_keras_serializable(package="cnn_repro")
class Dropout(keras.layers.Dropout):
    """keras.layers.Dropout with its backward pass written out: for the same seed the same units. Any shape."""

    def call(self, inputs, training=False):
        if training and self.rate > 0:
            return drop(inputs, draw_mask(inputs, self.rate, self.noise_shape, self.seed_generator))
        return inputs
