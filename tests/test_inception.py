"""BN-Inception and Inception-v3: tables, factorised kernels, the auxiliary classifier, other projects' networks."""
import keras
import numpy as np
import pytest

from cnn_repro.architectures import bn_inception, build, find, weightless

SMALL = (107, 107, 3)


def test_bn_inceptions_modules_add_up_to_the_printed_maps():
    """Figure 5, column output size."""
    printed = [256, 320, 576, 576, 576, 576, 576, 1024, 1024, 1024]
    before = 192
    for (module, widths), maps in zip(bn_inception.INCEPTION.items(), printed, strict=True):
        one, _, three, _, double, _, proj = widths
        assert one + three + double + (proj or before) == maps, module
        before = maps


def test_bn_inceptions_first_layer_is_separable_with_multiplier_8():
    layer = build("bn_inception", input_shape=(32, 32, 3)).get_layer("conv1_conv")
    assert layer.depth_multiplier == 8 and layer.strides == (2, 2)
    assert layer.depthwise_kernel.shape == (7, 7, 3, 8) and layer.pointwise_kernel.shape == (1, 1, 24, 64)


def test_bn_inception_has_gamma_and_beta_and_no_other_biases_but_the_last():
    for layer in build("bn_inception", input_shape=(32, 32, 3)).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.scale and layer.center and (layer.momentum, layer.epsilon) == (0.9997, 1e-3)
        elif hasattr(layer, "use_bias"):
            assert layer.use_bias == (layer.name == "linear")


def test_inception_v3s_kernels_are_factorised():
    layers = {layer.name: layer for layer in build("inception_v3", input_shape=SMALL).layers}
    sizes = lambda prefix: [layer.kernel_size for name, layer in layers.items()                 # noqa: E731
                            if name.startswith(prefix) and name.endswith("_conv")]
    assert sizes("mixed4_7x7") == [(1, 1), (1, 7), (7, 1)]
    assert sizes("mixed4_double") == [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)]
    assert sorted(sizes("mixed9_3x3")) == [(1, 1), (1, 3), (3, 1)]
    assert [layers[f"mixed{index}_7x7_1_conv"].filters for index in (4, 5, 6, 7)] == [128, 160, 160, 192]


@pytest.mark.parametrize("name, gamma, momentum", [("inception_v3", False, 0.9997),
                                                   ("inception_v3_keras", False, 0.99),
                                                   ("inception_v3_torchvision", True, 0.9)])
def test_batch_normalisation_of_inception_v3(name, gamma, momentum):
    for layer in build(name, input_shape=SMALL).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.scale, layer.momentum, layer.epsilon) == (gamma, momentum, 1e-3)


def test_the_auxiliary_classifier_stands_behind_the_17x17_modules():
    with weightless():
        model = build("inception_v3_torchvision", auxiliary=True)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 27_161_264      # torchvision's
    assert model.get_layer("aux_pool").input.shape[1:] == (17, 17, 768)
    assert model.get_layer("aux_2_conv").kernel_size == (5, 5)
    assert model.get_layer("aux_2_conv").output.shape[1:] == (1, 1, 768)
    small = build("inception_v3", input_shape=SMALL, auxiliary=True, classes=3)             # of 5×5, 1×1 is left
    assert [output.shape for output in small.outputs] == 2 * [(None, 3)]
    assert small.get_layer("aux_2_conv").kernel_size == (1, 1)
    assert not find("inception_v3_keras").auxiliary


def test_averages_count_the_border_as_zeros_in_torchvision_alone():
    for name, corner in (("inception_v3", 1.0), ("inception_v3_torchvision", 4 / 9)):
        model = build(name, input_shape=SMALL)
        pool = model.get_layer("mixed0_pool")
        entry = model.get_layer("mixed0_pool_pad" if corner < 1 else "mixed0_pool").input
        average = keras.Model(entry, pool.output)(np.ones((1, *entry.shape[1:]), "float32")).numpy()
        assert average[0, 0, 0, 0] == pytest.approx(corner) and average[0, 1, 1, 0] == pytest.approx(1)
