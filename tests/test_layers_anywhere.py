"""The layers as graphs, with unknown sizes, in other precisions, differentiated twice, and in training."""
import keras
import numpy as np
import operators
import passes
import pytest
from keras import ops
from passes import PRECISE, called, numbers, within

from cnn_repro import layers as L
from cnn_repro.repro.check import error_of
from cnn_repro.repro.check.backends import to_tensors, vjp

# ------------------------------------------------------------------------------------------- unknown sizes

IMAGES = (2, 8, 6, 4)
ANY_SIZE = operators.every("ANY_SIZE")
any_size = pytest.mark.parametrize("name, shape, arguments", ANY_SIZE,
                                   ids=[called(name, rest) for name, _, rest in ANY_SIZE])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces sizes that it does not know")
@any_size
def test_an_unknown_image_size_changes_nothing(name, shape, arguments):
    layer = getattr(L, name)(**arguments)
    free = len(shape[0] if isinstance(shape, list) else shape) - 1
    layer.build(passes.resized(shape, *[None] * free))
    call = dict(training=True) if isinstance(layer, L.BatchNormalization) else {}
    eager, graph = (passes.of(layer, passes.drawn(shape, dtype="float32"), form, free=free, **call)
                    for form in ("eager", "graph"))
    assert error_of(graph[0], eager[0]) < 1e-5
    for name in eager[1]:
        assert error_of(graph[1][name], eager[1][name]) < 1e-5, name


@any_size
@pytest.mark.parametrize("form", [
    pytest.param(form, marks=pytest.mark.slow if form == "eager" else []) for form in passes.FORMS])
def test_an_empty_batch_has_gradients_of_zero(form, name, shape, arguments):
    """Compiled for any batch: with none, a wrong shape or a division by zero appears only as the graph runs."""
    layer = getattr(L, name)(**arguments)
    layer.build(passes.resized(shape, None))
    x = passes.drawn(passes.resized(shape, 0), dtype="float32")
    y, gradients = passes.of(layer, x, form)
    assert y.shape[0] == 0 and all(gradients[name].shape == one.shape for name, one in passes.named(x).items())
    for weight in layer.trainable_weights:
        assert gradients[weight.name].shape == weight.shape and not gradients[weight.name].any()


# ------------------------------------------------------------------------------------------- precisions

@pytest.mark.parametrize("policy, threshold", [
    ("mixed_float16", 2e-2), ("mixed_bfloat16", 1e-1),
    *([("float64", 1e-5)] if PRECISE == "float64" else [])])
@pytest.mark.parametrize("name, shape, arguments", operators.every("PRECISIONS"),
                         ids=[passes.called(name, rest) for name, _, rest in operators.every("PRECISIONS")])
def test_other_precisions_are_close_to_float32(name, shape, arguments, policy, threshold):
    plain, other = (getattr(L, name)(dtype=dtype, **arguments) for dtype in ("float32", policy))
    for layer in (plain, other):
        layer.build((None, *shape[1:]))
        layer.set_weights([0.2 * np.abs(numbers(*w.shape, seed=index)) for index, w in enumerate(layer.weights)])
    # at most 192 values, exact in every precision, so that a maximum is the same one in all
    x = (np.random.default_rng(0).permutation(np.prod(shape)) % 384).reshape(shape).astype("float32") // 2 / 32 - 3
    call = dict(training=True) if isinstance(plain, L.BatchNormalization) else {}
    expected = passes.of(plain, x, **call)
    found = passes.of(other, x.astype(other.compute_dtype), **call)
    assert found[0].dtype == other.compute_dtype
    assert error_of(found[0].astype("float64"), expected[0]) < threshold
    for name, gradient in expected[1].items():
        assert error_of(found[1][name].astype("float64"), gradient) < threshold, name
    assert all(found[1][weight.name].dtype == weight.dtype for weight in other.trainable_weights)


# ------------------------------------------------------------------------------------- second derivatives

def second(layer, x):
    """Gradients of the squared length of the gradient, of the input and of every weight."""
    call = dict(training=True) if isinstance(layer, keras.layers.BatchNormalization) else {}
    values = [*to_tensors([x]), *(ops.copy(weight.value) for weight in layer.trainable_weights)]

    def output(x, *weights):
        with keras.StatelessScope(zip(layer.trainable_weights, weights)):
            return 100 * ops.sum(layer(x, **call)**3)

    def length(*values):
        return sum(ops.sum(gradient**2) for gradient in vjp(output, values, ops.ones((), x.dtype)))

    return [passes.array(gradient) for gradient in vjp(length, values, ops.ones((), x.dtype))]


@pytest.mark.parametrize("name, shape, arguments", operators.every("TWICE"), ids=str)
def test_second_derivatives_are_those_of_keras(name, shape, arguments):
    layers = [getattr(namespace, name)(dtype=PRECISE, **arguments) for namespace in (L, keras.layers)]
    for layer in layers:
        layer.build((None, *shape[1:]))
        layer.set_weights([np.abs(numbers(*w.shape, seed=i)) for i, w in enumerate(layer.weights)])
    for mine, theirs in zip(*(second(layer, numbers(*shape)) for layer in layers), strict=True):
        assert np.abs(theirs).max() > 1e-3 and error_of(mine, theirs) < within(1e-9)


# ------------------------------------------------------------------------------------------- training

@pytest.mark.parametrize("compiled", [False, True])
def test_fit_learns_as_keras_does_and_leaves_frozen_layers_alone(compiled):
    x = numbers(200, 8, 8, 1, dtype="float32")
    labels = np.arange(200) % 2
    x[labels == 1, :, ::2] += 1.5                       # stripes
    losses = []
    for namespace in (L, keras.layers):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([
            keras.Input((8, 8, 1)), namespace.Conv2D(4, 3, trainable=False, name="frozen"),
            namespace.BatchNormalization(momentum=0.5), namespace.ReLU(), namespace.MaxPooling2D(2),
            namespace.Conv2D(6, 2, strides=2, activation="tanh"), namespace.GlobalAveragePooling2D(),
            namespace.Dense(2)])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      jit_compile=compiled)
        frozen = model.get_layer("frozen").get_weights()
        assert not model.get_layer("frozen").trainable_weights
        history = model.fit(x, labels, batch_size=32, epochs=2, shuffle=False, verbose=0)   # the last has 8
        losses.append(history.history["loss"])
        assert all((old == new).all() for old, new in zip(frozen, model.get_layer("frozen").get_weights()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][1] < 0.9 * losses[0][0]
