"""Pre-activation ResNets: identity from end to end, the first and the last unit."""
import keras
import numpy as np

from cnn_repro.architectures import build, weightless


def outputs(model, x):
    names = [layer.name for layer in model.layers]
    found = keras.Model(model.input, [layer.output for layer in model.layers])(x)
    return {name: value.numpy() for name, value in zip(names, found)}


def test_with_dead_units_the_input_passes_unchanged():
    """F = 0: what conv1's activation gives stands behind the last addition, subsampled, with zero maps appended."""
    model = build("preact110_cifar", input_shape=(16, 16, 3))
    for layer in model.layers:
        if layer.name.endswith("_2_conv"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    found = outputs(model, np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32"))
    expected = np.zeros((2, 4, 4, 64), "float32")
    expected[..., :16] = found["conv1_relu"][:, ::4, ::4]
    np.testing.assert_array_equal(found["conv4_18_add"], expected)
    scale = 1 / np.sqrt(1 + 1e-5)                                                   # the last activation
    np.testing.assert_allclose(found["conv4_relu"], expected * scale, rtol=1e-5)


def test_a_bottleneck_unit_computes_its_figure():
    """Figure 4(e); where the width changes the shortcut projects the activated input."""
    model = build("preact164_cifar", input_shape=(8, 8, 3))
    before = lambda name: [t._keras_history.operation.name                                  # noqa: E731
                           for t in keras.tree.flatten(model.get_layer(name).input)]
    assert before("conv2_1_0_conv") == before("conv2_1_1_conv") == ["conv1_relu"]                # conv1's activation
    assert before("conv2_1_add") == ["conv2_1_0_conv", "conv2_1_3_conv"]
    assert before("conv3_1_0_conv") == ["conv3_1_1_relu"] == before("conv3_1_1_conv")
    assert before("conv3_2_add") == ["conv3_1_add", "conv3_2_3_conv"]               # the identity
    assert before("conv3_2_1_bn") == ["conv3_1_add"] and before("conv3_2_1_relu") == ["conv3_2_1_bn"]
    assert before("conv4_bn") == ["conv4_18_add"] and before("pool") == ["conv4_relu"]
    assert model.get_layer("conv3_1_1_conv").strides == model.get_layer("conv3_1_0_conv").strides == (2, 2)


def test_resnet200_has_sixteen_units_more_than_152_in_conv3():
    with weightless():
        units = {depth: [layer.name for layer in build(f"preact{depth}", input_shape=(32, 32, 3)).layers
                         if isinstance(layer, keras.layers.Add)] for depth in (152, 200)}
    more = set(units[200]) - set(units[152])
    assert len(more) == 16 and all(name.startswith("conv3_") for name in more) and len(units[200]) == 66
