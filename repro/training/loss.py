"""The papers' losses, one number an image.

    cross_entropy    E = −Σ_k q_k log softmax(z)_k,  q = (1 − ε) t + ε/K;  ε: label_smoothing (Szegedy et al. 2016,
                     section 7);  t: the label, or soft targets (mixup);  + auxiliary · Σ E(z′) over the classifiers
                     on the way, in training (Szegedy et al. 2015, section 5)
    map              layers.map_loss (LeCun et al. 1998, equation 9)
    margin           E = Σ_k t_k max(0, upper − ‖v_k‖)² + down_weight (1 − t_k) max(0, ‖v_k‖ − lower)²
                     + reconstruction · Σ (x̂ − x)² over the pixels (Sabour et al. 2017, sections 3 and 4.1)
"""
import keras
from keras import ops

from ...layers import map_loss


def loss_of(resolved: dict):
    """The loss of a resolved recipe's table: loss(targets, outputs, images=None) → (N,).

    targets: (N,) integers, or (N, K) of which each row sums to 1. outputs: the network's, (N, K) logits, or a list
    that begins with them. images: the network's input, which only a reconstruction asks for. An image whose target
    is −1 gets some finite number: `counted` says which count.
    """
    if resolved["name"] == "map":
        return lambda targets, outputs, images=None: map_loss(
            ops.maximum(targets, 0), scores(outputs), resolved["j"])
    if resolved["name"] == "margin":
        return _margin_of(resolved)
    smoothing, auxiliary = resolved.get("label_smoothing", 0.0), resolved.get("auxiliary", 0.0)

    def loss(targets, outputs, images=None):
        total = cross_entropy(targets, scores(outputs), smoothing)
        if auxiliary:
            for on_the_way in others(outputs):
                total = total + auxiliary * cross_entropy(targets, on_the_way, smoothing)
        return total

    return loss


def scores(outputs):
    """What classifies an image: the only output, or the first of several."""
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def others(outputs) -> list:
    """The outputs behind the first: auxiliary classifiers, or the image that a decoder drew."""
    return list(outputs[1:]) if isinstance(outputs, (list, tuple)) else []


def counted(targets):
    """(N,) of 1 where a target counts and 0 where it is −1 (a node outside the split); soft targets count."""
    return ops.cast(targets >= 0, "float32") if len(targets.shape) == 1 else ops.ones_like(targets[:, 0])


def cross_entropy(targets, logits, smoothing=0.0):
    """(N,) from targets (N,) or (N, K) and logits (N, K), in float32 at least."""
    logits = _wide(logits)
    if len(targets.shape) == 1 and not smoothing:           # the fused form: no array of targets
        return ops.sparse_categorical_crossentropy(ops.maximum(targets, 0), logits, from_logits=True)
    classes = logits.shape[-1]
    return ops.categorical_crossentropy((1 - smoothing) * _soft(targets, logits) + smoothing / classes, logits,
                                        from_logits=True)


def _margin_of(resolved: dict):
    upper, lower = resolved.get("upper", 0.9), resolved.get("lower", 0.1)
    down_weight, weight = resolved.get("down_weight", 0.5), resolved.get("reconstruction", 0.0)

    def loss(targets, outputs, images=None):
        lengths = _wide(scores(outputs))
        present = _soft(targets, lengths)
        total = ops.sum(present * ops.square(ops.maximum(upper - lengths, 0))
                        + down_weight * (1 - present) * ops.square(ops.maximum(lengths - lower, 0)), axis=-1)
        drawn = others(outputs)
        if weight and drawn:
            if images is None:
                raise ValueError("the loss margin with a reconstruction needs the images as its third argument")
            difference = _wide(drawn[0]) - _wide(images)
            total = total + weight * ops.sum(ops.square(difference), axis=tuple(range(1, len(difference.shape))))
        return total

    return loss


def _soft(targets, like):
    """Targets as (N, K) in the type of `like` (N, K)."""
    if len(targets.shape) == 1:
        return ops.one_hot(targets, like.shape[-1], dtype=like.dtype)
    return ops.cast(targets, like.dtype)


def _wide(x):
    """Half precision has no room for sums and squares."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
