"""The written-out formulas are what runs, eager and compiled; and the gradient check notices when one is wrong.

Every formula is made wrong by one part in a thousand. Then the gradients that depend on it, and no others, must
be wrong by that much, and the check must fail.
"""
import ast
import inspect
import pkgutil
from importlib import import_module

import keras
import numpy as np
import operators
import passes
import pytest
from operators import SABOTAGES
from operators.sabotage import WRONG
from passes import numbers

from cnn_repro import layers as L
from cnn_repro.layers import reference
from cnn_repro.repro import check
from cnn_repro.repro.check import witnesses

FORMULAS = list({(case.module.__name__, case.formula, case.output): case for case in SABOTAGES}.values())


# every third among the fast tests: those of one formula stand side by side
@pytest.mark.parametrize("sabotage", [pytest.param(case, marks=pytest.mark.slow if index % 3 else [])
                                      for index, case in enumerate(SABOTAGES)], ids=str)
def test_the_formula_is_what_runs(sabotage, monkeypatch):
    keras.utils.set_random_seed(1)
    subject = sabotage.subject()
    tensors = {name: numbers(*shape, seed=seed, dtype="float32")
               for seed, (name, shape) in enumerate(zip(sabotage.names, sabotage.tensors, strict=True))}
    weights, function = (), subject
    if isinstance(subject, keras.layers.Layer):
        subject.build((None, *sabotage.tensors[0][1:]))
        subject.set_weights([np.abs(value) + 0.1 * numbers(*value.shape) ** 2 for value in subject.get_weights()])
        weights = subject.trainable_weights
        if sabotage.training:
            function = lambda x: subject(x, training=True)                              # noqa: E731
    _, right = passes.run(function, tensors, weights)
    assert sabotage.changes <= right.keys()
    sabotage.commit(monkeypatch)
    for form in passes.FORMS:
        if form == "xla" and not sabotage.xla:
            continue
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
        arrays = (*tensors, dy, function(*tensors))
        key = tuple((array.shape, array.tobytes()) for array in arrays)
        if key not in known:
            known[key] = compute(function, tensors, dy)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "central_differences", central_differences)
        yield


@pytest.fixture(scope="module")
def rows(remembered):
    return check.check()


def test_every_row_of_some_operators_passes():
    """The whole grid is the slow tests'; `make demo` runs it too."""
    rows = check.check(["Dense", "MaxPooling2D", "BatchNormalization", "ReLU"])
    assert {row["operator"] for row in rows} == {"Dense", "MaxPooling2D", "BatchNormalization", "ReLU"}
    assert all(row["passed"] for row in rows)


@pytest.mark.slow
def test_every_row_passes(rows):
    failed = [row for row in rows if not row["passed"]]
    assert not failed and len(rows) > 500
    for row in rows:
        assert row["passed"] == (row["error"] <= row["threshold"]) and 0 <= row["error"] < 1e-4
        assert row["compiled"] == row["against"].startswith("compiled")
        assert row["dtype"] == ("float32" if row["compiled"] else check.precision())


@pytest.mark.slow
def test_every_case_has_its_witnesses(rows):
    against = {}
    for row in rows:
        against.setdefault((row["operator"], row["case"], row["argument"]), set()).add(row["against"])
    always = {"loops", "stock", *(f"compiled ({form})" for form in check.forms())}
    cases = {(case.operator, case.text): case for case in check.cases()}
    assert cases.keys() == {(operator, text) for operator, text, _ in against}
    for (operator, text, argument), witnesses in against.items():
        case = cases[operator, text]
        if argument in ("output", "dy"):
            assert witnesses == ({"loops", "stock"} if argument == "output" else {"second derivatives"})
            continue
        expected = always | {name for name, there in {
            "central differences": case.smooth, "second derivatives": case.twice,
            "adjoint": argument in case.linear}.items() if there}
        assert witnesses == expected, (operator, text, argument)


