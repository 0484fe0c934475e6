"""The operators that are timed alone, forward and backward, at shapes of the papers' networks. One line each.

What Keras lacks has nothing to be compared with and is not here; what is not written out yet is skipped.
"""
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """A layer of that name, called with `arguments`, on a batch of images of `shape` (*space, C)."""
    layer: str
    batch: int
    shape: tuple[int, ...]
    arguments: dict
    inputs: int = 1                 # tensors of that shape that it joins

    @property
    def text(self) -> str:
        given = ", ".join(_word(key, value) for key, value in self.arguments.items())
        return f"{self.layer}({given}) on {'×'.join(map(str, self.shape))}"


def _word(key, value) -> str:
    if key in ("filters", "kernel_size", "pool_size", "units", "padding", "activation", "interpolation"):
        return str(value)
    return "no bias" if (key, value) == ("use_bias", False) else f"{key}={value}"


def _conv(batch, shape, filters, size=3, layer="Conv2D", **more):
    return Operator(layer, batch, shape, {"filters": filters, "kernel_size": size, "padding": "same",
                                          "use_bias": False, **more})


OPERATORS = (
    # ResNet-20's three stages, the ways between them, and ResNet-50's first
    _conv(128, (32, 32, 16), 16),
    _conv(128, (16, 16, 32), 32),
    _conv(128, (8, 8, 64), 64),
    _conv(128, (32, 32, 16), 32, strides=2),
    _conv(128, (16, 16, 32), 64, strides=2),
    _conv(16, (56, 56, 64), 64),
    _conv(16, (56, 56, 64), 256, 1),
    _conv(16, (56, 56, 256), 128, 1, strides=2),
    # LeNet-5, DenseNet-40, dilated, grouped as in ResNeXt; a first layer
    Operator("Conv2D", 128, (14, 14, 6), {"filters": 16, "kernel_size": 5}),
    _conv(32, (32, 32, 160), 12),
    _conv(32, (32, 32, 32), 32, dilation_rate=2),
    _conv(16, (14, 14, 128), 128, groups=32),
    _conv(8, (224, 224, 3), 64, 7, strides=2),
    _conv(64, (128, 32), 64, 5, "Conv1D"),
    _conv(4, (16, 28, 28, 16), 32, 3, "Conv3D"),
    Operator("DepthwiseConv1D", 64, (128, 64), {"kernel_size": 5, "padding": "same"}),
    Operator("DepthwiseConv2D", 64, (32, 32, 64), {"kernel_size": 3, "padding": "same", "use_bias": False}),
    Operator("DepthwiseConv2D", 64, (32, 32, 64), {"kernel_size": 3, "padding": "same", "strides": 2,
                                                   "use_bias": False}),
    _conv(64, (128, 32), 64, 5, "SeparableConv1D"),
    _conv(64, (32, 32, 32), 64, 3, "SeparableConv2D"),
    _conv(64, (128, 32), 16, 4, "Conv1DTranspose", strides=2),
    _conv(32, (16, 16, 64), 32, 4, "Conv2DTranspose", strides=2),
    _conv(4, (8, 14, 14, 32), 16, 4, "Conv3DTranspose", strides=2),
    Operator("MaxPooling1D", 64, (128, 64), {"pool_size": 2}),
    Operator("MaxPooling2D", 64, (32, 32, 64), {"pool_size": 2}),
    Operator("MaxPooling2D", 16, (112, 112, 64), {"pool_size": 3, "strides": 2, "padding": "same"}),
    Operator("MaxPooling3D", 4, (16, 28, 28, 32), {"pool_size": 2}),
    Operator("AveragePooling1D", 64, (128, 64), {"pool_size": 2}),
    Operator("AveragePooling2D", 64, (32, 32, 64), {"pool_size": 2}),
    Operator("AveragePooling2D", 64, (32, 32, 64), {"pool_size": 3, "strides": 2, "padding": "same"}),
    Operator("AveragePooling3D", 4, (16, 28, 28, 32), {"pool_size": 2}),
    Operator("GlobalAveragePooling1D", 64, (128, 64), {}),
    Operator("GlobalAveragePooling2D", 128, (8, 8, 512), {}),
    Operator("GlobalAveragePooling3D", 4, (8, 14, 14, 64), {}),
    Operator("GlobalMaxPooling1D", 64, (128, 64), {}),
    Operator("GlobalMaxPooling2D", 128, (8, 8, 512), {}),
    Operator("GlobalMaxPooling3D", 4, (8, 14, 14, 64), {}),
    Operator("BatchNormalization", 128, (32, 32, 16), {}),
    Operator("BatchNormalization", 16, (56, 56, 256), {}),
    Operator("LayerNormalization", 64, (64, 256), {}),
    Operator("GroupNormalization", 16, (56, 56, 64), {"groups": 32}),
    Operator("ReLU", 128, (32, 32, 16), {}),
    Operator("ReLU", 128, (32, 32, 16), {"max_value": 6.0}),
    Operator("LeakyReLU", 128, (32, 32, 16), {}),
    Operator("PReLU", 128, (32, 32, 16), {"shared_axes": (1, 2)}),
    Operator("ELU", 128, (32, 32, 16), {}),
    Operator("Activation", 128, (32, 32, 16), {"activation": "sigmoid"}),
    Operator("Activation", 128, (32, 32, 16), {"activation": "tanh"}),
    Operator("Softmax", 128, (1000,), {}),
    Operator("Dense", 128, (4096,), {"units": 1000}),
    Operator("Dense", 128, (400,), {"units": 120}),
    Operator("Dropout", 128, (4096,), {"rate": 0.5, "seed": 0}),
    Operator("SpatialDropout2D", 64, (32, 32, 64), {"rate": 0.5, "seed": 0}),
    Operator("Add", 128, (32, 32, 16), {}, inputs=2),
    Operator("Multiply", 128, (32, 32, 16), {}, inputs=2),
    Operator("Concatenate", 32, (32, 32, 64), {}, inputs=2),
    Operator("ZeroPadding2D", 64, (32, 32, 64), {"padding": 1}),
    Operator("UpSampling2D", 64, (16, 16, 64), {"size": 2}),
    Operator("UpSampling2D", 64, (16, 16, 64), {"size": 2, "interpolation": "bilinear"}),
)


def written_out(operator: Operator) -> bool:
    """Whether both sides have the layer: ours with a backward pass of its own, Keras with the backend's."""
    import keras

    from ... import layers as explicit
    stock = getattr(keras.layers, operator.layer, None)
    return stock is not None and getattr(explicit, operator.layer) is not stock


def model_of(operator: Operator, layers):
    """The one layer as a model."""
    import keras
    inputs = [keras.Input(operator.shape) for _ in range(operator.inputs)]
    layer = getattr(layers, operator.layer)(**operator.arguments)
    return keras.Model(inputs, layer(inputs[0] if operator.inputs == 1 else inputs))


def inputs_of(operator: Operator, batch: int) -> list:
    """Fixed random inputs, float32.

    For a maximum no two numbers are equal: of equal ones TensorFlow's 3-D pooling gives every one the gradient on some
    processors, ours the first, and a million normal float32 hold some pairs.
    """
    import numpy as np
    random = np.random.default_rng(0)
    if "MaxPooling" in operator.layer:
        count = batch * math.prod(operator.shape)           # multiples of a power of two, which float32 holds exactly
        numbers = (random.permutation(count) - count // 2) / 2.0 ** max(count.bit_length() - 2, 0)
        return [numbers.reshape(batch, *operator.shape).astype("float32")]
    return [random.normal(size=(batch, *operator.shape)).astype("float32") for _ in range(operator.inputs)]
