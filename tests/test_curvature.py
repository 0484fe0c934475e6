"""LeNet-5's second back-propagation against its definition, equations 23 to 27 of LeCun et al. 1998."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn_repro import layers as L
from cnn_repro.architectures import build
from cnn_repro.layers import scaled_tanh
from cnn_repro.repro.papers import RecipeError
from cnn_repro.repro.training.curvature import diagonal

MAP = {"name": "map", "j": 1.0}


def small_lenet() -> keras.Model:
    """Every kind of layer that LeNet-5 has, at a size whose Jacobians can be written out."""
    keras.utils.set_random_seed(3)
    return keras.Sequential([
        keras.Input((7, 7, 1)),
        L.Conv2D(2, 2, activation=scaled_tanh, bias_initializer="normal"),
        L.Subsampling2D(2, activation=scaled_tanh),
        L.TableConv2D([(0,), (0, 1)], 2, activation=scaled_tanh),
        L.Conv2D(3, 2, activation=scaled_tanh),
        L.Flatten(),
        L.Dense(4, activation=scaled_tanh),
        L.RadialBasis(np.eye(4)[:3] * 2 - 1)])


def by_definition(model, image) -> list[np.ndarray]:
    """Equations 23, 25 and 27 from Jacobians: a weight meets a unit in one connection, so x_j = ∂a_i/∂w."""
    x, steps = tf.constant(image[None]), []
    for layer in model.layers[:-1]:
        activation, layer.activation = getattr(layer, "activation", None), None
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            a = layer(x)
            flat = tf.reshape(a, [-1])
        slope = 1.0
        if activation is not None:
            layer.activation = activation
            slope = (1.7159 * 2 / 3 / np.cosh(2 / 3 * a.numpy().ravel())**2)
        weights = [tape.jacobian(flat, v.value).numpy() for v in layer.trainable_variables]
        inputs = tape.jacobian(flat, x).numpy().reshape(flat.shape[0], -1)
        steps.append((slope, inputs, weights))
        x = activation(a) if activation is not None else a
    curvature, found = 2.0 * np.ones(x.shape[-1]), []
    for slope, inputs, weights in reversed(steps):
        c = curvature * slope**2
        found = [np.tensordot(c, jacobian**2, 1) for jacobian in weights] + found
        curvature = c @ inputs**2
    return found


def test_second_back_propagation_is_the_papers():
    model, random = small_lenet(), np.random.default_rng(0)
    images = random.normal(size=(3, 7, 7, 1)).astype("float32")
    expected = [np.mean(values, axis=0) for values in zip(*(by_definition(model, image) for image in images))]
    found = diagonal(model, images, MAP)
    assert len(found) == len(model.trainable_variables) == 10
    for variable, ours, theirs in zip(model.trainable_variables, found, expected):
        assert ours.shape == theirs.shape == variable.shape
        assert (ours >= 0).all() and ours.max() > 0
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-7, err_msg=variable.path)


def test_it_is_exact_for_a_linear_layer_in_front_of_the_penalty():
    """E = Σ (Wx + b − c)²: the second derivative by w_ij is 2 x_j², by finite differences too."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), L.Dense(2), L.RadialBasis([[1.0, -1.0]])])
    x = np.array([[0.5, -2.0, 3.0]], "float32")
    kernel, bias = diagonal(model, x, MAP)
    np.testing.assert_allclose(kernel, 2 * np.repeat(x.T**2, 2, axis=1), rtol=1e-6)
    np.testing.assert_allclose(bias, 2.0)
    dense, penalty = model.layers[0], []
    start = dense.kernel.numpy()
    for step in (-1.0, 0.0, 1.0):
        moved = start.copy()
        moved[1, 0] += step
        dense.kernel.assign(moved)
        penalty.append(-float(model(x)[0, 0]))
    assert penalty[0] - 2 * penalty[1] + penalty[2] == pytest.approx(kernel[1, 0], rel=1e-4)


def test_only_lenets_own_output_and_layers_have_it():
    with pytest.raises(RecipeError, match="needs radial basis functions.*use sgd"):
        diagonal(build("lenet5_modern", classifier_activation=None), np.zeros((1, 32, 32, 1), "float32"), MAP)
    odd = keras.Sequential([keras.Input((4, 4, 1)), L.MaxPooling2D(4), L.Flatten(), L.RadialBasis([[0.0]])])
    with pytest.raises(RecipeError, match="no second back-propagation for MaxPooling2D"):
        diagonal(odd, np.zeros((1, 4, 4, 1), "float32"), MAP)
    relu = keras.Sequential([keras.Input((2,)), L.Dense(1, activation="relu"), L.RadialBasis([[0.0]])])
    with pytest.raises(RecipeError, match="activation of"):
        diagonal(relu, np.zeros((1, 2), "float32"), MAP)
