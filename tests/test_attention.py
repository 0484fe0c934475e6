"""Non-local blocks: what they start as, what they equal, how far they reach."""
import keras
import numpy as np
import passes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from passes import PRECISE, array, numbers, within

from cnn_repro import layers as L
from cnn_repro.layers.attention import KINDS
from cnn_repro.repro.check import error_of

quickly = settings(max_examples=40, deadline=None, derandomize=True)


def block(shape, awake=True, **arguments):
    """A block with random weights; asleep with those it starts with."""
    layer = L.NonLocal(dtype=PRECISE, **arguments)
    layer.build((None, *shape[1:]))
    if awake:
        layer.set_weights([np.abs(numbers(*w.shape, seed=i)) + 0.5 if w.name == "moving_variance"
                           else 0.5 * numbers(*w.shape, seed=i) for i, w in enumerate(layer.weights)])
    return layer


def weight(layer, name):
    return next(array(one.value) for one in layer.weights if one.name == name)


def assert_same(found, expected, threshold=1e-10):
    assert error_of(found[0], expected[0]) < within(threshold)
    assert found[1].keys() == expected[1].keys()
    for name in found[1]:
        assert error_of(found[1][name], expected[1][name]) < within(threshold), name


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_starts_as_the_identity(kind, normalize):
    """For outputs and gradients; in training, too."""
    x = numbers(2, 4, 5, 6)
    layer = block(x.shape, awake=False, kind=kind, normalize=normalize)
    for training in (False, True):
        y, gradients = passes.of(layer, x, training=training, dy=x)
        assert error_of(y, x) == 0 and error_of(gradients["input"], x) == 0
        assert gradients["gamma" if normalize else "z"].any()       # and can leave it
    names = {"g", "z"} | ({"theta", "phi"} if kind != "gaussian" else set())
    names |= ({"pair"} if kind == "concatenation" else set()) | ({"gamma", "beta"} if normalize else set())
    assert {one.name for one in layer.trainable_weights} == names
    assert all(weight(layer, name).shape == (6, 3) for name in names & {"theta", "phi", "g"})


def test_the_non_local_operation_is_attention_without_a_scale():
    theta, phi, g = numbers(2, 5, 3), numbers(2, 4, 3, seed=1), numbers(2, 4, 6, seed=2)
    tensors = {"theta": theta, "phi": phi, "g": g[..., :3]}

    def attention(theta, phi, g):
        one_head = lambda x: ops.expand_dims(x, 2)                                      # noqa: E731
        return ops.dot_product_attention(one_head(theta), one_head(phi), one_head(g), scale=1.0,
                                         flash_attention=False)[:, :, 0]

    assert_same(passes.run(L.attend, tensors), passes.run(attention, tensors))


