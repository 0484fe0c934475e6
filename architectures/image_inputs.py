"""What other projects' weights expect of an image: size, cut and scale, once for a project and its exceptions.

torchvision's are in its `weights` (transforms of ImageClassification): the shorter side to 256, bilinear with
antialiasing, the middle 224×224, less ImageNet's mean and divided by its deviation. Inception-v3 takes 342 and 299.
Its GoogLeNet and Inception-v3 were trained by Google on −1 … 1: their `transform_input` undoes the scale and puts
this one in place, which comes to `tf` here. Its newer weights (IMAGENET1K_V2) are given with 232.
keras.applications says how an image is scaled (preprocess_input) and how large it is, not how it is cut: the same
part of the middle is taken, 224/256 of the shorter side.
"""
from dataclasses import dataclass

from .keras_weights import keras_equivalent
from .registry import find

TORCHVISION_SIDES = {"inception_v3_torchvision": 299}                       # all others 224, whatever the paper took
TORCHVISION_MODES = {"googlenet_torchvision": "tf", "inception_v3_torchvision": "tf"}       # all others "torch"


@dataclass(frozen=True)
class ImageInput:
    """An image's shorter side becomes `resize` pixels, its middle side×side is the input.

    mode: that of keras.applications.imagenet_utils.preprocess_input: "caffe" (BGR less a mean), "tf" (−1 … 1) or
    "torch" (0 … 1 less a mean, divided by a deviation).
    """
    side: int
    resize: int
    mode: str


def image_input(name: str, project: str) -> ImageInput:
    """Of the network `name` with weights of "keras" or "torchvision". Raises WeightsError, ArchitectureError."""
    network = find(name)
    if project == "keras":
        side, mode = network.input_shape[0], keras_equivalent(name).mode
    else:
        side, mode = TORCHVISION_SIDES.get(name, 224), TORCHVISION_MODES.get(name, "torch")
    return ImageInput(side, round(side * 256 / 224), mode)
