"""The networks of keras.applications that the suite has too: which function builds each, what it calls our layers,
and how its images are scaled.

A layer with weights has one name there and one here; both follow a rule, and the rules are the tables below. The
weights of a layer have the same names in both: kernel, bias, gamma, moving_mean … Source: keras.applications 3.15.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from keras import applications

from . import mobilenet, mobilenet_v2

CLASSIFIERS = ("predictions", "conv_preds")


class UnknownLayer(LookupError):
    """A layer of ours that no rule of its family names."""


@dataclass(frozen=True)
class Published:
    """A network of keras.applications that is equal to one of ours.

    build: its function there. name_of(our layer's name) → its layer's name. mode: the `mode` of
    keras.applications.imagenet_utils.preprocess_input that its weights were trained with.
    """
    build: Callable
    name_of: Callable[[str], str]
    mode: str


def rules(table: dict) -> Callable[[str], str]:
    """name_of from {pattern of our whole name: their name}, as a template of the groups or a function of them."""
    def name_of(ours):
        for pattern, theirs in table.items():
            found = re.fullmatch(pattern, ours)
            if found:
                return theirs(*found.groups()) if callable(theirs) else found.expand(theirs)
        raise UnknownLayer(ours)
    return name_of


VGG = rules({
    r"conv(\d)_(\d)_conv": r"block\1_conv\2",
    r"fc6": "fc1", r"fc7": "fc2", r"fc8": "predictions",
})

RESNET = rules({
    r"conv1_(conv|bn)": r"conv1_\1",
    r"conv(\d)_(\d+)_(\d)_(conv|bn)": r"conv\1_block\2_\3_\4",          # 0: the projection
    r"fc": "predictions",
})

RESNET_V2 = rules({         # a normalisation stands in front of its convolution here, behind the one before it there
    r"conv1_conv": "conv1_conv",
    r"conv(\d)_(\d+)_1_bn": r"conv\1_block\2_preact_bn",
    r"conv(\d)_(\d+)_(\d)_bn": lambda stage, unit, part: f"conv{stage}_block{unit}_{int(part) - 1}_bn",
    r"conv(\d)_(\d+)_(\d)_conv": r"conv\1_block\2_\3_conv",
    r"conv5_bn": "post_bn",
    r"fc": "predictions",
})

DENSENET = rules({          # dense block b is their conv(b + 1), the transition behind it pool(b + 1)
    r"convolution": "conv1_conv", r"convolution_bn": "conv1_bn",
    r"denseblock(\d)_(\d+)_(\d)_bn":
        lambda block, layer, part: f"conv{int(block) + 1}_block{layer}_{int(part) - 1}_bn",
    r"denseblock(\d)_(\d+)_(\d)_conv": lambda block, layer, part: f"conv{int(block) + 1}_block{layer}_{part}_conv",
    r"transition(\d)_(bn|conv)": lambda block, part: f"pool{int(block) + 1}_{part}",
    r"denseblock4_bn": "bn",
    r"classification_fc": "predictions",
})

MOBILENET = rules({         # their count begins behind the first convolution
    r"conv1_conv": "conv1", r"conv1_bn": "conv1_bn",
    r"conv(\d+)_(dw|pw)": lambda row, part: f"conv_{part}_{int(row) - 1}",
    r"conv(\d+)_(dw|pw)_bn": lambda row, part: f"conv_{part}_{int(row) - 1}_bn",
    r"fc": "conv_preds",
})

# Their blocks are counted from 0 through the whole network: where each row of table 2 begins.
FIRST_BLOCK = list(accumulate((repeated for _, _, repeated, _ in mobilenet_v2.TABLE_2), initial=0))
PARTS = {"expand": "expand", "dw": "depthwise", "project": "project"}


def inverted_residual(stage, index, part, normalised):
    block = FIRST_BLOCK[int(stage) - 1] + int(index) - 1
    prefix = f"block_{block}" if block else "expanded_conv"
    return f"{prefix}_{PARTS[part]}" + ("_BN" if normalised else "")


MOBILENET_V2 = rules({
    r"conv1": "Conv1", r"conv1_bn": "bn_Conv1",
    r"bottleneck(\d)_(\d)_(expand|dw|project)(_bn)?": inverted_residual,
    r"conv2": "Conv_1", r"conv2_bn": "Conv_1_bn",
    r"fc": "predictions",
})

# Inception-v3's convolutions have no names there but Keras's running numbers: ours in the order in which its function
# makes them.
AT_35 = ("1x1", "5x5_1", "5x5_2", "double_1", "double_2", "double_3", "proj")
AT_17 = ("1x1", "7x7_1", "7x7_2", "7x7_3", "double_1", "double_2", "double_3", "double_4", "double_5", "proj")
AT_8 = ("1x1", "3x3_1", "3x3_a", "3x3_b", "double_1", "double_2", "double_a", "double_b", "proj")
MADE = ([f"conv{n}" for n in range(1, 6)]
        + [f"mixed{n}_{part}" for n in (0, 1, 2) for part in AT_35]
        + [f"mixed3_{part}" for part in ("3x3", "double_1", "double_2", "double_3")]
        + [f"mixed{n}_{part}" for n in (4, 5, 6, 7) for part in AT_17]
        + [f"mixed8_{part}" for part in ("3x3_1", "3x3_2", "7x7_1", "7x7_2", "7x7_3", "7x7_4")]
        + [f"mixed{n}_{part}" for n in (9, 10) for part in AT_8])


def numbered(convolution, kind):
    if convolution not in MADE:
        raise UnknownLayer(f"{convolution}_{kind}")
    return f"{'conv2d' if kind == 'conv' else 'batch_normalization'}_{MADE.index(convolution)}"


INCEPTION_V3 = rules({r"linear": "predictions", r"(.+)_(conv|bn)": numbered})


def from_first_number(names) -> dict[str, str]:
    """Their layers' names → the same with Keras's running numbers counted from 0.

    Keras numbers what has no name through the whole session: conv2d, conv2d_1, …, in the next model conv2d_94 ….
    """
    found = {name: re.fullmatch(r"(conv2d|batch_normalization)(?:_(\d+))?", name) for name in names}
    first = {}
    for match in filter(None, found.values()):
        first[match[1]] = min(first.get(match[1], int(match[2] or 0)), int(match[2] or 0))
    return {name: f"{match[1]}_{int(match[2] or 0) - first[match[1]]}" if match else name
            for name, match in found.items()}


def nasnet_rules(cells: int):
    """cells: normal cells a group. The last letters of their names are the cell: its number, or stem_1, reduce_4 …"""
    def cell(name):
        stage, index = name.split("_")
        kind, number = stage[:-1], int(stage[-1])
        if kind == "normal":                                # they count the reductions from the second group on
            return "normal", (number - 1) * cells + int(index) - 1 + (number > 1)
        return "reduction", f"stem_{number}" if kind == "stem" else f"reduce_{number * cells}"

    def of(template):
        return lambda name, *parts: template.format(*parts, kind=cell(name)[0], id=cell(name)[1])

    def separable(template):
        def theirs(name, pair, side, step):
            kind, number = cell(name)
            pair = "4" if (kind, pair, side) == ("reduction", "5", "left") else pair        # so it is called there
            return template.format(step, f"{kind}_{side}{pair}_{number}")
        return theirs

    one = r"((?:stem|normal|reduction)\d_\d+)"
    return rules({
        r"conv0": "stem_conv1", r"conv0_bn": "stem_bn1",
        one + r"_(conv|bn)": of("{kind}_{0}_1_{id}"),
        one + r"_before_(\d)_conv": of("adjust_conv_{0}_{id}"),
        one + r"_before_conv": of("adjust_conv_projection_{id}"),
        one + r"_before_bn": of("adjust_bn_{id}"),
        one + r"_(\d)_(left|right)_(\d)_sep": separable("separable_conv_{0}_{1}"),
        one + r"_(\d)_(left|right)_(\d)_bn": separable("separable_conv_{0}_bn_{1}"),
        r"fc": "predictions",
    })


PUBLISHED: dict[str, Published] = {
    "vgg16": Published(applications.VGG16, VGG, "caffe"),
    "vgg19": Published(applications.VGG19, VGG, "caffe"),
    "resnet50_keras": Published(applications.ResNet50, RESNET, "caffe"),
    "resnet101_keras": Published(applications.ResNet101, RESNET, "caffe"),
    "resnet152_keras": Published(applications.ResNet152, RESNET, "caffe"),
    "resnet50v2_keras": Published(applications.ResNet50V2, RESNET_V2, "tf"),
    "resnet101v2_keras": Published(applications.ResNet101V2, RESNET_V2, "tf"),
    "resnet152v2_keras": Published(applications.ResNet152V2, RESNET_V2, "tf"),
    "densenet121_keras": Published(applications.DenseNet121, DENSENET, "torch"),
    "densenet169_keras": Published(applications.DenseNet169, DENSENET, "torch"),
    "densenet201_keras": Published(applications.DenseNet201, DENSENET, "torch"),
    **{f"mobilenet_v1{suffix}_keras": Published(partial(applications.MobileNet, alpha=width), MOBILENET, "tf")
       for suffix, width in mobilenet.WIDTHS.items()},
    **{f"mobilenet_v2{suffix}_keras": Published(partial(applications.MobileNetV2, alpha=width), MOBILENET_V2, "tf")
       for suffix, width in mobilenet_v2.WIDTHS.items()},
    "inception_v3_keras": Published(applications.InceptionV3, INCEPTION_V3, "tf"),
    "nasnet_mobile_keras": Published(applications.NASNetMobile, nasnet_rules(cells=4), "tf"),
    "nasnet_large_keras": Published(applications.NASNetLarge, nasnet_rules(cells=6), "tf"),
}
