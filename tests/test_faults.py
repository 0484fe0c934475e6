"""What the suite survives: kills, signals, full disks, damaged files, changed configurations, NaN, two at once.

Exact means bit for bit: the sha256 over all variables of model and optimizer after the last step. The short form of the
kills is here; `CNN_REPRO_KILLS=20 pytest tests/test_faults.py -m slow` kills as often as that.
"""
import contextlib
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import keras
import numpy as np
import pytest

import tiny
from cnn_repro.architectures import registry
from cnn_repro.layers import Dense
from cnn_repro.repro import cli, training
from cnn_repro.repro.data import Batches
from cnn_repro.repro.data.prepared import Dataset
from cnn_repro.repro.record import read_record
from cnn_repro.repro.training import checkpoint, export, loop, run_directory, train
from cnn_repro.repro.training.checkpoint import CheckpointError
from cnn_repro.repro.training.feed import ImageFeed
from cnn_repro.repro.training.run_directory import RunDirectory, RunError
from cnn_repro.repro.training.tensorflow_engine import TensorFlowEngine

STEPS, EPOCH = 70, 21                   # of tiny's recipe; 1,293 images in batches of 64
KILLS = int(os.environ.get("CNN_REPRO_KILLS", 2))
SCRIPT = Path(tiny.__file__)


class Killed(BaseException):
    """Ends a training as a kill does: nothing below catches it to save something."""


@pytest.fixture(scope="module", autouse=True)
def tiny_network(tmp_path_factory):
    """The network of tiny.py, the digits in a folder of this module's own, and TensorFlow as it was afterwards."""
    from tensorflow.python.framework import config
    card = import_module("cnn_repro.repro.papers.card")
    folder = card.FOLDER
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_REPRO_DATA", str(tmp_path_factory.mktemp("data")))
        tiny.install(tmp_path_factory.mktemp("cards"))
        yield
    card.FOLDER = folder
    card.cards.cache_clear()
    for name in ("tiny", "tiny_plain"):
        del registry.REGISTRY[name]
    config.disable_op_determinism()


def tiny_run(place, network="tiny", **more):
    return train(network, "digits", run=place, quiet=True, deterministic=True, **more)[0]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def killed_after(monkeypatch):
    """killed_after(step, place): a training of which nothing is left but what was on the disk then."""
    whole_step = TensorFlowEngine.train

    def kill(steps, place, **more):
        left = [steps]

        def step(self, inputs, targets, rates):
            whole_step(self, inputs[:left[0]], targets[:left[0]], rates[:left[0]])
            left[0] -= len(inputs)
            if left[0] <= 0:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(TensorFlowEngine, "train", step)
            patch.setattr(run_directory.RunDirectory, "__exit__", lambda self, *_: self._lock.close())
            with pytest.raises(Killed):
                tiny_run(place, **more)
    return kill


# ------------------------------------------------------------------------------------------------ F1, F2, F3

@pytest.mark.parametrize("step", [5, EPOCH + 1, *(pytest.param(step, marks=pytest.mark.slow) for step in (EPOCH, 40, 69))])
def test_f1_a_run_killed_anywhere_ends_as_if_it_had_not_been(step, uninterrupted, killed_after, tmp_path):
    killed_after(step, tmp_path / "run")
    kept = checkpoint.found(tmp_path / "run" / "checkpoints")
    lost = step - (checkpoint.read(kept[0])[0] if kept else 0)
    assert lost <= EPOCH
    record = tiny_run(tmp_path / "run")
    assert record["status"] == "finished" and record["weights_sha256"] == uninterrupted["weights_sha256"]
    assert learning(record) == learning(uninterrupted) and record["result"] == uninterrupted["result"]
    assert record["resumed_at"] == [step - lost] * bool(kept)


def test_f1_killed_three_times(uninterrupted, killed_after, tmp_path):
    for steps in (30, 25, 20):
        killed_after(steps, tmp_path)
    record = tiny_run(tmp_path)
    assert record["weights_sha256"] == uninterrupted["weights_sha256"] and record["resumed_at"] == [21, 42, 42]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["what"] == "epoch"] == [21, 42, 63, 70]      # each step once


