"""Every operator's backward pass against four independent witnesses; the evidence becomes a record.

    loops                 the definition in layers/reference.py, float64
    autodiff              TensorFlow's own gradient of the stock operator, float64
    central differences   of our forward pass, float64, every coordinate moved by ±1e-5
    adjoint               ⟨Y, dY⟩ = ⟨X, dX⟩ in float64, for arguments in which the operator is linear
    compiled              the same in float32 under tf.function and under XLA with an unknown batch, against eager
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from .. import layers as L
from ..layers import dense, normalization, pooling, radial, reference, structure
from ..layers.convolution import TableConv2D

# Largest relative error, max|a − b| / max|b|, fixed in advance: float64 rounding with room for sums of thousands of
# terms; for differences the truncation error of the step; for float32 the same in units of its precision.
THRESHOLDS = {"loops": 1e-10, "autodiff": 1e-10, "central differences": 1e-6, "adjoint": 1e-12, "compiled": 1e-5}


@dataclass(frozen=True)
class Case:
    """One operator on given arguments (name → float64 array); functions take the arguments in that order.

    loops(dy, *arguments) -> one gradient an argument. linear: the arguments in which the operator is linear.
    """
    operator: str
    text: str
    arguments: dict
    ours: Callable
    stock: Callable
    loops: Callable
    linear: tuple[str, ...] = ()
    differentiable: bool = True         # False: a tie or a kink, where central differences mean nothing


def cases(seed: int = 0) -> Iterator[Case]:
    """The grid: stride × padding × dilation × groups, odd and even sizes, size 1, kernels larger than the input."""
    random = np.random.default_rng(seed)
    yield from _convolutions(random)
    yield from _pools(random)
    yield from _others(random)


def _convolutions(random) -> Iterator[Case]:
    grid = [
        # input   kernel  stride  padding  dilation groups channels filters
        ((5, 6), (3, 3), (1, 1), "same", 1, 1, 3, 4),
        ((5, 6), (3, 2), (1, 1), "valid", 1, 1, 2, 3),
        ((6, 5), (2, 2), (1, 1), "same", 1, 1, 2, 3),
        ((7, 6), (3, 3), (2, 2), "same", 1, 1, 2, 3),
        ((6, 7), (3, 3), (2, 3), "valid", 1, 1, 2, 3),
        ((7, 7), (2, 2), (3, 3), "valid", 1, 1, 2, 2),
        ((6, 6), (1, 1), (2, 2), "same", 1, 1, 3, 2),
        ((7, 7), (3, 3), (1, 1), "same", 2, 1, 2, 2),
        ((8, 7), (3, 2), (1, 1), "valid", 2, 1, 2, 2),
        ((8, 8), (3, 3), (2, 2), "same", 2, 1, 2, 2),
        ((2, 3), (5, 5), (1, 1), "same", 1, 1, 2, 2),
        ((1, 1), (3, 3), (1, 1), "same", 1, 1, 2, 2),
        ((5, 5), (3, 3), (1, 1), "same", 1, 2, 4, 6),
        ((5, 6), (3, 3), (2, 2), "same", 1, 2, 4, 4),
        ((6, 5), (2, 2), (2, 2), "valid", 2, 4, 4, 4),
    ]
    for space, size, strides, padding, dilation, groups, channels, filters in grid:
        def ours(x, w, strides=strides, padding=padding, dilation=dilation):
            return L.convolve(x, w, strides, padding, dilation)

        def stock(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups):
            return _stock_convolution(x, w, strides, padding, dilation, groups)

        def loops(dy, x, w, strides=strides, padding=padding, dilation=dilation):
            return reference.convolution_gradients(dy, x, w, strides, padding, (dilation, dilation))

        text = (f"{space[0]}×{space[1]}, kernel {size[0]}×{size[1]}, stride {strides[0]}×{strides[1]}, {padding}"
                + (f", dilation {dilation}" if dilation > 1 else "") + (f", {groups} groups" if groups > 1 else ""))
        yield Case("Conv2D", text, {
            "input": random.normal(size=(2, *space, channels)),
            "kernel": random.normal(size=(*size, channels // groups, filters))}, ours, stock, loops, ("input", "kernel"))


def _stock_convolution(x, w, strides, padding, dilation, groups):
    """keras.ops.conv; group by group, and with the dilation's zeros written into the kernel where both are above 1."""
    if dilation > 1 and max(strides) > 1:
        size = [(k - 1) * dilation + 1 for k in w.shape[:2]]
        spread = [np.eye(n)[::dilation] for n in size]
        w = ops.einsum("ia,jb,ijck->abck", *spread, w)
        dilation = 1
    parts = [ops.conv(a, b, strides=strides, padding=padding, dilation_rate=dilation, data_format="channels_last")
             for a, b in zip(ops.split(x, groups, -1), ops.split(w, groups, -1))]
    return ops.concatenate(parts, -1)


