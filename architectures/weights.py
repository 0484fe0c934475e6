"""Weights of other projects: what is wrong with them in one line, and the one way in, which is all or nothing."""
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import keras
import numpy as np


class WeightsError(ValueError):
    """Weights that do not fit, or a file that cannot be read; the text is one line and says what was expected."""


@dataclass(frozen=True)
class Weight:
    """A variable of ours and the array of another project that it takes."""
    variable: keras.Variable
    shape: tuple[int, ...]                                                  # as the other project has it
    turn: Callable[[np.ndarray], np.ndarray] = lambda theirs: theirs        # their array → ours


def fill(name: str, wanted: Mapping[str, Weight], found: Mapping[str, np.ndarray], source: str,
         ignored: Collection[str] = ()) -> None:
    """Give every variable of the network `name` its array; both mappings go by the other project's names.

    Each name of one is in the other too, except for those of `found` that are `ignored`, and each shape is the one
    expected. Otherwise WeightsError says how `source` differs, and no variable has changed.
    """
    missing = [key for key in wanted if key not in found]
    over = [key for key in found if key not in wanted and key not in ignored]
    shapes = [f"{key} is {text(found[key].shape)} instead of {text(weight.shape)}"
              for key, weight in wanted.items() if key in found and found[key].shape != weight.shape]
    integers = [f"{key} is of {found[key].dtype} instead of real numbers"
                for key in wanted if key in found and found[key].dtype.kind != "f"]
    faults = [_some("it lacks ", missing), _some("it has left over ", over), _some("", shapes), _some("", integers)]
    if any(faults):
        raise WeightsError(f"{source} does not fit {name}: {'; '.join(fault for fault in faults if fault)}")
    turned = {key: weight.turn(found[key]) for key, weight in wanted.items()}
    for key, weight in wanted.items():
        weight.variable.assign(turned[key])


def text(shape) -> str:
    """(64, 3, 7, 7) as 64×3×7×7."""
    return "×".join(map(str, shape)) or "one number"


def _some(what: str, faults: list[str], count=2) -> str:
    more = f" and {len(faults) - count} more" if len(faults) > count else ""
    return what + ", ".join(faults[:count]) + more if faults else ""
