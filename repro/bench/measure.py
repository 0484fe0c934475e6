"""The benchmark: rows of figures, each of two sides that were first found to compute the same.

    for row in bench(["resnet20_cifar"]): ...

A side whose gradients are wrong is not timed: being fast at something else is worth nothing.
"""
import math
import statistics

import keras
import numpy as np

from ..check.backends import precision
from . import backends, convolution_forms, harness, memory, names, networks, operators, pooling_forms
from .question import Inapplicable
from .timing import SAMPLE, alternate, figures

GOALS = {"mean": 1.0, "network": 0.9, "memory": 1.1}        # at least, at least, at most
KINDS = ("network", "operator", "form", "harness")

# Largest ‖a − b‖/‖b‖ of an output or gradient; accelerators multiply in TensorFloat-32, which has ten bits.
AGREEMENT, AGREEMENT_ON_ACCELERATORS = 1e-3, 3e-2
# A whole network's gradients are compared in float64. In float32, where Keras has no other, they say little: rectifiers
# have corners, of 128 images some lie close to one, and a rounding (1e-7) of the images moves stock's own by 2e-2.
AGREEMENT_OF_NETWORKS = {"float64": 1e-9, "float32": 5e-2}


def bench(chosen=(), kinds=KINDS[:2], rounds: int = 9, batch: int | None = None,
          form: str | None = None, sample: float = SAMPLE):
    """Rows of the record, one by one as they are measured; a whole question's forms together.

    chosen: names of networks and operators, all where empty. batch: another than the tables'.
    form: one of `backends.forms()`, the first by default. Raises LookupError for an unknown name.
    """
    names.check(chosen)
    form = form or backends.forms()[0]
    if "network" in kinds:
        for network in networks.NETWORKS:
            if not chosen or network.name in chosen:
                yield network_row(network, rounds, batch or network.batch, form, sample)
    if "harness" in kinds and not chosen:
        yield from harness.rows(rounds)
    wanted = [operator for operator in operators.OPERATORS if not chosen or operator.layer in chosen]
    for operator in wanted if "operator" in kinds else ():
        if operators.written_out(operator):
            yield operator_row(operator, rounds, batch or operator.batch, form, sample)
    for operator in wanted if "form" in kinds else ():
        for group in (convolution_forms, pooling_forms):
            for question in group.questions(operator, batch or operator.batch):
                yield from form_rows(question, rounds, batch or operator.batch, form, sample)


# ------------------------------------------------------------------------------------------------------ rows

def network_row(network, rounds, batch, form, sample) -> dict:
    """Training steps of a network, and the memory they need."""
    row = {"kind": "network", "name": network.name, "batch": batch}
    try:
        exact = precision()
        results = [[np.float64(subject.run(1)), *subject.gradients()]
                   for subject in _trainings(network, batch, form, exact)]
        row |= _agreement(*results, AGREEMENT_OF_NETWORKS[exact])
        if "refused" in row:
            return row
        subjects = _trainings(network, batch, form, "float32")
        for subject in subjects:
            subject.run(1)
    except Exception as error:                      # noqa: BLE001  one that cannot be compiled spoils no other
        return row | _refused(error)
    row |= figures(*alternate(subjects, rounds, sample))
    if not all(math.isfinite(subject.run(1)) for subject in subjects):
        return row | {"refused": "the loss is no longer a finite number after the timed steps"}
    return row | _memory(network, batch, form)


def _trainings(network, batch, form, dtype) -> list:
    """Ours and stock's, of the same weights and images."""
    images, labels = networks.images_of(network, batch)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        models = networks.twins(lambda layers: networks.model_of(network, layers))
        return [backends.training(model, images.astype(dtype), labels, form) for model in models.values()]
    finally:
        keras.config.set_dtype_policy(policy)


def operator_row(operator, rounds, batch, form, sample) -> dict:
    """Forward and backward passes of one layer."""
    row = {"kind": "operator", "name": operator.text, "batch": batch}
    inputs = operators.inputs_of(operator, batch)
    try:
        models = networks.twins(lambda layers: operators.model_of(operator, layers))
        subjects = {side: backends.passes(model, inputs, form) for side, model in models.items()}
        results = [subject.values() for subject in subjects.values()]
    except Exception as error:                      # noqa: BLE001
        return row | _refused(error)
    row |= _agreement(*results)
    return row if "refused" in row else row | figures(*alternate(list(subjects.values()), rounds, sample))


