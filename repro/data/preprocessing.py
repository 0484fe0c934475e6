"""From stored images to network inputs: the size that the network wants, then the paper's normalisation."""
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .sources import DataError

BLOCK = 1000              # images at a time, so that float64 sums need no copy of the whole set
BLOCK_NUMBERS = 2 ** 24   # and of large ones fewer
LARGEST_WHITENED = 64 * 64 * 3


def fit_to(images: np.ndarray, size: tuple[int, int], enlarge: str) -> np.ndarray:
    """Images (N, H, W, C) brought to (N, *size, C).

    "pad": centred in a field of zeros, the dtype is kept; so LeCun et al. 1998 set 28×28 digits into 32×32
    (an odd rest goes to the bottom and right). "resize": bilinear, float32 in 0..255, equal to
    keras.layers.Resizing without antialiasing. Raises DataError where an image would have to be cut.
    """
    height, width = images.shape[1:3]
    if (height, width) == tuple(size):
        return images
    if enlarge == "resize":
        down, across = _bilinear(height, size[0]), _bilinear(width, size[1])
        resized = np.empty((len(images), *size, images.shape[3]), np.float32)
        for start in range(0, len(images), BLOCK):
            block = images[start:start + BLOCK].astype(np.float32)
            rows = np.einsum("ph,nhwc->npwc", down, block, optimize=True)
            resized[start:start + BLOCK] = np.einsum("qw,npwc->npqc", across, rows, optimize=True)
        return resized
    if enlarge != "pad":
        raise DataError(f"no way {enlarge!r} to enlarge images, expected pad or resize")
    if height > size[0] or width > size[1]:
        raise DataError(f"images of {height}×{width} do not fit into an input of {size[0]}×{size[1]}")
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    padded = np.zeros((len(images), *size, images.shape[3]), images.dtype)
    padded[:, top:top + height, left:left + width] = images
    return padded


def _bilinear(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) of a resize along one axis: pixel i looks at (i + 1/2)·old/new − 1/2."""
    position = (np.arange(new) + 0.5) * old / new - 0.5
    below = np.floor(position).astype(int)
    fraction = position - below
    matrix = np.zeros((new, old), np.float32)
    np.add.at(matrix, (np.arange(new), below.clip(0, old - 1)), 1 - fraction)
    np.add.at(matrix, (np.arange(new), (below + 1).clip(0, old - 1)), fraction)
    return matrix


class Preprocessing(ABC):
    """The map from images in 0..255 to inputs, fixed before training. kind: one of

      per_pixel_mean   (x − m) / 255, m the mean image. He et al. 2016 (section 4.2) subtract it and name no
                       divisor; Keras's CIFAR example divides by 255, tensorpack's by 128. Where batch
                       normalisation follows the first convolution the divisor cancels, up to its epsilon,
                       in the outputs and in the gradient of the kernel. {divisor = 1} leaves it out, as
                       Krizhevsky et al. 2012 (section 2) do.
      channel_mean     x − m for each channel (Simonyan & Zisserman 2015, section 2.1)
      mean_std         (x − m) / s for each channel
      lenet            background 0 → −0.1, foreground 255 → 1.175 (LeCun et al. 1998, section II.B), unfitted
      unit             x / 255, unfitted
      symmetric        x / 127.5 − 1, unfitted
      none             x, unfitted
      per_image        each image on its own, see PerImage, unfitted
      gcn              global contrast normalisation, see Contrast, unfitted
      gcn_zca          the same, then ZCA whitening, see Whitened; {regularisation = 0.1}
    size: (height, width) of the images that it was fitted to, None where it takes any.
    """
    kind: str
    size: tuple[int, int] | None = None
    affine = False                            # x · scale + offset

    @staticmethod
    def fit(kind: str | dict, images: np.ndarray) -> "Preprocessing":
        """Fit to the images that are trained on and no others: (N, H, W, C) in 0..255, of any dtype.

        kind: a name, or a table {"name": ..., option: value}. Raises DataError for one that there is not.
        """
        options = {"name": kind} if isinstance(kind, str) else dict(kind)
        name = options.pop("name", None)
        if name not in PREPROCESSINGS:
            raise DataError(f"no preprocessing {name!r}, expected one of: {', '.join(PREPROCESSINGS)}")
        unknown = sorted(options.keys() - PREPROCESSINGS[name][1])
        if unknown:
            raise DataError(f"the preprocessing {name!r} has no option {unknown[0]!r}; "
                            f"it has {', '.join(PREPROCESSINGS[name][1]) or 'none'}")
        make, _, fitted = PREPROCESSINGS[name]
        if fitted and len(images) == 0:
            raise DataError("preprocessing cannot be fitted to no images")
        return make(name, images, **options)

    @abstractmethod
    def apply(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, H, W, C) from images in 0..255 of any dtype; the input is left as it is."""

    @abstractmethod
    def layers(self, x):
        """The same map as stock Keras layers on the tensor x: what a deployed model has inside."""


