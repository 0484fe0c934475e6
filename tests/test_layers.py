"""The layers take the place of Keras's: same numbers, weights, config, files and errors."""
import subprocess
import sys

import keras
import numpy as np
import operators
import passes
import pytest
from keras import ops
from passes import PRECISE, called, numbers, within

from cnn_repro import layers as L
from cnn_repro.repro import check
from cnn_repro.repro.check import error_of

DROP_INS = sorted({name for name, _, _ in operators.every("DROP_INS")})


def pair(name, shape, **arguments):
    """Our layer and Keras's, built for inputs of this shape, with the same weights."""
    layers = [getattr(namespace, name)(name="layer", **arguments) for namespace in (L, keras.layers)]
    for layer in layers:
        layer.build(passes.resized(shape, None))
        layer.set_weights([np.abs(numbers(*weight.shape, seed=index)) + 0.5 if weight.name == "moving_variance"
                           else numbers(*weight.shape, seed=index) for index, weight in enumerate(layer.weights)])
    return layers


def assert_same(found, expected, threshold):
    """Outputs and gradients of `passes.of`."""
    assert error_of(found[0], expected[0]) <= threshold
    assert found[1].keys() == expected[1].keys()
    for name in found[1]:
        assert error_of(found[1][name], expected[1][name]) <= threshold, name


IMAGES = (2, 7, 6, 4)
CASES = operators.every("DROP_INS")


@pytest.mark.parametrize("name, shape, arguments", CASES, ids=[called(name, rest) for name, _, rest in CASES])
def test_numbers_weights_and_config_are_those_of_keras(name, shape, arguments):
    ours, stock = pair(name, shape, **{"dtype": PRECISE, **arguments})
    assert type(ours) is getattr(L, name) and type(ours) is not type(stock) and isinstance(ours, type(stock))
    assert [weight.path for weight in ours.weights] == [weight.path for weight in stock.weights]
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in stock.weights]
    assert ours.get_config() == stock.get_config()
    assert ours.count_params() == stock.count_params()
    call = dict(training=True) if name in ("BatchNormalization", "Dropout") else {}
    x = passes.drawn(shape, seed=9)
    found, expected = (passes.of(layer, x, **call) for layer in (ours, stock))
    assert_same(found, expected, within(1e-10))
    assert ours.compute_output_shape(shape) == stock.compute_output_shape(shape)
    assert tuple(ours.compute_output_shape(shape)) == found[0].shape
    assert {*passes.named(x), *(weight.name for weight in ours.trainable_weights)} == found[1].keys()
    for mine, theirs in zip(ours.non_trainable_weights, stock.non_trainable_weights):    # moving averages
        assert error_of(mine, theirs) <= within(1e-12)
    if name == "BatchNormalization":                    # and by the averages, which prediction leaves alone
        before = ours.get_weights()
        assert_same(passes.of(ours, numbers(*shape, seed=8)), passes.of(stock, numbers(*shape, seed=8)), within(1e-10))
        assert all((old == new).all() for old, new in zip(before, ours.get_weights()))


def test_every_drop_in_has_a_case():
    public = {name for name in L.__all__ if hasattr(keras.layers, name)}
    assert public == set(DROP_INS)


@pytest.mark.parametrize("arguments", [
    dict(), dict(strides=2, padding="same"), dict(dilation_rate=2), dict(activation="relu")], ids=str)
def test_channels_first_is_channels_last_transposed(arguments):
    """On a CPU stock Keras refuses channels_first without groups: its channels_last layer is the witness."""
    first = L.Conv2D(3, 3, data_format="channels_first", dtype=PRECISE, **arguments)
    last = keras.layers.Conv2D(3, 3, dtype=PRECISE, **arguments)
    first.build((None, 4, 7, 6))
    last.build((None, 7, 6, 4))
    first.set_weights([numbers(3, 3, 4, 3), numbers(3, seed=1)])
    last.set_weights(first.get_weights())
    x = numbers(2, 7, 6, 4)
    y, expected = passes.run(lambda x: ops.transpose(last(x), (0, 3, 1, 2)), {"input": x}, last.trainable_weights)
    found = passes.of(first, x.transpose(0, 3, 1, 2))
    assert_same((found[0], found[1] | {"input": found[1]["input"].transpose(0, 2, 3, 1)}), (y, expected), within(1e-10))
    assert first.compute_output_shape((2, 4, 7, 6)) == y.shape


