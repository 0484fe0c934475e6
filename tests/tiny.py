"""A network of seconds with all that a resumed run could lose: batch normalisation's averages, dropout's masks, velocities.

`python tests/tiny.py FOLDER ARGUMENTS…` is the command line with the network `tiny` and its card in FOLDER. TINY_DIE in
the environment kills the process with SIGKILL: "step 37" after that step, "rename 2" where the second checkpoint is
written but has not got its name yet.
"""
import os
import signal
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

CARD = """
card = "tiny2026"
title = "A Network for Tests"
authors = "Nobody"
venue = "tests"
year = 2026
architectures = ["tiny", "tiny_plain"]

[[result]]
architecture = "tiny"
dataset = "digits"
metric = "test_error"
value = 50.0
unit = "%"
source = "nowhere"

[recipe.paper]
optimizer = {name = "sgd", momentum = 0.9, weight_decay = 1e-4}
batch = 64
loss = {name = "cross_entropy"}
schedule = {kind = "step", rate = 0.1, at = [30, 60], factor = 0.1, stop = 70}
augment = ["flip"]
preprocess = "per_pixel_mean"
validation = 0.1
"""


def install(folder) -> None:
    """Make the network and its card known to this process, and no other card."""
    from cnn_repro.architectures import registry
    card = import_module("cnn_repro.repro.papers.card")         # `papers.card` is the function of that name
    # by a rename: processes that start together read it while others write it
    import_module("cnn_repro.repro.record").write_atomically(Path(folder) / "tiny2026.toml", CARD.encode())
    card.FOLDER = Path(folder)
    card.cards.cache_clear()
    if "tiny" not in registry.REGISTRY:
        registry.register(registry.Architecture("tiny", "Tiny", _body, _head, (8, 8, 1), 10))
        plain = partial(_body, rate=0.0, smooth=True)       # so that another precision differs by rounding alone
        registry.register(registry.Architecture("tiny_plain", "Tiny without dropout and kinks", plain, _head, (8, 8, 1), 10))


def _body(x, L, rate=0.25, smooth=False):
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(x)
    x = L.BatchNormalization(momentum=0.9, name="bn")(x)
    x = L.Activation("tanh", name="tanh")(x) if smooth else L.ReLU(name="relu")(x)
    x = (L.AveragePooling2D if smooth else L.MaxPooling2D)(2, name="pool")(x)
    return L.Dropout(rate, name="dropout")(x)


def _head(x, classes, L):
    return L.Dense(classes, name="fc")(L.Flatten(name="flat")(x))


def die_at(moment: str) -> None:
    """SIGKILL after "step N", or before the N-th checkpoint gets its name: "rename N"."""
    what, count = moment.split()
    left = [int(count)]
    if what == "step":
        from cnn_repro.repro.training.run import engine_class
        train = engine_class().train

        def step(self, inputs, targets, rates):
            train(self, inputs, targets, rates)
            left[0] -= len(rates)
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        engine_class().train = step
    else:
        replace = os.replace

        def rename(source, target):
            left[0] -= str(target).endswith(".checkpoint")
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = rename


if __name__ == "__main__":
    install(sys.argv[1])
    if "TINY_DIE" in os.environ:
        die_at(os.environ["TINY_DIE"])
    from cnn_repro.repro.cli import main
    sys.exit(main(sys.argv[2:]))
