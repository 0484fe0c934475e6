"""Training: real small runs on the digits, and the rules of step, schedule, order and evidence one by one."""
import base64
import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from communities import Communities, as_it_should_be

from cnn_repro.architectures import find, names
from cnn_repro.layers import normalized_adjacency
from cnn_repro.repro import data as datasets
from cnn_repro.repro.data.prepared import Dataset
from cnn_repro.repro.papers import CardError, RecipeError
from cnn_repro.repro.record import read_record
from cnn_repro.repro.training import evidence, export, loop, run as running, tensorflow_engine, train
from cnn_repro.repro.training.engine import Together
from cnn_repro.repro.training.feed import feed_of
from cnn_repro.repro.training.optimizer import DiagonalLevenbergMarquardt
from cnn_repro.repro.training.progress import Progress
from cnn_repro.repro.training.run_directory import RunError
from cnn_repro.repro.training.tensorflow_engine import TensorFlowEngine

SHORT = {"schedule.stop": 2, "schedule.at": [1]}            # of the smoke recipe's ten passes


def smoke(folder, seed=0, network="lenet5_modern", layers="explicit", **overrides):
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    return train(network, "digits", "smoke", seed, SHORT | overrides, layers, folder, quiet=True)


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory):
    """The digits, prepared in a folder of this module's own."""
    place = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_REPRO_DATA", str(place))
        yield place


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """One real run, and how far its history was each time the test set was opened."""
    folder, opened = tmp_path_factory.mktemp("runs with blanks"), []
    original = Dataset.open_test

    def spy(self):
        run, = folder.iterdir()
        opened.append(len(read_record(run / "record.json")["history"]))
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "open_test", spy)
        record, run = smoke(folder)
    return record, run, opened


def learning(record) -> list[dict]:
    """A history without its clock."""
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")}
            for row in record["history"]]


# ------------------------------------------------------------------------------------------- a run's record

def test_a_finished_run_has_every_key_of_the_schema(finished):
    record, run, _ = finished
    assert set(record) == {
        "schema", "kind", "id", "status", "reason", "started", "ended", "wall_seconds", "peak_memory_mib",
        "command", "commit", "dirty", "version", "versions", "hardware", "backend", "precision", "compile",
        "deterministic", "code_sha256", "weights_sha256", "resumed_at", "forced", "layers", "paper", "architecture", "seed", "dataset", "recipe", "model", "history", "result",
        "predictions", "samples", "learned"}
    assert (record["schema"], record["kind"], record["status"], record["reason"]) == (1, "training", "finished", "")
    assert (record["paper"], record["architecture"], record["seed"]) == ("lecun1998", "lenet5_modern", 0)
    assert (record["backend"], record["precision"], record["layers"]) == ("tensorflow", "float32", "explicit")
    assert re.fullmatch(r"lenet5_modern-digits-smoke-s0-\d{8}T\d{6}-[0-9a-f]{8}", record["id"])
    assert run.name == f"lenet5_modern-digits-smoke-s0-{record['recipe']['sha256'][:8]}"     # the same command, the same
    assert record["started"] <= record["ended"] and record["ended"].endswith("Z")
    assert record["wall_seconds"] > 0 and record["peak_memory_mib"] > 100
    assert set(record["dataset"]) == {"name", "version", "sha256", "identity", "splits", "classes"}
    assert record["dataset"]["splits"] == {"train": 1293, "validation": 144, "test": 360}
    assert record["dataset"]["classes"] == list("0123456789") and record["dataset"]["identity"].startswith("known")
    assert set(record["recipe"]) == {"name", "sha256", "why", "resolved", "overrides", "differences"}
    assert record["recipe"]["overrides"] == SHORT and record["recipe"]["resolved"]["schedule"]["stop"] == 2
    assert {"key": "batch", "paper": 64, "here": 32} in record["recipe"]["differences"]
    assert set(record["hardware"]) == {"processor", "cores", "memory_gib", "accelerators", "platform", "replicas"}
    assert set(record["model"]) == {"name", "input_shape", "parameters", "non_trainable", "multiply_adds",
                                    "connections", "depth", "layers"}
    assert record["model"]["parameters"] == 61_706
    assert {"name", "type", "stage", "output", "kernel", "parameters", "multiply_adds", "connections",
            "activation_bytes", "receptive_field"} == set(record["model"]["layers"][0])
    assert set(record["result"]) == {"test_error", "test_loss", "test_top5_error", "test_images", "train_error",
                                     "validation_error", "parameters", "multiply_adds", "connections"}


def test_the_run_directory_holds_whole_files(finished):
    record, run, _ = finished
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "config.json", "lock", "log.jsonl", "model.keras",
                                                           "record.json"]
    assert read_record(run / "record.json") == json.loads(json.dumps(record))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    epochs = [{key: value for key, value in line.items() if key not in ("time", "what")}
              for line in lines if line["what"] == "epoch"]
    assert epochs == record["history"]
    config = json.loads((run / "config.json").read_text())
    assert set(config) == {"id", "architecture", "dataset", "recipe", "seed", "layers", "deterministic", "code_sha256",
                           "versions", "forced"}
    assert all(config[key] == record[key] for key in ("id", "architecture", "seed", "layers", "code_sha256"))
    assert config["recipe"]["resolved"] == {
        key: value for key, value in record["recipe"]["resolved"].items() if key != "gaps"}         # words may change


