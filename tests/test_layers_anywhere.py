"""The layers as graphs, with unknown sizes, in other precisions, differentiated twice, and in training."""
import inspect
import re

import keras
import numpy as np
import operators
import passes
import pytest
import tensorflow as tf
from passes import called, numbers

from cnn_repro import layers as L
from cnn_repro.layers import activation, convolution, dense, normalization, pooling, radial, structure, window
from cnn_repro.repro.check import error_of

CODES = [[1, -1, 1, -1], [-1, 1, -1, 1], [1, 1, -1, -1]]


def network(strides=1):
    """Every layer that has a backward pass of its own, once at least."""
    return keras.Sequential([
        keras.Input((16, 16, 2)),
        L.Conv2D(4, 3, strides=strides, padding="same", activation="relu"), L.BatchNormalization(),
        L.ReLU(), L.MaxPooling2D(2), L.PadChannels(6), L.Conv2D(6, 2, activation="tanh", padding="same"),
        L.TableConv2D([(0, 1), (2, 3), (4, 5)], 1, activation="sigmoid"), L.AveragePooling2D(2),
        L.Subsampling2D(2, activation=L.scaled_tanh), L.Activation("sigmoid"), L.GlobalAveragePooling2D(),
        L.Dense(4, activation="tanh"), L.RadialBasis(CODES)])


def operations(model) -> set[str]:
    """The types of all operations in the graph of one training step's gradients."""
    def step(x, labels):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(L.map_loss(labels, model(x, training=True), 1.0))
        return tape.gradient(loss, [x, *(weight.value for weight in model.trainable_weights)])

    graph = tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec([None, 16, 16, 2]), tf.TensorSpec([None], "int32")).graph.as_graph_def()
    functions = [node for function in graph.library.function for node in function.node_def]
    return {node.op for node in [*graph.node, *functions]}


DERIVATIVES = re.compile(r"\w+Grad(V\d)?$|\w*Backprop\w*$")      # MaxPoolGrad, ReluGrad, Conv2DBackpropFilter, …


def test_no_derivative_of_tensorflow_is_in_the_graph():
    found = {name for name in operations(network()) if DERIVATIVES.match(name)}
    assert not found


def test_a_stride_brings_the_transposed_convolution_and_nothing_else():
    found = {name for name in operations(network(strides=2)) if DERIVATIVES.match(name)}
    assert found == {"Conv2DBackpropInput"}             # a forward operator: keras.ops.conv_transpose


def test_the_search_for_derivatives_would_find_keras_own():
    stock = keras.Sequential([
        keras.Input((16, 16, 2)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(2), keras.layers.AveragePooling2D(2), keras.layers.Flatten(),
        keras.layers.Dense(4, activation="tanh"), keras.layers.Activation("sigmoid"), L.RadialBasis(CODES)])
    assert {name for name in operations(stock) if DERIVATIVES.match(name)} >= {
        "AvgPoolGrad", "Conv2DBackpropFilter", "MaxPoolGrad", "ReluGrad", "SigmoidGrad", "TanhGrad"}


def test_the_sources_ask_no_backend_for_a_derivative():
    for module in (activation, convolution, dense, normalization, pooling, radial, structure, window):
        source = inspect.getsource(module)
        assert not re.search(r"GradientTape|backprop|import (tensorflow|jax|torch)|vjp", source, re.IGNORECASE)


# ------------------------------------------------------------------------------------------- unknown sizes

IMAGES = (2, 8, 6, 4)
ANY_SIZE = operators.every("ANY_SIZE")
any_size = pytest.mark.parametrize("name, shape, arguments", ANY_SIZE,
                                   ids=[called(name, rest) for name, _, rest in ANY_SIZE])


@any_size
def test_an_unknown_image_size_changes_nothing(name, shape, arguments):
    layer = getattr(L, name)(**arguments)
    axes = len(shape) - 2
    layer.build((None, *[None] * axes, shape[-1]))
    call = dict(training=True) if isinstance(layer, L.BatchNormalization) else {}
    eager, graph = (passes.of(layer, numbers(*shape, dtype="float32"), form, free=1 + axes, **call)
                    for form in ("eager", "graph"))
    assert error_of(graph[0], eager[0]) < 1e-5
    for name in eager[1]:
        assert error_of(graph[1][name], eager[1][name]) < 1e-5, name


@any_size
def test_an_empty_batch_has_gradients_of_zero(name, shape, arguments):
    layer = getattr(L, name)(**arguments)
    layer.build((None, *shape[1:]))
    y, gradients = passes.of(layer, np.zeros((0, *shape[1:]), "float32"))
    assert y.shape[0] == 0 and gradients["input"].shape == (0, *shape[1:])
    for weight in layer.trainable_weights:
        assert gradients[weight.name].shape == weight.shape and not gradients[weight.name].any()


# ------------------------------------------------------------------------------------------- precisions

@pytest.mark.parametrize("policy, threshold", [
    ("mixed_float16", 2e-2), ("mixed_bfloat16", 1e-1), ("float64", 1e-5)])
@pytest.mark.parametrize("name, shape, arguments", operators.every("PRECISIONS"), ids=str)
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
    tensors = [tf.constant(x), *(weight.value for weight in layer.trainable_weights)]
    call = dict(training=True) if isinstance(layer, keras.layers.BatchNormalization) else {}
    with tf.GradientTape() as outer:
        outer.watch(tensors)
        with tf.GradientTape() as inner:
            inner.watch(tensors)
            y = layer(tensors[0], **call)
            loss = 100 * tf.reduce_sum(y**3)
        first = inner.gradient(loss, tensors)
        length = sum(tf.reduce_sum(gradient**2) for gradient in first)
    return outer.gradient(length, tensors)


@pytest.mark.parametrize("name, shape, arguments", operators.every("TWICE"), ids=str)
def test_second_derivatives_are_those_of_keras(name, shape, arguments):
    layers = [getattr(namespace, name)(dtype="float64", **arguments) for namespace in (L, keras.layers)]
    for layer in layers:
        layer.build((None, *shape[1:]))
        layer.set_weights([np.abs(numbers(*w.shape, seed=i)) for i, w in enumerate(layer.weights)])
    for mine, theirs in zip(*(second(layer, numbers(*shape)) for layer in layers), strict=True):
        assert np.abs(theirs).max() > 1e-3 and error_of(mine, theirs) < 1e-9


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
