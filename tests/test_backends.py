"""The tests of the layers once more on the other backends, each in a process of its own."""
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# those that go by passes.py, which knows all backends; the others are about TensorFlow's graphs
NEUTRAL = sorted(path.name for path in TESTS.glob("test_*.py")
                 if re.search("^(import|from) passes", text := path.read_text(encoding="utf-8"), re.M)
                 and not re.search("^import tensorflow", text, re.M))


def test_most_tests_of_the_layers_know_no_backend():
    assert {"test_gradient_check.py", "test_layers.py", "test_own_layers.py", "test_worked_examples.py"} <= set(NEUTRAL)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_tests_pass_on(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install -e '.[{backend}]'")
    # XLA compiles every operation of an eager test anew: without optimising, in a fifth of the time
    environment = os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "not slow", *NEUTRAL], cwd=TESTS, env=environment,
                         capture_output=True, text=True, timeout=1500)
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout and int(run.stdout.split(" passed")[0].split()[-1]) > 500
