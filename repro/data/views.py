"""The views of an image whose scores are averaged when it is tested.

    one     the middle crop
    five    the four corners and the middle
    ten     the same and their mirror images (Krizhevsky et al. 2012, section 4.1)
    multi   for each scale the image with its shorter side resized to it, of that three squares (left, middle,
            right, or top, middle, bottom), of each the four corners, the middle, and the whole square resized; and
            their mirror images: 4 scales are 144 views (Szegedy et al. 2015, section 7)
    grid    for each scale the image with its shorter side resized to it, of that 5 × 5 crops, evenly from edge to edge;
            and their mirror images: 3 scales are 150 views (Simonyan and Zisserman 2015, section 3.2)
    whole   for each scale the image with its shorter side resized to it, all of it, and its mirror image: what the
            fully convolutional form of a network looks at (Simonyan and Zisserman 2015, section 3.2)
"""
from dataclasses import dataclass
from itertools import product

import numpy as np

from .sources import DataError

CUT_OUT = ("multi", "grid")                 # of the stored image at several scales, which no canvas comes between
SCALED = (*CUT_OUT, "whole")
VIEWS = ("one", "five", "ten", *SCALED)
PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))     # (down, across), as parts of the room


def count(kind: str, scales=()) -> int:
    """V. Raises DataError for an unknown kind, and for one of SCALED without scales."""
    if kind not in VIEWS:
        raise DataError(f"no views {kind!r}, expected one of: {', '.join(VIEWS)}")
    if kind in SCALED and not len(scales):
        raise DataError(f"the views {kind!r} need test.scales, such as [256, 288, 320, 352]")
    return {"one": 1, "five": 5, "ten": 10, "multi": len(scales) * 3 * 6 * 2, "grid": len(scales) * 25 * 2,
            "whole": len(scales) * 2}[kind]


def worth(kind: str, scales, side: int | None) -> float:
    """How many inputs of side × side the views of an image are in work; a whole image by its area, as if it were square."""
    if kind == "whole" and side:
        return 2 * sum((scale / side)**2 for scale in scales)
    return count(kind, scales)


def check(scales, size: tuple[int, int]) -> None:
    """Raises DataError for a scale at which a square image is smaller than the input `size`."""
    for scale in scales:
        if scale < max(size):
            raise DataError(f"no view of {size[0]}×{size[1]} at the scale {scale} of test.scales")


def middle(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle (n, *size, C) of images (n, H, W, C); of an odd rest more is cut off below and on the right.

    Raises DataError where the images are smaller.
    """
    return _crop(images, size, (0.5, 0.5))


def crops(images: np.ndarray, size: tuple[int, int], kind: str) -> np.ndarray:
    """The views (V, n, *size, C) of images (n, H, W, C) for "one", "five" and "ten"; the dtype is kept."""
    if kind == "one":
        return middle(images, size)[None]
    seen = np.stack([_crop(images, size, place) for place in PLACES])
    return seen if kind == "five" else np.concatenate([seen, seen[:, :, :, ::-1]])


def parts(kind: str, scales) -> list["SquarePart | GridPart"]:
    """Those of "multi" and "grid", without their mirror images: scale by scale, square by square, row by row."""
    if kind == "grid":
        return [GridPart(scale, place) for scale in scales for place in product((0.0, 0.25, 0.5, 0.75, 1.0), repeat=2)]
    return [SquarePart(scale, along, place) for scale in scales for along in (0.0, 0.5, 1.0)
            for place in (*PLACES, None)]


@dataclass(frozen=True)
class SquarePart:
    """Of the image at `scale` the square `along` its longer side, of that the crop at `place`; None: all of it."""
    scale: int
    along: float
    place: tuple[float, float] | None

    def box(self, position: int, height: int, width: int, size: tuple[int, int]) -> tuple[float, ...]:
        """(left, top, right, bottom) in an image of height × width, in fractions of a pixel."""
        side = min(height, width)
        top, left = (height - side) * self.along, (width - side) * self.along
        if self.place is None:
            return left, top, left + side, top + side
        return _box_at(self.scale, self.place, left, top, side, side, size)


@dataclass(frozen=True)
class GridPart:
    """Of the image at `scale` the crop at `place`."""
    scale: int
    place: tuple[float, float]

    def box(self, position: int, height: int, width: int, size: tuple[int, int]) -> tuple[float, ...]:
        """(left, top, right, bottom) in an image of height × width, in fractions of a pixel."""
        return _box_at(self.scale, self.place, 0, 0, height, width, size)


def _box_at(scale: int, place, left: float, top: float, height: int, width: int, size) -> tuple[float, ...]:
    """Of the part of height × width at (left, top), whose shorter side becomes `scale`, the crop of `size` at `place`."""
    check([scale], size)
    pixel = min(height, width) / scale
    top += np.floor((height / pixel - size[0]) * place[0]) * pixel
    left += np.floor((width / pixel - size[1]) * place[1]) * pixel
    return left, top, left + size[1] * pixel, top + size[0] * pixel


@dataclass(frozen=True)
class WholeImage:
    """Of an image all."""

    def box(self, position: int, height: int, width: int, size: tuple[int, int]) -> tuple[float, ...]:
        return 0, 0, width, height


def _crop(images: np.ndarray, size: tuple[int, int], place: tuple[float, float]) -> np.ndarray:
    room = images.shape[1] - size[0], images.shape[2] - size[1]
    if min(room) < 0:
        raise DataError(f"images of {images.shape[1]}×{images.shape[2]} are smaller than the input of "
                        f"{size[0]}×{size[1]}; state input.shorter, or a random_crop.size of the input's")
    top, left = (int(space * part) for space, part in zip(room, place))
    return images[:, top:top + size[0], left:left + size[1]]
