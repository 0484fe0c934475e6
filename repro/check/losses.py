"""Losses."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case


def cases(random) -> Iterator[Case]:
    """Class numbers and distributions; a certain mistake, whose own logarithm would overflow; no image at all."""
    numbers, smooth = np.eye(5)[[0, 3, 3, 1]], 0.9 * np.eye(5)[[2, 0, 4, 1]] + 0.1 / 5
    soft = random.dirichlet(np.ones(5), size=4)
    logits = random.normal(size=(4, 5))
    yield _case("4 images, 5 classes, class numbers", numbers, logits, np.array([0, 3, 3, 1]))
    yield _case("4 images, 5 classes, smoothed labels", smooth, logits)
    yield _case("4 images, 5 classes, any distribution", soft, logits)
    yield _case("4 images, 5 classes, logits of 40", soft, 40 * logits)
    yield _case("1 image, 2 classes, class number", np.eye(2)[[1]], logits[:1, :2], np.array([1]))
    yield _case("no image, 5 classes, class numbers", numbers[:0], logits[:0], np.zeros(0, "int32"))


def _case(text, target, logits, labels=None) -> Case:
    def stock(z):
        return -ops.sum(ops.cast(target, z.dtype) * ops.log_softmax(z), axis=-1)

    return Case("SoftmaxCrossEntropy", text, {"logits": logits},
                lambda z: L.softmax_cross_entropy(target if labels is None else labels, z), stock,
                lambda z: reference.cross_entropy(target, z),
                lambda de, z: [reference.cross_entropy_gradient(de, target, z)])
