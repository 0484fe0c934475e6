"""keras.applications' weights on our networks: the same outputs, every weight once, one line where they do not fit.

Their networks are drawn at random, statistics of the normalisations too: those of a fresh one would hide an epsilon
or a mean that is not theirs.
"""
import h5py
import keras
import numpy as np
import pytest

from cnn_repro.architectures import (WeightsError, build, find, image_input, keras_names, load_keras_applications,
                                     names, weightless)
from cnn_repro.architectures.keras_names import PUBLISHED, from_first_number

QUICK = ("vgg16", "resnet50_keras", "mobilenet_v1_025_keras", "mobilenet_v2_035_keras")
SMALL = "mobilenet_v1_025_keras"


def slow_but(quick, of=PUBLISHED) -> list:
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in of]


def theirs(name: str, top=True, seed=0, **arguments) -> keras.Model:
    """The network of keras.applications with random weights and statistics; 11 classes and logits with a top."""
    random = np.random.default_rng(seed)
    top = {"classes": 11, "classifier_activation": None} if top else {"include_top": False}
    model = PUBLISHED[name].build(weights=None, input_shape=shape_of(name), **{**top, **arguments})
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    return model


def ours(name: str, top=True, **arguments) -> keras.Model:
    top = {"classes": 11, "classifier_activation": None} if top else {"include_top": False}
    return build(name, **{"input_shape": shape_of(name), **top, **arguments})


def shape_of(name) -> tuple[int, int, int]:
    """As small as both take, with an odd side; and not square, but for NASNet, whose padding is found by one side."""
    side = max(find(name).smallest[0], 75 if "inception" in name else 33)
    return (side, side if "nasnet" in name else side + 6, 3)


def equal(one: keras.Model, other: keras.Model):
    """Outputs that agree to 1e-4 of their scale, which is not nothing."""
    images = np.random.default_rng(1).normal(size=(2, *one.input_shape[1:])).astype("float32")
    found, expected = (np.asarray(model(images)) for model in (one, other))
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    assert scale > 1e-3 and expected.std() > 1e-2 * scale
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale, rtol=0)


@pytest.fixture(autouse=True)
def memory():
    yield
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def source() -> keras.Model:
    return theirs(SMALL)


def refused(model, source, *words):
    """One line with these words, and the network as it was."""
    before = model.get_weights()
    with pytest.raises(WeightsError) as caught:
        load_keras_applications(model, source)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 1200, text
    assert all(word in text for word in words), text
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# -------------------------------------------------------------------------------------------------- the same outputs

@pytest.mark.parametrize("name", slow_but(QUICK))
def test_outputs_are_those_of_keras_applications(name):
    model, source = ours(name), theirs(name)
    assert load_keras_applications(model, source) is model
    equal(model, source)


@pytest.mark.parametrize("name", slow_but(("vgg16", SMALL)))
def test_features_are_those_of_keras_applications(name):
    model, source = ours(name, top=False), theirs(name, top=False)
    load_keras_applications(model, source)
    equal(model, source)


def test_every_network_of_theirs_that_is_ours_is_in_the_table():
    keras_presets = {name for name in PUBLISHED if name.endswith("_keras")}
    assert keras_presets == {name for name in names() if name.endswith("_keras")}
    assert PUBLISHED.keys() - keras_presets == {"vgg16", "vgg19"}


@pytest.mark.parametrize("name", slow_but((*QUICK, "nasnet_mobile_keras")))
def test_every_layer_of_theirs_is_named_once(name):
    """The rules alone: no weights are made."""
    published = PUBLISHED[name]
    with weightless():
        found = [layer.name for layer in build(name).layers if layer.weights]
        expected = [layer.name for layer in published.build(weights=None).layers if layer.weights]
    mapped = [published.name_of(layer) for layer in found]
    assert len(set(mapped)) == len(mapped) and set(mapped) == set(from_first_number(expected).values())


def test_keras_numbers_count_from_the_first_of_the_model():
    assert from_first_number(["conv2d_94", "conv2d_95", "batch_normalization_7", "predictions", "conv2d_1x"]) == {
        "conv2d_94": "conv2d_0", "conv2d_95": "conv2d_1", "batch_normalization_7": "batch_normalization_0",
        "predictions": "predictions", "conv2d_1x": "conv2d_1x"}
    assert from_first_number(["conv2d", "conv2d_1"]) == {"conv2d": "conv2d_0", "conv2d_1": "conv2d_1"}


