"""Random order, crops and flips in NumPy, drawn so that any batch of any epoch can be replayed.

Every draw comes from a Philox generator keyed with (seed, epoch, purpose) and is made for the whole epoch at
once, by position in the epoch: neither the batch size, nor the engine, nor a resume in between changes it.
Draws are made from raw bits, which NumPy keeps the same across versions.
"""
import hashlib
from collections.abc import Sequence

import numpy as np

from .sources import DataError

AUGMENTATIONS = ("pad4_crop32", "flip")
PAD = 4


def random(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    """The generator for one purpose ("order", "crop", "flip", ...) in one epoch of one seed."""
    key = hashlib.sha256(f"{int(seed)}/{int(epoch)}/{purpose}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of 0..n-1, int64 (n,): which training image stands at which position of the epoch."""
    return np.argsort(_bits(n, seed, epoch, "order"), kind="stable")


class Augmentation:
    """All random choices of one epoch of n positions.

    names: of "pad4_crop32" and "flip", applied in that order whatever theirs is: the distribution is one.
    He et al. 2016, section 4.2: 4 pixels are padded on each side, and a crop of the original size is taken
    from the padded image or its mirror image. Raises DataError for an unknown name.
    """

    def __init__(self, names: Sequence[str], n: int, seed: int, epoch: int):
        for name in names:
            if name not in AUGMENTATIONS:
                raise DataError(f"no augmentation {name!r}, expected some of: {', '.join(AUGMENTATIONS)}")
        self.corners = self.mirrored = None
        if "pad4_crop32" in names:      # the top left corner (row, column) of the crop, 0..8
            self.corners = (_bits(2 * n, seed, epoch, "crop") % (2 * PAD + 1)).astype(np.int64).reshape(n, 2)
        if "flip" in names:             # with probability 1/2
            self.mirrored = _bits(n, seed, epoch, "flip") % 2 == 1

    def apply(self, images: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The augmented batch. images: float32 (B, H, W, C), preprocessed; positions: (B,) in the epoch.

        The padding is zero, the mean of preprocessed images. The input is left as it is.
        """
        if self.corners is not None:
            images = crop(images, self.corners[positions])
        if self.mirrored is not None:
            images = flip(images, self.mirrored[positions])
        return images


def crop(images: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Y[n,i,j,c] = P[n, i+row_n, j+column_n, c], where P is X with 4 zeros on each side.

    Images (B, H, W, C); corners (B, 2): row and column, 0..8 each.
    """
    batch, height, width, channels = images.shape
    padded = np.zeros((batch, height + 2 * PAD, width + 2 * PAD, channels), images.dtype)
    padded[:, PAD:-PAD, PAD:-PAD] = images
    # a row of pixels is one run of memory, so a window is `height` runs of width·channels numbers
    windows = np.lib.stride_tricks.sliding_window_view(
        padded.reshape(batch, height + 2 * PAD, -1), (height, width * channels), axis=(1, 2))
    return windows[np.arange(batch), corners[:, 0], corners[:, 1] * channels].reshape(images.shape)


def flip(images: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Left and right exchanged where `mirrored` (B,) is true. Images (B, H, W, C)."""
    images = images.copy()
    images[mirrored] = images[mirrored, :, ::-1]
    return images


def _bits(n: int, seed: int, epoch: int, purpose: str) -> np.ndarray:
    return random(seed, epoch, purpose).bit_generator.random_raw(n)