def test_the_history_has_a_row_an_epoch(finished):
    record, _, _ = finished
    steps = -(-1293 // 32)
    assert [(row["epoch"], row["step"]) for row in record["history"]] == [(1, steps), (2, 2 * steps)]
    assert [row["rate"] for row in record["history"]] == [0.05, 0.01]
    for row in record["history"]:
        assert set(row) == {"epoch", "step", "rate", "train_loss", "train_error", "validation_loss", "validation_error",
                            "seconds", "images_per_second"}
        assert 0 <= row["train_error"] <= 100 and 0 <= row["validation_error"] <= 100 and row["images_per_second"] > 0
    assert record["history"][1]["train_loss"] < record["history"][0]["train_loss"]
    assert record["result"]["test_error"] < 50             # guessing has 90
    assert record["result"]["train_error"] == record["history"][-1]["train_error"]


def test_predictions_are_of_the_whole_test_set(finished):
    record, _, opened = finished
    found = record["predictions"]
    labels = datasets.load("digits").open_test()[1]
    assert set(found) == {"labels", "classes", "scores"} and found["labels"] == labels.tolist()
    assert len(found["classes"]) == len(found["scores"]) == record["result"]["test_images"] == 360
    assert all(100 <= score <= 1000 for score in found["scores"])          # of the best of ten classes
    wrong = np.not_equal(found["labels"], found["classes"])
    assert record["result"]["test_error"] == pytest.approx(100 * wrong.mean(), abs=1e-5)
    assert record["result"]["test_top5_error"] <= record["result"]["test_error"]
    assert opened == [2]                                   # once, and after the last epoch


def test_samples_are_eight_right_and_eight_wrong_images_with_their_saliency(finished):
    record, _, _ = finished
    images, labels = datasets.load("digits").open_test()
    assert [row["right"] for row in record["samples"]] == 8 * [True] + 8 * [False]
    indices = [row["index"] for row in record["samples"]]
    assert indices == sorted(indices[:8]) + sorted(indices[8:]) and len(set(indices)) == 16
    for row in record["samples"]:
        assert set(row) == {"index", "label", "right", "top5", "image", "saliency"}
        assert row["label"] == labels[row["index"]]
        classes, scores = zip(*row["top5"])
        assert len(set(classes)) == 5 and list(scores) == sorted(scores, reverse=True) and sum(scores) <= 1.001
        assert (classes[0] == row["label"]) == row["right"]
        assert classes[0] == record["predictions"]["classes"][row["index"]]
        assert abs(1000 * scores[0] - record["predictions"]["scores"][row["index"]]) <= 0.6
        np.testing.assert_array_equal(pixels(row["image"]), images[row["index"], :, :, 0])
        saliency = pixels(row["saliency"])
        assert saliency.shape == (32, 32) and saliency.min() == 0 and saliency.max() == 255


def pixels(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_learned_kernels_and_feature_maps_are_the_models(finished):
    record, run, _ = finished
    found = record["learned"]
    model = keras.models.load_model(run / "model.keras", compile=False)
    first = model.get_layer("lenet5_modern").get_layer("C1")
    assert (found["layer"], found["shape"]) == ("C1", [5, 5, 1, 6])
    np.testing.assert_allclose(found["kernels"], first.kernel.numpy(), atol=6e-5)
    assert found["feature_maps"]["index"] == record["samples"][0]["index"]
    assert [pixels(image).shape for image in found["feature_maps"]["images"]] == 6 * [(28, 28)]


def test_the_saved_model_classifies_raw_images_in_a_process_that_knows_only_the_layers(finished, tmp_path):
    record, run, _ = finished
    np.save(tmp_path / "images.npy", datasets.load("digits").open_test()[0])
    code = """
import json, sys
import cnn_repro.layers, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
images = np.load("images.npy")
assert images.dtype == np.uint8
scores = model.predict(images, verbose=0)
enlarged = model.predict(images[:3].repeat(2, 1).repeat(2, 2), verbose=0)          # any size is brought to 8 × 8
assert not [name for name in sys.modules if name.startswith(("cnn_repro.repro", "cnn_repro.architectures"))]
sums = scores.sum(axis=1)
print(json.dumps({"names": model.layers[-1].class_names, "classes": scores.argmax(axis=1).tolist(),
                  "input": model.input_shape, "sums": [float(sums.min()), float(sums.max())], "shape": enlarged.shape}))
"""
    child = subprocess.run([sys.executable, "-c", code, str(run / "model.keras")], cwd=tmp_path, capture_output=True,
                           text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["classes"] == record["predictions"]["classes"]
    assert found["names"] == record["dataset"]["classes"]
    assert found["input"] == [None, None, None, 1] and found["shape"] == [3, 10]
    assert found["sums"] == pytest.approx([1, 1], abs=1e-5)


# -------------------------------------------------------------------------------- determinism, the test set, twins

def test_the_same_seed_trains_the_same_whatever_the_test_labels(finished, tmp_path, monkeypatch):
    """Two facts in one run: a training repeats bit for bit, and permuted test labels cannot steer it."""
    original = Dataset.open_test

    def permuted(self):
        images, labels = original(self)
        return images, np.roll(labels, 7)

    monkeypatch.setattr(Dataset, "open_test", permuted)
    record, first = smoke(tmp_path)[0], finished[0]
    assert learning(record) == learning(first)
    assert record["predictions"]["classes"] == first["predictions"]["classes"]
    assert record["predictions"]["labels"] != first["predictions"]["labels"]
    assert record["result"]["test_error"] > first["result"]["test_error"]
    assert record["recipe"]["sha256"] == first["recipe"]["sha256"] and record["id"] != first["id"]


def test_another_seed_trains_another_network_on_the_same_split(finished, tmp_path):
    record, first = smoke(tmp_path, seed=1)[0], finished[0]
    assert learning(record)[0]["train_loss"] != learning(first)[0]["train_loss"]
    assert record["seed"] == 1 and "-s1-" in record["id"]
    assert record["dataset"] == first["dataset"]
    assert [row["index"] for row in record["samples"]] != [row["index"] for row in first["samples"]]


@pytest.mark.parametrize("network, rate", [("lenet5_modern", 0.05), ("lenet5", 0.001)])
def test_stock_layers_train_to_nearly_the_same_first_epoch(network, rate, tmp_path):
    ours, stock = (smoke(tmp_path, network=network, layers=layers, schedule__stop=1, schedule__rate=rate)[0]
                   for layers in ("explicit", "stock"))
    assert (ours["layers"], stock["layers"]) == ("explicit", "stock")
    assert ours["history"][0]["train_loss"] == pytest.approx(stock["history"][0]["train_loss"], rel=2e-3)
    assert abs(ours["history"][0]["train_error"] - stock["history"][0]["train_error"]) < 1
    assert ours["recipe"]["sha256"] == stock["recipe"]["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet20_cifar", "plain20_cifar"])
def test_a_cifar_network_learns_the_digits(network, tmp_path):
    record, run = train(network, "digits", "smoke", folder=tmp_path, quiet=True)
    assert record["status"] == "finished" and record["result"]["test_error"] < 60
    assert record["model"]["input_shape"] == [32, 32, 1] and record["learned"]["shape"] == [3, 3, 1, 16]


@pytest.mark.slow
def test_lenet5_by_the_papers_own_rule_learns_the_digits(tmp_path):
    """One image a step, rates scaled by the second derivatives, MAP loss: five passes of the paper's twenty."""
    rates = [5e-4, 5e-4, 2e-4, 2e-4, 2e-4]
    record, _ = train("lenet5", "digits", "paper", folder=tmp_path, quiet=True, overrides={"schedule.rates": rates})
    assert record["status"] == "finished" and record["history"][-1]["step"] == 5 * 1437
    assert record["history"][-1]["train_error"] < 20 and record["history"][-1]["validation_error"] is None
    assert [(row["key"], row["here"]) for row in record["recipe"]["differences"]] == [("schedule.rates", rates)]


# ---------------------------------------------------------------------------------- runs that end in another way

def test_a_diverging_run_stops_and_keeps_a_record_without_nan(tmp_path):
    record, run = smoke(tmp_path, schedule__rate=5e4)
    assert record["status"] == "diverged" and re.fullmatch(r"the loss is (nan|inf) at step \d+", record["reason"])
    assert int(record["reason"].split()[-1]) <= loop.CHECK_EVERY
    assert record["history"] == [] and record["result"] == {} and "predictions" not in record
    text = (run / "record.json").read_text()
    assert "NaN" not in text and "Infinity" not in text and read_record(run / "record.json")["status"] == "diverged"
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "lock", "record.json"]      # no NaNs


@pytest.mark.parametrize("network, rate", [("lenet5_modern", 0), ("lenet5", 1e3)])
def test_a_run_that_learns_nothing_is_stuck_and_the_test_set_stays_closed(network, rate, tmp_path, monkeypatch):
    """Without a step, or with F6 saturated for good: a cross-entropy says ln 10 then, a MAP loss anything."""
    monkeypatch.setattr(Dataset, "open_test", lambda self: pytest.fail("the test set was opened"))
    record, run = smoke(tmp_path, network=network, schedule__stop=1, schedule__rate=rate)
    assert record["status"] == "stuck" and record["result"] == {}
    assert re.fullmatch(r"stuck at chance: the training error ended at (8|9)\d\.\d %, no better than naming .*", record["reason"])
    assert len(record["history"]) == 1 and record["history"][0]["train_loss"] > 2
    assert read_record(run / "record.json")["status"] == "stuck"


@pytest.mark.parametrize("error, stuck", [(90, True), (88, True), (86, False), (3, False)])
def test_stuck_is_no_better_than_guessing_by_more_than_chance(error, stuck):
    assert loop.no_better_than_guessing(error, np.arange(1000) % 10) == stuck


def test_a_failure_is_recorded_and_raised(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "save", full)
    with pytest.raises(RunError, match=r"model.keras: cannot write the model of 0\.\d MiB \(No space left on device\)"):
        smoke(tmp_path, schedule__stop=1)
    run, = tmp_path.iterdir()
    record = read_record(run / "record.json")
    assert record["status"] == "failed" and record["reason"].startswith(f"RunError: {run}/model.keras: cannot write")
    assert len(record["history"]) == 1 and record["ended"]


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_in_its_record(with_signal, tmp_path):
    command = [sys.executable, "-m", "cnn_repro.repro", "train", "lenet5_modern", "--dataset", "digits",
               "--recipe", "smoke", "--set", "schedule.stop=100000", "--runs", str(tmp_path)]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = next((line for line in child.stdout if line.startswith("epoch   1/")), None)
        assert line is not None, child.stderr.read()
        child.send_signal(with_signal)
        _, stderr = child.communicate(timeout=120)
    finally:
        child.kill()
    run, = tmp_path.iterdir()
    record = read_record(run / "record.json")
    assert record["status"] == "interrupted" and record["ended"]
    assert re.fullmatch(rf"{with_signal.name} at step \d+; the same command goes on there", record["reason"])
    assert child.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[with_signal]
    assert stderr == f"repro: interrupted: {record['reason']} ({run})\n"
    assert len(record["history"]) >= 1 and record["result"] == {} and list((run / "checkpoints").iterdir())
    assert not (run / "model.keras").exists()


def test_while_it_runs_the_record_says_running(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(running, "build", lambda *_, **__: seen.append(
        read_record(next(tmp_path.iterdir()) / "record.json")) or (_ for _ in ()).throw(ValueError("enough")))
    with pytest.raises(ValueError, match="enough"):
        smoke(tmp_path)
    assert seen[0]["status"] == "running" and seen[0]["model"] is None and seen[0]["ended"] is None


def test_sigterm_is_handed_back_after_the_run(finished):
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("arguments, error, message", [
    (dict(architecture="lenet6"), ValueError, "no architecture 'lenet6', did you mean 'lenet5'"),
    (dict(dataset="digit"), datasets.DataError, "no data set 'digit'.*did you mean 'digits'"),
    (dict(recipe="smok"), RecipeError, "no recipe 'smok', did you mean 'smoke'"),
    (dict(overrides={"bach": 1}), RecipeError, "unknown key 'bach', did you mean 'batch'"),
    (dict(overrides={"batch": 5000}), datasets.DataError, "batch of 5000 is more than the 1293 training images of"),
    (dict(overrides={"validation": 1437}), datasets.DataError, "validation is 1437, expected a count below 1437"),
])
def test_a_wrong_request_leaves_nothing_behind(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        train(**{"architecture": "lenet5_modern", "dataset": "digits", "recipe": "smoke"} | arguments, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_network_has_a_card_to_train_by():
    from cnn_repro.repro.papers import card_of
    found = [(card_of(name), name) for name in names()]
    assert all(card.recipe(name, recipe) for card, name in found for recipe in ("paper", "short", "smoke"))
    with pytest.raises(CardError):
        card_of("nothing")


# ------------------------------------------------------------------------------------------------- the step

def linear(seed=0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((2, 2, 1))
    return keras.Model(inputs, keras.layers.Dense(3, name="out")(keras.layers.Flatten()(inputs)))


def engine(model, optimizer, batch=4, loss=None) -> TensorFlowEngine:
    return TensorFlowEngine(model, {"optimizer": optimizer, "batch": batch, "loss": loss or {"name": "cross_entropy"}})


def batches_of(images, labels, batch) -> datasets.Batches:
    """As they are: nothing prepared, nothing augmented."""
    recipe = {"batch": batch, "augment": [], "preprocess": "none"}
    preprocessing = datasets.fit_preprocessing(images, recipe, images.shape[1:3], "pad")
    return datasets.Batches(images, labels, recipe, preprocessing, images.shape[1:3], "pad")


def softmax_gradients(w, b, x, labels):
    """Of the mean cross-entropy of softmax(x w + b), in float64."""
    x = x.reshape(len(x), -1).astype("float64")
    logits = x @ w + b
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    difference = (p - np.eye(3)[labels]) / len(x)
    return x.T @ difference, difference.sum(axis=0)


def some(n, *shape, seed=0, classes=3):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, *shape)).astype("float32"), random.integers(0, classes, n)


@pytest.mark.parametrize("momentum, decay", [(0.0, 0.0), (0.9, 0.0), (0.9, 0.01), (0.0, 0.1)])
def test_three_steps_with_changing_rates_by_hand(momentum, decay):
    """v ← m v − η (g + λ w), w ← w + v: a new rate does not touch the velocity gathered before; λ covers the bias."""
    model = linear()
    w, b = (value.astype("float64") for value in model.get_weights())
    b += 0.5                                            # a bias of zero would not decay
    model.layers[-1].bias.assign(b)
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    images, labels = some(12, 2, 2, 1)
    rates = [0.1, 0.1, 0.01]
    trained = engine(model, {"name": "sgd", "momentum": momentum, "weight_decay": decay})
    trained.train(images.reshape(3, 4, 2, 2, 1), labels.reshape(3, 4), rates)
    for step, rate in enumerate(rates):
        part = slice(4 * step, 4 * step + 4)
        gradients = softmax_gradients(w, b, images[part], labels[part])
        velocity = [momentum * v - rate * (g + decay * value) for v, g, value in zip(velocity, gradients, (w, b))]
        w, b = w + velocity[0], b + velocity[1]
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-5, atol=1e-6)
    assert int(trained.optimizer.iterations) == 3


def test_weight_decay_covers_every_trainable_variable_and_no_statistics():
    """With no gradient at all (the network does not depend on its input), one step multiplies weights by 1 − ηλ."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Dense(1, name="out")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)                      # one class: the loss is 0 whatever the weights are
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(np.random.default_rng(1).uniform(0.5, 1, variable.shape))
    before = {variable.path: variable.numpy() for variable in model.variables}
    images, _ = some(4, 4, 4, 1)
    engine(model, {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1}).train(images[None], np.zeros((1, 4), int), [0.5])
    assert len(model.trainable_variables) == 6
    for variable in model.trainable_variables:
        expected = (1 - 0.05) * before[variable.path]
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6, err_msg=variable.path)
    for variable in model.non_trainable_variables:      # moved towards the batch's, not decayed
        assert not np.allclose(variable.numpy(), 0.95 * before[variable.path])


def test_levenberg_marquardt_divides_each_step_by_its_curvature():
    """w ← w − η/(μ + h) g, for each weight its own h."""
    model = linear()
    w, b = (value.astype("float64") for value in model.get_weights())
    trained = engine(model, {"name": "sdlm", "mu": 0.02, "hessian_samples": 5})
    assert isinstance(trained.optimizer, DiagonalLevenbergMarquardt)
    h = [np.random.default_rng(2).uniform(0, 1, value.shape) for value in (w, b)]
    trained.optimizer.set_curvature(h)
    images, labels = some(8, 2, 2, 1)
    trained.train(images.reshape(2, 4, 2, 2, 1), labels.reshape(2, 4), [0.01, 0.002])
    for part, rate in ((slice(0, 4), 0.01), (slice(4, 8), 0.002)):
        g = softmax_gradients(w, b, images[part], labels[part])
        w, b = w - rate / (0.02 + h[0]) * g[0], b - rate / (0.02 + h[1]) * g[1]
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-5, atol=1e-6)


def test_levenberg_marquardt_starts_without_curvature_and_wants_one_a_variable():
    model = linear()
    optimizer = engine(model, {"name": "sdlm", "mu": 0.02, "hessian_samples": 5}).optimizer
    assert all(not np.any(h.numpy()) for h in optimizer.curvature)
    assert [tuple(h.shape) for h in optimizer.curvature] == [(4, 3), (3,)]
    with pytest.raises(ValueError):
        optimizer.set_curvature([np.zeros((4, 3))])
    again = DiagonalLevenbergMarquardt.from_config(optimizer.get_config())
    assert (again.mu, again.hessian_samples) == (0.02, 5)


def test_several_steps_a_call_are_the_same_steps(monkeypatch):
    images, labels = some(300, 2, 2, 1)
    weights, steps = [], []
    for together in (1, 256):
        monkeypatch.setattr(tensorflow_engine, "IMAGES_A_CALL", together)
        model = linear()
        trained = engine(model, {"name": "sgd", "momentum": 0.9}, batch=1)
        assert trained.steps_a_call == together
        calls = 0
        for x, y in batches_of(images, labels, 1).epoch(1, trained.steps_a_call):
            trained.train(x, y, np.full(len(x), 0.01))
            calls += 1
        weights.append(model.get_weights())
        steps.append((calls, int(trained.optimizer.iterations), trained.running()))
    for one, other in zip(*weights):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert steps[0][:2] == (300, 300) and steps[1][:2] == (2, 300)
    assert steps[0][2] == pytest.approx(steps[1][2], rel=1e-5)


def test_a_state_of_another_rule_network_or_dtype_is_not_taken_back():
    """In shapes alone the states of rmsprop and of Adam are the same; Keras's counters are not a part of a name."""
    def state(**rule):
        return dict(engine(linear(), rule).arrays())

    adam = engine(linear(), {"name": "adam"})
    before = adam.arrays()
    shapes = [values.shape for values in state(name="rmsprop").values()]
    assert shapes == [values.shape for _, values in before]
    single = {name: values.astype("float16") if "kernel" in name else values for name, values in before}
    renamed = {name.replace("kernel", "matrix"): values for name, values in before}
    for other in (state(name="rmsprop"), state(name="sgd"), single, renamed):
        with pytest.raises(ValueError, match="another network or optimizer"):
            adam.restore(other)
    for (name, values), (_, kept) in zip(adam.arrays(), before, strict=True):
        np.testing.assert_array_equal(values, kept, err_msg=name)

    def unnamed(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dropout(0.5),
                                 keras.layers.Dense(3)])

    one, other = (engine(unnamed(seed), {"name": "adam"}) for seed in (1, 2))
    assert [name for name, _ in one.arrays()] != [name for name, _ in other.arrays()]
    other.restore(dict(one.arrays()))
    assert all((a == b).all() for (_, a), (_, b) in zip(one.arrays(), other.arrays(), strict=True))


def test_running_is_the_mean_since_the_last_reset():
    model = linear()
    images, labels = some(6, 2, 2, 1)
    trained = engine(model, {"name": "sgd"})
    logits, losses = trained.evaluate([images[None]], labels)
    trained.train(images[None], labels[None], [0.0])
    loss, error = trained.running()
    assert loss == pytest.approx(losses.mean(), rel=1e-6)
    assert error == pytest.approx(100 * (logits.argmax(axis=1) != labels).mean())
    trained.reset()
    assert trained.running() == (0.0, 0.0)
    trained.train(images[None, :2], labels[None, :2], [0.0])
    trained.train(images[None, 2:3], labels[None, 2:3], [0.0])          # a mean over images, not over batches
    assert trained.running()[0] == pytest.approx(losses[:3].mean(), rel=1e-6)


def test_evaluation_is_whole_in_any_blocks_and_uses_moving_averages():
    inputs = keras.Input((2, 2, 1))
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    images, labels = some(11, 2, 2, 1)
    expected = model(images, training=False).numpy()
    trained = engine(model, {"name": "sgd"})
    logits, losses = trained.evaluate((images[None, first:first + 4] for first in (0, 4, 8)), labels)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    shifted = np.exp(expected - expected.max(axis=1, keepdims=True))
    by_hand = -np.log(shifted[np.arange(11), labels] / shifted.sum(axis=1))
    np.testing.assert_allclose(losses, by_hand, rtol=1e-4, atol=1e-6)
    views = np.stack([images, images[:, ::-1]])                         # of two views the probabilities' mean
    logits, losses = trained.evaluate([views], labels)
    mean = sum(evidence.softmax(model(view, training=False).numpy()) for view in views) / 2
    np.testing.assert_allclose(evidence.softmax(logits), mean, rtol=1e-4)
    np.testing.assert_allclose(losses, -np.log(mean[np.arange(11), labels]), rtol=1e-4, atol=1e-6)


def test_a_run_is_tested_on_whole_images(tmp_path, monkeypatch):
    """At 36 pixels a network of 32 without padding sees the four crops in steps of its own stride."""
    found, original = [], TensorFlowEngine.evaluate

    def spy(self, blocks, labels, whole=None):
        if whole:
            blocks = list(blocks)
            found.append((self.model, blocks, labels))
        return original(self, blocks, labels, whole)

    monkeypatch.setattr(TensorFlowEngine, "evaluate", spy)
    record, _ = smoke(tmp_path, test={"views": "whole", "scales": [32, 36]})
    (model, blocks, labels), = found
    seen = []
    for small, small_mirrored, large, large_mirrored in blocks:
        assert small.shape[1:] == (32, 32, 1) and large.shape[1:] == (36, 36, 1)
        views = [model.predict_on_batch(small), model.predict_on_batch(small_mirrored)]
        for view in (large, large_mirrored):
            views.append(np.mean([model.predict_on_batch(view[:, top:top + 32, left:left + 32])
                                  for top in (0, 4) for left in (0, 4)], axis=0))
        seen.append(np.mean([evidence.softmax(one) for one in views], axis=0))
    wrong = np.concatenate(seen).argmax(axis=1) != labels
    assert record["result"]["test_error"] == pytest.approx(100 * wrong.mean(), abs=0.01) and 0 < wrong.mean() < 0.9
    assert record["result"]["validation_error"] < 90


def test_batch_normalisations_averages_are_made_anew_over_some_batches():
    inputs = keras.Input((2, 2, 1))
    x = keras.layers.BatchNormalization(momentum=0.9997, name="bn")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    images, labels = some(12, 2, 2, 1)
    batches = batches_of(images, labels, 4)
    trained = engine(model, {"name": "sgd"})
    before = [variable.numpy() for variable in model.trainable_variables]
    trained.renew_statistics(batches, 2)
    seen = [inputs[0] for inputs, _ in batches.epoch(1)][:2]
    bn = model.get_layer("bn")
    np.testing.assert_allclose(bn.moving_mean.numpy(), [np.mean([x.mean() for x in seen])], rtol=1e-5)
    np.testing.assert_allclose(bn.moving_variance.numpy(), [np.mean([x.var() for x in seen])], rtol=1e-5)
    assert bn.momentum == 0.9997
    for variable, value in zip(model.trainable_variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_auxiliary_outputs_count_in_training_and_the_first_output_is_tested():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(3, name="out")(flat), keras.layers.Dense(3, name="aside")(flat)])
    images, labels = some(6, 2, 2, 1)
    trained = engine(model, {"name": "sgd"}, loss={"name": "cross_entropy", "auxiliary": 0.3})
    main, aside = (np.asarray(y) for y in model(images))
    own = [-np.log(evidence.softmax(y)[np.arange(6), labels]).mean() for y in (main, aside)]
    trained.train(images[None], labels[None], [0.1])
    assert trained.running()[0] == pytest.approx(own[0] + 0.3 * own[1], rel=1e-5)
    assert trained.running()[1] == pytest.approx(100 * (main.argmax(1) != labels).mean())
    assert all(np.any(np.asarray(model.get_layer(name).bias)) for name in ("out", "aside"))        # both have moved
    logits, _ = trained.evaluate([images[None]], labels)
    np.testing.assert_allclose(logits, model(images)[0], rtol=1e-5)


