"""Random order and augmentation in NumPy, drawn so that any batch of any epoch can be replayed.

Every draw comes from a Philox generator keyed with (seed, epoch, purpose) and is made for the whole epoch at
once, by position in the epoch: neither the batch size, nor the engine, nor a resume in between changes it.
Draws are made from raw bits, which NumPy keeps the same across versions.
"""
import hashlib
from collections.abc import Sequence

import numpy as np
import scipy.special

from . import colour, decoded
from .sources import DataError

BLOCK = 2 ** 20                   # numbers drawn at a time


def random(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    """The generator for one purpose ("order", "crop", "flip", ...) in one epoch of one seed."""
    key = hashlib.sha256(f"{int(seed)}/{int(epoch)}/{purpose}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of 0..n-1, int64 (n,): which training image stands at which position of the epoch."""
    return np.argsort(_bits(n, seed, epoch, "order"), kind="stable")


class Draws:
    """The raw bits of one epoch of n positions: each augmentation asks for its own by purpose."""

    def __init__(self, n: int, seed: int, epoch: int):
        self.n, self.seed, self.epoch = n, seed, epoch

    def bits(self, purpose: str, *shape: int) -> np.ndarray:
        """uint64 (n, *shape)."""
        count = self.n * int(np.prod(shape))
        return _bits(count, self.seed, self.epoch, purpose).reshape(self.n, *shape)

    def uniform(self, purpose: str, *shape: int) -> np.ndarray:
        """float64 (n, *shape) in [0, 1): the upper 53 bits, all that a float64 holds."""
        return (self.bits(purpose, *shape) >> np.uint64(11)) * 2.0 ** -53

    def uniform32(self, purpose: str, *shape: int) -> np.ndarray:
        """float32 (n, *shape) in [0, 1): the upper 24 bits, drawn in blocks, for draws of which an epoch has many.

        These are not the numbers of `uniform`, rounded. The bits of order, crop and flip come from neither of the two.
        """
        count = self.n * int(np.prod(shape))
        draw, generator = np.empty(count, np.float32), random(self.seed, self.epoch, purpose).bit_generator
        for start in range(0, count, BLOCK):
            bits = generator.random_raw(min(BLOCK, count - start)) >> np.uint64(40)
            draw[start:start + BLOCK] = bits * 2.0 ** -24
        return draw.reshape(self.n, *shape)

    def normal(self, purpose: str, *shape: int) -> np.ndarray:
        """float64 (n, *shape) of mean 0 and deviation 1: √(−2 ln(1 − u)) cos 2πv (Box and Muller 1958)."""
        u, v = self.uniform(purpose, 2, *shape).swapaxes(0, 1)
        return np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)


class Augmentation:
    """All random choices of one epoch of n positions, applied in the order of `names`.

    names: a name of AUGMENTATIONS or a table {"name": ..., option: value} each. In a recipe's list those on
    decoded images (DECODED) and "mixup" have their own places, before and after all others: `decoded` and
    `mixup` hold them, or None; see batches.Batches. Raises DataError for an unknown name or option.
    """

    def __init__(self, names: Sequence[str | dict], n: int, seed: int, epoch: int):
        draws = Draws(n, seed, epoch)
        self.steps, self.decoded, self.mixup = [], None, None
        for name, options in map(named, names):
            one = AUGMENTATIONS[name](draws, **options)
            if name in DECODED:
                self.decoded = one
            elif name == "mixup":
                self.mixup = one
            else:
                self.steps.append(one)

    def apply(self, images: np.ndarray, positions: np.ndarray, pixel: np.ndarray | float = 1.0,
              preprocess=None, before: int = 0) -> np.ndarray:
        """The augmented batch. images: float32 (B, H, W, C); positions: (B,) in the epoch.

        Padding and cutting out are with zero, the mean of preprocessed images; `pixel`, () or (C,), is how much
        one step of 0..255 is in `images`, for colour noise. preprocess: the Preprocessing to be applied before
        step `before`, None where that was done already. The input is left as it is.
        """
        for index, step in enumerate([*self.steps, None]):
            if preprocess is not None and index == before:
                images = preprocess.apply(images)
                pixel = preprocess.scale if preprocess.affine else pixel
            if step is not None:
                images = step.apply(images, positions, pixel) if step.coloured else step.apply(images, positions)
        return images


def named(one: str | dict) -> tuple[str, dict]:
    """(name, options) of an entry of a recipe's list. Raises DataError for an unknown name or option."""
    options = {"name": one} if isinstance(one, str) else dict(one)
    name = options.pop("name", None)
    if name not in AUGMENTATIONS:
        raise DataError(f"no augmentation {name!r}, expected some of: {', '.join(AUGMENTATIONS)}")
    known = AUGMENTATIONS[name].OPTIONS
    for option in options:
        if option not in known:
            raise DataError(f"the augmentation {name!r} has no option {option!r}; "
                            f"it has {', '.join(known) or 'none'}")
    for option in known:
        if option not in options and known[option] is None:
            raise DataError(f"the augmentation {name!r} needs its option {option!r}")
    return name, {**known, **options}


class RandomCrop:
    """A crop of size × size at a random place of the image, padded first by `pad` on each side.

    padding: "zero" or "reflect" (the border's mirror image, without the border itself). size 0: the image's own.
    """
    OPTIONS = {"size": None, "pad": 0, "padding": "zero"}
    PURPOSE = "crop"
    coloured = False

    def __init__(self, draws: Draws, size: int, pad: int, padding: str):
        if padding not in PADDINGS:
            raise DataError(f"no padding {padding!r}, expected zero or reflect")
        self.size, self.pad, self.padding = size, pad, padding
        self.bits = draws.bits(self.PURPOSE, 2)

    def apply(self, images: np.ndarray, positions: np.ndarray) -> np.ndarray:
        shape = images.shape[1:3]
        return crop(images, self.corners(shape, positions), self.size_of(shape), self.pad, self.padding)

    def size_of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the crop of an image of that (H, W)."""
        return (self.size, self.size) if self.size else tuple(shape)

    def corners(self, shape: tuple[int, int], positions: np.ndarray) -> np.ndarray:
        """Row and column in the padded image, int64 (B, 2), where the crops at these positions begin."""
        size = self.size_of(shape)
        places = np.array(shape) + 2 * self.pad - size + 1
        if places.min() < 1:
            raise DataError(f"no crop of {size[0]}×{size[1]} in images of {shape[0]}×{shape[1]} padded by {self.pad}")
        return (self.bits[positions] % places.astype(np.uint64)).astype(np.int64)


class Pad4Crop(RandomCrop):
    """4 pixels padded on each side, and a crop of the original size: He et al. 2016, section 4.2.

    padding "reflect": Zagoruyko & Komodakis 2016's code; theirs is 32×32 on CIFAR, which gave it its name.
    """
    OPTIONS = {"padding": "zero"}

    def __init__(self, draws: Draws, padding: str):
        super().__init__(draws, 0, 4, padding)


class Shift(RandomCrop):
    """Moved by −pixels..pixels in both directions, the gap zero: Sabour et al. 2017, section 5 (2 pixels)."""
    OPTIONS = {"pixels": None}
    PURPOSE = "shift"

    def __init__(self, draws: Draws, pixels: int):
        super().__init__(draws, 0, pixels, "zero")


class Flip:
    """Left and right exchanged with probability 1/2: Krizhevsky et al. 2012, section 4.1."""
    OPTIONS = {}
    coloured = False

    def __init__(self, draws: Draws):
        self.mirrored = draws.bits("flip") % np.uint64(2) == 1

    def apply(self, images: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return flip(images, self.mirrored[positions])


class Cutout:
    """A square of size × size set to zero, its centre any pixel: DeVries & Taylor 2017, section 3.

    The square may lie partly outside the image, and the images are normalised before, so zero is the mean.
    """
    OPTIONS = {"size": None}
    coloured = False

    def __init__(self, draws: Draws, size: int):
        self.size = size
        self.bits = draws.bits("cutout", 2)

    def apply(self, images: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """X[n,i,j] = 0 where 0 ≤ i − (a_n − s//2) < s and the same of j and b_n; (a, b) is the centre."""
        first = self.first(images.shape[1:3], positions)
        down, across = (
            (np.arange(side) >= first[:, axis, None]) & (np.arange(side) < first[:, axis, None] + self.size)
            for axis, side in enumerate(images.shape[1:3]))
        return np.where((down[:, :, None] & across[:, None, :])[..., None], images.dtype.type(0), images)

    def first(self, shape: tuple[int, int], positions: np.ndarray) -> np.ndarray:
        """Row and column, int64 (B, 2), of the squares' upper left corners; below 0 outside the image."""
        return (self.bits[positions] % np.array(shape, np.uint64)).astype(np.int64) - self.size // 2


class Mixup:
    """λ x_i + (1 − λ) x_j and the same of the targets, λ ~ Beta(α, α): Zhang et al. 2018, section 2.

    λ is drawn for each position; j runs through the images of the same step in a random order.
    """
    OPTIONS = {"alpha": None}

    def __init__(self, draws: Draws, alpha: float):
        # the inverse of the distribution function, for a number of raw bits a draw
        self.share = scipy.special.betaincinv(alpha, alpha, draws.uniform("mixup")).astype(np.float32)
        self.rank = draws.bits("mixup order")

    def apply(self, images: np.ndarray, targets: np.ndarray,
              positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """images (B, ...) and targets float32 (B, K) of one step, both mixed; positions (B,)."""
        other = np.argsort(self.rank[positions], kind="stable")
        share = self.share[positions]
        wide = share.reshape(-1, *[1] * (images.ndim - 1))
        return (wide * images + (1 - wide) * images[other],
                share[:, None] * targets + (1 - share[:, None]) * targets[other])


PADDINGS = {"zero": "constant", "reflect": "reflect"}
DECODED = {"crop_resize": decoded.CropResize, "scale_crop": decoded.ScaleCrop}
AUGMENTATIONS = {"pad4_crop32": Pad4Crop, "random_crop": RandomCrop, "flip": Flip, "shift": Shift, **DECODED,
                 "colour_pca": colour.PCANoise, "jitter": colour.Jitter, "cutout": Cutout, "mixup": Mixup}


def crop(images: np.ndarray, corners: np.ndarray, size: tuple[int, int], pad: int, padding: str) -> np.ndarray:
    """Y[n,i,j,c] = P[n, i+row_n, j+column_n, c], where P is X with `pad` pixels more on each side.

    Images (B, H, W, C), Y (B, *size, C); corners (B, 2): row and column in P.
    """
    batch, height, width, channels = images.shape
    padded = images
    if pad and padding == "zero":
        padded = np.zeros((batch, height + 2 * pad, width + 2 * pad, channels), images.dtype)
        padded[:, pad:-pad, pad:-pad] = images
    elif pad:
        margin = (pad, pad)
        padded = np.pad(images, ((0, 0), margin, margin, (0, 0)), PADDINGS[padding])
    # a row of pixels is one run of memory, so a window is `height` runs of width·channels numbers
    windows = np.lib.stride_tricks.sliding_window_view(
        padded.reshape(batch, padded.shape[1], -1), (size[0], size[1] * channels), axis=(1, 2))
    cut = windows[np.arange(batch), corners[:, 0], corners[:, 1] * channels]
    return cut.reshape(batch, *size, channels)


def flip(images: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Left and right exchanged where `mirrored` (B,) is true. Images (B, H, W, C)."""
    images = images.copy()
    images[mirrored] = images[mirrored, :, ::-1]
    return images


def _bits(n: int, seed: int, epoch: int, purpose: str) -> np.ndarray:
    return random(seed, epoch, purpose).bit_generator.random_raw(n)
