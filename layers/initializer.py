"""Initial weights that Keras has no rule for."""
import math

import keras


@keras.saving.register_keras_serializable(package="cnn_repro")
class FanIn(keras.initializers.Initializer):
    """Uniform in ±bound/F, F the number of inputs of a unit: LeCun et al. 1998, appendix A (bound 2.4).

    F is the product of a kernel's axes but the last, or `inputs` where the shape does not tell.
    """

    def __init__(self, bound, inputs=None):
        self.bound, self.inputs = bound, inputs

    def __call__(self, shape, dtype=None):
        reach = self.bound / (self.inputs or math.prod(shape[:-1]))
        return keras.random.uniform(shape, -reach, reach, dtype=dtype)

    def get_config(self):
        return {"bound": self.bound, "inputs": self.inputs}
