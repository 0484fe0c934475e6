"""The networks that are timed, and any network as twins: on our layers and on stock Keras, with the same weights."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """stack: a function of the namespace of layers, or None for an architecture of that name."""
    name: str
    batch: int                      # the largest that leaves a step on two cores near a second
    shape: tuple[int, int, int]     # of an image
    stack: str | None = None


NETWORKS = (
    Network("lenet5_modern", 128, (32, 32, 1)),
    Network("resnet20_cifar", 128, (32, 32, 3)),
    Network("vgg16_stack", 32, (32, 32, 3), "vgg16"),
    Network("densenet40_stack", 32, (32, 32, 3), "densenet40"),
    Network("mobilenet_stack", 64, (32, 32, 3), "mobilenet"),
)
CLASSES = 10


def model_of(network: Network, layers):
    """The network on a namespace of layers: images → logits."""
    from ...architectures import build
    from . import stacks
    if network.stack:
        return getattr(stacks, network.stack)(layers)
    return build(network.name, layers=layers, classifier_activation=None)


def twins(build) -> dict:
    """{"ours": model, "stock": model} of a function of the namespace of layers, with the same weights."""
    import keras

    from ... import layers as explicit
    keras.utils.set_random_seed(0)
    ours, stock = build(explicit), build(keras.layers)
    stock.set_weights(ours.get_weights())
    return {"ours": ours, "stock": stock}


def images_of(network: Network, batch: int) -> tuple:
    """Fixed random images (batch, H, W, C) float32 and labels (batch,) int32."""
    import numpy as np
    random = np.random.default_rng(0)
    return (random.normal(size=(batch, *network.shape)).astype("float32"),
            random.integers(0, CLASSES, batch).astype("int32"))
