"""The benchmark: fair turns, honest figures, twins that compute the same. How fast anything is, no test says."""
import re

import keras
import numpy as np
import pytest
from keras import ops

from cnn_repro import layers as explicit
from cnn_repro.layers import convolution
from cnn_repro.repro import cli
from cnn_repro.repro.bench import (backends, convolution_forms, measure, memory, networks, operators, pooling_forms,
                                   timing)
from cnn_repro.repro.bench.networks import NETWORKS, Network
from cnn_repro.repro.bench.operators import OPERATORS, Operator
from cnn_repro.repro.bench.question import Inapplicable
from cnn_repro.repro.record import read_record, write_record
from cnn_repro.reports import build
from cnn_repro.reports.evidence import arrange

pytestmark = pytest.mark.skipif(not backends.forms(), reason="nothing is timed on this backend")
QUICK = {"rounds": 2, "sample": 0.0}
LENET = NETWORKS[0]
FEW = keras.backend.backend() == "jax"      # which compiles every operation by itself: minutes for all


@pytest.fixture
def no_memory(monkeypatch):
    """Memory takes two fresh processes a network."""
    monkeypatch.setattr(memory, "peak_of", lambda name, side, batch, form: {"ours": 30.0, "stock": 25.0}[side])


# --------------------------------------------------------------------------------------------------- the clock

class Clocked:
    """A subject on a clock that only subjects move: each call takes `seconds`, a number or a function of the turn."""

    def __init__(self, log, clock, name, seconds):
        self.log, self.clock, self.name, self.seconds = log, clock, name, seconds

    def run(self, count):
        self.log.append((self.name, count))
        self.clock[0] += count * (self.seconds(len(self.log)) if callable(self.seconds) else self.seconds)


@pytest.fixture
def clocked(monkeypatch):
    log, clock = [], [0.0]
    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])
    return log, lambda name, seconds: Clocked(log, clock, name, seconds)


def test_sides_take_turns_and_neither_is_always_first(clocked):
    log, subject = clocked
    found = timing.alternate([subject("a", 0.5), subject("b", 0.25)], rounds=3, sample=0.0)
    assert found == [[0.5] * 3, [0.25] * 3]
    assert "".join(name for name, _ in log[4:]) == "abba" "baab" "abba"         # after two untimed runs of each


def test_short_calls_are_timed_many_at_once_and_as_many_of_each(clocked):
    log, subject = clocked
    timing.alternate([subject("a", 0.01), subject("b", 0.02)], rounds=1, sample=0.5)
    assert {count for _, count in log[4:]} == {25}                              # of the slower one in half a second
    log.clear()
    timing.alternate([subject("a", 1e-9), subject("b", 1e-9)], rounds=1, sample=0.5)
    assert {count for _, count in log[4:]} == {timing.MOST_CALLS}


def test_a_machine_that_grows_slower_evenly_favours_none(clocked):
    _, subject = clocked
    slower = lambda turn: 1 + 0.1 * turn                                                    # noqa: E731
    ours, stock = timing.alternate([subject("a", slower), subject("b", slower)], rounds=4, sample=0.0)
    assert ours == pytest.approx(stock) and ours[3] > ours[0]


def test_ratios_come_from_the_rounds_times():
    found = timing.figures([0.002, 0.004, 0.001], [0.004, 0.004, 0.004])
    assert (found["ours_ms"], found["stock_ms"], found["rounds"]) == (2.0, 4.0, 3)
    ratios = [stock / ours for ours, stock in zip(found["ours_rounds_ms"], found["stock_rounds_ms"])]
    assert ratios == [2.0, 1.0, 4.0]
    assert (found["low"], found["ratio"], found["high"]) == tuple(np.percentile(ratios, (25, 50, 75)))
    once = timing.figures([0.002], [0.001])
    assert once["low"] == once["ratio"] == once["high"] == 0.5


@pytest.mark.parametrize("ours, stock, expected", [
    ([[1.0, 0.0]], [[1.0, 0.0]], 0.0), ([[1.01, 0.0]], [[1.0, 0.0]], 0.01), ([[3.0], [1.0]], [[3.0], [2.0]], 0.5),
    ([[1.0], [2e-6]], [[1.0], [1e-6]], 1e-3),       # noise where nothing is: measured against the thousandth of all
    ([[1.0]], [[1.0, 1.0]], float("inf")), ([[1.0]], [[1.0], [1.0]], float("inf")),
    ([[float("nan")]], [[1.0]], float("inf")), ([[0.0]], [[0.0]], 0.0)])
def test_difference_of_two_sides(ours, stock, expected):
    found = measure.difference([np.array(one) for one in ours], [np.array(one) for one in stock])
    assert found == pytest.approx(expected)


