"""What torchvision calls the layers of the networks that it shares with us, and which networks those are.

One function a family: the name of our layer → the name of their module (None: they have no such layer). Theirs
number the members of a `Sequential` from 0, also those without weights: `features.3` of AlexNet is its second
convolution. Source: torchvision 0.28.
"""
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from .mobilenet_v2 import TABLE_2
from .vgg import CONFIGURATIONS

Name = str | None


@dataclass(frozen=True)
class Naming:
    """How a family's state_dict is to be read."""
    module: Callable[[str], Name]       # our layer → their module
    parts: Mapping[str, str]            # how their names begin in a part that ours can lack → a layer of ours in it
    flat: Mapping[str, str] = field(default_factory=dict)   # dense layer → the Flatten in front of it
    now: Callable[[str], str] = lambda key: key             # a name of older files → today's


# ---------------------------------------------------------------------------------- AlexNet, VGG, SqueezeNet

ALEXNET = {"conv1": "features.0", "conv2": "features.3", "conv3": "features.6", "conv4": "features.8",
           "conv5": "features.10", "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}


def vgg(layer: str, configuration, normalised: bool) -> Name:
    """conv2_1_conv → features.3 of VGG-11: convolution, normalisation and ReLU count, and a pool behind a stage."""
    names = {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    position = 0
    for stage, rows in enumerate(configuration, 1):
        for index in range(1, len(rows) + 1):
            names[f"conv{stage}_{index}_conv"] = f"features.{position}"
            if normalised:
                names[f"conv{stage}_{index}_bn"] = f"features.{position + 1}"
            position += 3 if normalised else 2
        position += 1
    return names.get(layer)


SQUEEZENET_FIRES = {        # a convolution, its ReLU and a pool stand in front, further pools between
    "1.0": {"fire2": 3, "fire3": 4, "fire4": 5, "fire5": 7, "fire6": 8, "fire7": 9, "fire8": 10, "fire9": 12},
    "1.1": {"fire2": 3, "fire3": 4, "fire4": 6, "fire5": 7, "fire6": 9, "fire7": 10, "fire8": 11, "fire9": 12},
}


def squeezenet(layer: str, release: str) -> Name:
    """fire2_expand1x1 → features.3.expand1x1"""
    fire, _, part = layer.partition("_")
    if fire in SQUEEZENET_FIRES[release] and part in ("squeeze", "expand1x1", "expand3x3"):
        return f"features.{SQUEEZENET_FIRES[release][fire]}.{part}"
    return {"conv1": "features.0", "conv10": "classifier.1"}.get(layer)


# ---------------------------------------------------------------------------------- ResNet and its relatives

def resnet(layer: str) -> Name:
    """conv3_1_2_conv → layer2.0.conv2; conv3_1_0_bn, of a projection → layer2.0.downsample.1"""
    found = re.fullmatch(r"conv([2-5])_(\d+)_([0-3])_(conv|bn)", layer)
    if found is None:
        return {"conv1_conv": "conv1", "conv1_bn": "bn1", "fc": "fc"}.get(layer)
    stage, block, index, kind = found.groups()
    part = f"{kind}{index}" if index != "0" else {"conv": "downsample.0", "bn": "downsample.1"}[kind]
    return f"layer{int(stage) - 1}.{int(block) - 1}.{part}"


# -------------------------------------------------------------------------------------------------- DenseNet

def densenet(layer: str) -> Name:
    """denseblock2_3_1_bn → features.denseblock2.denselayer3.norm1; transition1_bn → features.transition1.norm"""
    part = {"conv": "conv", "bn": "norm"}
    if found := re.fullmatch(r"denseblock([1-4])_(\d+)_([12])_(conv|bn)", layer):
        block, index, number, kind = found.groups()
        return f"features.denseblock{block}.denselayer{index}.{part[kind]}{number}"
    if found := re.fullmatch(r"transition([1-3])_(conv|bn)", layer):
        return f"features.transition{found[1]}.{part[found[2]]}"
    return {"convolution": "features.conv0", "convolution_bn": "features.norm0",
            "denseblock4_bn": "features.norm5", "classification_fc": "classifier"}.get(layer)


def densenet_now(key: str) -> str:
    """Files made before PyTorch 0.4 say norm.1 and conv.2 in a dense layer, where it is norm1 and conv2 now."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key)


# ----------------------------------------------------------------------------------------------- MobileNetV2

def mobilenet_v2(layer: str) -> Name:
    """bottleneck2_1_dw_bn → features.2.conv.1.1; the first bottleneck does not expand and has one part less."""
    found = re.fullmatch(r"bottleneck([1-7])_(\d+)_(expand|dw|project)(_bn)?", layer)
    if found is None:
        return {"conv1": "features.0.0", "conv1_bn": "features.0.1", "conv2": "features.18.0",
                "conv2_bn": "features.18.1", "fc": "classifier.1"}.get(layer)
    stage, index, part, bn = int(found[1]), int(found[2]), found[3], bool(found[4])
    before = sum(repeated for _, _, repeated, _ in TABLE_2[:stage - 1])
    parts = ("expand", "dw", "project") if TABLE_2[stage - 1][0] > 1 else ("dw", "project")
    if part not in parts:
        return None
    position = parts.index(part)
    inside = f"{position}.{int(bn)}" if part != "project" else f"{position + bn}"       # they do not nest that one
    return f"features.{before + index}.conv.{inside}"


# ----------------------------------------------------------------------------------- GoogLeNet, Inception-v3

GOOGLENET = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3",
             "aux1": "aux1.conv", "aux2": "aux2.conv"}
GOOGLENET_WAYS = {"1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "5x5_reduce": "branch3.0",
                  "5x5": "branch3.1", "proj": "branch4.1"}


def googlenet(layer: str) -> Name:
    """inception3a_3x3_reduce_conv → inception3a.branch2.0.conv"""
    if found := re.fullmatch(r"(aux[12])_(fc|linear)", layer):
        return f"{found[1]}.{'fc1' if found[2] == 'fc' else 'fc2'}"
    block, _, kind = layer.rpartition("_")
    module, _, way = block.partition("_")
    if kind not in ("conv", "bn"):
        return {"linear": "fc"}.get(layer)
    if block in GOOGLENET:
        return f"{GOOGLENET[block]}.{kind}"
    return f"{module}.{GOOGLENET_WAYS[way]}.{kind}" if way in GOOGLENET_WAYS else None


INCEPTION_V3 = {"conv1": "Conv2d_1a_3x3", "conv2": "Conv2d_2a_3x3", "conv3": "Conv2d_2b_3x3",
                "conv4": "Conv2d_3b_1x1", "conv5": "Conv2d_4a_3x3",
                "aux_1": "AuxLogits.conv0", "aux_2": "AuxLogits.conv1"}
INCEPTION_V3_MODULES = {"mixed0": "Mixed_5b", "mixed1": "Mixed_5c", "mixed2": "Mixed_5d", "mixed3": "Mixed_6a",
                        "mixed4": "Mixed_6b", "mixed5": "Mixed_6c", "mixed6": "Mixed_6d", "mixed7": "Mixed_6e",
                        "mixed8": "Mixed_7a", "mixed9": "Mixed_7b", "mixed10": "Mixed_7c"}
FIGURE_5 = {"1x1": "branch1x1", "5x5_1": "branch5x5_1", "5x5_2": "branch5x5_2", "double_1": "branch3x3dbl_1",
            "double_2": "branch3x3dbl_2", "double_3": "branch3x3dbl_3", "proj": "branch_pool"}
TO_17 = {"3x3": "branch3x3", "double_1": "branch3x3dbl_1", "double_2": "branch3x3dbl_2",
         "double_3": "branch3x3dbl_3"}
FIGURE_6 = {"1x1": "branch1x1", "7x7_1": "branch7x7_1", "7x7_2": "branch7x7_2", "7x7_3": "branch7x7_3",
            "double_1": "branch7x7dbl_1", "double_2": "branch7x7dbl_2", "double_3": "branch7x7dbl_3",
            "double_4": "branch7x7dbl_4", "double_5": "branch7x7dbl_5", "proj": "branch_pool"}
TO_8 = {"3x3_1": "branch3x3_1", "3x3_2": "branch3x3_2", "7x7_1": "branch7x7x3_1", "7x7_2": "branch7x7x3_2",
        "7x7_3": "branch7x7x3_3", "7x7_4": "branch7x7x3_4"}
FIGURE_7 = {"1x1": "branch1x1", "3x3_1": "branch3x3_1", "3x3_a": "branch3x3_2a", "3x3_b": "branch3x3_2b",
            "double_1": "branch3x3dbl_1", "double_2": "branch3x3dbl_2", "double_a": "branch3x3dbl_3a",
            "double_b": "branch3x3dbl_3b", "proj": "branch_pool"}
INCEPTION_V3_WAYS = {**dict.fromkeys(("mixed0", "mixed1", "mixed2"), FIGURE_5), "mixed3": TO_17,
                     **dict.fromkeys(("mixed4", "mixed5", "mixed6", "mixed7"), FIGURE_6), "mixed8": TO_8,
                     **dict.fromkeys(("mixed9", "mixed10"), FIGURE_7)}


def inception_v3(layer: str) -> Name:
    """mixed4_double_2_conv → Mixed_6b.branch7x7dbl_2.conv"""
    block, _, kind = layer.rpartition("_")
    if kind not in ("conv", "bn"):
        return {"linear": "fc", "aux_linear": "AuxLogits.fc"}.get(layer)
    if block in INCEPTION_V3:
        return f"{INCEPTION_V3[block]}.{kind}"
    module, _, way = block.partition("_")
    theirs = INCEPTION_V3_WAYS.get(module, {}).get(way)
    return f"{INCEPTION_V3_MODULES[module]}.{theirs}.{kind}" if theirs else None


# ---------------------------------------------------------------------------------------------- the networks

RESNET = Naming(resnet, {"fc.": "fc"})
DENSENET = Naming(densenet, {"classifier.": "classification_fc"}, now=densenet_now)
NAMINGS: dict[str, Naming] = {
    "alexnet_torchvision": Naming(ALEXNET.get, {"classifier.": "fc8"}, {"fc6": "fc6_flat"}),
    **{f"{name}{suffix}": Naming(partial(vgg, configuration=CONFIGURATIONS[name], normalised=bool(suffix)),
                                 {"classifier.": "fc8"}, {"fc6": "fc6_flat"})
       for name in ("vgg11", "vgg13", "vgg16", "vgg19") for suffix in ("", "_bn")},
    "googlenet_torchvision": Naming(googlenet, {"fc.": "linear", "aux1.": "aux1_linear", "aux2.": "aux2_linear"},
                                    {"aux1_fc": "aux1_flat", "aux2_fc": "aux2_flat"}),
    **{f"resnet{depth}_torchvision": RESNET for depth in (18, 34, 50, 101, 152)},
    "resnext50_32x4d": RESNET, "resnext101_32x8d": RESNET, "resnext101_64x4d": RESNET,
    "wrn50_2": RESNET, "wide_resnet101_2_torchvision": RESNET,
    "squeezenet": Naming(partial(squeezenet, release="1.0"), {"classifier.": "conv10"}),
    "squeezenet_1_1": Naming(partial(squeezenet, release="1.1"), {"classifier.": "conv10"}),
    **{f"densenet{depth}": DENSENET for depth in (121, 161, 169, 201)},
    "mobilenet_v2_torchvision": Naming(mobilenet_v2, {"classifier.": "fc"}),
    "inception_v3_torchvision": Naming(inception_v3, {"fc.": "linear", "AuxLogits.": "aux_linear"}),
}
