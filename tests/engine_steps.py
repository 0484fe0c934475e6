"""The same steps by the engine of Keras's backend, for test_engines.py: `python tests/engine_steps.py FOLDER`.

Every case trains a small network on the digits for two epochs of 4 steps and a short one, from the weights in FOLDER,
and leaves its state and scores there. The network has batch normalisation and no dropout (its masks differ between
backends), and it is smooth: at a kink of ReLU or of the maximum the last bit of a sum would decide, one draw of the
weights in some dozens, and rounding would no longer stay rounding.
"""
import sys
from pathlib import Path

import keras
import numpy as np

PLAIN = {"optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 1e-3}, "loss": {"name": "cross_entropy"},
         "batch": 48, "augment": [], "preprocess": "per_pixel_mean"}
SIZE = (8, 8)
CASES = {
    "crop and flip": {"augment": ["pad4_crop32", "flip"]},
    "reflected, cut out": {"augment": [{"name": "pad4_crop32", "padding": "reflect"}, {"name": "cutout", "size": 3}]},
    "crops out of larger images": {"augment": [{"name": "random_crop", "size": 6}], "size": (6, 6)},
    "shift, torch's velocity": {"augment": [{"name": "shift", "pixels": 1}], "optimizer": {
        "name": "sgd", "momentum": 0.9, "nesterov": True, "velocity": "torch", "clip_norm": 0.5}},
    "mixup, given batch by batch": {"augment": [{"name": "mixup", "alpha": 0.4}, "flip"]},
    "label smoothing, rmsprop, average": {
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1}, "average": {"decay": 0.99},
        "optimizer": {"name": "rmsprop", "momentum": 0.9, "epsilon": 1.0, "weight_decay": 1e-3, "decay_of": "kernels"}},
    "adam, decoupled decay, groups": {"optimizer": {        # with ε = 1e-8 its first step is the gradient's sign
        "name": "adam", "epsilon": 1e-3, "weight_decay": 0.01, "decoupled": True,
        "groups": [{"match": "conv/*", "rate": 0.5}]}},
    "batches of one": {"batch": 1, "slower": 100},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
}
RATE, EPOCHS, IMAGES = 0.05, 2, 200


def network(size, L) -> keras.Model:
    image = keras.Input((*size, 1), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(image)
    x = L.Activation("tanh", name="tanh")(L.BatchNormalization(momentum=0.9, name="bn")(x))
    x = L.Flatten(name="flat")(L.AveragePooling2D(2, name="pool")(x))
    return keras.Model(image, L.Dense(10, name="fc")(x))


def made(case: str, engine_class):
    """(engine, batches) of a case, the network's weights drawn anew."""
    from cnn_repro import layers as explicit
    from cnn_repro.repro import data as datasets
    changes = dict(CASES[case])
    size = changes.pop("size", SIZE)
    recipe = PLAIN | changes
    policies = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
    keras.config.set_dtype_policy(policies.get(recipe.get("precision"), "float32"))
    try:
        model = network(size, explicit)
    finally:
        keras.config.set_dtype_policy("float32")
    images, labels = datasets.load("digits").train
    images, labels = images[:IMAGES], labels[:IMAGES]
    preprocessing = datasets.fit_preprocessing(images, recipe, SIZE, "pad")
    batches = datasets.Batches(images, labels, recipe | ({"input": {"shorter": 8}} if size != SIZE else {}),
                               preprocessing, size, "pad", seed=3, classes=10)
    return engine_class(model, recipe), batches


def trained(engine, batches, cut=None) -> None:
    """EPOCHS epochs. cut: one of their steps after which the state goes through NumPy, as in a checkpoint."""
    taken = 0
    for epoch in range(1, EPOCHS + 1):
        start = 0
        while start < len(batches):
            engine_calls = engine.calls(batches, epoch, start)
            for inputs, targets in engine_calls:
                room = len(targets) if cut is None or taken >= cut else min(len(targets), cut - taken)
                rates = RATE / batches.recipe.get("slower", 1) / (1 + taken + np.arange(room))
                engine.train(inputs, targets, rates.astype("float32"))
                start, taken = start + room, taken + room
                if taken == cut:
                    engine.restore(dict(engine.arrays()))
                    break
            engine_calls.close()


def weights_of(folder: Path, case: str, engine) -> None:
    """The first backend writes the weights down, the other takes them."""
    path = folder / f"{case} weights.npz"
    if not path.exists():
        np.savez(path, *engine.model.get_weights())
    stored = np.load(path)
    engine.model.set_weights([stored[name] for name in stored.files])
    if engine._average:
        for average, variable in zip(engine._average.variables[1:], engine._average._followed):
            average.assign(variable)


def results(folder: Path, engine_class) -> dict[str, list[np.ndarray]]:
    """By case: the state, the logits and losses of the first images, and the logits' gradients by the images."""
    found = {}
    for case in CASES:
        engine, batches = made(case, engine_class)
        weights_of(folder, case, engine)
        trained(engine, batches)
        inputs, labels = next(batches.epoch(9))
        with engine.evaluated():
            logits, losses = engine.evaluate([np.stack([inputs[0], inputs[0]])], batches.targets[:inputs.shape[1]])
            gradients = engine.input_gradients(inputs[0], np.arange(len(inputs[0])) % 10)
        # the count of errors comes last and is compared apart, as it turns on single images
        state = dict(engine.arrays())
        wrong = state.pop("running/wrong")
        found[case] = [*state.values(), logits, losses, gradients, np.array(engine.running()[:1]), wrong.astype("int64")]
    return found


def cut_anywhere(folder: Path, engine_class, case: str, cuts) -> bool:
    """Whether a state that went through NumPy after any of these steps ends as one that did not, bit for bit."""
    def state(cut):
        engine, batches = made(case, engine_class)
        weights_of(folder, case, engine)
        trained(engine, batches, cut)
        return [values.tobytes() for _, values in engine.arrays()]

    whole = state(None)
    return all(state(cut) == whole for cut in cuts)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from cnn_repro.repro.training.run import engine_class
    folder, engine = Path(sys.argv[1]), engine_class()
    if sys.argv[2:]:
        CASES = {case: CASES[case] for case in sys.argv[2:]}
    for case, arrays in results(folder, engine).items():
        np.savez(folder / f"{case} {keras.backend.backend()}.npz", *arrays)
    exact = cut_anywhere(folder, engine, "crop and flip", (1, 4, 7))        # before, at and behind a short batch
    print(keras.backend.backend(), "exact" if exact else "other bits")
