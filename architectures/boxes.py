"""A network as stages of blocks of boxes: what `drawing` draws, without a place on the paper.

A block is what the layers' names say (conv2_1_… is block 1 of conv2). What only normalises, activates or pads stands
in the box of the layer that it belongs to. Equal blocks in a row become one with a number; where only widths grow
from one to the next, one with the first and the last width.
"""
import re
from dataclasses import dataclass, field
from itertools import groupby

import keras

from .anatomy import kernel_of, parents_of

# What stands in a box of another layer; a text where it is worth one.
MINOR = {
    "BatchNormalization": "BN", "LayerNormalization": "LN", "ReLU": "ReLU", "LeakyReLU": "leaky ReLU", "PReLU": "PReLU",
    "ELU": "ELU", "Softmax": "softmax", "ClassScores": "softmax", "Activation": "", "Dropout": "dropout",
    "SpatialDropout2D": "dropout", "ScheduledDropPath": "", "LocalResponseNormalization": "LRN",
    "MapResponseNormalization": "LRN", "ZeroPadding1D": "", "ZeroPadding2D": "", "ZeroPadding3D": "", "Cropping2D": "crop",
    "Flatten": "flatten", "Reshape": "reshape", "Permute": "permute", "Rescaling": "rescale", "ChannelShuffle": "shuffle",
    "PadChannels": "zero channels",
}
JOINS = {"Add": "+", "Multiply": "×", "Concatenate": "concatenate", "HighwayGate": "highway gate", "Average": "mean",
         "Maximum": "maximum", "Subtract": "−"}
NAMES = {
    "Conv1D": "conv", "Conv2D": "conv", "Conv3D": "conv", "DepthwiseConv1D": "depthwise", "DepthwiseConv2D": "depthwise",
    "SeparableConv1D": "separable conv", "SeparableConv2D": "separable conv", "Conv1DTranspose": "transposed conv",
    "Conv2DTranspose": "transposed conv", "Conv3DTranspose": "transposed conv", "LocallyConnected1D": "local",
    "LocallyConnected2D": "local", "TableConv2D": "table conv", "FixedFilters2D": "fixed filters", "Dense": "dense",
    "GraphConvolution": "graph conv", "ChebyshevConvolution": "graph conv", "PrimaryCapsules": "capsules",
    "DynamicRouting": "routing", "CapsuleLength": "length", "RadialBasis": "radial basis",
    "Subsampling2D": "subsampling", "NonLocal": "non-local",
}
ACTIVATIONS = {"relu": "ReLU", "linear": "", "scaled_tanh": "scaled tanh", "relu6": "ReLU6"}


@dataclass
class Box:
    """A layer with what belongs to it. `sources` are boxes of the same block, or the names of layers elsewhere."""
    main: str = ""                                      # type; "" for what has no layer of its own to stand with
    before: list = field(default_factory=list)
    label: str = ""
    width: str = ""                                     # filters, units: what grows along a stage
    after: list = field(default_factory=list)
    space: str = ""                                     # 56×56
    channels: str = ""
    layers: list = field(default_factory=list)
    sources: list = field(default_factory=list)
    row: int = 0
    column: float = 0
    x: float = 0                                        # the middle
    y: float = 0
    w: float = 0
    h: float = 0

    @property
    def joins(self) -> bool:
        return self.main in JOINS

    def texts(self) -> list[tuple[str, str]]:
        """(class, text) of the lines."""
        title = f"{self.label}, {self.width}" if self.width else self.label
        size = "×".join(filter(None, (self.space, self.channels)))
        after = " · ".join(self.after)
        if self.joins:
            return [("join", " · ".join(filter(None, (title, after))))]
        lines = [("small", " · ".join(self.before))] if self.before else []
        return [*lines, *([("main", title)] if title else []), ("small", "  →  ".join(filter(None, (after, size))))]

    def key(self, widths=True) -> tuple:
        """What makes two boxes equal; a join's and a pooling's width is that of what comes in."""
        return (self.main, tuple(self.before), self.label, self.width if widths else "", tuple(self.after), self.space)


