"""Weights of other projects: what is wrong with them in one line, and the one way in, which is all or nothing."""
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import keras
import numpy as np


class WeightsError(ValueError):
    """Weights that do not fit, or a file that cannot be read; the text is one line and says what was expected."""


@dataclass(frozen=True)
class Weight:
    """A variable of ours and what it takes from the other project."""
    variable: keras.Variable
    shape: tuple[int, ...]                                  # as the other project has it
    turn: Callable[[np.ndarray], np.ndarray] = lambda theirs: theirs        # their array → ours


def fill(name: str, wanted: Mapping[str, Weight], found: Mapping[str, np.ndarray], source: str,
         ignored: Iterable[str] = ()) -> None:
    """Give every variable of the network `name` its array: wanted and found have the other project's names.

    Every name of one is in the other, but for those of `found` that are `ignored`, and every shape is what it
    should be; otherwise WeightsError says what is not so of `source`, and no variable has changed.
    """
    missing = [key for key in wanted if key not in found]
    over = [key for key in found if key not in wanted and key not in set(ignored)]
    shapes = [f"{key} is {_text(found[key].shape)} where {_text(weight.shape)} is expected"
              for key, weight in wanted.items() if key in found and found[key].shape != weight.shape]
    faults = [f"{what} {_first(keys)}" for what, keys in (("it lacks", missing), ("it has left over", over), ("", shapes))
              if keys]
    if faults:
        raise WeightsError(f"{source} does not fit {name}: {'; '.join(faults)}".replace(";  ", "; ").replace(":  ", ": "))
    arrays = {key: _turned(key, weight, found[key], source) for key, weight in wanted.items()}
    for key, weight in wanted.items():
        weight.variable.assign(arrays[key])


def _turned(key, weight, array, source):
    turned = weight.turn(np.asarray(array))
    if turned.dtype.kind != "f":
        raise WeightsError(f"{key} in {source} is of {turned.dtype}, where real numbers are expected")
    if turned.shape != tuple(weight.variable.shape):
        raise WeightsError(f"{key} in {source} becomes {_text(turned.shape)}, which is not {weight.variable.path}'s "
                           f"{_text(weight.variable.shape)}")
    return turned


def _first(keys, count=2) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more


def _text(shape) -> str:
    return "×".join(map(str, shape)) or "a single number"
