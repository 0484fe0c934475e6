"""The networks of the papers, as functional Keras models.

    from cnn_repro.architectures import build, names, describe
    model = build("resnet20_cifar", classes=10, input_shape=(32, 32, 3))
"""
from . import lenet, resnet  # noqa: F401  (each file registers its networks)
from .anatomy import describe, stage_of
from .registry import Architecture, ArchitectureError, build, find, names

__all__ = ["Architecture", "ArchitectureError", "build", "describe", "find", "names", "stage_of"]