def _pools(random) -> Iterator[Case]:
    grid = [
        ((4, 4), (2, 2), (2, 2), "valid"),
        ((5, 6), (3, 3), (2, 2), "same"),
        ((7, 5), (3, 2), (2, 1), "valid"),
        ((5, 5), (2, 2), (3, 3), "valid"),
        ((3, 2), (4, 4), (1, 1), "same"),
        ((1, 1), (1, 1), (1, 1), "valid"),
    ]
    kinds = (("MaxPooling2D", L.max_pool, ops.max_pool, reference.max_pool_gradient),
             ("AveragePooling2D", L.average_pool, ops.average_pool, reference.average_pool_gradient))
    for name, function, operator, definition in kinds:
        for space, size, strides, padding in grid:
            for ties in ((False, True) if name == "MaxPooling2D" else (False,)):
                x = random.normal(size=(2, *space, 3))
                x = np.round(x) if ties else x
                yield Case(
                    name, f"{space[0]}×{space[1]}, window {size[0]}×{size[1]}, stride {strides[0]}×{strides[1]}, "
                          f"{padding}" + (", ties" if ties else ""), {"input": x},
                    lambda x, a=(size, strides, padding), f=function: f(x, *a),
                    lambda x, a=(size, strides, padding), f=operator: f(x, *a, data_format="channels_last"),
                    lambda dy, x, a=(size, strides, padding), f=definition: [f(dy, x, *a)],
                    ("input",) if name == "AveragePooling2D" else (), not ties)
    yield Case("GlobalAveragePooling2D", "3×5", {"input": random.normal(size=(2, 3, 5, 4))},
               L.global_average_pool, lambda x: ops.mean(x, axis=(1, 2)),
               lambda dy, x: [reference.global_average_pool_gradient(dy, x)], ("input",))
    yield Case("Subsampling2D", "4×6, window 2×2", {
        "input": random.normal(size=(2, 4, 6, 3)), "coefficient": random.normal(size=3), "bias": random.normal(size=3)},
        lambda x, w, b: pooling.subsample(x, w, b, 2),
        lambda x, w, b: 4 * ops.average_pool(x, 2, 2, data_format="channels_last") * w + b,
        lambda dy, x, w, b: reference.subsampling_gradients(dy, x, w, 2))


