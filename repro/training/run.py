"""One run: a network, a data set, a recipe and a seed become a run directory and a record.

The same command again finds the same directory (run_directory.py): it goes on where the last checkpoint stands, or says
that the run is finished.
"""
import contextlib
import json
import random
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from ... import layers as explicit
from ...architectures import build, describe, find, follow, over_whole_images
from .. import data as datasets
from .. import record as records
from ..papers import card_of
from ..papers.recipe import NOT_TRAINING
from . import evidence, export
from .engine import Engine
from .feed import feed_of
from .loop import CHECK_EVERY, Loop, Signals, TrainingStopped, error_percent, labelled, no_better_than_guessing, rounded
from .run_directory import (
    ENDED, FollowedRun, RunDirectory, RunError, code_sha256, difference, in_a_name, run_name, versions)
from .schedule import Schedule

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
ENGINES = {"tensorflow": (".tensorflow_engine", "TensorFlowEngine"), "jax": (".jax_engine", "JaxEngine")}


def train(architecture: str, dataset: str, recipe: str = "paper", seed: int = 0, overrides: dict | None = None,
          layers: str = "explicit", folder: Path | str = "runs", quiet: bool = False, *, run: Path | str | None = None,
          force: bool = False, deterministic: bool = False, tensorboard: bool = False, device: str | None = None,
          replicas: int | None = None) -> tuple[dict, Path]:
    """Train, or go on with a training, and return (record, run directory).

    layers: "explicit" for ours, "stock" for keras.layers. run: the run directory, else one in `folder` that is named
    after what is asked for. force: go on although recipe, code, versions or data are not those that it was begun with;
    the record says so.
    deterministic: the backend's deterministic operations; resumed and uninterrupted runs are then equal bit for bit.
    device: "cpu" or "gpu", where it must be that one. replicas: over how many devices of this machine every batch is
    spread, by default all its GPUs, or as many as its smallest batch has images. Where TF_CONFIG names several workers
    each of them is to call this; the chief alone has the run directory, and returns what is in the record.
    A run that diverges, learns nothing or is asked to stop is returned with that status in its record; one that fails
    is raised again. Raises ArchitectureError, CardError, RecipeError or DataError for what cannot be trained, and RunError
    for a directory that another process holds or that was begun with something else.
    """
    engine = engine_class()
    if keras.config.image_data_format() != "channels_last":
        raise ValueError("training feeds images (N, H, W, C): set image_data_format to channels_last in Keras's "
                         "configuration")
    together = engine.claim(device, deterministic, replicas)
    if seed < 0:
        raise ValueError(f"a seed is 0 or more, not {seed}")
    if tensorboard and find_spec("tensorboard") is None:
        raise RunError("TensorBoard is not installed: pip install -e .[tensorboard], or leave --tensorboard out")
    network, card = find(architecture), card_of(architecture)
    resolved = card.recipe(architecture, recipe, overrides)
    loaded = datasets.load(dataset)
    feed = feed_of(network, loaded, resolved.resolved, seed)
    if together.count > feed.most:
        together = _fewer(engine, together, feed, device, deterministic, replicas, quiet)
    named = run_name(architecture, dataset, recipe, seed, layers, resolved.sha256, bool(resolved.overrides))
    path = Path(run) if run is not None else Path(folder) / named
    asked = {
        "id": records.new_id(architecture, in_a_name(loaded.name), recipe, f"s{seed}"),
        "architecture": architecture, "layers": layers, "seed": seed, "deterministic": deterministic,
        "dataset": {"name": loaded.name, "version": loaded.version, "sha256": loaded.sha256},
        "recipe": {"name": recipe, "resolved": {
            key: value for key, value in resolved.resolved.items() if key not in NOT_TRAINING}},
        "code_sha256": code_sha256(), "versions": versions()} | (
            {"replicas": together.count} if together.count > 1 else {})

    with (RunDirectory if together.process == 0 else FollowedRun)(path) as directory:
        before = _agreed(directory.record(), asked, together)
        if before and before["status"] in ENDED:
            other = directory.same_job(asked)
            print(f"{path}: {before['status']} already{other}" + (f" ({before['reason']})" if before["reason"] else "")
                  + "; to train once more choose another directory with --run DIR")
            return before, path
        config = directory.agree(asked, force)
        entry = {
            "schema": records.SCHEMA, "kind": "training", "id": config["id"], "status": "running", "reason": "",
            "started": before["started"] if before else records.now(), "ended": None,
            "wall_seconds": None, "peak_memory_mib": None, **records.provenance(),
            "backend": keras.backend.backend(), "precision": POLICIES[resolved.resolved.get("precision", "float32")],
            "compile": resolved.resolved.get("compile", engine.COMPILE), "deterministic": deterministic,
            "code_sha256": asked["code_sha256"], "weights_sha256": None, "resumed_at": [], "forced": config["forced"],
            "layers": layers, "paper": card.name, "architecture": architecture, "seed": seed,
            "dataset": {
                "name": loaded.name, "version": loaded.version, "sha256": loaded.sha256, "identity": loaded.identity,
                "splits": feed.splits, "classes": list(loaded.classes)},
            "recipe": {
                "name": resolved.name, "sha256": resolved.sha256, "why": resolved.why, "resolved": resolved.resolved,
                "overrides": resolved.overrides, "differences": list(resolved.differences)},
            "model": None, "history": [], "result": {}}
        entry["hardware"] |= {"accelerators": engine.accelerators(), "replicas": together.count} | _place(together)
        # until the checkpoint is read, what is known of the run is what its last record says
        entry.update({key: before[key] for key in ("model", "history", "resumed_at") if before and before.get(key)})
        _carry_out(entry, before, directory, _Job(
            network, loaded, feed, resolved.resolved, seed, layers, engine, together,
            tensorboard and not together.process, quiet or together.process > 0))
    return entry, path