def test_the_mean_is_geometric_and_of_all_networks_or_none():
    rows = [{"kind": "network", "ratio": ratio} for ratio in (0.5, 2.0, 1.0)] + [{"kind": "operator", "ratio": 9.0}]
    assert measure.geometric_mean(rows) == 1.0
    assert measure.geometric_mean([*rows, {"kind": "network", "refused": "wrong"}]) is None
    assert measure.geometric_mean(rows[3:]) is None


# --------------------------------------------------------------------------------------------------- the twins

@pytest.mark.parametrize("network", NETWORKS[:1] if FEW else NETWORKS, ids=lambda network: network.name)
def test_twins_differ_in_whose_layers_they_are_and_in_nothing_else(network):
    models = networks.twins(lambda layers: networks.model_of(network, layers))
    ours, stock = (models[side].layers for side in ("ours", "stock"))
    assert [type(layer).__name__ for layer in ours] == [type(layer).__name__ for layer in stock]
    for mine, theirs in zip(ours, stock, strict=True):
        name = type(mine).__name__
        if hasattr(keras.layers, name):         # LeNet's and option A's layers exist only here
            assert type(theirs) is getattr(keras.layers, name)
        if name != "InputLayer":
            assert type(mine) is getattr(explicit, name)
    assert any(type(mine) is not type(theirs) for mine, theirs in zip(ours, stock))
    for mine, theirs in zip(models["ours"].get_weights(), models["stock"].get_weights(), strict=True):
        assert np.array_equal(mine, theirs)
    assert models["ours"].output_shape == models["stock"].output_shape == (None, networks.CLASSES)
    assert models["ours"].input_shape[1:] == network.shape


def test_a_network_is_timed_without_its_dropout():
    model = networks.model_of(Network("nin_cifar", 1, (32, 32, 3)), explicit)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.0, 0.0]
    image = np.ones((1, 32, 32, 3), "float32")
    logits = ops.convert_to_numpy(model(image, training=True))
    assert np.array_equal(logits, ops.convert_to_numpy(model(image, training=True))) and logits.shape == (1, 10)


@pytest.mark.parametrize("form", backends.forms())
def test_training_steps_learn_and_both_twins_alike(form):
    network = Network("lenet5_modern", 4, (32, 32, 1))
    images, labels = networks.images_of(network, 4)
    models = networks.twins(lambda layers: networks.model_of(network, layers))
    steps = [backends.training(model, images, labels, form) for model in models.values()]
    first = [one.run(1) for one in steps]
    gradients = [one.gradients() for one in steps]
    assert measure.difference(*gradients) < 1e-5 and max(np.abs(one).max() for one in gradients[0]) > 1e-3
    assert first[0] == pytest.approx(first[1], rel=1e-5) and 0.5 < first[0] < 50
    for one, begun in zip(steps, first):
        assert one.run(100) < begun


def test_a_pass_gives_the_output_and_all_gradients():
    operator = Operator("Dense", 3, (4,), {"units": 2})
    model = networks.twins(lambda layers: operators.model_of(operator, layers))["ours"]
    x, = operators.inputs_of(operator, 3)
    y, dx, dw, db = backends.passes(model, [x], backends.forms()[0]).values()
    dy, kernel = backends.upstream(y), model.get_weights()[0]
    for found, expected in ((y, x @ kernel), (dx, dy @ kernel.T), (dw, x.T @ dy), (db, dy.sum(0))):
        assert np.allclose(found, expected, atol=1e-5)


# ---------------------------------------------------------------------------------------------------- the rows

def test_a_networks_row(no_memory):
    row, = measure.bench(["lenet5_modern"], ("network",), batch=2, **QUICK)
    assert (row["kind"], row["name"], row["batch"], row["rounds"]) == ("network", "lenet5_modern", 2, 2)
    assert row["error"] < (1e-4 if FEW else 1e-12) and "refused" not in row and min(*row["ours_rounds_ms"], *row["stock_rounds_ms"]) > 0
    ratios = [stock / ours for ours, stock in zip(row["ours_rounds_ms"], row["stock_rounds_ms"], strict=True)]
    assert row["ratio"] == pytest.approx(np.median(ratios), abs=1e-4)
    assert row["memory_ratio"] == 1.2
    assert re.fullmatch(r"lenet5_modern +2 .* 30, +25 MiB \(1\.20\)", measure.line(row))
    assert f"geometric mean {row['ratio']:.2f} of 1 networks" in measure.summary([row])


