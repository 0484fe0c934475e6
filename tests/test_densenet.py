"""DenseNet: how its blocks grow, where it drops, the counts of CIFAR-100."""
import keras
import numpy as np
import pytest

from cnn_repro import layers
from cnn_repro.architectures import build, densenet, describe, find, weightless
from cnn_repro.repro.papers import card

# published/canonical_params.csv: rebuilt in PyTorch from the paper and counted, parameters and multiply-adds
CIFAR100 = {
    "densenet40_k12_cifar": (1_060_132, 264_853_248), "densenet100_k12_cifar": (7_084_852, 1_769_621_568),
    "densenet100_k24_cifar": (27_457_972, 6_889_556_544), "densenet_bc100_k12_cifar": (800_032, 287_960_472),
    "densenet_bc250_k24_cifar": (15_480_556, 5_418_941_784), "densenet_bc190_k40_cifar": (25_821_620, 9_302_142_840),
}


@pytest.mark.parametrize("name", [name if "40" in name else pytest.param(name, marks=pytest.mark.slow)
                                  for name in CIFAR100])
def test_cifar100_counts(name):
    with weightless():
        found = describe(build(name, classes=100))
    assert (found["parameters"], found["multiply_adds"]) == CIFAR100[name]


@pytest.mark.parametrize("name, first, growth, layers", [
    ("densenet121", 64, 32, densenet.IMAGENET[121][1]), ("densenet_bc100_k12_cifar", 24, 12, (16, 16, 16)),
    ("densenet40_k12_cifar", 16, 12, (12, 12, 12))])
def test_every_layer_adds_k_maps_to_all_before_it(name, first, growth, layers):
    with weightless():
        model = build(name)
    width = first
    for block, count in enumerate(layers, 1):
        for index in range(1, count + 1):
            layer = model.get_layer(f"denseblock{block}_{index}_concat")
            old, new = layer.input
            assert (old.shape[-1], new.shape[-1]) == (width, growth)
            width += growth
        if block < len(layers):
            theta = 1 if name == "densenet40_k12_cifar" else 0.5
            width = int(theta * width)
            assert model.get_layer(f"transition{block}_conv").filters == width


@pytest.mark.parametrize("name, convolutions", [("densenet40_k12", 1 + 3 * 2 + 2),
                                                ("densenet_bc100_k12", 1 + 3 * 4 + 2)])
def test_dropout_is_behind_every_convolution_but_the_first_and_takes_the_place_of_augmentation(name, convolutions):
    plain, dropping = (card("huang2017").recipe(f"{name}{kind}_cifar").resolved for kind in ("", "_dropout"))
    assert [key for key in plain if plain[key] != dropping[key] and key != "gaps"] == ["augment"]
    assert dropping["augment"] == []
    inputs = keras.Input((8, 8, 3))
    with weightless():
        model = keras.Model(inputs, find(f"{name}_dropout_cifar").body(inputs, layers, layers=2))       # of a block
    first, *others = [layer.name for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert len(others) == convolutions - 1
    for name in others:                                             # and nothing takes it past its dropout
        taker, = (layer for layer in model.layers[1:] for one in keras.tree.flatten(layer.input)
                  if one._keras_history.operation.name == name)
        assert type(taker).__name__ == "Dropout" and taker.rate == 0.2
    assert sum(type(layer).__name__ == "Dropout" for layer in model.layers) == len(others)


def test_a_layer_hands_its_input_on_untouched():
    """Equation 2: what a block received is the first part of what it gives."""
    inputs = keras.Input((4, 4, 5))
    block = densenet.dense_block(inputs, 3, 2, densenet.bottleneck, keras.layers, "block", densenet.batch_norm)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 5)).astype("float32")
    y = keras.Model(inputs, block)(x).numpy()
    assert y.shape == (2, 4, 4, 11)
    np.testing.assert_array_equal(y[..., :5], x)


def test_a_compression_that_does_not_divide_is_rounded_down():
    """⌊θm⌋ (section 3, "Compression")."""
    y = densenet.transition(keras.Input((4, 4, 7)), 0.5, keras.layers, "t", densenet.batch_norm)
    assert y.shape == (None, 2, 2, 3)
