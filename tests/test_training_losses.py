"""The losses of training against their formulas in NumPy, in values and in gradients."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cnn_repro.architectures import build
from cnn_repro.layers import margin_loss
from cnn_repro.repro.training.loss import counted, cross_entropy, loss_of, scores

N, K = 5, 4
RANDOM = np.random.default_rng(1)
LOGITS = 3 * RANDOM.normal(size=(N, K))
OTHERS = [RANDOM.normal(size=(N, K)) for _ in range(2)]
LABELS = np.array([0, 3, 1, 1, 2])


def log_softmax(z):
    return z - z.max(1, keepdims=True) - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))


def entropy(targets, z):
    return -(targets * log_softmax(z)).sum(axis=1)


def value(loss, targets, outputs, *images):
    return ops.convert_to_numpy(loss(tf.constant(targets), outputs, *images))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_by_hand(smoothing, soft):
    targets = RANDOM.dirichlet(np.ones(K), size=N) if soft else np.eye(K)[LABELS]
    loss = loss_of({"name": "cross_entropy"} | ({"label_smoothing": smoothing} if smoothing else {}))
    found = value(loss, targets if soft else LABELS, tf.constant(LOGITS))
    np.testing.assert_allclose(found, entropy((1 - smoothing) * targets + smoothing / K, LOGITS), rtol=1e-10)


def test_the_gradient_of_cross_entropy_is_the_softmax_less_the_targets():
    z = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss_of({"name": "cross_entropy", "label_smoothing": 0.1})(tf.constant(LABELS), z))
    expected = np.exp(log_softmax(LOGITS)) - (0.9 * np.eye(K)[LABELS] + 0.1 / K)
    np.testing.assert_allclose(tape.gradient(total, z).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_auxiliary_classifiers_add_their_share_and_only_where_they_are():
    resolved = {"name": "cross_entropy", "label_smoothing": 0.1, "auxiliary": 0.3}
    targets = 0.9 * np.eye(K)[LABELS] + 0.1 / K
    main, sides = entropy(targets, LOGITS), sum(entropy(targets, z) for z in OTHERS)
    outputs = [tf.constant(z) for z in (LOGITS, *OTHERS)]
    np.testing.assert_allclose(value(loss_of(resolved), LABELS, outputs), main + 0.3 * sides, rtol=1e-10)
    np.testing.assert_allclose(value(loss_of(resolved), LABELS, tuple(outputs)), main + 0.3 * sides, rtol=1e-10)
    np.testing.assert_allclose(value(loss_of(resolved), LABELS, outputs[0]), main, rtol=1e-10)      # in evaluation
    without = {"name": "cross_entropy", "label_smoothing": 0.1}
    np.testing.assert_allclose(value(loss_of(without), LABELS, outputs), main, rtol=1e-10)
    assert scores(outputs) is outputs[0] and scores(outputs[0]) is outputs[0]


def test_half_precision_is_left_before_the_exponentials():
    z = tf.cast(tf.constant(LOGITS), tf.float16)
    for targets in (LABELS, np.eye(K)[LABELS]):
        found = cross_entropy(tf.constant(targets), z)
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, entropy(np.eye(K)[LABELS], LOGITS), atol=5e-3)


@pytest.mark.parametrize("resolved", [
    {"name": "cross_entropy"}, {"name": "cross_entropy", "label_smoothing": 0.1}, {"name": "map", "j": 1.0},
    {"name": "margin"}])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_target_of_minus_one_does_not_disturb(resolved, compiled):
    loss = tf.function(loss_of(resolved)) if compiled else loss_of(resolved)
    targets = np.array([0, -1, 1, -1, 2])
    found = value(loss, targets, tf.constant(LOGITS))
    assert np.isfinite(found).all()
    keep = targets >= 0
    np.testing.assert_array_equal(ops.convert_to_numpy(counted(tf.constant(targets))), keep)
    whole = value(loss, LABELS, tf.constant(LOGITS))
    np.testing.assert_allclose(found[[0, 2, 4]], whole[[0, 2, 4]], rtol=1e-6)
    assert ops.convert_to_numpy(counted(tf.constant(np.eye(K)))).tolist() == K * [1]


@pytest.mark.parametrize("soft", [False, True])
def test_the_margin_loss_is_the_layers_at_the_papers_constants(soft):
    targets = (RANDOM.uniform(size=(N, K)) < 0.5).astype("float64") if soft else LABELS
    lengths = tf.Variable(RANDOM.uniform(size=(N, K)))
    gradients = []
    for loss in (margin_loss, loss_of({"name": "margin", "upper": 0.9, "lower": 0.1, "down_weight": 0.5})):
        with tf.GradientTape() as tape:
            each = loss(tf.constant(targets), lengths)
            total = tf.reduce_sum(each)
        gradients.append((each.numpy(), tape.gradient(total, lengths).numpy()))
    for one, other in zip(*gradients):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_the_margin_loss_with_other_constants_by_hand():
    lengths = RANDOM.uniform(size=(N, K))
    present = np.eye(K)[LABELS]
    expected = (present * np.maximum(0, 0.7 - lengths)**2
                + 0.25 * (1 - present) * np.maximum(0, lengths - 0.2)**2).sum(axis=1)
    loss = loss_of({"name": "margin", "upper": 0.7, "lower": 0.2, "down_weight": 0.25})
    np.testing.assert_allclose(value(loss, LABELS, tf.constant(lengths)), expected, rtol=1e-10)


def test_a_reconstruction_adds_its_squared_error_image_by_image():
    lengths = RANDOM.uniform(size=(N, K)).astype("float32")
    images, drawn = RANDOM.uniform(size=(2, N, 3, 2, 1)).astype("float32")
    plain = value(loss_of({"name": "margin"}), LABELS, tf.constant(lengths))
    loss = loss_of({"name": "margin", "reconstruction": 0.5})
    outputs = [tf.constant(lengths), tf.constant(drawn)]
    found = value(loss, LABELS, outputs, tf.constant(images))
    np.testing.assert_allclose(found, plain + 0.5 * ((drawn - images)**2).sum(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(value(loss, LABELS, outputs[0]), plain)
    with pytest.raises(ValueError, match="reconstruction needs the images"):
        loss(tf.constant(LABELS), outputs)


def test_a_capsule_networks_decoder_is_trained_by_it():
    """The gradient of the reconstruction reaches the decoder, and without its share it does not."""
    keras.utils.set_random_seed(0)
    model = build("capsnet_reconstruction", input_shape=(19, 19, 1))
    images, labels = RANDOM.uniform(size=(2, 19, 19, 1)).astype("float32"), np.array([3, 7])
    decoder = [v for v in model.trainable_variables if v.path.startswith("decoder_")]
    for weight in (0.0005, 0.0):
        with tf.GradientTape() as tape:
            outputs = model([images, labels], training=True)
            loss = tf.reduce_mean(loss_of({"name": "margin", "reconstruction": weight})(labels, outputs, images))
        gradients = tape.gradient(loss, [v.value for v in decoder])
        assert [g is not None for g in gradients] == 6 * [weight > 0]
        if weight:
            assert max(float(tf.reduce_max(tf.abs(g))) for g in gradients) > 0


def test_the_map_loss_is_the_layers():
    z = -np.abs(LOGITS)
    expected = -z[np.arange(N), LABELS] + np.log(np.exp(-2) + np.exp(z).sum(axis=1))
    found = value(loss_of({"name": "map", "j": 2.0}), LABELS, tf.constant(z))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
