"""A formula made wrong on purpose."""
from collections.abc import Callable
from dataclasses import dataclass, field

WRONG = 1.001                           # by one part in a thousand


@dataclass(frozen=True)
class Sabotage:
    """A formula, its output (None: it has only one), a layer that uses it, the gradients that must go wrong.

    module: where the formula stands. operator: its name in the check. subject: () -> the layer, or a function of the
    tensors, whose shapes and names follow. changes: names of tensors and of the layer's weights.
    """
    module: object
    formula: str
    operator: str
    subject: Callable
    changes: set
    output: int | None = None
    tensors: tuple = ((2, 6, 6, 4),)
    names: tuple = ("input",)
    training: bool = False              # the layer is called with training=True
    xla: bool = True
    limits: dict = field(default_factory=dict)      # constants of the module by which a small layer reaches the formula

    def __str__(self):
        return f"{self.formula}{'' if self.output is None else f'[{self.output}]'}-{self.operator}"

    def commit(self, monkeypatch):
        """From now on the formula's output is wrong."""
        right = getattr(self.module, self.formula)

        def wrong(*arguments, **named):
            result = right(*arguments, **named)
            if self.output is None:
                return result * WRONG
            return tuple(value * WRONG if index == self.output else value for index, value in enumerate(result))

        monkeypatch.setattr(self.module, self.formula, wrong)
        for name, limit in self.limits.items():
            monkeypatch.setattr(self.module, name, limit)
