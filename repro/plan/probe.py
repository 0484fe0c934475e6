"""A few steps of a training on random images, in a process of its own: `python -m cnn_repro.repro.plan.probe`.

It reads a trial as JSON from its standard input and writes what it measured as JSON to its standard output. The data set
need not be here. The engine is fed as training feeds it, with as many steps a call, for a call costs as much as a small
step. Where a batch would take too long, fewer images are taken and the step is as many times longer.
"""
import json
import resource
import subprocess
import sys
import time

from ..suite.trials import Trial
from .estimate import Probe

MOST = 3e11                     # multiply-adds of a probed step: some seconds on a slow processor
SEVERAL = 1e11                  # of the steps of one call: beyond that the call itself costs nothing beside them
CALLS, WARM_UP = 4, 2
SECONDS = 900                   # a probe that takes longer is given up


class ProbeError(RuntimeError):
    """A network that cannot be probed here; one line."""


def probe(trial: Trial, environment=None) -> Probe:
    """Measure in a child process. Raises ProbeError."""
    asked = json.dumps({"network": trial.network, "dataset": trial.dataset, "recipe": trial.recipe, "seed": trial.seed,
                        "layers": trial.layers, "overrides": trial.overrides})
    try:
        child = subprocess.run([sys.executable, "-m", "cnn_repro.repro.plan.probe"], input=asked, text=True,
                               capture_output=True, env=environment, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ProbeError(f"{trial.name}: {CALLS + WARM_UP} calls of training took more than {SECONDS} s") from None
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise ProbeError(f"{trial.name}: cannot be probed: {last[:300]}")
    return Probe(**json.loads(child.stdout.splitlines()[-1]))


def measure(trial: Trial) -> Probe:
    """In this process."""
    began = time.monotonic()
    import keras
    import numpy as np

    from ... import layers as explicit
    from ...architectures import build, describe, find
    from .. import data as datasets
    from ..training.run import POLICIES, drop_path, engine_class
    resolved, source, network = trial.resolved().resolved, datasets.source(trial.dataset), find(trial.network)
    graph, size = source.kind == "graph", resolved.get("input", {}).get("size")
    sides = (size, size) if size else tuple(network.input_shape[-3:-1])
    frames = source.shape[:1] if source.kind == "videos" else ()
    shape = tuple(source.shape[1:]) if graph else (*frames, *sides, source.shape[-1])
    keras.config.set_dtype_policy(POLICIES[resolved.get("precision", "float32")])
    model = build(trial.network, classes=len(source.classes), classifier_activation=None, input_shape=shape,
                  auxiliary=bool(resolved["loss"].get("auxiliary")), drop_path=drop_path(resolved, source.splits["train"]),
                  layers=explicit if trial.layers == "explicit" else keras.layers)
    keras.config.set_dtype_policy("float32")
    anatomy = describe(model)
    adds = anatomy["multiply_adds"]
    batch = source.shape[0] if graph else resolved["batch"]
    taken = batch if graph else max(1, min(batch, int(MOST / 3 / max(adds, 1))))
    most = max(1, int(SEVERAL / 3 / max(adds, 1) / taken))
    engine = engine_class()(model, {**resolved, "batch": taken})
    if graph:
        inputs = np.random.default_rng(0).normal(size=(1, taken, *shape)).astype("float32")
        targets = np.zeros((1, taken), "int64")
        if len(model.inputs) == 2:
            inputs = [inputs, np.zeros((1, taken, taken), "float32")]
    else:
        count = taken * min(most, engine.steps_a_call)
        inputs, targets = next(engine.calls(_random_batches(source, {**resolved, "batch": taken}, sides, count), 1))
    rates = np.full(min(len(targets), most), 1e-6, "float32")
    for _ in range(WARM_UP):
        engine.train(inputs, targets, rates)
    engine.running()
    started = time.monotonic()
    for _ in range(CALLS):
        engine.train(inputs, targets, rates)
    engine.running()
    seconds = (time.monotonic() - started) / CALLS / len(rates)
    return Probe(seconds * batch / taken, started - began, 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                 float(adds), 4.0 * anatomy["parameters"], taken)


def _random_batches(source, recipe: dict, sides: tuple[int, int], count: int):
    """Batches of `count` random images, or of fewer where the data set has fewer, kept in memory where its own are."""
    import numpy as np

    from .. import data as datasets
    from ..data import batches
    count = max(recipe["batch"], min(count, source.splits["train"]))
    canvas = batches.canvas_size(sides, recipe.get("input", {}).get("shorter"))
    frames = source.shape[:1] if source.kind == "videos" else ()
    images = np.random.default_rng(0).integers(0, 256, (count, *frames, *canvas, source.shape[-1]), "uint8")
    kind = recipe["preprocess"]
    if datasets.PREPROCESSINGS[kind if isinstance(kind, str) else kind["name"]][2]:
        kind = "none"                   # to fit one may take minutes, and what is fed is of the same size
    found = datasets.Batches(images, np.zeros(count, int), recipe, datasets.Preprocessing.fit(kind, images), sides,
                             source.enlarge, 0, None, len(source.classes))
    if source.encoded or found.reader.bytes(source.splits["train"]) >= batches.MEMORY:
        found.inputs = None
    return found


if __name__ == "__main__":
    print(json.dumps(vars(measure(Trial(**json.load(sys.stdin))))))
