"""The anatomy of networks: multiply-adds counted by hand, receptive fields against what an output really sees."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from zoo import anatomy_of, channels_first

from cnn_repro import layers as L
from cnn_repro.architectures import build, describe, weightless


def row_of(layer, *shapes) -> dict:
    """The anatomy of a layer on inputs of these shapes, without the batch."""
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]))
    found = describe(model)
    assert found["parameters"] + found["non_trainable"] == model.count_params()
    return found["layers"][-1]


# ---------------------------------------------------------------------------------------------- counted by hand

@pytest.mark.parametrize("layer, shape, output, multiply_adds, biases", [
    (L.Conv1D(4, 3, padding="same"), (10, 2), [10, 4], 10 * 4 * 3 * 2, 40),
    (L.Conv1D(4, 3, strides=2, groups=2), (9, 6), [4, 4], 4 * 4 * 3 * 3, 16),
    (L.Conv2D(6, (3, 2), strides=2), (9, 8, 4), [4, 4, 6], 16 * 6 * 3 * 2 * 4, 96),
    (L.Conv2D(6, (3, 2), strides=2, groups=2), (9, 8, 4), [4, 4, 6], 16 * 6 * 3 * 2 * 2, 96),
    (L.Conv2D(5, 3, dilation_rate=2, use_bias=False), (7, 6, 2), [3, 2, 5], 6 * 5 * 9 * 2, 0),
    (L.Conv3D(2, 3), (4, 5, 6, 3), [2, 3, 4, 2], 24 * 2 * 27 * 3, 48),
    (L.DepthwiseConv1D(2), (6, 3), [5, 3], 5 * 3 * 2, 15),
    (L.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 4), [3, 3, 8], 9 * 8 * 9, 72),
    (L.SeparableConv1D(5, 3), (6, 2), [4, 5], 4 * (2 * 3 + 2 * 5), 20),
    (L.SeparableConv2D(5, 3), (6, 6, 2), [4, 4, 5], 16 * (2 * 9 + 2 * 5), 80),
    (L.Conv1DTranspose(3, 4, strides=2), (5, 2), [12, 3], 5 * 2 * 4 * 3, 36),
    (L.Conv2DTranspose(3, 2, strides=2), (4, 4, 5), [8, 8, 3], 16 * 5 * 4 * 3, 192),
    (L.Conv2DTranspose(3, 3, strides=2, padding="same"), (4, 4, 5), [8, 8, 3], 16 * 5 * 9 * 3, 192),
    (L.Conv3DTranspose(2, 2), (2, 2, 2, 3), [3, 3, 3, 2], 8 * 3 * 8 * 2, 54),
    (L.LocallyConnected1D(4, 3), (8, 2), [6, 4], 6 * 4 * 3 * 2, 24),
    (L.LocallyConnected2D(2, 3), (5, 6, 3), [3, 4, 2], 12 * 2 * 9 * 3, 24),
    (L.Dense(7), (5,), [7], 35, 7),
    (L.Dense(7), (4, 3, 5), [4, 3, 7], 12 * 35, 84),
    (L.TableConv2D([(0, 1), (1,)], 3), (6, 6, 2), [4, 4, 2], 16 * 3 * 9, 32),
    (L.FixedFilters2D("sobel"), (5, 5, 2), [3, 3, 4], 9 * 4 * 9, 0),
    (L.PrimaryCapsules(2, 4, kernel_size=3, strides=2), (7, 7, 3), [18, 4], 9 * 8 * 27, 72),
    (L.DynamicRouting(3, 5, iterations=1), (6, 4), [3, 5], 6 * 3 * (4 * 5 + 5), 0),         # predictions, one sum
    (L.DynamicRouting(3, 5, iterations=3), (6, 4), [3, 5], 6 * 3 * (4 * 5 + 3 * 5 + 2 * 5), 0),
    (L.NonLocal(channels=2), (4, 4, 6), [4, 4, 6], 3 * 16 * 12 + 2 * 16 * 16 * 2 + 16 * 12, 0),
    (L.NonLocal("dot_product", channels=2), (16, 6), [16, 6], 3 * 16 * 12 + 2 * 16 * 16 * 2 + 16 * 12, 0),
    (L.NonLocal("gaussian", channels=2), (4, 4, 6), [4, 4, 6], 2 * 16 * 12 + 16 * 16 * (6 + 2), 0),
    (L.NonLocal("concatenation", channels=2, subsample=2), (4, 4, 6), [4, 4, 6],
     4 * 16 * 12 + (16 + 4) * 2 + 16 * 4 * 2, 0),
    (L.NonLocal(channels=2, subsample=(1, 2, 2)), (3, 5, 4, 6), [3, 5, 4, 6],
     4 * 60 * 12 + 2 * 60 * (3 * 2 * 2) * 2, 0),
])
def test_multiply_adds_are_those_counted_by_hand(layer, shape, output, multiply_adds, biases):
    row = row_of(layer, shape)
    assert (row["output"], row["multiply_adds"]) == (output, multiply_adds)
    assert row["connections"] == multiply_adds + biases
    assert row["activation_bytes"] == 4 * np.prod(output)


@pytest.mark.parametrize("layer, shapes, connections", [
    (L.Subsampling2D(2), [(4, 4, 3)], 12 * 5), (L.RadialBasis([[1] * 4, [0] * 4]), [(4,)], 8),
    (L.MaxPooling2D(2), [(4, 4, 3)], 0), (L.BlurPooling2D(), [(4, 4, 3)], 0), (L.BatchNormalization(), [(4, 4, 3)], 0),
    (L.LocalResponseNormalization(), [(4, 4, 7)], 0), (L.Add(), [(4,), (4,)], 0), (L.HighwayGate(), [(4,)] * 3, 0),
    (L.ChannelShuffle(2), [(4, 4, 6)], 0), (L.CapsuleLength(), [(3, 5)], 0)])
def test_what_the_papers_do_not_count(layer, shapes, connections):
    row = row_of(layer, *shapes)
    assert (row["multiply_adds"], row["connections"]) == (0, connections)


@pytest.mark.parametrize("arguments, shapes, multiply_adds, biases", [
    ({}, [(4, 5), (4, 4)], 4 * 5 * 6, 0), (dict(self_weight=True), [(4, 5), (4, 4)], 2 * 4 * 5 * 6, 0),
    ({}, [(5,), (None,)], 5 * 6, 0), (dict(use_bias=True), [(5,), (None,)], 5 * 6, 6),      # of one node
    ({}, [(None, 5), (None, None)], 5 * 6, 0)])
def test_a_graph_convolution_counts_its_kernel_for_every_node_that_is_known(arguments, shapes, multiply_adds, biases):
    row = row_of(L.GraphConvolution(6, **arguments), *shapes)
    assert (row["multiply_adds"], row["connections"]) == (multiply_adds, multiply_adds + biases)
    assert row["receptive_field"] is None and row["output"][-1] == 6


def test_depth_is_the_longest_way_with_weights():
    x = keras.Input((8, 8, 3))
    short = keras.layers.Conv2D(4, 1, name="short")(x)
    long = keras.layers.Conv2D(4, 3, padding="same", name="b")(keras.layers.Conv2D(2, 1, name="a")(x))
    model = keras.Model(x, keras.layers.Dense(2, name="c")(keras.layers.Flatten()(keras.layers.Add()([short, long]))))
    assert describe(model)["depth"] == 3


def test_several_inputs_and_outputs_videos_and_vectors():
    a, b = keras.Input((6, 7, 8, 3), name="video"), keras.Input((5,), name="vector")
    x = keras.layers.Conv3D(4, (3, 1, 1), name="one")(a)
    y = keras.layers.Dense(4, name="two")(b)
    z = keras.layers.Add(name="both")([keras.layers.GlobalAveragePooling3D(name="pool")(x), y])
    found = describe(keras.Model([a, b], [z, x]))
    assert found["input_shape"] == [6, 7, 8, 3]
    assert {row["name"]: row["output"] for row in found["layers"]} == {
        "one": [4, 7, 8, 4], "two": [4], "pool": [4], "both": [4]}
    assert found["multiply_adds"] == 4 * 7 * 8 * 4 * 3 * 3 + 20


def image_network():
    """Something of everything that has channels, in Keras's data format."""
    first = keras.config.image_data_format() == "channels_first"
    x = image = keras.Input((3, 12, 10) if first else (12, 10, 3), name="image")
    x = keras.layers.ZeroPadding2D(((1, 2), (0, 0)), name="pad")(x)
    x = L.Conv2D(4, 3, strides=(2, 1), name="conv")(x)
    x = L.ReLU(name="relu")(L.BatchNormalization(axis=1 if first else -1, name="norm")(x))
    x = L.Conv2D(6, 3, groups=2, padding="same", name="groups")(x)
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.Concatenate(axis=1 if first else -1, name="join")([x, y])
    x = L.MaxPooling2D((2, 3), name="pool")(x)
    x = L.Flatten(name="flat")(x)
    return keras.Model(image, L.Dense(2, name="dense")(x), name="image_network")