@dataclass
class Block:
    """Boxes between one place and the next, and how many equal ones follow each other here."""
    names: list
    boxes: list
    tags: dict = field(default_factory=dict)            # box index → what else feeds it, from further away
    follows: bool = True                                # whether it begins with what the block before it ends with
    w: float = 0
    h: float = 0

    def key(self, widths=True) -> tuple:
        place = {id(box): index for index, box in enumerate(self.boxes)}
        alone = () if self.follows else tuple(self.names)
        return alone, *((box.key(widths), tuple(place.get(id(source), -1) for source in box.sources),
                         tuple(self.tags.get(index, ()))) for index, box in enumerate(self.boxes))


@dataclass
class Stage:
    names: list
    blocks: list
    output: list
    parameters: int
    multiply_adds: int
    y: float = 0
    w: float = 0
    h: float = 0


def stages_of(model: keras.Model, found: dict) -> list[Stage]:
    """The network as stages of blocks of boxes, equal neighbours put together."""
    rows = {row["name"]: row for row in found["layers"]}
    layers = [layer for layer in model.layers if layer.name in rows]
    uses = {}
    for layer in layers:
        for parent in parents_of(layer):
            uses[parent.name] = uses.get(parent.name, 0) + 1
    groups = {}                                         # stage → block → layers, in the order of their last layers
    for layer in layers:
        stage, *rest = layer.name.split("_")
        blocks = groups[stage] = groups.pop(stage, {})
        unnumbered = f"after {sum(key.isdigit() for key in blocks)}"
        blocks.setdefault(rest[0] if rest and rest[0].isdigit() else unnumbered, []).append(layer)
    stages, last, before = [], {model.inputs[0]._keras_history.operation.name}, set()
    for name, blocks in groups.items():
        made = []
        for number, members in blocks.items():
            block = _block(members, uses, rows, last, before)
            block.names = [f"{name}_{number}" if number.isdigit() else name]
            made.append(block)
            inner = {id(source) for box in block.boxes for source in box.sources}
            last, before = {box.layers[-1] for box in block.boxes if id(box) not in inner}, last
        inside = [rows[layer.name] for members in blocks.values() for layer in members]
        stages.append(Stage([name], _together(made), inside[-1]["output"],
                            sum(row["parameters"] for row in inside), sum(row["multiply_adds"] for row in inside)))
    return _equal_stages(stages)


def _block(members, uses, rows, last, before) -> Block:
    """The boxes of one block: cheap layers with the one before them, or else with the one behind."""
    boxes, of, inside = [], {}, {layer.name for layer in members}
    for layer in members:
        kind, parents = type(layer).__name__, [parent.name for parent in parents_of(layer)]
        box = of.get(parents[0]) if parents and uses[parents[0]] == 1 else None
        if box is not None and len(parents) > 1 and (box.main or kind in JOINS):
            box = None                                  # dropout may stand in front of a layer that a graph feeds, too
        padding = kind.startswith("ZeroPadding")
        if box is not None and kind in MINOR and not padding:
            (box.after if box.main else box.before).extend(_minor(layer))
        elif box is None or box.main:
            box = Box(sources=parents)
            boxes.append(box)
            if kind in MINOR:
                box.before.extend(_minor(layer))
        elif kind not in MINOR:
            box.sources += parents[1:]
        if kind not in MINOR:
            _describe(box, layer, kind)
        box.layers.append(layer.name)
        output = rows[layer.name]["output"]
        box.space, box.channels = "×".join(map(str, output[:-1])), str(output[-1] if output else 1)
        of[layer.name] = box
    block = Block([], boxes, follows=False)
    for index, box in enumerate(boxes):
        if not box.main:                                # only minor layers: they are the box
            box.label, box.before = " · ".join(box.before) or "padding", []
        near = []
        for name in box.sources:
            if name in inside:
                near.append(of[name])
            elif name in last:
                near.append(None)                       # the block before
                block.follows = True
            else:
                where = "the block before the last" if name in before else name
                block.tags.setdefault(index, []).append(where)
        box.sources = near
    _place(block)
    return block


def _minor(layer) -> list[str]:
    kind = type(layer).__name__
    text = _activation(layer) if kind == "Activation" else MINOR[kind]
    return [text] if text else []


def _activation(layer) -> str:
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", "") if function is not None else ""
    return ACTIVATIONS.get(name, name.replace("_", " "))


