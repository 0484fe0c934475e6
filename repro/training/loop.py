"""The loop: steps and epochs that can be left after any step and entered again there, bit for bit.

A step depends on the state that a checkpoint holds (weights, velocities, dropout's seeds, what the schedule has
observed) and on draws keyed with (seed, epoch, purpose), never on a generator that moves on by itself.
"""
import contextlib
import io
import math
import signal
import threading
import time

import numpy as np

from .. import data as datasets
from . import checkpoint
from .engine import Together
from .progress import Progress

CHECK_EVERY = 50            # steps between looks at the loss; looking waits for the device
SAVE_EVERY = 600            # seconds between checkpoints inside a long epoch; there is one after every epoch as well


class TrainingStopped(BaseException):
    """A run that ended before its schedule did. `status` goes into the record, the text says why.

    No Exception: a signal raises it inside whatever runs, and Keras makes exceptions of a layer's call into others,
    AutoGraph and readers of damaged files swallow them.
    """

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


class _Asked(Exception):
    """A signal came during the validation."""


class Signals:
    """Within it Ctrl-C and SIGTERM end a run as "interrupted": at once, or where `waiting` is set after the step.

    A second one while the first waits ends it at once too: what the last checkpoint does not hold is lost.
    """

    def __init__(self):
        self.asked, self.waiting = None, False

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._ask) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number, _):
        name = signal.Signals(number).name
        if not self.waiting:
            raise TrainingStopped("interrupted", f"{name}; the same command goes on")
        if self.asked:
            raise TrainingStopped("interrupted", f"{name}, after {self.asked}; the same command goes on")
        self.asked = name

    def __exit__(self, *_):
        for one, handler in self._before.items():
            signal.signal(one, handler)


