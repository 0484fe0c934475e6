"""The networks of the papers, as functional Keras models.

    from cnn_repro.architectures import build, names, describe
    model = build("resnet20_cifar", classes=10, input_shape=(32, 32, 3))
"""
from . import (alexnet, amoebanet, antialiased, c3d, capsnet, conv_n, cuda_convnet, densenet, gcn,  # noqa: F401
               lecun1989, lenet, lenet_caffe, mobilenet, mobilenet_v2, nasnet, nin, nonlocal_resnet, resnet, resnet9,
               shufflenet, squeezenet, vgg)  # (each file registers its networks)
from . import (bn_inception, googlenet, highway, inception_v3, preact_resnet, resnet_imagenet,  # noqa: F401
               resnet_presets, resnext, wide_resnet)
from .anatomy import describe, stage_of, stage_outputs, weightless
from .drawing import draw
from .image_inputs import ImageInput, image_input
from .keras_weights import load_keras_applications
from .registry import Architecture, ArchitectureError, build, find, names
from .torchvision_weights import load_torchvision
from .weights import WeightsError
from .whole_images import follow, over_whole_images

__all__ = ["Architecture", "ArchitectureError", "ImageInput", "WeightsError", "build", "describe", "draw", "find",
           "follow", "image_input", "load_keras_applications", "load_torchvision", "names", "over_whole_images", "stage_of",
           "stage_outputs", "weightless"]
