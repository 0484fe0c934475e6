"""The learning rate of every step, as the papers state it."""


class Schedule:
    """Rates by iteration (He et al. 2016: 0.1, divided by 10 at 32k and 48k) or by epoch (LeCun et al. 1998).

    resolved: a recipe's checked `schedule`. steps_per_epoch: iterations in one pass.
    `steps` is the number of iterations in all; the last epoch may be a part of one.
    """

    def __init__(self, resolved: dict, steps_per_epoch: int):
        self._of, self._epoch = resolved, steps_per_epoch
        self.warming = "warmup" in resolved
        if resolved["kind"] == "epochs":
            self.steps = len(resolved["rates"]) * steps_per_epoch
        else:
            unit = steps_per_epoch if resolved.get("unit", "iterations") == "epochs" else 1
            self._at = [place * unit for place in resolved.get("at", [])]
            self.steps = resolved["stop"] * unit

    @property
    def epochs(self) -> int:
        """The number of epochs begun."""
        return -(-self.steps // self._epoch)

    def rate(self, step: int) -> float:
        """The rate of iteration `step`, counted from 0."""
        if self.warming:
            return self._of["warmup"]["rate"]
        if self._of["kind"] == "epochs":
            return self._of["rates"][step // self._epoch]
        return self._of["rate"] * self._of.get("factor", 0.1) ** sum(step >= place for place in self._at)

    def observe(self, train_error: float) -> None:
        """End the warm-up once the running training error (percent) is below its mark (He et al. 2016, section 4.2)."""
        if self.warming and train_error < self._of["warmup"]["until_train_error"]:
            self.warming = False