@pytest.mark.parametrize("name, shape, arguments", [
    ("Dense", (3, 4), dict(units=5)), ("Conv2D", IMAGES, dict(filters=3, kernel_size=2))])
def test_low_rank_adaptation_gets_its_gradients(name, shape, arguments):
    results = []
    for namespace in (L, keras.layers):
        layer = getattr(namespace, name)(dtype=PRECISE, **arguments)
        layer.build((None, *shape[1:]))
        layer.enable_lora(2)
        for index, weight in enumerate(layer.weights):
            weight.assign(numbers(*weight.shape, seed=index))
        results.append(passes.of(layer, numbers(*shape)))
    assert {"lora_kernel_a", "lora_kernel_b"} < results[0][1].keys()
    assert_same(*results, 1e-6)                         # Keras keeps these weights in float32


@pytest.mark.parametrize("arguments, expected", [
    (dict(), [0, 0, 1, 1, 1, 1]),
    (dict(negative_slope=0.125), [0.125, 0.125, 1, 1, 1, 1]),
    (dict(max_value=6.0), [0, 0, 1, 1, 0, 0]),
    (dict(threshold=1.0), [0, 0, 0, 0, 1, 1]),
    (dict(negative_slope=0.125, threshold=1.0, max_value=6.0), [0.125, 0.125, 0.125, 0.125, 0, 0]),
])
def test_the_rectifiers_derivative_at_its_corners(arguments, expected):
    """At the threshold the one below, at the ceiling the one above. Keras's own depends on the arguments."""
    x = np.array([-1.0, 0.0, 0.5, 1.0, 6.0, 7.0], "float32")
    found, = check.gradients(L.ReLU(**arguments), [x], np.ones_like(x))
    assert found.tolist() == expected


def test_moving_averages_follow_those_of_keras_over_several_steps():
    ours, stock = pair("BatchNormalization", IMAGES, momentum=0.8)
    for step in range(4):
        for layer in (ours, stock):
            layer(3 * numbers(*IMAGES, seed=step, dtype="float32") + step, training=True)
    for mine, theirs in zip(ours.get_weights(), stock.get_weights()):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    assert ours.get_weights()[2].mean() > 0.5           # they did move


def test_a_mask_is_left_to_keras():
    ours, stock = pair("BatchNormalization", (3, 5, 2), dtype=PRECISE)
    mask = ops.convert_to_tensor(np.arange(15).reshape(3, 5) % 4 > 0)
    found, expected = (passes.of(layer, numbers(3, 5, 2), training=True, mask=mask) for layer in (ours, stock))
    assert_same(found, expected, within(1e-12))
    assert error_of(found[0], passes.of(ours, numbers(3, 5, 2), training=True)[0]) > 1e-3
    with pytest.raises(ValueError, match="mask"):
        ours(numbers(3, 5, 2), mask=ops.ones((3, 5, 2)))
    chain = keras.Sequential([keras.layers.Masking(), L.BatchNormalization(), L.ReLU(), L.Activation("tanh")])
    assert chain(np.ones((2, 3, 4), "float32"))._keras_mask.shape == (2, 3)         # it passes through


WRONG = operators.every("WRONG")


@pytest.mark.parametrize("name, shape, arguments", WRONG, ids=[called(name, rest) for name, _, rest in WRONG])
def test_the_errors_are_those_of_keras(name, shape, arguments):
    said = []
    for namespace in (L, keras.layers):
        with pytest.raises(Exception) as error:
            getattr(namespace, name)(name="layer", **arguments)(passes.drawn(shape, dtype="float32"))
        said.append((error.type, str(error.value).split("Arguments received")[0]))
    assert said[0] == said[1]


def test_a_name_that_nobody_has():
    with pytest.raises(AttributeError, match="neither cnn_repro.layers nor keras.layers has 'Convolve2D'"):
        L.Convolve2D
    assert L.Flatten is keras.layers.Flatten


