"""How far a trial is, read from its run directory alone: whoever trains it, here or on another machine."""
import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

from .. import record as records
from ..training import checkpoint
from ..training.run_directory import ENDED
from .trials import Trial, schedule_of


@dataclass(frozen=True)
class State:
    """status: a record's, or "waiting" for nothing yet, "cut" for a run that was killed.

    step of steps; seconds_a_step is None before the first 50; test_error in %.
    """
    status: str
    step: int = 0
    steps: int | None = None
    seconds_a_step: float | None = None
    test_error: float | None = None
    wall_seconds: float | None = None
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        return self.status + ("" if self.test_error is None else f", test error {self.test_error:.2f} %")

    @property
    def seconds_left(self) -> float | None:
        if self.ended:
            return 0.0
        if self.steps is None or self.seconds_a_step is None:
            return None
        return (self.steps - self.step) * self.seconds_a_step


def state_of(trial: Trial, runs: Path) -> State:
    path = Path(runs) / trial.name
    try:
        record = records.read_record(path / "record.json")
    except (records.RecordError, OSError):
        record = {"kind": None}
    if record["kind"] != "training":
        return State("running" if held(path) else "waiting")
    status = record["status"]
    if status == "running" and not held(path):
        status = "cut"
    steps = schedule_of(record["recipe"]["resolved"], trial.dataset, record["dataset"]["splits"]["train"]).steps
    history = record["history"]
    spent, taken = sum(row["seconds"] for row in history), history[-1]["step"] if history else 0
    last = _last_step(path / "log.jsonl")
    return State(status, max(last, taken), steps, spent / taken if taken else None,
                 record["result"].get("test_error"), record["wall_seconds"], record["reason"])


def saved_step(trial: Trial, runs: Path) -> int:
    """The step at which the trial would go on: its newest checkpoint's, which the log may be beyond."""
    found = checkpoint.found(Path(runs) / trial.name / "checkpoints")
    return int(checkpoint.NAME.fullmatch(found[0].name)[1]) if found else 0


def held(path: Path) -> bool:
    """Whether a process trains there."""
    try:
        with open(path / "lock", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _last_step(path: Path) -> int:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return json.loads(lines[-1])["step"] if lines else 0
    except (OSError, ValueError, KeyError):
        return 0
