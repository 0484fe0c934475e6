"""The written-out formulas are what runs, eager and compiled; and the gradient check notices when one is wrong.

Every formula is made wrong by one part in a thousand. Then the gradients that depend on it, and no others, must
be wrong by that much, and the check must fail.
"""
import ast
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import keras
import numpy as np
import passes
import pytest
import tensorflow as tf
from passes import numbers

from cnn_repro import layers as L
from cnn_repro.layers import activation, convolution, dense, normalization, pooling, radial, reference, structure
from cnn_repro.repro import check

WRONG = 1.001


@dataclass(frozen=True)
class Sabotage:
    """A formula, its output (None: it has only one), a layer that uses it, the gradients that must go wrong."""
    module: object
    formula: str
    operator: str                       # its name in the check
    subject: Callable                   # () -> the layer, or a function of the tensors
    changes: set
    output: int | None = None
    tensors: tuple = ((2, 6, 6, 4),)    # shapes of the inputs
    training: bool = False

    def __str__(self):
        return f"{self.formula}{'' if self.output is None else f'[{self.output}]'}-{self.operator}"


def _sabotages():
    conv = dict(module=convolution, operator="Conv2D")
    yield Sabotage(**conv, formula="input_gradient", subject=lambda: L.Conv2D(3, 3), changes={"input"})
    same = lambda: L.Conv2D(3, 3, padding="same")                                       # noqa: E731
    yield Sabotage(**conv, formula="kernel_gradient", subject=same, changes={"kernel"})
    strided = lambda: L.Conv2D(3, 3, strides=2)                                         # noqa: E731
    yield Sabotage(**conv, formula="_input_gradient_strided", subject=strided, changes={"input"})
    grouped = lambda: L.Conv2D(4, 3, groups=2)                                          # noqa: E731
    yield Sabotage(**conv, formula="_input_gradient_by_taps", subject=grouped, changes={"input"})
    yield Sabotage(**conv, formula="_kernel_gradient_by_taps", subject=grouped, changes={"kernel"})
    table = lambda: L.TableConv2D([(0, 1), (1, 2, 3)], 3)                               # noqa: E731
    yield Sabotage(convolution, "listed_kernels", "TableConv2D", table, {"kernel"})
    yield Sabotage(convolution, "input_gradient", "TableConv2D", table, {"input"})

    plain = dict(module=dense, operator="Dense", tensors=((3, 4),))
    yield Sabotage(**plain, formula="dense_input_gradient", subject=lambda: L.Dense(5), changes={"input"})
    yield Sabotage(**plain, formula="dense_kernel_gradient", subject=lambda: L.Dense(5), changes={"kernel"})
    yield Sabotage(**plain, formula="bias_gradient", subject=lambda: L.Dense(5), changes={"bias"})
    bias = dict(module=dense, formula="bias_gradient", operator="Dense", changes={"bias"})
    yield Sabotage(**bias, subject=lambda: L.Conv2D(3, 3))
    yield Sabotage(**bias, subject=table)
    yield Sabotage(**bias, subject=lambda: L.Subsampling2D(2))

    pool = dict(module=pooling, changes={"input"})
    yield Sabotage(**pool, formula="max_pool_gradient", operator="MaxPooling2D",
                   subject=lambda: L.MaxPooling2D(3, 2, padding="same"))
    yield Sabotage(**pool, formula="average_pool_gradient", operator="AveragePooling2D",
                   subject=lambda: L.AveragePooling2D(3, 2, padding="same"))
    yield Sabotage(**pool, formula="global_average_pool_gradient", operator="GlobalAveragePooling2D",
                   subject=lambda: L.GlobalAveragePooling2D())
    for output, name in enumerate(("input", "coefficient")):
        yield Sabotage(pooling, "subsampling_gradients", "Subsampling2D", lambda: L.Subsampling2D(2), {name},
                       output)

    for output, name in enumerate(("input", "gamma", "beta")):
        norm = dict(module=normalization, operator="BatchNormalization", subject=lambda: L.BatchNormalization(),
                    changes={name}, output=output)
        yield Sabotage(**norm, formula="batch_norm_gradient", training=True)
        yield Sabotage(**norm, formula="frozen_norm_gradient")

    flat = dict(tensors=((3, 20),))
    for formula, operator, function in (("relu_gradient", "ReLU", "relu"), ("tanh_gradient", "Tanh", "tanh"),
                                        ("sigmoid_gradient", "Sigmoid", "sigmoid"),
                                        ("scaled_tanh_gradient", "ScaledTanh", L.scaled_tanh)):
        rest = dict(module=activation, formula=formula, operator=operator)
        yield Sabotage(**rest, **flat, subject=lambda f=function: L.Activation(f), changes={"input"})
        everything = {"input", "kernel", "bias"}                    # all that lies below the activation
        yield Sabotage(**rest, **flat, subject=lambda f=function: L.Dense(4, activation=f), changes=everything)
        yield Sabotage(**rest, subject=lambda f=function: L.Conv2D(3, 3, activation=f), changes=everything)
    yield Sabotage(activation, "relu_gradient", "ReLU", lambda: L.ReLU(negative_slope=0.1, max_value=1.0),
                   {"input"}, **flat)

    yield Sabotage(radial, "radial_input_gradient", "RadialBasis", lambda: L.RadialBasis(numbers(3, 4).tolist()),
                   {"input"}, tensors=((5, 4),))
    yield Sabotage(radial, "radial_centre_gradient", "RadialBasis", lambda: radial.negative_penalty, {"centres"},
                   tensors=((5, 4), (3, 4)))
    yield Sabotage(radial, "map_loss_gradient", "MAP loss", lambda: lambda z: L.map_loss(tf.range(5) % 4, z, 1.0),
                   {"input"}, tensors=((5, 4),))
    yield Sabotage(structure, "pad_channels_gradient", "PadChannels", lambda: L.PadChannels(7), {"input"})