def test_a_wrong_backward_pass_is_not_timed(no_memory, monkeypatch):
    right = convolution.kernel_gradient
    for module in (convolution, convolution_forms):
        monkeypatch.setattr(module, "kernel_gradient", lambda *arguments: 1.1 * right(*arguments))
    small = Operator("Conv2D", 2, (5, 5, 2), {"filters": 3, "kernel_size": 3})
    monkeypatch.setattr(operators, "OPERATORS", (small,))
    network, operator, *forms = measure.bench(["lenet5_modern", "Conv2D"], measure.KINDS, batch=2, **QUICK)
    wrong = [row for row in (network, operator, *forms) if "refused" in row]
    assert [row.get("form", row["name"]) for row in wrong] == ["lenet5_modern", small.text, "layers kernel gradient"]
    for row in wrong:
        assert "ratio" not in row and "ours_ms" not in row and "memory_ratio" not in row
        assert "ours and stock differ by 1.0e-01" in row["refused"] and "REFUSED" in measure.line(row)
    assert len(forms) > 10


def test_what_cannot_be_compiled_spoils_no_other_row(no_memory, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such\nkernel")

    monkeypatch.setattr(backends, "training", broken)
    row, *others = measure.bench(["lenet5_modern", "Dense"], batch=1, **QUICK)
    assert row["refused"] == "RuntimeError: no such kernel" and len(others) == 2 and "refused" not in others[0]


def test_a_training_that_diverges_while_it_is_timed_is_no_measurement(no_memory, monkeypatch):
    monkeypatch.setattr(backends, "RATE", 2.0**80)
    row, = measure.bench(["lenet5_modern"], ("network",), batch=2, **QUICK)
    assert "no longer a finite number" in row["refused"] and "memory_ratio" not in row


def test_memory_that_cannot_be_measured_is_said_and_costs_no_times(monkeypatch):
    def killed(*_):
        raise OSError("its process ended with -9 and said nothing")

    monkeypatch.setattr(memory, "peak_of", killed)
    row, = measure.bench(["lenet5_modern"], ("network",), batch=2, **QUICK)
    assert row["ratio"] > 0 and "memory_ratio" not in row and "ended with -9" in row["note"] in measure.line(row)


@pytest.mark.slow
def test_memory_is_that_of_the_steps():
    """Four times the batch needs about four times the memory: what is there before a step does not count."""
    small, large = (memory.peak_of("resnet20_cifar", "stock", batch, backends.forms()[0]) for batch in (64, 256))
    assert 2.5 < large / small < 5.5
    with pytest.raises(OSError, match="its process ended with 1 and said .*StopIteration"):
        memory.peak_of("no such network", "ours", 1, "graph")


def test_of_a_maximums_inputs_no_two_are_equal():
    """Stock Keras's 3-D gradient of equal ones depends on the kernels of the machine."""
    for operator in OPERATORS:
        if "MaxPooling" in operator.layer:
            x, = operators.inputs_of(operator, 1)
            assert x.dtype == "float32" and x.shape == (1, *operator.shape) and 1 <= np.abs(x).max() <= 2
            assert len(np.unique(x)) == x.size < 2**24 / operator.batch


def test_only_what_both_sides_have_is_compared():
    assert not operators.written_out(Operator("Flatten", 1, (2, 2, 1), {}))             # stock on both sides
    assert not operators.written_out(Operator("Subsampling2D", 1, (2, 2, 1), {}))       # Keras has none
    assert operators.written_out(Operator("Conv2D", 1, (2, 2, 1), {}))
    assert len({operator.text for operator in OPERATORS}) == len(OPERATORS)


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.text)
def test_every_operator_of_the_table_can_be_timed(operator):
    if not operators.written_out(operator):
        operators.model_of(operator, keras.layers)
        pytest.skip("stock on both sides")
    row = measure.operator_row(operator, 1, 1, backends.forms()[0], 0.0)
    assert "refused" not in row, row["refused"]


# --------------------------------------------------------------------------------------------------- the forms

CONVOLUTIONS = [Operator("Conv2D", 2, shape, {"filters": 3, "kernel_size": size, **more}) for shape, size, more in (
    ((6, 7, 2), 3, {}), ((6, 7, 2), 3, {"padding": "same"}), ((5, 4, 2), 2, {"padding": "same"}), ((5, 5, 3), 1, {}),
    ((7, 8, 2), 5, {"padding": "same"}), ((8, 7, 2), 3, {"strides": 2}),
    ((8, 7, 2), 3, {"strides": 2, "padding": "same"}), ((9, 8, 1), 2, {"strides": 3}),
    ((6, 6, 2), 1, {"strides": 2, "padding": "same"}), ((2, 3, 2), 5, {"padding": "same"}),
    ((7, 7, 2), 4, {"strides": 3, "padding": "same"}))]
POOLINGS = [Operator(layer, 2, shape, {"pool_size": size, **more}) for layer in pooling_forms.FORMS
            for shape, size, more in (
                ((4, 6, 2), 2, {}), ((5, 7, 2), 2, {}), ((7, 6, 3), 3, {"strides": 2}),
                ((6, 7, 1), 3, {"strides": 2, "padding": "same"}), ((5, 5, 2), 2, {"strides": 1}))]


