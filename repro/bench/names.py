"""What can be asked for by name; known before any backend starts."""
from difflib import get_close_matches

from .networks import NETWORKS
from .operators import OPERATORS


def names() -> list[str]:
    """The networks, then the layers."""
    return [network.name for network in NETWORKS] + list(dict.fromkeys(operator.layer for operator in OPERATORS))


def check(chosen) -> None:
    """Raises LookupError for a name that is none, with the nearest one."""
    for name in chosen:
        if name not in names():
            near = get_close_matches(name, names(), 1)
            raise LookupError(f"no network or operator {name!r}"
                              + (f", did you mean {near[0]!r}?" if near else f"; there are {', '.join(names())}"))
