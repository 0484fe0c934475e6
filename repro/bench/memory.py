"""The peak memory of training steps, measured in a process of their own: nothing else has been there before.

    python -m cnn_repro.repro.bench.memory lenet5_modern ours 128 graph        prints MiB
"""
import ctypes
import gc
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

STEPS, PROCESSES = 9, 3
METHOD = ("each twin trains in fresh processes, where the C library maps every block of 64 KiB or more by itself and unmaps "
          "it when it is free: after a first step, which compiles, the growth of the resident size to its largest during a "
          f"step, the median of {STEPS}, and of {PROCESSES} processes, because which operations run side by side differs; "
          "on an accelerator the allocator's peak")
# What is free counts for nothing. Otherwise what one thread has freed stays for that thread alone, and what oneDNN has
# freed for the next step: LeNet-5, of which 7 MiB are alive, grew by 13 to 18.
RETURNED = {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**16)}


def peak_of(name: str, side: str, batch: int, form: str) -> float:
    """MiB that training steps of one twin ("ours" or "stock") of a network need. Raises OSError where they failed."""
    return statistics.median(_one_peak(name, side, batch, form) for _ in range(PROCESSES))


def _one_peak(name, side, batch, form):
    child = subprocess.run([sys.executable, "-m", __spec__.name, name, side, str(batch), form],
                           env=os.environ | RETURNED, capture_output=True, text=True, errors="replace")
    if child.returncode:
        said = child.stderr.strip().splitlines() or ["nothing"]
        raise OSError(f"its process ended with {child.returncode} and said {said[-1][:300]}")
    return float(child.stdout.split()[-1])


def main(name: str, side: str, batch: str, form: str) -> None:
    """Measure in this process, which has done nothing else, and print the figure."""
    from ..cli import start_backend
    start_backend()
    import keras

    from ... import layers as explicit
    from .backends import accelerators, allocated_peak_mib, training
    from .networks import NETWORKS, images_of, model_of
    network = next(network for network in NETWORKS if network.name == name)
    model = model_of(network, explicit if side == "ours" else keras.layers)
    steps = training(model, *images_of(network, int(batch)), form)
    steps.run(1)
    _give_back()
    before, peaks = _resident("VmRSS"), []
    for _ in range(STEPS):
        _forget_the_peak()
        steps.run(1)                # one by one: JAX would begin a step before the last one is finished
        peaks.append(_resident("VmHWM"))
    print(round(allocated_peak_mib() if accelerators() else statistics.median(peaks) - before, 1))


def _give_back() -> None:
    """The C library returns what the process has freed; elsewhere than on glibc it stays resident."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def _forget_the_peak() -> None:
    """Linux counts the largest resident size (VmHWM) anew from here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass                        # then it was the compiler's, if that was larger


def _resident(name: str) -> float:
    """VmRSS, the resident size now, or VmHWM, its largest so far, in MiB; elsewhere than on Linux the largest."""
    try:
        return int(re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1]) / 2**10
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main(*sys.argv[1:])
