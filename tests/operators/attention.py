"""The non-local operation."""
from cnn_repro import layers as L
from cnn_repro.layers import attention

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)

OWN = [
    ("NonLocal", (2, 4, 3, 6), dict()),
    ("NonLocal", (2, 5, 3), dict(kind="gaussian", channels=4)),
    ("NonLocal", (2, 4, 5, 2), dict(kind="dot_product", normalize=False, subsample=2)),
    ("NonLocal", (2, 3, 4, 5, 2), dict(kind="concatenation", subsample=(1, 2, 2))),
    ("NonLocal", (2, 3, 3, 1), dict(kernel_initializer="glorot_normal")),
    ("NonLocal", (2, 2, 4, 5), dict(subsample=2, data_format="channels_first")),
]

OWN_WRONG = [
    ("NonLocal", (2, 4, 4, 3), dict(kind="cosine"), "no pairwise function 'cosine'; there are gaussian, embedded_"),
    ("NonLocal", (2, 4), dict(), "The input has 2 axes; NonLocal takes 3, 4 or 5"),
    ("NonLocal", (2, 4, 4, 3), dict(subsample=(1, 2, 2)), "has 3 factors, the input 2 spatial axes"),
    ("NonLocal", (2, 4, 1, 3), dict(subsample=2), "Axis 2 of the input has size 1, less than subsample=2"),
    ("NonLocal", (2, 4, 4, 3), dict(subsample=0), "subsample=0 must be positive"),
    ("NonLocal", (2, 4, 4, 3), dict(subsample=(2, 0)), "subsample=0 must be positive"),
    ("NonLocal", (2, 4, 4, 3), dict(channels=0), "channels=0 must be positive"),
    ("NonLocal", (2, 3, 4, 1), dict(subsample=2, data_format="channels_first"), "Axis 3 of the input has size 1, less"),
]

CALLS_WRONG = [
    ("attend", [(2, 4, 4, 3), (2, 4, 3), (2, 4, 3)], dict(), r"they must be \(N, P, D\), \(N, M, D\) and \(N, M, C\)"),
    ("attend", [(2, 4, 2), (2, 4, 3), (2, 4, 3)], dict(), "they must be"),
    ("attend", [(2, 4, 3), (2, 5, 3), (2, 4, 3)], dict(), "they must be"),
    ("attend", [(2, 4, 3)] * 3, dict(kind="concatenation"), r"takes a pair_kernel of shape \(6, 1\)"),
]

ANY_SIZE = [
    ("NonLocal", IMAGES, dict()),
    ("NonLocal", IMAGES, dict(kind="gaussian", subsample=2)),
    ("NonLocal", IMAGES, dict(kind="dot_product", normalize=False, subsample=(2, 3))),
    ("NonLocal", IMAGES, dict(kind="concatenation")),
    ("NonLocal", (2, 5, 3), dict()),
]

PRECISIONS = [
    ("NonLocal", IMAGES, dict()),
    ("NonLocal", IMAGES, dict(kind="dot_product", subsample=2)),
    ("NonLocal", IMAGES, dict(kind="concatenation", normalize=False)),
]

CHECKED = {"attend": "NonLocal"}
LINEAR = {"NonLocal"}


def concatenation(theta, phi, g, pair_kernel):
    return L.attend(theta, phi, g, "concatenation", pair_kernel)


def sabotages():
    names, tensors = ("theta", "phi", "g"), ((2, 5, 3), (2, 4, 3), (2, 4, 2))
    plain = dict(module=attention, operator="NonLocal", names=names, tensors=tensors)
    pairs = plain | dict(names=(*names, "pair kernel"), tensors=(*tensors, (6, 1)), subject=lambda: concatenation)
    for kind in ("embedded_gaussian", "dot_product"):
        for output, name in enumerate(("theta", "phi")):
            yield Sabotage(**plain, formula="dot_product_gradients", output=output, changes={name},
                           subject=lambda kind=kind: lambda *tensors: L.attend(*tensors, kind))
    for output, name in enumerate(("theta", "phi", "pair kernel")):
        yield Sabotage(**pairs, formula="pair_sum_gradients", output=output, changes={name})
    for output, changes in enumerate(({"theta", "phi", "pair kernel"}, {"g"})):
        yield Sabotage(**pairs, formula="gather_gradients", output=output, changes=changes)
