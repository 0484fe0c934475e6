"""Convolution along a connection table: LeNet-5's C3.

    Y[..., k] = Σ_{c ∈ table[k]} X[..., c] ⋆ w[:, :, (c,k)] + b[k]        one kernel a listed pair (c, k)
    W = w S                                                               S: the 0/1 matrix that spreads them
    dw = dW Sᵀ

dX and dW are those of the dense convolution with W.  Source: LeCun et al. 1998, section II.B, table I.
"""
import keras
import numpy as np
from keras import ops

from .activation import activate
from .convolution import convolve
from .dense import add_bias
from .gradient import with_gradient
from .initializer import another
from .window import Window, check_positive, known_format, last_shape, shape_in


def listed_kernels(dw, spread):
    """dw Sᵀ: the listed kernels' gradient (size, size, pairs) out of the dense kernel's (size, size, C, K)."""
    flat = ops.reshape(dw, (*dw.shape[:2], -1))
    dw = ops.matmul(flat, ops.transpose(ops.cast(spread, flat.dtype)))
    return ops.cast(dw, flat.dtype)         # on PyTorch Keras's product of float64 is float32


@keras.saving.register_keras_serializable(package="cnn_repro")
class TableConv2D(keras.layers.Layer):
    """Convolution in which every output map sees only the input maps that a connection table lists.

        Y[..., k] = Σ_{c ∈ table[k]} X[..., c] ⋆ w[:, :, (c,k)] + b[k]

    One kernel a listed pair (c, k), so the layer has size² · pairs + K parameters and no more. The kernels
    are spread over a dense kernel by a fixed 0/1 matrix S: W = w S, hence dw = dW Sᵀ.

    table: for every output map the input maps it sees. kernel_size: one integer. kernel_initializer sees
    the fan-in of each output map: any Keras initialiser, or FanIn, the paper's.
    data_format: as for Keras's layers; by default Keras's own.
    Input (N, H, W, C) → output (N, H − size + 1, W − size + 1, len(table)); channels_first: (N, C, H, W) →
    (N, len(table), H − size + 1, W − size + 1).
    Source: LeCun et al. 1998, section II.B, table I (layer C3).
    """

    def __init__(self, table, kernel_size, activation=None, kernel_initializer="glorot_uniform",
                 data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = known_format(data_format)
        self.table = [sorted(int(c) for c in row) for row in table]
        self.kernel_size = int(kernel_size)
        check_positive(kernel_size=self.kernel_size)
        if not self.table:
            raise ValueError("table=[] must list the input maps of one output map at least.")
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        channels = Window.of((self.kernel_size,) * 2, 1, "valid").check(input_shape, self.data_format)
        for k, row in enumerate(self.table):
            if not row or row[-1] >= channels or row[0] < 0 or len(set(row)) < len(row):
                raise ValueError(f"table[{k}] = {row} must list distinct input maps from 0 to {channels - 1}.")
        pairs = [(c, k) for k, row in enumerate(self.table) for c in row]
        spread = np.zeros((len(pairs), channels, len(self.table)), "float32")
        for index, (c, k) in enumerate(pairs):
            spread[index, c, k] = 1
        self.spread = spread.reshape(len(pairs), -1)
        taps = self.kernel_size**2
        self.kernel = self.add_weight(
            name="kernel", shape=(self.kernel_size, self.kernel_size, len(pairs)),
            initializer=self._initial_kernel)
        self.bias = self.add_weight(name="bias", shape=(len(self.table),), initializer="zeros")
        self.connections = taps * len(pairs) + len(self.table)       # of one output position, biases included
        self.built = True

    def _initial_kernel(self, shape, dtype=None):
        """Every output map's kernels drawn as those of a dense convolution over the maps it sees."""
        size = (self.kernel_size, self.kernel_size)
        drawn = [ops.reshape(another(self.kernel_initializer, k)((*size, len(row), 1), dtype=dtype), (*size, len(row)))
                 for k, row in enumerate(self.table)]
        return ops.concatenate(drawn, axis=-1)

    def call(self, inputs):
        y = convolve(inputs, self.dense_kernel(self.kernel), data_format=self.data_format)
        return activate(self.activation, add_bias(y, self.bias, self.data_format))

    def dense_kernel(self, kernel):
        """The kernel (size, size, C, K) of the equivalent dense convolution, zero where nothing is connected."""
        shape = (self.kernel_size, self.kernel_size, -1, len(self.table))

        def forward(kernel):
            dense = ops.matmul(kernel, ops.cast(self.spread, kernel.dtype))
            return ops.reshape(ops.cast(dense, kernel.dtype), shape)

        return with_gradient(forward, lambda dw, w, kernel: listed_kernels(dw, self.spread), kernel)

    def compute_output_shape(self, input_shape):
        reach = self.kernel_size - 1
        grow = lambda n: None if n is None else n - reach                               # noqa: E731
        images, rows, columns, _ = last_shape(input_shape, self.data_format)
        return shape_in((images, grow(rows), grow(columns), len(self.table)), self.data_format)

    def get_config(self):
        return {**super().get_config(), "table": self.table, "kernel_size": self.kernel_size,
                "data_format": self.data_format,
                "activation": keras.activations.serialize(self.activation),
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}
