"""Pooling in one, two and three dimensions, and blurred pooling."""
import keras

from cnn_repro import layers as L
from cnn_repro.layers import blur, pooling

from .sabotage import Sabotage

IMAGES = (2, 8, 6, 4)
SEQUENCES = (2, 9, 4)
VOLUMES = (2, 5, 4, 6, 3)

# three dimensions in float32: TensorFlow has no other
DROP_INS = [
    ("MaxPooling1D", (2, 8, 3), dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling1D", (2, 8, 3), dict(pool_size=2, data_format="channels_first")),
    ("MaxPooling2D", (2, 7, 6, 4), dict()),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2)),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=(2, 3), strides=1)),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=2, strides=3)),
    ("MaxPooling2D", (2, 3, 2, 4), dict(pool_size=5, strides=1, padding="same")),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same", data_format="channels_first")),
    ("MaxPooling3D", (2, 4, 5, 6, 3), dict(dtype="float32")),
    ("MaxPooling3D", (2, 5, 4, 5, 3), dict(pool_size=(1, 2, 2), strides=(2, 2, 3), padding="same", dtype="float32")),
    ("MaxPooling3D", (2, 3, 4, 5, 6), dict(data_format="channels_first", dtype="float32")),
    ("AveragePooling1D", (2, 7, 3), dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling1D", (2, 8, 3), dict(pool_size=2, data_format="channels_first")),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=2)),
    ("AveragePooling2D", (2, 7, 5, 4), dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=(2, 3), strides=1)),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=1, strides=2)),
    ("AveragePooling2D", (2, 3, 2, 4), dict(pool_size=5, strides=1, padding="same")),
    ("AveragePooling2D", (2, 4, 7, 5), dict(pool_size=3, strides=2, padding="same", data_format="channels_first")),
    ("AveragePooling3D", (2, 4, 5, 6, 3), dict(pool_size=2, dtype="float32")),
    ("AveragePooling3D", (2, 5, 4, 5, 3), dict(pool_size=(1, 2, 2), strides=(2, 2, 3), padding="same",
                                               dtype="float32")),
    ("AveragePooling3D", (2, 3, 4, 5, 6), dict(pool_size=2, data_format="channels_first", dtype="float32")),
    *((f"Global{kind}Pooling{len(shape) - 2}D", shape, dict(keepdims=keepdims, data_format=data_format))
      for kind in ("Average", "Max") for shape in ((2, 7, 4), (2, 7, 6, 4), (2, 3, 5, 4, 2))
      for keepdims in (False, True) for data_format in ("channels_last", "channels_first")),
]
# where it pads more after than before, stock Keras on PyTorch counts the padding
if keras.backend.backend() != "torch":
    DROP_INS += [
        ("AveragePooling1D", (2, 8, 3), dict(pool_size=3, strides=2, padding="same")),
        ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=3, strides=2, padding="same")),
        ("AveragePooling2D", (2, 4, 7, 6), dict(pool_size=2, padding="same", data_format="channels_first")),
    ]

WRONG = [
    ("MaxPooling1D", (2, 7, 6, 4), dict()),
    ("MaxPooling2D", (2, 7, 6), dict()),
    ("MaxPooling2D", (2, 7, 6, 4), dict(pool_size=0)),
    ("MaxPooling3D", (2, 5, 5, 5, 4), dict(pool_size=(1, 2))),
    ("AveragePooling2D", (2, 7, 6, 4), dict()),
    ("AveragePooling2D", (2, 7, 6, 4), dict(pool_size=2, strides=(1, 2, 3))),
    ("AveragePooling3D", (2, 7, 6, 4), dict()),
    ("GlobalAveragePooling2D", (2, 7, 6), dict()),
    ("GlobalMaxPooling1D", (2, 7, 6, 4), dict()),
    ("GlobalMaxPooling2D", (2, 7, 6, 4), dict(data_format="first")),
]

OWN = [
    ("BlurPooling1D", (2, 7, 3), dict()),
    ("BlurPooling2D", (2, 7, 6, 3), dict()),
    ("BlurPooling2D", (2, 7, 6, 3), dict(pool_size=(5, 2), strides=(1, 3))),
    ("BlurPooling2D", (2, 7, 6, 3), dict(pool_size=4, padding="valid")),
    ("BlurPooling2D", (2, 3, 7, 6), dict(data_format="channels_first")),
    ("MaxBlurPooling1D", (2, 7, 3), dict()),
    ("MaxBlurPooling2D", (2, 7, 6, 3), dict()),
    ("MaxBlurPooling2D", (2, 7, 6, 3), dict(pool_size=3, strides=2, padding="same", blur_size=5)),
    ("MaxBlurPooling2D", (2, 3, 7, 6), dict(data_format="channels_first", blur_size=2)),
]