def test_most_cases_have_all_witnesses():
    """What a case does without is an exception."""
    cases = list(check.cases())
    assert len({(case.operator, case.text) for case in cases}) == len(cases)        # every case has its own name
    assert min(sum(case.smooth for case in cases), sum(case.twice for case in cases)) > 0.8 * len(cases)
    assert {case.operator for case in cases if case.linear} >= set(operators.every("LINEAR"))


NO_GRADIENT_OF_THEIR_OWN = {"ClassScores", "FanIn", "FilterBank", "normalized_adjacency", "normalized_edges",
                            "with_gradient"}


@pytest.mark.slow
def test_every_public_operator_is_checked(rows):
    assert {operators.CHECKED.get(name, name) for name in set(L.__all__) - NO_GRADIENT_OF_THEIR_OWN} == {
        row["operator"] for row in rows}


@pytest.mark.parametrize("sabotage", FORMULAS, ids=str)
@pytest.mark.slow
def test_the_check_notices(sabotage, rows, monkeypatch):
    sabotage.commit(monkeypatch)
    # a case of other arguments, a whole non-local block or one tensor for two operands, is reached in all of them
    own = {case.text for case in check.cases()
           if case.operator == sabotage.operator and sabotage.changes & case.arguments.keys()}
    failed = [row for row in check.check([sabotage.operator], compiled=False, twice=False)
              if not row["passed"] and row["case"] in own]
    assert {"loops", "stock"} <= {row["against"] for row in failed}
    assert {row["argument"] for row in failed} <= sabotage.changes
    assert all(row["error"] == pytest.approx(WRONG - 1, rel=0.5) for row in failed if row["against"] != "adjoint")


def test_second_derivatives_are_of_the_square():
    """Of (3x)²: 18·x·dy is its gradient. Of 3x alone, which is linear, those of x would be zeros."""
    x, dy, direction = numbers(4, seed=1), numbers(4, seed=2), numbers(4, seed=3)
    of_x, of_dy = check.second_derivatives(witnesses.squared(lambda x: 3 * x), [x], dy, [direction])
    np.testing.assert_allclose(of_x, 18 * dy * direction, rtol=1e-5)
    np.testing.assert_allclose(of_dy, 18 * x * direction, rtol=1e-5)


def test_operators_with_a_data_format_are_checked_in_both():
    found = {case.operator for case in check.cases() if "channels first" in case.text}
    convolutions = {f"{kind}{axes}D" for kind in ("Conv", "LocallyConnected", "DepthwiseConv", "SeparableConv")
                    for axes in (1, 2)} | {"Conv3D", *(f"Conv{axes}DTranspose" for axes in (1, 2, 3))}
    pools = {f"{kind}Pooling{axes}D" for kind in ("Max", "Average") for axes in (1, 2, 3)} | {
        f"{kind}BlurPooling{axes}D" for kind in ("", "Max") for axes in (1, 2)}
    assert found == convolutions | pools | {"FixedFilters2D"}


def test_every_operator_is_checked_without_images():
    empty = {case.operator for case in check.cases() if any(0 in value.shape for value in case.arguments.values())}
    assert {case.operator for case in check.cases()} == empty


def test_no_operator_is_checked_by_one_case():
    cases = [case.operator for case in check.cases()]
    assert min(cases.count(operator) for operator in set(cases)) > 1


def test_an_unknown_operator_is_named():
    with pytest.raises(LookupError, match="no operator 'Frobnicate'; there are Add, .*Tanh"):
        check.check(["Dense", "Frobnicate"])


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
    """By its place: what is handed to with_gradient as its backward function consists of those formulas. But for that of
    one form of a gradient, a second derivative: `…_can_be_differentiated_once_more` compares it with another form's."""
    calls, second = 0, "kernel_gradient_by_channels"
    for module, tree in trees():
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for scope in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            local = {node.name: node for node in ast.walk(scope) if isinstance(node, ast.FunctionDef)}
            for call in ast.walk(scope):
                named = isinstance(call, ast.Call) and getattr(call.func, "id", "") == "with_gradient"
                if not named or scope.name == second:
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
