"""A gradient, and the forms in which it could be computed."""
from collections.abc import Callable
from dataclasses import dataclass


class Inapplicable(ValueError):
    """A form that this window does not allow."""


@dataclass(frozen=True)
class Question:
    """stock, candidates: functions of (*arrays, window). A candidate's docstring is its formula, the first ours."""
    text: str
    arrays: tuple
    window: object
    stock: Callable
    candidates: tuple[Callable, ...]
