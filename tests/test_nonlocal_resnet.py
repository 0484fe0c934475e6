"""Non-local ResNets: where the blocks are, that they begin as nothing, and what table 2(e) counted."""
import numpy as np
import pytest

from cnn_repro.architectures import build, describe, weightless
from cnn_repro.architectures.nonlocal_resnet import DEPTHS, INFLATED


def layers_of(name) -> dict:
    with weightless():
        return {layer.name: layer for layer in build(name).layers}


@pytest.mark.parametrize("name, behind", [
    ("nonlocal_resnet50_c2d", ["res3_2", "res3_4", "res4_2", "res4_4", "res4_6"]),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("resnet50_c2d", []), ("nonlocal1_resnet50_c2d", ["res4_5"]),
        ("nonlocal10_resnet50_c2d", [f"res3_{n}" for n in range(1, 5)] + [f"res4_{n}" for n in range(1, 7)]),
        ("nonlocal_resnet101_c2d", ["res3_2", "res3_4", "res4_7", "res4_14", "res4_21"])))])
def test_non_local_blocks_stand_where_section_5_says(name, behind):
    found = layers_of(name)
    assert [layer.removesuffix("_nonlocal") for layer in found if layer.endswith("_nonlocal")] == behind
    for block in behind:
        layer = found[f"{block}_nonlocal"]
        assert (layer.kind, layer.subsample) == ("embedded_gaussian", (1, 2, 2))
        assert layer.input._keras_history.operation.name == f"{block}_out"


@pytest.mark.slow
@pytest.mark.parametrize("depth", DEPTHS)
def test_i3d_inflates_conv1_and_first_convolutions_and_no_other(depth):
    found = layers_of(f"resnet{depth}_i3d")
    frames = {name: layer.kernel_size[0] for name, layer in found.items() if hasattr(layer, "kernel_size")}
    assert frames.pop("conv1_conv") == 5
    inflated = {f"res{stage}_{index}_1_conv" for stage, blocks in enumerate(INFLATED[depth], 2) for index in blocks}
    assert {name for name, t in frames.items() if t == 3} == inflated
    assert set(frames.values()) == {1, 3}


def test_c2d_sees_one_frame_in_every_convolution():
    found = layers_of("resnet50_c2d").values()
    assert {layer.kernel_size[0] for layer in found if hasattr(layer, "kernel_size")} == {1}


def test_non_local_blocks_begin_as_the_identity():
    """Section 4.1: their normalisation begins with γ = 0."""
    shape = (8, 64, 64, 3)
    plain, related = (build(name, input_shape=shape) for name in ("resnet50_c2d", "nonlocal_resnet50_c2d"))
    for layer in plain.layers:
        related.get_layer(layer.name).set_weights(layer.get_weights())
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    np.testing.assert_allclose(related(x), plain(x), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_table_2e_counts_c2d_without_normalisation_and_with_unpadded_pooling():
    with weightless():
        found = describe(build("resnet101_c2d"))
    weights = sum(row["parameters"] for row in found["layers"] if row["type"] != "BatchNormalization")
    assert weights == pytest.approx(43.2e6, abs=5e4)
    second = sum(row["multiply_adds"] for row in found["layers"] if row["stage"] == "res2")
    assert found["multiply_adds"] - second * (1 - (55 / 56)**2) == pytest.approx(34.2e9, abs=5e7)
