"""SqueezeNet's fire modules and its bypasses."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, find, squeezenet

FIRES = [f"fire{index}" for index in range(2, 10)]


def features(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build(name, input_shape=find(name).smallest, include_top=False)


@pytest.mark.parametrize("name, added, convolved", [
    ("squeezenet", [], []),
    ("squeezenet_simple_bypass", ["fire3", "fire5", "fire7", "fire9"], []),
    ("squeezenet_complex_bypass", FIRES, ["fire2", "fire4", "fire6", "fire8"])])
def test_bypasses_lead_past_the_modules_of_figure_2(name, added, convolved):
    names = [layer.name for layer in features(name).layers]
    assert [each.removesuffix("_add") for each in names if each.endswith("_add")] == added
    assert [each.removesuffix("_bypass") for each in names if each.endswith("_bypass")] == convolved


def test_a_simple_bypass_adds_the_input_of_the_module():
    model = features("squeezenet_simple_bypass")
    x = np.random.default_rng(0).normal(size=(2, *find("squeezenet").smallest)).astype("float32")
    names = ("fire2_out", "fire3_out", "fire3_add", "pool4", "fire5_out", "fire5_add")
    value = dict(zip(names, keras.Model(model.input, [model.get_layer(name).output for name in names])(x)))
    np.testing.assert_allclose(value["fire3_add"], value["fire3_out"] + value["fire2_out"], rtol=1e-6)
    np.testing.assert_allclose(value["fire5_add"], value["fire5_out"] + value["pool4"], rtol=1e-6)


def test_a_fire_module_squeezes_and_expands():
    """Table 1 and section 3.2: s1x1 < e1x1 + e3x3, an eighth of them here."""
    for name, (squeeze, ones, threes) in squeezenet.FIRES.items():
        assert ones == threes and 8 * squeeze == ones + threes, name
    model = features("squeezenet")
    assert [tensor._keras_history.operation.name for tensor in model.get_layer("fire9_out").input] == [
        "fire9_expand1x1", "fire9_expand3x3"]


def test_release_1_1_pools_earlier():
    pools = lambda name: [layer.name for layer in features(name).layers if layer.name[:4] == "pool"    # noqa: E731
                          and "_" not in layer.name]
    assert pools("squeezenet") == ["pool1", "pool4", "pool8"]
    assert pools("squeezenet_1_1") == ["pool1", "pool3", "pool5"]
