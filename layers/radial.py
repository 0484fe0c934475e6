"""LeNet-5's output: Euclidean radial basis functions, and the loss that goes with them.

    y_k = Σ_i (x_i − c_ki)²                                     penalty of class k, the paper's equation (7)
    E   = y_D + log(e^−j + Σ_k e^−y_k)                          the paper's equation (9), D the right class

The layer returns z = −y, so that the largest output wins as in every other network. Then E is the cross-entropy
of the softmax over z and one more "rubbish" class whose logit is fixed at −j:

    dx_i = −2 Σ_k dz_k (x_i − c_ki)      dc_ki = 2 Σ_n dz_nk (x_ni − c_ki)
    dz_k = dE (e^z_k / (e^−j + Σ e^z) − [k = D])

Source: LeCun et al. 1998, section II.B (equation 7) and II.C (equations 8 and 9).
"""
import keras
from keras import ops

from .gradient import with_gradient
from .loss import one_hot


def negative_penalty(x, centres):
    """z = −‖x − c_k‖² for x (N, F) and centres (K, F) → (N, K)."""
    def forward(x, centres):
        return -ops.sum(ops.square(x[:, None, :] - centres[None, :, :]), axis=-1)

    def backward(dz, z, x, centres):
        return radial_input_gradient(dz, x, centres), radial_centre_gradient(dz, x, centres)

    return with_gradient(forward, backward, x, centres)


def radial_input_gradient(dz, x, centres):
    """dx = −2 Σ_k dz_k (x − c_k)."""
    return -2 * (x * ops.sum(dz, axis=1, keepdims=True) - ops.matmul(dz, centres))


def radial_centre_gradient(dz, x, centres):
    """dc_k = 2 Σ_n dz_nk (x_n − c_k)."""
    return 2 * (ops.matmul(ops.transpose(dz), x) - ops.sum(dz, axis=0)[:, None] * centres)


def map_loss(labels, z, j):
    """E of each image: labels (N,) integers, z (N, K) = −penalties → (N,). A number that is no class makes it NaN."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) != 1 or len(z.shape) != 2:
        raise ValueError(f"Labels and z have the shapes {tuple(labels.shape)} and {tuple(z.shape)}; they must be (N,) "
                         "and (N, K).")
    chosen = one_hot(labels, z)

    def forward(z):
        rubbish = ops.full_like(z[:, :1], -j)
        return ops.logsumexp(ops.concatenate([z, rubbish], axis=1), axis=1) - ops.sum(z * chosen, axis=1)

    def backward(de, e, z):
        return map_loss_gradient(de, z, chosen, j)

    return with_gradient(forward, backward, z)


def map_loss_gradient(de, z, chosen, j):
    """dz_k = dE (e^z_k / (e^−j + Σ e^z) − [k = D])."""
    rubbish = ops.full_like(z[:, :1], -j)
    posterior = ops.softmax(ops.concatenate([z, rubbish], axis=1), axis=1)[:, :-1]
    return de[:, None] * (posterior - chosen)


@keras.saving.register_keras_serializable(package="cnn_repro")
class RadialBasis(keras.layers.Layer):
    """Euclidean RBF units with fixed centres: (N, F) → (N, K), the negative squared distance to each centre.

    centres: K rows of F numbers; the paper's are ±1 bitmaps of the characters. They are constants and not
    counted as parameters (section II.B has them hand-chosen and fixed).
    """

    def __init__(self, centres, **kwargs):
        super().__init__(**kwargs)
        self.centres = [[float(value) for value in row] for row in centres]
        if len({len(row) for row in self.centres}) != 1:
            raise ValueError(f"The centres must be equally long, not of {sorted({len(row) for row in self.centres})} "
                             "coordinates.")

    def build(self, input_shape):
        if len(input_shape) != 2:
            raise ValueError(f"The input has {len(input_shape)} axes; RadialBasis takes 2: (N, F).")
        if input_shape[-1] != len(self.centres[0]):
            raise ValueError(f"The last axis of the input has size {input_shape[-1]}, "
                             f"the centres have {len(self.centres[0])} coordinates.")
        self.built = True

    def call(self, inputs):
        return negative_penalty(inputs, ops.convert_to_tensor(self.centres, inputs.dtype))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(self.centres))

    def get_config(self):
        return {**super().get_config(), "centres": self.centres}
