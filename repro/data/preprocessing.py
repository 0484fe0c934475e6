"""From stored images to network inputs: the size that the network wants, then the paper's normalisation."""
import base64
from dataclasses import dataclass

import numpy as np

from .sources import DataError

PREPROCESSINGS = ("per_pixel_mean", "mean_std", "lenet")
BLOCK = 1000              # images at a time, so that float64 sums need no copy of the whole set


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


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The affine map from images in 0..255 to inputs, x · scale + offset, fixed before training.

    kind: one of
      per_pixel_mean   (x − m) / 255, m the mean image. He et al. 2016 (section 4.2) subtract it and name no
                       divisor; Keras's CIFAR example divides by 255, tensorpack's by 128. Where batch
                       normalisation follows the first convolution the divisor cancels, up to its epsilon,
                       in the outputs and in the gradient of the kernel.
      mean_std         (x − m) / s for each channel
      lenet            background 0 → −0.1, foreground 255 → 1.175 (LeCun et al. 1998, section II.B), unfitted
    scale: float32 () or (C,). offset: float32 (), (C,) or (H, W, C).
    """
    kind: str
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def fit(cls, kind: str, images: np.ndarray) -> "Preprocessing":
        """Fit to the images that are trained on and no others: (N, H, W, C) in 0..255, of any dtype."""
        if kind == "lenet":
            return cls(kind, np.float32(1.275 / 255), np.float32(-0.1))
        if kind not in PREPROCESSINGS:
            raise DataError(f"no preprocessing {kind!r}, expected one of: {', '.join(PREPROCESSINGS)}")
        if len(images) == 0:
            raise DataError("preprocessing cannot be fitted to no images")
        blocks = [slice(start, start + BLOCK) for start in range(0, len(images), BLOCK)]
        mean = sum(images[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(images)
        if kind == "per_pixel_mean":
            return cls(kind, np.float32(1 / 255), (-mean / 255).astype(np.float32))
        mean = mean.mean(axis=(0, 1))
        squares = sum(((images[block] - mean) ** 2).sum(axis=(0, 1, 2)) for block in blocks)
        deviation = np.sqrt(squares / np.prod(images.shape[:3]))
        deviation[deviation == 0] = 255                       # a channel that never changes stays finite
        return cls(kind, (1 / deviation).astype(np.float32), (-mean / deviation).astype(np.float32))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, H, W, C) from images in 0..255 of any dtype; the input is left as it is."""
        inputs = images * self.scale                          # uint8 · float32 → float32 in one pass
        inputs = inputs.astype(np.float32, copy=False)
        inputs += self.offset
        return inputs

    def to_config(self) -> dict:
        """For JSON; `from_config` gives back the same bits."""
        return {"kind": self.kind, "scale": _pack(self.scale), "offset": _pack(self.offset)}

    @classmethod
    def from_config(cls, config: dict) -> "Preprocessing":
        """The inverse of `to_config`. Raises DataError for anything else."""
        try:
            return cls(config["kind"], _unpack(config["scale"]), _unpack(config["offset"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"no preprocessing's configuration ({type(error).__name__}: {error})") from None


def _pack(array: np.ndarray) -> dict:
    array = np.asarray(array, "<f4")
    return {"shape": list(array.shape), "float32": base64.b64encode(array.tobytes()).decode()}


def _unpack(packed: dict) -> np.ndarray:
    array = np.frombuffer(base64.b64decode(packed["float32"]), "<f4")
    return array.reshape(packed["shape"]).astype(np.float32)
