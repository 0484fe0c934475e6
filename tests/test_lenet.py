"""What is special about LeNet-5: the paper's table, codes and squashing."""
import numpy as np
from zoo import anatomy_of, published

from cnn_repro.architectures import lenet


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


def test_lenets_squash_where_the_paper_says():
    """Section II.B: every layer up to F6 passes through the scaled hyperbolic tangent."""
    activations = lambda name: {                                                            # noqa: E731
        layer.name: layer.activation.__name__ for layer in published(name).model.layers if hasattr(layer, "activation")}
    assert activations("lenet5") == dict.fromkeys(["C1", "S2", "C3", "S4", "C5", "F6"], "scaled_tanh")
    assert activations("lenet5_modern") == dict.fromkeys(["C1", "C3", "C5", "F6"], "relu") | {"OUTPUT": "linear"}
