"""The non-local operation, pair by pair."""
from itertools import product

import numpy as np


def attend(theta, phi, g, kind, pair_kernel=None):
    """y_i = Σ_j f_ij g_j/C_i."""
    y = np.zeros((*theta.shape[:2], g.shape[-1]), g.dtype)
    for n, i in product(*map(range, theta.shape[:2])):
        f = [_pair(theta[n, i], phi[n, j], kind, pair_kernel) for j in range(phi.shape[1])]
        for j in range(phi.shape[1]):
            y[n, i] += f[j] * g[n, j] / _normaliser(f, kind)
    return y


def attend_gradients(dy, theta, phi, g, kind, pair_kernel=None):
    """(dθ, dφ, dg) and dw for a concatenation: by the quotient rule, f_ij standing in y_i and in C_i."""
    dtheta, dphi, dg = (np.zeros_like(array) for array in (theta, phi, g))
    dpair = None if pair_kernel is None else np.zeros_like(pair_kernel)
    for n, i in product(*map(range, theta.shape[:2])):
        positions = range(phi.shape[1])
        f = [_pair(theta[n, i], phi[n, j], kind, pair_kernel) for j in positions]
        total = _normaliser(f, kind)
        for j in positions:
            dg[n, j] += dy[n, i] * f[j] / total
            df = (dy[n, i] * g[n, j]).sum() / total
            if kind.endswith("gaussian"):
                df -= sum((dy[n, i] * g[n, m]).sum() * f[m] for m in positions) / total**2
            if kind == "concatenation":
                embedded = len(theta[n, i])
                slope = float(f[j] > 0)
                dtheta[n, i] += df * slope * pair_kernel[:embedded, 0]
                dphi[n, j] += df * slope * pair_kernel[embedded:, 0]
                dpair[:, 0] += df * slope * np.concatenate([theta[n, i], phi[n, j]])
            else:
                slope = f[j] if kind.endswith("gaussian") else 1
                dtheta[n, i] += df * slope * phi[n, j]
                dphi[n, j] += df * slope * theta[n, i]
    return (dtheta, dphi, dg) if dpair is None else (dtheta, dphi, dg, dpair)


def _pair(theta, phi, kind, pair_kernel):
    if kind == "concatenation":
        return max(0.0, float(np.concatenate([theta, phi]) @ pair_kernel[:, 0]))
    product = sum(a * b for a, b in zip(theta, phi))
    return product if kind == "dot_product" else np.exp(product)


def _normaliser(f, kind):
    return sum(f) if kind.endswith("gaussian") else len(f)