@dataclass(frozen=True, eq=False)
class Affine(Preprocessing):
    """x · scale + offset. scale: float32 () or (C,). offset: float32 (), (C,) or (H, W, C)."""
    kind: str
    scale: np.ndarray
    offset: np.ndarray
    affine = True

    @property
    def size(self):
        return self.offset.shape[:2] if self.offset.ndim == 3 else None

    def apply(self, images: np.ndarray) -> np.ndarray:
        inputs = images * self.scale                          # uint8 · float32 → float32 in one pass
        inputs = inputs.astype(np.float32, copy=False)
        inputs += self.offset
        return inputs

    def layers(self, x):
        import keras
        return keras.layers.Rescaling(self.scale.tolist(), self.offset.tolist(), name="normalise")(x)


@dataclass(frozen=True, eq=False)
class PerImage(Preprocessing):
    """(x − mean) / max(s, 1/√n) over the n numbers of each image, s their standard deviation: the

    standardisation of TensorFlow's CIFAR-10 tutorial (tf.image.per_image_standardization).
    """
    kind: str

    def apply(self, images: np.ndarray) -> np.ndarray:
        inputs = images.astype(np.float32)
        inputs -= inputs.mean(axis=(1, 2, 3), keepdims=True)
        # rounding leaves the mean of a large image a little off; the deviation is about zero all the same
        deviation = np.sqrt((inputs * inputs).mean(axis=(1, 2, 3), keepdims=True))
        inputs /= np.maximum(deviation, np.float32(1 / np.sqrt(np.prod(images.shape[1:]))))
        return inputs

    def layers(self, x):
        # of whole pixel values only constant images lie below the floor 1/√n, by more than a part in 2n
        return _standardised(x)


@dataclass(frozen=True, eq=False)
class Contrast(Preprocessing):
    """55 (x − mean) / ‖x − mean‖ over the n numbers of each image, a norm below 1e-8 replaced by 1.

    Goodfellow et al. 2013 (Maxout, section 4.2) on CIFAR, with pylearn2's scale 55 ≈ √3072: standard deviation 1.
    """
    kind: str
    size: tuple[int, int]
    SCALE = 55

    def apply(self, images: np.ndarray) -> np.ndarray:
        inputs = images.astype(np.float32)
        inputs -= inputs.mean(axis=(1, 2, 3), keepdims=True)
        norm = np.sqrt((inputs * inputs).sum(axis=(1, 2, 3), keepdims=True)) / self.SCALE
        inputs /= np.where(norm < 1e-8, np.float32(1), norm)
        return inputs

    def layers(self, x):
        import keras
        n = int(np.prod(x.shape[1:]))          # LayerNormalization divides by ‖x − mean‖ / √n
        return keras.layers.Rescaling(self.SCALE / n ** 0.5, name="contrast")(_standardised(x))


@dataclass(frozen=True, eq=False)
class Whitened(Preprocessing):
    """(g − m) W with g the image after Contrast, flattened to n numbers, m the mean of g over the training set,

        W = U diag(1 / √(λ + regularisation)) Uᵀ,    C = U diag(λ) Uᵀ = the covariance of g:

    ZCA whitening (Krizhevsky 2009, appendix A) with pylearn2's regularisation 0.1, as in Goodfellow et al. 2013.
    mean: float32 (n,). matrix: float32 (n, n), symmetric. For CIFAR n = 3072: fitting takes a minute or more.
    """
    kind: str
    contrast: Contrast
    mean: np.ndarray
    matrix: np.ndarray

    @property
    def size(self):
        return self.contrast.size

    def apply(self, images: np.ndarray) -> np.ndarray:
        inputs = np.empty(images.shape, np.float32)
        for start in range(0, len(images), BLOCK):
            block = self.contrast.apply(images[start:start + BLOCK]).reshape(-1, len(self.mean))
            inputs[start:start + BLOCK] = ((block - self.mean) @ self.matrix).reshape(-1, *images.shape[1:])
        return inputs

    def layers(self, x):
        import keras
        whiten = keras.layers.Dense(len(self.mean), name="whiten", trainable=False)
        shape = x.shape[1:]
        x = whiten(keras.layers.Flatten(name="pixels")(self.contrast.layers(x)))
        whiten.set_weights([self.matrix, -self.mean @ self.matrix])
        return keras.layers.Reshape(shape, name="whitened")(x)