SABOTAGES = list(_sabotages())
FORMULAS = list({(case.module.__name__, case.formula, case.output): case for case in SABOTAGES}.values())


def commit(sabotage, monkeypatch):
    right = getattr(sabotage.module, sabotage.formula)

    def wrong(*arguments, **named):
        result = right(*arguments, **named)
        if sabotage.output is None:
            return result * WRONG
        return tuple(value * WRONG if index == sabotage.output else value for index, value in enumerate(result))

    monkeypatch.setattr(sabotage.module, sabotage.formula, wrong)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=str)
def test_the_formula_is_what_runs(sabotage, monkeypatch):
    keras.utils.set_random_seed(1)
    subject = sabotage.subject()
    tensors = {name: numbers(*shape, seed=seed, dtype="float32")
               for seed, (name, shape) in enumerate(zip(("input", "centres"), sabotage.tensors))}
    weights, function = (), subject
    if isinstance(subject, keras.layers.Layer):
        subject.build((None, *sabotage.tensors[0][1:]))
        subject.set_weights([np.abs(value) + 0.1 * numbers(*value.shape) ** 2 for value in subject.get_weights()])
        weights = subject.trainable_weights
        if sabotage.training:
            function = lambda x: subject(x, training=True)                              # noqa: E731
    _, right = passes.run(function, tensors, weights)
    assert sabotage.changes <= right.keys()
    commit(sabotage, monkeypatch)
    for form in passes.FORMS:
        _, wrong = passes.run(function, tensors, weights, form)
        for name, gradient in right.items():
            expected = gradient * (WRONG if name in sabotage.changes else 1)
            assert check.error_of(wrong[name], expected) < 1e-4, (form, name)
            assert np.abs(gradient).max() > 1e-3


# ------------------------------------------------------------------------------------------- the check itself

@pytest.fixture(scope="module")
def remembered():
    """Central differences see the forward pass alone, which no sabotage touches: each is computed once."""
    known, compute = {}, reference.central_differences

    def central_differences(function, tensors, dy):
        key = b"".join(array.tobytes() for array in (*tensors, dy, function(*tensors)))
        if key not in known:
            known[key] = compute(function, tensors, dy)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "central_differences", central_differences)
        yield


@pytest.fixture(scope="module")
def rows(remembered):
    return check.check()


def test_every_row_passes(rows):
    failed = [row for row in rows if not row["passed"]]
    assert not failed and len(rows) > 300
    for row in rows:
        assert row["passed"] == (row["error"] <= row["threshold"]) and 0 <= row["error"] < 1e-5
        assert row["compiled"] == row["against"].startswith("compiled") == (row["dtype"] == "float32")


LINEAR = {"AveragePooling2D", "Conv2D", "GlobalAveragePooling2D", "PadChannels", "TableConv2D"}


