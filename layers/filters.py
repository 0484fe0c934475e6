"""Kernels set by hand: the Sobel and Prewitt operators, as a layer and as the kernels of a frozen convolution.

    Y[n,p, c·m + i] = Σ_t X[n, p + t, c] F[i,t]               channel c under filter i of m, each on its own
    dX[n,q,c]       = Σ_ti dY[n, q − t, c·m + i] F[i,t]       the depthwise convolution's; F is constant

Both estimate the slope of the brightness: a difference along one axis, smoothed along the other, by Prewitt with
weights 1 1 1, by Sobel with 1 2 1. They are correlated, not flipped: what grows brighter to the right, or
downwards, is positive.
Source: lecture note 001, section 1 (kernels designed by hand beside kernels learned); Prewitt 1970, "Object
enhancement and extraction"; Sobel and Feldman 1968, "A 3×3 isotropic gradient operator for image processing".
"""
import keras
import numpy as np
from keras import ops

from .depthwise import depthwise_convolve

SOBEL = [
    [[-1, 0, 1],
     [-2, 0, 2],
     [-1, 0, 1]],       # rightwards: it answers to vertical edges
    [[-1, -2, -1],
     [0, 0, 0],
     [1, 2, 1]],        # downwards: to horizontal ones
]
PREWITT = [
    [[-1, 0, 1],
     [-1, 0, 1],
     [-1, 0, 1]],
    [[-1, -1, -1],
     [0, 0, 0],
     [1, 1, 1]],
]
BANKS = {"sobel": SOBEL, "prewitt": PREWITT}


def bank_of(kernels) -> np.ndarray:
    """Filters (m, height, width): those of a name in BANKS, or the ones given."""
    if isinstance(kernels, str) and kernels not in BANKS:
        raise ValueError(f"kernels={kernels!r} must be one of {', '.join(BANKS)}, or filters (m, height, width).")
    bank = np.asarray(BANKS[kernels] if isinstance(kernels, str) else kernels, "float64")
    if bank.ndim != 3 or not bank.size:
        raise ValueError(f"kernels must be filters (m, height, width), not of shape {bank.shape}.")
    return bank


def apply_filters(x, kernels, padding="valid", data_format="channels_last"):
    """Every channel of x (N, H, W, C) under every one of m filters → (N, P, Q, C·m).

    kernels: "sobel", "prewitt" or an array (m, height, width). Output channel c·m + i is channel c under filter i.
    `data_format` is that of x and of the result. Any floating dtype. Raises ValueError for kernels of another shape.
    """
    channels = x.shape[-1 if data_format == "channels_last" else 1]
    kernel = np.repeat(np.moveaxis(bank_of(kernels), 0, -1)[:, :, None], channels, axis=2)      # (h, w, C, m)
    return depthwise_convolve(x, ops.convert_to_tensor(kernel, x.dtype), padding=padding, data_format=data_format)


@keras.saving.register_keras_serializable(package="cnn_repro")
class FixedFilters2D(keras.layers.Layer):
    """Every channel under fixed filters; nothing is learned and nothing counts as a parameter.

    kernels: "sobel", "prewitt" (the slope rightwards, then downwards) or m filters (m, height, width).
    Input (N, H, W, C) → output (N, P, Q, C·m), or (N, C, H, W) → (N, C·m, P, Q) for channels_first; output
    channel c·m + i is channel c under filter i. padding: "valid" or "same".
    Source: lecture note 001, section 1.
    """

    def __init__(self, kernels="sobel", padding="valid", data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.bank = bank_of(kernels)
        self.kernels = kernels if isinstance(kernels, str) else self.bank.tolist()
        self.padding = padding.lower()
        self.data_format = data_format or keras.config.image_data_format()
        for name, value, known in (("padding", self.padding, ("valid", "same")),
                                   ("data_format", self.data_format, ("channels_last", "channels_first"))):
            if value not in known:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}.")

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(f"FixedFilters2D takes 4 axes, not an input of shape {input_shape}.")
        if input_shape[-1 if self.data_format == "channels_last" else 1] is None:
            raise ValueError(f"The number of channels must be known; the input has shape {input_shape}.")
        self.compute_output_shape(input_shape)          # its complaint of a small image
        self.built = True

    def call(self, inputs):
        return apply_filters(inputs, self.bank, self.padding, self.data_format)

    def compute_output_shape(self, input_shape):
        batch, *space, channels = (input_shape if self.data_format == "channels_last"
                                   else (input_shape[0], *input_shape[2:], input_shape[1]))
        filters, *size = self.bank.shape
        if self.padding == "valid":
            if any(n is not None and n < k for n, k in zip(space, size)):
                raise ValueError(f"The input has size {tuple(space)}, less than the filters' {tuple(size)}.")
            space = [None if n is None else n - k + 1 for n, k in zip(space, size)]
        if self.data_format == "channels_last":
            return (batch, *space, channels * filters)
        return (batch, channels * filters, *space)

    def get_config(self):
        return {**super().get_config(), "kernels": self.kernels, "padding": self.padding,
                "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="cnn_repro")
class FilterBank(keras.initializers.Initializer):
    """Fixed filters as the kernels that a convolution starts with, or keeps.

        Conv2D(6, 5, kernel_initializer=FilterBank("sobel"), trainable=False)

    Output map k gets filter k mod m, in the middle of the kernel, on the mean of the input channels.
    kernels: as of FixedFilters2D. Raises ValueError for a kernel smaller than the filters.
    Source: lecture note 001, section 1.
    """

    def __init__(self, kernels="sobel"):
        self.bank = bank_of(kernels)
        self.kernels = kernels if isinstance(kernels, str) else self.bank.tolist()

    def __call__(self, shape, dtype=None):
        *size, channels, maps = shape
        filters, height, width = self.bank.shape
        if len(size) != 2 or size[0] < height or size[1] < width:
            raise ValueError(f"Filters of {height}×{width} do not fit into a kernel of shape {tuple(shape)}.")
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        kernel = np.zeros(shape)
        for k in range(maps):
            kernel[top:top + height, left:left + width, :, k] = self.bank[k % filters][:, :, None] / channels
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())

    def get_config(self):
        return {"kernels": self.kernels}
