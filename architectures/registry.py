"""The names of the networks and the one way to build them."""
import contextlib
import sys
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
    x is the input, or the list of inputs where `inputs` makes several.
    """
    name: str
    title: str
    body: Callable
    head: Callable
    input_shape: tuple[int, ...]            # (H, W, C), as in the paper; (T, H, W, C) of videos, (F,) of a graph's nodes
    classes: int
    loss: str = "cross_entropy"             # what its output is made for; "margin": lengths, which are scores already
    smallest: tuple[int, ...] = ()          # the smallest input that every layer has something to do with
    differs: str = ""                       # another project's definition: what differs from the paper's network
    auxiliary: tuple[tuple[str, Callable], ...] = ()    # (layer, head(x, classes, L)): classifiers on the way, in training
    drops_paths: bool = False               # its body takes drop_path, see `build`
    inputs: Callable | None = None          # inputs(shape) -> tensor or list, where it is not one image or video
    rule: str = ""                          # by which its Â is made of a graph: one of `normalized_adjacency`'s


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
        near = [one for one in names() if one.startswith(f"{name}_")] or get_close_matches(str(name), names(), 1)
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
          pooling: str | None = None, classifier_activation: str | None = "softmax", auxiliary: bool = False,
          drop_path: tuple[float, int] | None = None, layers=explicit) -> keras.Model:
    """Build a network by name, as a functional Keras model with fresh weights.

    classes, input_shape (H, W, C): the paper's where not given; with Keras's data format channels_first the model
    takes (C, H, W). (None, None, C) takes images of any size, where no layer counts their pixels: a dense layer behind
    all maps does, so most networks take it with include_top=False alone. include_top=False ends with the features,
    reduced by pooling = None, "avg" or "max", as in keras.applications. classifier_activation=None gives the logits.
    auxiliary=True adds the outputs of the classifiers that the paper trains on the way (GoogLeNet's): [scores, first,
    second]. drop_path=(rate, steps): in training whole paths of NASNet's and AmoebaNet's cells are left out, those of the
    last cell with a probability that rises to `rate` in so many steps. layers: a namespace such as keras.layers, for the
    same network on stock layers.
    Raises ArchitectureError for an unknown name or an impossible argument.
    """
    network = find(name)
    shape = _shape(network.input_shape if input_shape is None else input_shape, network)
    if auxiliary and not (network.auxiliary and include_top):
        raise ArchitectureError(f"{name} has no auxiliary classifiers" if include_top else
                                "auxiliary classifiers come with the top: leave include_top=False out")
    if auxiliary and None in shape:
        raise ArchitectureError(f"{name}'s auxiliary classifiers count the pixels: give input_shape in full")
    if drop_path and not network.drops_paths:
        raise ArchitectureError(f"{name} has no paths to drop")
    if pooling not in (None, "avg", "max"):
        raise ArchitectureError(f"pooling must be None, 'avg' or 'max', not {pooling!r}")
    classes = network.classes if classes is None else classes
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise ArchitectureError(f"classes must be a positive integer, not {classes!r}")
    L = Layers(layers)
    inputs = (network.inputs or one_image)(shape)
    try:
        with _deep(10_000):
            x = network.body(inputs, L, drop_path=drop_path) if drop_path else network.body(inputs, L)
            x = network.head(x, classes, L) if include_top else x
            outputs = [x]
            if auxiliary:
                on_the_way = {layer.name: layer.output for layer in keras.Model(inputs, x).layers}
                outputs += [head(on_the_way[layer], classes, L) for layer, head in network.auxiliary]
    except ArchitectureError:
        raise
    except ValueError as error:             # images too small for its windows, say
        if None in shape:
            without = ", or build it with include_top=False" if include_top else ""
            raise ArchitectureError(f"{name} has layers whose weights count the pixels: give input_shape in full, as "
                                    f"the paper's {network.input_shape}{without}") from error
        raise ArchitectureError(f"{name} cannot be built for input_shape={shape}; the paper's is {network.input_shape}"
                                + (f", the smallest {network.smallest}" if network.smallest else "")) from error
    if include_top and classifier_activation is not None and network.loss != "margin":
        scores = ["scores", *(f"scores_{layer}" for layer, _ in network.auxiliary)]
        outputs = [L.Activation(classifier_activation, name=one)(x) for one, x in zip(scores, outputs)]
    elif pooling and not include_top:
        axes = len(x.shape) - 2 if hasattr(x, "shape") else 0
        if axes not in (1, 2, 3):
            raise ArchitectureError(f"{name}'s features have no axes to pool: leave pooling out")
        outputs = [getattr(L, f"Global{'Average' if pooling == 'avg' else 'Max'}Pooling{axes}D")(name="pooled")(x)]
    with _deep(10_000):
        return keras.Model(inputs, outputs if auxiliary else outputs[0], name=name)


def one_image(shape):
    """The input for one image or video of (…, C), in Keras's data format."""
    first = keras.config.image_data_format() == "channels_first"
    return keras.Input((shape[-1], *shape[:-1]) if first else shape, name="input")


@contextlib.contextmanager
def _deep(limit: int):
    """Keras walks a model by recursion: a thousand layers in a row need more of it than Python allows at first."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _shape(given, network) -> tuple[int | None, ...]:
    """The shape asked for, (H, W, C) for images, checked; None for H or W of any size."""
    axes = len(network.input_shape)
    if (not isinstance(given, (list, tuple)) or len(given) != axes or given[-1] is None
            or not all(n is None or isinstance(n, int) and n > 0 for n in given)):
        meaning = {1: "(features,), one positive integer",
                   3: "(height, width, channels), None for any height or width, else three positive integers",
                   4: "(frames, height, width, channels), None for any size, else four positive integers"}[axes]
        raise ArchitectureError(f"input_shape must be {meaning}, not {given!r}")
    return tuple(given)