# ------------------------------------------------------------------------------------------------- files

def small_network(namespace):
    """Drop-in layers for images in a row, none with a name of its own."""
    x = inputs = keras.Input((12, 10, 2))
    x = namespace.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = namespace.BatchNormalization()(x)
    x = namespace.ReLU()(x)
    x = namespace.MaxPooling2D(2)(x)
    x = namespace.Conv2D(6, 3, strides=2, groups=2, activation="tanh", padding="same")(x)
    x = namespace.AveragePooling2D(2, 1)(x)
    x = namespace.Activation("sigmoid")(x)
    x = namespace.Concatenate()([x, namespace.Add()([x, namespace.LeakyReLU()(x)])])
    x = namespace.GlobalAveragePooling2D()(x)
    x = namespace.Dense(3, activation="relu")(namespace.Dropout(0.5)(x))
    return keras.Model(inputs, namespace.Softmax()(x))


@pytest.fixture(scope="module")
def networks():
    """Ours and Keras's, with different weights none of which is at its initial zero or one."""
    made = []
    for seed, namespace in enumerate((L, keras.layers)):
        model = small_network(namespace)
        model.set_weights([np.abs(numbers(*weight.shape, seed=seed)) for weight in model.weights])
        made.append(model)
    return made


def test_weight_files_go_both_ways(networks, tmp_path):
    x = numbers(4, 12, 10, 2, dtype="float32")
    for source, target in ((0, L), (1, keras.layers), (0, keras.layers), (1, L)):
        networks[source].save_weights(tmp_path / "network.weights.h5")
        other = small_network(target)
        assert error_of(other(x), networks[source](x)) > 1e-3
        other.load_weights(tmp_path / "network.weights.h5")
        assert error_of(other(x), networks[source](x)) < within(1e-6)


ELSEWHERE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
x, expected = np.load("x.npy"), np.load("y.npy")
names = {names!r}

stock = keras.models.load_model("network.keras", custom_objects={{
    f"cnn_repro>{{name}}": getattr(keras.layers, name) for name in names}})
assert not any(name.startswith("cnn_repro.layers") for name in sys.modules)
assert {{layer.__class__ for layer in stock.layers[1:]}} == {{getattr(keras.layers, name) for name in names}}
np.testing.assert_allclose(stock.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)

import cnn_repro.layers as L
model = keras.models.load_model("network.keras")
assert {{layer.__class__ for layer in model.layers[1:]}} == {{getattr(L, name) for name in names}}
np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)

lenet = keras.models.load_model("own.keras")
own = lenet.predict(np.load("own_x.npy"), verbose=0)
np.testing.assert_allclose(own, np.load("own_y.npy"), rtol=1e-5, atol=1e-6)
assert lenet.layers[-1].class_names == ["left", "right"]
"""


def test_a_saved_model_opens_in_another_process(networks, tmp_path):
    """By importing cnn_repro.layers and nothing else; and as stock Keras without this package."""
    x = numbers(4, 12, 10, 2, dtype="float32")
    networks[0].save(tmp_path / "network.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", networks[0].predict(x, verbose=0))
    own = keras.Sequential([
        keras.Input((8, 8, 2)),
        L.TableConv2D([(0,), (0, 1), (1,)], 3, activation=L.scaled_tanh, kernel_initializer=L.FanIn(2.4)),
        L.Subsampling2D(2, activation=L.scaled_tanh, coefficient_initializer=L.FanIn(2.4, inputs=4)),
        L.PadChannels(5), L.GlobalAveragePooling2D(), L.RadialBasis([[1, -1, 1, -1, 1], [-1, 1, -1, 1, 1]]),
        L.ClassScores(["left", "right"])])
    np.save(tmp_path / "own_x.npy", numbers(4, 8, 8, 2, dtype="float32"))
    np.save(tmp_path / "own_y.npy", own.predict(np.load(tmp_path / "own_x.npy"), verbose=0))
    own.save(tmp_path / "own.keras")
    names = sorted({type(layer).__name__ for layer in networks[0].layers[1:]})
    run = subprocess.run([sys.executable, "-c", ELSEWHERE.format(names=names)], cwd=tmp_path,
                         capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
