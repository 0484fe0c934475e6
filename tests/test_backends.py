"""The tests of the layers once more on the other backends, each in a process of its own."""
import json
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


# JAX compiles every operation of an eager test for every shape anew: there without the random shapes and the sabotage
BRIEFLY = {"jax": ["test_graphs.py", "test_layers.py", "test_layers_anywhere.py", "test_losses.py",
                   "test_normalizations.py", "test_own_layers.py", "test_structures.py", "test_worked_examples.py"]}


def run_on(backend, *command):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install -e '.[{backend}]'")
    run = subprocess.run([sys.executable, "-m", *command], cwd=TESTS.parent, capture_output=True, text=True,
                         env=os.environ | {"KERAS_BACKEND": backend}, timeout=3600)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    return run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_gradient_check_passes_on(backend, tmp_path):
    said = run_on(backend, "repro", "check", "--runs", str(tmp_path)).splitlines()[-1]
    passed, total = map(int, re.match(r"(\d+) of (\d+) comparisons", said).groups())
    assert passed == total > 3000
    record, = tmp_path.glob("*/record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["backend"] == backend


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_tests_pass_on(backend):
    files = [str(TESTS / name) for name in BRIEFLY.get(backend, NEUTRAL)]
    said = run_on(backend, "pytest", "-q", "-m", "not slow", "-rA", "--no-header", *files)
    assert said.count("\nPASSED") > 80 and "failed" not in said.splitlines()[-1]
