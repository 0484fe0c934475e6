"""What the network is fed: the batches of an epoch, replayed from any step of it, and blocks for evaluation.

    stored images → canvas → preprocessing → augmentation → input

The canvas is what is cropped from: the network's input itself, or where the recipe says `input.shorter` the middle
of the image at that size. crop_resize and scale_crop go from the decoded image to the input without it.
"""
import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from . import views
from .augmentation import DECODED, Augmentation, named, order
from .decoded import Middle, cut, shape_of
from .preprocessing import PREPROCESSINGS, Preprocessing, fit_to
from .sources import DataError

MEMORY = 1.5 * 2 ** 30        # bytes: inputs that need no more are made once and kept
BLOCK_MEMORY = 2 ** 26        # bytes of a block of evaluation
SAMPLE = 4000                 # encoded images that preprocessing is fitted to: their mean is known to 0.6 of 255


class Batches:
    """The training images of a run, epoch by epoch, by a recipe.

    images: uint8 (N, H, W, C), videos (N, T, H, W, C), or encoded images (EncodedImages: `len()`,
    `read`, `decode`, `damaged`).
    labels: int64 (N,). recipe: resolved. preprocessing: fitted, see `fit_preprocessing`. size: (h, w) of the
    network's input. enlarge: "pad" or "resize", how stored images of one size get there. indices: which images
    are trained on, all by default. classes: their number, for mixup's targets (the largest label + 1 by default).
    Raises DataError where the recipe does not fit the images.
    """

    def __init__(self, images, labels, recipe: dict, preprocessing: Preprocessing, size: tuple[int, int],
                 enlarge: str, seed: int = 0, indices: np.ndarray | None = None, classes: int | None = None):
        self.recipe, self.preprocessing, self.seed = recipe, preprocessing, seed
        self.indices = np.arange(len(images)) if indices is None else np.asarray(indices)
        self.targets = np.asarray(labels)[self.indices]
        self.classes = classes or int(np.max(labels)) + 1
        self.reader = Reader(images, size, enlarge, recipe)
        steps = [named(one) for one in recipe["augment"]]
        self.before = _place(preprocessing, steps)
        self.inputs = None
        if self.before == 0 and not decodes(recipe) and self.reader.bytes(len(self.indices)) < MEMORY:
            self.inputs = preprocessing.apply(self.reader.canvases(self.indices))

    def __len__(self) -> int:
        """Steps an epoch."""
        return math.ceil(len(self.indices) / self.recipe["batch"])

    def epoch(self, epoch: int, steps_a_call: int = 1, start: int = 0,
              rows: Callable[[int], slice] | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The epoch from its step `start` on, in the order and with the augmentation of (seed, epoch).

        Yields inputs float32 (S, B, h, w, C) and targets int64 (S, B), with mixup float32 (S, B, K). Full batches
        come S = steps_a_call at a time, and fewer at the end; a last smaller batch comes alone.
        rows: of a batch's size, which of its inputs are wanted, with the targets of all; mixup, which mixes the images
        of a batch with each other, gives all inputs nevertheless.
        """
        batch, n = self.recipe["batch"], len(self.indices)
        ordered = order(n, self.seed, epoch)
        augmentation = Augmentation(self.recipe["augment"], n, self.seed, epoch)
        whole = n // batch * batch
        cuts = [*range(start * batch, whole, batch * steps_a_call), whole, n]
        for first, stop in zip(cuts, cuts[1:]):
            if max(first, start * batch) < stop:
                each = batch if stop <= whole else stop - first
                positions = np.arange(first, stop).reshape(-1, each)
                targets = self.targets[ordered[positions]]
                wanted = positions[:, rows(each)] if rows and augmentation.mixup is None else positions
                inputs = self._inputs(augmentation, ordered[wanted.ravel()], wanted.ravel())
                inputs = inputs.reshape(*wanted.shape, *inputs.shape[1:])
                if augmentation.mixup is not None:
                    inputs, targets = self._mixed(augmentation.mixup, inputs, targets, positions)
                yield inputs, targets

    def _inputs(self, augmentation: Augmentation, chosen: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """float32 (B, h, w, C) or (B, T, h, w, C): all but mixup."""
        reader, preprocess = self.reader, self.preprocessing
        every = np.repeat(positions, reader.frames)            # the same draws for all frames of a video
        if self.inputs is not None:
            rows = (chosen[:, None] * reader.frames + np.arange(reader.frames)).ravel()
            pixel = preprocess.scale if preprocess.affine else 1.0
            images = augmentation.apply(self.inputs[rows], every, pixel)
        else:
            indices = self.indices[chosen]
            images = (reader.canvases(indices) if augmentation.decoded is None else
                      reader.parts(indices, augmentation.decoded, positions, reader.size))
            images = augmentation.apply(images, every, 1.0, preprocess, self.before)
        return reader.videos(views.middle(images, reader.size))

    def _mixed(self, mixup, inputs, targets, positions) -> tuple[np.ndarray, np.ndarray]:
        pairs = [mixup.apply(*one) for one in zip(
            inputs, np.eye(self.classes, dtype=np.float32)[targets], positions)]
        return tuple(np.stack(part) for part in zip(*pairs))


class Reader:
    """Stored images of any kind, brought to the canvas or cut from where they are. Videos are read as frames.

    size: (h, w) of the network's input; canvas: (h, w) of what is cropped from; frames: T of videos, else 1.
    """

    def __init__(self, images, size: tuple[int, int], enlarge: str, recipe: dict):
        self.images, self.size, self.enlarge = images, tuple(size), enlarge
        self.shorter = recipe.get("input", {}).get("shorter")
        self.canvas = canvas_size(self.size, self.shorter)
        self.encoded = not isinstance(images, np.ndarray)
        self.video = not self.encoded and images.ndim == 5
        self.frames = images.shape[1] if self.video else 1
        self.channels = images.decode(0).shape[-1] if self.encoded else images.shape[-1]

    def bytes(self, n: int) -> float:
        """Of n images on the canvas as float32; infinite for encoded ones, which are decoded when needed."""
        return math.inf if self.encoded else 4 * n * self.frames * math.prod(self.canvas) * self.channels

    def canvases(self, indices: np.ndarray) -> np.ndarray:
        """uint8 or float32 (n·T, *canvas, C) in 0..255."""
        if not self.encoded:
            images = self._flat(self.images[indices])
            if self.shorter is None:
                return fit_to(images, self.canvas, self.enlarge)
            if images.shape[1:3] == self.canvas:
                return images
        return self.parts(indices, Middle(), np.zeros(len(indices), int), self.canvas)

    def parts(self, indices: np.ndarray, cropping, positions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """uint8 (n·T, *size, C): of each image the part that `cropping` takes at its position of the epoch."""
        images = indices if self.encoded else self._flat(self.images[indices])
        every = np.repeat(positions, self.frames)
        parts = np.empty((len(every), *size, self.channels), np.uint8)

        def fill(row):
            parts[row] = self._part(images[row], cropping, every[row], size)

        for _ in _pool().map(fill, range(len(every))):
            pass                                # an exception of a thread comes here
        return parts

    def shape(self, index: int) -> tuple[int, int]:
        """(height, width) of a stored image."""
        return self._of_file(index, shape_of) if self.encoded else self.images.shape[-3:-1]

    def _part(self, image, cropping, position: int, size: tuple[int, int]) -> np.ndarray:
        """Of one stored array, or of the encoded image of that index. Several threads can do it at once."""
        if not self.encoded:
            return cut(image, cropping, position, size, self.channels)
        return self._of_file(image, lambda content: cut(content, cropping, position, size, self.channels))

    def _of_file(self, image: int, function):
        content = self.images.read(image)
        try:
            return function(content)
        except DataError:
            raise
        except Exception as error:              # Pillow's readers of damaged files raise all sorts
            raise self.images.damaged(image, error) from None

    def videos(self, images: np.ndarray) -> np.ndarray:
        """Frames (n·T, h, w, C) as videos (n, T, h, w, C); images as they are."""
        return images.reshape(-1, self.frames, *images.shape[1:]) if self.video else images

    def _flat(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(-1, *images.shape[-3:])


def fit_preprocessing(images, recipe: dict, size: tuple[int, int], enlarge: str,
                      indices: np.ndarray | None = None) -> Preprocessing:
    """The recipe's preprocessing, fitted to the images at `indices` (all by default) on their canvas.

    Where crop_resize or scale_crop leave no canvas, to the middle of the images at the input's size. Of arrays
    above 1.5 GiB as float32, to as many as that holds, evenly spaced; of encoded images to 4000, or as many as
    1.5 GiB hold as uint8.
    """
    indices = np.arange(len(images)) if indices is None else np.asarray(indices)
    reader = Reader(images, size, enlarge, {} if decodes(recipe) else recipe)
    kind = recipe["preprocess"]
    _, _, fitted = PREPROCESSINGS.get(kind if isinstance(kind, str) else kind["name"], (None, None, False))
    most = 1                                    # where only the shape counts
    if fitted:
        canvas = math.prod(reader.canvas) * reader.channels
        most = min(SAMPLE, int(MEMORY // canvas)) if reader.encoded else int(MEMORY // reader.bytes(1))
        most = max(1, most)
    if len(indices) > most:
        indices = indices[np.arange(most) * len(indices) // most]
    return Preprocessing.fit(kind, reader.canvases(indices))


def evaluation_inputs(images, size: tuple[int, int], enlarge: str, preprocessing: Preprocessing, recipe: dict,
                      indices: np.ndarray | None = None, block: int | None = None) -> Iterator[np.ndarray]:
    """The images at `indices` (all by default) in order, in blocks float32 (V, b, h, w, C): V views of each.

    The views are those of the recipe's `test`, see views.py; of "whole" images a block is a tuple of V arrays
    (b, h, w, C) instead, b images of one size. Nothing is drawn. block: b, by default what 64 MiB hold; the last may be
    smaller. Raises DataError where the recipe does not fit the images: at once, before the
    first block is asked for.
    """
    indices = np.arange(len(images)) if indices is None else np.asarray(indices)
    reader = Reader(images, size, enlarge, recipe)
    kind, scales = recipe.get("test", {}).get("views", "one"), recipe.get("test", {}).get("scales", ())
    count = views.count(kind, scales)
    if kind == "whole" and (reader.video or preprocessing.size):
        raise DataError("the views 'whole' are of images of any size, and " + (
            "these are videos" if reader.video else f"the preprocessing {preprocessing.kind!r} is of one"))
    if preprocessing.size not in (None, reader.size if kind in views.CUT_OUT else reader.canvas, reader.size):
        fitted, wanted = ("×".join(map(str, sides)) for sides in (preprocessing.size, size))
        raise DataError(f"the preprocessing {preprocessing.kind!r} was fitted to images of {fitted}, and the "
                        f"views are of {wanted}")
    if kind in views.SCALED:
        views.check(scales, reader.size)
    else:                                       # no image at all shows whether the sizes fit
        views.crops(reader.canvases(indices[:0]), reader.size, kind)
    if block is None:
        one = 4 * math.prod(reader.size) * reader.channels * reader.frames * count
        block = max(1, min(1000, BLOCK_MEMORY // one))
    if kind == "whole":
        return _whole_images(reader, preprocessing, indices, block, scales)
    return _evaluation_blocks(reader, preprocessing, indices, block, kind, scales)


def _evaluation_blocks(reader: Reader, preprocessing: Preprocessing, indices: np.ndarray, block: int, kind: str,
                       scales) -> Iterator[np.ndarray]:
    """What evaluation_inputs returns, once all of it has been checked."""
    for first in range(0, len(indices), block):
        some = indices[first:first + block]
        if kind in views.CUT_OUT:
            seen = np.stack([reader.parts(some, part, np.zeros(len(some), int), reader.size)
                             for part in views.parts(kind, scales)])
            seen = np.concatenate([seen, seen[:, :, :, ::-1]])
        else:
            canvases = reader.canvases(some)
            if preprocessing.size == reader.canvas:
                canvases = preprocessing.apply(canvases)
            seen = views.crops(canvases, reader.size, kind)
        if kind in views.CUT_OUT or preprocessing.size != reader.canvas:
            seen = np.stack([preprocessing.apply(view) for view in seen])
        yield np.stack([reader.videos(view) for view in seen])


def _whole_images(reader: Reader, preprocessing: Preprocessing, indices: np.ndarray, block: int, scales
                  ) -> Iterator[tuple[np.ndarray, ...]]:
    """Neighbours of one size go together."""
    for shape, run in itertools.groupby(indices, reader.shape):
        run = np.array(list(run))
        for first in range(0, len(run), block):
            some, seen = run[first:first + block], []
            for scale in scales:
                view = preprocessing.apply(reader.parts(some, views.WholeImage(), np.zeros(len(some), int),
                                                        canvas_size(shape, scale)))
                seen += [view, view[:, :, ::-1]]
            yield tuple(seen)


def canvas_size(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    """(h, w) of the proportions of `size` whose shorter side is `shorter`; None: `size` itself."""
    return tuple(size) if shorter is None else tuple(round(side * shorter / min(size)) for side in size)


def decodes(recipe: dict) -> bool:
    """Whether the recipe cuts its training images out of the decoded ones, and there is no canvas."""
    return any(named(one)[0] in DECODED for one in recipe["augment"])


def _place(preprocessing: Preprocessing, steps: list[tuple[str, dict]]) -> int:
    """Before which of an epoch's steps (those on decoded images and mixup not counted) preprocessing comes.

    First of all, as a rule. After jitter, which is defined on values in 0..255; colour noise is added to
    preprocessed inputs where that is an affine map, else it comes before it too. What takes each image on its own
    and is fitted to no size (per_image) sees the crop, as in TensorFlow's tutorial; cutting out comes after it.
    """
    names = [name for name, _ in steps if name not in DECODED and name != "mixup"]
    colours = [at for at, name in enumerate(names)
               if name == "jitter" or name == "colour_pca" and not preprocessing.affine]
    place = colours[-1] + 1 if colours else 0
    if preprocessing.size is None and not preprocessing.affine:
        place = max(place, names.index("cutout") if "cutout" in names else len(names))
    if preprocessing.size is not None and "random_crop" in names[:place]:
        raise DataError(f"the preprocessing {preprocessing.kind!r} is of the whole image, so random_crop must "
                        "come after the colours in `augment`")
    return place


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "decode")
