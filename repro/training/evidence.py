"""What the record keeps of a trained network, so that the report needs no TensorFlow: predictions, samples, kernels."""
import base64
import io

import numpy as np
from PIL import Image

RIGHT_AND_WRONG = 8         # samples of each kind
FEATURE_MAPS = 16
LARGEST_SIDE = 128          # pixels of a sample's picture
KERNELS = 64                # output channels of the first layer that are kept


def predictions(logits: np.ndarray, labels: np.ndarray) -> dict:
    """Label, chosen class and its score (in 1/1000) of every test image."""
    scores = softmax(logits)
    classes = logits.argmax(axis=1)
    chosen = scores[np.arange(len(classes)), classes]
    return {"labels": labels.tolist(), "classes": classes.tolist(),
            "scores": np.rint(1000 * chosen).astype(int).tolist()}


def drawn(logits: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> list[int]:
    """Some right and some wrong test images, by the seed and never by hand: their numbers."""
    right, found = logits.argmax(axis=1) == labels, []
    for kind in (True, False):
        found += sorted(random.permutation(np.flatnonzero(right == kind))[:RIGHT_AND_WRONG].tolist())
    return found


def samples(engine, drawn: list[int], images: list, inputs, labels, logits) -> list[dict]:
    """The drawn test images with their five best classes. images: as stored, uint8; inputs: as the network sees them.

    The saliency is max_c |∂ logit/∂ input|.
    """
    gradient = engine.input_gradients(inputs, logits[drawn].argmax(axis=1))
    saliency = np.abs(gradient).max(axis=-1, keepdims=True)
    scores = softmax(logits[drawn])
    rows = []
    for row, index in enumerate(drawn):
        best = np.argsort(-scores[row], kind="stable")[:5]
        rows.append({
            "index": index, "label": int(labels[index]), "right": bool(best[0] == labels[index]),
            "top5": [[int(k), round(float(scores[row, k]), 4)] for k in best],
            "image": png(images[row]), "saliency": png(stretched(saliency[row]))})
    return rows


def shown(image: np.ndarray) -> np.ndarray:
    """A stored uint8 image, made smaller where it is a large photograph: a record is to stay small."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else np.asarray(image))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(picture).reshape(*picture.size[::-1], image.shape[-1])


def learned(model, index: int, inputs: np.ndarray) -> dict | None:
    """The first convolution's kernels, and its output for test image `index`, whose inputs (1, H, W, C) are.

    None for a network without one.
    """
    import keras
    first = next((layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)), None)
    if first is None:
        return None
    kernel = np.asarray(keras.ops.convert_to_numpy(first.kernel), "float64")
    maps = keras.Model(model.inputs[0], first.output)(inputs)
    maps = keras.ops.convert_to_numpy(maps)[0]
    return {
        "layer": first.name, "shape": list(kernel.shape),
        "kernels": np.round(kernel[..., :KERNELS], 4).tolist(),
        "feature_maps": {"layer": first.name, "index": int(index), "images": [
            png(stretched(maps[..., k:k + 1])) for k in range(min(maps.shape[-1], FEATURE_MAPS))]}}


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def stretched(values: np.ndarray) -> np.ndarray:
    """Any (H, W, C) to uint8, the smallest value black and the largest white."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high) or high == low:
        return np.zeros(values.shape, np.uint8)
    return np.rint(255 * (values - low) / (high - low)).astype(np.uint8)


def png(image: np.ndarray) -> str:
    """uint8 (H, W, 1 or 3) as base64 PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
