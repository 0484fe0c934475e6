"""What every test module finds in place before it is imported, and what it leaves behind."""
import contextlib
import ctypes
import gc
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")      # before anything imports TensorFlow
# tests compile hundreds of programs and run each once; not at all optimised, a grouped convolution takes 30 times as long
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

# what a test prepares, a data set of ten images for one, is not found later in the user's own cache
prepared = tempfile.mkdtemp(prefix="cnn_repro-tests-")
os.environ["CNN_REPRO_DATA"] = prepared


def pytest_unconfigure(config):
    shutil.rmtree(prepared, ignore_errors=True)


# the longest test first, or the other process would end without work; the many networks last, if time runs out
FIRST, LAST = "test_backends.py", "test_architectures.py"


def pytest_collection_modifyitems(config, items):
    """`.ci/run` has an hour: with CNN_REPRO_EVERY=9 every ninth case of a slow test that has many. Without it, all."""
    items.sort(key=lambda item: (item.path.name != FIRST, item.path.name == LAST))
    left = set(beyond(items, int(os.environ.get("CNN_REPRO_EVERY", 1))))
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]


def pytest_runtest_setup(item):
    """On a slow machine `.ci/run` ends in time all the same: after CNN_REPRO_UNTIL (seconds since 1970) no test begins."""
    if time.time() > float(os.environ.get("CNN_REPRO_UNTIL", "inf")):
        pytest.skip("the hour of .ci/run is over: make test-slow runs this one")


def beyond(items, every: int, many: int = 12) -> list:
    """The slow cases that are left out: of a test with more than `many`, all but every so-manieth. On JAX, which compiles
    every operation of an eager test, all tests are slow."""
    cases = {}
    for item in items:
        if item.get_closest_marker("slow") or os.environ.get("KERAS_BACKEND") == "jax":
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return [item for own in cases.values() if len(own) > many for index, item in enumerate(own) if index % every]


def pytest_collection_finish(session):
    """What the imports and the collected tests hold stays: looking through it for rubbish again and again took 40 % of
    the time. What the tests leave behind is collected after each module, below."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Traced graphs hold each other in circles, and JAX keeps every program that it has compiled."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    collect()


@pytest.fixture(autouse=True)
def large_rubbish_is_collected():
    """A network of a hundred million weights that nobody holds any more is not waited for."""
    yield
    if resident() - after_last[0] > 2**30:
        collect()


after_last = [2**30]                                    # bytes, after the last collection


def collect() -> None:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    after_last[0] = resident()


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
