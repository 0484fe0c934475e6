"""One run: a network, a data set, a recipe and a seed become a run directory and a record.

    runs/<id>/config.json    what was asked for, written before the first step
              history.json   a row an epoch, rewritten whole after each
              model.keras    the trained network behind its preprocessing, ready for other projects
              record.json    all of it with provenance and results: what the report reads
"""
import json
import math
import signal
import time
from pathlib import Path

import numpy as np

from ... import layers as explicit
from ...architectures import build, describe, find
from .. import data as datasets
from .. import record as records
from ..papers import card_of
from . import evidence, export
from .progress import Progress
from .schedule import Schedule
from .tensorflow_engine import TensorFlowEngine

CHECK_EVERY = 50            # steps between looks at the loss; looking waits for the device


class TrainingStopped(Exception):
    """A run that ended before its schedule did. `status` goes into the record, the text says why."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


def train(architecture: str, dataset: str, recipe: str = "paper", seed: int = 0, overrides: dict | None = None,
          layers: str = "explicit", folder: Path | str = "runs", quiet: bool = False) -> tuple[dict, Path]:
    """Train once and return (record, run directory).

    layers: "explicit" for ours, "stock" for keras.layers. A run that diverges, is interrupted or fails leaves a
    record that says so; divergence is returned (look at record["status"]), the others are raised again.
    Raises ArchitectureError, CardError, RecipeError or DataError before anything is written.
    """
    import keras
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"training runs on TensorFlow, and KERAS_BACKEND is {keras.backend.backend()}; unset it")
    if keras.config.image_data_format() != "channels_last":
        raise ValueError("training feeds images (N, H, W, C): set image_data_format to channels_last in Keras's "
                         "configuration")
    network = find(architecture)
    card = card_of(architecture)
    resolved = card.recipe(architecture, recipe, overrides)
    loaded = datasets.load(dataset)
    images, labels = loaded.train
    training, validation = datasets.split(labels, resolved.resolved["validation"])
    if resolved.resolved["batch"] > len(training):
        raise datasets.DataError(f"a batch of {resolved.resolved['batch']} is more than the {len(training)} "
                                 f"training images of {dataset}; --set batch={len(training)} or less")

    run = Path(folder) / records.new_id(architecture, dataset, recipe, f"s{seed}")
    started = time.monotonic()
    entry = {
        "schema": records.SCHEMA, "kind": "training", "id": run.name, "status": "running", "reason": "",
        "started": records.now(), "ended": None, "wall_seconds": None, "peak_memory_mib": None,
        **records.provenance(),
        "backend": keras.backend.backend(), "precision": keras.config.dtype_policy().name, "deterministic": False,
        "layers": layers, "paper": card.name, "architecture": architecture, "seed": seed,
        "dataset": {
            "name": loaded.name, "version": loaded.version, "sha256": loaded.sha256, "identity": loaded.identity,
            "splits": {"train": len(training), "validation": len(validation), "test": loaded.splits["test"]},
            "classes": list(loaded.classes)},
        "recipe": {
            "name": resolved.name, "sha256": resolved.sha256, "why": resolved.why, "resolved": resolved.resolved,
            "overrides": resolved.overrides, "differences": list(resolved.differences)},
        "model": None, "history": [], "result": {},
    }
    entry["hardware"]["accelerators"] = _accelerators()
    run.mkdir(parents=True)
    _write_json(run / "config.json", {key: entry[key] for key in (
        "architecture", "dataset", "recipe", "seed", "layers", "backend", "precision", "command", "commit", "dirty")})
    records.write_record(run / "record.json", entry)
    previous = signal.signal(signal.SIGTERM, _interrupt) if _main_thread() else None
    try:
        keras.utils.set_random_seed(seed)           # initialisation and dropout; order and augmentation have their own
        model = build(architecture, classes=len(loaded.classes), classifier_activation=None,
                      input_shape=(*network.input_shape[:2], loaded.shape[2]),
                      layers=explicit if layers == "explicit" else keras.layers)
        entry["model"] = describe(model)
        if not quiet:
            print(f"{run}: {architecture} on {dataset} by {card.name}/{recipe}, seed {seed}, "
                  f"{entry['model']['parameters']:,} parameters", flush=True)
        entry.update(_train_and_test(model, loaded, resolved.resolved, training, validation, seed, run, entry, quiet))
        entry["status"] = "finished"
    except TrainingStopped as stop:
        entry["status"], entry["reason"] = stop.status, str(stop)
    except KeyboardInterrupt:
        entry["status"], entry["reason"] = "interrupted", f"stopped by the user or the system in {run}"
        raise
    except BaseException as error:
        entry["status"], entry["reason"] = "failed", f"{type(error).__name__}: {error}".splitlines()[0][:500]
        raise
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
        entry["ended"] = records.now()
        entry["wall_seconds"] = round(time.monotonic() - started, 1)
        entry["peak_memory_mib"] = records.peak_memory_mib()
        records.write_record(run / "record.json", entry)
    return entry, run


def _train_and_test(model, loaded, recipe, training, validation, seed, run, entry, quiet) -> dict:
    images, labels = loaded.train
    size = model.input_shape[1:3]
    fitted = datasets.fit_to(images, size, loaded.enlarge)
    preprocessing = datasets.Preprocessing.fit(recipe["preprocess"], fitted[training])
    inputs, targets = preprocessing.apply(fitted[training]), labels[training]
    held_out, held_out_labels = preprocessing.apply(fitted[validation]), labels[validation]
    del fitted

    engine = TensorFlowEngine(model, recipe)
    batches = math.ceil(len(inputs) / recipe["batch"])
    schedule = Schedule(recipe["schedule"], batches)
    title = f"{entry['architecture']} on {loaded.name}"
    with Progress(schedule.steps, schedule.epochs, title, quiet) as progress:
        step = 0
        for epoch in range(1, schedule.epochs + 1):
            begun = time.monotonic()
            seen = 0
            engine.reset()
            engine.before_pass(inputs, datasets.random(seed, epoch, "curvature"))
            for batch_images, batch_labels in epoch_batches(inputs, targets, recipe, seed, epoch, engine.steps_a_call):
                batch_images = batch_images[:schedule.steps - step]
                count = len(batch_images)
                if count == 0:
                    break
                rates = [schedule.rate(step + index) for index in range(count)]
                engine.train(batch_images, batch_labels[:count], np.array(rates, "float32"))
                step += count
                seen += batch_images.shape[0] * batch_images.shape[1]
                progress.advance(count)
                if step // CHECK_EVERY > (step - count) // CHECK_EVERY:
                    loss, error = engine.running()
                    _still_sound(loss, step)
                    schedule.observe(error)
            loss, error = engine.running()
            _still_sound(loss, step)
            seconds = time.monotonic() - begun
            row = {"epoch": epoch, "step": step, "rate": schedule.rate(step - 1),
                   "train_loss": loss, "train_error": error, "validation_loss": None, "validation_error": None,
                   "seconds": round(seconds, 2), "images_per_second": round(seen / seconds, 1)}
            if len(held_out):
                logits, losses = engine.evaluate(held_out, held_out_labels)
                row["validation_loss"] = float(losses.mean())
                row["validation_error"] = error_percent(logits, held_out_labels)
            entry["history"].append(_rounded(row))
            _write_json(run / "history.json", entry["history"])
            progress.epoch(row)

    whole = [row for row in entry["history"] if row["step"] % batches == 0] or entry["history"]
    _has_learnt(whole[-1]["train_error"], targets)
    deployed = export.deployable(model, preprocessing, loaded.shape, loaded.enlarge, loaded.classes)
    export.save(deployed, run / "model.keras")
    return test(engine, model, loaded, preprocessing, seed, entry)


def test(engine, model, loaded, preprocessing, seed: int, entry: dict) -> dict:
    """Open the test set, this once, and return what the record says of it."""
    images, labels = loaded.open_test()
    inputs = preprocessing.apply(datasets.fit_to(images, model.input_shape[1:3], loaded.enlarge))
    logits, losses = engine.evaluate(inputs, labels)
    last = entry["history"][-1]
    result = {
        "test_error": error_percent(logits, labels), "test_loss": float(losses.mean()), "test_images": len(labels),
        "train_error": last["train_error"], "validation_error": last["validation_error"],
        "parameters": entry["model"]["parameters"], "multiply_adds": entry["model"]["multiply_adds"],
        "connections": entry["model"]["connections"]}
    if logits.shape[1] > 5:
        best = np.argpartition(-logits, 5, axis=1)[:, :5]
        result["test_top5_error"] = 100.0 * float((best != labels[:, None]).all(axis=1).mean())
    shown = evidence.samples(engine, images, inputs, labels, logits, datasets.random(seed, 0, "samples"))
    return {
        "result": _rounded(result), "predictions": evidence.predictions(logits, labels), "samples": shown,
        "learned": evidence.learned(model, shown[0]["index"] if shown else 0, inputs)}


def epoch_batches(inputs, targets, recipe: dict, seed: int, epoch: int, steps_a_call: int):
    """One pass in the order and with the augmentation of (seed, epoch): images (S, B, H, W, C), labels (S, B).

    Full batches come S = steps_a_call at a time, and fewer at the end; a last smaller batch comes alone.
    """
    batch, n = recipe["batch"], len(inputs)
    order = datasets.order(n, seed, epoch)
    augmentation = datasets.Augmentation(recipe["augment"], n, seed, epoch)
    whole = n // batch * batch
    cuts = list(range(0, whole, batch * steps_a_call)) + [whole, n]
    for start, stop in zip(cuts, cuts[1:]):
        if stop > start:
            positions = np.arange(start, stop)
            chosen = order[positions]
            images = augmentation.apply(inputs[chosen], positions)
            each = batch if stop <= whole else stop - start
            yield images.reshape(-1, each, *images.shape[1:]), targets[chosen].reshape(-1, each)


def error_percent(logits: np.ndarray, labels: np.ndarray) -> float:
    return 100.0 * float((logits.argmax(axis=1) != labels).mean())


def _still_sound(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainingStopped("diverged", f"the loss is {loss} at step {step}")


def _has_learnt(error: float, labels: np.ndarray) -> None:
    """A pass over the training data must beat naming the most frequent class every time, by more than chance."""
    often = np.bincount(labels).max() / len(labels)
    deviation = math.sqrt(often * (1 - often) / len(labels))
    if error > 100 * (1 - often - 3 * deviation):
        raise TrainingStopped("stuck", f"the training error ended at {error:.1f} %, that of guessing is "
                                       f"{100 * (1 - often):.1f} %")


def _rounded(row: dict) -> dict:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}


def _write_json(path: Path, value) -> None:
    records.write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def _interrupt(*_):
    raise KeyboardInterrupt


def _main_thread() -> bool:
    import threading
    return threading.current_thread() is threading.main_thread()


def _accelerators() -> list[str]:
    import tensorflow as tf
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices("GPU")]
