"""Normalisation."""
from cnn_repro import layers as L
from cnn_repro.layers import normalization

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)

DROP_INS = [
    ("BatchNormalization", (2, 7, 6, 4), dict()),
    ("BatchNormalization", (5, 4), dict(momentum=0.9, epsilon=1e-5)),
    ("BatchNormalization", (2, 7, 6, 4), dict(axis=1)),
    ("BatchNormalization", (2, 7, 6, 4), dict(scale=False)),
    ("BatchNormalization", (2, 7, 6, 4), dict(center=False)),
    ("BatchNormalization", (2, 7, 6, 4), dict(center=False, scale=False)),
    ("BatchNormalization", (2, 7, 6, 4), dict(trainable=False)),
]

ANY_SIZE = [
    ("BatchNormalization", IMAGES, dict()),
]

PRECISIONS = [
    ("BatchNormalization", IMAGES, dict()),
]

TWICE = [
    ("BatchNormalization", (6, 4), dict()),
    ("BatchNormalization", IMAGES, dict(epsilon=1e-5)),
]


def sabotages():
    for output, name in enumerate(("input", "gamma", "beta")):
        norm = dict(module=normalization, operator="BatchNormalization", subject=lambda: L.BatchNormalization(),
                    changes={name}, output=output)
        yield Sabotage(**norm, formula="batch_norm_gradient", training=True)
        yield Sabotage(**norm, formula="frozen_norm_gradient")
