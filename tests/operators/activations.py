"""Activation functions."""
from cnn_repro import layers as L
from cnn_repro.layers import activation

from .sabotage import Sabotage


def shifted(x):
    """An activation of which neither Keras nor this package knows anything."""
    return x - 1


IMAGES = (2, 8, 6, 4)

DROP_INS = [
    ("ReLU", (3, 20), dict()),
    ("ReLU", (3, 20), dict(negative_slope=0.125)),
    ("ReLU", (3, 20), dict(max_value=0.5)),
    ("ReLU", (3, 20), dict(threshold=0.3)),
    ("ReLU", (3, 20), dict(negative_slope=0.1, max_value=0.8, threshold=0.3)),
    ("ReLU", (3, 20), dict(negative_slope=0.125, max_value=0.3, threshold=0.8)),     # a ceiling below it
    ("LeakyReLU", (3, 20), dict(negative_slope=0.25)),              # exact in float32: TensorFlow rounds it
    ("LeakyReLU", (3, 20), dict(negative_slope=0)),
    ("Softmax", (3, 20), dict()),
    ("Softmax", (2, 5, 4), dict(axis=1)),
    ("Softmax", (2, 5, 4), dict(axis=(1, 2))),
    ("Softmax", (2, 5, 4), dict(axis=[1])),
    *(("Activation", (3, 20), dict(activation=one))
      for one in ("relu", "relu6", "tanh", "sigmoid", "softmax", "gelu", "linear", None, shifted)),
]

WRONG = [
    ("ReLU", (2, 4), dict(max_value=-1.0)),
    ("LeakyReLU", (2, 4), dict(negative_slope=-0.1)),
    ("LeakyReLU", (2, 4), dict(negative_slope=None)),
    ("Softmax", (2, 4), dict(axis=2)),
    ("Activation", (2, 4), dict(activation="rely")),
]

ANY_SIZE = [
    ("ReLU", IMAGES, dict()),
    ("LeakyReLU", IMAGES, dict()),
    ("Softmax", IMAGES, dict()),
    ("Softmax", IMAGES, dict(axis=(1, 2))),
]

PRECISIONS = [
    ("LeakyReLU", IMAGES, dict()),
    ("Softmax", IMAGES, dict()),
    ("Softmax", IMAGES, dict(axis=(1, 2))),
]

TWICE = [
    ("Activation", (3, 5), dict(activation="tanh")),
    ("Activation", (3, 5), dict(activation="sigmoid")),
    ("ReLU", (3, 5), dict()),
    ("LeakyReLU", (3, 5), dict(negative_slope=0.25)),
    ("Softmax", (3, 5), dict()),
    ("Softmax", (2, 5, 3), dict(axis=(1, 2))),
]

CHECKED = {"Activation": "Tanh", "relu": "ReLU", "leaky_relu": "LeakyReLU", "tanh": "Tanh", "sigmoid": "Sigmoid",
           "scaled_tanh": "ScaledTanh", "softmax": "Softmax"}


def sabotages():
    flat = dict(tensors=((3, 20),))
    for formula, operator, function in (("relu_gradient", "ReLU", "relu"), ("tanh_gradient", "Tanh", "tanh"),
                                        ("sigmoid_gradient", "Sigmoid", "sigmoid"),
                                        ("softmax_gradient", "Softmax", "softmax"),
                                        ("scaled_tanh_gradient", "ScaledTanh", L.scaled_tanh)):
        rest = dict(module=activation, formula=formula, operator=operator)
        yield Sabotage(**rest, **flat, subject=lambda f=function: L.Activation(f), changes={"input"})
        everything = {"input", "kernel", "bias"}                    # all that lies below the activation
        yield Sabotage(**rest, **flat, subject=lambda f=function: L.Dense(4, activation=f), changes=everything)
        yield Sabotage(**rest, subject=lambda f=function: L.Conv2D(3, 3, activation=f), changes=everything)
    yield Sabotage(activation, "relu_gradient", "ReLU", lambda: L.ReLU(negative_slope=0.1, max_value=1.0),
                   {"input"}, **flat)
    yield Sabotage(activation, "relu_gradient", "LeakyReLU", lambda: L.LeakyReLU(), {"input"}, **flat)
    yield Sabotage(activation, "softmax_gradient", "Softmax", lambda: L.Softmax(axis=(0, 1)), {"input"}, **flat)
