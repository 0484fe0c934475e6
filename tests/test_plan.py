"""A plan: steps and images by arithmetic, published throughputs, scaling, and a real probe."""
import math
import os

import pytest

from cnn_repro.repro import cli
from cnn_repro.repro.plan import estimate, probe as probing, table
from cnn_repro.repro.plan.estimate import RESNET50, Probe, Work, devices, kinds, seconds_here, seconds_on, step_on, work_of
from cnn_repro.repro.suite.trials import Trial, load

RESNET_STEP = Probe(1.0, 10.0, 1e9, RESNET50, 4 * 25.6e6, 256)


@pytest.mark.parametrize("trial, work", [
    # 50,000 images in batches of 128 are 391 steps, the last one short, 45,000 are 352
    (Trial("resnet20_cifar", "cifar10", "paper", 0), Work(64_000, 128, math.ceil(64_000 / 391), 0, 10_000)),
    (Trial("resnet20_cifar", "cifar10", "short", 0), Work(6_400, 128, math.ceil(6_400 / 352), 5000, 10_000)),
    # twenty passes over 60,000 images, one a step
    (Trial("lenet5", "mnist", "paper", 0), Work(1_200_000, 1, 20, 0, 10_000)),
    # 200 epochs of one step with all 2,708 nodes
    (Trial("gcn", "cora", "paper", 0), Work(200, 2708, 200, 2708, 2708)),
    # an image is looked at as five crops and their mirror images, or at four scales
    (Trial("cuda_convnet_11pct_cifar", "cifar10", "paper", 0), Work(470 * 391, 128, 470, 0, 10_000, 10)),
    (Trial("cuda_convnet_11pct_cifar", "cifar10", "paper", 0, "explicit", {
        "test.views": "multi", "test.scales": [24, 26, 28, 32]}), Work(470 * 391, 128, 470, 0, 10_000, 144)),
    # or all of it and its mirror image, of 448 pixels with four times the work of 224
    (Trial("vgg16", "imagenette", "paper", 0, "explicit", {"test.scales": [224, 448], "schedule.stop": 74}),
     Work(74, 256, 2, 95, 3925, 10))])
def test_work_follows_from_card_and_data_set(trial, work):
    assert work_of(trial) == work


def test_a_trial_here_takes_its_steps_its_looks_and_its_start():
    work = Work(100, 50, 4, 200, 1000)
    # 100 steps of a second; 1,800 images looked at, each a third of a fiftieth of it; 10 s
    assert seconds_here(work, RESNET_STEP) == pytest.approx(100 + 1800 / 50 / 3 + 10)


def test_every_view_of_an_image_is_looked_at():
    """Ten views in validation and test are ten times one, here and on a GPU."""
    one, ten = Work(100, 50, 4, 200, 1000), Work(100, 50, 4, 200, 1000, 10)
    assert seconds_here(ten, RESNET_STEP) == pytest.approx(100 + 18000 / 50 / 3 + 10)
    looks = [seconds_on(devices()["a100"], work, RESNET_STEP) - 5000 / 909 for work in (one, ten)]
    assert looks[1] == pytest.approx(10 * looks[0])


def test_the_published_training_takes_the_published_time():
    """90 epochs of ResNet-50 over 1.28 million images: ~40 h in TF32 and ~18 h mixed on one A100, ~77 and ~25 on a V100,
    ~36 and ~14 on the A100 of 80 GB."""
    for key, batch, precision, hours in (("a100", 256, "float32", 40), ("a100", 256, "mixed", 18),
                                         ("v100", 128, "float32", 77), ("v100", 256, "mixed", 25),
                                         ("a100_80gb", 256, "float32", 36), ("a100_80gb", 256, "mixed", 14)):
        work = Work(math.ceil(1_281_167 / batch) * 90, batch, 90, 50_000, 0)
        assert seconds_on(devices()[key], work, RESNET_STEP, precision) / 3600 == pytest.approx(hours, rel=0.25)


def test_eight_devices_are_at_most_as_fast_as_the_formula_says():
    """Published: 8 devices with eight times the batch. The formula hides nothing behind the backward pass and knows no
    other loss, so it must lie above the measured speed, and not by half."""
    for device in devices().values():
        for precision, images in device.eight.items():
            work = Work(1, 8 * device.batch, 1, 0, 0)
            found = work.batch / step_on(device, 8, work, RESNET_STEP, precision)
            assert images <= found < 1.5 * images


def test_a_step_spread_over_devices_is_its_share_and_the_gradients_way():
    device, work = devices()["a100"], Work(1, 256, 1, 0, 0)
    alone = 256 / 909
    assert step_on(device, 1, work, RESNET_STEP) == pytest.approx(alone)
    assert step_on(device, 8, work, RESNET_STEP) == pytest.approx(alone / 8 + 2 * 7 / 8 * 102.4e6 / 300e9)
    assert step_on(device, 64, work, RESNET_STEP) == pytest.approx(alone / 64 + 2 * 63 / 64 * 102.4e6 / 25e9)


