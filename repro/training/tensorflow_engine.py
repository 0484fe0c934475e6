"""The training step on TensorFlow: an explicit gradient tape, compiled with tf.function."""
import contextlib

import keras
import numpy as np
import tensorflow as tf

from ..papers import RecipeError
from .average import Average
from .curvature import diagonal
from .loss import counted, loss_of, scores
from .optimizer import DiagonalLevenbergMarquardt, optimizer_of

IMAGES_A_CALL = 256         # small batches go several to a call: a call costs as much as a LeNet step on one image


class TensorFlowEngine:
    """Trains and evaluates one model of logits; knows nothing of epochs, files or seeds.

    model: images (N, H, W, C) float32 → logits (N, K), or [logits, …] with auxiliary classifiers or a decoder.
    recipe: a resolved recipe. Inputs are an array or a list of arrays; where a network takes two and there is one, the
    second is the label (CapsNet's decoder). A target of −1 does not count (a graph's nodes outside the split).
    """

    def __init__(self, model: keras.Model, recipe: dict):
        self.model = model
        self._loss_of, self._loss = recipe["loss"], loss_of(recipe["loss"])
        self.optimizer = optimizer_of(recipe["optimizer"], model.trainable_variables)
        self._scaled = None
        if recipe.get("precision") == "float16":            # gradients below 6e-8 would be lost: see LossScaleOptimizer
            self._scaled = keras.optimizers.LossScaleOptimizer(self.optimizer)
            self._scaled.build(model.trainable_variables)
        self._average = Average(model.weights, recipe["average"]["decay"]) if "average" in recipe else None
        self.steps_a_call = max(1, IMAGES_A_CALL // recipe["batch"])
        self._loss_sum = tf.Variable(0.0, trainable=False)
        self._wrong = tf.Variable(0, trainable=False)
        self._seen = tf.Variable(0, trainable=False)
        fused = recipe.get("compile") == "xla"
        # a graph for each shape: one for all would depend on which shape came first, so on where a run was resumed
        self._train = tf.function(self._train_batches, jit_compile=fused)
        self._predict = tf.function(self._logits_and_losses, jit_compile=fused)

    # ------------------------------------------------------------------------------------------- training
    def train(self, inputs, targets: np.ndarray, rates) -> None:
        """Some steps: inputs (S, B, H, W, C), targets (S, B) or (S, B, K), rates (S,). Returns before they are finished."""
        targets = tf.constant(targets, tf.int32 if targets.dtype.kind == "i" else tf.float32)
        self._train(tf.nest.map_structure(tf.constant, inputs), targets, tf.constant(rates, tf.float32))

    def _train_batches(self, inputs, targets, rates):
        if targets.shape[0] == 1:
            self._step(_part(inputs, 0), targets[0], rates[0])
        else:
            for index in tf.range(tf.shape(rates)[0]):
                self._step(_part(inputs, index), targets[index], rates[index])

    def _step(self, inputs, targets, rate):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.model(self._fed(inputs, targets), training=True)
            losses = self._loss(targets, outputs, inputs)
            counts = counted(targets)
            loss = tf.reduce_sum(counts * losses) / tf.maximum(tf.reduce_sum(counts), 1.0)
            scaled = self._scaled.scale_loss(loss) if self._scaled else loss
        gradients = tape.gradient(scaled, variables)
        self.optimizer.learning_rate.assign(rate)
        (self._scaled or self.optimizer).apply(gradients, variables)
        if self._average:
            self._average.update()
        labels = targets if len(targets.shape) == 1 else tf.argmax(targets, axis=1, output_type=tf.int32)
        wrong = tf.not_equal(tf.argmax(scores(outputs), axis=1, output_type=tf.int32), labels)
        self._loss_sum.assign_add(tf.reduce_sum(counts * losses))
        self._wrong.assign_add(tf.reduce_sum(tf.cast(wrong & (counts > 0), tf.int32)))
        self._seen.assign_add(tf.cast(tf.reduce_sum(counts), tf.int32))

    def _fed(self, inputs, targets):
        return [inputs, targets] if len(self.model.inputs) == 2 and not isinstance(inputs, list) else inputs

    def running(self) -> tuple[float, float]:
        """(mean loss, error in %) over the images trained on since the last `reset`; waits for the device."""
        seen = max(int(self._seen), 1)
        return float(self._loss_sum) / seen, 100.0 * int(self._wrong) / seen

    def reset(self) -> None:
        for variable in (self._loss_sum, self._wrong, self._seen):
            variable.assign(tf.zeros_like(variable))

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
        layers = [layer for layer in self.model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        momenta, sums = [layer.momentum for layer in layers], None
        for layer in layers:
            layer.momentum = 0.0                            # the average is then the batch's own
        forward = tf.function(lambda inputs, targets: self.model(self._fed(inputs, targets), training=True))
        moving = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
        for taken, (inputs, targets) in enumerate(batches.epoch(1), 1):
            labels = targets[0] if targets.ndim == 2 else targets[0].argmax(-1)
            forward(tf.nest.map_structure(tf.constant, _part(inputs, 0)), tf.constant(labels, tf.int32))
            of_this = [variable.numpy().astype("float64") for variable in moving]
            sums = of_this if sums is None else [a + b for a, b in zip(sums, of_this)]
            if taken == count:
                break
        for variable, total in zip(moving, sums or []):
            variable.assign(total / taken)
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum

    # ---------------------------------------------------------------------------------------------- state
    def arrays(self) -> list[tuple[str, np.ndarray]]:
        """(name, values) of all that the next step depends on: weights, moving averages, dropout's seeds, velocities."""
        return [(name, variable.numpy()) for name, variable in self._variables()]

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the values of `arrays` back, in their order: Keras numbers its names anew in every process.

        Raises ValueError where they are another network's.
        """
        variables = [variable for _, variable in self._variables()]
        if [tuple(variable.shape) for variable in variables] != [values.shape for values in arrays.values()]:
            raise ValueError("the checkpoint is of another network or optimizer")
        for variable, values in zip(variables, arrays.values()):
            variable.assign(values)

    def _variables(self) -> list[tuple[str, object]]:
        rooms = {"model": self.model.variables, "optimizer": (self._scaled or self.optimizer).variables,
                 "average": self._average.variables if self._average else []}
        named = [(f"{room}/{index}/{variable.path}", variable.value)
                 for room, variables in rooms.items() for index, variable in enumerate(variables)]
        return named + [("running/loss", self._loss_sum), ("running/wrong", self._wrong), ("running/seen", self._seen)]

    # ----------------------------------------------------------------------------------------- evaluation
    def evaluated(self):
        """A context in which the model has the weights that are evaluated: their average, where the recipe takes one."""
        return self._average.swapped() if self._average else contextlib.nullcontext()

    def evaluate(self, blocks, labels) -> tuple[np.ndarray, np.ndarray]:
        """(logits (N, K), losses (N,)) of the labels that count, without dropout and with moving averages.

        blocks: inputs (V, B, H, W, C) in the order of labels (N,); of several views the probabilities are averaged, and
        the logits are their logarithms.
        """
        logits, losses, first = [], [], 0
        for block in blocks:
            views, count = tf.nest.flatten(block)[0].shape[:2]
            targets = tf.constant(labels[first:first + count], tf.int32)
            first += count
            some = [self._predict(tf.nest.map_structure(tf.constant, _part(block, view)), targets) for view in range(views)]
            if views > 1:
                mean = tf.reduce_mean(tf.stack([tf.nn.softmax(one) for one, _ in some]), axis=0)
                averaged = tf.math.log(tf.maximum(mean, 1e-30))
                some = [(averaged, self._loss(targets, averaged))]
            logits.append(some[0][0].numpy())
            losses.append(some[0][1].numpy())
        counts = labels >= 0
        return np.concatenate(logits)[counts], np.concatenate(losses)[counts]

    def _logits_and_losses(self, inputs, targets):
        outputs = self.model(self._fed(inputs, targets), training=False)
        logits = tf.cast(scores(outputs), tf.float32)
        # auxiliary classifiers are for training alone; a decoder's image is a part of its network's loss
        return logits, self._loss(targets, outputs if self._loss_of["name"] == "margin" else logits, inputs)

    def input_gradients(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """∂(logit of the given class)/∂input, by the model's own backward pass: (N, H, W, C)."""
        x = tf.constant(inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = scores(self.model(self._fed(x, tf.constant(classes, tf.int32)), training=False))
            chosen = tf.gather(logits, tf.constant(classes), axis=1, batch_dims=1)
        return tape.gradient(chosen, x).numpy()


def _part(inputs, index):
    """Entry `index` along the first axis of an array or of each in a list."""
    return tf.nest.map_structure(lambda one: one[index], inputs)
