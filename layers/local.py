"""Locally connected layers: a convolution's windows, but every output position with weights of its own.

    Y[n,p,k]   = Σ_tc X[n, p·s + t, c] W[p,tc,k]         forward
    dW[p,tc,k] = Σ_n X[n, p·s + t, c] dY[n,p,k]          a sum over images, not over positions
    dX[n,q,c]  = Σ_{p·s+t=q} Σ_k dY[n,p,k] W[p,tc,k]     what each window sends back, added where windows overlap
    db[p,k]    = Σ_n dY[n,p,k]                           the bias is not shared either

p and t run over all spatial axes, X is the padded input. It is the step between the dense layer, which lets every
output see every input, and the convolution, which shares one kernel among all positions.
Source: lecture note 001, section 2.2; LeCun 1989, "Generalization and network design strategies", Net-3; with
padding: the `local` layer of Krizhevsky's cuda-convnet.
"""
from math import prod

import keras
from keras import ops

from .activation import activate
from .gradient import with_gradient
from .window import (Window, crop, differ, from_channels_last, known_format, pad, scatter, space_of, taps,
                     to_channels_last)


def locally_connect(x, kernel, kernel_size, strides=1, padding="valid", data_format="channels_last"):
    """x (N, *space, C) with a kernel (positions, taps·C, K) → (N, *outputs, K).

    Output positions, and the taps of a window of `kernel_size`, are numbered in row-major order; row t·C + c of a
    position's kernel is tap t of channel c. `data_format` is that of x and of the result. Any floating dtype, the
    same for both. Raises ValueError for an image whose size is unknown or smaller than the window.
    """
    window = Window.of(kernel_size, strides, padding)
    space, channels = window.check_axes(x.shape, data_format)
    expected = (prod(known_outputs(window, space)), window.count * channels)
    if len(kernel.shape) != 3 or any(differ(*pair) for pair in zip(kernel.shape, expected)):
        raise ValueError(f"The kernel has shape {tuple(kernel.shape)}, for this input and window it must be "
                         f"({expected[0]}, {expected[1]}, K).")

    def forward(x, kernel):
        y = ops.matmul(windows_of(x, window), kernel)                                   # (P, N, K)
        return ops.reshape(ops.swapaxes(y, 0, 1), (-1, *known_outputs(window, space_of(x)), kernel.shape[-1]))

    def backward(dy, y, x, kernel):
        return local_input_gradient(dy, x, kernel, window), local_kernel_gradient(dy, x, window)

    return from_channels_last(with_gradient(forward, backward, to_channels_last(x, data_format), kernel), data_format)


def local_input_gradient(dy, x, kernel, window: Window):
    """dX (N, *space, C): every position's dY Wᵀ, scattered to where its window looked. Of x only the shape counts."""
    space = space_of(x)
    outputs, pads = known_outputs(window, space), window.pads(space)
    sent = ops.matmul(positions_first(dy), ops.swapaxes(kernel, 1, 2))                  # (P, N, taps·C)
    sent = ops.reshape(ops.swapaxes(sent, 0, 1), (-1, *outputs, window.count, x.shape[-1]))
    padded = tuple(n + low + high for n, (low, high) in zip(space, pads))
    return crop(scatter(ops.unstack(sent, axis=-2), window, padded), pads, space)


def local_kernel_gradient(dy, x, window: Window):
    """dW (positions, taps·C, K): at every position Xᵀ dY over the images."""
    return ops.matmul(ops.swapaxes(windows_of(x, window), 1, 2), positions_first(dy))


def windows_of(x, window: Window):
    """What every position sees: (positions, N, taps·C) of x (N, *space, C)."""
    outputs = known_outputs(window, space_of(x))
    seen = ops.stack(taps(pad(x, window.pads(space_of(x))), window, outputs), axis=-2)  # (N, *outputs, taps, C)
    return ops.swapaxes(ops.reshape(seen, (-1, prod(outputs), window.count * x.shape[-1])), 0, 1)


def positions_first(y):
    """(N, *outputs, K) → (positions, N, K)."""
    return ops.swapaxes(ops.reshape(y, (-1, prod(space_of(y)), y.shape[-1])), 0, 1)


def known_outputs(window: Window, space) -> tuple[int, ...]:
    """window.outputs(space), for operators with a weight for every position: ValueError where there is none."""
    if not all(isinstance(n, int) for n in space):
        sizes = ", ".join(str(n) if isinstance(n, int) else "unknown" for n in space)
        raise ValueError(f"The input has size ({sizes}), which must be known: every position has weights of its own.")
    least = window.extent if window.padding == "valid" else (1,) * len(window.size)
    if any(n < e for n, e in zip(space, least)):
        raise ValueError(f"The input has size {tuple(space)}, less than the window's {tuple(least)}.")
    return window.outputs(space)


