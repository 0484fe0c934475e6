"""Steps on several replicas, for test_replicas.py: `python tests/replica_steps.py FILE DTYPE CASE [REPLICAS]`.

Trains a small smooth network (see engine_steps.py) for 20 steps on the digits: two epochs of nine batches of 48 and a
short one, whose rows do not divide evenly. What the chief ends with goes to FILE. TF_CONFIG makes it one of several
processes.
"""
import sys
from pathlib import Path

import keras
import numpy as np

import engine_steps
from cnn_repro import layers as explicit
from cnn_repro.repro import data as datasets

RECIPE = {"optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "clip_norm": 0.7},
          "loss": {"name": "cross_entropy"}, "batch": 48, "augment": ["pad4_crop32", "flip"],
          "preprocess": "per_pixel_mean"}
IMAGES = 9 * 48 + 29
CASES = {"plain": {}, "mixup": {"augment": [{"name": "mixup", "alpha": 0.4}]},
         "average": {"average": {"decay": 0.99}}, "normalized": {}, "dropout": {},
         "float16": {"precision": "float16"}, "overflow": {"precision": "float16"}}


def network(case: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    if case == "normalized":
        return engine_steps.network((8, 8), explicit)
    image = keras.Input((8, 8, 1), name="image")
    x = explicit.Activation("tanh", name="tanh")(explicit.Conv2D(8, 3, padding="same", name="conv")(image))
    x = explicit.Flatten(name="flat")(explicit.AveragePooling2D(2, name="pool")(x))
    if case == "dropout":
        x = explicit.Dropout(0.5, name="dropout")(x)
    return keras.Model(image, explicit.Dense(10, name="fc")(x))


def after_one_step(file, engine, batches) -> None:
    """The convolution's kernel, the images of a step, and the moving averages after it."""
    kernel = engine.model.get_layer("conv").kernel.numpy()
    inputs, targets = next(batches.epoch(1))
    engine.train(inputs, targets, [0.05])
    bn = engine.model.get_layer("bn")
    np.savez(f"{file}.step.npz", kernel=kernel, images=inputs[0], mean=bn.moving_mean.numpy(),
             variance=bn.moving_variance.numpy())


def overflown_on_the_last(file, engine, batches) -> None:
    """The weights before and after a step whose scaled gradients overflow in the last row alone, and the loss's scale."""
    scale, before = engine._scaled.dynamic_scale, engine.model.get_weights()
    inputs, targets = next(batches.epoch(1))
    targets[0, :-1] = -1                                    # rows that do not count: their gradients are 0
    scale.assign(2.0**30)
    engine.train(inputs, targets, [0.05])
    if engine._replicas.process == 0:
        np.savez(f"{file}.step.npz", *before, *engine.model.get_weights(), scale=scale.numpy())
    scale.assign(2.0**15)


def main(file, dtype, case, replicas=None):
    from cnn_repro.repro.training.tensorflow_engine import TensorFlowEngine
    recipe = RECIPE | CASES[case]
    together = TensorFlowEngine.claim("cpu", False, replicas and int(replicas))
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy("mixed_float16" if recipe.get("precision") == "float16" else dtype)
    images, labels = datasets.load("digits").train
    images, labels = images[:IMAGES], labels[:IMAGES]
    preprocessing = datasets.fit_preprocessing(images, recipe, (8, 8), "pad")
    batches = datasets.Batches(images, labels, recipe, preprocessing, (8, 8), "pad", seed=3, classes=10)
    with TensorFlowEngine.scope():
        engine = TensorFlowEngine(network(case), recipe)
        if case == "dropout":
            seeds, = (variable for variable in engine.model.variables if variable.path.endswith("seed_generator_state"))
            print([int(one.numpy()[0] - seeds.numpy()[0])
                   for one in engine._strategy.experimental_local_results(seeds.value)])
        if case == "normalized":
            after_one_step(file, engine, batches)
        if case == "overflow":
            overflown_on_the_last(file, engine, batches)
        for epoch in (1, 2):
            for inputs, targets in engine.calls(batches, epoch):
                engine.train(inputs, targets, np.full(len(targets), 0.05, "float32"))
        inputs, _ = next(batches.epoch(9))
        logits, losses = engine.evaluate([inputs[:, :47], inputs[:, 47:]], batches.targets[:48])
        running = engine.running()
        state = engine.arrays()
        engine.restore(dict(state))                     # what a resumed run goes on with
        for inputs, targets in engine.calls(batches, 3, 8):
            engine.train(inputs, targets, np.full(len(targets), 0.05, "float32"))
        again = engine.arrays()
    if together.process == 0:
        found = {f"{when} {name}": values for when, rows in (("20", state), ("21", again)) for name, values in rows}
        np.savez(file, logits=logits, losses=losses, running=np.array(running), **{
            name.replace("/", " "): values for name, values in found.items()})
    print(together.process, together.count, together.from_chief(b"said by the chief, 0").decode(), together.any(
        together.process == together.processes - 1), together.any(False))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
