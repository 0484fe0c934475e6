"""What a built network consists of, layer by layer: shapes, parameters, multiply-adds, memory, receptive field.

Counting follows the papers: one multiply-add a connection of a convolution or dense layer, biases and everything
else not counted; parameters are the trainable ones (moving averages are statistics).
"""
from math import prod

import keras

from .registry import build


def describe(model: keras.Model | str, **arguments) -> dict:
    """The anatomy of a network, given built or by name (then `arguments` go to `build`).

    name, input_shape (H, W, C), parameters, non_trainable, multiply_adds, connections (with biases, as LeCun
    counts) and layers: a row for each with name, type, stage, output (without the batch), kernel, parameters,
    multiply_adds, connections, activation_bytes (float32, one image) and receptive_field (pixels of the input
    along one axis that can reach an output; theoretical, None behind a flattening).
    """
    if isinstance(model, str):
        model = build(model, **arguments)
    rows, reach = [], {}
    for layer in model.layers:
        reach[layer.name] = _reach(layer, reach)
        if not isinstance(layer, keras.layers.InputLayer):
            rows.append(_row(layer, reach[layer.name]))
    total = lambda key: sum(row[key] for row in rows)                                   # noqa: E731
    return {
        "name": model.name,
        "input_shape": list(model.input_shape[1:]),
        "parameters": total("parameters"),
        "non_trainable": sum(prod(v.shape) for v in model.non_trainable_variables if "seed" not in v.path),
        "multiply_adds": total("multiply_adds"),
        "connections": total("connections"),
        "layers": rows,
    }


def stage_of(name: str) -> str:
    """A layer's stage is its name up to the first underscore: conv2_1_add belongs to conv2."""
    return name.split("_")[0]


def _row(layer, reach) -> dict:
    output = list(layer.output.shape[1:])
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    kernel = [kernel, kernel] if isinstance(kernel, int) else list(kernel) if kernel else None
    multiply_adds, connections = _connections(layer, output)
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "stage": stage_of(layer.name),
        "output": output,
        "kernel": kernel,
        "parameters": sum(prod(v.shape) for v in layer.trainable_variables),
        "multiply_adds": multiply_adds,
        "connections": connections,
        "activation_bytes": 4 * prod(output),
        "receptive_field": reach[0] if reach else None,
    }


def _connections(layer, output) -> tuple[int, int]:
    """(multiply-adds, connections) of one image: the inputs of every unit, without and with its bias."""
    kind, units = type(layer).__name__, prod(output)
    if kind == "TableConv2D":
        positions = units // len(layer.table)
        return positions * prod(layer.kernel.shape), positions * layer.connections
    if kind == "Subsampling2D":                 # four inputs added and one bias; the coefficient is no connection
        return 0, units * (layer.pool_size**2 + 1)
    if kind == "RadialBasis":
        return 0, prod(output) * len(layer.centres[0])
    if kind in ("Conv2D", "Dense"):
        each = prod(layer.kernel.shape[:-1])
        return units * each, units * (each + bool(layer.use_bias))
    return 0, 0


def _reach(layer, reach):
    """(receptive field, step) along the height: a window of extent e grows the field by (e − 1)·step."""
    before = [reach[operation.name] for operation in _parents(layer)]
    if not before:
        return (1, 1)
    if any(item is None for item in before) or isinstance(layer, (keras.layers.Flatten, keras.layers.Dense)):
        return None
    field, step = max(before)
    if type(layer).__name__.startswith("Global"):
        return None
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if kernel is None:
        return field, step
    k = kernel if isinstance(kernel, int) else kernel[0]
    rate = getattr(layer, "dilation_rate", (1,))[0]
    default = k if hasattr(layer, "pool_size") else 1
    strides = getattr(layer, "strides", default)
    stride = strides if isinstance(strides, int) else strides[0]
    return field + (k - 1) * rate * step, step * stride


def _parents(layer):
    """The layers that feed this one."""
    inputs = [] if isinstance(layer, keras.layers.InputLayer) else layer.input
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return [tensor._keras_history.operation for tensor in inputs]