def _standardised(x):
    """(x − mean) / s of each image as a stock layer; its epsilon stands in for the floor of a constant image."""
    import keras
    return keras.layers.LayerNormalization(axis=list(range(1, len(x.shape))), epsilon=1e-9, center=False,
                                           scale=False, name="standardise")(x)


# -------------------------------------------------------------------------------------------------- fitting

def _unfitted(scale: float, offset: float):
    return lambda kind, images: Affine(kind, np.float32(scale), np.float32(offset))


def _mean_image(images: np.ndarray) -> np.ndarray:
    return sum(images[block].sum(axis=0, dtype=np.float64) for block in _blocks(images)) / len(images)


def _blocks(images: np.ndarray) -> list[slice]:
    count = max(1, min(BLOCK, BLOCK_NUMBERS // int(np.prod(images.shape[1:]))))
    return [slice(start, start + count) for start in range(0, len(images), count)]


def _per_pixel_mean(kind: str, images: np.ndarray, divisor: float = 255) -> Affine:
    return Affine(kind, np.float32(1 / divisor), (-_mean_image(images) / divisor).astype(np.float32))


def _channel_mean(kind: str, images: np.ndarray) -> Affine:
    return Affine(kind, np.float32(1), (-_mean_image(images).mean(axis=(0, 1))).astype(np.float32))


def _mean_std(kind: str, images: np.ndarray) -> Affine:
    mean = _mean_image(images).mean(axis=(0, 1))
    squares = sum(((images[block] - mean) ** 2).sum(axis=(0, 1, 2)) for block in _blocks(images))
    deviation = np.sqrt(squares / np.prod(images.shape[:3]))
    deviation[deviation == 0] = 255                       # a channel that never changes stays finite
    return Affine(kind, (1 / deviation).astype(np.float32), (-mean / deviation).astype(np.float32))


def _contrast(kind: str, images: np.ndarray) -> Contrast:
    return Contrast(kind, images.shape[1:3])


def _whitened(kind: str, images: np.ndarray, regularisation: float = 0.1) -> Whitened:
    contrast = Contrast("gcn", images.shape[1:3])
    n = int(np.prod(images.shape[1:]))
    if n > LARGEST_WHITENED:
        raise DataError(f"gcn_zca is for small images: {n:,} numbers each, and at most {LARGEST_WHITENED:,} can "
                        "be whitened")
    total, products = np.zeros(n), np.zeros((n, n))
    for block in _blocks(images):
        flat = contrast.apply(images[block]).reshape(-1, n)
        total += flat.sum(axis=0, dtype=np.float64)
        products += flat.T @ flat                         # float32 within a block, float64 over the blocks
    mean = total / len(images)
    variances, directions = np.linalg.eigh(products / len(images) - np.outer(mean, mean))
    # rounding puts the smallest eigenvalues of a covariance a little below zero
    scale = 1 / np.sqrt(np.maximum(variances, 0) + regularisation)
    matrix = (directions * scale) @ directions.T
    return Whitened(kind, contrast, mean.astype(np.float32), matrix.astype(np.float32))


# name → how it is made, its options, whether it needs images
PREPROCESSINGS = {
    "per_pixel_mean": (_per_pixel_mean, ("divisor",), True),
    "channel_mean": (_channel_mean, (), True),
    "mean_std": (_mean_std, (), True),
    "lenet": (_unfitted(1.275 / 255, -0.1), (), False),
    "unit": (_unfitted(1 / 255, 0), (), False),
    "symmetric": (_unfitted(1 / 127.5, -1), (), False),
    "none": (_unfitted(1, 0), (), False),
    "per_image": (lambda kind, images: PerImage(kind), (), False),
    "gcn": (_contrast, (), False),
    "gcn_zca": (_whitened, ("regularisation",), True),
}