def _others(random) -> Iterator[Case]:
    yield Case("Dense", "3×4 to 5", {
        "input": random.normal(size=(3, 4)), "kernel": random.normal(size=(4, 5)), "bias": random.normal(size=5)},
        lambda x, w, b: dense.add_bias(dense.multiply(x, w), b), lambda x, w, b: ops.matmul(x, w) + b,
        lambda dy, x, w, b: reference.dense_gradients(dy, x, w))
    x = random.normal(size=(4, 30))
    x = np.where(np.abs(x) < 1e-2, 1.0, x)              # away from the kink
    definitions = {
        "ReLU": (L.relu, keras.activations.relu, lambda dy, x: [dy * (x > 0)]),
        "Tanh": (L.tanh, ops.tanh, lambda dy, x: [dy / np.cosh(x)**2]),
        "Sigmoid": (L.sigmoid, ops.sigmoid, lambda dy, x: [dy * np.exp(-x) / (1 + np.exp(-x))**2]),
        "ScaledTanh": (L.scaled_tanh, lambda x: 1.7159 * ops.tanh(2 / 3 * x),
                       lambda dy, x: [dy * 1.7159 * 2 / 3 / np.cosh(2 / 3 * x)**2])}
    for name, (ours, stock, loops) in definitions.items():
        yield Case(name, "120 numbers", {"input": x}, ours, stock, loops)
    yield Case("ReLU", "slope 0.1, ceiling 1, threshold 0.2", {"input": x},
               lambda x: L.relu(x, 0.1, 1.0, 0.2), lambda x: keras.activations.relu(x, 0.1, 1.0, 0.2),
               lambda dy, x: [dy * np.where(x > 0.2, np.where(x < 1.0, 1.0, 0.0), 0.1)])
    yield from _normalizations(random)
    yield Case("PadChannels", "2 to 5 channels", {"input": random.normal(size=(2, 3, 3, 2))},
               lambda x: structure.pad_channels(x, 5), lambda x: ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, 3)]),
               lambda dy, x: [dy[..., :2].copy()], ("input",))
    yield Case("RadialBasis", "4 to 3 centres", {
        "input": random.normal(size=(3, 4)), "centres": random.normal(size=(3, 4))}, radial.negative_penalty,
        lambda x, c: -ops.sum(ops.square(x[:, None] - c[None]), axis=-1), reference.radial_gradients)
    labels = np.array([0, 2, 1])
    yield Case("MAP loss", "3 images, 4 classes, j = 1", {"logits": random.normal(size=(3, 4))},
               lambda z: L.map_loss(labels, z, 1.0),
               lambda z: ops.log(np.exp(-1.0) + ops.sum(ops.exp(z), axis=1))
               - ops.sum(z * np.eye(4)[labels], axis=1),
               lambda de, z: [reference.map_loss_gradient(de, labels, z, 1.0)])
    layer = TableConv2D([(0, 1), (1, 2), (0, 1, 2)], 2, dtype="float64")
    layer.build((None, 4, 4, 3))
    spread = layer.spread.astype("float64")

    def table_loops(dy, x, w):
        wide = (w @ spread).reshape(2, 2, 3, 3)
        dx, dwide = reference.convolution_gradients(dy, x, wide, (1, 1))
        pairs = [(c, k) for k, row in enumerate(layer.table) for c in row]
        return dx, np.stack([dwide[:, :, c, k] for c, k in pairs], -1)

    def table_ours(x, w):
        return L.convolve(x, layer.dense_kernel(w))

    yield Case("TableConv2D", "4×4, kernel 2×2, 7 of 9 connections", {
        "input": random.normal(size=(2, 4, 4, 3)), "kernel": random.normal(size=(2, 2, 7))}, table_ours,
        lambda x, w: ops.conv(x, ops.reshape(ops.matmul(w, ops.cast(spread, w.dtype)), (2, 2, 3, 3)),
                              data_format="channels_last"),
        table_loops, ("input", "kernel"))


def _normalizations(random) -> Iterator[Case]:
    axes, epsilon = (0, 1, 2), 1e-3
    arguments = {"input": 1 + 2 * random.normal(size=(3, 2, 4, 3)),
                 "gamma": random.normal(size=3), "beta": random.normal(size=3)}
    wide = lambda v: ops.reshape(v, (1, 1, 1, -1))                                      # noqa: E731

    def ours(x, gamma, beta):
        mean, variance = ops.moments(ops.stop_gradient(x), axes, keepdims=True)
        return normalization.batch_normalize(x, wide(gamma), wide(beta), axes, epsilon, mean, variance)

    def stock(x, gamma, beta):
        mean, variance = ops.moments(x, axes)
        return ops.batch_normalization(x, mean, variance, -1, beta, gamma, epsilon)

    yield Case("BatchNormalization", "3×2×4, training", arguments, ours, stock,
               lambda dy, x, gamma, beta: reference.batch_norm_gradients(dy, x, gamma, epsilon))
    mean, variance = random.normal(size=3), random.uniform(0.5, 2, size=3)

    def frozen(x, gamma, beta):
        cast = lambda v: wide(ops.cast(v, x.dtype))                                     # noqa: E731
        return normalization.normalize_by(x, wide(gamma), wide(beta), axes, epsilon, cast(mean), cast(variance))

    def frozen_stock(x, gamma, beta):
        return (x - ops.cast(mean, x.dtype)) / ops.cast(np.sqrt(variance + epsilon), x.dtype) * gamma + beta

    def frozen_loops(dy, x, gamma, beta):
        normal = (x - mean) / np.sqrt(variance + epsilon)
        return dy * gamma / np.sqrt(variance + epsilon), (dy * normal).sum(axes), dy.sum(axes)

    yield Case("BatchNormalization", "3×2×4, prediction", arguments, frozen, frozen_stock, frozen_loops)


# ------------------------------------------------------------------------------------------------- witnesses

