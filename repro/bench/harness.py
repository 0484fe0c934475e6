"""The whole harness on the clock, image by image: against a plain PyTorch loop, against data in memory, on JAX.

One more row is JAX's: the steps of two seeds in one program, by vmap, against the same steps one after the other. It is
why `--seeds` trains one after the other.

Each side trains in a process of its own and waits there while the other does; they take turns, epoch by epoch. Ours is
what `train` does, with augmentation, metrics, log and a checkpoint after every epoch; only the images are random ones.
"""
import contextlib
import multiprocessing
import os
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .timing import alternate, figures

NETWORK, BATCH, IMAGES = "resnet20_cifar", 128, 3840


def rows(rounds: int):
    """The harness against its own steps on one batch, in two precisions against PyTorch, and on JAX against TensorFlow
    and with two seeds.

    Raises LookupError where PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise LookupError("the harness is timed against PyTorch, which is not installed: pip install torch")
    yield _row("float32, against the same steps on one batch in memory", _steps_alone, "float32", rounds)
    for precision in ("float32", "bfloat16"):
        yield _row(f"{precision}, against a PyTorch {version('torch')} loop", _pytorch, precision, rounds)
    if find_spec("jax"):
        yield _row("float32 on JAX, against TensorFlow", _ours, "float32", rounds, ours=_ours_on_jax)
        yield _row("two seeds at once on JAX, against one after the other", _seeds_in_turn, "float32", rounds,
                   ours=_seeds_at_once)


def _row(what, other, precision, rounds, ours=None) -> dict:
    with Side(ours or _ours, precision) as one, Side(other, precision) as two:
        # one epoch a sample: a step's figure would leave out what happens between epochs
        spent = alternate([one, two], rounds, sample=0)
    measured = figures(*([seconds * BATCH / IMAGES for seconds in side] for side in spent))
    speeds = (1000 * BATCH / measured[key] for key in ("ours_ms", "stock_ms"))
    return {"kind": "harness", "name": f"{NETWORK} in {what}", "batch": BATCH, **measured,
            "note": "{:.0f} images/s against {:.0f}".format(*speeds)}


class Side:
    """A process that trains an epoch when it is asked to."""

    def __init__(self, serve, precision: str):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, precision), daemon=True)

    def __enter__(self):
        self._process.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._pipe.send(None)               # it leaves its loop and its temporary folder
        self._process.join(30)
        self._process.kill()

    def run(self, count: int) -> None:
        """`count` epochs. Raises RuntimeError where the process has ended."""
        for _ in range(count):
            self._pipe.send("epoch")
            while not self._pipe.poll(1):
                if not self._process.is_alive():
                    raise RuntimeError(f"the process that trains ended with code {self._process.exitcode}")
            self._pipe.recv()


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Random images of CIFAR's shape: uint8 (N, 32, 32, 3), labels int64 (N,)."""
    random = np.random.default_rng(0)
    return (random.integers(0, 256, (IMAGES, 32, 32, 3)).astype("uint8"), random.integers(0, 10, IMAGES))


def _pytorch(pipe, precision):
    from .pytorch_loop import epochs
    trained = epochs(*photographs(), BATCH, precision == "bfloat16")
    while pipe.recv():
        pipe.send(next(trained))


def _ours(pipe, precision):
    from ..training.loop import Loop, Signals
    from ..training.run_directory import RunDirectory
    from ..training.schedule import Schedule
    engine, batches = _engine(precision)
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder)) as directory:
        loop = Loop(engine, batches, None, directory, {"history": []}, lambda: None, (batches.targets[:0], None), 0)
        epoch = 0
        while pipe.recv():
            epoch += 1
            loop.schedule = Schedule({"kind": "constant", "rate": 0.1, "unit": "epochs", "stop": epoch}, len(batches))
            loop.train(Signals(), "", quiet=True)
            pipe.send(loop.entry["history"][-1]["train_loss"])


def _ours_on_jax(pipe, precision):
    os.environ["KERAS_BACKEND"] = "jax"         # nothing in this process has imported Keras
    _ours(pipe, precision)


def _seeds_at_once(pipe, precision):
    _two_seeds(pipe, precision, at_once=True)


def _seeds_in_turn(pipe, precision):
    _two_seeds(pipe, precision, at_once=False)


def _two_seeds(pipe, precision, at_once):
    """Half as many steps of each as an epoch has, so that both together see its images."""
    os.environ["KERAS_BACKEND"] = "jax"
    engine, batches = _engine(precision)
    from keras import tree
    step, steps, state = engine.pure()
    inputs, targets = next(batches.epoch(1))
    given = (state, inputs[0], targets[0].astype("int32"))
    if at_once:
        given = tree.map_structure(lambda values: np.stack([values, values]), given)
    states = [given[0]] * (1 if at_once else 2)
    while pipe.recv():
        for _ in range(len(batches) // 2):
            states = [(steps if at_once else step)(state, *given[1:], np.float32(0.1)) for state in states]
        pipe.send([float(np.sum(state[-1][0])) for state in states])        # the sums of the losses: waits for them


def _steps_alone(pipe, precision):
    engine, batches = _engine(precision)
    inputs, targets = next(batches.epoch(1, engine.steps_a_call))
    while pipe.recv():
        for _ in range(len(batches) // len(targets)):
            engine.train(inputs, targets, np.full(len(targets), 0.1, "float32"))
        pipe.send(engine.running())


def _engine(precision):
    """The network with its paper's recipe, and the batches of the random images."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from ...architectures import build
    from .. import data as datasets
    from ..papers import card_of
    from ..training.run import POLICIES, engine_class
    keras.config.set_dtype_policy(POLICIES[precision])
    recipe = card_of(NETWORK).recipe(NETWORK, "paper", {"precision": precision}).resolved
    images, labels = photographs()
    preprocessing = datasets.fit_preprocessing(images, recipe, (32, 32), "pad")
    keras.utils.set_random_seed(0)
    return (engine_class()(build(NETWORK, classifier_activation=None), recipe),
            datasets.Batches(images, labels, recipe, preprocessing, (32, 32), "pad"))
