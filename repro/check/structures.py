"""Operators that join, move or mix values, and dropout."""
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from ... import layers as L
from ...layers import dropout, reference, structure
from .backends import precision
from .case import Case


def cases(random) -> Iterator[Case]:
    """Where every value goes."""
    yield Case("PadChannels", "2 to 5 channels", {"input": random.normal(size=(2, 3, 3, 2))},
               lambda x: structure.pad_channels(x, 5), lambda x: ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, 3)]),
               lambda x: reference.pad_channels(x, 5), lambda dy, x: [reference.pad_channels_gradient(dy, 2)],
               ("input",))
    for text, shape, channels, axis in (("3 to 4 channels in axis 1", (2, 3, 2), 4, 1),
                                        ("3 of 3 channels", (2, 2, 3), 3, -1), ("no image", (0, 2, 3), 5, -1)):
        after = [(0, channels - shape[axis] if other == axis % 3 else 0) for other in range(3)]
        yield Case("PadChannels", text, {"input": random.normal(size=shape)},
                   lambda x, to=(channels, axis): structure.pad_channels(x, *to),
                   lambda x, after=after: ops.pad(x, after), lambda x, after=after: np.pad(x, after),
                   lambda dy, x: [dy[tuple(slice(0, n) for n in x.shape)]], ("input",))
    draw = lambda *shape: random.normal(size=shape)                                     # noqa: E731
    for text, shapes in (("two of a shape", [(2, 3, 2, 3)] * 2), ("three of a shape", [(2, 3, 4)] * 3),
                         ("one tensor", [(2, 5)]), ("no image", [(0, 3, 2)] * 2),
                         ("1×1×4 to 3×2×4", [(2, 3, 2, 4), (2, 1, 1, 4)]),
                         ("a row and a column", [(2, 1, 5), (2, 3, 1)])):
        yield _merging(text, "Add", [draw(*shape) for shape in shapes], lambda *tensors: structure.add(tensors),
                       lambda *tensors: sum(tensors[1:], tensors[0]), reference.add, reference.add_gradients)
    for text, shapes in (("2 and 3 channels", [(2, 3, 2, 2), (2, 3, 2, 3)]), ("1, 4 and 2 channels", [
            (3, 1), (3, 4), (3, 2)]), ("one tensor", [(2, 3)]), ("no image", [(0, 2), (0, 3)])):
        yield _merging(text, "Concatenate", [draw(*shape) for shape in shapes],
                       lambda *tensors: structure.concatenate(tensors), lambda *tensors: ops.concatenate(tensors, -1),
                       reference.concatenate, reference.concatenate_gradients)
    for text, shape, groups in (("2 groups of 3", (2, 2, 3, 6), 2), ("3 groups of 2", (2, 2, 3, 6), 3),
                                ("1 group", (2, 4), 1), ("every channel a group", (2, 3, 4), 4),
                                ("no image", (0, 2, 2, 6), 2)):
        yield Case("ChannelShuffle", text, {"input": draw(*shape)}, lambda x, g=groups: L.shuffle_channels(x, g),
                   lambda x, g=groups: ops.take(x, np.arange(x.shape[-1]).reshape(g, -1).T.ravel(), axis=-1),
                   lambda x, g=groups: reference.shuffle_channels(x, g),
                   lambda dy, x, g=groups: [reference.shuffle_channels_gradient(dy, g)], ("input",))
    for text, shape in (("2×3×2", (2, 3, 2, 3)), ("no image", (0, 3))):
        yield Case("HighwayGate", text, {"input": draw(*shape), "transformed": draw(*shape), "gate": draw(*shape)},
                   L.highway, lambda x, h, t: x + (h - x) * t, reference.highway, reference.highway_gradients)
    for text, shape, rate, noise_shape in (
            ("half of 60", (3, 20), 0.5, None), ("a tenth of 60", (3, 4, 5), 0.1, None), ("none", (2, 6), 0, None),
            ("whole maps", (3, 4, 2, 4), 0.4, (None, 1, 1, None)), ("half of no image", (0, 6), 0.5, None)):
        yield _dropout(text, draw(*shape), rate, noise_shape)
    for text, shape in (("half of 6 images", (6, 2, 3, 2)), ("half of no image", (0, 6))):
        yield _dropout(text, draw(*shape), 0.5, (None, *[1] * (len(shape) - 1)), "ScheduledDropPath")


def _merging(text, operator, tensors, ours, stock, output, loops) -> Case:
    return Case(operator, text, {f"input {index}": tensor for index, tensor in enumerate(tensors, 1)}, ours, stock,
                output, loops)


def _dropout(text, x, rate, noise_shape, operator="Dropout") -> Case:
    """Of paths m is one number an image, which the other axes share."""
    seed = 11
    # drawn here, in the dtype of the comparison: Keras draws other numbers in another, and TensorFlow under XLA
    mask = ops.convert_to_numpy(dropout.draw_mask(ops.ones(x.shape, precision()), rate, noise_shape, seed))
    drawn = mask[:, *[slice(1)] * (x.ndim - 1)] if operator == "ScheduledDropPath" else mask
    return Case(operator, text, {"input": x}, lambda x: dropout.drop(x, ops.cast(drawn, x.dtype)),
                lambda x: keras.random.dropout(x, rate, noise_shape, seed),
                lambda x: reference.dropout(x, mask > 0, rate),
                lambda dy, x: [reference.dropout_gradient(dy, mask > 0, rate)], ("input",))
