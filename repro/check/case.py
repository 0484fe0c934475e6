"""What a group of operators hands to the check."""
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from keras import ops


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


def channels_first(case: Case) -> Case:
    """A case whose `ours` wants channels first: so do the others, by transposing around the channels-last witness."""
    first, last = (lambda x: ops.moveaxis(x, -1, 1)), (lambda x: ops.moveaxis(x, 1, -1))
    to_first, to_last = (lambda x: np.moveaxis(x, -1, 1)), (lambda x: np.moveaxis(x, 1, -1))

    def loops(dy, x, *rest):
        dx, *others = case.loops(to_last(dy), to_last(x), *rest)
        return to_first(dx), *others

    return replace(case, text=f"{case.text}, channels first",
                   arguments=case.arguments | {"input": to_first(case.arguments["input"])},
                   stock=lambda x, *rest: first(case.stock(last(x), *rest)),
                   output=lambda x, *rest: to_first(case.output(to_last(x), *rest)), loops=loops)
