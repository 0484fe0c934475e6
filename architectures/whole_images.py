"""A classifier as its fully convolutional form, which takes images of any size at least its own.

A dense layer on the maps of a small image is a convolution whose kernel is as large as those maps (Sermanet et al. 2014,
section 3.5). Over a larger image it gives scores for every place, whose mean is the image's: the "dense evaluation" of
Simonyan and Zisserman 2015, section 3.2. A network that averages its last maps takes any size as it is.
"""
import keras

from .. import layers as explicit
from .registry import ArchitectureError, build

PASSED = (keras.layers.Dropout, keras.layers.Activation, keras.layers.ReLU)     # between a Flatten and its dense layer


def over_whole_images(model: keras.Model, layers=explicit) -> keras.Model:
    """The network of `build` with logits as outputs, for images (N, H, W, C) of any size: → logits (N, K).

    It has copies of the weights, see `follow`. layers: the namespace that the model was built with. Raises
    ArchitectureError for a network that is none of images, or where other layers than dense ones count the pixels.
    """
    shape = model.inputs[0].shape if len(model.inputs) == 1 else ()
    if len(shape) != 4 or keras.config.image_data_format() != "channels_last" or len(model.output_shape) != 2:
        raise ArchitectureError(f"{model.name} cannot look at whole images: it takes no images (H, W, C), or gives no scores")
    free = (None, None, shape[-1])
    try:
        whole = build(model.name, classes=model.output_shape[-1], input_shape=free, classifier_activation=None, layers=layers)
    except ArchitectureError:               # a dense layer behind all maps
        whole = _with_convolutions(model, free, layers)
    follow(whole, model)
    return whole


def follow(whole: keras.Model, model: keras.Model) -> None:
    """Give the fully convolutional form the model's present weights: in order they are the same numbers."""
    whole.set_weights([values.reshape(variable.shape)
                       for values, variable in zip(model.get_weights(), whole.weights, strict=True)])


def _with_convolutions(model, free, layers):
    maps = {}                               # dense layer → shape (h, w, C) of what was flattened for it
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            for dense in _readers(layer):
                if not isinstance(dense, keras.layers.Dense) or len(layer.input.shape) != 4:
                    raise ArchitectureError(f"{model.name} cannot look at whole images: {layer.name} feeds {dense.name}, "
                                            "which is no dense layer on maps")
                maps[dense.name] = layer.input.shape[1:]

    def fully_convolutional(layer):
        if isinstance(layer, keras.layers.Flatten):
            return keras.layers.Activation("linear", name=layer.name)
        if layer.name not in maps:
            return layer.__class__.from_config(layer.get_config())
        return layers.Conv2D(layer.units, maps[layer.name][:2], activation=layer.activation, use_bias=layer.use_bias,
                             name=layer.name)

    images = keras.Input(free, name="input")
    try:
        whole = keras.models.clone_model(model, input_tensors=[images] if isinstance(model.input, list) else images,
                                         clone_function=fully_convolutional)
    except ValueError as error:
        raise ArchitectureError(f"{model.name} cannot look at whole images: it has other layers than dense ones whose "
                                "weights count the pixels") from error
    scores = whole.output
    if len(scores.shape) == 4:
        scores = layers.GlobalAveragePooling2D(name="places")(scores)
    return keras.Model(images, scores, name=model.name)


def _readers(layer):
    """The layers that take its output, whatever passes it on left out."""
    for node in layer._outbound_nodes:
        reader = node.operation
        if isinstance(reader, PASSED):
            yield from _readers(reader)
        else:
            yield reader
