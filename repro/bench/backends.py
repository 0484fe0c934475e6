"""What is timed, compiled: a training step, the passes of a layer, a function. TensorFlow and JAX differ only here.

Each is an object with `run(count)`, which returns when the device has finished; a call before the timing compiles.
"""
import keras
import numpy as np
from keras import ops

FORMS = {"tensorflow": ("graph", "xla"), "jax": ("xla",)}       # the first is what the training engine uses
RATE, MOMENTUM = 2.0**-10, 0.9      # a power of two: the first velocity divided by it is the gradient, not rounded


def forms() -> tuple[str, ...]:
    """The ways in which the backend at hand compiles; none where nothing can be timed."""
    return FORMS.get(keras.backend.backend(), ())


def accelerators() -> list[str]:
    """The names of the devices that compute in the processor's place."""
    if keras.backend.backend() == "jax":
        import jax
        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices("GPU")]


def allocated_peak_mib() -> float:
    """The largest amount of memory that the first accelerator has given out so far."""
    if keras.backend.backend() == "jax":
        import jax
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    import tensorflow as tf
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20


def training(model, images, labels, form: str):
    """Training steps of a model of logits on one batch."""
    return (JaxTraining if keras.backend.backend() == "jax" else TensorFlowTraining)(model, images, labels, form)


def passes(model, inputs, form: str):
    """Forward and backward passes of a model on a list of inputs; dY is the same random numbers for a same output."""
    return (JaxPasses if keras.backend.backend() == "jax" else TensorFlowPasses)(model, inputs, form)


def loss_of(labels, logits):
    """The mean cross-entropy."""
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def upstream(y) -> np.ndarray:
    """A fixed random dY for an output."""
    return np.random.default_rng(1).normal(size=ops.shape(y)).astype("float32")


# ------------------------------------------------------------------------------------------------ TensorFlow

class TensorFlowTraining:
    """The training engine's step: forward, loss, backward and the update by SGD with momentum, in one tf.function."""

    def __init__(self, model, images, labels, form):
        import tensorflow as tf
        variables = model.trainable_variables
        self._optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
        self._optimizer.build(variables)
        self._batch = tf.constant(images), tf.constant(labels)

        def step(images, labels):
            with tf.GradientTape() as tape:
                loss = loss_of(labels, model(images, training=True))
            self._optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        self._step = tf.function(step, jit_compile=form == "xla", autograph=False)

    def run(self, count: int) -> float:
        """Some steps; the loss before the last one's update."""
        for _ in range(count):
            loss = self._step(*self._batch)
        _finish()
        return float(loss)

    def gradients(self) -> list[np.ndarray]:
        """After one step: the gradients that it applied."""
        return [ops.convert_to_numpy(velocity) / -RATE for velocity in self._optimizer.momentums]


class TensorFlowPasses:

    def __init__(self, model, inputs, form):
        import tensorflow as tf
        inputs = [tf.constant(value) for value in inputs]
        self._arguments = inputs, tf.constant(upstream(model(inputs, training=True)))

        def once(inputs, dy):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                y = model(inputs, training=True)
            return [y, *tape.gradient(y, [*inputs, *model.trainable_variables], output_gradients=dy)]

        self._once = tf.function(once, jit_compile=form == "xla", autograph=False)

    def run(self, count: int) -> None:
        for _ in range(count):
            self._once(*self._arguments)
        _finish()

    def values(self) -> list[np.ndarray]:
        """The output, then the gradients of the inputs and of the weights, by one more pass."""
        return [value.numpy() for value in self._once(*self._arguments)]


def _finish() -> None:
    import tensorflow as tf
    tf.test.experimental.sync_devices()


# ------------------------------------------------------------------------------------------------------- JAX

class JaxTraining:
    """The same step as a pure function, which takes over the memory of the state that it replaces."""

    def __init__(self, model, images, labels, form):
        import jax
        self._optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
        self._optimizer.build(model.trainable_variables)
        self._batch = jax.numpy.asarray(images), jax.numpy.asarray(labels)
        self._state = [[jax.numpy.array(variable.value) for variable in variables] for variables in (
            model.trainable_variables, model.non_trainable_variables, self._optimizer.variables)]

        def loss(weights, others, images, labels):
            logits, others = model.stateless_call(weights, others, images, training=True)
            return loss_of(labels, logits), others

        def step(state, images, labels):
            weights, others, optimizer = state
            (value, others), gradients = jax.value_and_grad(loss, has_aux=True)(weights, others, images, labels)
            weights, optimizer = self._optimizer.stateless_apply(optimizer, gradients, weights)
            return [weights, others, optimizer], value

        self._step = jax.jit(step, donate_argnums=0)

    def run(self, count: int) -> float:
        """Some steps; the loss before the last one's update."""
        import jax
        for _ in range(count):
            self._state, loss = self._step(self._state, *self._batch)
        jax.block_until_ready(self._state)
        return float(loss)

    def gradients(self) -> list[np.ndarray]:
        """After one step: the gradients that it applied."""
        places = [id(variable) for variable in self._optimizer.variables]
        return [np.asarray(self._state[2][places.index(id(velocity))]) / -RATE
                for velocity in self._optimizer.momentums]


class JaxPasses:

    def __init__(self, model, inputs, form):
        import jax
        inputs = [jax.numpy.asarray(value) for value in inputs]
        weights, others = ([variable.value for variable in variables]
                           for variables in (model.trainable_variables, model.non_trainable_variables))
        self._arguments = inputs, weights, others, jax.numpy.asarray(upstream(model(inputs, training=True)))

        def once(inputs, weights, others, dy):
            y, back, others = jax.vjp(lambda inputs, weights: model.stateless_call(
                weights, others, inputs, training=True), inputs, weights, has_aux=True)
            inputs, weights = back(dy)
            return [y, *inputs, *weights], others

        self._once = jax.jit(once)

    def run(self, count: int) -> None:
        import jax
        for _ in range(count):
            result = self._once(*self._arguments)
        jax.block_until_ready(result)

    def values(self) -> list[np.ndarray]:
        """The output, then the gradients of the inputs and of the weights, by one more pass."""
        return [np.asarray(value) for value in self._once(*self._arguments)[0]]


# ------------------------------------------------------------------------------------------------ a function

class Function:
    """A function of arrays to one tensor, compiled."""

    def __init__(self, function, arrays, form):
        self._jax = keras.backend.backend() == "jax"
        self._arguments = [ops.convert_to_tensor(array) for array in arrays]
        if self._jax:
            import jax
            self._function = jax.jit(function)
        else:
            import tensorflow as tf
            self._function = tf.function(function, jit_compile=form == "xla", autograph=False)

    def run(self, count: int) -> None:
        for _ in range(count):
            result = self._function(*self._arguments)
        if self._jax:
            result.block_until_ready()
        else:
            _finish()

    def values(self) -> list[np.ndarray]:
        """The one result, by one more call."""
        return [ops.convert_to_numpy(self._function(*self._arguments))]
