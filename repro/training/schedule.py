"""The learning rate of every step, as the papers state it."""
import math


class Schedule:
    """The rate η of iteration i = 0, 1, …, of a recipe's checked `schedule`.

    steps_per_epoch: iterations in one pass. t = i, or i / steps_per_epoch where the recipe's unit is "epochs";
    T is the whole length in that unit, `stop`; r is `rate`, f `factor`.

        step         η = r · f^(number of `at` ≤ t), f 0.1 unless stated          He et al. 2016, section 4.2
        epochs       η = rates[epoch]                                             LeCun et al. 1998, section III.B
        constant     η = r
        plateau      η = r · f^k, f 0.1 unless stated: k grows by one after `patience` epochs in a row in which
                     what is watched had no new lowest value, up to `reductions`. Krizhevsky et al. 2012, section 5
        exponential  η = max(`floor`, r · f^⌊t / every⌋); without ⌊⌋ where `staircase` is false.
                     Szegedy et al. 2016, section 8; TensorFlow's exponential_decay
        polynomial   η = r · (1 − t/T)^power                                      Caffe's "poly"
        inverse      η = r · (1 + gamma · t)^−power                               Caffe's "inv"
        cosine       η = r · (1 + cos(π t/T)) / 2                                 Loshchilov, Hutter 2017, eq. 5
        linear       straight lines between `points` (t, η)

    A warm-up replaces the beginning and moves nothing after it: `rate` as long as t < `until`, or until the
    running training error (percent) is below `until_train_error` (He et al. 2016, section 4.2); or a straight rise
    from `from` to the schedule's own rate at t = `until` (Goyal et al. 2017, section 2.2).
    `early_stop` sets `finished` after `patience` epochs in a row in which what is watched had no new lowest value
    (Kipf and Welling 2017, section 5.2).

    `steps` is the number of iterations in all; the last epoch may be a part of one. What is observed, and so is no
    function of i, is in `state()`, for checkpoints.
    """

    def __init__(self, resolved: dict, steps_per_epoch: int):
        self._of, self._epoch = resolved, steps_per_epoch
        in_epochs = resolved["kind"] == "epochs" or resolved.get("unit") == "epochs"
        self._unit = steps_per_epoch if in_epochs else 1
        if resolved["kind"] == "epochs":
            last = len(resolved["rates"])
        else:
            last = resolved["points"][-1][0] if resolved["kind"] == "linear" else resolved["stop"]
        self.steps = round(last * self._unit)
        self._warmup = resolved.get("warmup", {})
        self.warming = "until_train_error" in self._warmup
        self.reductions = 0
        self.finished = False               # early: before `steps`
        self._watches = {}
        if resolved["kind"] == "plateau":
            self._watches["plateau"] = _Watch(resolved["watch"], resolved["patience"])
        if "early_stop" in resolved:
            self._watches["early_stop"] = _Watch(**resolved["early_stop"])

    @classmethod
    def over(cls, recipe: dict, images: int) -> "Schedule":
        """A resolved recipe's, of so many training images: ⌈images / batch⌉ iterations in one pass."""
        return cls(recipe["schedule"], math.ceil(images / recipe["batch"]))

    @property
    def epochs(self) -> int:
        """The number of epochs begun."""
        return -(-self.steps // self._epoch)

    def rate(self, step: int) -> float:
        """The rate of iteration `step`, counted from 0."""
        if self.warming:
            return self._warmup["rate"]
        until = self._warmup.get("until", 0) * self._unit
        if step < until:
            if "rate" in self._warmup:
                return self._warmup["rate"]
            first = self._warmup["from"]
            return first + (self._own_rate(until) - first) * step / until
        return self._own_rate(step)

    def _own_rate(self, step: float) -> float:
        of, t = self._of, step / self._unit
        match of["kind"]:
            case "step":
                passed = sum(step >= at * self._unit for at in of.get("at", []))
                return of["rate"] * of.get("factor", 0.1) ** passed
            case "epochs":
                return of["rates"][min(int(step // self._epoch), len(of["rates"]) - 1)]
            case "constant":
                return of["rate"]
            case "plateau":
                return of["rate"] * of.get("factor", 0.1) ** self.reductions
            case "exponential":
                stairs = step // (of["every"] * self._unit) if of.get("staircase", True) else t / of["every"]
                return max(of.get("floor", 0.0), of["rate"] * of["factor"] ** stairs)
            case "polynomial":
                return of["rate"] * (1 - min(step / self.steps, 1)) ** of["power"]
            case "inverse":
                return of["rate"] * (1 + of["gamma"] * t) ** -of["power"]
            case "cosine":
                return of["rate"] * (1 + math.cos(math.pi * min(step / self.steps, 1))) / 2
            case "linear":
                for (place, rate), (next_place, next_rate) in zip(of["points"], of["points"][1:]):
                    if t < next_place:
                        return rate + (next_rate - rate) * (t - place) / (next_place - place)
                return of["points"][-1][1]
        raise ValueError(f"no schedule {of['kind']!r}")

    def observe_training(self, train_error: float) -> None:
        """End a warm-up that waits for it, once the running training error (percent) is below its mark."""
        if self.warming and train_error < self._warmup["until_train_error"]:
            self.warming = False

    def observe_epoch(self, row: dict) -> None:
        """Look at an epoch's train_error, validation_loss or validation_error: a plateau may lower the rate."""
        if "plateau" in self._watches and self._watches["plateau"].ran_out(row):
            self.reductions = min(self.reductions + 1, self._of.get("reductions", self.reductions + 1))
        if "early_stop" in self._watches and self._watches["early_stop"].ran_out(row):
            self.finished = True

    def state(self) -> dict:
        """What was observed so far, in JSON's numbers: all that a resumed run cannot know from the step."""
        found = {"warming": int(self.warming), "finished": int(self.finished), "reductions": self.reductions}
        for name, watch in self._watches.items():
            found[f"{name}.waited"] = watch.waited
            if watch.best is not None:
                found[f"{name}.best"] = watch.best
        return found

    def restore(self, state: dict) -> None:
        """Go on where `state()` was taken. Raises KeyError where it was taken of another kind of schedule."""
        self.warming, self.finished = bool(state["warming"]), bool(state["finished"])
        self.reductions = state["reductions"]
        for name, watch in self._watches.items():
            watch.waited, watch.best = state[f"{name}.waited"], state.get(f"{name}.best")


class _Watch:
    """Counts epochs in a row that bring no new lowest value."""

    def __init__(self, watch: str, patience: int):
        self.key, self.patience = watch, patience
        self.waited, self.best = 0, None

    def ran_out(self, row: dict) -> bool:
        """Whether this epoch was the last that patience allowed; counting then begins again."""
        value = row[self.key]                   # None: a loss that was no number, so no improvement
        if value is not None and (self.best is None or value < self.best):
            self.best, self.waited = value, 0
            return False
        self.waited += 1
        if self.waited < self.patience:
            return False
        self.waited = 0
        return True
