"""Operators that move values."""
from collections.abc import Iterator

from keras import ops

from ...layers import reference, structure
from .case import Case


def cases(random) -> Iterator[Case]:
    """Where every value goes."""
    yield Case("PadChannels", "2 to 5 channels", {"input": random.normal(size=(2, 3, 3, 2))},
               lambda x: structure.pad_channels(x, 5), lambda x: ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, 3)]),
               lambda x: reference.pad_channels(x, 5), lambda dy, x: [reference.pad_channels_gradient(dy, 2)],
               ("input",))
