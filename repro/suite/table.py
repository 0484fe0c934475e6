"""What a person sees of a suite: a table that follows it on a terminal, a line an event elsewhere, and its results."""
import math
import statistics
import sys
from pathlib import Path

from .state import State, state_of
from .trials import Suite


def rows(suite: Suite, runs: Path) -> list[tuple[str, State]]:
    return [(trial.name, state_of(trial, runs)) for trial in suite.trials]


def seconds_left(suite: Suite, runs: Path, jobs: int) -> float | None:
    """Until all have ended, from the speed of each, or of others of the same network and recipe; None where one has
    neither."""
    states = [(trial, state_of(trial, runs)) for trial in suite.trials]
    speeds = {}
    for trial, state in states:
        if state.seconds_a_step is not None:
            speeds[trial.network, trial.dataset, trial.recipe] = (state.seconds_a_step, state.steps)
    left = []
    for trial, state in states:
        seconds = state.seconds_left
        if seconds is None:
            speed = speeds.get((trial.network, trial.dataset, trial.recipe))
            if speed is None:
                return None
            seconds = speed[0] * (speed[1] - state.step)
        left.append(seconds)
    return max([sum(left) / jobs, *left])


def results(suite: Suite, runs: Path) -> list[str]:
    """A line for each network, data set and recipe: how many ended, mean and deviation of the test error."""
    groups = {}
    for trial in suite.trials:
        groups.setdefault((trial.network, trial.dataset, trial.recipe, trial.layers), []).append(state_of(trial, runs))
    lines = []
    for key, states in groups.items():
        errors = [state.test_error for state in states if state.test_error is not None]
        text = f"{statistics.mean(errors):.2f} %" if errors else "–"
        if len(errors) > 1:
            text += f" ± {statistics.stdev(errors):.2f}"
        other = {state.status for state in states} - {"finished"}
        lines.append(f"{' '.join(key[:3])}{' stock' * (key[3] == 'stock')}: test error {text} ({len(errors)} of "
                     f"{len(states)} seeds{', ' + ', '.join(sorted(other)) if other else ''})")
    return lines


def duration(seconds: float) -> str:
    """14 s, 3 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Follower:
    """`show` for Local: a table on a terminal, lines elsewhere."""

    def __init__(self, suite: Suite, runs: Path, jobs: int):
        self._suite, self._runs, self._jobs = suite, runs, jobs
        self._live, self._looks = None, 0

    def __enter__(self):
        if sys.stdout.isatty():
            from rich.live import Live
            self._live = Live(refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *_):
        if self._live:
            self._live.update(self._table())
            self._live.stop()

    def __call__(self, event: str | None, local) -> None:
        if event and not self._live:
            print(event, flush=True)
        self._looks += 1
        if self._live and (event or self._looks % 4 == 0):
            self._live.update(self._table())

    def _table(self):
        from rich.table import Table
        left = seconds_left(self._suite, self._runs, self._jobs)
        found = rows(self._suite, self._runs)
        done = sum(state.ended for _, state in found)
        caption = f"{done} of {len(found)} ended" + ("" if left is None or done == len(found) else
                                                      f", {duration(left)} left")
        table = Table(title=self._suite.title, caption=caption)
        for heading, justify in (("trial", "left"), ("status", "left"), ("steps", "right"), ("left", "right"),
                                 ("test error", "right")):
            table.add_column(heading, justify=justify)
        for name, state in found:
            steps = "" if state.steps is None else f"{state.step:,} of {state.steps:,}"
            seconds = state.seconds_left
            table.add_row(name, state.status, steps, "" if state.ended or seconds is None else duration(seconds),
                          "" if state.test_error is None else f"{state.test_error:.2f} %")
        return table
