"""Capsules, their routing and their loss."""
from keras import ops

from cnn_repro import layers as L
from cnn_repro.layers import capsule

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)

OWN = [
    ("PrimaryCapsules", (2, 7, 6, 2), dict(channels=2, dimension=3, kernel_size=3)),
    ("PrimaryCapsules", (2, 7, 6, 2), dict(channels=3, dimension=2, kernel_size=3, strides=2, padding="SAME",
                                           kernel_initializer="he_normal")),
    ("PrimaryCapsules", (2, 2, 7, 6), dict(channels=2, dimension=3, kernel_size=3, data_format="channels_first")),
    ("DynamicRouting", (2, 5, 3), dict(capsules=4, dimension=2)),
    ("DynamicRouting", (2, 5, 3), dict(capsules=2, dimension=6, iterations=1, kernel_initializer="he_normal")),
    ("CapsuleLength", (2, 5, 3), dict()),
]

OWN_WRONG = [
    ("PrimaryCapsules", (2, 7, 6), dict(channels=2, dimension=3, kernel_size=3),
     "has 3 axes; PrimaryCapsules takes 4"),
    ("PrimaryCapsules", (2, 7, 6, 2), dict(channels=2, dimension=3, kernel_size=7),
     "Axis 2 of the input has size 6, less than kernel_size=7"),
    ("PrimaryCapsules", (2, 2, 7, 6), dict(channels=2, dimension=3, kernel_size=7, data_format="channels_first"),
     "Axis 3 of the input has size 6, less than kernel_size=7"),
    ("DynamicRouting", (2, 5), dict(capsules=2, dimension=3), r"shape \(2, 5\); DynamicRouting takes \(N, I, D\)"),
    ("DynamicRouting", (2, 5, 3), dict(capsules=2, dimension=3, iterations=0), "iterations=0 must be 1 or more"),
    ("DynamicRouting", (2, 5, 3), dict(capsules=0, dimension=3), "capsules=0 must be positive"),
    ("DynamicRouting", (2, 5, 3), dict(capsules=2, dimension=0), "dimension=0 must be positive"),
    ("PrimaryCapsules", IMAGES, dict(channels=0, dimension=3, kernel_size=3), "channels=0 must be positive"),
    ("PrimaryCapsules", IMAGES, dict(channels=2, dimension=3, kernel_size=3, strides=0), "strides=0 must be positive"),
    ("PrimaryCapsules", IMAGES, dict(channels=2, dimension=3, kernel_size=3, padding="foo"), "'foo' must be one"),
]

CALLS_WRONG = [
    ("routing", [(2, 3, 4, 5)], dict(iterations=0), "iterations=0 must be"),
    ("routing", [(2, 3, 4)], dict(), r"Predictions of shape \(2, 3, 4\) .* must be \(N, J, I, E\)"),
    ("margin_loss", [(2, 4), (2, 3)], dict(), r"Labels of shape \(2, 4\) do not go with lengths of shape \(2, 3\)"),
]

ANY_SIZE = [
    ("PrimaryCapsules", IMAGES, dict(channels=2, dimension=3, kernel_size=3)),
    ("PrimaryCapsules", IMAGES, dict(channels=2, dimension=3, kernel_size=3, strides=2, padding="same")),
    ("CapsuleLength", (2, 5, 3), dict()),
]

PRECISIONS = [
    ("PrimaryCapsules", IMAGES, dict(channels=2, dimension=3, kernel_size=3)),
    ("DynamicRouting", (2, 5, 3), dict(capsules=4, dimension=2)),
    ("CapsuleLength", (2, 5, 3), dict()),
]

CHECKED = {"squash": "Squash", "capsule_length": "CapsuleLength", "routing": "DynamicRouting",
           "margin_loss": "Margin loss"}


def sabotages():
    flat, module = dict(tensors=((2, 3, 4),)), dict(module=capsule)
    yield Sabotage(**module, **flat, formula="squash_gradient", operator="Squash", subject=lambda: L.squash,
                   changes={"input"})
    yield Sabotage(**module, formula="squash_gradient", operator="PrimaryCapsules",
                   subject=lambda: L.PrimaryCapsules(2, 3, 3), changes={"input", "kernel", "bias"})
    yield Sabotage(**module, **flat, formula="capsule_length_gradient", operator="CapsuleLength",
                   subject=lambda: L.CapsuleLength(), changes={"input"})
    routed = dict(**module, **flat, operator="DynamicRouting", subject=lambda: L.DynamicRouting(3, 2))
    yield Sabotage(**routed, formula="routing_gradient", changes={"input", "kernel"})
    for output, name in enumerate(("input", "kernel")):
        yield Sabotage(**routed, formula="prediction_gradients", output=output, changes={name})
    yield Sabotage(**module, formula="margin_loss_gradient", operator="Margin loss", tensors=((5, 4),),
                   names=("lengths",), changes={"lengths"},
                   subject=lambda: lambda lengths: L.margin_loss(ops.arange(5) % 4, lengths))
