"""Every network of the registry: the papers' counts, live gradients, the stock twin, saving, data formats, errors.

Parametrised over `names()`: a new network brings its tests with it.
"""
import contextlib
import functools
import math
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn_repro import layers as explicit
from cnn_repro.architectures import (ArchitectureError, anatomy, build, describe, find, lenet, names, registry, resnet,
                                     stage_of)
from cnn_repro.repro.papers import card_of

FAMILIES = list({re.sub(r"\d+", "", name): name for name in reversed(names())}.values())    # the smallest of each
ALL = pytest.mark.parametrize("name", names())
EVERY_FAMILY = pytest.mark.parametrize("name", FAMILIES)
IMAGES = 4
# The CIFAR networks have any number of positions a stage: 16×16 images make their tests four times cheaper.
SMALL = {name: (16, 16, 3) if name.endswith("_cifar") else find(name).input_shape for name in names()}


@functools.cache
def published(name: str) -> tuple[keras.Model, dict]:
    """The network as the paper has it, and its anatomy."""
    model = build(name, classifier_activation=None)
    return model, describe(model)


def anatomy_of(name: str) -> dict:
    return published(name)[1]


def network(name: str, seed: int = 0, **arguments) -> keras.Model:
    """A network of logits on small images, with weights drawn by the seed."""
    keras.utils.set_random_seed(seed)
    return build(name, **{"input_shape": SMALL[name], "classifier_activation": None, **arguments})


def batch(name: str, dtype="float32") -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.normal(size=(IMAGES, *SMALL[name])).astype(dtype), np.arange(IMAGES)


def loss_of(name: str, model, images, labels):
    """Logits, and the loss that the network's output is made for, over a training batch."""
    logits = model(images, training=True)
    if find(name).loss == "map":
        return logits, tf.reduce_mean(explicit.map_loss(labels, logits, 12.0))
    return logits, tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def gradients(name: str, model, images, labels):
    """(logits, loss, gradients) of one batch, as arrays."""
    with tf.GradientTape() as tape:
        logits, loss = loss_of(name, model, images, labels)
    found = tape.gradient(loss, model.trainable_variables)
    return logits.numpy(), loss.numpy(), [None if gradient is None else gradient.numpy() for gradient in found]


@functools.cache
def both(name: str):
    """The network and its twin on stock layers with the same weights, each with its pass over the same batch.

    In float64: what is equal is equal to many digits, and the gradients of plain-110 are too large for less.
    """
    with precision("float64"):
        ours, stock = network(name), network(name, layers=keras.layers)
    stock.set_weights(ours.get_weights())
    images, labels = batch(name, "float64")
    return ours, gradients(name, ours, images, labels), stock, gradients(name, stock, images, labels)


@contextlib.contextmanager
def precision(dtype: str):
    """Keras's default precision of new models, for a while."""
    for use in (keras.config.set_floatx, keras.config.set_dtype_policy):
        use(dtype)
    try:
        yield
    finally:
        for use in (keras.config.set_floatx, keras.config.set_dtype_policy):
            use("float32")


@pytest.fixture
def data_format():
    """Sets Keras's data format for one test."""
    before = keras.config.image_data_format()
    yield keras.config.set_image_data_format
    keras.config.set_image_data_format(before)


# ------------------------------------------------------------------------------------------ the papers' numbers

@ALL
def test_counts_are_those_of_the_paper(name):
    results = [result for result in card_of(name).results
               if result.architecture == name and result.unit == "count" and result.comparable]
    assert "parameters" in {result.metric for result in results}, f"{name}'s card states no parameters"
    found = anatomy_of(name)
    weighted = sum(layer["multiply_adds"] > 0 for layer in found["layers"])
    for result in results:
        ours = weighted if result.metric == "depth" else found[result.metric]
        assert abs(ours - result.value) <= result.rounding, f"{result.metric}: {ours}, published {result.value}"


@ALL
def test_stages_are_those_of_the_papers_table(name):
    tables = [table for table in card_of(name).tables if table.architecture == name]
    for row in (row for table in tables for row in table.rows):
        layers = [layer for layer in anatomy_of(name)["layers"] if layer["stage"] == row["stage"]]
        assert layers, f"no stage {row['stage']}"
        assert layers[-1]["output"] == row["output"], row["stage"]
        for count in {"parameters", "connections", "multiply_adds"} & row.keys():
            assert sum(layer[count] for layer in layers) == row[count], f"{row['stage']}: {count}"
        if "layers" in row:
            assert sum(layer["multiply_adds"] > 0 for layer in layers) == row["layers"], row["stage"]