def form_rows(question, rounds, batch, form, sample) -> list[dict]:
    """Every form of a gradient beside stock Keras's, all in the same rounds."""
    def function(one):
        return backends.Function(lambda *arrays: one(*arrays, question.window), question.arrays, form)

    stock = function(question.stock)
    expected, refused, rows, subjects = stock.values(), [], [], []
    for candidate in question.candidates:
        row = {"kind": "form", "name": question.text, "batch": batch,
               "form": candidate.__name__.replace("_", " "), "formula": candidate.__doc__}
        try:
            subject = function(candidate)
            row |= _agreement(subject.values(), expected)
        except Inapplicable:
            continue
        except Exception as error:                  # noqa: BLE001
            row |= _refused(error)
        if "refused" in row:
            refused.append(row)
        else:
            rows.append(row)
            subjects.append(subject)
    stock_seconds, *seconds = alternate([stock, *subjects], rounds, sample)
    return [row | figures(ours, stock_seconds) for row, ours in zip(rows, seconds, strict=True)] + refused


def _memory(network, batch, form) -> dict:
    """The peak memory of both twins; a note where one could not be measured."""
    try:
        ours, stock = (memory.peak_of(network.name, side, batch, form) for side in ("ours", "stock"))
    except OSError as error:
        return {"note": f"memory was not measured: {error}"}
    return {"memory_ours_mib": ours, "memory_stock_mib": stock,
            "memory_ratio": round(ours / stock, 4) if min(ours, stock) > 0 else None}


def _agreement(ours, stock, threshold=None) -> dict:
    """The largest relative difference of two lists of arrays, and why they are not timed where it is too large."""
    if threshold is None:
        threshold = AGREEMENT_ON_ACCELERATORS if backends.accelerators() else AGREEMENT
    error = difference(ours, stock)
    found = {"error": error, "threshold": threshold}
    if not error <= threshold:
        found["refused"] = f"ours and stock differ by {error:.1e}, allowed {threshold:.0e}: not timed"
    return found


def difference(ours, stock) -> float:
    """max ‖a − b‖/‖b‖ over pairs of arrays; a b that is nearly zero beside the others counts as a thousandth of them.

    (A bias in front of a normalisation has no gradient but rounding.) Infinite where shapes or counts differ.
    """
    if [np.shape(value) for value in ours] != [np.shape(value) for value in stock]:
        return float("inf")
    ours, stock = ([np.asarray(value, "float64").ravel() for value in side] for side in (ours, stock))
    least = 1e-3 * max(np.linalg.norm(value) for value in stock) or 1.0
    errors = [np.linalg.norm(a - b) / max(np.linalg.norm(b), least) for a, b in zip(ours, stock)]
    return float(max(errors)) if np.isfinite(errors).all() else float("inf")


def _refused(error: Exception) -> dict:
    return {"refused": f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]}


# --------------------------------------------------------------------------------------------------- summary

def geometric_mean(rows) -> float | None:
    """Of the networks' ratios; None where a network has none, for it would be a mean of the others."""
    ratios = [row.get("ratio") for row in rows if row["kind"] == "network"]
    return round(statistics.geometric_mean(ratios), 4) if ratios and all(ratios) else None


HEAD = (f"{'':68s}{'batch':>6s}{'ours ms':>10s}{'stock ms':>10s}{'ratio':>7s}  {'quartiles':13s}"
        f"{'memory ours, stock':>22s}")


def line(row: dict) -> str:
    """A row as it is printed."""
    name = row["form"] if "form" in row else row["name"]
    start = f"{'  ' * ('form' in row) + name:68s}{row['batch']:>6d}"
    if "refused" in row:
        return f"{start}  REFUSED {row['refused']}"
    text = (f"{start}{row['ours_ms']:>10.3f}{row['stock_ms']:>10.3f}{row['ratio']:>7.2f}"
            f"  {row['low']:.2f} to {row['high']:.2f}")
    if row.get("memory_ratio"):
        text += (f"{row['memory_ours_mib']:>10.0f},{row['memory_stock_mib']:>5.0f} MiB "
                 f"({row['memory_ratio']:.2f})")
    return text + (f"  {row['note']}" if "note" in row else "")


def summary(rows) -> str:
    """The networks against the goal, in one line; empty without networks."""
    mean = geometric_mean(rows)
    if mean is None:
        return ""
    found = [row for row in rows if row["kind"] == "network"]
    heavy = [row["memory_ratio"] for row in found if row.get("memory_ratio")]
    return (f"geometric mean {mean:.2f} of {len(found)} networks (goal: at least {GOALS['mean']:g}), the slowest "
            f"{min(row['ratio'] for row in found):.2f} (at least {GOALS['network']:g})"
            + (f", memory at most {max(heavy):.2f} times stock's (at most {GOALS['memory']:g})" if heavy else ""))
