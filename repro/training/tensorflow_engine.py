"""The training step on TensorFlow: an explicit gradient tape, compiled with tf.function."""
import keras
import numpy as np
import tensorflow as tf

from ...layers import map_loss
from .curvature import diagonal
from .optimizer import DiagonalLevenbergMarquardt, optimizer_of

IMAGES_A_CALL = 256         # small batches go several to a call: a call costs as much as a LeNet step on one image
EVALUATION_BATCH = 500


def loss_function(resolved: dict):
    """loss(labels (N,), logits (N, K)) → (N,) by the recipe's name."""
    if resolved["name"] == "map":
        return lambda labels, logits: map_loss(labels, logits, resolved["j"])
    return lambda labels, logits: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


class TensorFlowEngine:
    """Trains and evaluates one model of logits; knows nothing of epochs, files or seeds.

    model: images (N, H, W, C) float32 → logits (N, K). recipe: a resolved recipe.
    """

    def __init__(self, model: keras.Model, recipe: dict):
        self.model = model
        self._loss_of, self._loss = recipe["loss"], loss_function(recipe["loss"])
        self._decay = recipe["optimizer"].get("weight_decay", 0.0)
        self.optimizer = optimizer_of(recipe["optimizer"], model.trainable_variables)
        self.steps_a_call = max(1, IMAGES_A_CALL // recipe["batch"])
        self._loss_sum = tf.Variable(0.0, trainable=False)
        self._wrong = tf.Variable(0, trainable=False)
        self._seen = tf.Variable(0, trainable=False)
        self._train = tf.function(self._train_batches, reduce_retracing=True)
        self._predict = tf.function(self._logits_and_losses, reduce_retracing=True)

    # ------------------------------------------------------------------------------------------- training
    def train(self, images: np.ndarray, labels: np.ndarray, rates) -> None:
        """Some steps: images (S, B, H, W, C), labels (S, B), rates (S,). Returns before they are finished."""
        self._train(tf.constant(images), tf.constant(labels, tf.int32), tf.constant(rates, tf.float32))

    def _train_batches(self, images, labels, rates):
        if images.shape[0] == 1:
            self._step(images[0], labels[0], rates[0])
        else:
            for index in tf.range(tf.shape(images)[0]):
                self._step(images[index], labels[index], rates[index])

    def _step(self, images, labels, rate):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            losses = self._loss(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
        if self._decay:
            gradients = [g + self._decay * tf.convert_to_tensor(w) for g, w in zip(gradients, variables)]
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply(gradients, variables)
        wrong = tf.not_equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        self._loss_sum.assign_add(tf.reduce_sum(losses))
        self._wrong.assign_add(tf.reduce_sum(tf.cast(wrong, tf.int32)))
        self._seen.assign_add(tf.size(labels))

    def running(self) -> tuple[float, float]:
        """(mean loss, error in %) over the images trained on since the last `reset`; waits for the device."""
        seen = max(int(self._seen), 1)
        return float(self._loss_sum) / seen, 100.0 * int(self._wrong) / seen

    def reset(self) -> None:
        for variable in (self._loss_sum, self._wrong, self._seen):
            variable.assign(tf.zeros_like(variable))

    def before_pass(self, images: np.ndarray, random: np.random.Generator) -> None:
        """What an optimizer does before a pass over the data: Levenberg-Marquardt estimates the curvature anew."""
        if isinstance(self.optimizer, DiagonalLevenbergMarquardt):
            chosen = random.permutation(len(images))[:self.optimizer.hessian_samples]
            self.optimizer.set_curvature(diagonal(self.model, images[chosen], self._loss_of))

    # ----------------------------------------------------------------------------------------- evaluation
    def evaluate(self, inputs, labels) -> tuple[np.ndarray, np.ndarray]:
        """(logits (N, K), losses (N,)) without dropout and with moving averages; inputs (N, H, W, C)."""
        logits, losses = [], []
        for start in range(0, len(labels), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            some = self._predict(tf.constant(inputs[part]), tf.constant(labels[part], tf.int32))
            logits.append(some[0].numpy())
            losses.append(some[1].numpy())
        return np.concatenate(logits), np.concatenate(losses)

    def _logits_and_losses(self, images, labels):
        logits = self.model(images, training=False)
        return logits, self._loss(labels, logits)

    def input_gradients(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """∂(logit of the given class)/∂input, by the model's own backward pass: (N, H, W, C)."""
        x = tf.constant(inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            chosen = tf.gather(self.model(x, training=False), tf.constant(classes), axis=1, batch_dims=1)
        return tape.gradient(chosen, x).numpy()