OWN_WRONG = [
    ("BlurPooling2D", (2, 7, 6, 3), dict(padding="same"), "padding is 'reflect' or 'valid', not 'same'"),
    ("BlurPooling2D", (2, 2, 6, 3), dict(pool_size=5), "Axis 1 of the input has size 2, too few to reflect 2"),
    ("BlurPooling2D", (2, 7, 2, 3), dict(padding="valid"), "Axis 2 of the input has size 2, less than pool_size=3"),
    ("BlurPooling2D", (2, 7, 6, 3), dict(strides=0), r"strides=\(0, 0\) must be a positive integer, or 2"),
    ("BlurPooling2D", (2, 7, 6), dict(), "expected ndim=4, found ndim=3"),
    ("BlurPooling1D", (2, 7, 6), dict(pool_size=(3, 3)), "pool_size.* 1 integers"),
    ("MaxBlurPooling2D", (2, 7, 6, 3), dict(blur_size=0), "blur_size is at least 1, not 0"),
    ("MaxBlurPooling2D", (2, 2, 6, 3), dict(), "Axis 1 of the input has size 1, too few to reflect 1"),
    # of which stock Keras hands on what the backend says, or on PyTorch nothing
    ("MaxPooling2D", (2, 7, 6, 4), dict(padding="none"), "padding='none' must be one of valid, same"),
    ("MaxPooling2D", (2, 7, 6, 4), dict(strides=0), r"strides=\(0, 0\) must be a positive integer, or 2"),
    ("AveragePooling2D", (2, 3, 7, 2), dict(pool_size=3, data_format="channels_first"), "Axis 3 .* size 2, less than"),
]

CALLS_WRONG = [
    ("max_pool", [(2, 4, 4, 1)], dict(pool_size=(5, 5)), "Axis 1 .* size 4, less than the window's 5 without padding"),
    ("average_pool", [(2, 4, 4, 1)], dict(pool_size=(2, 5)), "Axis 2 of the input has size 4, less than"),
    ("max_pool", [(2, 4, 4, 1)], dict(pool_size=(2, 2, 2)), "has 4 axes; a window over 3 spatial axes takes 5"),
    ("max_pool", [(2, 4, 4, 1)], dict(pool_size=(0, 2)), r"size=\(0, 2\) must be a positive integer, or 2"),
    ("max_pool", [(2, 4, 4, 1)], dict(pool_size=(2, 2), strides=0), "strides=0 must be a positive"),
    ("max_pool", [(2, 4, 4, 1)], dict(pool_size=(2, 2), strides=(1,)), r"strides=\(1,\) must be"),
    # TensorFlow divided by zero here, which ended the process
    ("max_blur_pool", [(2, 4, 4, 1)], dict(pool_size=(5, 5)), "Axis 1 of the input has size 4, less than"),
    ("blur_pool", [(2, 6, 6, 1)], dict(strides=(2,)), r"strides=\(2,\) must be a positive integer, or 2"),
    ("blur_pool", [(2, 6, 6, 1)], dict(pool_size=(3,)), "has 4 axes; a window over 1 spatial axes takes 3"),
    ("reflect_pad", [(2, 4, 4, 1)], dict(pads=((1, 1),)), "for each of 2 spatial axes"),
]

ANY_SIZE = [
    ("MaxPooling1D", SEQUENCES, dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling2D", IMAGES, dict(pool_size=2)),
    ("MaxPooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling2D", IMAGES, dict(pool_size=2, strides=3)),
    ("MaxPooling3D", VOLUMES, dict(pool_size=2, strides=1, padding="same")),
    ("AveragePooling1D", SEQUENCES, dict(pool_size=3, strides=2)),
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=1)),
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling3D", VOLUMES, dict(pool_size=3, strides=2, padding="same")),
    ("GlobalAveragePooling1D", SEQUENCES, dict()),
    ("GlobalAveragePooling2D", IMAGES, dict()),
    ("GlobalAveragePooling3D", VOLUMES, dict(keepdims=True)),
    ("GlobalMaxPooling1D", SEQUENCES, dict()),
    ("GlobalMaxPooling2D", IMAGES, dict(keepdims=True)),
    ("GlobalMaxPooling3D", VOLUMES, dict()),
    ("BlurPooling1D", SEQUENCES, dict(pool_size=5)),
    ("BlurPooling2D", IMAGES, dict()),
    ("BlurPooling2D", IMAGES, dict(pool_size=4, strides=3, padding="valid")),
    ("MaxBlurPooling1D", SEQUENCES, dict()),
    ("MaxBlurPooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
]