@ALL
def test_describe_counts_what_the_model_has(name):
    model, found = published(name)
    assert found["name"] == name and found["input_shape"] == list(find(name).input_shape)
    assert found["parameters"] == sum(math.prod(v.shape) for v in model.trainable_variables)
    assert found["parameters"] + found["non_trainable"] == model.count_params()
    assert [row["name"] for row in found["layers"]] == [layer.name for layer in model.layers[1:]]
    assert all(row["stage"] == stage_of(row["name"]) for row in found["layers"])
    assert found["layers"][-1]["output"] == [find(name).classes]
    for total in ("multiply_adds", "connections", "parameters"):
        assert found[total] == sum(row[total] for row in found["layers"])


def test_describe_takes_a_name():
    assert describe("lenet5_modern", classifier_activation=None) == anatomy_of("lenet5_modern")
    assert describe("lenet5_modern", classes=7, classifier_activation=None)["layers"][-1]["output"] == [7]


def test_lenet5_is_the_one_of_section_2b():
    found = anatomy_of("lenet5")
    assert found["parameters"] == 60_000 and found["connections"] == 340_908
    assert sum(len(row) for row in lenet.C3) == 60
    assert [len(row) for row in lenet.C3] == 6 * [3] + 9 * [4] + [6]
    assert all(len(set(row)) == len(row) for row in lenet.C3) and len(set(lenet.C3)) == 16
    uses = np.bincount([c for row in lenet.C3 for c in row])
    assert uses.tolist() == 6 * [10]                     # table I: every map of S2 feeds ten maps of C3
    assert found["parameters"] - anatomy_of("lenet5_modern")["parameters"] == (
        25 * (60 - 6 * 16) + 12 + 32 - 850)             # table, subsampling, and no dense output