@pytest.mark.slow
def test_another_seed_or_a_forgotten_state_would_be_seen(uninterrupted, killed_after, tmp_path, monkeypatch):
    """The comparison can fail: without dropout's seeds and without velocities the end is another."""
    assert tiny_run(tmp_path / "other", seed=1)["weights_sha256"] != uninterrupted["weights_sha256"]
    for forgotten, of in (("seed", "seed_generator"), ("velocity", "optimizer/2/"), ("average", "moving_mean")):
        killed_after(30, tmp_path / forgotten)
        path = checkpoint.found(tmp_path / forgotten / "checkpoints")[0]
        step, numbers, arrays = checkpoint.read(path)
        hit = [name for name, values in arrays.items() if of in name and np.any(values)]
        assert hit, list(arrays)
        checkpoint.save(path.parent, step, numbers, [
            (name, np.zeros_like(values) if name in hit else values) for name, values in arrays.items()])
        assert tiny_run(tmp_path / forgotten)["weights_sha256"] != uninterrupted["weights_sha256"]


@pytest.mark.slow
def test_f1_sigkill_at_random_steps(uninterrupted, tmp_path):
    steps = random.Random(2026).choices(range(1, STEPS), k=KILLS)
    for number, step in enumerate(steps):
        place = tmp_path / str(number)
        assert tiny_process(place, die=f"step {step}").returncode == -signal.SIGKILL
        assert read_record(place / "record.json")["status"] == "running"       # and nobody holds its lock
        assert tiny_process(place).returncode == 0
        assert read_record(place / "record.json")["weights_sha256"] == uninterrupted["weights_sha256"]


@pytest.mark.slow
def test_f3_sigkill_between_a_checkpoints_write_and_its_name(uninterrupted, tmp_path):
    assert tiny_process(tmp_path, die="rename 2").returncode == -signal.SIGKILL
    assert [path.name for path in checkpoint.found(tmp_path / "checkpoints")] == [f"step-{EPOCH:09d}.checkpoint"]
    assert tiny_process(tmp_path).returncode == 0
    record = read_record(tmp_path / "record.json")
    assert record["resumed_at"] == [EPOCH] and record["weights_sha256"] == uninterrupted["weights_sha256"]


# calls of four steps: in the middle of an epoch, before its short last batch, and with the very last step
@pytest.mark.parametrize("calls, number, code", [(9, signal.SIGTERM, 143), (5, signal.SIGINT, 130), (20, signal.SIGTERM, 143)])
def test_f2_a_signal_saves_the_step_and_the_same_command_goes_on(calls, number, code, uninterrupted, tmp_path, monkeypatch,
                                                                 capsys):
    whole_step, left = TensorFlowEngine.train, [calls]

    def step(self, *arguments):
        whole_step(self, *arguments)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(TensorFlowEngine, "train", step)
    before = signal.getsignal(number)
    command = ["train", "tiny", "--run", str(tmp_path / "a run"), "--deterministic", "--quiet"]
    assert cli.main(command) == code
    assert signal.getsignal(number) is before
    record = read_record(tmp_path / "a run" / "record.json")
    reached = checkpoint.read(checkpoint.found(tmp_path / "a run" / "checkpoints")[0])[0]
    assert record["status"] == "interrupted" and reached == {9: 33, 5: 20, 20: STEPS}[calls]
    assert capsys.readouterr().err == (f"repro: interrupted: {number.name} at step {reached}; the same command goes on "
                                       f"there ({tmp_path / 'a run'})\n")
    assert cli.main(command) == 0
    record = read_record(tmp_path / "a run" / "record.json")
    assert record["resumed_at"] == [reached] and record["weights_sha256"] == uninterrupted["weights_sha256"]
    assert cli.main(command) == 0 and "finished already" in capsys.readouterr().out