def test_the_second_inception_of_a_session_is_numbered_on_and_fits_too():
    name = "inception_v3_keras"
    theirs(name)
    second = theirs(name, seed=3)
    assert "conv2d_94" in [layer.name for layer in second.layers]
    model = ours(name)
    load_keras_applications(model, second)
    first, last = (next(layer for layer in second.layers if layer.name == f"conv2d_{n}") for n in (94, 187))
    assert np.array_equal(model.get_layer("conv1_conv").kernel, first.kernel)
    assert np.array_equal(model.get_layer("mixed10_proj_conv").kernel, last.kernel)


# ------------------------------------------------------------------------------------------------------------- files

def legacy(model, path):
    """As keras.applications publishes them: an .h5 of weights alone, in Keras's old format."""
    whole = path.with_name("whole.h5")
    model.save(whole)
    with h5py.File(whole) as old, h5py.File(path, "w") as new:
        for key in old["model_weights"]:
            old.copy(f"model_weights/{key}", new)
        new.attrs.update(old["model_weights"].attrs)
    return path


WRITERS = {"new.weights.h5": lambda model, path: model.save_weights(path),
           "old.h5": legacy, "entire.h5": lambda model, path: model.save(path)}


@pytest.mark.parametrize("file", slow_but(["new.weights.h5", "old.h5"], WRITERS))
@pytest.mark.parametrize("top", slow_but([True], [True, False]))
def test_files_are_read_by_the_library_itself(file, top, tmp_path, source):
    written = source if top else theirs(SMALL, top=False)
    WRITERS[file](written, tmp_path / file)
    for path in (tmp_path / file, str(tmp_path / file)):
        model = ours(SMALL, top)
        load_keras_applications(model, path)
        equal(model, written)


def test_a_trained_models_file_holds_an_optimizer_beside_the_weights(tmp_path, source):
    model = keras.models.clone_model(source)
    model.set_weights(source.get_weights())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "a.weights.h5")
    one = ours(SMALL)
    load_keras_applications(one, tmp_path / "a.weights.h5")
    equal(one, model)


# ----------------------------------------------------------------------------------------------------- what is wrong

def test_a_network_that_differs_names_the_preset(source):
    refused(ours("mobilenet_v1_025"), source, "mobilenet_v1_025 is not keras.applications' network",
            "mobilenet_v1_025_keras is", find(SMALL).differs)
    refused(ours("resnet18"), source, "'resnet18' is no network with an equal in keras.applications", "vgg16, vgg19")
    refused(build("mobilenet_v2_torchvision", input_shape=(32, 32, 3)), source, "mobilenet_v2_keras is")


def test_another_network_s_weights_are_refused(source):
    refused(ours("mobilenet_v2_035_keras"), source, "does not fit mobilenet_v2_035_keras", "it lacks Conv1/kernel")
    refused(ours("mobilenet_v1_050_keras"), source, "does not fit", "conv1/kernel is 3×3×3×8", "3×3×3×16")
    refused(ours(SMALL, classes=12), source, "conv_preds/kernel is 1×1×256×11", "1×1×256×12")


def test_a_top_on_one_side_only_is_refused(tmp_path, source):
    refused(ours(SMALL, top=False), source, "it has left over conv_preds/kernel, conv_preds/bias")
    refused(ours(SMALL), theirs(SMALL, top=False), "it lacks conv_preds/kernel, conv_preds/bias")
    for file, write in WRITERS.items():
        write(source, tmp_path / file)
        refused(ours(SMALL, top=False), tmp_path / file, file, "without its top")


