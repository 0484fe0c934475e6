"""What every test module finds in place before it is imported, and what it leaves behind."""
import contextlib
import ctypes
import gc
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")      # before anything imports TensorFlow


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Traced graphs hold each other in circles; a process of all test modules grows to many gigabytes otherwise."""
    yield
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL("libc.so.6").malloc_trim(0)
