"""The non-local operation, which relates all positions to all others, and its gradients.

    y_i = Σ_j F_ij g_j              dF_ij = dy_i · g_j          dg_j = Σ_i F_ij dy_i

F_ij = f(x_i, x_j)/C(x), the paper's equation (1), from embeddings θ_i = W_θ x_i, φ_j = W_φ x_j, g_j = W_g x_j:

    gaussian             f = exp(x_i · x_j)             C = Σ_j f: together a softmax over j, with θ = φ = x
    embedded_gaussian    f = exp(θ_i · φ_j)             the same: self-attention
    dot_product          f = θ_i · φ_j                  C = N, the number of positions j
    concatenation        f = max(0, w · [θ_i, φ_j])     C = N

    S_ij = θ_i · φ_j                dθ_i = Σ_j dS_ij φ_j        dφ_j = Σ_i dS_ij θ_i
    S_ij = w · [θ_i, φ_j]           dθ_i = Σ_j dS_ij w_θ        dφ_j = Σ_i dS_ij w_φ        dw = Σ_ij dS_ij [θ_i, φ_j]

From S to F it is a softmax over j, a division by N, a rectifier, whose gradients stand in activation.py.

Source: Wang et al. 2018, section 3, equations (1) to (6); lecture note 002, section 2.3.
"""
from itertools import count
from math import prod

import keras
from keras import ops

from .activation import relu, softmax
from .dense import multiply
from .gradient import with_gradient
from .initializer import another
from .normalization import BatchNormalization
from .pooling import max_pool
from .structure import add
from .window import check_positive, differ, from_channels_last, known_format, last_shape, space_of, to_channels_last

KINDS = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")


def attend(theta, phi, g, kind="embedded_gaussian", pair_kernel=None):
    """y_i = Σ_j F_ij g_j for theta (N, P, D), phi (N, M, D) and g (N, M, C) → (N, P, C).

    kind: one of KINDS; "gaussian" differs from "embedded_gaussian" only in what is handed in as theta and phi.
    pair_kernel: for "concatenation" w as (2·D, 1).
    """
    _known(kind)
    _check(theta.shape, phi.shape, g.shape, kind, pair_kernel)
    share = 1 / ops.cast(ops.shape(phi)[1], phi.dtype)
    if kind == "dot_product":
        return gather(dot_products(theta, phi, share), g)
    if kind == "concatenation":
        return gather(relu(pair_sums(theta, phi, pair_kernel, share)), g)
    return gather(softmax(dot_products(theta, phi)), g)


def _known(kind):
    if kind not in KINDS:
        raise ValueError(f"no pairwise function {kind!r}; there are {', '.join(KINDS)}")


def _check(theta, phi, g, kind, pair_kernel):
    """ValueError where the shapes do not go together, as far as they are known."""
    if not len(theta) == len(phi) == len(g) == 3 or any(
            differ(*pair) for pair in ((theta[0], phi[0]), (phi[0], g[0]), (phi[1], g[1]), (theta[2], phi[2]))):
        raise ValueError(f"theta, phi and g have the shapes {tuple(theta)}, {tuple(phi)} and {tuple(g)}; "
                         "they must be (N, P, D), (N, M, D) and (N, M, C).")
    if kind == "concatenation" and tuple(getattr(pair_kernel, "shape", ())) != (2 * theta[2], 1):
        raise ValueError(f"kind='concatenation' takes a pair_kernel of shape {(2 * theta[2], 1)}, "
                         f"not {tuple(getattr(pair_kernel, 'shape', ()))}.")


def dot_products(theta, phi, share=1):
    """S_ij = share · θ_i · φ_j for theta (N, P, D) and phi (N, M, D) → (N, P, M)."""
    def forward(theta, phi):
        return ops.matmul(share * theta, ops.swapaxes(phi, 1, 2))

    def backward(ds, s, theta, phi):
        return dot_product_gradients(ds, theta, phi, share)

    return with_gradient(forward, backward, theta, phi)


def dot_product_gradients(ds, theta, phi, share=1):
    """(dθ, dφ)."""
    return share * ops.matmul(ds, phi), ops.matmul(ops.swapaxes(ds, 1, 2), share * theta)


def pair_sums(theta, phi, kernel, share):
    """S_ij = share · w · [θ_i, φ_j] for theta (N, P, D), phi (N, M, D) and w (2·D, 1) → (N, P, M)."""
    def forward(theta, phi, kernel):
        first, second = ops.split(share * kernel, 2)
        return ops.matmul(theta, first) + ops.swapaxes(ops.matmul(phi, second), 1, 2)

    def backward(ds, s, theta, phi, kernel):
        return pair_sum_gradients(ds, theta, phi, kernel, share)

    return with_gradient(forward, backward, theta, phi, kernel)


def pair_sum_gradients(ds, theta, phi, kernel, share):
    """(dθ, dφ, dw)."""
    first, second = ops.split(kernel[:, 0], 2)
    of_theta, of_phi = (share * ops.sum(ds, axis)[..., None] for axis in (2, 1))
    dkernel = ops.concatenate([ops.sum(of_theta * theta, (0, 1)), ops.sum(of_phi * phi, (0, 1))])
    return of_theta * first, of_phi * second, dkernel[:, None]


