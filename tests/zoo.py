"""What the tests of the networks share: which run when, small inputs, batches, losses and passes.

Counts are tested of every network, at the paper's size. Passes forward and backward are tested of KINDS, the smallest
network of every kind of block and head by the counts that the cards state: what differs within a kind is the table,
depth and width, which the counts hold to the paper. FEW, the smallest of every file and what is small altogether, are the
quick tests, with passes where they are LIGHT; all else is slow.
A new network joins by being registered.
"""
import contextlib
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn_repro import layers as explicit
from cnn_repro.architectures import build, describe, find, names, weightless
from cnn_repro.repro.papers import cards

IMAGES = 4


def file_of(name: str) -> str:
    """The file in architectures/ whose function makes the network's body."""
    body = find(name).body
    while isinstance(body, functools.partial):
        body = body.func
    return body.__module__


def stated(name: str) -> tuple[float, float]:
    """(multiply-adds, parameters) by the cards: a measure of the time that a network takes. One without a card is
    nobody's smallest, and fails where its counts are tested."""
    return tuple(min((result.value for card in cards() for result in card.results
                      if result.architecture == name and result.metric == metric), default=float("inf"))
                 for metric in ("multiply_adds", "parameters"))


def kind_of(name: str) -> tuple:
    """The functions of a network's body and head, the words and switches that they were given, and what makes another
    layer of a number: its blocks."""
    return file_of(name), *_words(find(name).body), *_words(find(name).head)


# numbers that decide what is computed, not how wide or how often: one group or several, any dropout, a loop or none
DECISIVE = {"groups": lambda n: n > 1, "iterations": lambda n: n > 1, "dropout": bool, "inflated": any, "places": any}


def _words(value) -> list[str]:
    if isinstance(value, functools.partial):
        named = [f"{name}: {bool(DECISIVE[name](given))}" for name, given in value.keywords.items() if name in DECISIVE]
        return _words(value.func) + named + _words((*value.args, *value.keywords.values()))
    if isinstance(value, (tuple, list)):
        return sorted({word for part in value for word in _words(part)})
    if callable(value):
        return [getattr(value, "__name__", type(value).__name__)]
    return [str(value)] if isinstance(value, (str, bool)) else []


# Eight groups have ShuffleNet's fewest multiply-adds, and hundreds of products to trace.
PREFERRED = ("shufflenet_v1_g2_025",)


def smallest_of_each(kind) -> list[str]:
    def size(name):
        return name not in PREFERRED, stated(name)

    smallest = {}
    for name in names():
        other = smallest.setdefault(kind(name), name)
        if size(name) < size(other):
            smallest[kind(name)] = name
    return sorted(smallest.values(), key=names().index)


KINDS = smallest_of_each(kind_of)
OF_FILES = smallest_of_each(file_of)
FEW = [name for name in KINDS if name in OF_FILES or stated(name)[1] < 100_000]
LIGHT = [name for name in FEW if stated(name)[0] < 2e8 or stated(name)[1] < 100_000]


def slow_but(quick, of) -> list:
    """The names as parameters; those that are not among the quick ones run with the slow tests."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in of]


def smallest_shape(name: str) -> tuple[int, ...]:
    return find(name).smallest or find(name).input_shape


# ---------------------------------------------------------------------------------------------------- built networks

class Published:
    """A network at the paper's size, without numbers in its weights, and its anatomy."""

    def __init__(self, name: str):
        self.name = name
        with weightless():
            self.model = build(name, classifier_activation=None)
            self.found = describe(self.model)


@functools.lru_cache(maxsize=2)
def published(name: str) -> Published:
    return Published(name)


def anatomy_of(name: str) -> dict:
    return published(name).found


def network(name: str, seed: int = 0, **arguments) -> keras.Model:
    """A network of logits for the smallest inputs, with weights drawn by the seed."""
    keras.utils.set_random_seed(seed)
    return build(name, **{"input_shape": smallest_shape(name), "classifier_activation": None, **arguments})


def still(model: keras.Model) -> keras.Model:
    """Without dropout: two networks draw different units, and every weight is to get a gradient."""
    for layer in model.layers:
        if "Dropout" in type(layer).__name__:
            layer.rate = 0
    return model


def stir(model: keras.Model) -> keras.Model:
    """Numbers for what begins as a constant: zero biases and kernels would hide what is behind them."""
    random = np.random.default_rng(2)
    for variable in model.trainable_variables:
        value = variable.numpy()
        if value.size and value.min() == value.max():
            variable.assign(value + 0.1 * random.normal(size=value.shape))
    return model


class Stock:
    """Keras's layers, but for the pooling of volumes, which TensorFlow's own does not know in float64."""

    def __getattr__(self, name):
        return getattr(explicit if "Pooling3D" in name else keras.layers, name)


