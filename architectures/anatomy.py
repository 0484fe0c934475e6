"""What a built network consists of, layer by layer: shapes, parameters, multiply-adds, memory, receptive field.

Counting follows the papers: one multiply-add for every product of an input and a weight, those with padded zeros
included; what pools, normalises, activates, adds or gates counts nothing, a bias neither. Parameters are the
trainable ones (moving averages are statistics). An axis of unknown size counts once: the figures of a graph network
are those of one node, and what travels along its edges (ÂH) is left out, because the graph decides it, not the network.
"""
import contextlib
from math import prod

import keras

from .registry import build


def describe(model: keras.Model | str, **arguments) -> dict:
    """The anatomy of a network, given built or by name (then `arguments` go to `build`).

    name, input_shape (H, W, C; of the first input), parameters, non_trainable, multiply_adds, connections (with
    biases, as LeCun counts), depth (layers with multiply-adds on the longest way from an input to an output) and
    layers: a row for each with name, type, stage, output (without the batch, channels last), kernel, parameters,
    multiply_adds, connections, activation_bytes (float32, one image) and receptive_field (pixels of the input along
    its height that can reach an output; theoretical, None where it is the whole image or there is none).
    """
    if isinstance(model, str):
        model = build(model, **arguments)
    first, reach, depth, rows = _channels_first(model), {}, {}, []
    for layer in model.layers:
        parents = parents_of(layer)
        reach[layer.name] = _reach(layer, [reach[parent.name] for parent in parents], first[layer.name])
        depth[layer.name] = max((depth[parent.name] for parent in parents), default=0)
        if not isinstance(layer, keras.layers.InputLayer):
            rows.append(_row(layer, reach[layer.name], first[layer.name]))
            depth[layer.name] += rows[-1]["multiply_adds"] > 0
    total = lambda key: sum(row[key] for row in rows)                                   # noqa: E731
    entry = model.inputs[0]._keras_history.operation
    return {
        "name": model.name,
        "input_shape": _shape(entry.output, first[entry.name]),
        "parameters": total("parameters"),
        "non_trainable": sum(prod(v.shape) for v in model.non_trainable_variables if "seed" not in v.path),
        "multiply_adds": total("multiply_adds"),
        "connections": total("connections"),
        "depth": max(depth.values()),
        "layers": rows,
    }


@contextlib.contextmanager
def weightless():
    """Networks that are built in here have shapes and no numbers: enough to describe and to draw, and no memory."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.backend.clear_session()                   # or the next network's weights bring these along


def stage_of(name: str) -> str:
    """A layer's stage is its name up to the first underscore: conv2_1_add belongs to conv2."""
    return name.split("_")[0]


def stage_outputs(model: keras.Model) -> dict:
    """Stage → the output tensor of its last layer, in the network's order; a feature extractor is

        outputs = stage_outputs(model)
        keras.Model(model.inputs, [outputs[stage] for stage in ("conv3", "conv5")])
    """
    return {stage_of(layer.name): layer.output for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer)}


def parents_of(layer) -> list:
    """The layers that feed this one, in the order of its inputs."""
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(layer.input)]


def _row(layer, reach, first) -> dict:
    output = _shape(layer.output, first)
    kernel = kernel_of(layer)
    multiply_adds, biases = _count(layer, output, _taken(layer, first))
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "stage": stage_of(layer.name),
        "output": output,
        "kernel": list(kernel) if kernel else None,
        "parameters": sum(prod(v.shape) for v in layer.trainable_variables),
        "multiply_adds": multiply_adds if type(layer).__name__ not in UNCOUNTED else 0,
        "connections": multiply_adds + biases,
        "activation_bytes": 4 * _size(output),
        "receptive_field": reach and reach.field,
    }


def kernel_of(layer) -> tuple[int, ...] | None:
    """The window of a layer, (height, width) of an image's; None where it has none."""
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if type(layer).__name__ == "NonLocal":              # its pool_size is that of a detail
        return None
    if type(layer).__name__ == "FixedFilters2D":
        return layer.bank.shape[1:]
    return (kernel, kernel) if isinstance(kernel, int) else tuple(kernel) if kernel else None


# ------------------------------------------------------------------------------------------------------- shapes

