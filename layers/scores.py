"""The output of a saved model: class scores that know their classes' names."""
import keras


@keras.saving.register_keras_serializable(package="cnn_repro")
class ClassScores(keras.layers.Softmax):
    """Softmax over the last axis, carrying the names of the classes: (N, K) logits → (N, K) scores.

    class_names: K texts; saved with the model, read back as `model.layers[-1].class_names`.
    """

    def __init__(self, class_names, **kwargs):
        super().__init__(**kwargs)
        self.class_names = [str(name) for name in class_names]

    def build(self, input_shape):
        if input_shape[-1] != len(self.class_names):
            raise ValueError(f"The last axis of the input has size {input_shape[-1]}, "
                             f"there are {len(self.class_names)} class_names.")
        self.built = True

    def get_config(self):
        return {**super().get_config(), "class_names": self.class_names}