def test_lenet5s_output_codes_are_ten_distinct_digits():
    codes = lenet.output_codes()
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1, 1}
    distances = ((codes[:, None] - codes[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() == 48 == distances[6, 8]     # the card derives j of equation 9 from it
    one = ["".join("#" if pixel > 0 else "." for pixel in row) for row in codes[1].reshape(12, 7)]
    assert one[:3] == ["...##..", "..###..", ".####.."] and one[9] == ".######"


@pytest.mark.parametrize("depth, n", resnet.CIFAR.items())
def test_cifar_networks_have_6n_plus_2_weighted_layers_and_the_counted_multiply_adds(depth, n):
    found = anatomy_of(f"resnet{depth}_cifar")
    assert sum(row["multiply_adds"] > 0 for row in found["layers"]) == 6 * n + 2 == depth
    by_hand = 32 * 32 * 9 * 3 * 16 + 64 * 10
    for side, width in ((32, 16), (16, 32), (8, 64)):
        by_hand += 2 * n * side**2 * 9 * width**2 - (width > 16) * side**2 * 9 * width * width // 2
    assert found["multiply_adds"] == by_hand


@pytest.mark.parametrize("depth", resnet.CIFAR)
def test_plain_and_residual_networks_have_the_same_weights(depth):
    """Section 3.3: the shortcuts of option A add neither parameters nor multiply-adds."""
    residual, plain = anatomy_of(f"resnet{depth}_cifar"), anatomy_of(f"plain{depth}_cifar")
    weighted = lambda found: [(row["name"], row["output"], row["parameters"], row["multiply_adds"])   # noqa: E731
                              for row in found["layers"] if row["parameters"]]
    assert weighted(residual) == weighted(plain)
    assert any(row["type"] == "Add" for row in residual["layers"])
    assert not any(row["type"] in ("Add", "PadChannels") for row in plain["layers"])


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


# ------------------------------------------------------------------------------------------- gradients and the twin

@ALL
def test_every_weight_gets_a_gradient(name):
    model, (_, loss, found), _, _ = both(name)
    assert math.isfinite(loss)
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        assert gradient is not None and gradient.shape == tuple(variable.shape), variable.path
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.path


@ALL
def test_the_twin_on_stock_layers_computes_the_same(name):
    ours, (logits, loss, found), stock, (stock_logits, stock_loss, expected) = both(name)
    assert logits.dtype == stock_logits.dtype == "float64"
    np.testing.assert_allclose(logits, stock_logits, rtol=1e-10, atol=1e-10)
    assert loss == pytest.approx(stock_loss, rel=1e-10)
    for variable, a, b in zip(ours.trainable_variables, found, expected, strict=True):
        assert np.abs(a - b).max() <= 1e-9 * np.abs(b).max(), variable.path
    for a, b in zip(ours.non_trainable_variables, stock.non_trainable_variables, strict=True):     # moving averages
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12, err_msg=a.path)


@ALL
def test_ours_has_the_written_out_layers_and_the_twin_kerass(name):
    ours, _, stock, _ = both(name)
    own = {kind for kind in explicit.__all__ if hasattr(keras.layers, kind)}
    for a, b in zip(ours.layers, stock.layers, strict=True):
        assert (a.name, type(a).__name__) == (b.name, type(b).__name__)
        kind = type(a).__name__
        if kind in own:
            assert type(a) is getattr(explicit, kind) and type(b) is getattr(keras.layers, kind), a.name


@ALL
def test_a_step_against_the_gradient_lowers_the_loss_by_its_length(name):
    """Rate η = 10⁻⁴ E/‖g‖²: to first order the loss falls by one part in 10⁴."""
    model, (_, before, found), _, _ = both(name)
    weights = model.get_weights()
    norm = sum(np.square(gradient).sum() for gradient in found)
    for variable, gradient in zip(model.trainable_variables, found):
        variable.assign_sub(1e-4 * before / norm * gradient)
    after = loss_of(name, model, *batch(name, "float64"))[1].numpy()
    model.set_weights(weights)
    assert 0.5e-4 < 1 - after / before < 1.5e-4


# ------------------------------------------------------------------------------------------------ initial weights

@EVERY_FAMILY
def test_weights_follow_from_the_seed(name):
    first, again, other = (network(name, seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    changed = [a.shape for a, b in zip(first, other) if a.ndim > 1 and np.array_equal(a, b)]
    assert not changed
    shapes = [a.shape for a in first if a.ndim > 1]
    for shape in set(shapes):                                           # no two layers drew the same numbers
        alike = [a.ravel()[:8].tolist() for a in first if a.shape == shape]
        assert len({tuple(a) for a in alike}) == len(alike), shape


def test_cifar_kernels_have_variance_2_over_fan_in_and_batch_norm_the_papers_constants():
    model = network("resnet56_cifar")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            fan_in = math.prod(layer.kernel.shape[:-1])
            assert float(np.std(layer.kernel)) == pytest.approx(math.sqrt(2 / fan_in), rel=0.12), layer.name
            assert not layer.use_bias
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


# --------------------------------------------------------------------------------------- option A, on its own

def shortcut_of(x: np.ndarray, width: int, stride: int) -> np.ndarray:
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, resnet.shortcut(inputs, width, stride, explicit, "block"))
    assert model.count_params() == 0
    return model(x).numpy()


def test_option_a_takes_every_second_pixel_and_appends_zero_channels():
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype("float32")
    y = shortcut_of(x, 5, 2)
    assert y.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], np.zeros((2, 3, 4, 2)))
    odd = np.random.default_rng(1).normal(size=(1, 7, 5, 2)).astype("float32")
    np.testing.assert_array_equal(shortcut_of(odd, 2, 2), odd[:, ::2, ::2])       # as many as a strided 3×3 has
    np.testing.assert_array_equal(shortcut_of(x, 3, 1), x)                        # inside a stage: the identity


def test_a_residual_block_with_dead_convolutions_is_its_shortcut():
    model = network("resnet20_cifar", include_top=False)
    for layer in model.layers:
        if layer.name.endswith("_2_bn"):                # γ = β = 0 behind F(x): y = ReLU(x), x ≥ 0
            layer.gamma.assign(np.zeros_like(layer.gamma))
    x, _ = batch("resnet20_cifar")
    first = keras.Model(model.input, model.get_layer("conv1_out").output)(x).numpy()
    expected = np.zeros((IMAGES, 4, 4, 64), "float32")
    expected[..., :16] = first[:, ::4, ::4]
    np.testing.assert_array_equal(model(x).numpy(), expected)


@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar"])
def test_every_block_computes_its_figure(name):
    """Figure 2: y = ReLU(F(x) + shortcut), F two convolutions with a ReLU between; the plain twin y = ReLU(F(x))."""
    model, x = network(name), batch(name)[0]
    outputs = dict(zip([layer.name for layer in model.layers],
                       keras.Model(model.input, [layer.output for layer in model.layers])(x, training=True)))
    value = {layer: output.numpy() for layer, output in outputs.items()}
    inputs = {layer.name: layer.input._keras_history.operation.name for layer in model.layers
              if isinstance(layer, (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.ZeroPadding2D))}
    inputs = {layer: inputs.get(f"{layer}_pad", before) for layer, before in inputs.items()}
    before = "conv1_out"
    np.testing.assert_array_equal(value[before], np.maximum(value["conv1_bn"], 0))
    for block in (f"conv{stage}_{index}" for stage in (2, 3, 4) for index in (1, 2, 3)):
        assert inputs[f"{block}_1_conv"] == before and inputs[f"{block}_2_conv"] == f"{block}_1_relu"
        assert inputs[f"{block}_1_bn"] == f"{block}_1_conv" and inputs[f"{block}_2_bn"] == f"{block}_2_conv"
        np.testing.assert_array_equal(value[f"{block}_1_relu"], np.maximum(value[f"{block}_1_bn"], 0))
        total = value[f"{block}_2_bn"]
        if name.startswith("resnet"):
            step = value[before].shape[1] // total.shape[1]
            skipped = value[before][:, ::step, ::step]
            total = total + np.pad(skipped, [(0, 0)] * 3 + [(0, total.shape[-1] - skipped.shape[-1])])
        before = f"{block}_out"
        np.testing.assert_array_equal(value[before], np.maximum(total, 0))
    np.testing.assert_allclose(value["pool"], value[before].mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_lenets_squash_where_the_paper_says():
    """Section II.B: every layer up to F6 passes through the scaled hyperbolic tangent."""
    activations = lambda name: {                                                            # noqa: E731
        layer.name: layer.activation.__name__ for layer in published(name)[0].layers if hasattr(layer, "activation")}
    assert activations("lenet5") == dict.fromkeys(["C1", "S2", "C3", "S4", "C5", "F6"], "scaled_tanh")
    assert activations("lenet5_modern") == dict.fromkeys(["C1", "C3", "C5", "F6"], "relu") | {"OUTPUT": "linear"}


# ------------------------------------------------------------------------------------------------- saving

@ALL
def test_the_config_gives_the_same_network_back(name):
    model, _, _, _ = both(name)
    copy = keras.Model.from_config(model.get_config())
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in model.layers]
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(batch(name)[0]).numpy(), model(batch(name)[0]).numpy())