@pytest.mark.parametrize("epochs", [2, 4])                                           # in the middle, after the last step
def test_f2_a_signal_during_the_validation_is_not_kept_waiting(epochs, uninterrupted, tmp_path, monkeypatch, capsys):
    """The next block of images is not looked at; the same command validates that epoch first, and takes no step twice."""
    whole, passes, blocks = ImageFeed.held_out, [], []

    def held_out(self):
        passes.append(self)
        for block in whole(self):
            if len(passes) == epochs:
                blocks.append(block)
                os.kill(os.getpid(), signal.SIGTERM)
            yield block

    command = ["train", "tiny", "--run", str(tmp_path), "--deterministic", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr(ImageFeed, "held_out", held_out)
        assert cli.main(command) == 143
    reached = min(epochs * EPOCH, STEPS)
    assert len(blocks) == 1 and f"SIGTERM at step {reached}" in capsys.readouterr().err
    stopped = read_record(tmp_path / "record.json")
    assert stopped["status"] == "interrupted" and len(stopped["history"]) == epochs - 1
    assert cli.main(command) == 0
    record = read_record(tmp_path / "record.json")
    assert record["resumed_at"] == [reached] and record["weights_sha256"] == uninterrupted["weights_sha256"]
    assert learning(record) == learning(uninterrupted) and record["result"] == uninterrupted["result"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["what"] == "epoch"] == [21, 42, 63, 70]


def test_f2_a_signal_before_the_first_step_ends_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ImageFeed, "prepare", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    assert cli.main(["train", "tiny", "--run", str(tmp_path), "--quiet"]) == 143
    assert read_record(tmp_path / "record.json")["reason"] == "SIGTERM; the same command goes on"
    assert capsys.readouterr().err.startswith("repro: interrupted: SIGTERM")


@pytest.mark.parametrize("phase", ["run.test", "evidence.samples"])        # there a layer is traced, here called eagerly
def test_f2_a_signal_inside_a_layers_call_in_the_test_phase_is_no_failure(phase, uninterrupted, tmp_path, monkeypatch,
                                                                         capsys):
    """Keras makes an Exception in a layer's call into another, which would be a failure."""
    whole, whole_call, asked = attrgetter(phase)(training), Dense.call, []

    def reached(*arguments):
        asked.append(signal.SIGTERM)
        return whole(*arguments)

    def call(self, inputs):
        if asked:
            signal.raise_signal(asked.pop())
        return whole_call(self, inputs)

    command = ["train", "tiny", "--run", str(tmp_path), "--deterministic", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr(f"cnn_repro.repro.training.{phase}", reached)
        patch.setattr(Dense, "call", call)
        assert cli.main(command) == 143
    assert capsys.readouterr().err == f"repro: interrupted: SIGTERM; the same command goes on ({tmp_path})\n"
    assert read_record(tmp_path / "record.json")["status"] == "interrupted"
    assert cli.main(command) == 0
    record = read_record(tmp_path / "record.json")
    assert record["resumed_at"] == [STEPS] and record["weights_sha256"] == uninterrupted["weights_sha256"]


def test_f2_a_second_signal_ends_at_once_under_its_own_name(tmp_path, monkeypatch, capsys):
    def step(self, *_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TensorFlowEngine, "train", step)
    assert cli.main(["train", "tiny", "--run", str(tmp_path), "--quiet"]) == 143
    record = read_record(tmp_path / "record.json")
    assert record["status"] == "interrupted" and record["reason"].startswith("SIGTERM, after SIGTERM")
    assert capsys.readouterr().err.startswith("repro: interrupted: SIGTERM")


def test_a_long_epoch_is_saved_on_the_way(uninterrupted, killed_after, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    killed_after(31, tmp_path)
    record = tiny_run(tmp_path)
    assert record["resumed_at"] == [29] and record["weights_sha256"] == uninterrupted["weights_sha256"]


def test_starting_again_loses_nothing_of_the_record_before_the_first_step(killed_after, tmp_path, monkeypatch):
    killed_after(50, tmp_path)
    monkeypatch.setattr(ImageFeed, "prepare", lambda self: (_ for _ in ()).throw(ValueError("too early")))
    with pytest.raises(ValueError, match="too early"):
        tiny_run(tmp_path)
    record = read_record(tmp_path / "record.json")
    assert record["status"] == "failed" and len(record["history"]) == 2


# ---------------------------------------------------------------------------------------------------- F4, F5

def test_f4_a_full_disk_leaves_the_older_checkpoint_whole(tmp_path):
    arrays = [("model/0/kernel", np.arange(300_000, dtype="float32"))]
    kept = checkpoint.save(tmp_path, 1, {}, arrays)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))          # the system refuses to write any further
    try:
        with pytest.raises(CheckpointError, match=r"step-000000002.checkpoint: cannot write the checkpoint of 1.1 MiB "
                                                  r"\(File too large\); those before are intact"):
            checkpoint.save(tmp_path, 2, {}, arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [kept]
    np.testing.assert_array_equal(checkpoint.load_newest(tmp_path)[2]["model/0/kernel"], arrays[0][1])


def test_f4_a_disk_that_fills_while_training_ends_the_run_with_the_path_and_size(tmp_path, monkeypatch, capsys):
    def full(descriptor):
        if ".checkpoint." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert cli.main(["train", "tiny", "--run", str(tmp_path), "--quiet"]) == 1
    error, = capsys.readouterr().err.splitlines()
    assert "No space left on device" in error and str(tmp_path) in error and "MiB" in error
    assert read_record(tmp_path / "record.json")["status"] == "failed"
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("name, what", [("record.json", "the record"), ("model.keras", r"the model of 1\.\d MiB")])
def test_f4_a_full_disk_names_the_record_and_the_model_that_could_not_be_written(name, what, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunDirectory(tmp_path) as run:
        run.write_record({"old": 1})
        large = keras.Sequential([keras.Input((600,)), keras.layers.Dense(600)])
        write = {"record.json": lambda: run.write_record({"new": "x" * 200_000}),
                 "model.keras": lambda: run.write_model(large)}[name]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(RunError, match=rf"{tmp_path}/{name}: cannot write {what} \(File too large\); what was there "
                                               "before is intact: free space and give the same command again"):
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert json.loads((tmp_path / "record.json").read_text()) == {"old": 1}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "record.json"]


def test_a_checkpoint_can_be_read_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        path = checkpoint.save(tmp_path, 1, {}, [])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_checkpoint_that_cannot_be_read_now_is_not_set_aside_as_damaged(tmp_path, monkeypatch):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {}, [("a", np.float32([step]))])
    whole = checkpoint.parsed

    def away(file, size):
        if file.name.endswith("2.checkpoint"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(file, size)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "parsed", away)
        with pytest.raises(CheckpointError, match=r"step-000000002.checkpoint: cannot be read \(Input/output error\)"):
            checkpoint.load_newest(tmp_path)
    assert checkpoint.load_newest(tmp_path)[0] == 2


def cut(content: bytes) -> bytes:
    return content[:-50]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1:]


def emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [flipped, *(pytest.param(one, marks=pytest.mark.slow) for one in (cut, emptied))])
def test_f5_a_damaged_checkpoint_is_said_and_the_one_before_is_taken(damage, uninterrupted, killed_after, tmp_path, capsys):
    killed_after(50, tmp_path)
    newest, before = checkpoint.found(tmp_path / "checkpoints")
    newest.write_bytes(damage(newest.read_bytes()))
    record = tiny_run(tmp_path)
    assert f"{newest}: damaged" in (said := capsys.readouterr().out) and f"going on from {before.name}" in said
    assert record["resumed_at"] == [EPOCH] and record["weights_sha256"] == uninterrupted["weights_sha256"]


def test_f5_where_all_are_damaged_the_run_does_not_start_again(killed_after, tmp_path, capsys):
    killed_after(50, tmp_path)
    for path in checkpoint.found(tmp_path / "checkpoints"):
        path.write_bytes(flipped(path.read_bytes()))
    assert cli.main(["train", "tiny", "--run", str(tmp_path), "--deterministic"]) == 1
    assert "no whole checkpoint in" in capsys.readouterr().err
    assert read_record(tmp_path / "record.json")["status"] == "failed"


def test_a_checkpoint_holds_any_dtype_bit_for_bit_and_of_many_only_the_last(tmp_path):
    arrays = [("a", np.float64([np.pi, 5e-324, -0.0])), ("b", np.uint32([[7], [8]])), ("c", np.float16(3)),
              ("d", np.array([], "float32")), ("e", np.arange(6, dtype=">i4").reshape(2, 3)[:, ::2])]
    for step in (1, 2, 3, 10):
        checkpoint.save(tmp_path, step, {"history": [{"loss": 0.1}], "step": step}, arrays)
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-000000010.checkpoint", "step-000000003.checkpoint"]
    step, numbers, found = checkpoint.load_newest(tmp_path)
    assert (step, numbers) == (10, {"history": [{"loss": 0.1}], "step": 10})
    for name, values in arrays:
        assert found[name].dtype == values.dtype.newbyteorder("<") and found[name].shape == values.shape
        np.testing.assert_array_equal(found[name], values)
    assert np.signbit(found["a"][2])
    assert checkpoint.fingerprint(arrays) == checkpoint.fingerprint((name, found[name]) for name, _ in arrays)
    assert checkpoint.fingerprint(arrays) != checkpoint.fingerprint([("a", -arrays[0][1]), *arrays[1:]])


def test_a_hostile_header_is_no_checkpoint(tmp_path):
    for header in (b"[]\n", b'{"magic": "cnn_repro checkpoint", "format": 1, "step": 1, "numbers": {}, '
                   b'"arrays": [{"name": "a", "dtype": "O", "shape": [1]}]}\n' + bytes(60),
                   b'{"magic": "cnn_repro checkpoint", "format": 1, "step": 1, "numbers": {}, '
                   b'"arrays": [{"name": "a", "dtype": "<f4", "shape": [1000000000000]}]}\n', b"\x80\x04." * 9):
        path = tmp_path / "step-000000001.checkpoint"
        path.write_bytes(header)
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.read(path)


