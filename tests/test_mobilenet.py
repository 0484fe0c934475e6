"""MobileNet v1 and v2: the papers' other counts, the blocks, and the networks of keras.applications."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, describe, mobilenet_v2, weightless


def counted(name, **arguments) -> dict:
    with weightless():
        return describe(build(name, **arguments))


def without_normalisation(name) -> int:
    return sum(row["parameters"] for row in counted(name)["layers"] if row["type"] != "BatchNormalization")


@pytest.mark.parametrize("side, millions", [
    (224, 569), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((192, 418), (160, 290), (128, 186)))])
def test_v1_multiply_adds_of_other_resolutions(side, millions):
    """Table 7, which cuts 290.7 million off to 290."""
    counts = counted("mobilenet_v1", input_shape=(side, side, 3))["multiply_adds"]
    assert counts == pytest.approx(millions * 1e6, abs=7e5)


def test_v1_without_its_classifier_on_128_pixels():
    """The table in the docstring of the authors' program: 75 % of the width, without batch normalisation."""
    with weightless():
        found = describe(build("mobilenet_v1_075", input_shape=(128, 128, 3), include_top=False))
    weights = sum(row["parameters"] for row in found["layers"] if row["type"] != "BatchNormalization")
    assert (weights, found["multiply_adds"]) == (1_800_144, 106_002_432)


def test_v1_shares_of_table_2():
    """1×1 convolutions 94.86 % of the multiply-adds and 74.59 % of the weights, depthwise 3.06 % and 1.06 %, …"""
    found = counted("mobilenet_v1")
    kinds = {"pw": lambda name: name.endswith("_pw"), "dw": lambda name: name.endswith("_dw"),
             "conv": lambda name: name == "conv1_conv", "fc": lambda name: name == "fc"}
    rows = {kind: [row for row in found["layers"] if test(row["name"])] for kind, test in kinds.items()}
    share = lambda what: {kind: 100 * sum(row[what] for row in part) / found[what]          # noqa: E731
                          for kind, part in rows.items()}
    adds, weights = share("multiply_adds"), share("parameters")
    assert adds["pw"] == pytest.approx(94.86, abs=0.1) and adds["dw"] == pytest.approx(3.06, abs=0.05)
    assert adds["fc"] == pytest.approx(0.18, abs=0.005)
    assert weights["pw"] == pytest.approx(74.59, abs=0.5) and weights["fc"] == pytest.approx(24.33, abs=0.15)


@pytest.mark.parametrize("suffix, millions", [
    ("", 3.47), ("_035", 1.66), *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("_050", 1.95), ("_075", 2.61), ("_130", 5.34), ("_140", 6.06)))])
def test_v2_parameters_of_the_authors_readme(suffix, millions):
    assert without_normalisation(f"mobilenet_v2{suffix}") == pytest.approx(millions * 1e6, abs=5e3)


@pytest.mark.parametrize("count, width, rounded", [
    (32, 0.35, 16), (16, 0.35, 8), (24, 0.5, 16), (1280, 1.4, 1792), (320, 1.3, 416), (96, 0.75, 72), (32, 1.0, 32)])
def test_v2_widths_are_multiples_of_eight_and_not_much_smaller(count, width, rounded):
    """32 · 0.35 = 11.2 would round to 8, which is below nine tenths of it."""
    assert mobilenet_v2.maps(count, width) == rounded


def test_v2_residuals_and_linear_bottlenecks():
    with weightless():
        model = build("mobilenet_v2")
    layers = {layer.name: layer for layer in model.layers}
    added = [name for name in layers if name.endswith("_add")]
    assert added == [f"bottleneck{stage}_{index}_add" for stage, (_, _, n, _) in enumerate(mobilenet_v2.TABLE_2, 1)
                     for index in range(2, n + 1)]                          # stride 1 and as many maps as before
    for name, layer in layers.items():
        if name.endswith("_project_bn"):                                    # section 3.2: no non-linearity behind it
            followers = [node.operation for node in layer._outbound_nodes]
            assert not any(isinstance(follower, keras.layers.ReLU) for follower in followers)
    assert "bottleneck1_1_expand" not in layers and "bottleneck2_1_expand" in layers


@pytest.mark.parametrize("name, theirs, alpha", [
    ("mobilenet_v1_025_keras", keras.applications.MobileNet, 0.25),
    ("mobilenet_v2_035_keras", keras.applications.MobileNetV2, 0.35),
    pytest.param("mobilenet_v2_140_keras", keras.applications.MobileNetV2, 1.4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("side", [32, 45])                                  # 45: odd sizes are padded otherwise
def test_keras_networks_with_keras_weights(name, theirs, alpha, side):
    theirs = theirs(weights=None, input_shape=(side, side, 3), alpha=alpha, classes=7)
    ours = build(name, input_shape=(side, side, 3), classes=7)
    ours.set_weights(theirs.get_weights())
    x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype("float32")
    np.testing.assert_allclose(ours(x).numpy(), theirs(x).numpy(), rtol=1e-4, atol=1e-6)