def gather(affinity, g):
    """y_i = Σ_j F_ij g_j for affinity F (N, P, M) and g (N, M, C) → (N, P, C)."""
    return with_gradient(ops.matmul, lambda dy, y, affinity, g: gather_gradients(dy, affinity, g), affinity, g)


def gather_gradients(dy, affinity, g):
    """(dF, dg)."""
    return ops.matmul(dy, ops.swapaxes(g, 1, 2)), ops.matmul(ops.swapaxes(affinity, 1, 2), dy)


@keras.saving.register_keras_serializable(package="cnn_repro")
class NonLocal(keras.layers.Layer):
    """Non-local block z = W_z y + x (equation (6)) whose backward pass is written out (this module's formulas).

    kind: one of KINDS. channels: of the embeddings θ, φ and g, by default half of the input's (section 3.3).
    normalize: batch normalisation after W_z with γ = 0 at first (section 4.1); without it W_z itself starts at zero
    (section 3.3). Either way the block starts as the identity.
    subsample: φ and g are max-pooled by this factor, an integer or one a spatial axis; the paper's trick pools the
    two axes of an image, (1, 2, 2) of a video (section 3.3).
    kernel_initializer: section 4.1 takes that of He et al. 2015.
    data_format: as for Keras's layers; by default Keras's own.
    Input and output (N, *space, C), or (N, C, *space), with one, two or three spatial axes of any size.
    Source: Wang et al. 2018.
    """

    def __init__(self, kind="embedded_gaussian", channels=None, normalize=True, subsample=1,
                 kernel_initializer="he_normal", data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = known_format(data_format)
        _known(kind)
        self.kind, self.normalize = kind, bool(normalize)
        self.channels = None if channels is None else int(channels)
        self.subsample = int(subsample) if isinstance(subsample, int) else tuple(int(factor) for factor in subsample)
        check_positive(subsample=self.subsample if isinstance(subsample, int) else min(self.subsample, default=0),
                       channels=1 if channels is None else self.channels)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if self.normalize:
            self.normalization = BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer="zeros",
                                                    dtype=self.dtype_policy, name="normalization")

    def build(self, input_shape):
        axes = len(input_shape) - 2
        if axes not in (1, 2, 3):
            raise ValueError(f"The input has {len(input_shape)} axes; NonLocal takes 3, 4 or 5: (N, *space, C).")
        self.pool_size = (self.subsample,) * axes if isinstance(self.subsample, int) else self.subsample
        if len(self.pool_size) != axes:
            raise ValueError(f"subsample={self.subsample} has {len(self.pool_size)} factors, "
                             f"the input {axes} spatial axes.")
        first = 1 if self.data_format == "channels_last" else 2
        input_shape = last_shape(input_shape, self.data_format)
        for axis, (n, factor) in enumerate(zip(input_shape[1:-1], self.pool_size), start=first):
            if n is not None and n < factor:
                raise ValueError(f"Axis {axis} of the input has size {n}, less than subsample={factor}.")
        wide = input_shape[-1]
        narrow = self.channels or max(wide // 2, 1)
        drawn = count()
        weight = lambda name, *shape: self.add_weight(                                  # noqa: E731
            name=name, shape=shape, initializer=another(self.kernel_initializer, next(drawn)))
        embedded = self.kind != "gaussian"
        self.theta = weight("theta", wide, narrow) if embedded else None
        self.phi = weight("phi", wide, narrow) if embedded else None
        self.g = weight("g", wide, narrow)
        self.pair_kernel = weight("pair", 2 * narrow, 1) if self.kind == "concatenation" else None
        self.z = (weight("z", narrow, wide) if self.normalize else
                  self.add_weight(name="z", shape=(narrow, wide), initializer="zeros"))
        if self.normalize:
            self.normalization.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        theta = self._embed(x, self.theta)
        phi, g = (self._pool(self._embed(x, kernel)) for kernel in (self.phi, self.g))
        y = attend(_positions(theta), _positions(phi), _positions(g), self.kind, self.pair_kernel)
        z = ops.reshape(multiply(y, self.z), ops.shape(x))
        z = self.normalization(z, training=training) if self.normalize else z
        return from_channels_last(add([x, z]), self.data_format)

    def _embed(self, x, kernel):
        """A 1×1 convolution; the Gaussian's θ and φ are x itself."""
        return x if kernel is None else multiply(x, kernel)

    def _pool(self, x):
        return x if max(self.pool_size) == 1 else max_pool(x, self.pool_size)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "channels": self.channels, "normalize": self.normalize,
                "subsample": self.subsample, "data_format": self.data_format,
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


def _positions(x):
    """(N, *space, C) → (N, positions, C)."""
    return ops.reshape(x, (ops.shape(x)[0], prod(space_of(x)), x.shape[-1]))
