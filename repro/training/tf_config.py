"""Who takes part in a training over several machines: TF_CONFIG, as TensorFlow documents it, read without TensorFlow.

    {"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}
"""
import json
import os

from .run_directory import RunError


def cluster() -> list[str] | None:
    """The addresses of all workers by TF_CONFIG, the chief's first; None where it names no others. Raises RunError."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        asked = json.loads(text)
        jobs, task = asked.get("cluster", {}), asked.get("task", {})
        workers = [*jobs.get("chief", []), *jobs.get("worker", [])]
        if len(workers) < 2:
            return None
        known = jobs[task["type"]][int(task["index"])] in workers
    except (ValueError, TypeError, AttributeError, LookupError):
        known = False
    if not known:
        raise RunError('TF_CONFIG is not understood: expected {"cluster": {"worker": ["host:port", …]}, "task": {"type": '
                       f'"worker", "index": 0}}}}, and it is {text[:200]}')
    return workers
