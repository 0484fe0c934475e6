"""Losses."""
import numpy as np

from cnn_repro import layers as L
from cnn_repro.layers import loss

from .sabotage import Sabotage

LABELS = np.arange(5) % 4

CHECKED = {"softmax_cross_entropy": "SoftmaxCrossEntropy"}


def sabotages():
    whole = dict(operator="SoftmaxCrossEntropy", subject=lambda: lambda z: L.softmax_cross_entropy(LABELS, z),
                 changes={"logits"}, tensors=((5, 4),), names=("logits",))
    yield Sabotage(loss, "cross_entropy_gradient", **whole)