@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 3, 4, 6), (2, 2, 3, 2, 6)], ids=str)
def test_a_block_is_self_attention_on_the_same_weights(shape):
    """MultiHeadAttention with one head, which divides by √channels, and a residual connection."""
    layer, x = block(shape, normalize=False, channels=4), numbers(*shape, seed=9)
    other = keras.layers.MultiHeadAttention(1, 4, use_bias=False, dtype=PRECISE, flash_attention=False)
    rows = x.reshape(2, -1, 6)
    other.build(rows.shape, rows.shape)
    theta, phi, g, z = (weight(layer, name) for name in ("theta", "phi", "g", "z"))
    other.set_weights([2 * theta[:, None], phi[:, None], g[:, None], z[None]])
    expected = passes.run(lambda x: x + other(x, x), {"input": rows})
    found = passes.of(layer, x)
    assert error_of(found[0].reshape(rows.shape), expected[0]) < within(1e-10)
    assert error_of(found[1]["input"].reshape(rows.shape), expected[1]["input"]) < within(1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subsample", [1, 2, (3, 2)])
def test_a_block_is_made_of_stock_layers(kind, subsample):
    """1×1 convolutions, max pooling after φ and g, equation (1) as it stands, batch normalisation."""
    x = numbers(2, 6, 5, 4, seed=9)
    layer = block(x.shape, kind=kind, subsample=subsample)
    embed = {name: keras.layers.Conv2D(2, 1, use_bias=False, dtype=PRECISE) for name in ("theta", "phi", "g")}
    for name, one in embed.items():
        one.build(x.shape)
        if name == "g" or kind != "gaussian":
            one.set_weights([weight(layer, name)[None, None]])
    norm = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=PRECISE)
    norm.build(x.shape)
    norm.set_weights(layer.normalization.get_weights())
    pool = keras.layers.MaxPooling2D(subsample, dtype=PRECISE)

    def stock(x):
        theta, phi, g = (x if kind == "gaussian" and name != "g" else embed[name](x) for name in embed)
        theta, phi, g = (ops.reshape(one, (2, -1, one.shape[-1])) for one in (theta, pool(phi), pool(g)))
        if kind == "concatenation":
            first, second = ops.split(weight(layer, "pair"), 2)
            f = ops.relu(ops.matmul(theta, first) + ops.swapaxes(ops.matmul(phi, second), 1, 2))
        else:
            f = ops.einsum("nid,njd->nij", theta, phi)
            f = f if kind == "dot_product" else ops.exp(f)
        total = ops.sum(f, -1, keepdims=True) if kind.endswith("gaussian") else phi.shape[1]
        y = ops.reshape(ops.matmul(ops.matmul(f / total, g), weight(layer, "z")), x.shape)
        return x + norm(y)

    expected = passes.run(stock, {"input": x})
    found = passes.of(layer, x)
    assert error_of(found[0], expected[0]) < within(1e-9)
    assert error_of(found[1]["input"], expected[1]["input"]) < within(1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_positions_changes_nothing_but_the_order(kind):
    x, order = numbers(2, 7, 4), np.random.default_rng(0).permutation(7)
    layer = block(x.shape, kind=kind)
    assert error_of(layer(x[:, order]), array(layer(x))[:, order]) < within(1e-12)


@quickly
@given(seed=st.integers(0, 99), positions=st.integers(1, 5), others=st.integers(2, 5))
def test_a_softmax_averages(seed, positions, others):
    """Equal g give that g; any g stay between their least and their greatest."""
    theta, phi = numbers(1, positions, 2, seed=seed), numbers(1, others, 2, seed=seed + 1)
    g = numbers(1, others, 3, seed=seed + 2)
    assert error_of(L.attend(theta, phi, np.ones_like(g)), np.ones((1, positions, 3))) < 1e-6
    y = array(L.attend(theta, phi, g))
    assert (y <= g.max(1) + 1e-6).all() and (y >= g.min(1) - 1e-6).all()


def test_large_similarities_do_not_overflow():
    x = 100 * numbers(1, 4, 3)
    y, gradients = passes.run(lambda x: L.attend(x, x, x, "gaussian"), {"input": x})
    assert error_of(y, x) < 1e-3                        # every position looks at itself alone
    assert np.isfinite(gradients["input"]).all()


def test_a_corner_hears_of_the_opposite_one():
    """In one step, which a 3×3 convolution needs a layer every pixel for."""
    x, dy = numbers(1, 6, 6, 2), np.zeros((1, 6, 6, 2), PRECISE)
    dy[0, 0, 0] = 1
    reached = passes.of(block(x.shape), x, dy=dy)[1]["input"]
    near = passes.of(L.Conv2D(2, 3, padding="same", dtype=PRECISE), x, dy=dy)[1]["input"]
    assert reached[0, 5, 5].all() and not near[0, 5, 5].any()


def test_an_unknown_pairwise_function_is_named():
    x = numbers(1, 2, 3)
    with pytest.raises(ValueError, match="no pairwise function 'cosine'; there are gaussian, embedded_gaussian, dot"):
        L.attend(x, x, x, "cosine")


def test_a_model_with_a_block_trains_and_is_saved(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((6, 6, 2)), L.Conv2D(4, 3, padding="same", activation="relu"),
        L.NonLocal(subsample=2, name="block"), L.GlobalAveragePooling2D(), L.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    x, y = numbers(16, 6, 6, 2, dtype="float32"), numbers(16, 1, seed=1, dtype="float32")
    losses = model.fit(x, y, batch_size=8, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and array(model.get_layer("block").normalization.gamma.value).any()
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    assert error_of(again.predict(x, verbose=0), model.predict(x, verbose=0)) == 0