# ---------------------------------------------------------------------------------------------------- F6, F11

@pytest.mark.parametrize("changed, message", [
    ({"overrides": {"batch": 32}}, "recipe.resolved.batch was 64, is 32"), ({"seed": 3}, "seed was 0, is 3"),
    ({"layers": "stock"}, 'layers was "explicit", is "stock"')])
def test_f6_another_configuration_is_refused_with_the_difference(changed, message, killed_after, tmp_path):
    killed_after(25, tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RunError, match=message):
        tiny_run(tmp_path, **changed)
    assert (tmp_path / "config.json").read_bytes() == before


def test_f6_other_code_and_other_data_are_refused_unless_forced(uninterrupted, killed_after, tmp_path, monkeypatch):
    killed_after(25, tmp_path)
    monkeypatch.setattr("cnn_repro.repro.training.run.code_sha256", lambda: "0" * 64)
    with pytest.raises(RunError, match="code_sha256 was .*--force"):
        tiny_run(tmp_path)
    record = tiny_run(tmp_path, force=True)
    assert record["code_sha256"] == "0" * 64 and record["weights_sha256"] == uninterrupted["weights_sha256"]
    assert [(one["key"], one["from"]) for one in record["forced"]] == [("code_sha256", f"step-{EPOCH:09d}.checkpoint")]

    def other(self, source, manifest, original=Dataset.__init__):
        original(self, source, manifest)
        self.sha256 = "f" * 64

    monkeypatch.setattr(Dataset, "__init__", other)
    with pytest.raises(RunError, match="dataset.sha256 was"):
        tiny_run(tmp_path)


@pytest.mark.parametrize("changed", [{"seed": 3}, {"layers": "stock"}, {"overrides": {"batch": 32}}])
def test_f6_what_would_make_the_record_untrue_cannot_be_forced(changed, killed_after, tmp_path):
    killed_after(25, tmp_path)
    with pytest.raises(RunError, match="which cannot be forced"):
        tiny_run(tmp_path, force=True, **changed)


def test_a_forced_run_is_another_run_and_says_from_where(killed_after, tmp_path):
    killed_after(25, tmp_path)
    before = json.loads((tmp_path / "config.json").read_text())["id"]
    record = tiny_run(tmp_path, force=True, overrides={"schedule.stop": 63})
    assert record["history"][-1]["step"] == 63 and record["id"] != before
    assert record["forced"] == [{"key": "recipe.resolved.schedule.stop", "was": "70", "is": "63",
                                 "from": f"step-{EPOCH:09d}.checkpoint"}]
    assert tiny_run(tmp_path, overrides={"schedule.stop": 63}) == read_record(tmp_path / "record.json")


def test_before_the_first_checkpoint_another_request_takes_the_place_of_the_old_one(tmp_path):
    with pytest.raises(ValueError, match="cannot be built"):
        tiny_run(tmp_path, overrides={"input.size": 1})
    assert tiny_run(tmp_path)["status"] == "finished"


def test_a_finished_run_asked_for_something_else_says_so_and_names_other_code(tmp_path, monkeypatch, capsys):
    record = tiny_run(tmp_path)
    with pytest.raises(RunError, match="seed was 0, is 1"):
        tiny_run(tmp_path, seed=1)
    monkeypatch.setattr("cnn_repro.repro.training.run.code_sha256", lambda: "0" * 64)
    assert tiny_run(tmp_path, force=True)["id"] == record["id"]
    assert "finished already, by other code or versions than now" in capsys.readouterr().out


def test_what_a_kill_left_half_written_goes_and_nothing_else(tmp_path, monkeypatch):
    """The names are those that the writers themselves give."""
    replace, left = os.replace, []
    monkeypatch.setattr(os, "replace", lambda source, target: left.append(Path(source)) or replace(source, target))
    places = (tmp_path, tmp_path / "checkpoints")
    with RunDirectory(tmp_path) as run:
        run.log(step=1)
        run.cut_log(0)
        run.agree({})
        run.write_record({})
        run.keep(21, {}, [])
        run.write_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    assert len(left) == 5
    for path in left:
        path.write_bytes(b"half")
    others = [place / name for place in places for name in (".gitignore", ".env", ".record.json.swp", ".nfs0001")]
    for path in others:
        path.write_bytes(b"somebody's")
    with RunDirectory(tmp_path):
        assert sorted(path for place in places for path in place.glob(".*")) == sorted(others)


