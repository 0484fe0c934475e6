"""Training images that lie on JAX's device, and their augmentation there.

NumPy draws order, corners and mirrors of an epoch as for the other engine (some bytes an image); JAX applies them, so
that no image leaves the device. The moves only take pixels from one place to another: both engines see equal numbers.
"""
from functools import partial

import jax
import numpy as np
from jax import numpy as jnp

from ..data import Augmentation, Batches, order, views
from ..data.augmentation import PADDINGS, Cutout, Flip, RandomCrop


def fits(batches) -> bool:
    """Whether all that the recipe does to the images of `batches` is done here."""
    if not isinstance(batches, Batches) or batches.inputs is None or batches.reader.video:      # a graph, for one
        return False
    augmentation = Augmentation(batches.recipe["augment"], 1, 0, 0)
    return augmentation.mixup is None and all(isinstance(step, tuple(MOVES)) for step in augmentation.steps)


class OnDevice:
    """The images of `batches`, prepared, and their labels as arrays of JAX; order and draws of one epoch at a time."""

    def __init__(self, batches, place):
        """place: puts a NumPy array on the device or devices."""
        self.batches, self._place, self._made = batches, place, None
        self._images, self._targets = place(batches.inputs), place(batches.targets.astype("int32"))

    def epoch(self, epoch: int):
        """(moves, arrays): what is done to a batch, hashable; images, labels, order, and the draws of each move."""
        if self._made is None or self._made[0] != epoch:
            self._made = epoch, self._draw(epoch)
        return self._made[1]

    def _draw(self, epoch):
        n, seed = len(self.batches.indices), self.batches.seed
        augmentation = Augmentation(self.batches.recipe["augment"], n, seed, epoch)
        shape, moves, draws = self.batches.inputs.shape[1:3], [], []
        for step in augmentation.steps:
            kind = next(kind for kind in MOVES if isinstance(step, kind))
            move, drawn, shape = MOVES[kind](step, shape, np.arange(n))
            moves.append(move)
            draws.append(self._place(drawn))
        if shape != self.batches.reader.size:
            moves.append((_middle, self.batches.reader.size))
            draws.append(self._place(np.zeros(n, bool)))
        ordered = order(n, seed, epoch).astype("int32")
        return tuple(moves), (self._images, self._targets, self._place(ordered), tuple(draws))


def batch_at(moves, arrays, step, batch: int, size: int):
    """(inputs (size, h, w, C), targets (size,)) of an epoch's step, in traced code; size < batch in the last alone."""
    images, targets, ordered, draws = arrays
    positions = step * batch + jnp.arange(size)
    chosen = ordered[positions]
    images = images[chosen]
    for (move, *options), drawn in zip(moves, draws):
        images = move(images, drawn[positions], *options)
    return images, targets[chosen]


# ----------------------------------------------------------------- a step's move, its draws, and the image's size behind it

def _cropping(step: RandomCrop, shape, positions):
    size = step.size_of(shape)
    return (_crop, size, step.pad, step.padding), step.corners(shape, positions).astype("int32"), size


def _flipping(step: Flip, shape, positions):
    return (_flip,), step.mirrored[positions], shape


def _cutting_out(step: Cutout, shape, positions):
    return (_cut_out, step.size), step.first(shape, positions).astype("int32"), shape


MOVES = {RandomCrop: _cropping, Flip: _flipping, Cutout: _cutting_out}


def _crop(images, corners, size, pad, padding):
    """As augmentation.crop."""
    if pad:
        images = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), PADDINGS[padding])
    cut = partial(jax.lax.dynamic_slice, slice_sizes=(*size, images.shape[-1]))
    return jax.vmap(lambda image, corner: cut(image, (corner[0], corner[1], 0)))(images, corners)


def _flip(images, mirrored):
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def _cut_out(images, first, size):
    down, across = ((jnp.arange(side) >= first[:, axis, None]) & (jnp.arange(side) < first[:, axis, None] + size)
                    for axis, side in enumerate(images.shape[1:3]))
    return jnp.where((down[:, :, None] & across[:, None, :])[..., None], 0, images)


def _middle(images, _, size):
    return views.middle(images, size)
