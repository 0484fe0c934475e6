"""AmoebaNet-A: the states of its cells, and what an operation does where sizes change."""
import keras
import pytest

from cnn_repro import layers as L
from cnn_repro.architectures import amoebanet, weightless
from cnn_repro.architectures.blocks import batch_norm


def test_every_state_of_a_cell_reaches_its_output():
    for (pairs, joined), length in ((amoebanet.NORMAL, 4), (amoebanet.REDUCTION, 5)):
        taken = {state for pair in pairs for _, state in pair}
        assert len(pairs) == 5 and len(joined) == length and taken | set(joined) == set(range(7))
        for index, pair in enumerate(pairs, 2):             # a pair takes what is there already
            assert all(state < index for _, state in pair)


@pytest.mark.parametrize("operation, stride, width, kinds", [
    ("same", 1, 8, []), ("same", 1, 6, ["ReLU", "Conv2D", "BatchNormalization"]),
    ("same", 2, 8, ["ReLU", "Conv2D", "BatchNormalization"]), ("avg", 2, 8, ["AveragePooling2D"]),
    ("max", 1, 6, ["MaxPooling2D", "Conv2D", "BatchNormalization"]),
    ("1x7_7x1", 2, 8, 4 * ["ReLU", "Conv2D", "BatchNormalization"]),
    ("sep7", 2, 6, 2 * ["ReLU", "SeparableConv2D", "BatchNormalization"])])
def test_an_operation_makes_the_cells_maps_at_its_stride(operation, stride, width, kinds):
    inputs = keras.Input((9, 12, 8))
    with weightless():
        y = amoebanet.operate(operation, inputs, width, stride, L, "part", batch_norm)
        layers = keras.Model(inputs, y).layers[1:]
    assert y.shape == (None, -(-9 // stride), -(-12 // stride), width)
    assert [type(layer).__name__ for layer in layers] == kinds
    if operation == "1x7_7x1":
        found = [(layer.kernel_size, layer.strides, layer.filters) for layer in layers if hasattr(layer, "filters")]
        assert found == [((1, 1), (1, 1), 2), ((1, 7), (1, 2), 2), ((7, 1), (2, 1), 2), ((1, 1), (1, 1), 8)]
