"""The model that a run leaves behind: raw images in, class scores out, usable by another project as it is."""
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from ...layers import ClassScores
from ..record import sync_folder


def deployable(model: keras.Model, preprocessing, shape, enlarge: str, class_names) -> keras.Model:
    """Put the preprocessing in front of a model of logits and named class scores behind it.

    Input: images (N, any height, any width, C), values 0..255, brought to `shape` (H, W, C) first, then as in
    training: padded or resized to the network's input, scaled, shifted. Output (N, K), rows sum to 1.
    """
    height, width = model.input_shape[1:3]
    inputs = keras.Input((None, None, shape[2]), name="image")
    x = keras.layers.Resizing(*shape[:2], name="to_stored_size")(inputs)
    if (height, width) != tuple(shape[:2]):
        if enlarge == "resize":
            x = keras.layers.Resizing(height, width, name="to_input_size")(x)
        else:
            top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
            margins = ((top, height - shape[0] - top), (left, width - shape[1] - left))
            x = keras.layers.ZeroPadding2D(margins, name="to_input_size")(x)
    x = keras.layers.Rescaling(preprocessing.scale.tolist(), preprocessing.offset.tolist(), name="normalise")(x)
    scores = ClassScores(class_names, name="scores")(model(x))
    return keras.Model(inputs, scores, name=f"{model.name}_deployed")


def save(model: keras.Model, path: Path) -> Path:
    """Write `model` to `path` (.keras) so that the old file or the whole new one is there at any moment."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")      # Keras insists on the ending
    try:
        model.save(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path


class ModelError(ValueError):
    """A file that is not a model or not an image; the text names it."""


def load(path: Path) -> keras.Model:
    """A saved model, in Keras's safe mode: no code from the file is run. Raises ModelError."""
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: not a model that can be loaded (a .keras file is a zip archive, and this is none)")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:              # a damaged file fails in whatever reader meets the damage
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: not a model that can be loaded ({reason})") from None


def read_image(path: Path, channels: int) -> np.ndarray:
    """An image file as float32 (1, height, width, channels) in 0..255, grey or RGB. Raises ModelError."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), "float32")
    except Exception as error:              # Pillow's readers of damaged files raise all sorts
        raise ModelError(f"{path}: not an image that Pillow reads ({error})") from None
    return pixels.reshape(1, *pixels.shape[:2], channels)
