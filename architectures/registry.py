"""The names of the networks and the one way to build them."""
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import keras

from .. import layers as explicit


class ArchitectureError(ValueError):
    """A network that cannot be built; the text says what was asked and what there is."""


@dataclass(frozen=True)
class Architecture:
    """A network of a paper, as two functions of tensors.

    body(x, L) -> features (N, H, W, C); head(x, classes, L) -> logits (N, classes). L is the namespace of layers.
    """
    name: str
    title: str
    body: Callable
    head: Callable
    input_shape: tuple[int, int, int]       # (H, W, C), as in the paper
    classes: int
    loss: str = "cross_entropy"             # what its output is made for


REGISTRY: dict[str, Architecture] = {}


def register(architecture: Architecture) -> Architecture:
    """Add a network; a name is taken once."""
    if architecture.name in REGISTRY:
        raise ArchitectureError(f"the name {architecture.name!r} is taken")
    REGISTRY[architecture.name] = architecture
    return architecture


def names() -> list[str]:
    """The names of all networks, in the order of the papers' files."""
    return list(REGISTRY)


def find(name: str) -> Architecture:
    """The network of that name. Raises ArchitectureError with the nearest name."""
    if name not in REGISTRY:
        near = get_close_matches(str(name), names(), 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ArchitectureError(f"no architecture {name!r}{hint} (python -m repro list shows all)")
    return REGISTRY[name]


class Layers:
    """The namespace that builders see: the given one, and ours for what it lacks (LeNet's layers, say)."""

    def __init__(self, given):
        self._given = given

    def __getattr__(self, name):
        return getattr(self._given, name, None) or getattr(explicit, name)


def build(name: str, *, classes: int | None = None, input_shape=None, include_top: bool = True,
          pooling: str | None = None, classifier_activation: str | None = "softmax", layers=explicit) -> keras.Model:
    """Build a network by name, as a functional Keras model with fresh weights.

    classes, input_shape (H, W, C): the paper's where not given; with Keras's data format channels_first the model
    takes (C, H, W). include_top=False ends with the features, reduced by pooling = None, "avg" or "max", as in
    keras.applications. classifier_activation=None gives the logits. layers: a namespace such as keras.layers, for
    the same network on stock layers.
    Raises ArchitectureError for an unknown name or an impossible argument.
    """
    network = find(name)
    shape = _shape(network.input_shape if input_shape is None else input_shape)
    if pooling not in (None, "avg", "max"):
        raise ArchitectureError(f"pooling must be None, 'avg' or 'max', not {pooling!r}")
    classes = network.classes if classes is None else classes
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise ArchitectureError(f"classes must be a positive integer, not {classes!r}")
    L = Layers(layers)
    first = keras.config.image_data_format() == "channels_first"
    inputs = keras.Input((shape[2], *shape[:2]) if first else shape, name="input")
    try:
        x = network.body(inputs, L)
        x = network.head(x, classes, L) if include_top else x
    except ArchitectureError:
        raise
    except ValueError as error:             # images too small for its windows, say
        raise ArchitectureError(f"{name} cannot be built for input_shape={shape}; "
                                f"the paper's is {network.input_shape}") from error
    if include_top and classifier_activation is not None:
        x = L.Activation(classifier_activation, name="scores")(x)
    elif pooling and not include_top:
        x = (L.GlobalAveragePooling2D if pooling == "avg" else L.GlobalMaxPooling2D)(name="pooled")(x)
    return keras.Model(inputs, x, name=name)


def _shape(given) -> tuple[int, int, int]:
    """(H, W, C) as asked for, checked."""
    if (not isinstance(given, (list, tuple)) or len(given) != 3
            or not all(isinstance(n, int) and n > 0 for n in given)):
        raise ArchitectureError(f"input_shape must be (height, width, channels), three positive integers, not {given!r}")
    return tuple(given)