def test_a_network_that_draws_its_input_is_given_the_label():
    """CapsNet's decoder: [image, label] → [lengths, image]; the loss sees the image, the gradient of a length no label."""
    keras.utils.set_random_seed(0)
    image, label = keras.Input((2, 2, 1)), keras.Input((), dtype="int32")
    lengths = keras.layers.Dense(3, activation="sigmoid")(keras.layers.Flatten()(image))
    drawn = keras.layers.Reshape((2, 2, 1))(keras.layers.Embedding(3, 4)(label))
    model = keras.Model([image, label], [lengths, drawn])
    images, labels = some(6, 2, 2, 1)
    trained = engine(model, {"name": "sgd"}, loss={"name": "margin", "reconstruction": 0.5})
    lengths, drawn = (np.asarray(y) for y in model([images, labels]))
    present = np.eye(3)[labels]
    margin = present * np.maximum(0.9 - lengths, 0)**2 + 0.5 * (1 - present) * np.maximum(lengths - 0.1, 0)**2
    expected = (margin.sum(1) + 0.5 * ((drawn - images)**2).sum((1, 2, 3))).mean()
    trained.train(images[None], labels[None], [0.0])
    assert trained.running()[0] == pytest.approx(expected, rel=1e-5)
    logits, losses = trained.evaluate([images[None]], labels)
    np.testing.assert_allclose(logits, lengths, rtol=1e-5)
    assert losses.mean() == pytest.approx(expected, rel=1e-5)
    assert trained.input_gradients(images, labels).shape == images.shape