def _channels_first(model) -> dict[str, bool]:
    """Layer → whether its output has its channels in front: as it says itself, or as what feeds it."""
    first = {}
    somewhere = any(_says_first(layer) for layer in model.layers)
    for layer in model.layers:
        before = [first[parent.name] for parent in parents_of(layer)] or [somewhere and len(layer.output.shape) > 2]
        own = hasattr(layer, "data_format") and type(layer).__name__ != "PrimaryCapsules"       # that gives vectors
        first[layer.name] = _says_first(layer) if own else any(before) and not hasattr(layer, "data_format")
        if isinstance(layer, keras.layers.Reshape) and len(layer.input.shape) == 2 and len(layer.output.shape) > 3:
            first[layer.name] = somewhere               # an image out of a vector
    return first


def _says_first(layer) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _taken(layer, channels_first) -> list:
    """The shape of a layer's first input, of one image, with the channels last; channels_first: its output's."""
    first = _says_first(layer) if hasattr(layer, "data_format") else channels_first
    return _shape(keras.tree.flatten(layer.input)[0], first)


def _shape(tensor, channels_first) -> list:
    """Of one image, with the channels last."""
    shape = list(tensor.shape[1:])
    return shape[1:] + shape[:1] if channels_first and len(shape) > 1 else shape


def _size(shape) -> int:
    return prod(1 if n is None else n for n in shape)


# --------------------------------------------------------------------------------------------------- multiply-adds

# Connections that the papers of LeCun count, and nobody as multiply-adds: a sum, and distances to fixed points.
UNCOUNTED = ("Subsampling2D", "RadialBasis")


def _count(layer, output, given) -> tuple[int, int]:
    """(products, biases) of one image, for a layer's output and (first) input shape without the batch."""
    count = COUNTS.get(type(layer).__name__)
    if count is None:
        return 0, 0
    products = count(layer, output, given)
    biased = getattr(layer, "use_bias", type(layer).__name__ in ("TableConv2D", "Subsampling2D", "PrimaryCapsules"))
    return products, _size(output) * bool(biased)


def _convolution(layer, output, given):
    """Every position times the kernel (*size, channels of a group, filters)."""
    return _size(output) // layer.kernel.shape[-1] * prod(layer.kernel.shape)


def _depthwise(layer, output, given):
    """Every position times the kernel (*size, channels, multiplier)."""
    return _size(output) // prod(layer.kernel.shape[-2:]) * prod(layer.kernel.shape)


def _separable(layer, output, given):
    positions = _size(output) // layer.pointwise_kernel.shape[-1]
    return positions * (prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape))


def _transposed(layer, output, given):
    """Every *input* position writes a whole kernel (*size, filters, channels), some of it over the border."""
    return _size(given) // layer.kernel.shape[-1] * prod(layer.kernel.shape)


def _local(layer, output, given):
    """A kernel of its own for every position."""
    return prod(layer.kernel.shape)


def _dense(layer, output, given):
    return _size(output) * layer.kernel.shape[0]


def _table(layer, output, given):
    """The kernel (size, size, listed pairs of maps) at every position."""
    return _size(output) // len(layer.table) * prod(layer.kernel.shape)


def _fixed_filters(layer, output, given):
    """Fixed numbers multiply as learned ones do."""
    return _size(output) * prod(layer.bank.shape[1:])


def _graph(layer, output, given):
    """H W for every node that is known, twice with a kernel of the node's own; ÂH is the graph's."""
    kernels = 2 if layer.self_weight else 1
    return kernels * _size(given[:-1]) * prod(layer.kernel.shape)


def _chebyshev(layer, output, given):
    """H W_k for every node that is known and every order; what goes along the edges is the graph's."""
    return _size(given[:-1]) * sum(prod(kernel.shape) for kernel in layer.kernels)


def _non_local(layer, output, given):
    """The embeddings, before φ and g are pooled; all pairs of positions, compared and summed up; W_z."""
    *space, wide = given
    narrow = layer.g.shape[-1]
    here, there = _size(space), _size([n and n // factor for n, factor in zip(space, layer.pool_size)])
    embeddings = 1 if layer.kind == "gaussian" else 3
    pairs = {"gaussian": here * there * wide, "concatenation": (here + there) * narrow}
    return ((embeddings + 1) * here * wide * narrow + pairs.get(layer.kind, here * there * narrow)
            + here * there * narrow)


def _primary_capsules(layer, output, given):
    """The convolution's: `channels` capsules a position."""
    return _size(output[:-1]) // layer.channels * prod(layer.kernel.shape)


def _routing(layer, output, given):
    """W_ij u_i once, then a weighted sum an iteration and an agreement between two."""
    below, capsules, units, dimension = layer.kernel.shape
    return below * capsules * dimension * (units + 2 * layer.iterations - 1)


COUNTS = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), _local),
    "Dense": _dense, "TableConv2D": _table, "FixedFilters2D": _fixed_filters, "GraphConvolution": _graph,
    "ChebyshevConvolution": _chebyshev, "NonLocal": _non_local, "PrimaryCapsules": _primary_capsules,
    "DynamicRouting": _routing,
    "Subsampling2D": lambda layer, output, given: _size(output) * layer.pool_size**2,
    "RadialBasis": lambda layer, output, given: _size(output) * len(layer.centres[0]),
}


