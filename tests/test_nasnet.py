"""NASNet-A: how its cells are fed, and the network of keras.applications."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import build, nasnet, weightless


@pytest.mark.parametrize("name, cells, widths", [
    ("nasnet_cifar", 6, (32, 64, 128)), *(pytest.param(*more, marks=pytest.mark.slow) for more in (
        ("nasnet_mobile", 4, (44, 88, 176)), ("nasnet_large", 6, (168, 336, 672))))])
def test_n_cells_a_group_and_p_maps_behind_the_last(name, cells, widths):
    with weightless():
        layers = {layer.name: layer for layer in build(name).layers}
    for group, width in enumerate(widths, 1):
        outputs = [layers[f"normal{group}_{index}_out"].output.shape[-1] for index in range(1, cells + 1)]
        assert outputs == cells * [6 * width] and f"normal{group}_{cells + 1}_out" not in layers
        if group > 1:
            assert layers[f"reduction{group - 1}_1_out"].output.shape[-1] == 4 * width
    assert 6 * widths[-1] == nasnet.NETWORKS[name][1]


def test_every_state_of_a_cell_reaches_its_output():
    """What no pair takes is in the output; of the reduction's, state 3 is in both, as in the authors' program."""
    for table, joined in ((nasnet.NORMAL, {1, 2, 3, 4, 5, 6}), (nasnet.REDUCTION, {3, 4, 5, 6})):
        taken = {state for pair in table for _, state in pair}
        assert len(table) == 5 and taken | joined == set(range(7))


@pytest.mark.parametrize("pool", ["MaxPooling2D", "AveragePooling2D"])
def test_a_pool_of_kerass_network_on_images_of_any_size_is_that_of_their_size(pool):
    """In steps of 2, where zeros count and an odd size has its first window one pixel further out."""
    inputs = keras.Input((None, None, 2))
    free = keras.Model(inputs, nasnet.keras_pool(inputs, pool, 2, keras.layers, "pool"))
    for rows, columns in ((7, 8), (8, 7), (1, 2)):
        x = np.random.default_rng(0).normal(size=(2, rows, columns, 2)).astype("float32")
        known = keras.Input(x.shape[1:])
        expected = keras.Model(known, nasnet.keras_pool(known, pool, 2, keras.layers, "pool"))(x)
        np.testing.assert_allclose(free(x), expected, rtol=1e-6, atol=1e-7)


def test_what_a_reduction_took_is_reduced_for_the_cell_behind_it_whatever_the_size():
    """Images of unknown size do not say which of two maps is the larger."""
    inputs, twice = keras.Input((None, None, 4)), keras.Input((None, None, 4))
    fitted = nasnet.fitted(twice, inputs, 4, keras.layers, "before", nasnet.batch_norm, larger=True)
    model = keras.Model([inputs, twice], fitted)
    assert model([np.zeros((1, 3, 4, 4)), np.zeros((1, 6, 8, 4))]).shape == (1, 3, 4, 4)


@pytest.mark.slow
def test_keras_network_with_keras_weights():
    theirs = keras.applications.NASNetMobile(weights=None, input_shape=(64, 64, 3), classes=7)
    ours = build("nasnet_mobile_keras", input_shape=(64, 64, 3), classes=7)
    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    ours.set_weights(theirs.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(ours(x).numpy(), theirs(x).numpy(), rtol=1e-4, atol=1e-6)
