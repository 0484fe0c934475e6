"""The training step on TensorFlow: an explicit gradient tape, compiled with tf.function, on one replica or several.

Where there are several (replicas.py), each normalises its own rows by their own moments, as every framework does that
does not synchronise them. The moving averages are the means over the replicas, taken in every step: the moving mean is
then the whole batch's, and the moving variance lacks the variance of the replicas' means. Dropout's seed is each
replica's own: the run's plus the replica's number.
"""
import contextlib

import keras
import numpy as np
import tensorflow as tf

from ..data import prefetched
from ..papers import RecipeError
from . import replicas
from .engine import Engine, part
from .loss import counted, scores
from .run_directory import RunError

IMAGES_A_CALL = 256         # small batches go several to a call: a call costs as much as a LeNet step on one image


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's, which leaves a step out where gradients overflow: here where one replica's do.

    Keras takes the first replica's word for all, because it expects gradients that are added up already; ours are added
    up by the update rule.
    """

    def check_finite(self, gradients):
        overflown = 1 - tf.cast(super().check_finite(gradients), "int32")
        return tf.equal(replicas.Replicas(tf.distribute.get_strategy()).total(overflown), 0)


class TensorFlowEngine(Engine):

    LOSS_SCALE = LossScale
    _strategy = None

    @classmethod
    def claim(cls, device, deterministic, count=None):
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
        cls._strategy = replicas.strategy_of(device, count)
        return replicas.Replicas(cls._strategy)

    @classmethod
    def scope(cls):
        return cls._strategy.scope() if cls._strategy else contextlib.nullcontext()

    @classmethod
    def accelerators(cls):
        here = replicas.Replicas(cls._strategy or tf.distribute.get_strategy()).here
        return [tf.config.experimental.get_device_details(device).get("device_name", device.name)
                for device in tf.config.get_visible_devices("GPU")[:here]]

    @staticmethod
    def out_of_memory(error):
        return isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError))

    lost = staticmethod(replicas.lost)

    def __init__(self, model: keras.Model, recipe: dict):
        super().__init__(model, recipe)
        self._replicas = replicas.Replicas(tf.distribute.get_strategy())
        if self._replicas.count > 1 and recipe.get("compile") == "xla":
            raise RecipeError("TensorFlow does not compile a step over several devices with XLA: leave compile = xla "
                              "out, --replicas 1, or --engine jax")
        self._moving = [variable for layer in self._normalizations()
                        for variable in (layer.moving_mean, layer.moving_variance)]
        self._part_seeds()
        self.steps_a_call = max(1, IMAGES_A_CALL // recipe["batch"])
        fused = recipe.get("compile") == "xla"
        # a graph for each shape: one for all would depend on which shape came first, so on where a run was resumed
        self._train = tf.function(self._train_batches, jit_compile=fused)
        self._predict = tf.function(self._predicted, jit_compile=fused)
        self._predict_spread = tf.function(self._predicted_spread)

    # ------------------------------------------------------------------------------------------- training
    def calls(self, batches, epoch: int, start: int = 0):
        """inputs: of every batch this process's rows; targets: all."""
        rows = self._replicas.own_rows if self._replicas.processes > 1 else None
        with contextlib.closing(prefetched(batches.epoch(epoch, self.steps_a_call, start, rows))) as ahead:
            yield from ahead

    def train(self, inputs, targets: np.ndarray, rates) -> None:
        """inputs (S, B, H, W, C), targets (S, B) or (S, B, K), rates (S,) or fewer."""
        count, size = len(rates), targets.shape[1]
        targets = targets[:count].astype("int32" if targets.dtype.kind == "i" else "float32")
        spread = self._replicas.spread
        self._train(tf.nest.map_structure(lambda one: spread(one[:count], size), inputs), spread(targets, size),
                    tf.constant(rates, tf.float32))

    def _train_batches(self, inputs, targets, rates):
        run = self._replicas.strategy.run
        if rates.shape[0] == 1:
            run(self._step, (inputs, targets, rates, 0))
        else:
            for index in tf.range(tf.shape(rates)[0]):
                run(self._step, (inputs, targets, rates, index))

    def _step(self, inputs, targets, rates, index):
        """Step `index` of a call, on one replica's rows of its batch."""
        inputs, targets, total = part(inputs, index), targets[index], self._replicas.total
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.model(self._fed(inputs, targets), training=True)
            losses = self._loss(targets, outputs, inputs)
            counts = tf.cast(counted(targets), losses.dtype)
            loss = tf.reduce_sum(counts * losses) / tf.maximum(total(tf.reduce_sum(counts)), 1.0)
            scaled = self._scaled.scale_loss(loss) if self._scaled else loss
        gradients = tape.gradient(scaled, variables)
        self.optimizer.learning_rate.assign(rates[index])
        (self._scaled or self.optimizer).apply(gradients, variables)        # which adds up the replicas' gradients
        labels = targets if len(targets.shape) == 1 else tf.argmax(targets, axis=1, output_type=tf.int32)
        wrong = tf.not_equal(tf.argmax(scores(outputs), axis=1, output_type=tf.int32), labels)
        found = [tf.cast(tf.reduce_sum(counts * losses), tf.float32), tf.reduce_sum(tf.cast(wrong & (counts > 0), tf.int32)),
                 tf.cast(tf.reduce_sum(counts), tf.int32)]
        if self._replicas.count > 1:
            found, moving = self._of_all(found)
            for variable, value in zip(self._moving, moving):
                variable.assign(value)
        if self._average:
            self._average.update()
        for variable, value in zip((self._loss_sum, self._wrong, self._seen), found):
            variable.assign_add(value)

    def _of_all(self, found: list) -> tuple[list, list]:
        """The sums of what the replicas found, and their moving averages' means, weighted with their images."""
        dtype = self._moving[0].dtype if self._moving else "float32"        # one dtype: they travel in one piece
        own = [tf.cast(one, dtype) for one in found]
        *sums, moving = self._replicas.total([*own, [own[2] * tf.convert_to_tensor(one) for one in self._moving]])
        return [tf.cast(one, like.dtype) for one, like in zip(sums, found)], [value / sums[2] for value in moving]

    def _forward(self):
        forward = tf.function(lambda inputs, labels: self.model(self._fed(inputs, labels), training=True))
        return lambda inputs, labels: forward(tf.nest.map_structure(tf.constant, inputs), tf.constant(labels))

    # ---------------------------------------------------------------------------------------------- state
    def restore(self, arrays):
        super().restore(arrays)
        self._part_seeds()

    def _part_seeds(self) -> None:
        """The state is the first replica's: the others' seeds follow from it."""
        if self._replicas.count == 1:
            return
        seeds = [variable for variable in self.model.variables if variable.path.endswith("seed_generator_state")]

        def part():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for variable in seeds:
                variable.assign(variable.value + tf.cast([replica, 0], variable.dtype))

        tf.function(lambda: self._replicas.strategy.run(part))()

    # ----------------------------------------------------------------------------------------- evaluation
    def _logits_and_losses(self, inputs, targets):
        size, several = len(targets), self._replicas
        if several.count == 1:
            return self._predict(tf.nest.map_structure(tf.constant, inputs), targets)
        if size < several.count:
            inputs, targets = (tf.nest.map_structure(lambda one: np.resize(one, (several.count, *one.shape[1:])), all)
                               for all in (inputs, targets.numpy()))
        found = self._predict_spread(*(tf.nest.map_structure(lambda one: several.spread(one, len(one), axis=0), all)
                                       for all in (inputs, np.asarray(targets))))
        return [several.strategy.gather(one, axis=0)[:size] for one in found]

    def _predicted_spread(self, inputs, targets):
        return self._replicas.strategy.run(self._predicted, (inputs, targets))

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
