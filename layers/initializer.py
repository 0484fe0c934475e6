"""Initial weights that Keras has no rule for, and several weights by one rule."""
import math

import keras


@keras.saving.register_keras_serializable(package="cnn_repro")
class FanIn(keras.initializers.Initializer):
    """Uniform in ±bound/F^power, F the number of inputs of a unit.

    LeCun et al. 1998, appendix A, prints ±2.4/F: bound 2.4, power 1. F is the product of a kernel's axes but
    the last, or `inputs` where the shape does not tell.
    """

    def __init__(self, bound, power=1.0, inputs=None):
        self.bound, self.power, self.inputs = bound, power, inputs

    def __call__(self, shape, dtype=None):
        reach = self.bound / (self.inputs or math.prod(shape[:-1]))**self.power
        return keras.random.uniform(shape, -reach, reach, dtype=dtype)

    def get_config(self):
        return {"bound": self.bound, "power": self.power, "inputs": self.inputs}


def another(initializer, k: int):
    """One of the same kind for a layer's weight k, counted from 0: Keras's give the same numbers whenever they are called.

    A seed is moved by k; a function that is no Keras initialiser is its author's, and stays.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += k
    return type(initializer).from_config(config)
