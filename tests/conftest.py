"""What every test module finds in place before it is imported, and what it leaves behind."""
import contextlib
import ctypes
import gc
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")      # before anything imports TensorFlow
# tests compile hundreds of programs and run each once
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def pytest_collection_finish(session):
    """What the imports and the collected tests hold stays: looking through it for rubbish again and again took 40 % of
    the time. What the tests leave behind is collected after each module, below."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Traced graphs hold each other in circles; a process of all test modules grows to many gigabytes otherwise."""
    yield
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL("libc.so.6").malloc_trim(0)