def test_a_missing_and_an_additional_layer_are_named(source):
    without = keras.Model(source.inputs, source.get_layer("conv_pw_13_bn").output)
    refused(ours(SMALL, top=False), keras.Model(source.inputs, source.get_layer("conv_pw_13").output),
            "it lacks conv_pw_13_bn/gamma, conv_pw_13_bn/beta and 2 more")
    more = keras.Model(without.inputs, keras.layers.Conv2D(3, 1, name="mine")(without.output))
    refused(ours(SMALL, top=False), more, "it has left over mine/kernel, mine/bias")
    extended = ours(SMALL, top=False)
    extended = keras.Model(extended.inputs, keras.layers.Conv2D(3, 1, name="mine")(extended.output), name=SMALL)
    refused(extended, without, f"{SMALL} has a layer mine, which its namesake of `build` has not")


def test_a_missing_an_additional_and_a_misshapen_array_of_a_file(tmp_path, source):
    for file, group, shape in (("new.weights.h5", "layers/conv2d_3/vars", None), ("old.h5", None, None)):
        WRITERS[file](source, tmp_path / file)
        whole = (tmp_path / file).read_bytes()
        if group is None:
            continue
        changes = {"missing": lambda h5: h5.__delitem__(f"{group}/0"),
                   "group": lambda h5: h5.__delitem__("layers/conv2d_3"),
                   "more": lambda h5: h5.create_dataset("layers/mine/vars/0", data=np.zeros(3)),
                   "shape": lambda h5: (h5.__delitem__(f"{group}/0"),
                                        h5.create_dataset(f"{group}/0", data=np.zeros((1, 1, 3, 4))))}
        for name, change in changes.items():
            path = tmp_path / f"{name}.weights.h5"
            path.write_bytes(whole)
            with h5py.File(path, "a") as h5:
                change(h5)
            refused(ours(SMALL), path, str(path), "138 arrays" if name == "more" else "not the weights of")


@pytest.mark.parametrize("file", ["new.weights.h5", "old.h5"])
def test_damaged_files_are_one_line(file, tmp_path, source):
    WRITERS[file](source, tmp_path / file)
    whole = (tmp_path / file).read_bytes()
    for name, content in {"empty": b"", "text": b"no weights at all", "half": whole[:len(whole) // 2],
                          "almost": whole[:-100]}.items():
        path = tmp_path / f"{name}{file.removeprefix('new').removeprefix('old')}"
        path.write_bytes(content)
        refused(ours(SMALL), path, str(path), "not the weights of keras.applications'")


@pytest.mark.parametrize("source", ["imagenet", "nowhere.h5", "nowhere.weights.h5"])
def test_a_name_is_a_path_and_nothing_is_downloaded(source, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: pytest.fail("nothing is downloaded"))
    refused(ours(SMALL), source, f"{source}: no such file", 'ResNet50(weights="imagenet")')


def test_another_ending_is_refused(tmp_path):
    for name in ("a.npz", "a.keras", "imagenet"):
        (tmp_path / name).write_bytes(b"")
        refused(ours(SMALL), tmp_path / name, ".h5 or .weights.h5")


def test_a_rule_that_names_no_layer_says_so():
    with pytest.raises(keras_names.UnknownLayer):
        keras_names.VGG("conv1_1_bn")
    with pytest.raises(keras_names.UnknownLayer):
        keras_names.INCEPTION_V3("mixed3_1x1_conv")


# ----------------------------------------------------------------------------------------------------- preprocessing

MODULES = {"vgg16": "vgg16", "vgg19": "vgg19", "resnet50v2": "resnet_v2", "resnet101v2": "resnet_v2",
           "resnet152v2": "resnet_v2", "resnet": "resnet", "densenet": "densenet", "mobilenet_v1": "mobilenet",
           "mobilenet_v2": "mobilenet_v2", "inception_v3": "inception_v3", "nasnet": "nasnet"}


@pytest.mark.parametrize("name", slow_but(QUICK))
def test_images_are_scaled_as_the_networks_own_module_scales_them(name):
    module = getattr(keras.applications, next(module for start, module in MODULES.items() if name.startswith(start)))
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")
    inputs = image_input(name, "keras")
    scaled = keras.applications.imagenet_utils.preprocess_input(images.copy(), data_format="channels_last",
                                                                mode=inputs.mode)
    np.testing.assert_array_equal(scaled, module.preprocess_input(images.copy(), data_format="channels_last"))
    assert inputs.side == find(name).input_shape[0]
    assert inputs.resize == {224: 256, 299: 342, 331: 378}[inputs.side]
