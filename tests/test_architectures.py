"""Every network of the registry: the papers' counts, live gradients, the stock twin, saving, data formats, errors.

Parametrised over the registry: a new network brings its tests with it; zoo.py says which run when.
"""
import gc
import math
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from zoo import (FEW, IMAGES, KINDS, LIGHT, Pair, batch, channels_first, close, file_of, gradients, loss_of, network,
                 outputs_of, published, slow_but, smallest_shape, stated, still, stir)

from cnn_repro import layers as explicit
from cnn_repro.architectures import (ArchitectureError, anatomy, build, describe, find, names, registry, stage_of,
                                     stage_outputs, weightless)
from cnn_repro.repro.papers import card_of


@pytest.fixture(scope="module", params=slow_but(FEW, names()))
def paper(request):
    """Each network at the paper's size, one at a time."""
    return published(request.param)


@pytest.fixture(scope="module", params=slow_but(LIGHT, KINDS))
def pair(request):
    """Each kind of network at its smallest, and its twin; gone before the next one comes."""
    pair = Pair(request.param)
    yield pair
    pair.__dict__.clear()
    keras.backend.clear_session()
    gc.collect()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Where the networks lie that a fresh process is to load."""
    return tmp_path_factory.mktemp("saved")


few = pytest.mark.parametrize("name", slow_but(LIGHT, FEW))


# ------------------------------------------------------------------------------------------ the papers' numbers

def test_counts_are_those_of_the_paper(paper):
    results = [result for result in card_of(paper.name).results
               if result.architecture == paper.name and result.unit == "count" and result.comparable]
    assert "parameters" in {result.metric for result in results}, f"{paper.name}'s card states no parameters"
    for result in results:
        ours = paper.found[result.metric]
        if result.counted is None:
            assert abs(ours - result.value) <= result.rounding, f"{result.metric}: {ours}, published {result.value}"
        else:
            assert ours == result.counted, f"{result.metric}: the card says {result.counted} and why it is not the paper's"


def test_stages_are_those_of_the_papers_table(paper):
    tables = [table for table in card_of(paper.name).tables if table.architecture == paper.name]
    for row in (row for table in tables for row in table.rows):
        layers = [layer for layer in paper.found["layers"] if layer["stage"] == row["stage"]]
        assert layers, f"no stage {row['stage']}"
        assert layers[-1]["output"] == row["output"], row["stage"]
        for count in {"parameters", "connections", "multiply_adds"} & row.keys():
            assert sum(layer[count] for layer in layers) == row[count], f"{row['stage']}: {count}"
        if "layers" in row:
            assert sum(layer["multiply_adds"] > 0 for layer in layers) == row["layers"], row["stage"]


def test_describe_counts_what_the_model_has(paper):
    model, found = paper.model, paper.found
    assert found["name"] == paper.name and found["input_shape"] == list(find(paper.name).input_shape)
    assert found["parameters"] == sum(math.prod(v.shape) for v in model.trainable_variables)
    assert found["parameters"] + found["non_trainable"] == model.count_params()
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert [row["name"] for row in found["layers"]] == [layer.name for layer in layers]
    assert all(row["stage"] == stage_of(row["name"]) for row in found["layers"])
    assert model.outputs[0].shape[-1] == find(paper.name).classes
    for total in ("multiply_adds", "connections", "parameters"):
        assert found[total] == sum(row[total] for row in found["layers"])
    for layer, row in zip(layers, found["layers"], strict=True):        # no kernel is left out of the count
        if any(len(v.shape) > 1 for v in layer.trainable_variables):
            assert row["multiply_adds"] > 0, layer.name


def test_stages_have_outputs_to_cut_at(paper):
    outputs = stage_outputs(paper.model)
    assert list(outputs) == list(dict.fromkeys(row["stage"] for row in paper.found["layers"]))
    last = {row["stage"]: row["name"] for row in paper.found["layers"]}
    assert {stage: tensor._keras_history.operation.name for stage, tensor in outputs.items()} == last
    with weightless(), registry._deep(10_000):          # ResNet-1202
        shapes = [tensor.shape for tensor in outputs.values()]
        assert [tensor.shape for tensor in keras.Model(paper.model.inputs, list(outputs.values())).outputs] == shapes


def test_describe_takes_a_name():
    assert describe("lenet5_modern", classifier_activation=None) == published("lenet5_modern").found
    assert describe("lenet5_modern", classes=7, classifier_activation=None)["layers"][-1]["output"] == [7]


def test_a_feature_extractor_gives_what_the_stages_give():
    model = network("resnet20_cifar")
    outputs, (x, _) = stage_outputs(model), batch(model, "resnet20_cifar")
    third, last = keras.Model(model.input, [outputs["conv3"], outputs["fc"]])(x)
    assert third.shape == (IMAGES, *outputs["conv3"].shape[1:])
    np.testing.assert_array_equal(last.numpy(), model(x).numpy())


# ------------------------------------------------------------------------------------------- gradients and the twin

def test_every_weight_gets_a_gradient(pair):
    (_, loss, found), _ = pair.passes
    assert math.isfinite(loss)
    for variable, gradient in zip(pair.ours.trainable_variables, found, strict=True):
        assert gradient is not None and gradient.shape == tuple(variable.shape), variable.path
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.path


def test_the_twin_on_stock_layers_computes_the_same(pair):
    (outputs, loss, found), (stock_outputs, stock_loss, expected) = pair.passes
    for ours, stock in zip(outputs, stock_outputs, strict=True):
        assert ours.dtype == stock.dtype == "float64"
        np.testing.assert_allclose(ours, stock, rtol=1e-10, atol=1e-10)
    assert loss == pytest.approx(stock_loss, rel=1e-10)
    close(found, expected, pair.ours.trainable_variables)
    for a, b in zip(pair.ours.non_trainable_variables, pair.stock.non_trainable_variables, strict=True):
        if "seed" not in a.path:                        # moving averages
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12, err_msg=a.path)


@pytest.mark.parametrize("name", slow_but(FEW, names()))
def test_every_network_is_built_at_its_smallest_of_our_layers_and_its_twin_of_kerass(name):
    own = {kind for kind in explicit.__all__ if hasattr(keras.layers, kind)}
    with weightless():
        ours, stock = network(name), network(name, layers=keras.layers)
        assert tuple(ours.inputs[0].shape[1:]) == smallest_shape(name)
        for a, b in zip(ours.layers, stock.layers, strict=True):
            assert (a.name, type(a).__name__) == (b.name, type(b).__name__)
            assert [v.shape for v in a.weights] == [v.shape for v in b.weights]
            kind = type(a).__name__
            if kind in own:
                assert type(a) is getattr(explicit, kind) and type(b) is getattr(keras.layers, kind), a.name


def test_a_step_against_the_gradient_lowers_the_loss_by_its_length(pair):
    """Rate η = 10⁻⁴ E/‖g‖²: to first order the loss falls by one part in 10⁴."""
    (_, before, found), _ = pair.passes
    model, weights = pair.ours, pair.ours.get_weights()
    norm = sum(np.square(gradient).sum() for gradient in found)
    for variable, gradient in zip(model.trainable_variables, found):
        variable.assign_sub(1e-4 * before / norm * gradient)
    after = loss_of(pair.name, model, *pair.batch)[1].numpy()
    model.set_weights(weights)
    assert 0.5e-4 < 1 - after / before < 1.5e-4


# ------------------------------------------------------------------------------------------------- saving

def same(pair, other):
    assert [type(layer) for layer in other.layers] == [type(layer) for layer in pair.ours.layers]
    for a, b in zip(outputs_of(other, pair.batch[0]), pair.predicted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_config_gives_the_same_network_back(pair):
    copy = keras.Model.from_config(pair.ours.get_config())
    expected = pair.predicted
    copy.set_weights(pair.ours.get_weights())
    assert expected
    same(pair, copy)


@pytest.mark.parametrize("name", LIGHT)
def test_a_clone_is_the_same_network_with_weights_of_its_own(name):
    model = still(network(name))
    copy = keras.models.clone_model(model)
    assert not {id(v) for v in copy.weights} & {id(v) for v in model.weights}
    copy.set_weights(model.get_weights())
    inputs, _ = batch(model, name)
    for a, b in zip(outputs_of(copy, inputs), outputs_of(model, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_file_gives_the_same_network_back(pair, saved):
    pair.save(saved)
    same(pair, keras.models.load_model(saved / f"{pair.name}.keras"))
    if pair.name not in LIGHT:
        (saved / f"{pair.name}.keras").unlink()


# -------------------------------------------------------------------------------------------- data formats

def in_front(x):
    """The channels of images and videos in front; vectors, labels and adjacencies stay."""
    return np.moveaxis(x, -1, 1) if x.ndim > 3 else x


def test_channels_first_is_the_same_network_on_transposed_images(pair):
    inputs, labels = pair.batch
    (expected, _, slopes), _ = pair.passes
    with channels_first():
        first = pair.network()
        turned = [in_front(x) for x in inputs] if isinstance(inputs, list) else in_front(inputs)
        for tensor, x in zip(first.inputs, keras.tree.flatten(turned), strict=True):
            assert all(n in (None, m) for n, m in zip(tensor.shape, x.shape, strict=True))
        first.set_weights(pair.ours.get_weights())
        outputs, _, found = gradients(pair.name, first, turned, labels)
    for a, b in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(in_front(b) if a.shape != b.shape else b, a, rtol=1e-8, atol=1e-8)
    close(found, slopes, first.trainable_variables)
    assert describe(first) == describe(pair.ours)


# ------------------------------------------------------------------------------------------- images of any size

# pools that fit, subsampling, pools over the border by maximum and by mean; slow: all else that asks for a size
QUICK = ("conv2_cifar", "lenet5", "highway_conv10_w16_mnist", "cuda_convnet_26pct_cifar")
ANY_SIZE = (*QUICK, "cuda_convnet_18pct_cifar", "squeezenet", "googlenet", "resnet18", "densenet_bc100_k12_cifar", "c3d",
            "shufflenet_v1_g3_025", "nasnet_cifar", "nasnet_mobile_keras", "amoebanet_a32_cifar")


@pytest.mark.parametrize("name", slow_but(QUICK, ANY_SIZE))
def test_features_of_images_of_any_size_are_those_of_their_size(name):
    """On images of an odd height and an even width; lenet5 takes multiples of four."""
    *frames, rows, columns, channels = smallest_shape(name)
    shape = (*frames, *((rows + 4, columns + 8) if name == "lenet5" else (rows + 1, columns + 2)), channels)
    any_size = (*(None for _ in shape[1:]), channels)
    if stated(name)[0] > 5e9 or stated(name)[1] > 3e7:          # the same layers, at least
        with weightless():
            free, known = (network(name, include_top=False, input_shape=one) for one in (any_size, shape))
            assert [v.shape for v in free.weights] == [v.shape for v in known.weights]
            assert free.outputs[0].shape[-1] == known.outputs[0].shape[-1]
        return
    free, known = (network(name, include_top=False, input_shape=one) for one in (any_size, shape))
    free.set_weights(stir(known).get_weights())
    inputs, _ = batch(known, name)
    for a, b in zip(outputs_of(free, inputs), outputs_of(known, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_network_that_averages_its_maps_takes_images_of_any_size_to_their_scores():
    """Inside a graph that never sees the size, its gradients too."""
    model = network("nin_cifar", input_shape=(None, None, 3), classes=3)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])], autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
        return y, tape.gradient(y, x)

    for shape in ((2, 12, 9, 3), (1, 9, 16, 3)):
        y, dx = step(tf.random.stateless_normal(shape, (0, 1)))
        assert y.shape == (shape[0], 3) and dx.shape == shape and np.abs(dx).max() > 0


# ------------------------------------------------------------------------------------------- arguments and errors

@few
def test_heads_pooling_classes_and_seeds(name):
    with weightless():
        features = network(name, include_top=False).outputs[0].shape
    kind, reduce = (("avg", np.mean), ("max", np.max))[FEW.index(name) % 2]         # in turn
    if len(features) in (3, 4, 5):
        bare = network(name, include_top=False, pooling=kind)
        assert bare.output_shape == (None, features[-1])
        inputs, _ = batch(bare, name)
        maps, pooled = outputs_of(keras.Model(bare.inputs, [bare.layers[-2].output, bare.output]), inputs)
        assert maps.shape[1:] == tuple(features[1:])
        np.testing.assert_allclose(pooled, reduce(maps, axis=tuple(range(1, maps.ndim - 1))), rtol=1e-5, atol=1e-6)
    else:
        bare = network(name, include_top=False)
        with pytest.raises(ArchitectureError, match="no axes to pool"):
            network(name, include_top=False, pooling=kind)
    seven = network(name, classes=7, classifier_activation="softmax")
    inputs, _ = batch(seven, name, classes=7)
    scores, *_ = outputs_of(seven, inputs)
    assert scores.shape == (IMAGES, 7) and (scores >= 0).all()
    if find(name).loss != "margin":                     # lengths are scores already
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
        logits = outputs_of(keras.Model(seven.inputs, seven.get_layer("scores").input), inputs)[0]
        np.testing.assert_allclose(scores, tf.nn.softmax(logits).numpy(), rtol=1e-5, atol=1e-7)
    weights_follow_from_the_seed(bare, network(name, 4, include_top=False), seven)


def weights_follow_from_the_seed(one, other_seed, same_seed):
    """one: features. The same seed gave them the same numbers under another head, another seed all others."""
    drawn = 0
    for variable, other, again in zip(*(
            model.trainable_variables for model in (one, other_seed, same_seed))):
        a, b, c = variable.numpy(), other.numpy(), again.numpy()
        if variable.path.split("/")[-2:] != again.path.split("/")[-2:]:     # seven's head begins
            break
        assert np.array_equal(a, c), variable.path
        if a.ndim > 1 and a.min() < a.max():
            drawn += 1
            assert not np.array_equal(a, b), variable.path
    assert drawn or not one.trainable_variables
    kernels = [v.numpy() for v in one.trainable_variables if len(v.shape) > 1]
    for shape in {a.shape for a in kernels}:            # no two layers drew the same numbers
        alike = [tuple(a.ravel()[:8]) for a in kernels if a.shape == shape and a.min() < a.max()]
        assert len(set(alike)) == len(alike), shape


@pytest.mark.parametrize("name", slow_but((*ANY_SIZE, "gcn", "lecun1989", "vgg11_bn_cifar"), LIGHT))
def test_in_mixed_precision_outputs_are_near_those_of_the_full_one(name):
    """bfloat16 has eight bits: a network's outputs are finite, of that precision, and about the same."""
    full = network(name)
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        half = network(name)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    inputs, _ = batch(full, name)
    for a, b in zip(outputs_of(half, inputs), outputs_of(full, inputs), strict=True):
        assert a.dtype == "bfloat16" and b.dtype == "float32"
        assert np.isfinite(a.astype("float32")).all()
        assert np.abs(a.astype("float32") - b).max() <= 0.1 * np.abs(b).max(), np.abs(b).max()


