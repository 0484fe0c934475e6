"""Capsules, vector by vector."""
from itertools import product

import numpy as np


def squash(s):
    """v = ‖s‖²/(1 + ‖s‖²) · s/‖s‖."""
    v = np.zeros_like(s)
    for place in np.ndindex(*s.shape[:-1]):
        length = np.sqrt((s[place]**2).sum())
        if length:
            v[place] = length**2 / (1 + length**2) * s[place] / length
    return v


def squash_gradient(dv, s):
    """ds by the matrix of all ∂v_d/∂s_e, from v_d = s_d ‖s‖/(1 + ‖s‖²)."""
    ds = np.zeros_like(s)
    for place in np.ndindex(*s.shape[:-1]):
        vector = s[place]
        length = np.sqrt((vector**2).sum())
        if not length:
            continue
        for d, e in product(range(len(vector)), repeat=2):
            dlength = vector[e] / length
            dfactor = dlength / (1 + length**2) - length * 2 * length * dlength / (1 + length**2)**2
            ds[(*place, e)] += dv[(*place, d)] * ((d == e) * length / (1 + length**2) + vector[d] * dfactor)
    return ds


def capsule_length(v):
    """‖v‖."""
    return np.array([np.sqrt((v[place]**2).sum()) for place in np.ndindex(*v.shape[:-1])]).reshape(v.shape[:-1])


def capsule_length_gradient(dy, v):
    """dv = v/‖v‖ dy."""
    dv = np.zeros_like(v)
    for place in np.ndindex(*v.shape[:-1]):
        length = np.sqrt((v[place]**2).sum())
        if length:
            dv[place] = dy[place] * v[place] / length
    return dv


def dynamic_routing(u, kernel, iterations):
    """Procedure 1 on û_j|i = W_ij u_i, for u (N, I, D) and W (I, J, D, E): v (N, J, E)."""
    return np.array([_route(image, kernel, iterations)[-1][-1] for image in u]).reshape(
        (len(u), kernel.shape[1], kernel.shape[3]))


def _route(u, kernel, iterations):
    """û (I, J, E); then (c, s, v) of every iteration of one image."""
    below, above, _, units = kernel.shape
    predictions = np.zeros((below, above, units))
    for i, j in product(range(below), range(above)):
        predictions[i, j] = u[i] @ kernel[i, j]
    b, steps = np.zeros((below, above)), [predictions]
    for _ in range(iterations):
        c = np.array([np.exp(row) / np.exp(row).sum() for row in b])
        s = np.array([sum(c[i, j] * predictions[i, j] for i in range(below)) for j in range(above)])
        v = squash(s)
        steps.append((c, s, v))
        for i, j in product(range(below), range(above)):
            b[i, j] += predictions[i, j] @ v[j]
    return steps


def dynamic_routing_gradients(dv, u, kernel, iterations):
    """(du, dW): the derivatives of b, s and v by every single û, carried forward through the iterations."""
    du, dkernel = np.zeros_like(u), np.zeros_like(kernel)
    for n, image in enumerate(u):
        predictions, *steps = _route(image, kernel, iterations)
        for i, j, e in np.ndindex(*predictions.shape):
            moved = (_routing_derivative(predictions, steps, (i, j, e)) * dv[n]).sum()
            du[n, i] += moved * kernel[i, j, :, e]
            dkernel[i, j, :, e] += moved * image[i]
    return du, dkernel


def _routing_derivative(predictions, steps, moved):
    """∂v/∂û_moved (J, E): forward mode, where the layers go backward."""
    dpredictions = np.zeros_like(predictions)
    dpredictions[moved] = 1
    db = np.zeros(predictions.shape[:2])
    for c, s, v in steps:
        dc, ds = np.zeros_like(c), np.zeros_like(s)
        for i, j, k in product(range(c.shape[0]), range(c.shape[1]), range(c.shape[1])):
            dc[i, j] += c[i, j] * ((j == k) - c[i, k]) * db[i, k]
        for i, j in np.ndindex(*c.shape):
            ds[j] += dc[i, j] * predictions[i, j] + c[i, j] * dpredictions[i, j]
        dv = squash_gradient(ds, s)                     # ∂v_d/∂s_e = ∂v_e/∂s_d: forward as backward
        for i, j in np.ndindex(*c.shape):
            db[i, j] += dpredictions[i, j] @ v[j] + predictions[i, j] @ dv[j]
    return dv


def margin_loss(present, lengths):
    """Σ_k T_k max(0, 0.9 − ‖v_k‖)² + 0.5 (1 − T_k) max(0, ‖v_k‖ − 0.1)²."""
    loss = np.zeros(len(lengths))
    for n, k in np.ndindex(*lengths.shape):
        loss[n] += max(0, 0.9 - lengths[n, k])**2 if present[n, k] else 0.5 * max(0, lengths[n, k] - 0.1)**2
    return loss


def margin_loss_gradient(de, present, lengths):
    """d‖v_k‖."""
    dlengths = np.zeros_like(lengths)
    for n, k in np.ndindex(*lengths.shape):
        if present[n, k] and lengths[n, k] < 0.9:
            dlengths[n, k] = -2 * de[n] * (0.9 - lengths[n, k])
        elif not present[n, k] and lengths[n, k] > 0.1:
            dlengths[n, k] = de[n] * (lengths[n, k] - 0.1)
    return dlengths
