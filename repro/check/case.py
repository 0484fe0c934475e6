"""What a group of operators hands to the check."""
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One operator on given arguments (name → float64 array); functions take the arguments in that order.

    ours, stock: functions of backend tensors, the second made of what Keras has.
    output, loops: their definition in layers/reference, functions of NumPy arrays:
    output(*arguments) -> y        loops(dy, *arguments) -> one gradient an argument
    linear: the arguments in which the operator is linear, each taken alone.
    """
    operator: str
    text: str
    arguments: dict
    ours: Callable
    stock: Callable
    output: Callable
    loops: Callable
    linear: tuple[str, ...] = ()
    smooth: bool = True                 # False: a tie or a kink, where central differences mean nothing
    twice: bool = True                  # False: the stock operator has no second derivative, or not this one
