"""Whole images: the fully convolutional form of a network is the network, wherever it looks."""
import keras
import numpy as np
import pytest
from passes import array

from cnn_repro import layers as explicit
from cnn_repro.architectures import ArchitectureError, build, follow, over_whole_images


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def logits(name, layers=explicit, **shape):
    keras.utils.set_random_seed(0)
    model = build(name, classes=7, classifier_activation=None, layers=layers, **shape)
    model.set_weights([values + images(*values.shape) / 30 for values in model.get_weights()])     # biases too
    return model


@pytest.mark.parametrize("name, stride, layers", [("lenet5_caffe", 4, explicit), ("lenet5_modern", 4, keras.layers)],
                         ids=["explicit", "stock"])
def test_the_scores_are_the_mean_over_all_places(name, stride, layers):
    """Of networks without padding: the crops at every step of the network's own stride."""
    model = logits(name, layers)
    side = model.input_shape[1]
    larger = images(2, side + 2 * stride, side + stride, model.input_shape[-1])
    places = [array(model(larger[:, top:top + side, left:left + side])) for top in (0, stride, 2 * stride)
              for left in (0, stride)]
    whole = over_whole_images(model, layers)
    assert whole.input_shape == (None, None, None, model.input_shape[-1]) and whole.name == name
    np.testing.assert_allclose(array(whole(larger)), np.mean(places, axis=0), rtol=1e-4, atol=1e-5)
    assert np.std(places, axis=0).max() > 1e-2
    assert {type(layer).__module__.split(".")[0] for layer in whole.layers if isinstance(layer, keras.layers.Conv2D)} == {
        "cnn_repro" if layers is explicit else "keras"}


@pytest.mark.parametrize("name, side", [("vgg11", 32), ("alexnet", 67), ("cuda_convnet_18pct_cifar", 24),
                                        ("resnet20_cifar", 16), ("mobilenet_v1", 32)])
def test_on_an_image_of_its_own_size_it_is_the_network(name, side):
    """Those with dense layers on maps, and those that average their maps and need no other form."""
    model = logits(name, input_shape=(side, side, 3))
    own, whole = images(1, side, side, 3), over_whole_images(model)
    assert np.abs(array(model(own))).max() > 1e-6
    np.testing.assert_allclose(array(whole(own)), array(model(own)), rtol=1e-4, atol=1e-7)
    assert whole(images(1, side + 32, side + 64, 3)).shape == (1, 7)


def test_it_follows_the_weights():
    model = logits("lenet5_caffe")
    whole, own = over_whole_images(model), images(1, 28, 28, 1)
    before = array(whole(own))
    model.set_weights([2 * values for values in model.get_weights()])
    np.testing.assert_array_equal(array(whole(own)), before)        # copies
    follow(whole, model)
    np.testing.assert_allclose(array(whole(own)), array(model(own)), rtol=1e-4)


@pytest.mark.parametrize("name, shape, said", [
    ("gcn_mlp", None, "it takes no images (H, W, C), or gives no scores"),
    ("c3d", (16, 32, 32, 3), "it takes no images (H, W, C), or gives no scores"),
    ("capsnet", None, "it has other layers than dense ones whose weights count the pixels")])
def test_what_cannot_look_at_whole_images(name, shape, said):
    model = build(name, classifier_activation=None, **({"input_shape": shape} if shape else {}))
    with pytest.raises(ArchitectureError, match=f"^{name} cannot look at whole images: ") as caught:
        over_whole_images(model)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_flattened_maps_that_no_dense_layer_reads():
    inputs = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten(name="flat")(inputs)
    scores = keras.layers.Dense(2)(keras.layers.BatchNormalization(name="bn")(flat))
    with pytest.raises(ArchitectureError, match="flat feeds bn, which is no dense layer on maps"):
        over_whole_images(keras.Model(inputs, scores, name="own"))
