"""TensorFlow's and JAX's engine take the same steps; JAX's is cut and resumed exactly, and spread over devices."""
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import engine_steps
from communities import as_it_should_be
from cnn_repro.repro.training import train
from cnn_repro.repro.training.tensorflow_engine import TensorFlowEngine

TESTS = Path(__file__).parent
pytestmark = pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed: pip install -e '.[jax]'")
# half precision rounds where the backends' convolutions and sums are cut differently
TOLERANCE = {"bfloat16": 0.2, "float16": 0.02}


def on_jax(*command, KERAS_BACKEND="jax", **environment):
    """A process with JAX, in which TensorFlow and TFDS cannot be imported."""
    block = "import sys; sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None; import runpy; " \
            "sys.argv = sys.argv[1:]; sys.path.insert(0, %r); " % str(TESTS)
    run = "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)" if command[0] == "cnn_repro.repro" \
        else "runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", block + run, *map(str, command)], capture_output=True, text=True,
                          cwd=TESTS.parent, env=os.environ | {"KERAS_BACKEND": KERAS_BACKEND, **environment}, timeout=3600)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    ours = engine_steps.results(folder, TensorFlowEngine)
    done = on_jax(TESTS / "engine_steps.py", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "jax exact\n"                 # cut after any step, it goes on with the same bits
    return ours, {case: read(folder, case) for case in ours}, folder


def read(folder, case):
    stored = np.load(folder / f"{case} jax.npz")
    return [stored[name] for name in stored.files]


def distance(one, other) -> float:
    """Of two arrays, relative to the larger's length."""
    one, other = one.astype("float64"), other.astype("float64")
    return np.linalg.norm(one - other) / max(np.linalg.norm(other), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("case", engine_steps.CASES)
def test_both_engines_take_the_same_steps(both, case):
    ours, theirs, _ = both
    assert len(ours[case]) == len(theirs[case])
    for one, other in zip(ours[case][:-1], theirs[case][:-1]):
        assert one.shape == other.shape and distance(one, other) <= TOLERANCE.get(case, 1e-5)
    # of the 200 images of the last epoch; one on the border between two classes may fall to either side
    assert abs(ours[case][-1] - theirs[case][-1]) <= (10 if case in TOLERANCE else 2)


@pytest.mark.slow
def test_a_wrong_step_would_be_seen(both):
    """The cases differ from each other by far more than the engines do."""
    ours, theirs, _ = both
    cases = ["crop and flip", "reflected, cut out", "shift, torch's velocity", "mixup, given batch by batch"]
    for case in cases:
        for other in cases:
            if case != other:
                assert distance(ours[case][0], theirs[other][0]) > 1e-3


@pytest.mark.slow
def test_two_devices_take_the_steps_of_one(both):
    ours, _, folder = both
    case = "crop and flip"
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    done = on_jax(TESTS / "engine_steps.py", folder, case, XLA_FLAGS=flags)
    assert done.stdout == "jax exact\n", done.stderr[-3000:]
    *theirs, wrong = read(folder, case)
    assert all(distance(one, other) <= 1e-5 for one, other in zip(ours[case], theirs))
    assert abs(ours[case][-1] - wrong) <= 2


# ------------------------------------------------------------------------------------------- the whole command on JAX

def record(run) -> dict:
    return json.loads((run / "record.json").read_text(encoding="utf-8"))


def test_a_network_is_trained_where_there_is_no_tensorflow(tmp_path):
    done = on_jax("cnn_repro.repro", "train", "lenet5_modern", "--dataset", "digits", "--recipe", "smoke",
                  "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr[-3000:]
    found = record(tmp_path / "run")
    assert found["status"] == "finished" and found["backend"] == "jax" and found["compile"] == "xla"
    assert found["samples"] and found["learned"] and (tmp_path / "run" / "model.keras").exists()
    other, _ = train("lenet5_modern", "digits", "smoke", folder=tmp_path, quiet=True)
    # initialisers draw differently on the two; 360 test images: 1.4 points are one deviation of either
    assert abs(found["result"]["test_error"] - other["result"]["test_error"]) < 4
    again = on_jax("cnn_repro.repro", "train", "lenet5_modern", "--dataset", "digits", "--recipe", "smoke",
                   "--run", tmp_path / "run")
    assert "finished already" in again.stdout


def tiny(folder, *more, **environment):
    return on_jax(TESTS / "tiny.py", folder / "cards", "train", "tiny", "--quiet", *more, **environment)


@pytest.mark.slow
def test_killed_on_jax_it_ends_as_if_it_had_not_been(tmp_path):
    whole = tiny(tmp_path, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr[-3000:]
    killed = tiny(tmp_path, "--run", tmp_path / "killed", TINY_DIE="step 37")
    assert killed.returncode == -9
    assert tiny(tmp_path, "--run", tmp_path / "killed").returncode == 0
    one, other = record(tmp_path / "whole"), record(tmp_path / "killed")
    assert other["resumed_at"] and not one["resumed_at"]
    assert one["weights_sha256"] == other["weights_sha256"] and one["result"] == other["result"]


@pytest.mark.slow
@pytest.mark.parametrize("more, status", [(("--set", "schedule.rate=1e30"), "diverged"),
                                          (("--precision", "bfloat16", "--deterministic"), "finished")])
def test_a_run_on_jax_says_how_it_ended(tmp_path, more, status):
    done = tiny(tmp_path, "--run", tmp_path / "run", *more)
    assert record(tmp_path / "run")["status"] == status, done.stderr[-3000:]
    assert done.returncode == (status != "finished")


@pytest.mark.parametrize("more, said", [(("--compile", "graph"), "JAX compiles every step with XLA"),
                                        (("--device", "gpu"), "JAX computes on cpu here, not on gpu"),
                                        (("--engine", "tensorflow"), "Keras runs on jax in this process already")])
def test_what_jax_cannot_do_is_one_line(tmp_path, more, said):
    done = tiny(tmp_path, "--run", tmp_path / "run", *more)
    assert done.returncode in (1, 2) and said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("network", ["gcn", pytest.param("gcn_mlp", marks=pytest.mark.slow)])
def test_a_graph_is_trained_on_one_of_two_devices(network, tmp_path):
    done = on_jax(TESTS / "communities.py", "train", network, "--dataset", "cora", "--run", tmp_path / "run", "--set",
                  "schedule.stop=150", "--set", "schedule.rate=0.05", "--set", "validation=20", JAX_NUM_CPU_DEVICES="2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("using 1 of 2 devices: cora is a graph")
    found = record(tmp_path / "run")
    as_it_should_be(found)
    assert found["hardware"]["replicas"] == 1


@pytest.mark.slow
def test_no_more_devices_are_taken_than_a_batch_has_images(tmp_path):
    more = ("--run", tmp_path / "run", "--set", "validation=0", "--set", "schedule.stop=2")
    asked = tiny(tmp_path, *more, "--set", "batch=359", "--replicas", "2")      # 1,437 images: the last batch has one
    assert asked.returncode == 1 and asked.stderr.endswith(": --replicas 1\n") and not (tmp_path / "run").exists()
    done = tiny(tmp_path, *more, "--set", "batch=359", JAX_NUM_CPU_DEVICES="2")
    assert done.returncode == 0 and record(tmp_path / "run")["hardware"]["replicas"] == 1, done.stderr[-3000:]
    assert tiny(tmp_path, *more[2:], "--run", tmp_path / "both", JAX_NUM_CPU_DEVICES="2").returncode == 0
    assert record(tmp_path / "both")["hardware"]["replicas"] == 2


def test_workers_of_tf_config_do_not_train_on_jax(tmp_path):
    """They would each train alone, into the same directory."""
    workers = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    done = tiny(tmp_path, "--run", tmp_path / "run", TF_CONFIG=json.dumps(workers))
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    assert done.stderr == "repro: TF_CONFIG's workers train on TensorFlow: unset it, or --engine tensorflow\n"


def test_pytorch_has_no_engine(tmp_path):
    if find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    done = tiny(tmp_path, "--run", tmp_path / "run", KERAS_BACKEND="torch")
    assert done.returncode == 1 and "--engine tensorflow or --engine jax" in done.stderr