def test_a_network_has_one_anatomy_in_both_data_formats():
    last = describe(image_network())
    with channels_first():
        assert describe(image_network()) == last
    assert last["input_shape"] == [12, 10, 3]
    rows = {row["name"]: row for row in last["layers"]}
    assert rows["join"]["output"] == [7, 8, 12] and rows["pool"]["receptive_field"] == 3 + 2 * 2 + 2 * 2 + 2


def test_a_network_without_weights_in_memory_is_described_alike():
    with weightless():
        model = build("resnet20_cifar", classifier_activation=None)
        without = describe(model)
    assert all(variable._value is None for variable in model.variables)
    assert without == describe("resnet20_cifar", classifier_activation=None)
    assert np.isfinite(build("lenet5").get_weights()[0]).all()          # the next one has its numbers


# ----------------------------------------------------------------------------------------------- receptive fields

@pytest.mark.parametrize("name, fields", [
    ("lenet5", {"C1": 5, "S2": 6, "C3": 14, "S4": 16, "C5": 32}),
    ("lenet5_modern", {"C1": 5, "S2": 6, "C3": 14, "S4": 16}),
    ("resnet20_cifar", {"conv1_out": 3, "conv2_3_out": 15, "conv3_1_1_relu": 17, "conv3_3_out": 37,
                        "conv4_3_out": 81}),
    ("plain20_cifar", {"conv1_out": 3, "conv2_3_out": 15, "conv3_3_out": 37, "conv4_3_out": 81})])