@pytest.mark.parametrize("group, operators_", [(convolution_forms, CONVOLUTIONS[::4 if FEW else 1]),
                                               (pooling_forms, POOLINGS[::5 if FEW else 1])],
                         ids=["convolution", "pooling"])
def test_all_forms_are_the_same_operator(group, operators_):
    """Ties included: half of what is pooled is zero."""
    applied, named = set(), set()
    for operator in operators_:
        for question in group.questions(operator, operator.batch):
            arrays = [ops.convert_to_tensor(array) for array in question.arrays]
            expected = ops.convert_to_numpy(question.stock(*arrays, question.window))
            for candidate in question.candidates:
                named.add(candidate)
                try:
                    found = candidate(*arrays, question.window)
                except Inapplicable:
                    continue
                applied.add(candidate)
                error = measure.difference([ops.convert_to_numpy(found)], [expected])
                assert error < 1e-5, (question.text, candidate.__name__, error)
    assert applied == named and all(candidate.__doc__ and "\n" not in candidate.__doc__ for candidate in named)


def test_forms_are_timed_in_the_same_rounds(monkeypatch):
    dense = Operator("Dense", 1, (2,), {"units": 1})            # has no other forms
    monkeypatch.setattr(operators, "OPERATORS", (POOLINGS[0], CONVOLUTIONS[0], dense))
    rows = list(measure.bench(kinds=("form",), **QUICK))
    assert {row["name"].partition(" of ")[0] for row in rows} == {"input gradient", "kernel gradient"}
    for name in {row["name"] for row in rows}:
        of = [row for row in rows if row["name"] == name]
        assert of[0]["form"].startswith("layers ") and len(of) > 3 and not any("refused" in row for row in of)
        assert len({tuple(row["stock_rounds_ms"]) for row in of}) == 1
    assert {row["formula"] for row in rows} >= {"what cnn_repro.layers does", pooling_forms.blocks.__doc__}


# ------------------------------------------------------------------------------------------------------ the verb

def test_bench_writes_a_record_that_the_report_shows(no_memory, tmp_path, capsys):
    short = ["--rounds", "2", "--batch", "2", "--runs", str(tmp_path)]
    assert cli.main(["bench", "lenet5_modern", "Dense", *short]) == 0
    out = capsys.readouterr().out
    run, = tmp_path.iterdir()
    record = read_record(run / "record.json")
    assert (record["kind"], record["status"], record["backend"]) == ("bench", "finished", keras.backend.backend())
    assert record["compile"] == backends.forms()[0] and record["goals"] == measure.GOALS and record["id"] == run.name
    assert [row["kind"] for row in record["rows"]] == ["network", "operator", "operator"]
    assert record["geometric_mean"] == record["rows"][0]["ratio"]
    assert {"started", "ended", "wall_seconds", "command", "commit", "versions", "hardware"} <= record.keys()
    for shown in (f"3 of 3 rows timed; {run / 'record.json'}", "geometric mean", "Dense(120) on 400"):
        assert shown in out
    build([tmp_path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<b>{record['rows'][0]['ratio']:.2f}</b>" in page and "2 single operators" in page


def test_a_refused_row_is_code_1_and_in_the_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "AGREEMENT", -1.0)
    assert cli.main(["bench", "Dense", "--rounds", "1", "--batch", "1", "--runs", str(tmp_path)]) == 1
    assert "0 of 2 rows timed" in capsys.readouterr().out
    record = read_record(next(tmp_path.iterdir()) / "record.json")
    assert record["status"] == "failed" and record["reason"].startswith("Dense(1000) on 4096, ")
    assert record["geometric_mean"] is None and not arrange([record]).broken


def test_forms_are_headed_by_their_question(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(operators, "OPERATORS", (POOLINGS[0], POOLINGS[1]))
    assert cli.main(["bench", "--forms", "--rounds", "1", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("input gradient of MaxPooling2D(2) on 4×6×2") == 1 and "no network was timed" in out


def test_nothing_to_time_is_said(tmp_path, capsys):
    assert cli.main(["bench", "lenet5_modern", "--forms", "--runs", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("repro: nothing to time: lenet5_modern has no such rows")
    assert not list(tmp_path.iterdir())


def test_kept_evidence_is_a_whole_table(no_memory, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(cli, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(networks, "NETWORKS", (LENET,))
    (tmp_path / "pyproject.toml").touch()
    short = ["--rounds", "1", "--batch", "1", "--runs", str(tmp_path / "runs")]
    assert cli.main(["bench", "--networks", *short, "--keep"]) == 0
    kept, = (tmp_path / "records").iterdir()
    assert read_record(kept)["id"] == kept.stem and f"kept {kept}" in capsys.readouterr().out
