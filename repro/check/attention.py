"""The non-local operation."""
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .backends import precision
from .case import Case


def cases(random) -> Iterator[Case]:
    """Every pairwise function; more and fewer positions j than i."""
    for kind in ("embedded_gaussian", "dot_product", "concatenation"):
        for positions, others in ((5, 2), (1, 3)):
            arguments = {"theta": random.normal(size=(2, positions, 3)), "phi": random.normal(size=(2, others, 3)),
                         "g": random.normal(size=(2, others, 2))}
            if kind == "concatenation":
                arguments["pair kernel"] = random.normal(size=(6, 1))
            yield Case("NonLocal", f"{kind}, {positions} of {others} positions", arguments,
                       lambda theta, phi, g, w=None, kind=kind: L.attend(theta, phi, g, kind, w),
                       lambda theta, phi, g, w=None, kind=kind: _stock(theta, phi, g, kind, w),
                       lambda theta, phi, g, w=None, kind=kind: reference.attend(theta, phi, g, kind, w),
                       lambda dy, *given, kind=kind: reference.attend_gradients(dy, *given[:3], kind, *given[3:]),
                       ("theta", "phi", "g") if kind == "dot_product" else ("g",))
    yield Case("NonLocal", "gaussian, 4 positions", {
        "input": random.normal(size=(2, 4, 3)), "g": random.normal(size=(2, 4, 2))},
        lambda x, g: L.attend(x, x, g, "gaussian"), lambda x, g: _stock(x, x, g, "gaussian", None),
        lambda x, g: reference.attend(x, x, g, "gaussian"), _gaussian_loops, ("g",))
    yield Case("NonLocal", "embedded_gaussian, no image", {
        "theta": np.zeros((0, 4, 3)), "phi": np.zeros((0, 2, 3)), "g": np.zeros((0, 2, 2))},
        L.attend, lambda theta, phi, g: _stock(theta, phi, g, "embedded_gaussian", None),
        lambda theta, phi, g: np.zeros((0, 4, 2)), lambda dy, *given: [np.zeros_like(one) for one in given])
    yield _block(random, "embedded_gaussian", subsample=2, normalize=False)
    yield _block(random, "gaussian", subsample=1, normalize=True)


def _gaussian_loops(dy, x, g):
    dtheta, dphi, dg = reference.attend_gradients(dy, x, x, g, "gaussian")
    return dtheta + dphi, dg


def _block(random, kind, subsample, normalize) -> Case:
    """The layer as a whole, in training: embeddings, subsampling, W_z, batch normalisation and the input added."""
    shape, narrow, epsilon = (2, 4, 2, 3), 2, 1e-5
    layers = {dtype: L.NonLocal(kind, narrow, normalize, subsample, dtype=dtype) for dtype in (precision(), "float32")}
    for layer in layers.values():
        layer.build((None, *shape[1:]))
    weights = {"W_g": (3, narrow), "W_z": (narrow, 3), **(dict(gamma=(3,), beta=(3,)) if normalize else {})}
    if kind != "gaussian":
        weights = {"W_theta": (3, narrow), "W_phi": (3, narrow), **weights}
    named = lambda given: dict(zip(weights, given))                                     # noqa: E731
    flat = lambda a: a.reshape(a.shape[0], -1, a.shape[-1])                             # noqa: E731
    small = (subsample,) * 2

    def ours(x, *given):
        layer = layers[keras.backend.standardize_dtype(x.dtype)]
        with keras.StatelessScope(zip(layer.trainable_variables, given)):
            return layer(x, training=True)

    def stock(x, *given):
        w = named(given)
        theta, phi, g = (ops.matmul(x, w[name]) if name in w else x for name in ("W_theta", "W_phi", "W_g"))
        phi, g = (a if subsample == 1 else ops.max_pool(a, small, small, data_format="channels_last") for a in (phi, g))
        theta, phi, g = (ops.reshape(a, (shape[0], -1, a.shape[-1])) for a in (theta, phi, g))
        z = ops.reshape(ops.matmul(_stock(theta, phi, g, kind, None), w["W_z"]), shape)
        if normalize:
            centred = z - ops.mean(z, (0, 1, 2))
            z = w["gamma"] * centred / ops.sqrt(ops.mean(ops.square(centred), (0, 1, 2)) + epsilon) + w["beta"]
        return x + z

    def steps(x, w):
        """The embeddings, the same where they are looked for, y and W_z y."""
        wide = {name: x @ w[f"W_{name}"] if f"W_{name}" in w else x for name in ("theta", "phi", "g")}
        seen = wide | {name: reference.max_pool(wide[name], small, small, "valid") for name in ("phi", "g")}
        y = reference.attend(*(flat(seen[name]) for name in ("theta", "phi", "g")), kind)
        return wide, seen, y, (y @ w["W_z"]).reshape(shape)

    def output(x, *given):
        w = named(given)
        z = steps(x, w)[-1]
        return x + (reference.batch_norm(z, w["gamma"], w["beta"], epsilon) if normalize else z)

    def loops(dy, x, *given):
        w, dw, dz, dx = named(given), {}, dy, dy.copy()
        wide, seen, y, z = steps(x, w)
        if normalize:
            dz, dw["gamma"], dw["beta"] = reference.batch_norm_gradients(dy, z, w["gamma"], epsilon)
        dw["W_z"] = np.einsum("npc,npk->ck", y, flat(dz))
        found = reference.attend_gradients(flat(dz) @ w["W_z"].T, *(flat(seen[name]) for name in seen), kind)
        for name, done in zip(seen, found):
            done = done.reshape(seen[name].shape)
            if name != "theta":
                done = reference.max_pool_gradient(done, wide[name], small, small, "valid")
            if f"W_{name}" in w:
                dw[f"W_{name}"] = np.einsum("nhwc,nhwk->ck", x, done)
                done = done @ w[f"W_{name}"].T
            dx += done
        return dx, *(dw[name] for name in weights)

    text = f"the block: {kind}, subsample {subsample}, " + ("batch normalisation" if normalize else "W_z alone")
    return Case("NonLocal", text, {"input": random.normal(size=shape)} | {
        name: random.normal(size=size) for name, size in weights.items()}, ours, stock, output, loops)


def _stock(theta, phi, g, kind, pair_kernel):
    if kind == "concatenation":
        shape = (2, theta.shape[1], phi.shape[1], 3)
        ends = ops.broadcast_to(theta[:, :, None], shape), ops.broadcast_to(phi[:, None], shape)
        pairs = ops.concatenate(ends, -1)
        affinity = ops.relu(ops.matmul(pairs, pair_kernel)[..., 0]) / shape[2]
    else:
        affinity = ops.einsum("nid,njd->nij", theta, phi)
        affinity = affinity / phi.shape[1] if kind == "dot_product" else ops.softmax(affinity)
    return ops.einsum("nij,njc->nic", affinity, g)