def test_receptive_fields_of_known_networks(name, fields):
    rows = {row["name"]: row["receptive_field"] for row in anatomy_of(name)["layers"]}
    assert {layer: rows[layer] for layer in fields} == fields
    assert rows["OUTPUT" if name.startswith("lenet") else "fc"] is None       # behind a flattening: the whole image


def test_receptive_fields_of_dilation_overlap_and_branches():
    L, x = keras.layers, keras.Input((64, 64, 2))
    a = L.Conv2D(3, 3, dilation_rate=4, padding="same", name="dilated")(x)          # 1 + 2·4
    a = L.MaxPooling2D(3, strides=2, padding="same", name="overlapping")(a)         # + 2, then steps of 2
    a = L.Conv2D(3, (3, 1), padding="same", name="tall")(a)                         # + 2·2 along the height
    b = L.Conv2D(3, 1, strides=2, name="pointwise")(x)
    joined = L.Add(name="joined")([a, b])
    model = keras.Model(x, L.Dense(4, name="classes")(L.GlobalMaxPooling2D(name="pooled")(joined)))
    fields = {row["name"]: row["receptive_field"] for row in describe(model)["layers"]}
    assert fields == {"dilated": 9, "overlapping": 11, "tall": 15, "pointwise": 1, "joined": 15,
                      "pooled": None, "classes": None}


