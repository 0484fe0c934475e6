"""Data: where it comes from, its prepared arrays, the held-out part, preprocessing and augmentation.

    dataset = load("digits")                               # verified, memory-mapped; no TensorFlow needed
    images, labels = dataset.train                         # uint8 (N, H, W, C), int64 (N,)
    training, validation = split(labels, 5000)             # the same for every seed
    recipe = {"preprocess": "per_pixel_mean", "augment": ["pad4_crop32", "flip"], "batch": 128}
    preprocessing = fit_preprocessing(images, recipe, (32, 32), dataset.enlarge, training)
    batches = Batches(images, labels, recipe, preprocessing, (32, 32), dataset.enlarge, seed=0, indices=training)
    for inputs, targets in prefetched(batches.epoch(1)):   # float32 (1, B, h, w, C), int64 (1, B)
        ...
    images, labels = dataset.open_test()                   # once a run, at its end
"""
from .augmentation import AUGMENTATIONS, Augmentation, order, random
from .batches import Batches, evaluation_inputs, fit_preprocessing
from .encoded import EncodedImages
from .prefetch import prefetched
from .prepared import Dataset, Manifest, load, prepare, status, status_of, verify
from .preprocessing import PREPROCESSINGS, Preprocessing, fit_to
from .sources import DataError, Source, names, register, source
from .split import split
from .streamed import Streamed
from . import archives, cora, folders, moving_digits, tfds_any          # noqa: E402,F401  each registers its own

__all__ = ["AUGMENTATIONS", "Augmentation", "Batches", "DataError", "Dataset", "EncodedImages", "Manifest",
           "PREPROCESSINGS", "Preprocessing", "Source", "Streamed", "evaluation_inputs", "fit_preprocessing",
           "fit_to", "load", "names", "order", "prefetched", "prepare", "random", "register", "source", "split",
           "status", "status_of", "verify"]