PRECISIONS = [                                  # none in three dimensions: TensorFlow has no half precision there
    ("MaxPooling1D", SEQUENCES, dict(pool_size=3, strides=2, padding="same")),
    ("MaxPooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling1D", SEQUENCES, dict(pool_size=3, strides=2, padding="same")),
    ("AveragePooling2D", IMAGES, dict(pool_size=3, strides=2, padding="same")),
    ("GlobalAveragePooling2D", IMAGES, dict()),
    ("GlobalAveragePooling3D", VOLUMES, dict()),
    ("GlobalMaxPooling2D", IMAGES, dict()),
    ("BlurPooling2D", IMAGES, dict(pool_size=5)),
    ("MaxBlurPooling2D", IMAGES, dict()),
]

TWICE = [
    ("MaxPooling1D", SEQUENCES, dict(pool_size=3, strides=2)),
    ("MaxPooling2D", IMAGES, dict(pool_size=3, strides=2)),
    ("AveragePooling2D", (2, 7, 5, 4), dict(pool_size=3, strides=2, padding="same")),
    ("GlobalAveragePooling2D", IMAGES, dict()),
    ("GlobalMaxPooling2D", IMAGES, dict()),
    ("GlobalMaxPooling3D", VOLUMES, dict()),
]

CHECKED = {"max_pool": "MaxPooling2D", "average_pool": "AveragePooling2D",
           "global_average_pool": "GlobalAveragePooling2D", "global_max_pool": "GlobalMaxPooling2D",
           "blur_pool": "BlurPooling2D", "max_blur_pool": "MaxBlurPooling2D", "reflect_pad": "reflect padding"}
LINEAR = {"reflect padding", "BlurPooling1D", "BlurPooling2D",
          *(f"{kind}Pooling{axes}D" for kind in ("Average", "GlobalAverage") for axes in (1, 2, 3))}


def sabotages():
    pool = dict(module=pooling, changes={"input"})
    yield Sabotage(**pool, formula="max_pool_gradient", operator="MaxPooling2D",
                   subject=lambda: L.MaxPooling2D(3, 2, padding="same"))
    yield Sabotage(**pool, formula="average_pool_gradient", operator="AveragePooling2D",
                   subject=lambda: L.AveragePooling2D(3, 2, padding="same"))
    yield Sabotage(**pool, formula="global_average_pool_gradient", operator="GlobalAveragePooling2D",
                   subject=lambda: L.GlobalAveragePooling2D())
    yield Sabotage(**pool, formula="global_max_pool_gradient", operator="GlobalMaxPooling2D",
                   subject=lambda: L.GlobalMaxPooling2D())
    for axes, shape in ((1, (2, 6, 4)), (3, (2, 3, 4, 4, 2))):
        for kind in ("Max", "Average", "GlobalMax", "GlobalAverage"):
            name = f"{kind}Pooling{axes}D"
            formula = {"Max": "max_pool", "Average": "average_pool", "GlobalMax": "global_max_pool",
                       "GlobalAverage": "global_average_pool"}[kind] + "_gradient"
            arguments = () if kind.startswith("Global") else (2, 1)
            yield Sabotage(**pool, formula=formula, operator=name, tensors=(shape,),
                           subject=lambda name=name, arguments=arguments: getattr(L, name)(*arguments))
    blurred = dict(module=blur, changes={"input"})
    yield Sabotage(**blurred, formula="blur_gradient", operator="BlurPooling2D", subject=lambda: L.BlurPooling2D())
    yield Sabotage(**blurred, formula="reflect_pad_gradient", operator="reflect padding",
                   subject=lambda: lambda x: L.reflect_pad(x, ((1, 1), (2, 0))))
    sequences = dict(tensors=((2, 6, 4),), operator="BlurPooling1D", subject=lambda: L.BlurPooling1D())
    yield Sabotage(**blurred, **sequences, formula="blur_gradient")
    for axes, shape in ((1, (2, 6, 4)), (2, (2, 6, 6, 4))):
        for module, formula in ((pooling, "max_pool_gradient"), (blur, "blur_gradient")):
            name = f"MaxBlurPooling{axes}D"
            yield Sabotage(module, formula, name, lambda name=name: getattr(L, name)(), {"input"}, tensors=(shape,))
