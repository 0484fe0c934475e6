"""A suite as an array script for Slurm: a task a trial, and the run directories on a shared file system."""
import shlex
import sys
from pathlib import Path

from .. import record as records
from .trials import Suite

SCRIPT = """\
#!/bin/bash
# {title}: {count} trials, one a task. What is done is skipped, what was cut goes on; `sbatch` it again for the rest.
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --output={runs}/slurm-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
# add what your cluster asks for: --partition, --time, --gres=gpu:1, --cpus-per-task, --mem

set -u
{command} --trial "${{SLURM_ARRAY_TASK_ID:?sbatch sets it; to try one by hand: SLURM_ARRAY_TASK_ID=0 bash $0}}" &
trial=$!
trap 'kill -TERM $trial' TERM           # two minutes before the end of its time: the trial writes its state and ends
wait $trial
code=$?
while kill -0 $trial 2>/dev/null; do wait $trial; code=$?; done
[ $code -eq 143 ] && [ -n "${{SLURM_JOB_ID:-}}" ] && scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
exit $code
"""


def write(path: Path, suite: Suite, asked: str, runs: Path, more=()) -> None:
    """Write the script. asked: the suite's name or file; runs: where the run directories go, and Slurm's logs: without
    that folder it ends every task before its first line, and says so nowhere."""
    Path(runs).mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "cnn_repro.repro", "suite", asked, "--runs", str(runs), *more]
    text = SCRIPT.format(title=suite.title, count=len(suite.trials), name=suite.name, last=len(suite.trials) - 1,
                         runs=shlex.quote(str(runs)), command=shlex.join(words))
    records.write_atomically(Path(path), text.encode())
    Path(path).chmod(0o755)
