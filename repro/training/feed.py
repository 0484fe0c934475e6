"""What a network is fed from a data set: images and videos one batch after another, or a whole graph at once.

Both have `input_shape` for the network, `splits`, `batches` (see data.batches), `held_out_labels` with `held_out()` for
the validation part, `open_test()` and `deployable(model)`. A batch can be spread over `most` devices, `undivided` says
why over no more.
"""
import numpy as np

from ...layers import normalized_adjacency
from .. import data as datasets
from . import export


def feed_of(network, loaded, recipe: dict, seed: int):
    """The feed of a data set for a network. Raises DataError where they do not fit together."""
    graph = len(network.input_shape) == 1
    if graph != (loaded.kind == "graph"):
        raise datasets.DataError(f"{network.name} takes {'the nodes of a graph' if graph else 'images'}, and "
                                 f"{loaded.name} has {'a graph' if loaded.kind == 'graph' else loaded.kind}; "
                                 "choose another with --dataset")
    return (GraphFeed if graph else ImageFeed)(network, loaded, recipe, seed)


class ImageFeed:
    """Images (N, H, W, C) or videos (N, T, H, W, C), prepared, augmented and cropped as the recipe says."""

    def __init__(self, network, loaded, recipe: dict, seed: int):
        self._loaded, self._recipe, self._seed = loaded, recipe, seed
        self._images, self._labels = loaded.train
        self._training, self._validation = datasets.split(self._labels, recipe["validation"])
        if recipe["batch"] > len(self._training):
            raise datasets.DataError(f"a batch of {recipe['batch']} is more than the {len(self._training)} training "
                                     f"images of {loaded.name}; --set batch={len(self._training)} or less")
        size = recipe.get("input", {}).get("size")
        self._size = (size, size) if size else tuple(network.input_shape[-3:-1])
        frames = self._images.shape[1:2] if loaded.kind == "videos" else ()
        self.input_shape = (*frames, *self._size, loaded.shape[-1])
        self.splits = {"train": len(self._training), "validation": len(self._validation), "test": loaded.splits["test"]}
        self.most = len(self._training) % recipe["batch"] or recipe["batch"]        # no device is to be without an image
        self.undivided = (f"the last batch of an epoch has {self.most} of the {len(self._training)} training images of "
                          f"{loaded.name} (--set batch=N changes that)")

    def prepare(self) -> None:
        """Fit the preprocessing to the training part and make the batches."""
        self._preprocessing = datasets.fit_preprocessing(
            self._images, self._recipe, self._size, self._loaded.enlarge, self._training)
        self.batches = datasets.Batches(
            self._images, self._labels, self._recipe, self._preprocessing, self._size, self._loaded.enlarge, self._seed,
            self._training, len(self._loaded.classes))
        self.held_out_labels = self._labels[self._validation]
        next(iter(self._blocks(self._images, self._recipe, self._training[:1])))    # the test's views, before any training

    def held_out(self):
        """Of whole images the middle crops: epoch after epoch, by the network as it is trained."""
        return self._blocks(self._images, self._once() if self.whole else self._recipe, self._validation)

    @property
    def whole(self) -> bool:
        """Whether the test looks at whole images."""
        return self._recipe.get("test", {}).get("views") == "whole"

    def _once(self) -> dict:
        """The recipe, with one view of an image."""
        return {key: value for key, value in self._recipe.items() if key != "test"}

    def open_test(self):
        """(labels, blocks of inputs, look) of the test set, opened this once.

        look(indices) gives those images as stored, uint8, and one view of each as the network sees it.
        """
        images, labels = self._loaded.open_test()

        def look(indices):
            seen = np.concatenate([block[0] for block in self._blocks(images, self._once(), np.array(indices))])
            return [images[i] if isinstance(images, np.ndarray) else images.decode(i) for i in indices], seen

        return labels, self._blocks(images, self._recipe), look if self._loaded.kind == "images" else None

    def _blocks(self, images, recipe, indices=None):
        return datasets.evaluation_inputs(images, self._size, self._loaded.enlarge, self._preprocessing, recipe, indices)

    def deployable(self, model):
        """The model behind this preprocessing: raw images in, class scores out."""
        return export.deployable(model, self._preprocessing, self._loaded.shape, self._loaded.enlarge,
                                 self._loaded.classes, self._recipe.get("input", {}).get("shorter"))


class GraphFeed:
    """All nodes of a graph in every step; those that are not asked about have the label −1, which does not count."""

    whole = False

    def __init__(self, network, loaded, recipe: dict, seed: int):
        self._graph, self._recipe = loaded.graph, recipe
        self.most, self.undivided = 1, f"{loaded.name} is a graph, whose nodes are trained on all at once"
        self.input_shape = self._graph["features"].shape[1:]
        held_out = len(self._graph["validation"])
        if recipe["validation"] not in (0, held_out):
            raise datasets.DataError(f"{loaded.name} has its own {held_out} nodes to validate on: validation is 0 or "
                                     f"{held_out}, not {recipe['validation']}")
        held_out = recipe["validation"]
        self.splits = {"train": len(self._graph["train"]), "validation": held_out, "test": len(self._graph["test"])}
        self._inputs = self._graph["features"]
        if network.rule:                                    # the perceptron knows no neighbours
            nodes = len(self._graph["labels"])
            adjacency = np.zeros((nodes, nodes), "float32")
            for one, other in (self._graph["edges"].T, self._graph["edges"].T[::-1]):
                adjacency[one, other] = 1
            self._inputs = [self._inputs, normalized_adjacency(adjacency, network.rule)]

    def prepare(self) -> None:
        self.batches = _WholeGraph(self._inputs, self._labels_of("train"), self._recipe)
        self.held_out_labels = self._labels_of("validation") if self.splits["validation"] else np.zeros(0, int)

    def held_out(self):
        return [_stacked(self._inputs)]

    def open_test(self):
        return self._labels_of("test"), [_stacked(self._inputs)], None

    def deployable(self, model):
        """The model itself: it takes [features, adjacency] of any graph."""
        return model

    def _labels_of(self, part: str) -> np.ndarray:
        labels = np.full(len(self._graph["labels"]), -1)
        labels[self._graph[part]] = self._graph["labels"][self._graph[part]]
        return labels


class _WholeGraph:
    """An epoch is one step with all nodes."""

    def __init__(self, inputs, targets, recipe):
        self.inputs, self.targets, self.recipe = inputs, targets, recipe

    def __len__(self):
        return 1

    def epoch(self, epoch, steps_a_call=1, start=0, rows=None):
        if start == 0:
            yield _stacked(self.inputs), self.targets[None]


def _stacked(inputs):
    """With a first axis of length 1: of steps, or of views."""
    return [part[None] for part in inputs] if isinstance(inputs, list) else inputs[None]
