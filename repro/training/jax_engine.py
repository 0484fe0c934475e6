"""The training step on JAX: many steps in one compiled loop, over images that lie on the device where they fit.

    state_{i+1} = step(state_i, batch_i, rate_i),   i = first, …, first + count − 1

`first` and `count` are data, not a part of the program: one program serves a whole epoch and any part of it, so that a
run computes the same wherever it was cut. The state is given to the loop and not kept (its memory is used again).
With several devices every batch is spread over them and the state lies on each: XLA adds up what crosses them, batch
normalisation's means among it, so that the step is that of one device up to the order of sums.
"""
import contextlib
import os

import jax
import keras
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..data import prefetched
from ..papers import RecipeError
from . import on_device
from .engine import Engine, Together, part
from .loss import counted, scores
from .run_directory import RunError
from .tf_config import cluster

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
STEPS_A_CALL = 50           # how long a signal waits at most, and how often the loop sees the loss: its CHECK_EVERY


class JaxEngine(Engine):

    steps_a_call = STEPS_A_CALL

    COMPILE = "xla"

    _devices = None                                         # all there are

    @classmethod
    def claim(cls, device, deterministic, count=None):
        if cluster():
            raise RunError("TF_CONFIG's workers train on TensorFlow: unset it, or --engine tensorflow")
        if count and device != "gpu":
            with contextlib.suppress(RuntimeError):         # too late: then it has the devices that it has
                jax.config.update("jax_num_cpu_devices", count)     # the processor in parts; GPUs are not touched
        found = jax.default_backend()
        if device and device != found:
            mends = "install jax[cuda12] for NVIDIA's GPUs" if device == "gpu" else "set JAX_PLATFORMS=cpu before it starts"
            raise RunError(f"JAX computes on {found} here, not on {device}: {mends}, or leave --device out")
        if deterministic and found == "gpu" and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
            raise RunError(f"XLA's deterministic operations must be asked for before JAX starts: XLA_FLAGS={DETERMINISTIC}")
        there = jax.local_devices()
        if count and count > len(there):
            raise RunError(f"--replicas {count}: JAX sees {len(there)} device{'s' * (len(there) > 1)} here; ask for as "
                           "many or fewer")
        cls._devices = there[:count]
        return Together(len(cls._devices))

    @classmethod
    def accelerators(cls):
        return [device.device_kind for device in cls._devices or jax.local_devices() if device.platform != "cpu"]

    @staticmethod
    def out_of_memory(error):
        return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)

    def __init__(self, model: keras.Model, recipe: dict):
        if recipe.get("compile") == "graph":
            raise RecipeError("JAX compiles every step with XLA: leave compile out, or --compile xla")
        super().__init__(model, recipe)
        self._rooms = [model.trainable_variables, model.non_trainable_variables,
                       (self._scaled or self.optimizer).variables, self._average.variables if self._average else [],
                       [self._loss_sum, self._wrong, self._seen]]
        self._stored = None                                 # the images on the device
        self._mesh = Mesh(np.array(self._devices or jax.local_devices()), ("batch",))
        self._train_stored = jax.jit(self._steps, static_argnums=(1, 2, 3), donate_argnums=0)
        self._train_given = jax.jit(self._step, donate_argnums=0)
        self._predict = jax.jit(self._predicted)

    # ------------------------------------------------------------------------------------------- training
    def calls(self, batches, epoch: int, start: int = 0):
        """Of images that lie on the device: (moves, arrays, batch, size of each batch), and the range of the steps."""
        if not on_device.fits(batches):
            with contextlib.closing(prefetched(batches.epoch(epoch, 1, start))) as ahead:
                yield from ahead
            return
        batch, n = batches.recipe["batch"], len(batches.indices)
        whole, stored = n // batch, self._on_device(batches, epoch)
        cuts = [start, *range(start // STEPS_A_CALL * STEPS_A_CALL + STEPS_A_CALL, whole, STEPS_A_CALL), whole]
        for first, stop in zip(cuts, cuts[1:]):
            if first < stop:
                yield (*stored, batch, batch), range(first, stop)
        if whole * batch < n and start <= whole:
            yield (*stored, batch, n - whole * batch), range(whole, whole + 1)

    def _on_device(self, batches, epoch: int):
        """(moves, arrays) of the epoch."""
        if self._stored is None or self._stored.batches is not batches:
            self._stored = on_device.OnDevice(batches, self._replicated)
        return self._stored.epoch(epoch)

    def train(self, inputs, targets, rates) -> None:
        """inputs (S, B, H, W, C), targets (S, B) or (S, B, K), rates (S,) or fewer; or what `calls` gave."""
        if isinstance(targets, range):
            moves, arrays, batch, size = inputs
            padded = np.zeros(STEPS_A_CALL, "float32")
            padded[:len(rates)] = rates
            self._take(self._train_stored(self._state(), moves, batch, size, arrays, targets.start, len(rates), padded))
            return
        for index, rate in enumerate(rates):
            labels = targets[index].astype("int32" if targets.dtype.kind == "i" else "float32")
            given = jax.tree.map(self._replicated, (part(inputs, index), labels))
            self._take(self._train_given(self._state(), *given, np.float32(rate)))

    def _steps(self, state, moves, batch, size, arrays, first, count, rates):
        def step(index, state):
            return self._step(state, *on_device.batch_at(moves, arrays, first + index, batch, size), rates[index])

        return jax.lax.fori_loop(0, count, step, state)

    def _step(self, state, inputs, targets, rate):
        trainable, others, optimizer, averages, (loss_sum, wrong, seen) = state
        inputs, targets = jax.tree.map(self._spread, (inputs, targets))
        counts = counted(targets)

        def objective(trainable):
            outputs, after = self.model.stateless_call(trainable, others, self._fed(inputs, targets), training=True)
            losses = self._loss(targets, outputs, inputs)
            loss = jnp.sum(counts * losses) / jnp.maximum(jnp.sum(counts), 1.0)
            if self._scaled:
                with keras.StatelessScope(list(zip(self._scaled.variables, optimizer))):
                    loss = self._scaled.scale_loss(loss)
            return loss, (outputs, losses, after)

        gradients, (outputs, losses, others) = jax.grad(objective, has_aux=True)(trainable)
        rule = self._scaled or self.optimizer
        optimizer = [rate if variable is self.optimizer.learning_rate else value
                     for variable, value in zip(rule.variables, optimizer)]
        trainable, optimizer = rule.stateless_apply(optimizer, gradients, trainable)
        averages = self._averaged(trainable, others, averages)
        labels = targets if targets.ndim == 1 else jnp.argmax(targets, axis=1)
        missed = (jnp.argmax(scores(outputs), axis=1) != labels) & (counts > 0)
        return trainable, others, optimizer, averages, [
            loss_sum + jnp.sum(counts * losses), wrong + jnp.sum(missed, dtype="int32"),
            seen + jnp.sum(counts).astype("int32")]

    def _averaged(self, trainable, others, averages):
        if not self._average:
            return averages
        values = [trainable, others, averages]
        mapping = [pair for room, values in zip((*self._rooms[:2], self._rooms[3]), values) for pair in zip(room, values)]
        with keras.StatelessScope(mapping) as scope:
            self._average.update()
        return [scope.get_current_value(variable) for variable in self._rooms[3]]

    def _forward(self):
        forward = jax.jit(lambda trainable, others, inputs, labels: self.model.stateless_call(
            trainable, others, self._fed(inputs, labels), training=True)[1])

        def moved(inputs, labels):
            trainable, others, *_ = self._state()
            for variable, value in zip(self._rooms[1], forward(trainable, others, inputs, labels)):
                variable.assign(value)
        return moved

    def pure(self):
        """(step, steps, state): (state, inputs, targets, rate) → state compiled, for one seed and for several that lie along
        a first axis of all but the rate; and the state as NumPy's arrays."""
        several = jax.vmap(self._step, in_axes=(0, 0, 0, None))
        return (jax.jit(self._step, donate_argnums=0), jax.jit(several, donate_argnums=0),
                jax.tree.map(np.asarray, self._state()))

    # ---------------------------------------------------------------------------------------------- state
    def _state(self):
        """What a step changes: trainable and other variables, the optimizer's, averages, running sums.

        Each is an array of its own: an average that has just begun may be its variable's, and the loop takes over the
        memory of what it is given.
        """
        given = set()

        def own(array):
            shared = id(array) in given
            given.add(id(array))
            return self._replicated(jnp.copy(array) if shared else array)

        return tuple([own(variable.value) for variable in room] for room in self._rooms)

    def _take(self, state) -> None:
        for room, values in zip(self._rooms, state):
            for variable, value in zip(room, values):
                variable.assign(value)

    def _replicated(self, array):
        """On every device."""
        return jax.device_put(array, NamedSharding(self._mesh, PartitionSpec()))

    def _spread(self, array):
        """A batch over the devices, where they divide it."""
        if self._mesh.size == 1 or array.shape[0] % self._mesh.size:
            return array
        return jax.lax.with_sharding_constraint(array, NamedSharding(self._mesh, PartitionSpec("batch")))

    # ----------------------------------------------------------------------------------------- evaluation
    def _logits_and_losses(self, inputs, targets):
        trainable, others, *_ = self._state()
        return self._predict(trainable, others, inputs, targets)

    def _predicted(self, trainable, others, inputs, targets):
        outputs, _ = self.model.stateless_call(trainable, others, self._fed(inputs, targets), training=False)
        logits = scores(outputs).astype("float32")
        return logits, self._loss_in_test(targets, outputs, logits, inputs)

    def input_gradients(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        trainable, others, *_ = self._state()
        classes = jnp.asarray(classes, "int32")

        def chosen(x):
            outputs, _ = self.model.stateless_call(trainable, others, self._fed(x, classes), training=False)
            return jnp.sum(jnp.take_along_axis(scores(outputs), classes[:, None], axis=1))

        return np.asarray(jax.jit(jax.grad(chosen))(jnp.asarray(inputs)))
