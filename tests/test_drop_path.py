"""ScheduledDropPath: which images lose a path, how often as training goes on, and that every step is counted."""
import keras
import numpy as np
import pytest
from keras import ops
from passes import array

from cnn_repro import layers as L
from cnn_repro.architectures import ArchitectureError, build
from cnn_repro.repro.check.backends import gradients
from cnn_repro.repro.training.run import drop_path


def kept(layer, images=400, shape=(2, 3, 4)):
    """The factors that one training step puts to its images; each image has one."""
    y = array(layer(np.ones((images, *shape), "float32"), training=True)).reshape(images, -1)
    assert (y == y[:, :1]).all()
    return y[:, 0]


def test_paths_are_dropped_more_and_more_often():
    layer = L.ScheduledDropPath(0.5, 4, seed=0)
    for step, rate in enumerate((0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5)):
        factors = kept(layer)
        assert set(np.unique(factors)) <= {0, np.float32(1 / (1 - rate))}
        assert (factors == 0).mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 400))
        assert int(array(layer.step.value)) == step + 1


def test_prediction_neither_drops_nor_counts():
    layer, x = L.ScheduledDropPath(0.9, 1), np.ones((5, 2), "float32")
    assert np.array_equal(array(layer(x)), x) and np.array_equal(array(layer(x, training=False)), x)
    assert int(array(layer.step.value)) == 0
    assert (kept(layer, shape=(2,)) == 1).all() and (kept(layer, shape=(2,)) == 0).mean() > 0.8


def test_what_was_dropped_learns_nothing():
    layer = L.ScheduledDropPath(0.5, 1, seed=3)
    kept(layer)                                                             # from now on one in two is dropped
    seen = []

    def dropped(x):
        seen.append(layer(x, training=True))
        return seen[-1]

    x, dy = np.ones((40, 3), "float32"), np.arange(120, dtype="float32").reshape(40, 3)
    found, = gradients(dropped, [x], dy)
    factors = array(found)[1:] / dy[1:]
    assert set(np.unique(np.round(factors, 5))) == {0, 2} and (factors == factors[:, :1]).all()


def test_half_precision_and_config():
    layer = L.ScheduledDropPath(0.25, 10, seed=1, dtype="mixed_float16", name="path")
    assert layer(np.ones((2, 2), "float32"), training=True).dtype == ops.ones((), "float16").dtype
    again = L.ScheduledDropPath.from_config(layer.get_config())
    assert (again.rate, again.steps, again.seed, again.name) == (0.25, 10, 1, "path")
    for wrong in ({"rate": 1, "steps": 2}, {"rate": -0.1, "steps": 2}, {"rate": 0.5, "steps": 0}):
        with pytest.raises(ValueError, match="must be at least"):
            L.ScheduledDropPath(**wrong)


@pytest.mark.parametrize("name", ["nasnet_cifar", pytest.param("amoebanet_a32_cifar", marks=pytest.mark.slow)])
def test_every_operation_of_every_cell_is_a_path(name, cells=20):
    shape = {"input_shape": (8, 8, 3)}
    plain, model = build(name, **shape), build(name, drop_path=(0.4, 50), layers=keras.layers, **shape)
    paths = {layer.name: layer for layer in model.layers if isinstance(layer, L.ScheduledDropPath)}
    assert {layer.name for layer in model.layers} - {layer.name for layer in plain.layers} == paths.keys()
    of_cell = {}
    for path, layer in paths.items():
        of_cell.setdefault("_".join(path.split("_")[:2]), set()).add(layer.rate)
        assert layer.steps == 50
        before = layer.input._keras_history.operation
        assert "_same" not in before.name and not isinstance(before, keras.layers.Concatenate)
    rates = [rate for rate, in of_cell.values()]                            # one in each cell
    np.testing.assert_allclose(rates, [0.4 * (index + 1) / cells for index in range(cells)])
    added = [part for layer in model.layers if isinstance(layer, keras.layers.Add)
             for part in (tensor._keras_history.operation.name for tensor in layer.input)]
    assert len(added) == 2 * 5 * cells and set(paths) <= set(added)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for layer in plain.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    np.testing.assert_allclose(array(model(x)), array(plain(x)), rtol=1e-4, atol=1e-6)


def test_a_recipe_says_how_often_and_its_schedule_how_long():
    chosen = {"batch": 32, "schedule": {"kind": "cosine", "rate": 0.1, "stop": 10, "unit": "epochs"}}
    assert drop_path(chosen | {"drop_path": 0.4}, 100) == (0.4, 40)
    assert drop_path(chosen | {"drop_path": 0}, 100) is None and drop_path(chosen, 100) is None
    with pytest.raises(ArchitectureError, match="lenet5 has no paths to drop"):
        build("lenet5", drop_path=(0.4, 40))
    with pytest.raises(ArchitectureError, match="nasnet_mobile's auxiliary classifiers count the pixels"):
        build("nasnet_mobile", auxiliary=True, input_shape=(None, None, 3))
