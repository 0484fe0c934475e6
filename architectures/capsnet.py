"""Dynamic Routing Between Capsules. Sabour, Frosst, Hinton. NIPS 2017. arXiv:1710.09829. Figures 1 and 2, table 1.

The capsule network of section 4 with three routing iterations or one, each alone and with the decoder that rebuilds
the image from the capsule of its class, and the convolutional baseline of section 5. The networks with a decoder
take [image, label], the label a class's number, and give [lengths, image]. Initial weights are those of the authors'
program (tensorflow/models, research/capsules); of its constants 0.1 for biases the capsules have none: primary
capsules begin with zeros, digit capsules have no bias, as in the paper's equation 2. The baseline's convolutions are
padded, and its dropout is 0.5: the paper says neither, but only padded ones give its 35.4 million parameters.
"""
from functools import partial

import keras

from .blocks import channel_axis
from .registry import Architecture, one_image, register


def normal(deviation=0.1):
    return keras.initializers.TruncatedNormal(stddev=deviation)


def tenth():
    return keras.initializers.Constant(0.1)


def body(x, L):
    """ReLU Conv1 and PrimaryCaps: 32 capsules of 8 dimensions a position (figure 1)."""
    x = L.Conv2D(256, 9, activation="relu", kernel_initializer=normal(0.05), bias_initializer=tenth(),
                 name="conv1")(x)
    return L.PrimaryCapsules(32, 8, 9, strides=2, kernel_initializer=normal(), name="primarycaps")(x)


def digit_capsules(x, classes, L, iterations):
    return L.DynamicRouting(classes, 16, iterations=iterations, kernel_initializer=normal(), name="digitcaps")(x)


def head(x, classes, L, iterations=3):
    """DigitCaps, and the capsules' lengths: scores without a softmax."""
    return L.CapsuleLength(name="length")(digit_capsules(x, classes, L, iterations))


def image_and_label(shape):
    return [one_image(shape), keras.Input((), dtype="int32", name="label")]


def body_with_label(inputs, L):
    """[primary capsules, image, label]: the decoder needs the label, and the image's shape."""
    image, label = inputs
    return [body(image, L), image, label]


def head_with_decoder(x, classes, L, iterations=3):
    """Figure 2: all capsules but the label's become zero, three dense layers draw the image from what is left."""
    x, image, label = x
    capsules = digit_capsules(x, classes, L, iterations)
    y = L.CategoryEncoding(classes, output_mode="one_hot", name="mask_onehot")(label)
    y = L.Reshape((classes, 1), name="mask_column")(y)
    y = L.Multiply(name="mask_product")([capsules, y])
    y = L.Flatten(data_format="channels_last", name="mask")(y)      # capsule after capsule: they are no channels
    for index, width in enumerate((512, 1024), 1):
        y = L.Dense(width, activation="relu", kernel_initializer=normal(), bias_initializer=tenth(),
                    name=f"decoder_{index}")(y)
    rows, columns, channels = image.shape[1:] if channel_axis() == -1 else (*image.shape[2:], image.shape[1])
    y = L.Dense(rows * columns * channels, activation="sigmoid", kernel_initializer=normal(), bias_initializer=tenth(),
                name="decoder_3")(y)
    # pixel after pixel in both data formats; of one channel it is all the same
    y = L.Reshape(image.shape[1:] if channels == 1 else (rows, columns, channels), name="decoder")(y)
    if channels > 1 and channel_axis() == 1:
        y = L.Permute((3, 1, 2), name="decoder_turned")(y)
    return [L.CapsuleLength(name="length")(capsules), y]


def baseline_body(x, L):
    """Three 5×5 convolutions of stride 1 (section 5)."""
    for index, width in enumerate((256, 256, 128), 1):
        x = L.Conv2D(width, 5, padding="same", activation="relu", kernel_initializer=normal(0.05),
                     bias_initializer=tenth(), name=f"conv{index}")(x)
    return x


def baseline_head(x, classes, L):
    x = L.Flatten(name="fc1_flat")(x)
    for index, width in enumerate((328, 192), 1):
        x = L.Dense(width, activation="relu", kernel_initializer=normal(), bias_initializer=tenth(),
                    name=f"fc{index}")(x)
    x = L.Dropout(0.5, name="fc2_dropout")(x)
    return L.Dense(classes, kernel_initializer=normal(), bias_initializer=tenth(), name="fc3")(x)


IMAGES = dict(input_shape=(28, 28, 1), classes=10, smallest=(19, 19, 1))
for iterations, suffix in ((3, ""), (1, "_routing1")):
    title = f"CapsNet, {iterations} routing iteration{'s' if iterations > 1 else ''}"
    register(Architecture(f"capsnet{suffix}", title, body, partial(head, iterations=iterations), loss="margin",
                          **IMAGES))
    register(Architecture(f"capsnet{suffix}_reconstruction", f"{title}, with the decoder", body_with_label,
                          partial(head_with_decoder, iterations=iterations), loss="margin", inputs=image_and_label,
                          **IMAGES))
register(Architecture("capsnet_baseline", "CapsNet's convolutional baseline", baseline_body, baseline_head,
                      **{**IMAGES, "smallest": (8, 8, 1)}))
