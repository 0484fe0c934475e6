"""DenseNet: how its blocks grow, the counts of CIFAR-100, and the networks of keras.applications."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, densenet, describe, weightless

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
