"""Weights and images that depend on nothing but a name; torchvision_reference/ keeps what torchvision made of them.

Kernels are of He's variance and statistics near (0, 1), so that what goes through a network stays of order one.
"""
import json
import math
import re
import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "torchvision_reference"
NETWORKS = {        # ours: (torchvision's, the side of its two images)
    "alexnet_torchvision": ("alexnet", 224),
    **{name: (name, 224) for size in (11, 13, 16, 19) for name in (f"vgg{size}", f"vgg{size}_bn")},
    "googlenet_torchvision": ("googlenet", 96),
    **{f"resnet{depth}_torchvision": (f"resnet{depth}", 96) for depth in (18, 34, 50, 101, 152)},
    **{name: (name, 96) for name in ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")},
    "wrn50_2": ("wide_resnet50_2", 96),
    "wide_resnet101_2_torchvision": ("wide_resnet101_2", 96),
    "squeezenet": ("squeezenet1_0", 97),
    "squeezenet_1_1": ("squeezenet1_1", 97),
    **{name: (name, 96) for name in ("densenet121", "densenet161", "densenet169", "densenet201")},
    "mobilenet_v2_torchvision": ("mobilenet_v2", 96),
    "inception_v3_torchvision": ("inception_v3", 299),          # where its auxiliary classifier has its 5×5 maps
}


def uniform(name: str, shape) -> np.ndarray:
    """U(−1, 1), float32."""
    random = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
    return 2 * random.random(tuple(shape), dtype=np.float32) - 1


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights for a state_dict of these names and shapes."""
    return {name: weight(name, tuple(shape), shapes) for name, shape in shapes.items()}


def weight(name: str, shape, shapes) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.array(7)
    x = uniform(name, shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * x
    if len(shape) > 1:
        return x * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    if name.endswith("weight"):
        return (1 + 0.3 * x) * np.float32(0.2 if last_of_block(name, shapes) else 1)
    return 0.3 * x


def last_of_block(name: str, shapes) -> bool:
    """γ where a ResNet's block ends: fifty blocks add up."""
    found = re.fullmatch(r"(layer\d\.\d+)\.bn([23])\.weight", name)
    return bool(found) and (found[2] == "3" or f"{found[1]}.bn3.weight" not in shapes)


def images(side: int) -> np.ndarray:
    """(2, H, W, 3): coloured squares and noise. Noise alone is forgotten where a network takes means."""
    square = -(-side // 5)
    squares = uniform("squares", (2, 5, 5, 3)).repeat(square, 1).repeat(square, 2)[:, :side, :side]
    return 2 * squares + uniform("noise", (2, side, side, 3))


def reference(name: str) -> tuple[dict[str, tuple[int, ...]], dict[str, np.ndarray]]:
    """What torchvision's network has (names and shapes) and gives (logits, and those of auxiliary classifiers)."""
    with np.load(FOLDER / f"{NETWORKS[name][0]}.npz") as held:
        shapes = {key: tuple(shape) for key, shape in json.loads(str(held["shapes"])).items()}
        return shapes, {key: held[key] for key in held if key != "shapes"}
