"""Operators that move values."""
from cnn_repro import layers as L
from cnn_repro.layers import structure

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)

OWN = [
    ("PadChannels", (2, 3, 3, 2), dict(channels=5)),
    ("PadChannels", (2, 3, 3, 2), dict(channels=3, axis=1)),
]

OWN_WRONG = [
    ("PadChannels", (2, 3, 3, 6), dict(channels=5), "Axis -1 of the input has size 6, more than channels=5"),
]

ANY_SIZE = [
    ("PadChannels", IMAGES, dict(channels=6)),
]

PRECISIONS = [
    ("PadChannels", IMAGES, dict(channels=6)),
]

LINEAR = {"PadChannels"}


def sabotages():
    yield Sabotage(structure, "pad_channels_gradient", "PadChannels", lambda: L.PadChannels(7), {"input"})