@few
def test_defaults_are_the_papers_input_and_classes_with_softmax(name):
    with weightless():
        model = build(name)
    assert model.name == name and tuple(model.inputs[0].shape[1:]) == find(name).input_shape
    assert model.outputs[0].shape[-1] == find(name).classes
    if find(name).loss != "margin":
        assert model.layers[-1].name == "scores" and model.layers[-1].get_config()["activation"] == "softmax"


@pytest.mark.parametrize("name", slow_but(LIGHT, (name for name in KINDS if find(name).auxiliary)))
def test_auxiliary_classifiers_come_on_top_and_learn(name):
    plain, model = still(network(name)), still(network(name, auxiliary=True))
    heads = find(name).auxiliary
    assert len(model.outputs) == 1 + len(heads)
    assert all(tuple(output.shape) == (None, find(name).classes) for output in model.outputs)
    shared = {layer.name for layer in plain.layers}
    assert shared < {layer.name for layer in model.layers}
    for layer in plain.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    inputs, labels = batch(model, name)
    np.testing.assert_allclose(model(inputs)[0].numpy(), plain(inputs).numpy(), rtol=1e-5, atol=1e-6)
    _, _, found = gradients(name, model, inputs, labels)
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.path
    with weightless():
        scores = network(name, auxiliary=True, classifier_activation="softmax")
    assert {tensor._keras_history.operation.name for tensor in scores.outputs} == {
        "scores", *(f"scores_{layer}" for layer, _ in heads)}