def _describe(box, layer, kind):
    """Type, kernel, width, stride and groups as a paper's figure has them."""
    box.main = kind
    size = kernel_of(layer)
    if kind in JOINS:
        box.label = JOINS[kind]
    elif "Pooling" in kind:
        box.label = _words(kind.replace("Pooling", "Pool"))
    else:
        box.label = NAMES.get(kind) or _words(kind)
    if size and "Global" not in kind:
        box.label = f"{'×'.join(map(str, size))} {box.label}"
    strides = getattr(layer, "strides", None)
    stride = strides if isinstance(strides, int) or strides is None else \
        strides[0] if len(set(strides)) == 1 else "×".join(map(str, strides))
    if stride not in (None, 1) and "Global" not in kind:
        box.label += f" /{stride}"
    for name, word in (("groups", "groups"), ("dilation_rate", "dilation")):
        value = getattr(layer, name, 1)
        value = value if isinstance(value, int) else max(value)
        if value > 1 and kind != "ChannelShuffle":
            box.label += f", {value} {word}" if name == "groups" else f", dilation {value}"
    if kind == "DynamicRouting":
        box.label, box.width = f"{layer.iterations} × routing", f"{layer.capsules} × {layer.dimension}"
    elif kind == "PrimaryCapsules":
        box.width = f"{layer.channels} × {layer.dimension}"
    else:
        width = getattr(layer, "filters", None) or getattr(layer, "units", None)
        box.width = str(width) if width else str(len(layer.table)) if kind == "TableConv2D" else ""
    activation = _activation(layer)
    box.after = [activation] if activation else []


def _words(kind) -> str:
    """GlobalAveragePool2D → global average pool"""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\dD$", "", kind)).lower()


def _together(blocks) -> list[tuple[int, Block]]:
    """(how many, block): equal ones in a row once; where four and more differ in their widths alone, those too."""
    equal = [list(run) for _, run in groupby(blocks, key=Block.key)]
    runs = []
    for _, alike in groupby(equal, key=lambda run: run[0].key(widths=False)):
        alike = list(alike)
        runs += [[block for run in alike for block in run]] if len(alike) >= 4 else alike
    return [(len(run), _run(run)) for run in runs]


def _run(run) -> Block:
    """The first block of a run, under the names of all, its widths as first … last."""
    first, last = run[0], run[-1]
    span = lambda a, b: a if a == b else f"{a}…{b}"                                     # noqa: E731
    first.names = [name for block in run for name in block.names]
    for a, b in zip(first.boxes, last.boxes):
        a.width, a.channels = span(a.width, b.width), span(a.channels, b.channels)
    return first


def _equal_stages(stages) -> list[Stage]:
    """Stages of one block each, equal in all but their names, drawn once."""
    kept = []
    for _, alike in groupby(stages, key=lambda stage: ([(count, block.key()) for count, block in stage.blocks],
                                                       stage.output, stage.parameters, stage.multiply_adds)):
        first, *others = alike
        first.names += [name for stage in others for name in stage.names]
        kept.append(first)
    return kept


def _place(block):
    """Rows by the longest way from the entry; a column for each branch, in the order in which they are joined."""
    order, seen = [], set()

    def visit(box):
        if id(box) in seen:
            return
        seen.add(id(box))
        for source in box.sources:
            if source is not None:
                visit(source)
        order.append(box)

    used = {id(source) for box in block.boxes for source in box.sources if source is not None}
    for box in block.boxes:
        if id(box) not in used:                         # the ends; each first visits what it needs
            visit(box)
    columns, continued, placed = 0, set(), []
    for box in order:
        near = [source for source in box.sources if source is not None]
        box.row = max((source.row + 1 for source in near), default=0)
        places = {source.column for source in near}
        if len(places) > 1:
            box.column = (min(places) + max(places)) / 2
        elif near and id(near[0]) not in continued:
            box.column = near[0].column
        else:
            box.column, columns = columns, columns + 1
        while any(other.row == box.row and abs(other.column - box.column) < 1 for other in placed):
            box.row += 1                                # a join below the branches that go on beside it
        placed.append(box)
        continued |= {id(source) for source in near}
    tags = {id(block.boxes[index]): names for index, names in block.tags.items()}
    block.boxes = order
    block.tags = {index: tags[id(box)] for index, box in enumerate(order) if id(box) in tags}