def _fewer(engine, together, feed, device, deterministic, replicas, quiet):
    """As many devices as the batches can be spread over. Raises DataError where more were asked for."""
    if replicas is not None or together.processes > 1:
        mend = "unset TF_CONFIG" if together.processes > 1 else "--replicas 1" if feed.most == 1 else \
            f"--replicas 1 to {feed.most}"
        raise datasets.DataError(f"{together.count} devices, and {feed.undivided}: {mend}")
    if not quiet:
        print(f"using {feed.most} of {together.count} devices: {feed.undivided}", flush=True)
    return engine.claim(device, deterministic, feed.most)


def _agreed(before: dict | None, asked: dict, together) -> dict | None:
    """The chief's record of what ran before, for every process. Raises RunError where they were asked different things."""
    if together.processes == 1:
        return before
    ours = {key: value for key, value in asked.items() if key != "id"}
    told = json.loads(together.from_chief(json.dumps({"before": before, "asked": ours}).encode()))
    differing = list(difference(told["asked"], json.loads(json.dumps(ours))))
    if together.any(bool(differing)):
        said = "; ".join(f"{key} is {chiefs} there and {own} here" for key, chiefs, own in differing[:6])
        raise RunError("the workers were asked for different trainings: " + (
            f"{said}; give all of them the same command" if said else "another of them says where"))
    before = told["before"]
    return before and before | {"hardware": before["hardware"] | _place(together)}


def _place(together) -> dict:
    return {"processes": together.processes, "process": together.process} if together.processes > 1 else {}


class _Job:
    """What is trained, and with what."""

    def __init__(self, network, loaded, feed, recipe, seed, layers, engine, together, tensorboard, quiet):
        self.network, self.loaded, self.feed, self.recipe = network, loaded, feed, recipe
        self.seed, self.layers, self.engine, self.together = seed, layers, engine, together
        self.tensorboard, self.quiet = tensorboard, quiet
        self.phase = "before the first step"

    def model(self) -> keras.Model:
        """The network with fresh weights of the seed, in the recipe's precision."""
        with _policy(POLICIES[self.recipe.get("precision", "float32")]):
            _seed_chance(self.seed)                 # initialisation and dropout; order and augmentation have their own
            return build(
                self.network.name, classes=len(self.loaded.classes), classifier_activation=None,
                input_shape=self.feed.input_shape, auxiliary=bool(self.recipe["loss"].get("auxiliary")),
                drop_path=drop_path(self.recipe, self.feed.splits["train"]),
                layers=self.namespace)

    @property
    def namespace(self):
        """Of the layers."""
        return explicit if self.layers == "explicit" else keras.layers


def drop_path(recipe: dict, images: int) -> tuple[float, int] | None:
    """What `build` takes of ScheduledDropPath for a recipe on so many training images."""
    rate = recipe.get("drop_path")
    return (rate, Schedule.over(recipe, images).steps) if rate else None


def _seed_chance(seed: int) -> None:
    """keras.utils.set_random_seed, which takes TensorFlow in wherever it is installed: on JAX without that."""
    if keras.backend.backend() == "tensorflow":
        keras.utils.set_random_seed(seed)
    else:
        random.seed(seed)
        np.random.seed(seed)


def _carry_out(entry: dict, before: dict | None, directory: RunDirectory, job: _Job) -> None:
    """Train and test; whatever happens, the record says it."""
    started, spent = time.monotonic(), (before or {}).get("wall_seconds") or 0.0

    def write():
        entry["wall_seconds"] = round(spent + time.monotonic() - started, 1)
        entry["peak_memory_mib"] = max(records.peak_memory_mib() or 0, (before or {}).get("peak_memory_mib") or 0)
        directory.write_record(entry)

    write()
    try:
        with Signals() as signals, job.engine.scope():
            _train_and_test(entry, directory, job, write, signals)
            job.together.any(False)                         # nobody goes while another still computes with it
        entry["status"] = "finished"
    except TrainingStopped as stop:
        entry["status"], entry["reason"] = stop.status, str(stop)
    except KeyboardInterrupt:               # Ctrl-C where `Signals` does not hold yet, or not any more
        entry["status"], entry["reason"] = "interrupted", "SIGINT; the same command goes on"
        raise
    except BaseException as error:
        entry["status"], entry["reason"] = "failed", f"{type(error).__name__}: {error}".splitlines()[0][:500]
        if job.engine.out_of_memory(error):
            raise RunError(f"the device has no memory for a batch of {job.recipe['batch']} images of "
                           f"{'×'.join(map(str, job.feed.input_shape))}, {job.phase}; --set batch=N with a smaller N"
                           ) from None
        if job.engine.lost(error):
            entry["status"], entry["reason"] = "interrupted", f"a worker went away, {job.phase}"
            raise RunError(f"another worker of this training is gone, {job.phase}; start all of them with the same "
                           "command to go on") from None
        raise
    finally:
        entry["ended"] = records.now()
        with contextlib.suppress(RunError) if sys.exc_info()[0] else contextlib.nullcontext():
            write()                             # a full disk must not hide what went wrong


