"""What both engines are: one model, its loss, its optimizer, and all of their state by name.

An engine trains and evaluates one model of logits; it knows nothing of epochs, files or seeds. TensorFlow's and JAX's
differ in how a step is taken (tensorflow_engine.py, jax_engine.py); loss, update rule, averages, order and augmentation
are the same code, and a test holds the two to the same step.
"""
import contextlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops, tree

from ..papers import RecipeError
from .average import Average
from .curvature import diagonal
from .loss import loss_of
from .optimizer import DiagonalLevenbergMarquardt, optimizer_of


@dataclass(frozen=True)
class Together:
    """Who takes part in a training: `count` devices, in this one process."""
    count: int
    processes = 1
    process = 0

    def from_chief(self, content):
        return content

    def any(self, flag: bool) -> bool:
        return flag


class Engine(ABC):
    """Trains and evaluates one model.

    model: images (N, H, W, C) float32 → logits (N, K), or [logits, …] with auxiliary classifiers or a decoder.
    recipe: a resolved recipe. Inputs are an array or a list of arrays; where a network takes two and there is one, the
    second is the label (CapsNet's decoder). A target of −1 does not count (a graph's nodes outside the split).
    """

    COMPILE = "graph"           # what the records say where a recipe does not
    steps_a_call: int           # how many steps of full batches `calls` gives at once, at most
    LOSS_SCALE = keras.optimizers.LossScaleOptimizer

    @classmethod
    @abstractmethod
    def claim(cls, device: str | None, deterministic: bool, count: int | None = None) -> "Together":
        """Take the device, "cpu" or "gpu" or whatever there is, before anything is computed: `count` of them, all by
        default. Returns who computes together. Raises RunError."""

    @classmethod
    def scope(cls):
        """A context in which the model and the engine are made and used."""
        return contextlib.nullcontext()

    @classmethod
    @abstractmethod
    def accelerators(cls) -> list[str]:
        """The names of the devices that are used, without the processor."""

    @staticmethod
    @abstractmethod
    def out_of_memory(error: BaseException) -> bool:
        """Whether the device had no room."""

    @staticmethod
    def lost(error: BaseException) -> bool:
        """Whether another process of the same training went away."""
        return False

    def __init__(self, model: keras.Model, recipe: dict):
        self.model = model
        self._loss_of, self._loss = recipe["loss"], loss_of(recipe["loss"])
        self.optimizer = optimizer_of(recipe["optimizer"], model.trainable_variables)
        self._scaled = None
        if recipe.get("precision") == "float16":            # gradients below 6e-8 would be lost: see LossScaleOptimizer
            self._scaled = self.LOSS_SCALE(self.optimizer)
            self._scaled.build(model.trainable_variables)
        self._average = Average(model.weights, recipe["average"]["decay"]) if "average" in recipe else None
        # over the images trained on since the last `reset`
        self._loss_sum, self._wrong, self._seen = (
            keras.Variable(0, dtype=dtype, trainable=False, name=name)
            for name, dtype in (("loss", "float32"), ("wrong", "int32"), ("seen", "int32")))

    # ------------------------------------------------------------------------------------------- training
    @abstractmethod
    def calls(self, batches, epoch: int, start: int = 0):
        """The epoch from its step `start` on, as (inputs, targets) of one call of `train` each; len(targets) steps."""

    @abstractmethod
    def train(self, inputs, targets, rates) -> None:
        """The first len(rates) steps of what `calls` gave, at these rates. Returns before they are finished."""

    def running(self) -> tuple[float, float]:
        """(mean loss, error in %) over the images trained on since the last `reset`; waits for the device."""
        seen = max(int(self._seen.numpy()), 1)
        return float(self._loss_sum.numpy()) / seen, 100.0 * int(self._wrong.numpy()) / seen

    def reset(self) -> None:
        for variable in (self._loss_sum, self._wrong, self._seen):
            variable.assign(0)

    def before_pass(self, batches, random: np.random.Generator) -> None:
        """What an optimizer does before a pass over the data: Levenberg-Marquardt estimates the curvature anew."""
        if isinstance(self.optimizer, DiagonalLevenbergMarquardt):
            if batches.inputs is None:
                raise RecipeError("the optimizer sdlm needs images that are kept in memory as they are trained on: one "
                                  "size, no jitter, no crops out of larger ones; use sgd")
            chosen = random.permutation(len(batches.targets))[:self.optimizer.hessian_samples]
            self.optimizer.set_curvature(diagonal(self.model, batches.inputs[chosen], self._loss_of))

    def renew_statistics(self, batches, count: int) -> None:
        """Batch normalisation's moving averages as plain means over the first `count` training batches.

        So He et al. 2016 released their models; and a momentum near 1, which slim's networks have, leaves a short
        training with the averages that it began with.
        """
        layers = self._normalizations()
        momenta, sums = [layer.momentum for layer in layers], None
        for layer in layers:
            layer.momentum = 0.0                            # the average is then the batch's own
        forward = self._forward()
        moving = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
        for taken, (inputs, targets) in enumerate(batches.epoch(1), 1):
            labels = targets[0] if targets.ndim == 2 else targets[0].argmax(-1)
            forward(part(inputs, 0), labels.astype("int32"))
            of_this = [variable.numpy().astype("float64") for variable in moving]
            sums = of_this if sums is None else [a + b for a, b in zip(sums, of_this)]
            if taken == count:
                break
        for variable, total in zip(moving, sums or []):
            variable.assign(total / taken)
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum

    def _normalizations(self) -> list:
        return [layer for layer in self.model.layers if isinstance(layer, keras.layers.BatchNormalization)]

    @abstractmethod
    def _forward(self):
        """A function of (inputs, labels) that runs the model as in training, so that its moving averages move."""

    def _fed(self, inputs, targets):
        return [inputs, targets] if len(self.model.inputs) == 2 and not isinstance(inputs, list) else inputs

    # ---------------------------------------------------------------------------------------------- state
    def arrays(self) -> list[tuple[str, np.ndarray]]:
        """(name, values) of all that the next step depends on: weights, moving averages, dropout's seeds, velocities."""
        return [(name, variable.numpy()) for name, variable in self._variables()]

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the values of `arrays` back, in their order: Keras numbers its names anew in every process.

        Raises ValueError where they are another network's or another update rule's.
        """
        variables = self._variables()
        ours = [(_kind(name), variable.dtype, tuple(variable.shape)) for name, variable in variables]
        if ours != [(_kind(name), values.dtype.name, values.shape) for name, values in arrays.items()]:
            raise ValueError("the checkpoint is of another network or optimizer")
        for (_, variable), values in zip(variables, arrays.values()):
            variable.assign(values)

    def _variables(self) -> list[tuple[str, keras.Variable]]:
        rooms = {"model": self.model.variables, "optimizer": (self._scaled or self.optimizer).variables,
                 "average": self._average.variables if self._average else []}
        named = [(f"{room}/{index}/{variable.path}", variable)
                 for room, variables in rooms.items() for index, variable in enumerate(variables)]
        return named + [("running/loss", self._loss_sum), ("running/wrong", self._wrong), ("running/seen", self._seen)]

    # ----------------------------------------------------------------------------------------- evaluation
    def evaluated(self):
        """A context in which the model has the weights that are evaluated: their average, where the recipe takes one."""
        return self._average.swapped() if self._average else contextlib.nullcontext()

    def evaluate(self, blocks, labels, whole=None) -> tuple[np.ndarray, np.ndarray]:
        """(logits (N, K), losses (N,)) of the labels that count, without dropout and with moving averages.

        blocks: inputs (V, B, H, W, C) in the order of labels (N,); of several views the probabilities are averaged, and
        the logits are their logarithms. whole: a model that looks in this one's place; blocks are then tuples of V inputs
        (B, H, W, C), each of its own height and width.
        """
        logits, losses, first = [], [], 0
        for block in blocks:
            views = block if whole else [part(block, view) for view in range(len(tree.flatten(block)[0]))]
            count = len(tree.flatten(views[0])[0])
            targets = ops.convert_to_tensor(labels[first:first + count], "int32")
            first += count
            if len(views) == 1:
                scores, loss = self._logits_and_losses(views[0], targets)
            else:
                some = [ops.cast(whole.predict_on_batch(view), "float32") if whole
                        else self._logits_and_losses(view, targets)[0] for view in views]
                mean = ops.mean(ops.stack([ops.softmax(one) for one in some]), axis=0)
                scores = ops.log(ops.maximum(mean, 1e-30))
                loss = self._loss(targets, scores)
            logits.append(ops.convert_to_numpy(scores))
            losses.append(ops.convert_to_numpy(loss))
        counts = labels >= 0
        return np.concatenate(logits)[counts], np.concatenate(losses)[counts]

    @abstractmethod
    def _logits_and_losses(self, inputs, targets):
        """(logits (B, K), losses (B,)) of one view, float32."""

    def _loss_in_test(self, targets, outputs, logits, inputs):
        """Auxiliary classifiers are for training alone; a decoder's image is a part of its network's loss."""
        return self._loss(targets, outputs if self._loss_of["name"] == "margin" else logits, inputs)

    @abstractmethod
    def input_gradients(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """∂(logit of the given class)/∂input, by the model's own backward pass: (N, H, W, C)."""


def _kind(name: str) -> tuple[str, str]:
    """(room, the variable's own name without Keras's counters) of a name in a checkpoint."""
    room, *_, own = name.split("/")
    return room, re.sub(r"_\d+(?=_|$)", "", own)


def part(inputs, index):
    """Entry `index` along the first axis of an array or of each in a list."""
    return tree.map_structure(lambda one: one[index], inputs)
