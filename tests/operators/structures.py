"""Operators that join, move or mix values, and dropout."""
import numpy as np

from cnn_repro import layers as L
from cnn_repro.layers import dropout, structure

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)
THREE = ["input 1", "input 2", "input 3"]

DROP_INS = [
    ("Add", [IMAGES, IMAGES], dict()),
    ("Add", [(3, 5)] * 3, dict()),
    ("Add", [IMAGES, (2, 1, 1, 4)], dict()),
    ("Add", [(2, 5), (2, 3, 5)], dict()),                           # (2, 1, 5) to Keras
    ("Add", [(3, 5)], dict()),
    ("Concatenate", [(2, 3, 2, 4), (2, 3, 2, 1)], dict()),
    ("Concatenate", [(2, 3, 4), (2, 1, 4), (2, 2, 4)], dict(axis=1)),
    ("Concatenate", [(2, 3)], dict(axis=-1)),
    ("Dropout", (5, 20), dict(rate=0.4, seed=3)),
    ("Dropout", IMAGES, dict(rate=0.5, seed=4, noise_shape=(None, 1, 1, None))),
    ("Dropout", (5, 20), dict(rate=0)),
]

WRONG = [
    ("Add", (2, 3), dict()),
    ("Add", [(2, 3), (2, 4)], dict()),
    ("Add", [(2, 3), (5, 3)], dict()),
    ("Concatenate", (2, 3), dict()),
    ("Concatenate", [(2, 3, 4), (2, 2, 4)], dict()),
    ("Concatenate", [(2, 3), (2, 4)], dict(axis=4)),
    ("Dropout", (2, 3), dict(rate=1.5)),
    ("Dropout", (2, 3), dict(rate=0.5, noise_shape=(2, 0))),
]

OWN = [
    ("PadChannels", (2, 3, 3, 2), dict(channels=5)),
    ("PadChannels", (2, 3, 3, 2), dict(channels=3, axis=1)),
    ("ChannelShuffle", (2, 3, 2, 6), dict(groups=3)),
    ("ChannelShuffle", (2, 6, 3), dict(groups=2, axis=1)),
    ("HighwayGate", [(2, 3, 4)] * 3, dict()),
]

OWN_WRONG = [
    ("PadChannels", (2, 3, 3, 6), dict(channels=5), "Axis -1 of the input has size 6, more than channels=5"),
    ("ChannelShuffle", (2, 3, 5), dict(groups=2), "Axis -1 of the input has size 5, which groups=2 does not divide"),
    ("ChannelShuffle", (2, 3, 5), dict(groups=0), "groups=0 must be positive"),
    ("PadChannels", (2, 3, 3, 2), dict(channels=5, axis=7), "axis=7 must be one of the input's 4 axes"),
    ("PadChannels", (2, 3, 3, 2), dict(channels=5, axis=-4), "axis=-4 is that of the batch"),
    ("ChannelShuffle", (2, 3, 4), dict(groups=2, axis=-4), "axis=-4 must be one of the input's 3 axes"),
    ("HighwayGate", (2, 3), dict(), "takes a list of three tensors"),
    ("HighwayGate", [(2, 3)] * 2, dict(), "takes a list of three tensors"),
    ("HighwayGate", [(2, 3), (2, 3), (2, 1)], dict(), r"must have one shape, not \(2, 3\), \(2, 3\), \(2, 1\)"),
    ("HighwayGate", [(2, 3), (2, 3), (2, 3, 1)], dict(), "must have one shape"),
]

CALLS_WRONG = [
    ("shuffle_channels", [(2, 5)], dict(groups=2), "Axis 1 of the input has size 5, which groups=2 does not divide"),
    ("shuffle_channels", [(2, 5)], dict(groups=0), "groups=0 must be positive"),
    ("shuffle_channels", [(2, 6)], dict(groups=2, axis=3), "axis=3 must be one of the input's 2 axes"),
    ("highway", [(2, 3), (2, 3), (2, 1)], dict(), "must have one shape"),
]

ANY_SIZE = [
    ("PadChannels", IMAGES, dict(channels=6)),
    ("ChannelShuffle", IMAGES, dict(groups=2)),
    ("Dropout", IMAGES, dict(rate=0.5)),
    ("Add", [IMAGES] * 2, dict()),
    ("Add", [IMAGES, (2, 1, 6, 4)], dict()),
    ("Concatenate", [IMAGES] * 2, dict()),
    ("Concatenate", [IMAGES] * 2, dict(axis=1)),
    ("HighwayGate", [IMAGES] * 3, dict()),
]

PRECISIONS = [
    ("PadChannels", IMAGES, dict(channels=6)),
    ("ChannelShuffle", IMAGES, dict(groups=2)),
]

CHECKED = {"drop": "Dropout", "highway": "HighwayGate", "shuffle_channels": "ChannelShuffle"}
LINEAR = {"ChannelShuffle", "Dropout", "PadChannels"}


def sabotages():
    three = dict(module=structure, tensors=((2, 3, 4),) * 3, names=THREE)
    yield Sabotage(**three, formula="add_gradient", operator="Add", changes=set(THREE),
                   subject=lambda: lambda *x: L.Add()(x))
    for output, name in enumerate(THREE):
        yield Sabotage(**three, formula="concatenate_gradient", operator="Concatenate", changes={name}, output=output,
                       subject=lambda: lambda *x: L.Concatenate()(x))
    for output, name in enumerate(("input", "transformed", "gate")):
        yield Sabotage(**three | dict(names=("input", "transformed", "gate")), formula="highway_gradients",
                       operator="HighwayGate", changes={name}, output=output,
                       subject=lambda: lambda *x: L.HighwayGate()(x))
    yield Sabotage(structure, "shuffle_gradient", "ChannelShuffle", lambda: L.ChannelShuffle(2), {"input"})
    mask = np.array([0, 2, 2, 0], "float32")
    yield Sabotage(dropout, "dropout_gradient", "Dropout", lambda: lambda x: L.drop(x, mask), {"input"})
    yield Sabotage(structure, "pad_channels_gradient", "PadChannels", lambda: L.PadChannels(7), {"input"})