def test_a_receptive_field_is_what_an_output_really_sees():
    """The gradient of one unit of S4 by the image: 16 × 16 pixels and no others (tanh lets all of them through)."""
    model = build("lenet5", input_shape=(48, 48, 1), include_top=False)
    image = tf.constant(np.random.default_rng(0).normal(size=(1, 48, 48, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(image)
        unit = tf.reduce_sum(model(image)[:, 4, 4] * [float(k + 1) for k in range(16)])
    reached = np.argwhere(tape.gradient(unit, image).numpy()[0, :, :, 0])
    assert (reached.max(axis=0) - reached.min(axis=0) + 1).tolist() == [16, 16]
    assert describe(model)["layers"][-1]["receptive_field"] == 16


def seen_rows(model, axis=1) -> int:
    """How many rows of the input an output in the middle depends on: those where its gradient is not zero."""
    for layer in model.layers:                          # positive weights: nothing cancels, no unit is dead
        layer.set_weights([np.abs(weight) + 0.1 for weight in layer.get_weights()])
    x = tf.constant(np.random.default_rng(0).uniform(1, 2, size=(1, *model.input_shape[1:])), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
        middle = y.shape[axis] // 2
        unit = tf.reduce_sum(tf.gather(y, [middle], axis=axis))
    reached = np.argwhere(tape.gradient(unit, x).numpy())[:, axis]
    return int(reached.max() - reached.min() + 1)


CHAINS = {
    "padding in front": ((40, 40, 1), [L.ZeroPadding2D(((3, 0), (0, 0))), L.Conv2D(1, 4, strides=2), L.Conv2D(1, 3)],
                         4 + 2 * 2),
    "cropping": ((40, 40, 1), [L.Conv2D(1, 3), L.Cropping2D(2), L.Conv2D(1, 2, strides=2), L.AveragePooling2D(2)], 6),
    "blur": ((40, 40, 1), [L.Conv2D(1, 3, padding="same"), L.BlurPooling2D(3), L.BlurPooling2D(4, padding="valid")],
             3 + 2 + 3 * 2),
    "dilation": ((60, 60, 1), [L.Conv2D(1, 3, dilation_rate=2), L.AveragePooling2D(2), L.Conv2D(1, 3, dilation_rate=3)],
                 5 + 1 + 6 * 2),
    "depthwise and separable": ((40, 40, 2), [L.DepthwiseConv2D(3, strides=2), L.SeparableConv2D(2, 3)], 3 + 4),
    "causal": ((40, 1), [L.Conv1D(1, 3, padding="causal"), L.AveragePooling1D(2), L.Conv1D(1, 3)], 3 + 1 + 4),
    "local": ((20, 20, 1), [L.LocallyConnected2D(1, 3), L.Conv2D(1, 2)], 4),
    "dense on maps": ((20, 20, 1), [L.Conv2D(1, 3), L.Dense(2), L.Conv2D(1, 3)], 5),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_see_what_they_are_said_to_see(name):
    shape, layers, field = CHAINS[name]
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    model = keras.Model(inputs, x)
    assert describe(model)["layers"][-1]["receptive_field"] == field == seen_rows(model)


def test_the_height_of_a_video_is_its_second_axis():
    inputs = keras.Input((12, 20, 20, 1))
    model = keras.Model(inputs, L.AveragePooling3D((1, 3, 2))(L.Conv3D(1, (3, 5, 2))(inputs)))
    assert describe(model)["layers"][-1]["receptive_field"] == 5 + 2 == seen_rows(model, axis=2)


def test_branches_that_look_to_different_sides_see_their_union():
    inputs = keras.Input((30, 30, 1))
    ahead, behind = (L.Conv2D(1, 3, name=f"{side}_conv")(L.ZeroPadding2D((pads, (1, 1)), name=f"{side}_pad")(inputs))
                     for side, pads in (("ahead", (2, 0)), ("behind", (0, 2))))
    model = keras.Model(inputs, L.Add()([ahead, behind]))
    fields = [row["receptive_field"] for row in describe(model)["layers"]]
    assert fields[-1] == 5 == seen_rows(model) and sorted(fields)[-2] == 3


def test_max_blur_pooling_sees_the_maximum_of_what_is_blurred():
    row = row_of(L.MaxBlurPooling2D(2, blur_size=3), (16, 16, 1))
    assert row["receptive_field"] == 4 and row["output"] == [8, 8, 1]


@pytest.mark.parametrize("layer", [L.Flatten(), L.GlobalAveragePooling2D(keepdims=True), L.NonLocal(),
                                   L.Conv2DTranspose(2, 2), L.Reshape((8, 8, 1)), L.UpSampling2D(2)])
def test_no_field_behind_what_mixes_or_moves_all_rows(layer):
    assert row_of(layer, (8, 8, 1))["receptive_field"] is None


def test_primary_capsules_have_a_field_and_routed_ones_none():
    inputs = keras.Input((28, 28, 1))
    x = L.PrimaryCapsules(4, 8, kernel_size=9, strides=2)(L.Conv2D(16, 9)(inputs))
    fields = [row["receptive_field"] for row in describe(keras.Model(inputs, L.DynamicRouting(10, 16)(x)))["layers"]]
    assert fields == [9, 17, None]
