"""Pooling."""
from cnn_repro import layers as L
from cnn_repro.layers import pooling

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)

DROP_INS = [
    ("MaxPooling2D", (2, 7, 6, 4), dict()),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=(2, 3), strides=1)),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=2, strides=3)),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same", data_format="channels_first")),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=2)),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=(2, 3), strides=1)),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=1, strides=2)),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same", data_format="channels_first")),
    ("GlobalAveragePooling2D", (2, 7, 6, 4), dict()),
    ("GlobalAveragePooling2D", (2, 7, 6, 4), dict(keepdims=True)),
    ("GlobalAveragePooling2D", (2, 7, 6, 4), dict(data_format="channels_first")),
    ("GlobalAveragePooling2D", (2, 7, 6, 4), dict(data_format="channels_first", keepdims=True)),
]

WRONG = [
    ("MaxPooling2D", (2, 7, 6), dict()),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=0)),
    ("MaxPooling2D", (2, 7, 6, 4), dict(strides=0)),
    ("MaxPooling2D", (2, 7, 6, 4), dict(padding="none")),
    ("AveragePooling2D", (2, 7, 6, 4), dict()),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=2, strides=(1, 2, 3))),
    ("GlobalAveragePooling2D", (2, 7, 6), dict()),
]

ANY_SIZE = [
    ("MaxPooling2D", IMAGES, dict(pool_size=2)),
    ("MaxPooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling2D", IMAGES, dict(pool_size=2, strides=3)),
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=1)),
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("GlobalAveragePooling2D", IMAGES, dict()),
]

PRECISIONS = [
    ("MaxPooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("GlobalAveragePooling2D", IMAGES, dict()),
]

TWICE = [
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("GlobalAveragePooling2D", IMAGES, dict()),
    ("MaxPooling2D", IMAGES, dict(pool_size=3, strides=2)),
]

CHECKED = {"max_pool": "MaxPooling2D", "average_pool": "AveragePooling2D",
           "global_average_pool": "GlobalAveragePooling2D"}
LINEAR = {"AveragePooling2D", "GlobalAveragePooling2D"}


def sabotages():
    pool = dict(module=pooling, changes={"input"})
    yield Sabotage(**pool, formula="max_pool_gradient", operator="MaxPooling2D",
                   subject=lambda: L.MaxPooling2D(3, 2, padding="same"))
    yield Sabotage(**pool, formula="average_pool_gradient", operator="AveragePooling2D",
                   subject=lambda: L.AveragePooling2D(3, 2, padding="same"))
    yield Sabotage(**pool, formula="global_average_pool_gradient", operator="GlobalAveragePooling2D",
                   subject=lambda: L.GlobalAveragePooling2D())
