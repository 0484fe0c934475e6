"""CapsNet: the decoder sees its label's capsule alone; the baseline is the one with padded convolutions."""
import numpy as np
import pytest

from cnn_repro.architectures import build, describe, weightless

SMALL = (19, 19, 1)


@pytest.fixture(scope="module")
def model():
    return build("capsnet_reconstruction", input_shape=SMALL)


def images(count=3):
    return np.random.default_rng(0).uniform(size=(count, *SMALL)).astype("float32")


def test_counts_with_and_without_the_decoder_and_those_of_the_layers():
    with weightless():
        alone, decoded = (describe(build(name)) for name in ("capsnet", "capsnet_reconstruction"))
    weights = {row["name"]: row["parameters"] for row in decoded["layers"] if row["parameters"]}
    assert {name: weights[name] for name in ("conv1", "primarycaps", "digitcaps")} == {
        "conv1": 20_992, "primarycaps": 5_308_672, "digitcaps": 1_474_560}
    assert decoded["parameters"] - alone["parameters"] == 1_411_344 == sum(
        count for name, count in weights.items() if name.startswith("decoder"))


def test_lengths_are_scores_below_one_and_do_not_depend_on_the_label(model):
    x = images()
    first, second = (model([x, np.array(labels)])[0].numpy() for labels in ([0, 1, 2], [3, 4, 5]))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (3, 10) and (first > 0).all() and (first < 1).all()


def test_the_decoder_sees_only_the_capsule_of_its_label(model):
    """The label's capsule decoded by hand: with the others at zero, ten columns of weights each for itself."""
    x, labels = images(), np.array([7, 0, 9])
    capsules = model.get_layer("digitcaps")
    inner = type(model)(model.inputs, capsules.output)([x, labels]).numpy()
    y = np.zeros((3, 160), "float32")
    for n, label in enumerate(labels):
        y[n, 16 * label:16 * (label + 1)] = inner[n, label]
    for index in (1, 2, 3):
        kernel, bias = (w.numpy() for w in model.get_layer(f"decoder_{index}").weights)
        y = y @ kernel + bias
        y = np.maximum(y, 0) if index < 3 else 1 / (1 + np.exp(-y))
    drawn = model([x, labels])[1].numpy()
    assert drawn.shape == x.shape
    np.testing.assert_allclose(drawn.reshape(3, -1), y, rtol=1e-5, atol=1e-6)


def test_routing_once_is_another_network_with_the_same_weights():
    once, thrice = (build(name, input_shape=SMALL) for name in ("capsnet_routing1", "capsnet"))
    once.set_weights(thrice.get_weights())
    assert np.abs(once(images()).numpy() - thrice(images()).numpy()).max() > 1e-4


def test_only_padded_convolutions_give_the_baselines_35_4_million():
    with weightless():
        found = describe(build("capsnet_baseline"))
    fc1 = next(row for row in found["layers"] if row["name"] == "fc1")["parameters"]
    assert found["parameters"] == 35_445_522 and fc1 == 28 * 28 * 128 * 328 + 328
    assert found["parameters"] - 328 * 128 * (28**2 - 16**2) == pytest.approx(13.3e6, abs=5e4)     # unpadded
