"""The validation part: training images held out to choose by, so that the test set chooses nothing."""
import hashlib

import numpy as np

from .sources import DataError


def split(labels: np.ndarray, validation: int | float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (training, validation), int64, ascending, disjoint and together complete.

    labels: integers (N,). validation: a number of images, or a fraction < 1 of them; 0 holds nothing out.
    Each class gives its proportional share (largest remainder): 5,000 of CIFAR-10's 50,000 are 500 a class.
    Within a class the choice is random with a key of its own that never changes: every seed and every
    architecture is compared on the same images. He et al. 2016 (section 4.2) hold out 5,000, unsaid which.
    Raises DataError where the number does not fit, or there are no images.
    """
    labels = np.asarray(labels)
    n = len(labels)
    if n == 0:
        raise DataError("the data set has no training images")
    fits = not isinstance(validation, bool) and 0 <= validation < n
    if not fits or (validation >= 1 and validation != int(validation)):
        raise DataError(f"validation is {validation!r}, expected a count below {n} or a fraction below 1")
    size = round(n * validation) if validation < 1 else int(validation)
    if validation > 0 and not 0 < size < n:
        raise DataError(f"validation is {validation!r}: that holds out {size} of {n} images")
    classes, counts = np.unique(labels, return_counts=True)
    share = counts * size / n
    quota = np.floor(share).astype(int)
    largest = np.argsort(quota - share, kind="stable")       # largest remainder first, then the lower class
    quota[largest[:size - quota.sum()]] += 1
    # raw bits, because NumPy keeps them the same across versions and promises that for no distribution
    lots = np.random.Philox(key=_KEY).random_raw(n)
    held_out = np.zeros(n, bool)
    for one, count in zip(classes, quota):
        members = np.flatnonzero(labels == one)
        held_out[members[np.argsort(lots[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


_KEY = int.from_bytes(hashlib.sha256(b"cnn_repro validation split").digest()[:16], "little")
