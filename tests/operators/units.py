"""Dense and radial units, LeNet-5's own layers and its loss."""
from keras import ops
from passes import numbers

from cnn_repro import layers as L
from cnn_repro.layers import convolution, dense, pooling, radial, table

from .sabotage import Sabotage

CENTRES = [[1, -1, 1, -1], [-1, 1, -1, 1], [1, 1, -1, -1]]
TABLE = [(0, 1), (1, 2, 3)]

IMAGES = (2, 8, 6, 4)

DROP_INS = [
    ("Dense", (3, 4), dict(units=5)),
    ("Dense", (3, 4), dict(units=5, use_bias=False, activation="relu")),
    ("Dense", (3, 4), dict(units=5, activation="softmax")),
    ("Dense", (3, 2, 4), dict(units=5, activation="tanh")),
]

WRONG = [
    ("Dense", (4,), dict(units=3)),
    ("Dense", (2, 4), dict(units=0)),
    ("Dense", (2, 4), dict(units=3, activation="rely")),
]

OWN = [
    ("TableConv2D", (2, 6, 5, 3), dict(table=[(0, 1), (1, 2), (0, 1, 2)], kernel_size=2)),
    ("TableConv2D", (2, 6, 5, 3), dict(table=[(0,), (2,)], kernel_size=3, activation=L.scaled_tanh,
                                       kernel_initializer=L.FanIn(2.4))),
    ("Subsampling2D", (2, 6, 4, 3), dict()),
    ("Subsampling2D", (2, 6, 9, 2), dict(pool_size=3, activation="tanh",
                                         coefficient_initializer=L.FanIn(2.4, inputs=9))),
    ("TableConv2D", (2, 3, 6, 5), dict(table=[(0, 1), (2,)], kernel_size=2, data_format="channels_first")),
    ("Subsampling2D", (2, 3, 6, 4), dict(data_format="channels_first")),
    ("RadialBasis", (2, 4), dict(centres=CENTRES)),
    ("ClassScores", (2, 3), dict(class_names=["cat", "dog", 3])),
]

OWN_WRONG = [
    ("TableConv2D", (2, 6, 5, 3), dict(table=[(0, 1), (1, 3)], kernel_size=2), r"table\[1\] = \[1, 3\].* 0 to 2"),
    ("TableConv2D", (2, 6, 5, 3), dict(table=[(0, 0)], kernel_size=2), r"table\[0\] = \[0, 0\] must list distinct"),
    ("TableConv2D", (2, 6, 5, 3), dict(table=[(0,), ()], kernel_size=2), r"table\[1\] = \[\] must list"),
    ("TableConv2D", (2, 6, 5, 3), dict(table=[(-1,)], kernel_size=2), r"table\[0\] = \[-1\] must list"),
    ("Subsampling2D", (2, 6, 5, 3), dict(pool_size=2), "Axis 2 of the input has size 5, which pool_size=2"),
    ("TableConv2D", (2, 2, 5, 6), dict(table=[(0, 2)], kernel_size=2, data_format="channels_first"), "from 0 to 1"),
    ("Subsampling2D", (2, 3, 6, 5), dict(data_format="channels_first"), "Axis 3 of the input has size 5"),
    ("Subsampling2D", (2, 6, 4, 3), dict(data_format="NCHW"), "data_format='NCHW' must be one of channels_last, chan"),
    ("Subsampling2D", (2, 7, 6, 3), dict(pool_size=3), "Axis 1 of the input has size 7, which pool_size=3"),
    ("RadialBasis", (2, 5), dict(centres=CENTRES), "last axis of the input has size 5, the centres have 4"),
    ("RadialBasis", (2, 3, 4), dict(centres=CENTRES), "has 3 axes; RadialBasis takes 2"),
    ("RadialBasis", (2, 2), dict(centres=[[1, 2], [1]]), r"equally long, not of \[1, 2\]"),
    ("TableConv2D", (2, 4, 4, 1), dict(table=[(0,)], kernel_size=5), "Axis 1 .* size 4, less than the window's 5"),
    ("TableConv2D", (2, 4, 1), dict(table=[(0,)], kernel_size=2), "has 3 axes; a window over 2 spatial axes takes 4"),
    ("TableConv2D", (2, 4, 4, 1), dict(table=[(0,)], kernel_size=0), "kernel_size=0 must be positive"),
    ("TableConv2D", (2, 4, 4, 1), dict(table=[], kernel_size=2), r"table=\[\] must list"),
    ("Subsampling2D", (2, 4, 4), dict(), "has 3 axes; a window over 2 spatial axes takes 4"),
    ("Subsampling2D", (2, 4, 4, 4, 2), dict(), "has 5 axes; a window over 2 spatial axes takes 4"),
    ("Subsampling2D", (2, 4, 4, 1), dict(pool_size=0), "pool_size=0 must be positive"),
    ("ClassScores", (2, 3), dict(class_names=["cat", "dog"]), "size 3, there are 2 class_names"),
]

CALLS_WRONG = [
    ("map_loss", [(2, 4), (2, 3)], dict(j=1.0), r"shapes \(2, 4\) and \(2, 3\); they must be \(N,\) and \(N, K\)"),
]

ANY_SIZE = [
    ("TableConv2D", IMAGES, dict(table=[(0, 1), (1, 2, 3)], kernel_size=3)),
    ("Subsampling2D", IMAGES, dict(pool_size=2)),
    ("Dense", IMAGES, dict(units=3)),
]

PRECISIONS = [
    ("Dense", IMAGES, dict(units=3)),
    ("Subsampling2D", IMAGES, dict(pool_size=2, activation=L.scaled_tanh)),
    ("TableConv2D", IMAGES, dict(table=[(0, 1), (1, 2, 3)], kernel_size=3)),
]

TWICE = [
    ("Dense", (3, 5), dict(units=4)),
]

CHECKED = {"map_loss": "MAP loss"}
LINEAR = {"TableConv2D"}


def sabotages():
    plain = dict(module=dense, operator="Dense", tensors=((3, 4),))
    yield Sabotage(**plain, formula="dense_input_gradient", subject=lambda: L.Dense(5), changes={"input"})
    yield Sabotage(**plain, formula="dense_kernel_gradient", subject=lambda: L.Dense(5), changes={"kernel"})
    yield Sabotage(**plain, formula="bias_gradient", subject=lambda: L.Dense(5), changes={"bias"})
    listed = lambda: L.TableConv2D(TABLE, 3)                                            # noqa: E731
    yield Sabotage(table, "listed_kernels", "TableConv2D", listed, {"kernel"})
    yield Sabotage(convolution, "input_gradient", "TableConv2D", listed, {"input"})
    for subject in (listed, lambda: L.Subsampling2D(2)):
        yield Sabotage(dense, "bias_gradient", "Dense", subject, {"bias"})
    for output, name in enumerate(("input", "coefficient")):
        yield Sabotage(pooling, "subsampling_gradients", "Subsampling2D", lambda: L.Subsampling2D(2), {name}, output)
    yield Sabotage(radial, "radial_input_gradient", "RadialBasis", lambda: L.RadialBasis(numbers(3, 4).tolist()),
                   {"input"}, tensors=((5, 4),))
    yield Sabotage(radial, "radial_centre_gradient", "RadialBasis", lambda: radial.negative_penalty, {"centres"},
                   tensors=((5, 4), (3, 4)), names=("input", "centres"))
    yield Sabotage(radial, "map_loss_gradient", "MAP loss", lambda: lambda z: L.map_loss(ops.arange(5) % 4, z, 1.0),
                   {"logits"}, tensors=((5, 4),), names=("logits",))
