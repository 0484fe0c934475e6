"""The exponential average of a network's weights over its training steps, which is what is evaluated.

    a ← d_t a + (1 − d_t) w,   d_t = min(d, (1 + t)/(10 + t)),   t = 1 after the first step;  a begins as w

Without d_t a short training with d = 0.9999 would be judged by its first weights.
Source: Polyak and Juditsky 1992 for averaging; TensorFlow's ExponentialMovingAverage with its count of updates, as
the programs behind Inception-v3 and MobileNet train.
"""
import contextlib

import keras
from keras import ops


class Average:
    """Averages of Keras variables: all of a model's, batch normalisation's moving averages among them."""

    def __init__(self, variables, decay: float):
        self.decay = decay
        self._followed = [v for v in variables if keras.backend.is_float_dtype(v.dtype)]
        self._updates = keras.Variable(0, dtype="int32", trainable=False, name="average_updates")
        self._averages = [
            keras.Variable(ops.copy(v), dtype=v.dtype, trainable=False, name="average")
            for v in self._followed]

    @property
    def variables(self) -> list:
        """What a checkpoint must keep: the number of updates, then one average a variable."""
        return [self._updates, *self._averages]

    def update(self) -> None:
        """Take the weights of the step just made into the average; may be traced."""
        self._updates.assign_add(1)
        count = ops.cast(self._updates, "float32")
        share = 1 - ops.minimum(self.decay, (1 + count) / (10 + count))
        for average, variable in zip(self._averages, self._followed):
            average.assign_add(ops.cast(share, average.dtype) * (ops.convert_to_tensor(variable) - average))

    @contextlib.contextmanager
    def swapped(self):
        """Within it the network has the average for its weights; afterwards its own again, bit for bit."""
        own = [ops.convert_to_numpy(variable) for variable in self._followed]
        try:
            for variable, average in zip(self._followed, self._averages):
                variable.assign(average)
            yield
        finally:
            for variable, values in zip(self._followed, own):
                variable.assign(values)
