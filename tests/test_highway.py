"""Highway networks: closed gates carry, open gates transform; sizes of the papers' networks."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, highway


def set_gates(model, value):
    """All transform gates at the sigmoid of `value`, whatever the input."""
    for layer in model.layers:
        if layer.name.endswith("_t"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
            layer.bias.assign(np.full(layer.bias.shape, value))


def part(model, name):
    return keras.Model(model.input, model.get_layer(name).output)


@pytest.mark.parametrize("name, first, last", [("highway20_mnist", "layer1_h", "layer20_gate"),
                                               ("highway19_cifar", "conv12", "conv17_gate")])
def test_closed_gates_carry_the_input_through_and_open_ones_do_not(name, first, last):
    model = build(name)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    set_gates(model, -1e4)
    np.testing.assert_array_equal(part(model, last)(x).numpy(), part(model, first)(x).numpy())
    set_gates(model, 1e4)
    h = part(model, last.replace("gate", "h"))(x).numpy()
    np.testing.assert_array_equal(part(model, last)(x).numpy(), h)
    assert np.abs(h - part(model, first)(x).numpy()).max() > 1e-3


def test_a_block_computes_equation_3():
    model = build("highway10_mnist")
    x = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    before, h, t, y = (part(model, name)(x).numpy() for name in ("layer1_h", "layer2_h", "layer2_t", "layer2_gate"))
    np.testing.assert_allclose(y, h * t + before * (1 - t), rtol=1e-5, atol=1e-6)
    assert 0.05 < t.mean() < 0.2                                                    # nearly closed at first


@pytest.mark.parametrize("name, bias", [("highway50_mnist", -2), ("highway_conv10_w16_mnist", -1),
                                        ("highway19_cifar", -2)])
def test_gates_begin_with_negative_biases(name, bias):
    gates = [layer for layer in build(name).layers if layer.name.endswith("_t")]
    assert gates and all(layer.activation.__name__ == "sigmoid" for layer in gates)
    assert all((np.asarray(layer.bias) == bias).all() for layer in gates)


def test_thin_networks_have_about_5000_parameters_a_layer():
    """Section 3.1: 50 units with their gates, 71 without."""
    for kind, each in (("highway", 5100), ("plain", 5112)):
        small, large = (build(f"{kind}{layers}_mnist").count_params() for layers in (10, 50))
        assert (large - small) / 40 == each


def test_the_cifar_network_has_nineteen_layers():
    model = build("highway19_cifar")
    convolutions = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len({name.split("_")[0] for name in convolutions}) == 18 and model.get_layer("output").units == 10
    assert sum(width_and_count[1] for width_and_count in highway.CIFAR.values()) == 14
    assert sum(type(layer).__name__ == "HighwayGate" for layer in model.layers) == 14
    assert float(np.std(model.get_layer("conv1").kernel)) == pytest.approx(1, rel=0.1)
    assert float(np.var(model.get_layer("conv13_h").kernel)) == pytest.approx(2 / (9 * 128), rel=0.05)