def test_input_gradients_are_those_of_the_chosen_logit():
    model = linear()
    images, classes = some(5, 2, 2, 1)
    found = engine(model, {"name": "sgd"}).input_gradients(images, classes)
    expected = model.get_weights()[0].T[classes].reshape(5, 2, 2, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# ------------------------------------------------------------------------------------- schedules and epochs

def test_a_warm_up_ends_during_training(tmp_path):
    record, _ = smoke(tmp_path, schedule__stop=2, schedule__warmup={"rate": 0.02, "until_train_error": 80})
    assert [row["rate"] for row in record["history"]] == [0.02, 0.01]    # looked at every 50 steps; then 0.05 · 0.2


def test_a_stop_inside_an_epoch_is_exact(tmp_path, monkeypatch):
    steps = []
    original = TensorFlowEngine.train
    monkeypatch.setattr(TensorFlowEngine, "train", lambda self, images, labels, rates: (
        steps.extend(float(rate) for rate in rates), original(self, images, labels, rates)))
    record, _ = smoke(tmp_path, schedule={"kind": "step", "rate": 0.05, "at": [43], "factor": 0.1, "stop": 45})
    assert [(row["epoch"], row["step"]) for row in record["history"]] == [(1, 41), (2, 45)]
    assert steps == pytest.approx(43 * [0.05] + 2 * [0.005])
    assert record["status"] == "finished" and record["history"][-1]["rate"] == pytest.approx(0.005)


# ------------------------------------------------------------------------------------------------- a graph

@pytest.mark.parametrize("network", ["gcn", "gcn_mlp"])
def test_a_graphs_nodes_are_trained_all_at_once(network, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name: Communities())
    record, run = train(network, "cora", folder=tmp_path, quiet=True, overrides={
        "schedule.stop": 150, "schedule.rate": 0.05, "validation": 20})
    as_it_should_be(record)
    if network == "gcn":
        adjacency = np.eye(100, dtype="float32")
        loaded = keras.models.load_model(run / "model.keras")
        assert loaded([Communities().graph["features"], adjacency]).shape == (100, 2)


@pytest.mark.parametrize("network, dataset, said", [
    ("gcn", "cora", "using 1 of 3 devices: cora is a graph, whose nodes are trained on all at once\n"),
    ("lenet5_modern", "digits", "using 1 of 3 devices: the last batch of an epoch has 1 of the 1437 training images of "
     "digits (--set batch=N changes that)\n")])
def test_by_default_as_many_devices_are_taken_as_the_batches_have_room_for(network, dataset, said, tmp_path, monkeypatch,
                                                                           capsys):
    """Three devices by default; what is asked for and cannot be is refused with what can."""
    import tensorflow as tf
    claim = TensorFlowEngine.claim

    def on_a_machine_with_three(device, deterministic, count=None):
        return claim(device, deterministic, count) if count == 1 else Together(count or 3)

    monkeypatch.setattr(TensorFlowEngine, "claim", on_a_machine_with_three)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [
        tf.config.PhysicalDevice(f"GPU:{index}", "GPU") for index in range(3)])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {"device_name": device.name})
    if dataset == "cora":
        monkeypatch.setattr(datasets, "load", lambda name: Communities())
        recipe, overrides = "paper", {"schedule.stop": 2, "validation": 20}
    else:
        recipe, overrides = "smoke", SHORT | {"batch": 4, "validation": 0, "schedule.stop": 1}
    with pytest.raises(datasets.DataError, match=r"^2 devices, and .*: --replicas 1$"):
        train(network, dataset, recipe, 0, overrides, folder=tmp_path, replicas=2)
    assert not list(tmp_path.iterdir())
    record, _ = train(network, dataset, recipe, 0, overrides, folder=tmp_path)
    assert capsys.readouterr().out.startswith(said)
    assert record["hardware"]["replicas"] == 1 and record["hardware"]["accelerators"] == ["GPU:0"]