@pytest.mark.parametrize("name", [".bashrc", "thesis.tex", "photographs"])
def test_a_folder_of_somebody_elses_is_refused_and_left_as_it_is(name, tmp_path, capsys):
    (tmp_path / name).mkdir() if name == "photographs" else (tmp_path / name).write_text("somebody's")
    assert cli.main(["train", "tiny", "--run", str(tmp_path), "--quiet"]) == 1
    assert capsys.readouterr().err == (f"repro: {tmp_path} holds other files ({name}) and no run: choose an empty or new "
                                       "directory with --run DIR\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_directory.fcntl, "flock", none)
    with pytest.raises(RunError, match="this file system has no locks .No locks available."):
        RunDirectory(tmp_path).__enter__()


def test_f11_a_second_process_is_told_who_holds_the_run(tmp_path):
    code = ("import sys; from cnn_repro.repro.training.run_directory import RunDirectory\n"
            "with RunDirectory(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()")
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=rf"is being trained by process {child.pid} on \S+ since 2\d\d\d-"):
            RunDirectory(tmp_path).__enter__()
    finally:
        child.kill()
        child.wait()
    with RunDirectory(tmp_path):                                        # its lock went with it
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()


# ------------------------------------------------------------------------------------------------ F7, F8, F14

def test_f7_a_rate_ten_thousand_times_too_large_stops_soon_and_leaves_no_nan(tmp_path, capsys):
    arguments = ["train", "tiny", "--run", str(tmp_path), "--quiet", "--set", "schedule.rate=1000000.0"]
    assert cli.main(arguments) == 1
    record = read_record(tmp_path / "record.json")
    assert record["status"] == "diverged" and "diverged" in capsys.readouterr().err
    for path in checkpoint.found(tmp_path / "checkpoints"):
        assert all(np.isfinite(values).all() for values in checkpoint.read(path)[2].values())
    assert not (tmp_path / "model.keras").exists()
    assert cli.main(arguments) == 1 and "diverged already" in capsys.readouterr().out     # and trains nothing


def test_f7_weights_that_are_no_numbers_are_never_saved(tmp_path):
    with pytest.raises(checkpoint.NotFinite, match="kernel"):
        checkpoint.save(tmp_path, 1, {}, [("bias", np.zeros(2)), ("kernel", np.array([1, np.nan]))])
    assert not list(tmp_path.iterdir())


def test_f8_a_run_that_learns_nothing_warns_and_is_stuck(tmp_path, monkeypatch, capsys):
    epoch = Batches.epoch
    monkeypatch.setattr(Batches, "epoch", lambda *arguments: ((0 * inputs, labels) for inputs, labels in epoch(*arguments)))
    record = train("tiny", "digits", run=tmp_path)[0]
    assert record["status"] == "stuck" and record["reason"].startswith("stuck at chance: the training error ended at")
    assert "warning: after 63 steps the training error is" in capsys.readouterr().out
    assert record["result"] == {} and abs(record["history"][-1]["train_loss"] - np.log(10)) < 0.2


def test_f14_no_gpu_and_no_memory_are_one_line(tmp_path, monkeypatch, capsys):
    import tensorflow as tf
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert cli.main(["train", "tiny", "--run", str(tmp_path), "--device", "gpu"]) == 1
    assert "TensorFlow sees no GPU here" in capsys.readouterr().err and not list(tmp_path.iterdir())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with monkeypatch.context() as patch:
        patch.setattr("cnn_repro.repro.training.train", lambda *_, **__: (_ for _ in ()).throw(
            ValueError(os.environ["CUDA_VISIBLE_DEVICES"])))
        assert cli.main(["train", "tiny", "--run", str(tmp_path), "--device", "cpu"]) == 1
        assert capsys.readouterr().err == "repro: -1\n"           # before TensorFlow looked

    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,8,8,8]")

    monkeypatch.setattr(TensorFlowEngine, "train", exhausted)
    assert cli.main(["train", "tiny", "--run", str(tmp_path), "--quiet"]) == 1
    assert "no memory for a batch of 64 images of 8×8×1, while training; --set batch=N" in capsys.readouterr().err
    assert read_record(tmp_path / "record.json")["status"] == "failed"


# ---------------------------------------------------------------------------------------------------- F12, F17