@pytest.mark.parametrize("name", [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow)
                                  for name in names()])
def test_the_file_gives_the_same_network_back(name, tmp_path):
    model, _, _, _ = both(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    np.testing.assert_array_equal(loaded(batch(name)[0]).numpy(), model(batch(name)[0]).numpy())


def test_a_fresh_process_that_knows_only_the_layers_loads_every_family(tmp_path):
    for name in FAMILIES:
        model = network(name, classifier_activation="softmax")
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=batch(name)[0], y=model(batch(name)[0]).numpy())
    code = """
import sys
import cnn_repro.layers, keras, numpy as np
for name in sys.argv[1:]:
    model, saved = keras.models.load_model(f"{name}.keras"), np.load(f"{name}.npz")
    np.testing.assert_allclose(np.asarray(model(saved["x"])), saved["y"], rtol=1e-6, atol=1e-7)
    print(name, model.name)
assert "cnn_repro.architectures" not in sys.modules and "cnn_repro.repro" not in sys.modules
"""
    child = subprocess.run([sys.executable, "-c", code, *FAMILIES], cwd=tmp_path, capture_output=True, text=True,
                           timeout=300)
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.split() == [word for name in FAMILIES for word in (name, name)]


# -------------------------------------------------------------------------------------------- data formats