def add_local_bias(y, bias):
    """Y + b, one b a position and filter: y (N, *outputs, K), bias (*outputs, K)."""
    return with_gradient(ops.add, lambda dy, _, y, bias: (dy, local_bias_gradient(dy)), y, bias)


def local_bias_gradient(dy):
    """db (*outputs, K): the sum of dY over the images."""
    return ops.sum(dy, axis=0)


class LocallyConnected(keras.layers.Layer):
    """What the layers of one and of two spatial axes share; `rank` is the number of axes."""
    rank = 0

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, activation=None,
                 use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = self._positive("filters", filters, 1)[0]
        self.kernel_size = self._positive("kernel_size", kernel_size, self.rank)
        self.strides = self._positive("strides", strides, self.rank)
        self.padding = self._one_of("padding", padding.lower(), ("valid", "same"))
        self.data_format = known_format(data_format)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    @staticmethod
    def _positive(name, value, count) -> tuple[int, ...]:
        values = (value,) * count if isinstance(value, int) else tuple(value)
        if len(values) != count or not all(isinstance(one, int) and one > 0 for one in values):
            raise ValueError(f"{name}={value!r} must be a positive integer" + (f", or {count}" if count > 1 else "")
                             + ".")
        return values

    @staticmethod
    def _one_of(name, value, known):
        if value not in known:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}.")
        return value

    def _sizes(self, input_shape):
        """(outputs along each axis, channels)."""
        if len(input_shape) != self.rank + 2:
            raise ValueError(f"{type(self).__name__} takes {self.rank + 2} axes, "
                             f"not an input of shape {input_shape}.")
        last = self.data_format == "channels_last"
        space, channels = (input_shape[1:-1], input_shape[-1]) if last else (input_shape[2:], input_shape[1])
        if channels is None:
            raise ValueError(f"The number of channels must be known; the input has shape {input_shape}.")
        return known_outputs(Window.of(self.kernel_size, self.strides, self.padding), tuple(space)), channels

    def build(self, input_shape):
        outputs, channels = self._sizes(input_shape)
        self.kernel = self.add_weight(
            name="kernel", shape=(prod(outputs), prod(self.kernel_size) * channels, self.filters),
            initializer=self._initial_kernel, regularizer=self.kernel_regularizer, constraint=self.kernel_constraint)
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(*outputs, self.filters), initializer=self.bias_initializer,
                regularizer=self.bias_regularizer, constraint=self.bias_constraint)
        self.built = True

    def _initial_kernel(self, shape, dtype=None):
        """A unit has taps·C inputs. Glorot, He and LeCun read `positions` times as many out of the kernel's shape."""
        scaled = isinstance(self.kernel_initializer, keras.initializers.VarianceScaling)
        return self.kernel_initializer(shape, dtype=dtype) * (shape[0]**0.5 if scaled else 1)

    def call(self, inputs):
        y = locally_connect(to_channels_last(inputs, self.data_format), self.kernel, self.kernel_size, self.strides,
                            self.padding)
        if self.use_bias:
            y = add_local_bias(y, self.bias)
        return activate(self.activation, from_channels_last(y, self.data_format))

    def compute_output_shape(self, input_shape):
        outputs, _ = self._sizes(input_shape)
        if self.data_format == "channels_last":
            return (input_shape[0], *outputs, self.filters)
        return (input_shape[0], self.filters, *outputs)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size,
                "strides": self.strides, "padding": self.padding, "data_format": self.data_format,
                "activation": keras.activations.serialize(self.activation), "use_bias": self.use_bias,
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
                "bias_initializer": keras.initializers.serialize(self.bias_initializer),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
                "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
                "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
                "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
                "bias_constraint": keras.constraints.serialize(self.bias_constraint)}


@keras.saving.register_keras_serializable(package="cnn_repro")
class LocallyConnected1D(LocallyConnected):
    """A locally connected layer over one axis, with the arguments that Keras 2 gave it.

    Input (N, L, C) → output (N, P, filters); channels_first: (N, C, L) → (N, filters, P). L must be known.
    kernel (P, kernel_size·C, filters), bias (P, filters): as in Keras 2, implementation 1. Other than there,
    padding="same" works, and an initialiser that scales with the fan-in sees that of one unit.
    """
    rank = 1


@keras.saving.register_keras_serializable(package="cnn_repro")
class LocallyConnected2D(LocallyConnected):
    """A locally connected layer over images, with the arguments that Keras 2 gave it.

    Input (N, H, W, C) → output (N, P, Q, filters); channels_first: (N, C, H, W) → (N, filters, P, Q). H and W must
    be known. kernel (P·Q, taps·C, filters), bias (P, Q, filters): as in Keras 2, implementation 1. Other than there,
    padding="same" works, a window's entries stand in the order tap, channel in both data formats, and an initialiser
    that scales with the fan-in sees that of one unit.
    Source: lecture note 001, section 2.2; LeCun 1989, Net-3.
    """
    rank = 2
