"""The networks that are timed, and any network as twins: on our layers and on stock Keras, with the same weights."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """An architecture of the registry."""
    name: str
    batch: int                      # the largest that leaves a step on two cores near a second
    shape: tuple[int, int, int]     # of an image


NETWORKS = (
    Network("lenet5_modern", 128, (32, 32, 1)),
    Network("resnet20_cifar", 128, (32, 32, 3)),
    Network("vgg16_cifar", 32, (32, 32, 3)),
    Network("densenet40_k12_cifar", 32, (32, 32, 3)),
    Network("mobilenet_v1", 64, (64, 64, 3)),
)
CLASSES = 10


def model_of(network: Network, layers):
    """The network on a namespace of layers: images → logits. Without its dropout: twins would draw different masks."""
    from ...architectures import build
    model = build(network.name, classes=CLASSES, input_shape=network.shape, layers=layers, classifier_activation=None)
    for layer in model.layers:
        if type(layer).__name__ == "Dropout":
            layer.rate = 0.0
    return model


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
