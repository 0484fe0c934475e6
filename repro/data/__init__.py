"""Data: where it comes from, its prepared arrays, the held-out part, preprocessing and augmentation.

    dataset = load("digits")                               # verified, memory-mapped; no TensorFlow needed
    images, labels = dataset.train                         # uint8 (N, H, W, C), int64 (N,)
    training, validation = split(labels, 5000)             # the same for every seed
    inputs = fit_to(images[training], (32, 32), dataset.enlarge)
    preprocessing = Preprocessing.fit("per_pixel_mean", inputs)
    augmentation = Augmentation(["pad4_crop32", "flip"], n=len(training), seed=0, epoch=1)
    images, labels = dataset.open_test()                   # once a run, at its end
"""
from .augmentation import AUGMENTATIONS, Augmentation, order, random
from .prepared import Dataset, Manifest, load, prepare, status, verify
from .preprocessing import PREPROCESSINGS, Preprocessing, fit_to
from .sources import DataError, Source, names, register, source
from .split import split
from .streamed import Streamed

__all__ = ["AUGMENTATIONS", "Augmentation", "DataError", "Dataset", "Manifest", "PREPROCESSINGS",
           "Preprocessing", "Source", "Streamed", "fit_to", "load", "names", "order", "prepare", "random", "register",
           "source", "split", "status", "verify"]
