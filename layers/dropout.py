"""Dropout: a random part of the units is left out of a training step.

    y = x m/(1 − p)         m = 0 with probability p (the rate), 1 otherwise, drawn anew in every step
    dx = dy m/(1 − p)       by the same m: a unit that was left out learns nothing

The layer is linear, with m/(1 − p) on the diagonal of its Jacobian, whose mean is 1. So nothing has to be scaled in
prediction; the paper has y = x m and halves the outgoing weights instead, which is the same network in expectation.

ScheduledDropPath leaves out whole paths of a cell, image by image, the more often the longer the training lasts:

    p = rate · min(i/T, 1)  in training step i of T; m is one number an image

Sources: Hinton et al. 2012; Krizhevsky et al. 2012, section 4.2; the division: Srivastava et al. 2014, section 10;
paths: Larsson et al. 2017, section 3; their schedule: Zoph et al. 2018, section 4 and appendix A.
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


@keras.saving.register_keras_serializable(package="cnn_repro")
class ScheduledDropPath(keras.layers.Layer):
    """Leaves out x, of some images all of it, with a probability that rises linearly to `rate` in `steps` training steps.

    rate: 0 ≤ rate < 1. steps ≥ 1. Input (N, …) → the same; in prediction it is passed on. The layer counts its steps in
    a weight that is not trained. Raises ValueError for other numbers.
    """

    def __init__(self, rate, steps, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate={rate} must be at least 0 and below 1.")
        if steps < 1:
            raise ValueError(f"steps={steps} must be at least 1.")
        self.rate, self.steps, self.seed = rate, steps, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="step",
                                    aggregation="only_first_replica")
        self.built = True

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        kept = 1 - self.rate * ops.minimum(ops.cast(self.step, "float32") / self.steps, 1)
        self.step.assign(self.step + 1)
        drawn = keras.random.uniform((ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1)), seed=self.seed_generator)
        return drop(inputs, ops.cast(ops.where(drawn < kept, 1 / kept, 0.0), inputs.dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"rate": self.rate, "steps": self.steps, "seed": self.seed}