def test_every_case_has_its_witnesses(rows):
    against = {}
    for row in rows:
        against.setdefault((row["operator"], row["case"], row["argument"]), set()).add(row["against"])
    always = {"loops", "autodiff", "compiled (graph)", "compiled (xla)"}
    for (operator, case, argument), witnesses in against.items():
        assert always <= witnesses <= always | {"central differences", "adjoint"}
        assert "central differences" in witnesses or "ties" in case
        assert "adjoint" in witnesses or operator not in LINEAR


NAMES = {"Activation": "Tanh", "relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "scaled_tanh": "ScaledTanh",
         "convolve": "Conv2D", "max_pool": "MaxPooling2D", "average_pool": "AveragePooling2D",
         "global_average_pool": "GlobalAveragePooling2D", "map_loss": "MAP loss"}
NO_GRADIENT_OF_THEIR_OWN = {"ClassScores", "FanIn", "with_gradient"}


def test_every_public_operator_is_checked(rows):
    assert {NAMES.get(name, name) for name in set(L.__all__) - NO_GRADIENT_OF_THEIR_OWN} == {
        row["operator"] for row in rows}


@pytest.mark.parametrize("sabotage", FORMULAS, ids=str)
def test_the_check_notices(sabotage, rows, monkeypatch):
    commit(sabotage, monkeypatch)
    failed = [row for row in check.check([sabotage.operator], compiled=False) if not row["passed"]]
    assert {"loops", "autodiff"} <= {row["against"] for row in failed}
    names = {"logits"} if sabotage.operator == "MAP loss" else sabotage.changes
    assert {row["argument"] for row in failed} <= names
    assert all(row["error"] == pytest.approx(WRONG - 1, rel=0.5) for row in failed if row["against"] != "adjoint")


def test_an_unknown_operator_is_named():
    with pytest.raises(LookupError, match="no operator 'Conv5D'; there are AveragePooling2D, .*Tanh"):
        check.check(["Dense", "Conv5D"])


def test_only_the_named_operators_are_checked(remembered):
    rows = check.check(["Dense", "Tanh"], compiled=False)
    assert {row["operator"] for row in rows} == {"Dense", "Tanh"} and not any(row["compiled"] for row in rows)


def test_an_error_is_never_hidden():
    assert check.error_of([1.0, 2.0], [1.0, 2.0]) == 0
    assert check.error_of([1.0, 3.0], [1.0, 2.0]) == 0.5
    assert check.error_of([np.nan, 2.0], [1.0, 2.0]) == float("inf")
    assert check.error_of([np.inf, 2.0], [1.0, 2.0]) == float("inf")
    assert check.error_of([[1.0, 2.0]], [1.0, 2.0]) == float("inf")
    assert check.error_of([1e-4], [0.0]) == pytest.approx(0.1)          # near zero, relative to a thousandth
    assert not check.error_of([1.0], [np.nan]) <= 1             # a witness without a number proves nothing


# ------------------------------------------------------------------------------------- nothing is left out

def trees():
    for found in pkgutil.iter_modules(L.__path__):
        if found.name not in ("reference", "gradient"):
            module = import_module(f"cnn_repro.layers.{found.name}")
            yield module, ast.parse(inspect.getsource(module))


def covered(module):
    return {case.formula for case in SABOTAGES if case.module is module}


def test_every_formula_is_sabotaged():
    """By its name: every function of the layers that is called a gradient."""
    for module, tree in trees():
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        formulas = {name for name in names if "gradient" in name}
        assert formulas <= covered(module), module.__name__


def test_every_backward_pass_calls_a_sabotaged_formula():
    """By its place: what is handed to with_gradient as its backward function consists of those formulas."""
    calls = 0
    for module, tree in trees():
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for scope in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            local = {node.name: node for node in ast.walk(scope) if isinstance(node, ast.FunctionDef)}
            for call in ast.walk(scope):
                if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "with_gradient"):
                    continue
                backward = call.args[1]
                body = local[backward.id] if isinstance(backward, ast.Name) else backward
                called = {node.func.id for node in ast.walk(body)
                          if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
                parameters = {argument.arg for argument in scope.args.args}     # _pool is handed its gradient
                assert called and called <= covered(module) | parameters, (module.__name__, scope.name)
                calls += 1
        assert covered(module) <= functions.keys()
    assert calls >= 15
