"""Wide ResNets: their depth, dropout, and torchvision's network."""
import keras
import pytest

from cnn_repro.architectures import build, describe


@pytest.mark.parametrize("depth, factor", [(16, 4), (16, 8), (28, 10), (40, 4)])
def test_wrn_n_k_has_n_convolutions_and_its_width(depth, factor):
    layers = build(f"wrn{depth}_{factor}_cifar", input_shape=(8, 8, 3)).layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == depth
    widths = {layer.name: layer.filters for layer in convolutions}
    assert [widths[name] for name in ("conv1_conv", "conv2_1_1_conv", "conv3_1_1_conv", "conv4_1_1_conv")] == [
        16, 16 * factor, 32 * factor, 64 * factor]


def test_dropout_stands_between_the_convolutions_of_a_unit():
    without, dropped = (build(f"wrn16_4{kind}_cifar", input_shape=(8, 8, 3)) for kind in ("", "_dropout"))
    assert [w.path for w in without.weights] == [w.path for w in dropped.weights]
    drops = [layer for layer in dropped.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(drops) == 6 and all(layer.rate == 0.3 for layer in drops)
    for layer in drops:
        unit = layer.name.removesuffix("_dropout")
        assert layer.input._keras_history.operation.name == f"{unit}_2_relu"
        assert dropped.get_layer(f"{unit}_2_conv").input._keras_history.operation is layer
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in without.layers)


def test_wrn_50_2_doubles_the_inside_of_resnet_50s_bottlenecks():
    wide, narrow = (describe(build(name, input_shape=(32, 32, 3))) for name in ("wrn50_2", "resnet50_torchvision"))
    width = lambda found: {row["name"]: row["output"][-1] for row in found["layers"]}         # noqa: E731
    wide, narrow = width(wide), width(narrow)
    for name in narrow:
        if name in wide and name.startswith("conv") and name.endswith("_conv"):
            inside = name.endswith(("_1_conv", "_2_conv"))
            assert wide[name] == (2 if inside else 1) * narrow[name], name
