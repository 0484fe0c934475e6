"""The non-local operation."""
from collections.abc import Iterator

from keras import ops

from ... import layers as L
from ...layers import reference
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