@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "lenet5"])
def test_channels_first_is_the_same_network_on_transposed_images(name, data_format):
    last = network(name)
    x, _ = batch(name)
    data_format("channels_first")
    first = network(name)
    assert first.input_shape == (None, SMALL[name][2], *SMALL[name][:2])
    first.set_weights(last.get_weights())
    y = first(x.transpose(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(y, last(x).numpy(), rtol=1e-4, atol=1e-5)
    _, _, expected = gradients(name, last, x, batch(name)[1])
    with tf.GradientTape() as tape:
        _, loss = loss_of(name, first, x.transpose(0, 3, 1, 2), batch(name)[1])
    for variable, a, b in zip(first.trainable_variables, tape.gradient(loss, first.trainable_variables), expected,
                              strict=True):
        assert np.abs(a.numpy() - b).max() <= 1e-4 * np.abs(b).max(), variable.path


def test_lenet5_says_that_it_is_channels_last(data_format):
    data_format("channels_first")
    with pytest.raises(ArchitectureError, match=r"channels_last only.*set_image_data_format\('channels_last'\)"):
        build("lenet5")


# ------------------------------------------------------------------------------------------- arguments and errors

@EVERY_FAMILY
def test_heads_pooling_and_classes(name):
    keras.utils.set_random_seed(0)
    bare, average, most = (build(name, input_shape=SMALL[name], include_top=False, pooling=kind)
                           for kind in (None, "avg", "max"))
    average.set_weights(bare.get_weights())
    most.set_weights(bare.get_weights())
    assert len(bare.output_shape) == 4 and average.output_shape == most.output_shape == (None, bare.output_shape[-1])
    x, _ = batch(name)
    maps = bare(x).numpy()
    np.testing.assert_allclose(average(x).numpy(), maps.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(most(x).numpy(), maps.max(axis=(1, 2)))
    seven = network(name, classes=7, classifier_activation="softmax")
    scores = seven(x).numpy()
    assert scores.shape == (IMAGES, 7) and (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    logits = keras.Model(seven.input, seven.layers[-2].output)(x).numpy()         # the same without the last layer
    np.testing.assert_allclose(scores, tf.nn.softmax(logits).numpy(), rtol=1e-5, atol=1e-7)
    assert len(bare.weights) <= len(seven.weights)


@EVERY_FAMILY
def test_defaults_are_the_papers_input_and_classes_with_softmax(name):
    model = build(name)
    assert model.name == name and model.input_shape == (None, *find(name).input_shape)
    assert model.output_shape == (None, find(name).classes) and model.layers[-1].name == "scores"
    assert model.layers[-1].get_config()["activation"] == "softmax"


def test_another_activation_than_softmax():
    assert build("lenet5", classifier_activation="sigmoid").layers[-1].get_config()["activation"] == "sigmoid"


def test_an_unknown_name_gets_the_nearest_and_the_command_that_lists_all():
    with pytest.raises(ArchitectureError) as error:
        build("resnet20")
    assert str(error.value) == ("no architecture 'resnet20', did you mean 'resnet20_cifar'? "
                                "(python -m repro list shows all)")
    with pytest.raises(ArchitectureError, match=r"^no architecture 'zzz' \(python -m repro list shows all\)$"):
        find("zzz")


@pytest.mark.parametrize("arguments, message", [
    (dict(name="lenet5", classes=11), "an output code for each of the ten digits.*not for 11 classes; lenet5_modern"),
    (dict(name="lenet5", pooling="mean"), "pooling must be None, 'avg' or 'max', not 'mean'"),
    (dict(name="lenet5", classes=0), "classes must be a positive integer, not 0"),
    (dict(name="lenet5", classes="10"), "classes must be a positive integer, not '10'"),
    (dict(name="lenet5", input_shape=(32, 32)), r"three positive integers, not \(32, 32\)"),
    (dict(name="lenet5", input_shape=32), "three positive integers, not 32"),
    (dict(name="resnet20_cifar", input_shape=(32, 32, 0)), r"three positive integers, not \(32, 32, 0\)"),
    (dict(name="resnet20_cifar", input_shape=(-3, 5, 3)), "three positive integers"),
    (dict(name="resnet20_cifar", input_shape="abc"), "three positive integers, not 'abc'"),
    (dict(name="lenet5", input_shape=(8, 8, 1)), r"lenet5 cannot be built for input_shape=\(8, 8, 1\); the paper's is"),
    (dict(name="lenet5_modern", input_shape=(8, 8, 1)), r"lenet5_modern cannot be built for input_shape=\(8, 8, 1\)")])
def test_impossible_arguments_get_one_clear_line(arguments, message):
    with pytest.raises(ArchitectureError, match=message) as error:
        build(**arguments)
    assert "\n" not in str(error.value)


def test_a_name_is_registered_once():
    with pytest.raises(ArchitectureError, match="the name 'lenet5' is taken"):
        registry.register(find("lenet5"))
    assert len(names()) == len(set(names())) == len(registry.REGISTRY)


def test_stage_of_is_the_name_up_to_the_first_underscore():
    assert [stage_of(name) for name in ("conv2_1_add", "C1", "fc")] == ["conv2", "C1", "fc"]
    assert anatomy.stage_of is stage_of