class Pair:
    """A network on our layers and its twin on stock ones, the same weights, each with its pass over one batch.

    In float64: what is equal is equal to many digits, and the gradients of plain-110 are too large for less.
    """

    def __init__(self, name: str):
        self.name = name

    def network(self, **arguments) -> keras.Model:
        with precision("float64"):
            return still(network(self.name, **arguments))

    @functools.cached_property
    def ours(self) -> keras.Model:
        return stir(self.network())

    @functools.cached_property
    def stock(self) -> keras.Model:
        model = self.network(layers=Stock())
        model.set_weights(self.ours.get_weights())
        return model

    @functools.cached_property
    def batch(self):
        return batch(self.ours, self.name, "float64")

    @functools.cached_property
    def passes(self):
        """(ours, stock) as (outputs, loss, gradients)."""
        stock = self.stock                              # takes the weights before a pass moves averages
        return tuple(gradients(self.name, model, *self.batch) for model in (self.ours, stock))

    @functools.cached_property
    def predicted(self) -> list[np.ndarray]:
        """What ours predicts, after the pass."""
        return (self.passes, outputs_of(self.ours, self.batch[0]))[1]

    def save(self, folder):
        """NAME.keras and NAME.npz: the network, the batch and what it predicts."""
        predicted = self.predicted
        self.ours.save(folder / f"{self.name}.keras")
        inputs = self.batch[0] if isinstance(self.batch[0], list) else [self.batch[0]]
        np.savez(folder / f"{self.name}.npz", y=predicted[0], **{f"x{index}": x for index, x in enumerate(inputs)})


def outputs_of(model, inputs) -> list[np.ndarray]:
    return [np.asarray(output) for output in keras.tree.flatten(model(inputs))]


def close(found, expected, variables, digits=1e-9):
    """Gradients that agree; a bias in front of a normalisation has none but noise."""
    noise = 1e-4 * digits * max(np.abs(gradient).max() for gradient in expected)
    for variable, a, b in zip(variables, found, expected, strict=True):
        assert np.abs(a - b).max() <= digits * np.abs(b).max() + noise, variable.path


# ------------------------------------------------------------------------------------------------- batches and losses

def batch(model: keras.Model, name: str, dtype="float32", classes=None):
    """(inputs as the model takes them, labels): made from what the model says it takes."""
    random = np.random.default_rng(1)
    classes = classes or find(name).classes
    labels = np.arange(IMAGES) % classes
    given = []
    for tensor in model.inputs:
        shape = tensor.shape[1:]
        if None in shape:                               # nodes beside nodes: an adjacency
            links = random.integers(0, 2, size=(IMAGES, IMAGES))
            given.append(explicit.normalized_adjacency(np.maximum(links, links.T).astype(dtype)))
        elif given and tensor.shape == (None,):
            given.append(labels.astype(tensor.dtype))
        elif given and shape == (classes,):
            given.append(np.eye(classes, dtype=dtype)[labels])
        else:
            given.append(random.normal(size=(IMAGES, *shape)).astype(dtype))
    return given if len(given) > 1 else given[0], labels


def loss_of(name: str, model, inputs, labels):
    """(outputs, the loss that the network is made for); further outputs count with their mean square."""
    outputs = model(inputs, training=True)
    first, *others = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    if find(name).loss == "map":
        loss = explicit.map_loss(labels, first, 12.0)
    elif find(name).loss == "margin":
        loss = explicit.margin_loss(np.eye(first.shape[-1])[labels], first)
    else:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=first)
    return [first, *others], tf.add_n([tf.reduce_mean(loss), *(tf.reduce_mean(other**2) for other in others)])


def gradients(name: str, model, inputs, labels):
    """(outputs, loss, gradients) of one batch, as arrays."""
    with tf.GradientTape() as tape:
        outputs, loss = loss_of(name, model, inputs, labels)
    found = tape.gradient(loss, model.trainable_variables)
    return ([output.numpy() for output in outputs], loss.numpy(),
            [None if gradient is None else gradient.numpy() for gradient in found])


@contextlib.contextmanager
def precision(dtype: str):
    """Keras's default precision of new models, for a while."""
    for use in (keras.config.set_floatx, keras.config.set_dtype_policy):
        use(dtype)
    try:
        yield
    finally:
        for use in (keras.config.set_floatx, keras.config.set_dtype_policy):
            use("float32")


@contextlib.contextmanager
def channels_first():
    """Keras's data format, for a while."""
    keras.config.set_image_data_format("channels_first")
    try:
        yield
    finally:
        keras.config.set_image_data_format("channels_last")


