"""Every operator's output and backward pass against independent witnesses; the evidence becomes a record.

    loops                 the definition in layers/reference, float64
    stock                 Keras's own operator and the backend's own gradient of it
    central differences   of the forward pass, float64, every coordinate moved by ±1e-5
    adjoint               ⟨Y, dY⟩ = ⟨X, dX⟩ for arguments in which the operator is linear
    second derivatives    of the square of ours against those of the stock operator's, where it has them
    compiled              the same in float32 as the backend compiles it, with an unknown batch, against eager

All in float64 on TensorFlow. On JAX and PyTorch Keras computes in float32 even if told otherwise (its result_type
knows no float64 there): our side is float32 then, and the loops, in float64, are what the differences are taken of.
"""
from collections.abc import Iterator
from difflib import get_close_matches
from zlib import crc32

import numpy as np
from keras import ops

from ...layers import reference
from . import (activations, attention, capsules, convolutions, depthwise, graphs, local, losses, normalizations,
               pools, structures, units)
from .backends import as_function_of_arrays, evaluate, forms, gradients, precision, second_derivatives
from .case import Case

GROUPS = (convolutions, pools, units, activations, normalizations, structures, local, losses, graphs, attention,
          capsules, depthwise)

# Largest relative error, max|a − b| / max|b|, fixed in advance. float64: rounding with room for sums of thousands of
# terms; for differences the truncation error of the step. float32: the same in units of its precision.
THRESHOLDS = {
    "float64": {"loops": 1e-10, "stock": 1e-10, "central differences": 1e-6, "adjoint": 1e-12,
                "second derivatives": 1e-9},
    "float32": {"loops": 1e-5, "stock": 1e-5, "central differences": 1e-5, "adjoint": 1e-6,
                "second derivatives": 1e-4, "compiled": 1e-5},
}


def cases(seed: int = 0) -> Iterator[Case]:
    """All cases of all groups. Each group draws from a stream of its own, so that one may grow without the others."""
    for group in GROUPS:
        yield from group.cases(np.random.default_rng((seed, crc32(group.__name__.rpartition(".")[2].encode()))))


def error_of(found, expected) -> float:
    """max|a − b| / max|b| over all entries; infinite where a shape differs or a value is no number."""
    found, expected = (np.asarray(ops.convert_to_numpy(value)) for value in (found, expected))
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-3)
    return float(np.abs(found - expected).max(initial=0.0)) / scale


def examine(case: Case, seed: int = 0, compiled: bool = True, twice: bool = True) -> list[dict]:
    """All comparisons of one case, as rows of the record; without the compiled or the second derivatives if so told."""
    rows, dtype = [], precision()

    def compare(against, names, all_found, all_expected, dtype=dtype, form=""):
        for name, found, expected in zip(names, all_found, all_expected, strict=True):
            rows.append(_row(case, name, against, error_of(found, expected), dtype, form))

    exact, draw = list(case.arguments.values()), np.random.default_rng(seed).normal
    tensors, names = [tensor.astype(dtype) for tensor in exact], list(case.arguments)
    y = evaluate(case.ours, tensors)
    compare("loops", ["output"], [y], [case.output(*exact)])
    compare("stock", ["output"], [y], [evaluate(case.stock, tensors)])
    dy = draw(size=y.shape).astype(dtype)
    ours = gradients(case.ours, tensors, dy)
    compare("loops", names, ours, case.loops(dy.astype("float64"), *exact))
    compare("stock", names, ours, gradients(case.stock, tensors, dy))
    if case.smooth:
        # of our own forward pass where it computes in float64, of the loops where it does not
        function = as_function_of_arrays(case.ours) if dtype == "float64" else case.output
        compare("central differences", names, ours, reference.central_differences(function, exact, dy))
    if case.twice and twice:
        directions = [draw(size=tensor.shape).astype(dtype) for tensor in tensors]
        compare("second derivatives", [*names, "dy"], *(second_derivatives(squared(function), tensors, dy, directions)
                                                        for function in (case.ours, case.stock)))
    scale, product = float(np.abs(y * dy).sum()) or 1.0, float((y * dy).sum())
    for name, tensor, found in zip(names, tensors, ours):
        if name in case.linear:
            error = abs(float((tensor * found).sum()) - product) / scale
            rows.append(_row(case, name, "adjoint", error, dtype))
    small, dy = [tensor.astype("float32") for tensor in exact], dy.astype("float32")
    for form in forms() if compiled else ():
        compare("compiled", names, gradients(case.ours, small, dy, form), gradients(case.ours, small, dy),
                "float32", form)
    return rows


def _row(case, argument, against, error, dtype, form="") -> dict:
    threshold = THRESHOLDS[dtype][against]
    return {"operator": case.operator, "case": case.text, "argument": argument,
            "against": f"compiled ({form})" if form else against, "dtype": dtype, "compiled": bool(form),
            "error": error, "threshold": threshold, "passed": error <= threshold}


def squared(function):
    """function²: what reaches the operator's backward pass, 2·y·dy, depends on its input then, as in every network.

    A dy of its own would leave out how the backward pass depends on the output, and of a linear operator all but zeros.
    """
    return lambda *tensors: ops.square(function(*tensors))


def check(operators=None, compiled: bool = True, twice: bool = True) -> list[dict]:
    """Rows of evidence for all operators, or those named. Raises LookupError for an unknown name."""
    known = list(cases())
    names = sorted({case.operator for case in known})
    for name in operators or ():
        if name not in names:
            near = next((one for one in names if one.lower() == name.lower()), None) or next(
                iter(get_close_matches(name, names, 1)), None)
            raise LookupError(f"no operator {name!r}, did you mean {near!r}?" if near else
                              f"no operator {name!r}; there are {', '.join(names)}")
    rows = []
    for case in known:
        if not operators or case.operator in operators:
            rows += examine(case, compiled=compiled, twice=twice)
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