def gradients(function: Callable, tensors, dy, compile_as: str = "") -> list[np.ndarray]:
    """Gradients of Σ dy·function(*tensors) on TensorFlow; compile_as: "", "graph" or "xla" (batch unknown)."""
    import tensorflow as tf
    tensors = [tf.constant(tensor) for tensor in tensors]
    dy = tf.constant(dy, tensors[0].dtype)

    def run(dy, *tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = function(*tensors)
        return tape.gradient(y, tensors, output_gradients=dy)

    if compile_as:
        free = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) if i < 2 and t.shape.rank and t.shape[0] == dy.shape[0]
                else tf.TensorSpec(t.shape, t.dtype) for i, t in enumerate((dy, *tensors))]
        run = tf.function(run, input_signature=free, jit_compile=compile_as == "xla", autograph=False)
    return [gradient.numpy() for gradient in run(dy, *tensors)]


def _graph(function: Callable) -> Callable:
    """The function of arrays as one graph: central differences call it hundreds of times."""
    import tensorflow as tf
    compiled = tf.function(function, autograph=False)
    return lambda *arrays: compiled(*map(tf.constant, arrays)).numpy()


def error_of(found, expected) -> float:
    """max|a − b| / max|b| over all entries; infinite where a shape differs or a value is no number."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-3)
    return float(np.abs(found - expected).max(initial=0.0)) / scale


def examine(case: Case, seed: int = 0, compiled: bool = True) -> list[dict]:
    """All comparisons of one case, as rows of the record."""
    names, tensors = list(case.arguments), list(case.arguments.values())
    y = np.asarray(case.ours(*map(ops.convert_to_tensor, tensors)))
    dy = np.random.default_rng(seed).normal(size=y.shape)
    ours = gradients(case.ours, tensors, dy)
    witnesses = {"loops": case.loops(dy, *tensors), "autodiff": gradients(case.stock, tensors, dy)}
    if case.differentiable:
        witnesses["central differences"] = reference.central_differences(_graph(case.ours), tensors, dy)
    rows = [_row(case, name, against, error_of(found, expected))
            for against, all_expected in witnesses.items()
            for name, found, expected in zip(names, ours, all_expected)]
    product = float((y * dy).sum())
    for name, tensor, found in zip(names, tensors, ours):
        if name in case.linear:
            scale = float(np.abs(y * dy).sum())
            rows.append(_row(case, name, "adjoint", abs(float((tensor * found).sum()) - product) / scale))
    if compiled:
        small = [tensor.astype("float32") for tensor in tensors]
        eager = gradients(case.ours, small, dy.astype("float32"))
        for form in ("graph", "xla"):
            for name, found, expected in zip(names, gradients(case.ours, small, dy.astype("float32"), form), eager):
                rows.append(_row(case, name, "compiled", error_of(found, expected), "float32", form))
    return rows


def _row(case, argument, against, error, dtype="float64", form="") -> dict:
    threshold = THRESHOLDS[against]
    return {"operator": case.operator, "case": case.text, "argument": argument,
            "against": f"compiled ({form})" if form else against, "dtype": dtype, "compiled": bool(form),
            "error": error, "threshold": threshold, "passed": error <= threshold}


def check(operators=None, compiled: bool = True) -> list[dict]:
    """Rows of evidence for all operators, or those named. Raises LookupError for an unknown name."""
    known = list(cases())
    names = sorted({case.operator for case in known})
    for name in operators or ():
        if name not in names:
            raise LookupError(f"no operator {name!r}; there are {', '.join(names)}")
    rows = []
    for case in known:
        if not operators or case.operator in operators:
            rows += examine(case, compiled=compiled)
    return rows


def summary(rows) -> str:
    """The worst error of every operator against every witness, then whatever is beyond its threshold."""
    witnesses = list(dict.fromkeys(row["against"] for row in rows))
    lines = [f"{'worst error against':22s}" + "".join(f"  {name:>10s}" for name in witnesses)]
    for operator in dict.fromkeys(row["operator"] for row in rows):
        line = f"{operator:22s}"
        for name in witnesses:
            errors = [row["error"] for row in rows if (row["operator"], row["against"]) == (operator, name)]
            line += f"  {f'{max(errors):.1e}' if errors else '–':>{max(len(name), 10)}s}"
        lines.append(line)
    lines += [f"FAIL {row['operator']} ({row['case']}), {row['argument']} against {row['against']}: "
              f"{row['error']:.1e}, allowed {row['threshold']:.0e}" for row in rows if not row["passed"]]
    return "\n".join(lines)
