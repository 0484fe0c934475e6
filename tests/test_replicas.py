"""One training over several devices and several processes, on TensorFlow: the steps of one, and what a lost worker does."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tiny
from cnn_repro.repro.record import read_record

TESTS = Path(__file__).parent
pytestmark = pytest.mark.slow


def ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_together:
        sockets = [open_together.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def workers(count: int, command: list, environments: list[dict] | None = None) -> list[subprocess.Popen]:
    """The same command as so many workers of one training."""
    addresses = [f"127.0.0.1:{port}" for port in ports(count)]
    started = []
    for index, more in enumerate(environments or [{}] * count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        started.append(subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=TESTS.parent, env=os.environ | {"TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"} | more))
    return started


def ended(process: subprocess.Popen, seconds: float = 300) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


# ------------------------------------------------------------------------------------------------- the same steps

def alone(file, dtype, case, replicas=1) -> dict[str, np.ndarray]:
    done = subprocess.run([sys.executable, TESTS / "replica_steps.py", file, dtype, case, str(replicas)], text=True,
                          cwd=TESTS.parent, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(file))


def as_processes(file, dtype, case, count=2) -> dict[str, np.ndarray]:
    started = workers(count, [TESTS / "replica_steps.py", file, dtype, case])
    for index, (code, out, err) in enumerate([ended(process) for process in started]):
        assert code == 0, err[-3000:]
        assert out.splitlines()[-1] == f"{index} {count} said by the chief, 0 True False"
    return dict(np.load(file))


def distance(one: dict, other: dict) -> float:
    """The largest of any array, relative to its length; what is counted in float32 throughout is compared here."""
    assert one.keys() == other.keys()
    apart = {key: np.linalg.norm(one[key].astype("float64") - other[key]) / max(np.linalg.norm(other[key]), 1e-6)
             for key in one}
    assert all(apart[key] <= 1e-6 for key in apart if "running" in key)
    return max(value for key, value in apart.items() if "running" not in key)


@pytest.mark.parametrize("case", ["plain", "mixup", "average"])
def test_several_take_the_steps_of_one(case, tmp_path):
    """Also where a batch's rows do not divide evenly, in the evaluation, and gone on with from a state."""
    one = alone(tmp_path / "one.npz", "float64", case)
    assert distance(alone(tmp_path / "three.npz", "float64", case, 3), one) <= 1e-9


@pytest.mark.parametrize("case", ["plain", "mixup"])        # of a batch each process reads its own rows, or all
def test_two_processes_take_the_steps_of_one(case, tmp_path):
    one = alone(tmp_path / "one.npz", "float64", case)
    assert distance(as_processes(tmp_path / "two.npz", "float64", case), one) <= 1e-9


def test_float32_deviates_by_rounding(tmp_path):
    """The README states it: 1e-6 relative after 20 steps."""
    one = alone(tmp_path / "one.npz", "float32", "plain")
    assert distance(alone(tmp_path / "two.npz", "float32", "plain", 2), one) <= 1e-5


def test_half_precision_scales_its_loss_on_several_too(tmp_path):
    one = alone(tmp_path / "one.npz", "float32", "float16")
    assert distance(alone(tmp_path / "two.npz", "float32", "float16", 2), one) <= 0.02


