"""ShuffleNet: table 1's multiply-adds, and who sees whom with and without the shuffle."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn_repro import layers as explicit
from cnn_repro.architectures import build, describe, names, shufflenet, weightless


@pytest.mark.parametrize("groups, millions", [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)])
def test_table_1_counts_the_convolutions(groups, millions):
    with weightless():
        found = describe(build(f"shufflenet_v1_g{groups}", include_top=False))
    assert round(found["multiply_adds"] / 1e6) == millions


def jacobian(mix) -> np.ndarray:
    """(groups of outputs, groups of inputs) of a unit of 3 groups: does the one see the other?"""
    inputs = keras.Input((4, 4, 36))
    output = shufflenet.branch(inputs, 9, 36, 1, 3, 3, mix, explicit, "unit")
    model = keras.Model(inputs, output)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 36)), tf.float32)
    seen = np.zeros((3, 3))
    for group in range(3):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(model(x)[..., 12 * group:12 * (group + 1)] ** 2)
        gradient = np.abs(tape.gradient(y, x).numpy()).max(axis=(0, 1, 2))
        seen[group] = gradient.reshape(3, 12).max(axis=1) > 0
    return seen


def test_with_the_shuffle_every_group_sees_all_without_only_itself():
    keras.utils.set_random_seed(0)
    np.testing.assert_array_equal(jacobian(shufflenet.shuffled), np.ones((3, 3)))
    np.testing.assert_array_equal(jacobian(shufflenet.unshuffled), np.eye(3))


ARMS = [name for name in names() if name.endswith("_noshuffle") and "shufflenet" in name]


@pytest.mark.parametrize("name", [ARMS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ARMS[1:])])
def test_only_the_shuffle_distinguishes_the_arms_of_table_3(name):
    with weightless():
        arm, other = build(name), build(name.removesuffix("_noshuffle"))
    kept = [layer.name for layer in other.layers if not isinstance(layer, explicit.ChannelShuffle)]
    assert len(other.layers) - len(kept) == sum(shufflenet.UNITS)
    assert [layer.name for layer in arm.layers] == kept
    assert [v.shape for v in arm.weights] == [v.shape for v in other.weights]


@pytest.mark.parametrize("groups", shufflenet.TABLE_1)
@pytest.mark.parametrize("scale", [0.25, 0.5, 1])
def test_bottlenecks_are_quarters_as_far_as_the_groups_divide_them(groups, scale):
    for width in shufflenet.TABLE_1[groups]:
        width = int(width * scale)
        bottleneck = shufflenet.bottleneck_of(width, groups)
        assert bottleneck % groups == 0 and 0 <= width / 4 - bottleneck < groups


def test_a_strided_unit_joins_averages_and_new_maps():
    """Figure 2(c); the averages are those of three by three positions, zeros beyond the border included."""
    inputs = keras.Input((4, 4, 6))
    model = keras.Model(inputs, shufflenet.strided_unit(inputs, 18, 1, 3, shufflenet.shuffled, explicit, "unit"))
    x = np.ones((1, 4, 4, 6), "float32")
    y = model(x).numpy()
    assert y.shape == (1, 2, 2, 18)
    np.testing.assert_allclose(y[0, ..., 0], [[4 / 9, 6 / 9], [6 / 9, 1]], rtol=1e-6)
