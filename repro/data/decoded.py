"""From a photograph of any size to the network's input: random crops in training, the middle one otherwise."""
import io
import math

import numpy as np
from PIL import Image

from .sources import DataError

ATTEMPTS = 10


class CropResize:
    """A random part of the image's area, of a random aspect ratio, resized to the input (bilinear).

    Szegedy et al. 2015, section 6: area 8 % to 100 %, width : height in 3/4..4/3. As in torchvision the area and
    the logarithm of the ratio are drawn uniformly, up to ten times until they fit; if none does, the largest
    middle part whose ratio is the nearest of those allowed.
    """
    OPTIONS = {"area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)}

    def __init__(self, draws, area, aspect):
        self.aspect = aspect
        # (n, ATTEMPTS, 4): area, ratio, and the place down and across; 205 MB of ImageNet, so they are changed in place
        self.draw = draws.uniform32("crop_resize", ATTEMPTS, 4)
        areas, ratios, (low, high) = self.draw[..., 0], self.draw[..., 1], np.log(aspect)
        areas *= area[1] - area[0]
        areas += area[0]
        ratios *= high - low
        ratios += low
        np.exp(ratios, out=ratios)

    def box(self, position: int, height: int, width: int, size) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in an image of height × width; whole pixels."""
        for area, ratio, lower, further in self.draw[position].tolist():
            across = round((area * height * width * ratio) ** 0.5)
            down = round((area * height * width / ratio) ** 0.5)
            if 0 < across <= width and 0 < down <= height:
                top, left = int(lower * (height - down + 1)), int(further * (width - across + 1))
                return left, top, left + across, top + down
        ratio = min(max(width / height, self.aspect[0]), self.aspect[1])
        across, down = min(width, round(height * ratio)), min(height, round(width / ratio))
        left, top = (width - across) // 2, (height - down) // 2
        return left, top, left + across, top + down


class ScaleCrop:
    """The shorter side resized to s, drawn of shorter[0]..shorter[1], and a crop of the input's size anywhere.

    Simonyan & Zisserman 2015, section 3.1 (256..512); He et al. 2016, section 3.4 (256..480).
    """
    OPTIONS = {"shorter": None}

    def __init__(self, draws, shorter):
        low, high = shorter
        draw = draws.uniform("scale_crop", 3)
        self.shorter = low + (draw[:, 0] * (high - low + 1)).astype(int)
        self.places = draw[:, 1:]

    def box(self, position: int, height: int, width: int, size) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in an image of height × width, in fractions of a pixel."""
        scale = min(height, width) / self.shorter[position]
        room = np.array([height, width]) / scale - size
        if room.min() < -1e-6:
            raise DataError(f"no crop of {size[0]}×{size[1]} in an image whose shorter side is "
                            f"{self.shorter[position]}: scale_crop.shorter must not be below the input's size")
        room = np.maximum(room, 0)
        top, left = np.minimum(np.floor(self.places[position] * (room.round() + 1)), room) * scale
        return _within((left, top, left + size[1] * scale, top + size[0] * scale), height, width)


class Middle:
    """The largest middle part of the input's proportions: the longer side is cut off on both ends."""

    def box(self, position: int, height: int, width: int, size) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in an image of height × width, in fractions of a pixel."""
        scale = min(height / size[0], width / size[1])
        # from a whole pixel on, as keras.layers.Resizing(crop_to_aspect_ratio=True) in the deployed model
        left, top = (width - size[1] * scale) // 2, (height - size[0] * scale) // 2
        return _within((left, top, left + size[1] * scale, top + size[0] * scale), height, width)


def cut(image: np.ndarray | bytes, cropping, position: int, size: tuple[int, int], channels: int) -> np.ndarray:
    """uint8 (*size, C): the part of one image that `cropping.box` names, resized (bilinear, antialiased).

    image: uint8 (h, w, C), or the bytes of a JPEG or PNG file: of a JPEG only as many pixels are decoded as the
    part needs, in steps of 2 (the box is in the whole image's pixels, so the draws do not depend on that).
    """
    opened = Image.open(io.BytesIO(image)) if isinstance(image, bytes) else Image.fromarray(_plain(image))
    width, height = opened.size
    left, top, right, bottom = cropping.box(position, height, width, size)
    if isinstance(image, bytes) and opened.format == "JPEG":
        mode = "L" if channels == 1 else "RGB"
        opened.draft(mode, (math.ceil(width * size[1] / (right - left)),
                            math.ceil(height * size[0] / (bottom - top))))
        across, down = opened.size[0] / width, opened.size[1] / height
        left, top, right, bottom = left * across, top * down, right * across, bottom * down
    if opened.mode != ("L" if channels == 1 else "RGB"):
        opened = opened.convert("L" if channels == 1 else "RGB")
    box = _within((left, top, right, bottom), opened.size[1], opened.size[0])
    pixels = np.asarray(opened.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))
    return pixels.reshape(*size, channels)


def shape_of(image: bytes) -> tuple[int, int]:
    """(height, width) of the picture in a JPEG or PNG file."""
    with Image.open(io.BytesIO(image)) as opened:
        return opened.height, opened.width


def _within(box, height: int, width: int):
    """Rounding may put a border a little outside, which Pillow refuses."""
    left, top, right, bottom = (float(number) for number in box)
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def _plain(image: np.ndarray) -> np.ndarray:
    """What Pillow takes: (h, w) of one channel or (h, w, 3)."""
    return np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image)