@pytest.mark.slow
def test_f12_trials_side_by_side_are_those_one_after_the_other(uninterrupted, tmp_path):
    """In one tree, started together with the data not prepared yet: nothing lost, nothing mixed."""
    cards, seeds = tmp_path / "cards", range(8)
    environment = os.environ | {"CNN_REPRO_DATA": str(tmp_path / "data")}
    children = [subprocess.Popen(
        [sys.executable, str(SCRIPT), str(cards), "train", "tiny", "--runs", str(tmp_path / "runs"), "--seed", str(seed),
         "--deterministic", "--quiet"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for seed in seeds]
    said = [child.communicate(timeout=600)[1] for child in children]
    assert [child.returncode for child in children] == [0] * len(seeds), said
    found = [read_record(tmp_path / "runs" / f"tiny-digits-paper-s{seed}" / "record.json") for seed in seeds]
    assert [record["seed"] for record in found] == list(seeds) and len({record["id"] for record in found}) == len(seeds)
    serial = [uninterrupted, *(tiny_run(tmp_path / f"serial {seed}", seed=seed) for seed in seeds[1:])]
    assert [record["weights_sha256"] for record in found] == [record["weights_sha256"] for record in serial]


@pytest.fixture(scope="module")
def saved(uninterrupted, tmp_path_factory):
    """The members of a model file that a run left."""
    place = tmp_path_factory.mktemp("model")
    tiny_run(place)
    with zipfile.ZipFile(place / "model.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path, members: dict) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_f17_weights_that_point_out_of_the_file_are_refused(saved, tmp_path):
    import h5py
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["values"] = np.arange(72, dtype="float32").reshape(3, 3, 1, 8)
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(saved["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        kernels = []
        file.visititems(lambda name, item: kernels.append(name) if getattr(item, "shape", None) == (3, 3, 1, 8) else None)
        for name in kernels:
            del file[name]
            file[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "values")
    assert kernels
    hostile = written(tmp_path / "link.keras", saved | {"model.weights.h5": weights.read_bytes()})
    with pytest.raises(export.ModelError, match="link.keras: not a model that can be loaded"):
        export.load(hostile)


def test_f17_an_archive_that_swells_is_refused(saved, tmp_path):
    shape = (40_000, 40_000)                                # 6.4 GB of zeros in a file of some MB would be the same
    import h5py
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(saved["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        kernels = []
        file.visititems(lambda name, item: kernels.append(name) if getattr(item, "shape", None) == (3, 3, 1, 8) else None)
        for name in kernels:
            del file[name]
            file.create_dataset(name, shape, "float32", chunks=(1000, 1000), compression="gzip", fillvalue=1.0)
    hostile = written(tmp_path / "bomb.keras", saved | {"model.weights.h5": weights.read_bytes()})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(export.ModelError, match="bomb.keras: not a model that can be loaded"):
        export.load(hostile)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20          # KiB: not a GiB of zeros


def test_f17_a_member_that_climbs_out_of_the_archive_writes_nothing(saved, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    hostile = written(inner / "climbing.keras", saved | {"../escaped": b"x", "assets/../../escaped": b"x"})
    with contextlib.suppress(export.ModelError):            # either refused, or loaded without that member
        export.load(hostile)
    assert not list(tmp_path.rglob("*escaped*"))


def test_f17_pickles_are_no_models_and_no_checkpoints(tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    np.savez(tmp_path / "weights.npz", a=np.array([Bomb()], dtype=object))
    pickled = (tmp_path / "weights.npz").read_bytes()
    (tmp_path / "model.keras").write_bytes(pickled)
    with pytest.raises(export.ModelError):
        export.load(tmp_path / "model.keras")
    path = tmp_path / "step-000000001.checkpoint"
    path.write_bytes(pickled)
    with pytest.raises(CheckpointError):
        checkpoint.read(path)
    assert not (tmp_path / "executed").exists()


# ----------------------------------------------------------------------------------------- F10, F19, F20, F22

def test_f19_a_clock_that_jumps_changes_nothing(uninterrupted, tmp_path, monkeypatch):
    jumps = iter(range(10**9))

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime(2020, 1, 1, tzinfo=zone) - timedelta(hours=next(jumps))

    monkeypatch.setattr("cnn_repro.repro.record.datetime", Clock)
    record = tiny_run(tmp_path)
    assert record["started"].startswith("20") and record["ended"] < record["started"]
    assert record["status"] == "finished" and record["weights_sha256"] == uninterrupted["weights_sha256"]
    assert 0 < record["wall_seconds"] < 600


@pytest.mark.slow
def test_f10_f19_f20_no_network_another_locale_a_read_only_home_and_blanks_in_the_path(uninterrupted, tmp_path):
    home = tmp_path / "home"
    home.touch()                            # a file: nothing can be written below it, not even by root
    place = tmp_path / "a run – with blanks"
    child = tiny_process(place, blocked=True, HOME=str(home), XDG_CACHE_HOME="", CNN_REPRO_DATA="", TMPDIR=str(tmp_path),
                         LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert child.returncode == 0, child.stderr[-2000:]
    assert read_record(place / "record.json")["weights_sha256"] == uninterrupted["weights_sha256"]


def test_f22_permuted_test_labels_change_nothing_but_the_test_error(uninterrupted, tmp_path, monkeypatch):
    original = Dataset.open_test

    def permuted(self):
        images, labels = original(self)
        return images, np.roll(labels, 7)

    monkeypatch.setattr(Dataset, "open_test", permuted)
    record = tiny_run(tmp_path)
    assert learning(record) == learning(uninterrupted)
    assert record["weights_sha256"] == uninterrupted["weights_sha256"]
    assert record["result"]["test_error"] > uninterrupted["result"]["test_error"]


# ------------------------------------------------------------------------------------ precision and compilation

@pytest.fixture(scope="module")
def in_float32(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("float32") / "run", network="tiny_plain")


@pytest.mark.parametrize("more, tolerance", [
    ({"precision": "bfloat16"}, 0.1), ({"precision": "float16"}, 0.02),
    pytest.param({"compile": "xla"}, 0.002, marks=pytest.mark.slow)])
def test_half_precision_and_xla_stay_near_float32(more, tolerance, in_float32, tmp_path):
    record = tiny_run(tmp_path, network="tiny_plain", overrides=more)
    assert record["status"] == "finished"
    for row, expected in zip(record["history"], in_float32["history"], strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=tolerance)
    assert record["weights_sha256"] != in_float32["weights_sha256"]         # it was another computation
    assert abs(record["result"]["test_error"] - in_float32["result"]["test_error"]) < 4
    assert record["precision"] == {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}.get(
        more.get("precision"), "float32")
    assert [row["key"] for row in record["recipe"]["differences"]] == list(more)


def test_float16_resumes_exactly_with_its_loss_scale(killed_after, tmp_path):
    more = {"overrides": {"precision": "float16"}}
    whole = tiny_run(tmp_path / "whole", **more)
    killed_after(50, tmp_path / "killed", **more)
    saved = checkpoint.load_newest(tmp_path / "killed" / "checkpoints")[2]
    assert any("dynamic_scale" in name for name in saved)
    assert tiny_run(tmp_path / "killed", **more)["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.slow
def test_averages_resume_exactly(killed_after, tmp_path):
    more = {"overrides": {"average.decay": 0.99, "statistics": 5}}
    whole = tiny_run(tmp_path / "whole", **more)
    killed_after(50, tmp_path / "killed", **more)
    again = tiny_run(tmp_path / "killed", **more)
    assert again["weights_sha256"] == whole["weights_sha256"] and again["result"] == whole["result"]
    assert learning(again) == learning(whole)


@pytest.mark.slow
def test_what_a_schedule_has_observed_resumes_exactly(killed_after, tmp_path):
    """At a rate too small to learn, patience runs out: the rate falls after every second epoch, and the run ends early."""
    more = {"overrides": {"schedule.kind": "plateau", "schedule.rate": 1e-6, "schedule.stop": 8, "schedule.unit": "epochs",
                          "schedule.watch": "validation_error", "schedule.patience": 1, "schedule.factor": 0.1,
                          "schedule.early_stop": {"watch": "validation_error", "patience": 4}}}
    whole = tiny_run(tmp_path / "whole", **more)
    killed_after(4 * EPOCH + 3, tmp_path / "killed", **more)
    again = tiny_run(tmp_path / "killed", **more)
    assert again["resumed_at"] == [4 * EPOCH] and learning(again) == learning(whole)
    assert whole["history"][-1]["rate"] < 1e-6 and len(whole["history"]) < 8
    assert again["weights_sha256"] == whole["weights_sha256"]


# --------------------------------------------------------------------------------------------------- helpers

def learning(record) -> list[dict]:
    """A history without its clock."""
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")}
            for row in record["history"]]


BLOCK = """
import socket, sys
def refuse(*_, **__):
    raise OSError("the network is blocked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def tiny_process(place, die=None, blocked=False, **environment) -> subprocess.CompletedProcess:
    """`train tiny --run PLACE` in a process of its own."""
    start = ["-c", BLOCK] if blocked else []
    return subprocess.run(
        [sys.executable, *start, str(SCRIPT), str(place.with_name(place.name + ".cards")), "train", "tiny", "--run",
         str(place), "--deterministic", "--quiet"], capture_output=True, encoding="utf-8", errors="replace", timeout=300,
        env={**os.environ, **({"TINY_DIE": die} if die else {}), **environment})


