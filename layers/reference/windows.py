"""Where a window looks, position by position."""
from itertools import product


def padding_of(n, k, stride, padding, dilation=1):
    """(before, outputs) along one axis: TensorFlow's rule for `same`; `causal` has it all before."""
    extent = (k - 1) * dilation + 1
    if padding == "valid":
        return 0, (n - extent) // stride + 1
    outputs = -(-n // stride)
    if padding == "causal":
        return extent - 1, outputs
    return max((outputs - 1) * stride + extent - n, 0) // 2, outputs


def looks(x_shape, size, strides, padding, dilation):
    """All (p, t, q): output position, tap, and the input position that they meet; padded positions left out."""
    axes = [padding_of(n, k, s, padding, d) for n, k, s, d in zip(x_shape[1:-1], size, strides, dilation)]
    for p in product(*(range(outputs) for _, outputs in axes)):
        for t in product(*(range(k) for k in size)):
            q = tuple(pi * s + ti * d - before
                      for pi, s, ti, d, (before, _) in zip(p, strides, t, dilation, axes))
            if all(0 <= qi < n for qi, n in zip(q, x_shape[1:-1])):
                yield p, t, q


def outputs_of(x_shape, size, strides, padding, dilation):
    return tuple(padding_of(n, k, s, padding, d)[1]
                 for n, k, s, d in zip(x_shape[1:-1], size, strides, dilation))