def test_seeds_are_probed_once():
    suite = load("he2016_short")
    assert [len(trials) for trials in kinds(suite).values()] == [3, 3]


def test_every_device_says_where_its_figures_are_from():
    for device in devices().values():
        assert device.throughput_source and device.link_source and device.images_per_second.keys() == device.eight.keys()


def test_the_table_adds_up():
    suite = load("he2016_short")
    probes = {key: Probe(0.2, 20.0, 2**30, 40.8e6, 4 * 272_474, 128) for key in kinds(suite)}
    lines = table.lines(suite, probes, {}, 2, {"a100": 2.5}, "float32")
    each = seconds_here(work_of(suite.trials[0]), probes[next(iter(probes))])
    row = ("6,400", "200.0", "1024 MiB", table.duration(3 * each))
    assert any(all(part in line for part in row) for line in lines)
    here, = (line.strip() for line in lines if "this machine" in line)
    assert here.startswith(f"this machine: {table.duration(6 * each)} ") and table.duration(3 * each) in here
    least = 6 * seconds_on(devices()["a100"], work_of(suite.trials[0]), probes[next(iter(probes))])
    assert any(f"at least {table.duration(least)}, {least / 3600 * 2.5:.2f} at 2.5 an hour" in line for line in lines)
    one, other = list(probes)
    lines = table.lines(suite, {one: probes[one]}, {other: "no memory"}, 1, {}, "mixed")
    assert any(line.startswith(other[0]) and line.endswith("no memory") for line in lines)


@pytest.mark.parametrize("arguments, said", [
    (["digit"], "no suite 'digit'"), (["digits", "--price", "a100"], "expected GPU=PRICE"),
    (["digits", "--price", "b3=1"], "no figures for 'b3'; there are v100, a100"), (["digits", "--jobs", "0"], "1 or more")])
def test_wrong_arguments_are_one_line(capsys, arguments, said):
    assert cli.main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_what_cannot_be_probed_is_said(monkeypatch, capsys):
    monkeypatch.setattr(probing.sys, "executable", "/bin/false")
    assert cli.main(["plan", "he2016_short"]) == 1
    said = capsys.readouterr()
    assert "cannot be probed" in said.out and said.err.endswith("repro: 2 of 2 could not be probed\n")


@pytest.mark.slow
@pytest.mark.parametrize("network, dataset, recipe", [("lenet5_modern", "digits", "smoke"), ("gcn", "cora", "paper"),
                                                      ("resnet18", "imagenet", "paper")])
def test_a_probe_measures_without_the_data(network, dataset, recipe, monkeypatch):
    monkeypatch.setattr(probing, "MOST", 1e10)
    found = probing.measure(Trial(network, dataset, recipe, 0))
    assert 0 < found.seconds_a_step < 3600 and found.memory > 1e8 and found.multiply_adds > 1e4
    assert 1 <= found.probed_batch <= estimate.work_of(Trial(network, dataset, recipe, 0)).batch


@pytest.mark.slow
def test_a_probe_takes_as_many_steps_a_call_as_training(monkeypatch):
    """Else a small batch's step is said to take as long as a call, which is most of it."""
    from cnn_repro.repro.training.tensorflow_engine import TensorFlowEngine
    calls, train = [], TensorFlowEngine.train

    def taken(engine, inputs, targets, rates):
        calls.append((len(rates), len(targets), engine.steps_a_call))
        train(engine, inputs, targets, rates)

    monkeypatch.setattr(TensorFlowEngine, "train", taken)
    probing.measure(Trial("lenet5_modern", "digits", "smoke", 0, "explicit", {"batch": 16}))
    assert set(calls) == {(16, 16, 16)}
    calls.clear()
    monkeypatch.setattr(probing, "SEVERAL", 1e7)                # where the steps are long, one is enough
    probing.measure(Trial("lenet5_modern", "digits", "smoke", 0, "explicit", {"batch": 16}))
    assert {count for count, *_ in calls} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("network, dataset, recipe", [
    ("lenet5_modern", "digits", "smoke"), ("gcn", "cora", "paper"), ("alexnet", "imagenette", "smoke")])
def test_a_probe_measures_on_jax(network, dataset, recipe):
    """On the device and step by step: photographs do not lie there."""
    pytest.importorskip("jax", reason="JAX is not installed: pip install -e '.[jax]'")
    found = probing.probe(Trial(network, dataset, recipe, 0), os.environ | {"KERAS_BACKEND": "jax"})
    assert 0 < found.seconds_a_step < 3600 and found.multiply_adds > 1e4
