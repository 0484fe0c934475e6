"""Capsules, their routing and their loss."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import capsule, reference
from .case import Case
from .convolutions import stock_convolution


def cases(random) -> Iterator[Case]:
    """Short and long vectors; one to three iterations; one capsule below; one class, several and none."""
    s = random.normal(size=(4, 3))
    yield Case("Squash", "4 capsules of 3", {"input": s}, L.squash, _squash, reference.squash,
               lambda dv, s: [reference.squash_gradient(dv, s)])
    for scale in (0.01, 100):
        yield Case("Squash", f"lengths around {scale}", {"input": scale * s}, L.squash, _squash, reference.squash,
                   lambda dv, s: [reference.squash_gradient(dv, s)], smooth=scale > 1)     # for steps of 1e-5
    yield Case("CapsuleLength", "2×3 capsules of 4", {"input": random.normal(size=(2, 3, 4))}, L.capsule_length,
               lambda v: ops.sqrt(ops.sum(v * v, -1)), reference.capsule_length,
               lambda dy, v: [reference.capsule_length_gradient(dy, v)])
    for iterations, (below, above) in ((1, (3, 2)), (2, (1, 2)), (3, (4, 3))):
        yield Case("DynamicRouting", f"{below} to {above} capsules, iterations: {iterations}", {
            "input": random.normal(size=(2, below, 2)), "kernel": random.normal(size=(below, above, 2, 3))},
            lambda u, w, r=iterations: L.routing(capsule.predict(u, w), r),
            lambda u, w, r=iterations: _routing(u, w, r),
            lambda u, w, r=iterations: reference.dynamic_routing(u, w, r),
            lambda dv, u, w, r=iterations: reference.dynamic_routing_gradients(dv, u, w, r))
    for strides, padding in ((1, "valid"), (2, "same")):
        yield _primary(random, strides, padding)
    yield from _without_images(random)
    yield Case("CapsuleLength", "3 capsules of one unit", {"input": random.normal(size=(3, 1))}, L.capsule_length,
               lambda v: ops.sqrt(ops.sum(v * v, -1)), reference.capsule_length,
               lambda dy, v: [reference.capsule_length_gradient(dy, v)])
    lengths = random.uniform(size=(4, 3))
    for labels in (np.array([0, 2, 1, 1]), np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])):
        present = np.eye(3)[labels] if labels.ndim == 1 else labels
        yield Case("Margin loss", "4 images, " + ("one class" if labels.ndim == 1 else "any number of classes"),
                   {"lengths": lengths}, lambda x, labels=labels: L.margin_loss(labels, x),
                   lambda x, present=present: _margin_loss(ops.convert_to_tensor(present, x.dtype), x),
                   lambda x, present=present: reference.margin_loss(present, x),
                   lambda de, x, present=present: [reference.margin_loss_gradient(de, present, x)])


def _without_images(random) -> Iterator[Case]:
    nothing = lambda dy, *given: [np.zeros_like(one) for one in given]                  # noqa: E731
    yield Case("Squash", "no capsules", {"input": np.zeros((0, 3))}, L.squash, _squash, reference.squash, nothing)
    yield Case("CapsuleLength", "no image", {"input": np.zeros((0, 3, 4))}, L.capsule_length,
               lambda v: ops.sqrt(ops.sum(v * v, -1)), reference.capsule_length, nothing)
    yield Case("DynamicRouting", "3 to 2 capsules of no image", {
        "input": np.zeros((0, 3, 2)), "kernel": random.normal(size=(3, 2, 2, 3))},
        lambda u, w: L.routing(capsule.predict(u, w), 2), lambda u, w: _routing(u, w, 2),
        lambda u, w: np.zeros((0, 2, 3)), nothing)
    yield Case("Margin loss", "no image", {"lengths": np.zeros((0, 3))},
               lambda x: L.margin_loss(np.zeros(0, "int32"), x), lambda x: _margin_loss(ops.zeros_like(x), x),
               lambda x: np.zeros(0), nothing)
    yield _primary(random, 2, "same", images=0)


def _primary(random, strides, padding, images=2) -> Case:
    layer = L.PrimaryCapsules(2, 3, kernel_size=2, strides=strides, padding=padding)
    per_image = layer.compute_output_shape((images, 3, 4, 2))[1]

    def convolved(x, w, b):
        return reference.convolution(x, w, (strides, strides), padding) + b

    def loops(dv, x, w, b):
        y = convolved(x, w, b)
        ds = reference.squash_gradient(dv, y.reshape(images, per_image, 3)).reshape(y.shape)
        return *reference.convolution_gradients(ds, x, w, (strides, strides), padding), ds.sum(axis=(0, 1, 2))

    def stock(x, w, b):
        y = stock_convolution(x, w, (strides, strides), padding, 1, 1) + b
        return _squash(ops.reshape(y, (-1, int(np.prod(y.shape[1:])) // 3, 3)))

    return Case("PrimaryCapsules", f"3×4, kernel 2×2, stride {strides}, {padding}"
                + ("" if images else ", no images"), {
        "input": random.normal(size=(images, 3, 4, 2)), "kernel": random.normal(size=(2, 2, 2, 6)),
        "bias": random.normal(size=6)}, layer.capsules_of, stock,
        lambda x, w, b: reference.squash(convolved(x, w, b).reshape(images, per_image, 3)), loops)


def _squash(s):
    squared = ops.sum(s * s, axis=-1, keepdims=True)
    return squared / (1 + squared) * s / ops.sqrt(squared)


def _routing(u, w, iterations):
    predictions = ops.einsum("nid,ijde->nije", u, w)
    logits = ops.zeros_like(predictions[..., 0])
    for iteration in range(iterations):
        v = _squash(ops.einsum("nij,nije->nje", ops.softmax(logits), predictions))
        logits = logits + ops.einsum("nije,nje->nij", predictions, v)
    return v


def _margin_loss(present, lengths):
    loss = present * ops.relu(0.9 - lengths)**2 + 0.5 * (1 - present) * ops.relu(lengths - 0.1)**2
    return ops.sum(loss, axis=-1)
