"""A suite on this machine: a process a trial, some at a time, until all have ended or the time is over.

Nothing is kept here that is not in the run directories: killed at any moment, the same command finds what is done,
resumes what was cut and goes on. Several of these may work at one suite, on one machine or on a shared file system:
the run directories' locks keep them apart.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from .state import held, saved_step, state_of
from .trials import Suite, Trial

COMMAND = [sys.executable, "-m", "cnn_repro.repro"]
POLL = 0.5                      # seconds between looks at the processes
GRACE = 60                      # seconds that a trial has to write its checkpoint when it is told to stop
THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")


@dataclass
class Job:
    """A process that does a part of the suite; trial: None for one of the verbs that come first."""
    name: str
    process: subprocess.Popen
    trial: Trial | None = None
    began: float = field(default_factory=time.monotonic)


class Local:
    """Runs a suite; `show` is called with every event and whenever the processes were looked at.

    more: further arguments for each `train`. budget: seconds, after which what runs is told to stop, with its state
    saved. `run` returns the reason for which it stopped: "done", "budget", "SIGINT" or "SIGTERM".
    """

    def __init__(self, suite: Suite, runs: Path, jobs: int = 1, budget: float | None = None, more=(), show=None):
        self.suite, self.runs, self.jobs, self.more = suite, Path(runs), jobs, list(more)
        self.ends = None if budget is None else time.monotonic() + budget
        self.working: list[Job] = []
        self.failed: dict[str, str] = {}                # by name: the last line that it said
        self._seen_elsewhere: set[str] = set()
        self._show = show or (lambda event, local: None)
        self._asked = None

    def run(self) -> str:
        self.runs.mkdir(parents=True, exist_ok=True)
        with self._signals():
            try:
                return self._first() or self._trials()
            finally:
                self._stop()

    def _first(self) -> str | None:
        """The verbs before the trials, one after the other; a failed one does not keep the trials back.

        What is done leaves NAME.done, NAME with a hash of arguments and backend: on another one it is done again. Of
        several suites one at a time runs it, and the others wait.
        """
        for arguments in self.suite.first:
            asked = json.dumps([arguments, os.environ.get("KERAS_BACKEND", "tensorflow")])
            name = f"{self.suite.name}-{arguments[0]}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
            done = self.runs / f"{name}.done"
            with open(self.runs / f"{name}.lock", "a", encoding="utf-8") as lock:
                if reason := self._taken(lock, name):
                    return reason
                if done.exists():
                    continue
                # the verb holds the lock too: it may outlive a killed suite
                self._start(name, in_folder(arguments, self.runs), pass_fds=[lock.fileno()])
                while self.working:
                    if reason := self._interrupted():
                        return reason
                    self._look()
                if name not in self.failed:
                    done.touch()
        return None

    def _taken(self, lock, name: str) -> str | None:
        """Wait for the lock; the reason if the suite is to stop before."""
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._once_elsewhere(name, "another process runs it")
            if reason := self._interrupted():
                return reason
            time.sleep(POLL)
            self._show(None, self)

    def _trials(self) -> str:
        left = list(self.suite.trials)
        while left or self.working:
            if reason := self._interrupted():
                return reason
            left = [trial for trial in left if not state_of(trial, self.runs).ended]
            free = [trial for trial in left if not self._elsewhere(trial)]
            for trial in free[:self.jobs - len(self.working)]:
                self._start(trial.name, [*trial.arguments(self.runs), *self.more], trial)
                left.remove(trial)                      # what fails is not begun again
            self._look()
        return "done"

    def _elsewhere(self, trial: Trial) -> bool:
        """Another suite's trial, or one that outlived a killed suite: it is waited for, and taken up where it is cut."""
        others = held(self.runs / trial.name)
        if others:
            self._once_elsewhere(trial.name, "another process trains it")
        return others

    def _once_elsewhere(self, name: str, what: str) -> None:
        if name not in self._seen_elsewhere:
            self._seen_elsewhere.add(name)
            self._show(f"{name}: {what}", self)

    # ---------------------------------------------------------------------------------------------- processes
    def _start(self, name: str, arguments: list[str], trial: Trial | None = None, pass_fds=()) -> None:
        environment = dict(os.environ)
        if self.jobs > 1:                               # else every process would take every core
            share = str(max(1, (os.cpu_count() or 1) // self.jobs))
            environment = {**dict.fromkeys(THREADS, share), **environment}
        # a second seed need not compile what the first one did
        environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(self.runs.resolve() / ".compiled"))
        reached = saved_step(trial, self.runs) if trial else 0
        with open(self.runs / f"{name}.log", "ab") as log:
            process = subprocess.Popen([*COMMAND, *arguments], stdout=log, env=environment,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                       pass_fds=pass_fds)
        self.working.append(Job(name, process, trial))
        self._show(f"{name}: goes on at step {reached}" if reached else f"{name}: begun", self)

    def _look(self) -> None:
        """Take those that have ended off the list."""
        time.sleep(POLL)
        for job in list(self.working):
            if job.process.poll() is None:
                continue
            self.working.remove(job)
            seconds, code = time.monotonic() - job.began, job.process.returncode
            state = state_of(job.trial, self.runs) if job.trial else None
            if state and state.ended:
                self._show(f"{job.name}: {state.outcome}, {seconds:.0f} s", self)
            elif code == 0:
                self._show(f"{job.name}: done, {seconds:.0f} s", self)
            else:
                self.failed[job.name] = last_line(self.runs / f"{job.name}.log") or f"exit code {code}"
                self._show(f"{job.name}: failed: {self.failed[job.name]}", self)
        self._show(None, self)

    def _stop(self) -> None:
        """SIGTERM to what still runs; its checkpoint is waited for, but not for ever."""
        for job in self.working:
            with contextlib.suppress(ProcessLookupError):
                job.process.terminate()
        until = time.monotonic() + GRACE
        for job in self.working:
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.process.wait(max(0.1, until - time.monotonic()))
            how = "stopped"
            if job.process.poll() is None:
                job.process.kill()
                job.process.wait()
                how = "killed"
            state = state_of(job.trial, self.runs) if job.trial else None
            if state and state.ended:
                how = state.outcome
            elif state:
                how += f"; goes on at step {saved_step(job.trial, self.runs)}"
            self._show(f"{job.name}: {how}", self)
        self.working.clear()

    # ------------------------------------------------------------------------------------------- being stopped
    def _interrupted(self) -> str | None:
        if self._asked:
            return self._asked
        return "budget" if self.ends is not None and time.monotonic() >= self.ends else None

    @contextlib.contextmanager
    def _signals(self):
        def ask(number, _):
            self._asked = signal.Signals(number).name

        before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def in_folder(arguments, runs: Path) -> list[str]:
    """The arguments of a verb that comes first, with the suite's folder where it writes a record."""
    return [*arguments, *(["--runs", str(runs)] if arguments[0] in ("check", "bench") else [])]


def last_line(path: Path) -> str:
    """What a process said last."""
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].removeprefix("repro: ")[:300] if lines else ""
    return ""
