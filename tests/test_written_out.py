"""No derivative of TensorFlow's own is in the graph: what runs backward is what the formulas say.

But for one name: what TensorFlow calls Conv2DBackpropInput is its transposed convolution, a forward operator of
keras.ops (conv_transpose), by which the layers compute dX.
"""
import inspect
import pkgutil
import re
from importlib import import_module

import keras
import pytest
import tensorflow as tf

from cnn_repro import layers as L
from cnn_repro.layers import gradient

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


@pytest.mark.parametrize("strides", [1, 2])
def test_no_derivative_but_the_transposed_convolution_is_in_the_graph(strides):
    found = {name for name in operations(network(strides)) if DERIVATIVES.match(name)}
    assert found == {"Conv2DBackpropInput"}


def test_the_search_for_derivatives_would_find_keras_own():
    stock = keras.Sequential([
        keras.Input((16, 16, 2)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(2), keras.layers.AveragePooling2D(2), keras.layers.Flatten(),
        keras.layers.Dense(4, activation="tanh"), keras.layers.Activation("sigmoid"), L.RadialBasis(CODES)])
    assert {name for name in operations(stock) if DERIVATIVES.match(name)} >= {
        "AvgPoolGrad", "Conv2DBackpropFilter", "MaxPoolGrad", "ReluGrad", "SigmoidGrad", "TanhGrad"}


def test_the_sources_ask_no_backend_for_a_derivative():
    modules = [import_module(f"cnn_repro.layers.{found.name}") for found in pkgutil.iter_modules(L.__path__)]
    assert len(modules) > 10
    for module in modules:
        source = inspect.getsource(module)
        if module is gradient:          # which orders TensorFlow's operations, and asks it for its kernels and its compiler
            for other in ("with tf.control_dependencies", "return not tf.config", "return tf.function(lambda", "try:",
                          "    return tf.__internal__"):
                source = source.replace(f"import tensorflow as tf\n    {other}", "")
            for convolution in ("from tensorflow import nn\n        return nn.conv2d(", "from jax import lax\n"
                                "        return lax.conv_general_dilated("):
                source = source.replace(convolution, "")
        assert not re.search(r"GradientTape|backprop|import (tensorflow|jax|torch)|vjp", source, re.IGNORECASE), module