def test_networks_without_auxiliary_classifiers_say_so():
    with pytest.raises(ArchitectureError, match="lenet5 has no auxiliary classifiers"):
        build("lenet5", auxiliary=True)


def test_presets_say_what_differs_and_plain_names_do_not():
    for name in names():
        if name.endswith(("_torchvision", "_keras")):
            assert find(name).differs, name


def test_another_activation_than_softmax():
    assert build("lenet5", classifier_activation="sigmoid").layers[-1].get_config()["activation"] == "sigmoid"


def test_an_unknown_name_gets_the_nearest_and_the_command_that_lists_all():
    with pytest.raises(ArchitectureError) as error:
        build("resnet20_cifra")
    assert str(error.value) == ("no architecture 'resnet20_cifra', did you mean 'resnet20_cifar'? "
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
    (dict(name="resnet20_cifar", input_shape=(32, 32, None)), r"else three positive integers, not \(32, 32, None\)"),
    (dict(name="lenet5_modern", input_shape=(None, None, 1)),
     r"lenet5_modern has layers whose weights count the pixels.* paper's \(32, 32, 1\), or .*include_top=False$"),
    (dict(name="lecun1989", input_shape=(None, None, 1), include_top=False),
     r"lecun1989 has layers whose weights count the pixels.* the paper's \(16, 16, 1\)$"),
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


def test_the_quick_tests_reach_every_file_of_networks():
    assert {file_of(name) for name in names()} == {file_of(name) for name in FEW}
    assert set(FEW) < set(KINDS) < set(names()) and len(FEW) < 1.5 * len({file_of(name) for name in FEW})


def test_stage_of_is_the_name_up_to_the_first_underscore():
    assert [stage_of(name) for name in ("conv2_1_add", "C1", "fc")] == ["conv2", "C1", "fc"]
    assert anatomy.stage_of is stage_of


def test_a_fresh_process_that_knows_only_the_layers_loads_networks_of_all_of_them(saved):
    loaded, known = [], set()
    for name in LIGHT:
        if not (saved / f"{name}.keras").exists():      # this test runs alone
            Pair(name).save(saved)
        config = zipfile.ZipFile(saved / f"{name}.keras").read("config.json").decode()
        ours = set(re.findall(r'"registered_name": "cnn_repro>(\w+)"', config))
        if not ours <= known:                           # a layer that none before had
            loaded, known = [*loaded, name], known | ours
    assert len(known) > 20
    code = """
import sys
import cnn_repro.layers, keras, numpy as np
for name in sys.argv[1:]:
    model, saved = keras.models.load_model(f"{name}.keras"), np.load(f"{name}.npz")
    inputs = [saved[f"x{index}"] for index in range(len(saved.files) - 1)]
    first, *_ = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))
    np.testing.assert_allclose(np.asarray(first), saved["y"], rtol=1e-5, atol=1e-6)
    print(name, model.name)
assert "cnn_repro.architectures" not in sys.modules and "cnn_repro.repro" not in sys.modules
"""
    child = subprocess.run([sys.executable, "-c", code, *loaded], cwd=saved, capture_output=True, text=True,
                           timeout=600)
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.split() == [word for name in loaded for word in (name, name)]
