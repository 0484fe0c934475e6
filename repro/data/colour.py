"""Augmentation of colours: AlexNet's noise along the principal components; brightness, contrast, saturation."""
from itertools import permutations

import numpy as np

from .sources import DataError

# The covariance of ImageNet's RGB values in 0..1, as fb.resnet.torch publishes it: λ, and p1 p2 p3 as columns.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
GREY = np.array([0.299, 0.587, 0.114], np.float32)          # luma of R, G, B (ITU-R BT.601)


class PCANoise:
    """[p1 p2 p3] [α1 λ1, α2 λ2, α3 λ3]ᵀ added to every pixel of an image, α ~ N(0, deviation²).

    Krizhevsky et al. 2012, section 4.1 (deviation 0.1): one draw of the three α each time an image is used.
    """
    OPTIONS = {"deviation": 0.1}
    coloured = True

    def __init__(self, draws, deviation: float):
        alphas = deviation * draws.normal("colour", 3)
        self.noise = (255 * (alphas * EIGENVALUES) @ EIGENVECTORS.T).astype(np.float32)       # (n, 3) of 0..255

    def apply(self, images: np.ndarray, positions: np.ndarray, pixel) -> np.ndarray:
        _rgb(images, "colour_pca")
        return images + (self.noise[positions] * pixel)[:, None, None, :].astype(np.float32)


class Jitter:
    """Brightness, contrast and saturation, each by its own random factor a in 1 − v..1 + v, in a random order:

        brightness   a x
        contrast     a x + (1 − a) m,  m the mean of the whole image's grey
        saturation   a x + (1 − a) g,  g the grey of each pixel

    fb.resnet.torch's ColorJitter (0.4 each), after Howard 2013, section 2. Values may leave 0..255, as there.
    """
    OPTIONS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    coloured = True                   # takes values in 0..255: batches.Batches preprocesses afterwards
    ORDERS = np.array(list(permutations(range(3))))

    def __init__(self, draws, brightness: float, contrast: float, saturation: float):
        spread = np.array([brightness, contrast, saturation])
        self.factors = (1 + spread * (2 * draws.uniform("jitter", 3) - 1)).astype(np.float32)
        self.orders = self.ORDERS[(draws.bits("jitter order") % np.uint64(6)).astype(np.int64)]

    def apply(self, images: np.ndarray, positions: np.ndarray, pixel) -> np.ndarray:
        if images.shape[-1] != 1:
            _rgb(images, "jitter")
        images = images.astype(np.float32)
        for turn in range(3):
            kinds = self.orders[positions, turn]
            factor = self.factors[positions, kinds][:, None, None, None]
            grey = images @ GREY[:, None] if images.shape[-1] == 3 else images
            middle = grey.mean(axis=(1, 2, 3), keepdims=True)
            kinds = kinds[:, None, None, None]
            towards = np.where(kinds == 0, np.float32(0), np.where(kinds == 1, middle, grey))
            images = factor * images + (1 - factor) * towards
        return images


def _rgb(images: np.ndarray, name: str) -> None:
    if images.shape[-1] != 3:
        raise DataError(f"{name} is for RGB images, and these have {images.shape[-1]} channels")
