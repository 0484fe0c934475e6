"""Losses, image by image."""
import numpy as np

from .activations import softmax


def cross_entropy(target, logits):
    """−Σ_k t_k log y_k, y = softmax z; target (N, K), logits (N, K) → (N,)."""
    loss, y = np.zeros(len(logits)), softmax(logits)
    for n, k in np.ndindex(logits.shape):
        loss[n] -= target[n, k] * np.log(y[n, k])
    return loss


def cross_entropy_gradient(de, target, logits):
    """dz: of each term t_k log y_k the derivative t_k ([i = k] − y_i)."""
    dz, y = np.zeros_like(logits), softmax(logits)
    for n, k in np.ndindex(logits.shape):
        for i in range(logits.shape[1]):
            dz[n, i] -= de[n] * target[n, k] * ((i == k) - y[n, i])
    return dz
