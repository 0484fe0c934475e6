"""Softmax with cross-entropy as one operator, and softmax alone."""
import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings, strategies as st
from keras import ops
from passes import array, numbers, within

from cnn_repro import layers as L
from cnn_repro.repro.check import error_of

few = settings(max_examples=40, deadline=None, derandomize=True)
only_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow")


def loss_and_gradient(labels, logits, form="eager"):
    e, gradients = passes.run(lambda z: L.softmax_cross_entropy(labels, z), {"z": logits},
                              dy=np.ones(logits.shape[:-1]), form=form)
    return e, gradients["z"]


def test_the_example_by_hand():
    """y = (1/2, 1/4, 1/4): E = log 4 for the second class, dz = y − t."""
    e, dz = loss_and_gradient(np.array([1]), np.log([[2.0, 1.0, 1.0]]))
    np.testing.assert_allclose(e, [np.log(4)], rtol=within(1e-12))
    np.testing.assert_allclose(dz, [[0.5, -0.75, 0.25]], rtol=within(1e-12))


@few
@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 99), st.floats(0, 0.9))
def test_class_numbers_distributions_and_keras_agree(images, classes, seed, smoothing):
    logits, labels = 3 * numbers(images, classes, seed=seed), np.arange(images) * (seed + 1) % classes
    target = np.eye(classes)[labels]
    for found, expected in zip(loss_and_gradient(labels, logits), loss_and_gradient(target, logits)):
        np.testing.assert_allclose(found, expected, rtol=within(1e-12), atol=1e-7)
    smooth = (1 - smoothing) * target + smoothing / classes
    e, dz = loss_and_gradient(smooth, logits)
    stock = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
    np.testing.assert_allclose(e, array(stock(target, logits)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(dz.sum(-1), 0, atol=1e-6)                # moving all logits changes nothing
    for moved, same in zip(loss_and_gradient(smooth, logits + 100), (e, dz)):
        np.testing.assert_allclose(moved, same, rtol=within(1e-9), atol=within(1e-9) * 10)


def test_a_certain_mistake_has_a_finite_loss_and_the_whole_gradient():
    """Where softmax underflows: E = 1000, dz = (−1, 1), not log 0."""
    for scale in (1e3, 1e30):
        e, dz = loss_and_gradient(np.array([0, 1]), np.array([[0, scale], [0, scale]], "float32"))
        assert e.tolist() == [np.float32(scale), 0] and dz.tolist() == [[-1, 1], [0, 0]]


def test_a_class_ruled_out_costs_nothing_where_it_is_not_meant():
    logits = np.array([[1.0, -np.inf, 1.0]], "float32")
    for labels in (np.array([0]), np.array([[1.0, 0.0, 0.0]])):
        e, dz = loss_and_gradient(labels, logits)
        np.testing.assert_allclose(e, [np.log(2)], rtol=1e-6)
        np.testing.assert_allclose(dz, [[-0.5, 0, 0.5]], rtol=1e-6)
    assert loss_and_gradient(np.array([1]), logits)[0] == [np.inf]


def test_the_labels_may_have_any_number_of_axes():
    """A label at every pixel."""
    logits, labels = numbers(2, 3, 4, 5, dtype="float32"), np.arange(24).reshape(2, 3, 4) % 5
    e, dz = loss_and_gradient(labels, logits)
    flat = loss_and_gradient(labels.ravel(), logits.reshape(24, 5))
    assert error_of(e.ravel(), flat[0]) < 1e-6 and error_of(dz.reshape(24, 5), flat[1]) < 1e-6


@pytest.mark.parametrize("form", passes.FORMS)
def test_a_number_that_is_no_class_is_never_a_loss(form):
    e, dz = loss_and_gradient(np.array([0, 3, -1]), np.zeros((3, 3), "float32"), form)
    assert np.isnan(e).tolist() == [False, True, True] and np.isnan(dz).all(1).tolist() == [False, True, True]


@pytest.mark.parametrize("labels", [np.zeros((3, 1), "int32"), np.zeros((2, 2, 2)), np.zeros(())],
                         ids=lambda labels: str(labels.shape))
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(ValueError, match=r"are neither class numbers nor distributions for logits of shape \(3, 4\)"):
        L.softmax_cross_entropy(labels, np.zeros((3, 4), "float32"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    logits = ops.cast(numbers(4, 5, dtype="float32"), dtype)
    e = L.softmax_cross_entropy(np.arange(4), logits)
    assert keras.backend.standardize_dtype(e.dtype) == dtype
    expected = loss_and_gradient(np.arange(4), array(ops.cast(logits, "float32")))[0]
    assert error_of(array(ops.cast(e, "float32")), expected) < 3e-2


@pytest.mark.parametrize("form", passes.FORMS)
def test_an_empty_batch(form):
    e, dz = loss_and_gradient(np.zeros(0, "int32"), np.zeros((0, 3), "float32"), form)
    assert e.shape == (0,) and dz.shape == (0, 3)


@only_tensorflow
def test_it_is_the_loss_that_the_training_has_used():
    import tensorflow as tf
    logits, labels = 5 * numbers(8, 10, dtype="float32"), np.arange(8)
    expected = passes.run(lambda z: tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z), {"z": logits})
    found = passes.run(lambda z: L.softmax_cross_entropy(labels, z), {"z": logits})
    assert error_of(found[0], expected[0]) < 1e-6 and error_of(found[1]["z"], expected[1]["z"]) < 1e-6


def test_a_model_is_trained_with_it():
    x, labels = numbers(60, 4, dtype="float32"), np.arange(60) % 3
    losses = []
    for loss in (lambda labels, z: L.softmax_cross_entropy(ops.reshape(labels, (-1,)), z),
                 keras.losses.SparseCategoricalCrossentropy(from_logits=True)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), loss)
        losses.append(model.fit(x, labels, batch_size=25, epochs=3, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ------------------------------------------------------------------------------------------- softmax alone

@few
@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.data())
def test_scores_sum_to_one_and_moving_all_logits_changes_nothing(shape, data):
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    x = ops.convert_to_tensor(5 * numbers(*shape))
    y = array(L.softmax(x, axes))
    np.testing.assert_allclose(y.sum(axes), 1, rtol=1e-5)
    np.testing.assert_allclose(array(L.softmax(x + 50, axes)), y, rtol=1e-4)


def test_the_gradient_of_large_logits_is_finite():
    y, gradients = passes.run(L.softmax, {"x": np.array([[0, 1000.0, -1000.0]], "float32")})
    assert y.tolist() == [[0, 1, 0]] and gradients["x"].tolist() == [[0, 0, 0]]


def test_a_softmax_with_a_mask_is_left_to_keras():
    x, mask = numbers(2, 4, dtype="float32"), np.array([[True, True, False, True], [False] * 4])
    for axis in (-1, (0, 1)):
        found, expected = (array(namespace.Softmax(axis=axis)(x, mask=ops.convert_to_tensor(mask)))
                           for namespace in (L, keras.layers))
        assert (found == expected).all()
        if axis == -1:
            assert not found[1].any() and found[0].sum() == pytest.approx(1)


@pytest.mark.parametrize("activation, stock, labels", [
    ("softmax", keras.losses.SparseCategoricalCrossentropy, [0, 2]),
    ("sigmoid", keras.losses.BinaryCrossentropy, [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])])
@pytest.mark.parametrize("layer", ["Activation", "Dense"])
def test_kerass_losses_find_the_logits_behind_the_scores(activation, stock, labels, layer):
    """On TensorFlow they start from there: a certain mistake costs more than −log of the smallest score."""
    x, losses = np.array([[-40.0, 40.0, 0.0], [40.0, 0.0, -40.0]], "float32"), []
    for namespace in (L, keras.layers):
        scores = namespace.Activation(activation)
        if layer == "Dense":
            scores = namespace.Dense(3, activation=activation, kernel_initializer="identity")
        losses.append(array(stock()(np.array(labels), scores(x))))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] > 20 or keras.backend.backend() != "tensorflow"