# -------------------------------------------------------------------------------------------------- receptive fields

class Reach:
    """Output row p sees the input's rows from p·step + low to p·step + high."""

    def __init__(self, low=0, high=0, step=1):
        self.low, self.high, self.step = low, high, step

    @property
    def field(self) -> int:
        return self.high - self.low + 1

    def through(self, extent, stride, before) -> "Reach":
        """Behind a window of this extent that begins `before` rows ahead of p·stride."""
        return Reach(self.low - before * self.step, self.high + (extent - 1 - before) * self.step, self.step * stride)


# Behind these an output may depend on all rows, or rows are no longer rows.
MIXING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute, keras.layers.RepeatVector)
MIXING_KINDS = ("NonLocal", "DynamicRouting", "GraphConvolution", "ChebyshevConvolution", "RadialBasis")


def _reach(layer, before, channels_first) -> Reach | None:
    """What one row of this layer's output sees, from what its inputs' rows see; None: everything, or no rows."""
    kind = type(layer).__name__
    if not before:                                      # an input: an image, a sequence or a video has rows
        return Reach() if len(layer.output.shape) > 2 else None
    if None in before or isinstance(layer, MIXING) or kind in MIXING_KINDS or "Global" in kind \
            or "Transpose" in kind:
        return None
    if len({one.step for one in before}) > 1:
        return None
    one = Reach(min(one.low for one in before), max(one.high for one in before), before[0].step)
    source, target = _taken(layer, channels_first), _shape(layer.output, channels_first)
    axis = max(len(source) - 3, 0)                      # the height: before the width, behind a video's time
    if isinstance(layer, ZERO_PADDING + CROPPING):
        edges = getattr(layer, "padding" if isinstance(layer, ZERO_PADDING) else "cropping")
        edge = edges[axis] if isinstance(edges[0], (tuple, list)) else edges
        return one.through(1, 1, edge[0] if isinstance(layer, ZERO_PADDING) else -edge[0])
    if kind == "MapResponseNormalization":              # a window, if no kernel
        return one.through(layer.depth, 1, layer.depth // 2)
    kernel = kernel_of(layer)
    if kernel is None:                                  # rows in place, or something that moves them unknown to us
        same = len(source) > 1 and len(source) == len(target) and source[axis] == target[axis]
        return one if same else None
    extent = (kernel[axis] - 1) * _axis(layer, "dilation_rate", axis, 1) + 1
    stride = _axis(layer, "strides", axis, kernel[axis] if hasattr(layer, "pool_size") else 1)
    return _window(layer, one, source[axis], extent, stride)


ZERO_PADDING = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
CROPPING = (keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)


def _window(layer, one, rows, extent, stride) -> Reach:
    """Behind a convolution or a pooling, padded as the layer says."""
    padding, blur = getattr(layer, "padding", "valid"), getattr(layer, "blur_size", None)
    if blur:                                            # dense max pooling, then the blur with the stride
        pooled = _window_of(one, padding, rows, extent, 1)
        return pooled.through(blur, stride, (blur - 1) // 2)
    return _window_of(one, padding, rows, extent, stride)


def _window_of(one, padding, rows, extent, stride) -> Reach:
    before = 0
    if padding == "same":                               # TensorFlow's: as little as is needed, the larger half behind
        needed = extent - 1 if rows is None else (-(-rows // stride) - 1) * stride + extent - rows
        before = max(needed, 0) // 2
    elif padding == "reflect":
        before = (extent - 1) // 2
    elif padding == "causal":
        before = extent - 1
    return one.through(extent, stride, before)


def _axis(layer, name, axis, default) -> int:
    value = getattr(layer, name, default)
    return value if isinstance(value, int) else value[axis]
