"""The training step on TensorFlow: an explicit gradient tape, compiled with tf.function."""
import contextlib

import keras
import numpy as np
import tensorflow as tf

from ..data import prefetched
from .engine import Engine, part
from .loss import counted, scores
from .run_directory import RunError

IMAGES_A_CALL = 256         # small batches go several to a call: a call costs as much as a LeNet step on one image


class TensorFlowEngine(Engine):

    @staticmethod
    def claim(device, deterministic):
        if device == "gpu" and not tf.config.list_physical_devices("GPU"):
            raise RunError("TensorFlow sees no GPU here; pip install -e .[gpu] brings its CUDA libraries, --device cpu "
                           "trains without")
        if device == "cpu" and tf.config.get_visible_devices("GPU"):
            try:
                tf.config.set_visible_devices([], "GPU")
            except RuntimeError:
                raise RunError("this process has taken the GPU already; --device cpu is for a process of its own") from None
        if deterministic:
            tf.config.experimental.enable_op_determinism()

    @staticmethod
    def accelerators():
        return [tf.config.experimental.get_device_details(device).get("device_name", device.name)
                for device in tf.config.get_visible_devices("GPU")]

    @staticmethod
    def out_of_memory(error):
        return isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError))

    def __init__(self, model: keras.Model, recipe: dict):
        super().__init__(model, recipe)
        self.steps_a_call = max(1, IMAGES_A_CALL // recipe["batch"])
        fused = recipe.get("compile") == "xla"
        # a graph for each shape: one for all would depend on which shape came first, so on where a run was resumed
        self._train = tf.function(self._train_batches, jit_compile=fused)
        self._predict = tf.function(self._predicted, jit_compile=fused)

    # ------------------------------------------------------------------------------------------- training
    def calls(self, batches, epoch: int, start: int = 0):
        with contextlib.closing(prefetched(batches.epoch(epoch, self.steps_a_call, start))) as ahead:
            yield from ahead

    def train(self, inputs, targets: np.ndarray, rates) -> None:
        """inputs (S, B, H, W, C), targets (S, B) or (S, B, K), rates (S,) or fewer."""
        count = len(rates)
        targets = tf.constant(targets[:count], tf.int32 if targets.dtype.kind == "i" else tf.float32)
        self._train(tf.nest.map_structure(lambda one: tf.constant(one[:count]), inputs), targets,
                    tf.constant(rates, tf.float32))

    def _train_batches(self, inputs, targets, rates):
        if targets.shape[0] == 1:
            self._step(part(inputs, 0), targets[0], rates[0])
        else:
            for index in tf.range(tf.shape(rates)[0]):
                self._step(part(inputs, index), targets[index], rates[index])

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

    def _forward(self):
        forward = tf.function(lambda inputs, labels: self.model(self._fed(inputs, labels), training=True))
        return lambda inputs, labels: forward(tf.nest.map_structure(tf.constant, inputs), tf.constant(labels))

    # ----------------------------------------------------------------------------------------- evaluation
    def _logits_and_losses(self, inputs, targets):
        return self._predict(tf.nest.map_structure(tf.constant, inputs), targets)

    def _predicted(self, inputs, targets):
        outputs = self.model(self._fed(inputs, targets), training=False)
        logits = tf.cast(scores(outputs), tf.float32)
        return logits, self._loss_in_test(targets, outputs, logits, inputs)

    def input_gradients(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        x = tf.constant(inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = scores(self.model(self._fed(x, tf.constant(classes, tf.int32)), training=False))
            chosen = tf.gather(logits, tf.constant(classes), axis=1, batch_dims=1)
        return tape.gradient(chosen, x).numpy()
