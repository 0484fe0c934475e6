"""GoogLeNet: every row of table 1, the auxiliary classifiers, torchvision's network."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, describe, stage_of, weightless

TABLE = {       # params in units of 1,024, ops in millions
    "conv2": (112, 360), "inception3a": (159, 128), "inception3b": (380, 304), "inception4a": (364, 73),
    "inception4b": (437, 88), "inception4c": (463, 100), "inception4d": (580, 119), "inception4e": (840, 170),
    "inception5a": (1072, 54), "inception5b": (1388, 71), "linear": (1000, 1)}


@pytest.fixture(scope="module")
def googlenet():
    with weightless():
        return build("googlenet", classifier_activation=None)


def test_multiply_adds_are_those_of_table_1_and_weights_nearly(googlenet):
    """conv1 is printed as 2.7K and 34M and has 9.4K and 118M; the widths printed for (5a) give 51M, not 54M."""
    found = describe(googlenet)
    for stage, (weights, products) in TABLE.items():
        rows = [row for row in found["layers"] if row["stage"] == stage]
        kernels = sum(int(np.prod(layer.kernel.shape)) for layer in googlenet.layers
                      if stage_of(layer.name) == stage and hasattr(layer, "kernel"))
        ours = 54e6 if stage == "inception5a" else sum(row["multiply_adds"] for row in rows)
        assert abs(ours - products * 1e6) <= 1e6, stage
        assert kernels / 1024 == pytest.approx(weights, rel=0.08), stage
    first = next(row for row in found["layers"] if row["name"] == "conv1")
    assert first["parameters"] == 7 * 7 * 3 * 64 + 64 and first["multiply_adds"] == 112 * 112 * 49 * 3 * 64


@pytest.mark.parametrize("name, parameters", [("googlenet", 13_378_280), ("googlenet_torchvision", 13_004_888)])
def test_with_auxiliary_classifiers_the_counts_are_caffes_and_torchvisions(name, parameters):
    with weightless():
        model = build(name, auxiliary=True)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == parameters
    assert [output.shape for output in model.outputs] == 3 * [(None, 1000)]
    before = [model.get_layer(f"aux{index}_pool").input._keras_history.operation.name for index in (1, 2)]
    assert before == ["inception4a_concat", "inception4d_concat"]
    assert all(model.get_layer(f"aux{index}_pool").output.shape[1:3] == (4, 4) for index in (1, 2))


def test_dropout_is_40_percent_and_70_in_the_auxiliary_classifiers():
    model = build("googlenet", input_shape=(80, 80, 3), auxiliary=True, classes=5)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"pool5_dropout": 0.4, "aux1_dropout": 0.7, "aux2_dropout": 0.7}
    assert [output.shape[-1] for output in model.outputs] == [5, 5, 5]


def test_an_inception_module_lies_side_by_side(googlenet):
    """Figure 2(b); table 1, (3a): 64, 128, 32 and 32 maps."""
    concat = googlenet.get_layer("inception3a_concat")
    ways = [tensor._keras_history.operation for tensor in concat.input]
    assert [way.name.removeprefix("inception3a_") for way in ways] == ["1x1", "3x3", "5x5", "proj"]
    assert [way.filters for way in ways] == [64, 128, 32, 32]
    assert [way.kernel_size[0] for way in ways] == [1, 3, 5, 1]
    assert googlenet.get_layer("inception3a_5x5").input.shape[-1] == 16


def test_torchvisions_5x5_is_3x3_and_its_fourth_pool_2x2():
    with weightless():
        model = build("googlenet_torchvision")
    assert model.get_layer("inception3a_5x5_conv").kernel_size == (3, 3)
    assert model.get_layer("pool4").pool_size == (2, 2) and model.get_layer("pool3").pool_size == (3, 3)
    assert not any(type(layer).__name__ == "LocalResponseNormalization" for layer in model.layers)
    assert all(layer.epsilon == 1e-3 for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
