"""Normalisation."""
from cnn_repro import layers as L
from cnn_repro.layers import normalization, response

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

OWN = [
    ("LocalResponseNormalization", (2, 3, 3, 7), dict()),
    ("LocalResponseNormalization", (2, 5, 3, 3), dict(depth=3, bias=1.0, alpha=0.5, beta=0.5, axis=1)),
    ("MapResponseNormalization", (2, 4, 3, 3), dict(depth=5, bias=2.0, alpha=0.5, beta=0.5)),
    ("MapResponseNormalization", (2, 3, 4, 3), dict(data_format="channels_first")),
]

OWN_WRONG = [
    ("LocalResponseNormalization", (2, 3, 3, 7), dict(depth=4), "depth=4 must be a positive odd number"),
    ("LocalResponseNormalization", (2, 3, 3, 7), dict(depth=-1), "depth=-1 must be a positive odd number"),
    ("LocalResponseNormalization", (2, 3, 3, 7), dict(bias=0), "bias=0 must be positive"),
    ("MapResponseNormalization", (2, 3, 3, 7), dict(depth=2), "depth=2 must be a positive odd number"),
    ("MapResponseNormalization", (2, 3, 3), dict(), "expected ndim=4"),
    ("LocalResponseNormalization", (2, 3, 3, 7), dict(axis=4), "axis=4 must be one of the input's 4 axes"),
    ("LocalResponseNormalization", (2, 3, 3, 7), dict(axis=0), "axis=0 is that of the batch"),
    ("LocalResponseNormalization", (2, 3, 3, 7), dict(depth=3.5), "depth=3.5 must be a positive odd number"),
]

CALLS_WRONG = [
    ("normalize_response", [(2, 3, 3, 8)], dict(depth=4), "depth=4 must be a positive odd number"),
    ("normalize_response", [(2, 8)], dict(axis=2), "axis=2 must be one of the input's 2 axes"),
]

ANY_SIZE = [
    ("BatchNormalization", IMAGES, dict()),
    ("LocalResponseNormalization", IMAGES, dict(alpha=0.5)),
    ("LocalResponseNormalization", IMAGES, dict(alpha=0.5, axis=1)),
    ("MapResponseNormalization", IMAGES, dict(alpha=0.5)),
]

PRECISIONS = [
    ("BatchNormalization", IMAGES, dict()),
    ("LocalResponseNormalization", IMAGES, dict(alpha=0.5)),
    ("MapResponseNormalization", IMAGES, dict(alpha=0.5)),
]

TWICE = [
    ("BatchNormalization", (6, 4), dict()),
    ("BatchNormalization", IMAGES, dict(epsilon=1e-5)),
]

CHECKED = {"normalize_response": "LocalResponseNormalization"}


def sabotages():
    for output, name in enumerate(("input", "gamma", "beta")):
        norm = dict(module=normalization, operator="BatchNormalization", subject=lambda: L.BatchNormalization(),
                    changes={name}, output=output)
        yield Sabotage(**norm, formula="batch_norm_gradient", training=True)
        yield Sabotage(**norm, formula="frozen_norm_gradient")
    yield Sabotage(response, "response_gradient", "LocalResponseNormalization",
                   lambda: L.LocalResponseNormalization(alpha=0.5), {"input"})
    yield Sabotage(response, "response_gradient", "MapResponseNormalization",
                   lambda: L.MapResponseNormalization(alpha=0.5), {"input"})