def test_every_row_of_kipfs_table_gets_its_own_adjacency():
    graph = Communities()
    dense = np.zeros((100, 100))
    dense[tuple(graph.graph["edges"].T)] = dense[tuple(graph.graph["edges"].T[::-1])] = 1
    for name, rule in (("gcn", "renormalized"), ("gcn_single_parameter", "single_parameter"),
                       ("gcn_first_order_term", "neighbours"), ("gcn_first_order", "neighbours"),
                       ("gcn_chebyshev2", "scaled_laplacian"), ("gcn_chebyshev3", "scaled_laplacian")):
        feed = feed_of(find(name), graph, {"validation": 20}, 0)
        features, adjacency = feed.held_out()[0]
        assert (features[0] == graph.graph["features"]).all()
        np.testing.assert_allclose(adjacency[0], normalized_adjacency(dense, rule), atol=1e-5)
    alone, = feed_of(find("gcn_mlp"), graph, {"validation": 20}, 0).held_out()
    assert alone.shape == (1, 100, 32)


def test_a_graph_has_its_own_nodes_to_validate_on(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name: Communities())
    with pytest.raises(datasets.DataError, match="its own 20 nodes to validate on: validation is 0 or 20, not 10"):
        train("gcn", "cora", folder=tmp_path, overrides={"validation": 10})