def _train_and_test(entry, directory, job, write, signals) -> None:
    feed = job.feed
    model = job.model()
    entry["model"] = describe(model)
    engine = job.engine(model, job.recipe)
    feed.prepare()
    inputs = model.inputs[0] if len(model.inputs) == 2 and job.loaded.kind != "graph" else model.inputs
    scoring = keras.Model(inputs, model.outputs[0], name=model.name)            # without decoders and auxiliary outputs
    deployed = feed.deployable(scoring)         # built before the first step: what cannot be is known at once
    any_size = over_whole_images(scoring, job.namespace) if feed.whole else None
    board = None
    if job.tensorboard:
        from .board import Board
        board = Board(directory.path / "tensorboard", directory.path / "log.jsonl")
    loop = Loop(engine, feed.batches, Schedule(job.recipe["schedule"], len(feed.batches)), directory, entry, write,
                (feed.held_out_labels, feed.held_out), job.seed, board, job.together)
    resumed = loop.resume()
    if resumed:
        entry["resumed_at"].append(loop.step)
    if not job.quiet:
        print(f"{directory.path}: {job.network.name} on {job.loaded.name} by {entry['paper']}/{entry['recipe']['name']}, "
              f"seed {job.seed}, {entry['model']['parameters']:,} parameters"
              + (f", goes on at step {loop.step}" if resumed else ""), flush=True)
    job.phase = "while training"
    loop.train(signals, f"{job.network.name} on {job.loaded.name}", job.quiet)

    job.phase = "while testing"
    entry["weights_sha256"] = loop.weights_sha256()
    whole = [row for row in entry["history"] if row["step"] % len(feed.batches) == 0] or entry["history"]
    enough = whole[-1]["step"] % len(feed.batches) == 0 or loop.step >= CHECK_EVERY
    if enough and no_better_than_guessing(whole[-1]["train_error"], feed.batches.targets):
        raise TrainingStopped("stuck", f"stuck at chance: the training error ended at {whole[-1]['train_error']:.1f} %, "
                                       "no better than naming the most frequent class")
    with engine.evaluated():
        validation_error = entry["history"][-1]["validation_error"]
        if job.recipe.get("statistics"):
            engine.renew_statistics(feed.batches, job.recipe["statistics"])
            _, validation_error = loop.validate()
        directory.write_model(deployed)
        if any_size:
            follow(any_size, scoring)
        entry.update(test(engine, feed, job.seed, any_size))
    entry["result"] |= rounded({
        "train_error": whole[-1]["train_error"], "validation_error": validation_error,
        **{key: entry["model"][key] for key in ("parameters", "multiply_adds", "connections")}})


def test(engine, feed, seed: int, whole=None) -> dict:
    """Open the test set, this once, and return what the record says of it. whole: the model that looks at whole images."""
    labels, blocks, look = feed.open_test()
    logits, losses = engine.evaluate(blocks, labels, whole)
    labels = labelled(labels)
    result = {"test_error": error_percent(logits, labels), "test_loss": float(losses.mean()), "test_images": len(labels)}
    if logits.shape[1] > 5:
        best = np.argpartition(-logits, 5, axis=1)[:, :5]
        result["test_top5_error"] = 100.0 * float((best != labels[:, None]).all(axis=1).mean())
    found = {"result": rounded(result), "predictions": evidence.predictions(logits, labels), "samples": [], "learned": None}
    if look:
        drawn = evidence.drawn(logits, labels, datasets.random(seed, 0, "samples"))
        stored, inputs = look(drawn)
        found["samples"] = evidence.samples(engine, drawn, [evidence.shown(image) for image in stored], inputs, labels,
                                            logits)
        found["learned"] = evidence.learned(engine.model, drawn[0], inputs[:1])
    return found


# --------------------------------------------------------------------------------------------------- details

def engine_class() -> type[Engine]:
    """The engine of Keras's backend. Raises RunError where there is none."""
    backend = keras.backend.backend()
    if backend not in ENGINES:
        raise RunError(f"training runs on {' or '.join(ENGINES)}, and KERAS_BACKEND is {backend}: --engine "
                       f"{' or --engine '.join(ENGINES)}")
    module, name = ENGINES[backend]
    return getattr(import_module(module, __package__), name)


@contextlib.contextmanager
def _policy(name: str):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
