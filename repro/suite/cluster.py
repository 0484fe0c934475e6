"""A suite on a Ray cluster: a task a trial, on whatever machine has room, and the run directories on a shared file system.

A task is the same process as here (local.py): a machine that is lost costs what was trained since the last checkpoint,
since Ray starts the task again elsewhere and the trial goes on in its run directory.
"""
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from .local import COMMAND, GRACE, POLL, Local, last_line
from .state import held, state_of
from .trials import Suite, SuiteError, Trial

WAIT = 1.0                      # seconds between looks at the tasks
RETRIES = 3                     # of a task whose machine is lost


class Cluster(Local):
    """As Local, with Ray's workers. address: a cluster's ("auto" for the one that this machine is in), or "local" for one
    that is started here and ends with the suite. jobs: tasks at a time on each machine."""

    def __init__(self, suite: Suite, runs: Path, address: str, jobs: int = 1, budget: float | None = None, more=(),
                 show=None):
        super().__init__(suite, Path(runs).resolve(), jobs, budget, more, show)
        try:
            import ray
        except ImportError:
            raise SuiteError("Ray is not installed: pip install -e '.[ray]', or leave --ray out") from None
        self._ray, self._address = ray, address

    def _trials(self) -> str:
        ray = self._ray
        try:
            ray.init(address=None if self._address == "local" else self._address, log_to_driver=False,
                     logging_level="error")
        except (ConnectionError, ValueError) as error:
            raise SuiteError(f"no Ray cluster at {self._address!r} ({str(error).splitlines()[0]}): start one with "
                             "`ray start --head`, or --ray local") from None
        try:
            cpus, gpus = share([node["Resources"] for node in ray.nodes() if node["Alive"]], self.jobs)
            task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_train)
            threads = str(cpus)
            waiting = {}
            for trial in self.suite.trials:
                if not state_of(trial, self.runs).ended:
                    arguments = [*trial.arguments(self.runs), *self.more]
                    waiting[task.remote(COMMAND, arguments, str(self.runs / f"{trial.name}.log"), threads)] = trial
                    self._show(f"{trial.name}: handed to Ray", self)
            with self._signals():                       # Ray has put its own in their place
                return self._wait(waiting)
        finally:
            ray.shutdown()

    def _wait(self, waiting: dict[object, Trial]) -> str:
        ray = self._ray
        while waiting:
            if reason := self._interrupted():
                for task in waiting:
                    ray.cancel(task)                    # KeyboardInterrupt in `_train`, which stops the process
                ray.wait(list(waiting), num_returns=len(waiting), timeout=GRACE)
                return reason
            ended, _ = ray.wait(list(waiting), timeout=WAIT)
            for task in ended:
                trial = waiting.pop(task)
                try:
                    code, said = ray.get(task)
                except ray.exceptions.RayError as error:
                    code, said = 1, f"{type(error).__name__}: {str(error).splitlines()[0]}"
                state = state_of(trial, self.runs)
                if state.ended:
                    self._show(f"{trial.name}: {state.outcome}", self)
                elif held(self.runs / trial.name):
                    self._show(f"{trial.name}: another process trains it", self)
                elif code:
                    self.failed[trial.name] = said
                    self._show(f"{trial.name}: failed: {said}", self)
            self._show(None, self)
        return "done"


def share(machines: list[dict], jobs: int) -> tuple[int, int | float]:
    """(CPUs, GPUs) of a task, `jobs` on each machine: of the smallest, and where some have GPUs of those alone.

    Several jobs on one GPU take equal parts of it, for Ray gives parts of one GPU, and never of two.
    """
    machines = [one for one in machines if one.get("GPU")] or machines
    cpus, gpus = (min(one.get(key, least) for one in machines) for key, least in (("CPU", 1), ("GPU", 0)))
    return int(max(1, cpus // jobs)), int(gpus // jobs) if gpus >= jobs or not gpus else 1 / math.ceil(jobs / gpus)


def _train(command: list[str], arguments: list[str], log: str, threads: str) -> tuple[int, str]:
    """(exit code, last line) of a training in a process of its own; on a worker."""
    environment = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads, **os.environ}
    with open(log, "ab") as file:
        process = subprocess.Popen([sys.executable, *command[1:], *arguments], stdout=file, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    try:
        while process.poll() is None:                   # Ray's cancelling reaches Python between two of its steps alone
            time.sleep(POLL)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
    return process.returncode, last_line(Path(log))
