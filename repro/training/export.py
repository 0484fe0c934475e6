"""The model that a run leaves behind: raw images in, class scores out, usable by another project as it is."""
import os
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
from PIL import Image

from ...layers import ClassScores
from ..data.batches import canvas_size
from ..record import sync_folder

SWELLING = 100                  # a member's size over its share of the archive; weights hardly compress


def deployable(model: keras.Model, preprocessing, shape, enlarge: str, class_names,
               shorter: int | None = None) -> keras.Model:
    """Put the preprocessing in front of a model of logits and named class scores behind it.

    Input: images (N, any height, any width, C), values 0..255, brought to `shape` (H, W, C) first, then as in
    training: padded or resized to the network's input, scaled, shifted. Where stored images have sizes of their
    own (H None) or the recipe says `input.shorter`, the largest middle part is resized to that side instead, and
    its middle taken. Videos (N, T, h, w, C) are taken at the network's size. Output (N, K), rows sum to 1.
    """
    size = model.input_shape[-3:-1]
    if len(model.input_shape) == 5:
        inputs = keras.Input(model.input_shape[1:], name="video")
        x = preprocessing.layers(inputs)
    else:
        inputs = keras.Input((None, None, shape[-1]), name="image")
        x, at = _canvas(inputs, size, shape, enlarge, shorter)
        # what was fitted to the whole canvas comes before the crop, everything else sees what the network sees
        first = at != size and preprocessing.size == at
        x = preprocessing.layers(x) if first else x
        x = keras.layers.CenterCrop(*size, name="middle")(x) if at != size else x
        x = x if first else preprocessing.layers(x)
    scores = ClassScores(class_names, name="scores")(model(x))
    return keras.Model(inputs, scores, name=f"{model.name}_deployed")


def _canvas(x, size, shape, enlarge: str, shorter: int | None):
    """The images at the size that is cropped from, and that size: what data.batches.Reader does."""
    if shorter is not None or shape[0] is None:
        at = canvas_size(size, shorter)
        return keras.layers.Resizing(*at, crop_to_aspect_ratio=True, antialias=True, name="to_canvas")(x), at
    x = keras.layers.Resizing(*shape[:2], name="to_stored_size")(x)
    if size != tuple(shape[:2]):
        if enlarge == "resize":
            x = keras.layers.Resizing(*size, name="to_input_size")(x)
        else:
            top, left = (size[0] - shape[0]) // 2, (size[1] - shape[1]) // 2
            margins = ((top, size[0] - shape[0] - top), (left, size[1] - shape[1] - left))
            x = keras.layers.ZeroPadding2D(margins, name="to_input_size")(x)
    return x, size


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


def scores_of(model: keras.Model, images, block: int = 100) -> np.ndarray:
    """The scores (N, K) of encoded images (data.encoded) of many sizes: those of one size go together."""
    scores = {}
    for first in range(0, len(images), block):
        decoded = {index: images.decode(index) for index in range(first, min(first + block, len(images)))}
        for shape in {image.shape for image in decoded.values()}:
            alike = [index for index, image in decoded.items() if image.shape == shape]
            found = model.predict_on_batch(np.stack([decoded[index] for index in alike]).astype("float32"))
            scores.update(zip(alike, found))
    return np.stack([scores[index] for index in range(len(images))])


class ModelError(ValueError):
    """A file that is not a model or not an image; the text names it."""


def load(path: Path) -> keras.Model:
    """A saved model, in Keras's safe mode: no code from the file is run. Raises ModelError."""
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: not a model that can be loaded (a .keras file is a zip archive, and this is none)")
    try:
        _refuse_traps(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:              # a damaged file fails in whatever reader meets the damage
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: not a model that can be loaded ({reason})") from None


def _refuse_traps(path: Path) -> None:
    """Refuse what Keras never writes and its reader believes: members that swell, weights that are elsewhere.

    Keras 3.15 reads a compressed array of any size into memory before it looks at its shape.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > SWELLING * member.compress_size + 2**20:
                raise ValueError(f"{member.filename} would swell to {member.file_size:,} bytes")
            if not member.filename.endswith(".h5"):
                continue
            with archive.open(member) as file, h5py.File(file, "r") as weights:
                _refuse_foreign(weights, member.file_size)


def _refuse_foreign(group: h5py.Group, size: int) -> None:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{name} points to somewhere else")
        item = group[name]
        if isinstance(item, h5py.Group):
            _refuse_foreign(item, size)
        elif item.nbytes > size or item.external:
            raise ValueError(f"{item.name} claims {item.nbytes:,} bytes in a file of {size:,}")


def read_image(path: Path, channels: int) -> np.ndarray:
    """An image file as float32 (1, height, width, channels) in 0..255, grey or RGB. Raises ModelError."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), "float32")
    except Exception as error:              # Pillow's readers of damaged files raise all sorts
        raise ModelError(f"{path}: not an image that Pillow reads ({error})") from None
    return pixels.reshape(1, *pixels.shape[:2], channels)
