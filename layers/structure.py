"""Operators that only move values: their backward pass moves the gradients back."""
import keras
from keras import ops

from .gradient import with_gradient


def pad_channels(x, channels, axis=-1):
    """Append zero channels until there are `channels`: Y = [X, 0], dX = the first entries of dY."""
    axis = axis % len(x.shape)
    own = x.shape[axis]

    def forward(x):
        return ops.pad(x, [(0, channels - own if other == axis else 0) for other in range(len(x.shape))])

    return with_gradient(forward, lambda dy, y, x: pad_channels_gradient(dy, own, axis), x)


def pad_channels_gradient(dy, own, axis):
    """dX: the first `own` entries of dY along the axis; the appended zeros depend on nothing."""
    return dy[(slice(None),) * axis + (slice(0, own),)]


@keras.saving.register_keras_serializable(package="cnn_repro")
class PadChannels(keras.layers.Layer):
    """Zero channels appended up to `channels`: the parameter-free shortcut between stages of different width.

    Input with c ≤ channels entries along `axis` → the same with `channels`.
    Source: He et al. 2016, section 3.3, option A.
    """

    def __init__(self, channels, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.axis = int(channels), int(axis)

    def build(self, input_shape):
        if input_shape[self.axis] > self.channels:
            raise ValueError(f"Axis {self.axis} of the input has size {input_shape[self.axis]}, "
                             f"more than channels={self.channels}.")
        self.built = True

    def call(self, inputs):
        return pad_channels(inputs, self.channels, self.axis)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[self.axis] = self.channels
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "axis": self.axis}
