"""Top-1 and top-5 accuracy of a network on a stream of JPEG files: a paper's figure checked without any training."""
import collections
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from PIL import Image


class ImageError(ValueError):
    """An image that cannot be read, or scores that are no numbers; the text is one line."""


@dataclass(frozen=True)
class Accuracy:
    """Percent of `images` whose class is the best, or among the five best: of `classes` classes, and of all."""
    images: int
    classes: int
    top1: float
    top5: float
    top1_of_all: float
    top5_of_all: float


def prepare(jpeg: bytes, inputs) -> np.ndarray:
    """The middle of an image as uint8 (side, side, 3), RGB; inputs: an ImageInput. Raises ImageError."""
    image = _resized(_opened(jpeg), inputs.resize)
    left, top = (round((pixels - inputs.side) / 2) for pixels in image.size)
    return np.asarray(image.crop((left, top, left + inputs.side, top + inputs.side)))


def whole(jpeg: bytes, scales) -> list[np.ndarray]:
    """All of an image for each scale, which its shorter side becomes: uint8 (height, width, 3), RGB. Raises ImageError."""
    image = _opened(jpeg)
    return [np.asarray(_resized(image, scale)) for scale in scales]


def _opened(jpeg: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(jpeg)) as opened:
            return opened.convert("RGB")
    except Exception as error:                          # Pillow's readers of damaged files raise all sorts
        raise ImageError(f"an image that Pillow does not read ({error})") from None


def _resized(image: Image.Image, shorter: int) -> Image.Image:
    size = [int(shorter * pixels / min(image.size)) for pixels in image.size]           # cut off, as torchvision does
    return image.resize(size, Image.Resampling.BILINEAR)                                # Pillow antialiases


def scaled(images: np.ndarray, inputs) -> np.ndarray:
    """Network inputs, float32 (N, side, side, 3), of uint8 images."""
    return keras.applications.imagenet_utils.preprocess_input(images.astype("float32"), data_format="channels_last",
                                                              mode=inputs.mode)


def batches(records: Iterable[tuple[bytes, int]], read: Callable, size: int) -> Iterator[tuple[list, np.ndarray]]:
    """([read(jpeg), …], labels) of `size` records each; the next batch is read while the last one is computed."""
    records = iter(records)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead = collections.deque()

        def begin():
            part = list(itertools.islice(records, size))
            if part:
                ahead.append(([pool.submit(read, jpeg) for jpeg, _ in part], np.array([label for _, label in part])))
        begin()
        while ahead:
            images, labels = ahead.popleft()
            begin()
            yield [image.result() for image in images], labels


def rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the right one, int (N,), of scores (N, K); equal ones count in their order."""
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    return ((scores > own) | ((scores == own) & before)).sum(axis=1)


def accuracy(model: keras.Model, records, inputs, classes: tuple[int, ...], batch: int = 50,
             progress=None, scales=()) -> Accuracy:
    """Of a network of inputs (N, side, side, 3) and scores (N, K) on (JPEG, label) records.

    classes: for each label the network's class. progress: called with the number of images behind each batch. scales:
    the model is a fully convolutional one of logits and looks at whole images at each of them, and their mirror images.
    Raises ImageError for no image, one that cannot be read, and scores that are not finite.
    """
    picked, ranks, ranks_of_all = np.array(classes), [], []
    read = partial(whole, scales=scales) if scales else partial(prepare, inputs=inputs)
    for images, labels in batches(records, read, batch):
        if scales:
            scores = np.stack([_of_whole_views(model, views, inputs) for views in images])
        else:
            scores = np.asarray(model.predict_on_batch(scaled(np.stack(images), inputs)), "float32")
        if not np.isfinite(scores).all():
            raise ImageError(f"the scores of {model.name} are not finite: the weights do not fit what they are given")
        ranks.append(rank(scores[:, picked], labels))
        ranks_of_all.append(rank(scores, picked[labels]))
        if progress:
            progress(len(labels))
    if not ranks:
        raise ImageError("there is no image to measure an accuracy on")
    ranks, ranks_of_all = np.concatenate(ranks), np.concatenate(ranks_of_all)
    percent = lambda right: 100 * float(right.mean())                                   # noqa: E731
    return Accuracy(len(ranks), len(classes), percent(ranks < 1), percent(ranks < 5), percent(ranks_of_all < 1),
                    percent(ranks_of_all < 5))


def _of_whole_views(model, views: list[np.ndarray], inputs) -> np.ndarray:
    """The probabilities (K,) of one image, the mean over its sizes and over it and its mirror image."""
    logits = np.concatenate([np.asarray(model.predict_on_batch(scaled(np.stack([view, view[:, ::-1]]), inputs)), "float64")
                             for view in views])
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (scores / scores.sum(axis=1, keepdims=True)).mean(axis=0)
