"""Figure 3 of ResNeXt: three forms of a block that compute the same."""
import keras
import numpy as np
import pytest

from cnn_repro import layers as L
from cnn_repro.architectures import build, resnext, weightless

PATHS, WIDTH = 4, 2


def network(form):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, resnext.cifar_body(inputs, L, PATHS, WIDTH, form))


def share(weights, path, axis=-1):
    """The part of one path: as many entries along the axis as every other path's."""
    return [np.split(w, PATHS, axis)[path] for w in weights]


def map_weights(grouped, form):
    """The grouped network's weights in one of the other forms."""
    for layer in grouped.layers:
        if not layer.weights:
            continue
        block, part = layer.name.rsplit("_", 2)[0], "_".join(layer.name.rsplit("_", 2)[1:])
        weights = layer.get_weights()
        if layer.name.startswith("conv1_") or part[0] == "0" or part == "3_bn":
            form.get_layer(layer.name).set_weights(weights)
        elif part == "3_conv" and form.name == "summed":
            for path in range(PATHS):                       # the rows of the last 1×1: the maps of one path each
                form.get_layer(f"{block}_3_{path + 1}_conv").set_weights(share(weights, path, axis=2))
        elif part == "3_conv":
            form.get_layer(layer.name).set_weights(weights)
        else:                                               # the columns of the first 1×1, the groups of the 3×3
            for path in range(PATHS):
                form.get_layer(f"{block}_{part[0]}_{path + 1}_{part[2:]}").set_weights(share(weights, path))


@pytest.mark.parametrize("form", [resnext.summed, resnext.concatenated])
def test_the_forms_of_figure_3_compute_the_same(form):
    random = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    grouped, other = network(resnext.grouped), network(form)
    other.name = form.__name__
    for layer in grouped.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    map_weights(grouped, other)
    x = random.normal(size=(3, 8, 8, 3)).astype("float32")
    for training in (False, True):
        y = grouped(x, training=training).numpy()
        assert np.abs(y).max() > 0.1
        np.testing.assert_allclose(other(x, training=training).numpy(), y, rtol=1e-3, atol=1e-4 * np.abs(y).max())


def test_the_forms_have_the_same_weights_in_other_shapes():
    with weightless():
        counts = {build(f"resnext29_8x64d{name}_cifar", input_shape=(8, 8, 3)).count_params()
                  for name in ("", "_summed", "_concatenated")}
    assert counts == {34_426_698 + 57_472}                                              # and moving averages


def test_cardinality_is_the_number_of_groups():
    for name, groups in (("resnext50_32x4d", 32), ("resnext101_64x4d", 64), ("resnext29_16x64d_cifar", 16)):
        with weightless():
            layers = build(name, input_shape=(32, 32, 3)).layers
        middle = [layer for layer in layers if layer.name.endswith("_2_conv")]
        assert middle and all(layer.groups == groups for layer in middle)
        assert all(layer.groups == 1 for layer in layers
                   if isinstance(layer, keras.layers.Conv2D) and layer not in middle)