@pytest.mark.parametrize("take", [partial(alone, replicas=3), as_processes])
def test_an_overflow_on_one_replica_leaves_the_step_out_on_all(take, tmp_path):
    after = take(tmp_path / "steps.npz", "float32", "overflow")
    found = np.load(f"{tmp_path / 'steps.npz'}.step.npz")
    kept = [found[name] for name in found.files if name != "scale"]
    for before, values in zip(kept[:len(kept) // 2], kept[len(kept) // 2:], strict=True):
        np.testing.assert_array_equal(values, before)
    assert found["scale"] == 2.0**29
    assert all(np.isfinite(values).all() for values in after.values())      # and it trains on
    assert any((after[name] != values).any() for name, values in zip(
        (name for name in after if name.startswith("20 model")), kept))


def test_each_normalizes_by_its_own_rows(tmp_path):
    """The moving mean is the whole batch's; the moving variance is the mean of the replicas', without that of their means."""
    alone(tmp_path / "two.npz", "float64", "normalized", 2)
    found = np.load(f"{tmp_path / 'two.npz'}.step.npz")
    images = np.pad(found["images"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))         # (N, H, W, C, 3, 3)
    convolved = np.einsum("nhwcij,ijcf->nhwf", windows, found["kernel"])
    halves = convolved.reshape(2, -1, convolved.shape[-1])
    momentum = 0.9
    np.testing.assert_allclose(found["mean"], (1 - momentum) * convolved.mean((0, 1, 2)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["variance"], momentum + (1 - momentum) * halves.var(1).mean(0), rtol=1e-9)
    whole = momentum + (1 - momentum) * convolved.var((0, 1, 2))
    np.testing.assert_allclose(whole - found["variance"], (1 - momentum) * halves.mean(1).var(0), rtol=1e-6)
    assert np.abs(whole - found["variance"]).max() > 1e-8           # and that is something


def test_dropout_draws_each_replica_its_own_masks(tmp_path):
    done = subprocess.run([sys.executable, TESTS / "replica_steps.py", tmp_path / "three.npz", "float32", "dropout", "3"],
                          cwd=TESTS.parent, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("[0, 1, 2]\n"), done.stderr[-3000:]


# ------------------------------------------------------------------------------------------------ the whole command

def commands(folder: Path, run: str, *more) -> list:
    return [TESTS / "tiny.py", folder / "cards", "train", "tiny", "--run", folder / run, "--quiet", "--deterministic", *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    """The record of two processes that nothing disturbed."""
    folder = tmp_path_factory.mktemp("two")
    results = [ended(process) for process in workers(2, commands(folder, "whole"))]
    assert [code for code, _, _ in results] == [0, 0], results
    assert "test error" in results[0][1] and results[1][1].splitlines()[-1] == "worker 1: finished; the chief has the record"
    return read_record(folder / "whole" / "record.json")


def test_two_processes_leave_one_record(whole):
    assert whole["status"] == "finished" and whole["hardware"]["replicas"] == whole["hardware"]["processes"] == 2
    assert whole["hardware"]["process"] == 0 and len(whole["history"]) == 4
    assert whole["result"]["test_error"] < 60


@pytest.mark.parametrize("victim", [1, 0])
def test_f13_a_worker_dies_and_the_restart_resumes_exactly(whole, victim, tmp_path):
    dying = [{"TINY_DIE": "step 37"} if index == victim else {} for index in (0, 1)]
    started = workers(2, commands(tmp_path, "cut"), dying)
    started[victim].wait(timeout=300)
    died = time.monotonic()
    code, _, said = ended(started[1 - victim], 60)
    assert time.monotonic() - died < 60
    assert code == 1 and said.splitlines()[-1].startswith("repro: another worker of this training is gone"), said[-3000:]
    assert ended(started[victim])[0] == -signal.SIGKILL
    left = read_record(tmp_path / "cut" / "record.json")
    assert left["status"] == ("interrupted" if victim == 1 else "running")
    results = [ended(process) for process in workers(2, commands(tmp_path, "cut"))]
    assert [code for code, _, _ in results] == [0, 0], results
    record = read_record(tmp_path / "cut" / "record.json")
    assert record["resumed_at"] == [21]
    assert record["weights_sha256"] == whole["weights_sha256"] and record["result"] == whole["result"]
    again = [ended(process) for process in workers(2, commands(tmp_path, "cut"))]
    assert [code for code, _, _ in again] == [0, 0] and all("finished already" in out for _, out, _ in again)


def test_all_end_where_one_is_asked_to(tmp_path):
    """And only the chief writes: the other's run directory does not come to be."""
    started = workers(2, commands(tmp_path, "run", "--set", "schedule.stop=100000"))
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 240
    while not log.exists() and time.monotonic() < deadline:
        assert started[0].poll() is None, started[0].stderr.read()[-3000:]
        time.sleep(0.2)
    started[1].send_signal(signal.SIGTERM)
    results = [ended(process) for process in started]
    assert [code for code, _, _ in results] == [130, 143], results
    assert "another worker was asked to stop" in results[0][2] and "SIGTERM at step" in results[1][2]
    record = read_record(tmp_path / "run" / "record.json")
    assert record["status"] == "interrupted" and list((tmp_path / "run" / "checkpoints").iterdir())


def test_different_commands_are_seen(tmp_path):
    started = []
    addresses = [f"127.0.0.1:{port}" for port in ports(2)]
    for index, seed in enumerate("05"):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        started.append(subprocess.Popen(
            [sys.executable, *map(str, commands(tmp_path, f"run {index}", "--seed", seed))], cwd=TESTS.parent, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"TF_CONFIG": json.dumps(config)}))
    (code, _, chief), (other, _, follower) = [ended(process) for process in started]
    assert (code, other) == (1, 1)
    assert "the workers were asked for different trainings" in chief and "seed is 0 there and 5 here" in follower
    assert not (tmp_path / "run 1").exists()


@pytest.mark.parametrize("more, environment, said", [
    (("--replicas", "0"), {}, "--replicas 0: expected 1 or more"),
    (("--replicas", "70"), {}, "70 devices, and the last batch of an epoch has"),
    (("--replicas", "2", "--compile", "xla"), {}, "does not compile a step over several devices with XLA"),
    (("--replicas", "2", "--device", "gpu"), {}, "TensorFlow sees no GPU here"),
    ((), {"TF_CONFIG": "{"}, "TF_CONFIG is not understood"),
    ((), {"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})}, "TF_CONFIG is not understood"),
    (("--replicas", "2"), {"TF_CONFIG": json.dumps(
        {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}})}, "leave --replicas out"),
    (("--seeds", "0-1"), {"TF_CONFIG": "{}"}, "run train with one seed")])
def test_what_cannot_be_spread_is_one_line(more, environment, said, tmp_path):
    command = [word for word in commands(tmp_path, "run", *more) if not ("--seeds" in more and word in (
        "--run", tmp_path / "run"))]
    done = subprocess.run([sys.executable, *map(str, command)], cwd=TESTS.parent, text=True, capture_output=True,
                          env=os.environ | environment, timeout=120)
    assert done.returncode in (1, 2) and said in done.stderr.splitlines()[-1], done.stderr[-3000:]


@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
def test_one_machine_takes_several_devices(engine, tmp_path):
    if engine == "jax":
        pytest.importorskip("jax")
    runs = [tiny.__file__, tmp_path / "cards", "train", "tiny_plain", "--dataset", "digits", "--quiet"]
    one, two = (subprocess.run([sys.executable, *map(str, [*runs, "--run", tmp_path / count, "--replicas", count])], text=True,
                               cwd=TESTS.parent, capture_output=True, env=os.environ | {"KERAS_BACKEND": engine},
                               timeout=300) for count in ("1", "2"))
    assert (one.returncode, two.returncode) == (0, 0), one.stderr[-2000:] + two.stderr[-2000:]
    records = [read_record(tmp_path / count / "record.json") for count in ("1", "2")]
    assert [record["hardware"]["replicas"] for record in records] == [1, 2]
    assert abs(records[0]["result"]["test_error"] - records[1]["result"]["test_error"]) < 10      # of 360 images
    refused = subprocess.run([sys.executable, *map(str, [*runs, "--run", tmp_path / "1", "--replicas", "2"])], text=True,
                             cwd=TESTS.parent, capture_output=True, env=os.environ | {"KERAS_BACKEND": engine}, timeout=300)
    assert "replicas was null, is 2" in refused.stderr