@pytest.mark.parametrize("network, dataset, message", [
    ("gcn", "digits", "gcn takes the nodes of a graph, and digits has images"),
    ("lenet5_modern", "cora", "lenet5_modern takes images, and cora has a graph")])
def test_a_data_set_of_another_kind_is_refused(network, dataset, message, tmp_path, monkeypatch):
    if dataset == "cora":
        monkeypatch.setattr(datasets, "load", lambda name: Communities())
    with pytest.raises(datasets.DataError, match=message):
        train(network, dataset, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_what_the_log_gets(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e .[tensorboard]")
    import tensorflow as tf
    record, run = smoke(tmp_path, schedule__stop=1)
    assert not (run / "tensorboard").exists()
    record, run = train("lenet5_modern", "digits", "smoke", run=tmp_path / "other", quiet=True, tensorboard=True,
                        overrides=SHORT | {"schedule.stop": 1})
    file, = (run / "tensorboard").iterdir()
    found = {(value.tag, event.step): value.simple_value
             for event in tf.compat.v1.train.summary_iterator(str(file)) for value in event.summary.value}
    row = record["history"][-1]
    for name in ("rate", "train_loss", "train_error", "validation_loss", "validation_error"):
        assert found[name, row["step"]] == pytest.approx(row[name], rel=1e-6)


def test_tensorboard_shows_no_step_twice_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e .[tensorboard]")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from cnn_repro.repro.training.board import Board
    log = tmp_path / "log.jsonl"

    def steps_shown(*rows):
        """As one process writes them, row after row; what there is when it ends."""
        board = Board(tmp_path / "tensorboard", log)
        for step in rows:
            row = {"time": "2026-01-02T03:04:05Z", "step": step, "train_loss": 0.5}
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            board.write(row)
        file, = (tmp_path / "tensorboard").iterdir()
        return [event.step for event in EventFileLoader(str(file)).Load() if event.summary.value]

    assert steps_shown(50, 100, 150) == [50, 100, 150]
    log.write_text("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    assert steps_shown(150, 200) == [50, 100, 150, 200]                 # from the checkpoint of step 100 on
    assert "tensorflow" not in subprocess.run(
        [sys.executable, "-c", "import sys, cnn_repro.repro.training.board; print(*sys.modules)"],
        capture_output=True, text=True, check=True).stdout.split()


# ------------------------------------------------------------------------------------ evidence, export, progress

def test_predictions_and_softmax_by_hand():
    logits = np.array([[0.0, np.log(3), 0.0], [1000.0, 0.0, 0.0]])
    np.testing.assert_allclose(evidence.softmax(logits), [[0.2, 0.6, 0.2], [1, 0, 0]], atol=1e-12)
    assert evidence.predictions(logits, np.array([2, 0])) == {
        "labels": [2, 0], "classes": [1, 0], "scores": [600, 1000]}


def test_images_survive_as_png_and_flat_ones_are_black():
    gray = np.arange(24, dtype="uint8").reshape(4, 6, 1)
    np.testing.assert_array_equal(pixels(evidence.png(gray)), gray[..., 0])
    colour = np.arange(72, dtype="uint8").reshape(4, 6, 3)
    np.testing.assert_array_equal(pixels(evidence.png(colour)), colour)
    assert evidence.stretched(np.array([[-1.0, 0.0, 1.0]])).tolist() == [[0, 128, 255]]
    for flat in (np.full((2, 2), 3.0), np.array([[np.nan, 1.0]]), np.array([[np.inf, 1.0]])):
        assert not evidence.stretched(flat).any()


def test_samples_take_what_there_is():
    model = linear()
    images = np.zeros((3, 2, 2, 1), "uint8")
    inputs = images.astype("float32")
    logits = np.array([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])

    def draw(labels):
        drawn = evidence.drawn(logits, np.array(labels), datasets.random(0, 0, "samples"))
        return evidence.samples(engine(model, {"name": "sgd"}), drawn, images[drawn], inputs[drawn], np.array(labels), logits)

    assert [(row["index"], row["right"]) for row in draw([0, 1, 0])] == [(0, True), (1, True), (2, False)]
    assert [row["right"] for row in draw([1, 2, 0])] == 3 * [False]
    assert len(draw([0, 1, 2])[0]["top5"]) == 3          # fewer than five classes


def test_samples_are_drawn_by_the_seed_and_not_from_the_front():
    logits = np.eye(3)[np.zeros(60, int)]

    def draw(seed):
        return evidence.drawn(logits, np.arange(60) // 30, datasets.random(seed, 0, "samples"))

    assert draw(0) == draw(0) != draw(1)
    assert [index < 30 for index in draw(0)] == 8 * [True] + 8 * [False]
    assert draw(0)[:8] != list(range(8)) and draw(0)[8:] != list(range(30, 38))


def test_a_network_without_convolutions_has_no_kernels_to_show():
    assert evidence.learned(linear(), 0, np.zeros((1, 2, 2, 1), "float32")) is None


def test_a_model_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    model = linear()
    path = export.save(model, tmp_path / "model.keras")
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export.os, "replace", fail)
        with pytest.raises(OSError):
            export.save(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]

    def half(file):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save", half)
    with pytest.raises(KeyboardInterrupt):
        export.save(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("enlarge", ["resize", "pad"])
def test_the_deployed_model_prepares_images_as_the_training_did(enlarge):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)), name="net")
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3)).astype("uint8")
    fitted = datasets.fit_to(images, (7, 8), enlarge)
    for kind in ("per_pixel_mean", "mean_std", "lenet"):
        preprocessing = datasets.Preprocessing.fit(kind, fitted)
        deployed = export.deployable(model, preprocessing, (4, 5, 3), enlarge, ["a", "b", "c", "d"])
        expected = evidence.softmax(model(preprocessing.apply(fitted)).numpy())
        np.testing.assert_allclose(deployed(images.astype("float32")).numpy(), expected, atol=2e-5)
        assert deployed.name == "net_deployed" and deployed.layers[-1].class_names == ["a", "b", "c", "d"]


def test_progress_is_one_line_an_epoch_without_a_terminal(capsys):
    row = {"epoch": 3, "step": 123, "rate": 0.05, "train_loss": 1.23456, "train_error": 45.678, "validation_loss": 0.5,
           "validation_error": 12.5, "seconds": 2.4, "images_per_second": 567.8}
    with Progress(10, 9, "title") as progress:
        progress.advance(5)
        progress.epoch(row)
        progress.epoch(row | {"validation_loss": None, "validation_error": None})
    first, second = capsys.readouterr().out.splitlines()
    assert first == ("epoch   3/9  step    123  rate 0.05     train loss 1.2346  error 45.68 %   "
                     "validation loss 0.5000  error 12.50 %   2 s  568 images/s")
    assert "validation" not in second
    with Progress(10, 9, "title", quiet=True) as progress:
        progress.epoch(row)
    assert capsys.readouterr() == ("", "")