class Loop:
    """Trains an engine on batches by a schedule and keeps its state in a run directory.

    entry: the record, whose history grows by a row an epoch; `write` puts it to the disk. held_out: the validation part's
    labels, and a function that gives its inputs block by block. together: who computes, see engine.Together.
    """

    def __init__(self, engine, batches, schedule, run, entry: dict, write, held_out, seed: int, board=None,
                 together=Together(1)):
        self.engine, self.batches, self.schedule, self.together = engine, batches, schedule, together
        self.run, self.entry, self.write, self.seed, self.board = run, entry, write, seed, board
        self.held_out_labels, self.held_out = held_out
        self.step, self.spent = 0, 0.0          # steps taken; seconds of the epoch before this process began

    # -------------------------------------------------------------------------------------------- state
    def resume(self) -> bool:
        """Go back to the newest whole checkpoint; False where there is none. Raises CheckpointError."""
        found = self._newest()
        if found is None:
            self.entry["history"] = []
            self.run.cut_log(0)
            return False
        self.step, numbers, arrays = found
        try:
            self.engine.restore(arrays)
            self.schedule.restore(numbers["schedule"])
            self.entry["history"], self.spent = numbers["history"], numbers["epoch_seconds"]
        except (ValueError, KeyError) as error:
            reason = "the checkpoint is of another kind of schedule" if isinstance(error, KeyError) else error
            raise checkpoint.CheckpointError(f"{self.run.path}: {reason}; choose another directory with "
                                             "--run DIR") from None
        self.run.cut_log(self.step)
        return True

    def _newest(self):
        """(step, numbers, arrays) of the newest whole checkpoint, as the chief reads it."""
        found = self.run.newest()
        if self.together.processes == 1:
            return found
        content = self.together.from_chief(b"".join(checkpoint.encoded(*found[:2], found[2].items())) if found else b"")
        return checkpoint.parsed(io.BytesIO(content), len(content)) if content else None

    def save(self, seconds: float = 0.0) -> None:
        """Write a checkpoint of this step. Raises TrainingStopped where the state is not finite."""
        numbers = {"schedule": self.schedule.state(), "history": self.entry["history"], "epoch_seconds": seconds}
        try:
            self.run.keep(self.step, numbers, self.engine.arrays())
        except checkpoint.NotFinite as error:
            raise TrainingStopped("diverged", f"{error} is not finite after step {self.step}") from None

    def weights_sha256(self) -> str:
        """sha256 over all variables of the model and of the optimizer."""
        return checkpoint.fingerprint((name, values) for name, values in self.engine.arrays()
                                      if name.startswith(("model/", "optimizer/")))

    # ---------------------------------------------------------------------------------------------- run
    def train(self, signals: Signals, title: str, quiet: bool = False) -> None:
        """All that is left of the schedule. Raises TrainingStopped when it diverges or is asked to end."""
        with Progress(self.schedule.steps, self.schedule.epochs, title, quiet) as progress:
            progress.advance(self.step)
            signals.waiting = True
            while self._begun() < self.step or self.step < self.schedule.steps and not self.schedule.finished:
                first = self._begun()
                row = self._epoch(len(self.entry["history"]) + 1, self.step - first, progress, signals)
                self.schedule.observe_epoch(row)
                self.entry["history"].append(row)
                self._report(row, "epoch")          # first: a resume drops what the log has beyond the checkpoint
                self.save()
                self.write()
                progress.epoch(row)
                guessing = no_better_than_guessing(row["train_error"], self.batches.targets)
                if guessing and first < CHECK_EVERY <= self.step:           # once, and not of the very first steps
                    progress.warn(f"after {self.step} steps the training error is {row['train_error']:.1f} %, that of "
                                  "guessing")
                if self._asked_to_leave(signals):
                    self._leave(signals)
        signals.waiting = False
        if signals.asked:                   # since the last look
            self._leave(signals)

    def _begun(self) -> int:
        """The step at which the epoch began that has no row in the history yet. All of its own may have been taken:
        a run can be left while it validates."""
        return self.entry["history"][-1]["step"] if self.entry["history"] else 0

    def _epoch(self, epoch: int, start: int, progress, signals) -> dict:
        """The rest of one epoch from its step `start` on; returns its row of the history."""
        begun, spent, saved = time.monotonic(), self.spent, time.monotonic()
        if start == 0:
            spent = 0.0
            self.engine.reset()
            self.engine.before_pass(self.batches, datasets.random(self.seed, epoch, "curvature"))
        self.spent, first = 0.0, self.step - start
        with contextlib.closing(self.engine.calls(self.batches, epoch, start)) as calls:
            for inputs, targets in calls:
                count = min(len(targets), self.schedule.steps - self.step)
                if count == 0:
                    break
                rates = [self.schedule.rate(self.step + index) for index in range(count)]
                self.engine.train(inputs, targets, np.array(rates, "float32"))
                self.step += count
                progress.advance(count)
                look = self.step // CHECK_EVERY > (self.step - count) // CHECK_EVERY
                if look:
                    loss, error = self._sound()
                    self.schedule.observe_training(error)
                    self._report({"epoch": epoch, "step": self.step, "rate": rates[-1], "train_loss": loss,
                                  "train_error": error}, "steps")
                inside = self.step - first < min(len(self.batches), self.schedule.steps - first)
                leaving = inside and self._asked_to_leave(signals, look)
                if leaving or inside and time.monotonic() - saved > SAVE_EVERY:
                    self._sound()
                    self.save(spent + time.monotonic() - begun)
                    saved = time.monotonic()
                if leaving:
                    self._leave(signals)
        loss, error = self._sound()
        seconds = spent + time.monotonic() - begun
        seen = min((self.step - first) * self.batches.recipe["batch"], len(labelled(self.batches.targets)))
        row = {"epoch": epoch, "step": self.step, "rate": self.schedule.rate(self.step - 1),
               "train_loss": loss, "train_error": error, "validation_loss": None, "validation_error": None,
               "seconds": round(seconds, 2), "images_per_second": round(seen / max(seconds, 1e-9), 1)}
        try:
            with self.engine.evaluated():
                row["validation_loss"], row["validation_error"] = self.validate(signals)
        except _Asked:                          # out here the network has its own weights again
            self.save(seconds)
            self._leave(signals)
        return rounded(row)

    def validate(self, signals: Signals | None = None) -> tuple[float | None, float | None]:
        """(loss, error) on the validation part with the weights as they are; None for what there is not."""
        if not len(self.held_out_labels):
            return None, None
        blocks = self._until_asked(self.held_out(), signals) if signals else self.held_out()
        logits, losses = self.engine.evaluate(blocks, self.held_out_labels)
        loss = float(losses.mean())             # may overflow before batch normalisation's averages have settled
        return loss if math.isfinite(loss) else None, error_percent(logits, labelled(self.held_out_labels))

    def _until_asked(self, blocks, signals):
        """The blocks, as long as nobody wants to leave; several processes validate together to the end."""
        for block in blocks:
            if self._asked_to_leave(signals, look=False):
                raise _Asked
            yield block

    def _sound(self) -> tuple[float, float]:
        """The epoch's (loss, error) so far. Raises TrainingStopped where the loss is no number any more."""
        loss, error = self.engine.running()
        if not math.isfinite(loss):
            raise TrainingStopped("diverged", f"the loss is {loss} at step {self.step}")
        return loss, error

    def _asked_to_leave(self, signals, look: bool = True) -> bool:
        """Several processes leave together: they ask each other where all look at the loss."""
        return self.together.any(bool(signals.asked)) if look else bool(signals.asked) and self.together.processes == 1

    def _leave(self, signals) -> None:
        asked = signals.asked or "another worker was asked to stop"
        raise TrainingStopped("interrupted", f"{asked} at step {self.step}; the same command goes on there")

    def _report(self, row: dict, what: str) -> None:
        logged = self.run.log(what=what, **row)
        if self.board:
            self.board.write(logged)


def labelled(labels: np.ndarray) -> np.ndarray:
    """The labels that count: −1 is a graph's node outside the split."""
    return labels[labels >= 0]


def error_percent(logits: np.ndarray, labels: np.ndarray) -> float:
    return 100.0 * float((logits.argmax(axis=1) != labels).mean())


def no_better_than_guessing(error: float, labels: np.ndarray) -> bool:
    """Whether an error (percent) is that of naming the most frequent class every time, up to three deviations."""
    labels = labelled(labels)
    often = np.bincount(labels).max() / len(labels)
    deviation = math.sqrt(often * (1 - often) / len(labels))
    return error > 100 * (1 - often - 3 * deviation)


def rounded(row: dict) -> dict:
    """Floats to seven digits."""
    return {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in row.items()}
