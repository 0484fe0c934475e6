"""A suite: its file, its processes, what is left when it is killed, and its array script."""
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnn_repro.repro import cli, record as records
from cnn_repro.repro.papers import CardError, RecipeError
from cnn_repro.repro.plan.estimate import work_of
from cnn_repro.repro.suite import local, table
from cnn_repro.repro.suite.local import Local
from cnn_repro.repro.suite.state import held, saved_step, state_of
from cnn_repro.repro.suite.trials import SuiteError, Trial, load, seeds, suites
from cnn_repro.repro.training.run_directory import RunDirectory

BLOCK = '[[trials]]\nnetworks = ["lenet5_modern"]\ndatasets = ["digits"]\nrecipes = ["smoke"]\n'

# trains nothing, but keeps lock, record and log as a training does, step by step; its "error" follows from what it was
# asked for and every step that it took, so that a step lost or taken twice would be seen. It goes on at its last
# checkpoint, of every fifth step
FAKE = '''
import hashlib, json, os, signal, sys, time
from pathlib import Path
from cnn_repro.repro import record as records
from cnn_repro.repro.training.run_directory import RunDirectory, RunError
if sys.argv[1] != "train":
    Path(os.environ["FAKE_SAID"]).open("a").write(" ".join(sys.argv[1:]) + "\\n")
    until = time.monotonic() + 60
    while os.path.exists(os.environ.get("FAKE_GATE", "")) and time.monotonic() < until:
        time.sleep(0.01)
    sys.exit(int(sys.argv[1] == "bench"))
words = dict(zip(sys.argv[3::2], sys.argv[4::2]))
run, seed = Path(words["--run"]), int(words["--seed"])
if seed == 13:
    sys.exit("repro: no luck with seed 13")
if "FAKE_DEVICES" in os.environ:
    Path(os.environ["FAKE_DEVICES"]).open("a").write(os.environ.get("CUDA_VISIBLE_DEVICES", "") + "\\n")
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
try:
    directory = RunDirectory(run).__enter__()
except RunError as error:
    sys.exit(f"repro: {error}")
record = directory.record() or {
    "schema": records.SCHEMA, "kind": "training", "id": run.name, "reason": "", "wall_seconds": 0.0, "result": {},
    "dataset": {"splits": {"train": 100}}, "history": [], "recipe": {"resolved": {
        "batch": 10, "schedule": {"kind": "constant", "rate": 1.0, "stop": 20}}}}
saved = sorted((run / "checkpoints").glob("*.checkpoint"))
record["history"] = record["history"][:int(saved[-1].stem[5:]) if saved else 0]
taken = record["history"][-1]["taken"] if record["history"] else sys.argv[2] + words["--seed"]
for step in range(len(record["history"]) + 1, 21):
    time.sleep(float(os.environ.get("FAKE_STEP", 0.01)))
    while step == 10 and seed > 2 and os.path.exists(os.environ.get("FAKE_GATE", "")):
        time.sleep(0.01)
    taken = hashlib.sha256(f"{taken} {step}".encode()).hexdigest()
    record["history"].append({"step": step, "seconds": 0.01, "taken": taken})
    records.write_record(run / "record.json", record | {"status": "running"})
    leaving = asked and "FAKE_DEAF" not in os.environ
    if leaving or step % 5 == 0:
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "checkpoints" / f"step-{step:09d}.checkpoint").touch()
    if leaving:
        records.write_record(run / "record.json", record | {"status": "interrupted"})
        sys.exit(143)
record["result"] = {"test_error": int(taken[:4], 16) / 655.36}
records.write_record(run / "record.json", record | {"status": "finished"})
'''


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """What a suite starts in place of `python -m cnn_repro.repro`."""
    program, said = tmp_path / "fake.py", tmp_path / "said"
    program.write_text(FAKE, encoding="utf-8")
    monkeypatch.setattr(local, "COMMAND", [sys.executable, str(program)])
    monkeypatch.setattr(local, "POLL", 0.02)
    monkeypatch.setenv("FAKE_SAID", str(said))
    return said


def suite_of(tmp_path, text=BLOCK + 'seeds = "0-3"\n', title='title = "A suite"\n'):
    path = tmp_path / "mine.toml"
    path.write_text(title + text, encoding="utf-8")
    return load(path)


# --------------------------------------------------------------------------------------------------- the file

def test_a_suite_is_every_combination_in_the_files_order(tmp_path):
    text = BLOCK.replace('["lenet5_modern"]', '["lenet5_modern", "nin_cifar"]') + "seeds = [2, 0]\n"
    found = suite_of(tmp_path, text + BLOCK + 'layers = "stock"\nset = {"optimizer.momentum" = 0.5, augment = ["flip"]}\n')
    assert [(trial.network, trial.seed, trial.layers) for trial in found.trials] == [
        ("lenet5_modern", 2, "explicit"), ("lenet5_modern", 0, "explicit"), ("nin_cifar", 2, "explicit"),
        ("nin_cifar", 0, "explicit"), ("lenet5_modern", 0, "stock")]
    assert found.name == "mine" and found.title == "A suite" and found.first == ()


def test_a_trial_is_the_run_that_train_would_make(tmp_path):
    """The same directory as without --run, and the arguments are read back as what was meant."""
    changed = Trial("lenet5_modern", "digits", "smoke", 3, "stock", {
        "optimizer.momentum": 0.5, "augment": ["flip", {"name": "cutout", "size": 2}], "loss.label_smoothing": 0.1})
    for trial in (changed, Trial("gcn", "cora", "paper", 0)):
        options = cli.parser().parse_args(trial.arguments(tmp_path))
        assert (options.network, options.dataset, options.recipe, options.seed, options.layers) == (
            trial.network, trial.dataset, trial.recipe, trial.seed, trial.layers)
        assert dict(cli.assignment(text) for text in options.overrides) == trial.overrides
        assert options.run == tmp_path / trial.name
    assert changed.name.startswith("lenet5_modern-digits-smoke-s3-stock-")
    assert Trial("gcn", "cora", "paper", 0).name == "gcn-cora-paper-s0"


@pytest.mark.parametrize("text, error, said", [
    ("", SuiteError, "trials is missing"), ("trials = []", SuiteError, "no trials"), ("][", SuiteError, "mine.toml: "),
    (BLOCK + "seedz = [1]", SuiteError, "unknown key 'seedz'; did you mean 'seeds'"),
    (BLOCK + "zzz = 1", SuiteError, "unknown key 'zzz'; there are networks, datasets"),
    (BLOCK + "layers = 3", SuiteError, "layers = 3 is of the wrong type"),
    (BLOCK + 'layers = "stok"', SuiteError, "no layers 'stok'; did you mean 'stock'?"),
    (BLOCK + 'seeds = "3-1"', SuiteError, "seeds '3-1' has none from 3 to 1; expected \"1-3\""),
    (BLOCK + 'seeds = "0-2,1"', SuiteError, "has 1 twice"), (BLOCK + "seeds = [4, 4]", SuiteError, "has 4 twice"),
    (BLOCK + "seeds = []", SuiteError, "seeds is empty"),
    (BLOCK.replace('["smoke"]', "[]"), SuiteError, "recipes is empty"),
    (BLOCK.replace('["lenet5_modern"]', "[1]"), SuiteError, "networks = [1] is of the wrong type, expected a list of"),
    ('first = ["chek"]\n' + BLOCK, SuiteError, "first: 'chek': unknown 'chek', did you mean 'check'?"),
    ('first = ["check --kep"]\n' + BLOCK, SuiteError, "first: 'check --kep': unrecognized arguments: --kep"),
    ('first = ["check \\"Conv2D"]\n' + BLOCK, SuiteError, "No closing quotation"),
    ('first = [""]\n' + BLOCK, SuiteError, "first: ''"),
    ('first = [1]\n' + BLOCK, SuiteError, "first = [1] is of the wrong type"),
    (BLOCK + 'seeds = "1-x"', SuiteError, "neither like \"0-4\""), (BLOCK + "seeds = [-1]", SuiteError, "from 0 on"),
    (BLOCK + BLOCK, SuiteError, "lenet5_modern-digits-smoke-s0 stands there twice"),
    ("trials = [3]", SuiteError, "expected a table"), ("[[trials]]\nseeds = [1]", SuiteError, "networks is missing"),
    (BLOCK.replace("lenet5_modern", "lenet6"), CardError, "lenet6"),
    (BLOCK.replace("smoke", "smokey"), RecipeError, "smokey"),
    (BLOCK.replace("digits", "digitz"), ValueError, "digitz"),
    (BLOCK + 'set = {"optimizer.momentun" = 1}', RecipeError, "momentun")])
def test_what_cannot_be_run_is_said_before_anything_runs(tmp_path, text, error, said):
    with pytest.raises(error) as raised:
        suite_of(tmp_path, text)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_seeds_are_lists_and_ranges():
    assert seeds("0-2,5") == [0, 1, 2, 5] and seeds("3") == [3] and seeds([1, 0]) == [1, 0]


def test_the_packages_own_suites_can_be_run():
    assert suites() == ["digits", "he2016", "he2016_short", "paper_on_cpu"]
    assert [len(load(name).trials) for name in suites()] == [12, 35, 6, 89]
    for arguments in load("he2016").first:
        assert cli.parser().parse_args([*arguments, "--runs", "runs"]).function


# ---------------------------------------------------------------------------------------------- the processes

def outcomes(suite, runs) -> dict:
    found = {name: state for name, state in table.rows(suite, runs)}
    return {name: (state.status, state.test_error) for name, state in found.items()}


@pytest.mark.parametrize("jobs", [1, 3])
def test_all_trials_run_and_a_second_time_none(fake, tmp_path, jobs):
    suite, events, most = suite_of(tmp_path), [], []
    once = Local(suite, tmp_path / "runs", jobs, show=lambda event, it: (events.append(event), most.append(len(it.working))))
    assert once.run() == "done" and not once.failed and max(most) == jobs
    assert {status for status, _ in outcomes(suite, tmp_path / "runs").values()} == {"finished"}
    begun = [event for event in events if event and event.endswith("begun")]
    assert begun == [f"{trial.name}: begun" for trial in suite.trials]                  # the most valuable first
    again = []
    assert Local(suite, tmp_path / "runs", jobs, show=lambda event, it: again.append(event)).run() == "done"
    assert not any(again)


def test_killed_in_the_middle_a_suite_of_twelve_ends_as_if_it_had_not_been(fake, tmp_path):
    """The suite's process and two of its trials get SIGKILL; what goes on by itself is waited for."""
    suite = suite_of(tmp_path, BLOCK + 'seeds = "0-11"\n')
    Local(suite, tmp_path / "whole", 4).run()
    code = f"""
import sys
from cnn_repro.repro.suite import local, trials
local.COMMAND, local.POLL = {local.COMMAND!r}, 0.02
local.Local(trials.load({str(tmp_path / "mine.toml")!r}), {str(tmp_path / "cut")!r}, 3).run()
"""
    gate = tmp_path / "gate"            # three trials end, the next three wait at it: all can be killed in the same state
    gate.touch()
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"FAKE_GATE": str(gate)})
    until = time.monotonic() + 300
    while [state.step for _, state in table.rows(suite, tmp_path / "cut") if state.status == "running"] != [9] * 3 \
            and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    alive = [name for name, state in table.rows(suite, tmp_path / "cut") if state.status == "running"]
    for name in alive[:2]:
        os.kill(json.loads((tmp_path / "cut" / name / "lock").read_text())["process"], signal.SIGKILL)
    until = time.monotonic() + 10
    while any(held(tmp_path / "cut" / name) for name in alive[:2]) and time.monotonic() < until:
        time.sleep(0.01)
    gate.unlink()
    statuses = {name: status for name, (status, _) in outcomes(suite, tmp_path / "cut").items()}
    assert len(alive) == 3 and {statuses[name] for name in alive[:2]} == {"cut"} and "waiting" in statuses.values()
    events = []
    assert Local(suite, tmp_path / "cut", 4, show=lambda event, it: events.append(event)).run() == "done"
    assert outcomes(suite, tmp_path / "cut") == outcomes(suite, tmp_path / "whole")
    assert any("goes on at step" in event for event in events if event)


def test_two_suites_share_the_work(fake, tmp_path):
    """F12: no trial runs twice at a time, and both end when all have."""
    suite, runs = suite_of(tmp_path), tmp_path / "runs"
    said = []
    both = [subprocess.Popen([sys.executable, "-c", f"""
from cnn_repro.repro.suite import local, trials
local.COMMAND, local.POLL = {local.COMMAND!r}, 0.02
one = local.Local(trials.load({str(tmp_path / "mine.toml")!r}), {str(runs)!r}, 2,
                  show=lambda event, it: event and print(event, flush=True))
assert one.run() == "done"
"""], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        said += process.communicate(timeout=300)[0].splitlines()
        assert process.returncode == 0
    assert {status for status, _ in outcomes(suite, runs).values()} == {"finished"}
    assert sum("finished" in line for line in said) >= len(suite.trials)


def test_a_failed_trial_keeps_no_other_back(fake, tmp_path):
    suite = suite_of(tmp_path, BLOCK + "seeds = [13, 0]\n")
    one = Local(suite, tmp_path / "runs")
    assert one.run() == "done"
    assert one.failed == {"lenet5_modern-digits-smoke-s13": "no luck with seed 13"}
    assert [status for status, _ in outcomes(suite, tmp_path / "runs").values()] == ["waiting", "finished"]


def test_the_budget_ends_a_suite_with_its_state_saved(fake, tmp_path, monkeypatch):
    suite = suite_of(tmp_path)
    Local(suite, tmp_path / "whole").run()
    monkeypatch.setenv("FAKE_STEP", "0.2")
    events = []

    def over(event, it):
        events.append(event)
        if (it.runs / suite.trials[0].name / "record.json").exists():       # not by the clock: it must have begun
            it.ends = 0.0

    assert Local(suite, tmp_path / "cut", 1, 600, show=over).run() == "budget"
    assert [status for status, _ in outcomes(suite, tmp_path / "cut").values()] == ["interrupted"] + ["waiting"] * 3
    said, = [event for event in events if event and "stopped" in event]
    assert said == f"{suite.trials[0].name}: stopped; goes on at step {saved_step(suite.trials[0], tmp_path / 'cut')}"
    monkeypatch.setenv("FAKE_STEP", "0.01")
    assert Local(suite, tmp_path / "cut").run() == "done"
    assert outcomes(suite, tmp_path / "cut") == outcomes(suite, tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_trials_and_then_the_suite(fake, tmp_path, monkeypatch, number):
    monkeypatch.setenv("FAKE_STEP", "0.2")
    suite = suite_of(tmp_path)
    sent = []

    def stop(event, it):
        if not sent and all((it.runs / trial.name / "record.json").exists() for trial in suite.trials[:2]):
            sent.append(os.kill(os.getpid(), number))

    before = signal.getsignal(number)
    assert Local(suite, tmp_path / "runs", 2, show=stop).run() == signal.Signals(number).name
    assert signal.getsignal(number) is before
    statuses = [status for status, _ in outcomes(suite, tmp_path / "runs").values()]
    assert statuses == ["interrupted"] * 2 + ["waiting"] * 2


def test_a_trial_that_does_not_stop_is_killed_and_that_is_said(fake, tmp_path, monkeypatch):
    """Not the step of its log but that of its last checkpoint, at which it goes on."""
    monkeypatch.setattr(local, "GRACE", 0.1)
    monkeypatch.setenv("FAKE_DEAF", "")
    monkeypatch.setenv("FAKE_STEP", "0.1")
    suite, events = suite_of(tmp_path, BLOCK), []

    def over(event, it):
        events.append(event)
        if state_of(suite.trials[0], it.runs).step > 6:
            it.ends = 0.0

    assert Local(suite, tmp_path / "runs", 1, 600, show=over).run() == "budget"
    name, state = suite.trials[0].name, state_of(suite.trials[0], tmp_path / "runs")
    assert state.status == "cut" and state.step % 5
    assert events[-1] == f"{name}: killed; goes on at step {state.step // 5 * 5}"
    assert Local(suite, tmp_path / "runs", show=lambda event, it: events.append(event)).run() == "done"
    assert f"{name}: goes on at step {state.step // 5 * 5}" in events


def test_verbs_that_come_first_run_once(fake, tmp_path):
    suite = suite_of(tmp_path, BLOCK, 'title = "A"\nfirst = ["check --keep", "bench"]\n')
    for expected in (["bench"], ["bench"]):             # bench fails here, and is tried again; check was done
        one = Local(suite, tmp_path / "runs")
        assert one.run() == "done" and [name.split("-")[1] for name in one.failed] == expected
    runs = tmp_path / "runs"
    assert fake.read_text().splitlines() == [f"check --keep --runs {runs}", f"bench --runs {runs}", f"bench --runs {runs}"]


def test_verbs_that_come_first_run_again_on_another_backend_and_with_other_arguments(fake, tmp_path, monkeypatch):
    """A layer that was checked on TensorFlow has not been on JAX."""
    for first, backend, runs in (("check", "tensorflow", 1), ("check", "jax", 2), ("check", "tensorflow", 2),
                                 ("check Conv2D", "tensorflow", 3), ("check Conv2D", "tensorflow", 3)):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        suite = suite_of(tmp_path, BLOCK, f'title = "A"\nfirst = ["{first}"]\n')
        assert Local(suite, tmp_path / "runs").run() == "done"
        assert len(fake.read_text().splitlines()) == runs


def test_of_two_suites_one_runs_the_verbs_that_come_first(fake, tmp_path, monkeypatch):
    """The other waits until it is done, and it holds on to its lock where its own suite is killed."""
    suite = suite_of(tmp_path, BLOCK, 'title = "A"\nfirst = ["check"]\n')
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    gate.touch()                        # the verb does not end before it is gone
    monkeypatch.setenv("FAKE_GATE", str(gate))
    code = f"""
from cnn_repro.repro.suite import local, trials
local.COMMAND, local.POLL = {local.COMMAND!r}, 0.02
local.Local(trials.load({str(tmp_path / "mine.toml")!r}), {str(runs)!r}).run()
"""
    for killed in (False, True):
        other = subprocess.Popen([sys.executable, "-c", code])
        until = time.monotonic() + 120
        while not fake.exists() and time.monotonic() < until:
            time.sleep(0.02)
        if killed:
            other.kill()
            other.wait()
        events = []

        def wait(event, it):
            events.append(event)
            if event and "another process runs it" in event:
                assert len(fake.read_text().splitlines()) == 1
                gate.unlink()

        assert Local(suite, runs, show=wait).run() == "done" and not gate.exists()
        # nobody was left to say that it was done: it is done again, after it and not beside it
        assert len(fake.read_text().splitlines()) == (2 if killed else 1)
        other.wait(120)
        for path in (*runs.glob("*.done"), fake):
            path.unlink()
        gate.touch()


# ---------------------------------------------------------------------------------------- what a person sees of it

def test_results_are_means_with_their_deviation(fake, tmp_path):
    suite = suite_of(tmp_path)
    assert table.results(suite, tmp_path / "runs") == [
        "lenet5_modern digits smoke: test error – (0 of 4 seeds, waiting)"]
    Local(suite, tmp_path / "runs", 4).run()
    errors = [error for _, error in outcomes(suite, tmp_path / "runs").values()]
    line, = table.results(suite, tmp_path / "runs")
    assert f"{sum(errors) / 4:.2f} % ± " in line and line.endswith("(4 of 4 seeds)")


def test_the_time_left_goes_by_the_speed_of_like_trials(fake, tmp_path):
    suite = suite_of(tmp_path)
    assert table.seconds_left(suite, tmp_path / "runs", 2) is None
    Local(suite_of(tmp_path, BLOCK), tmp_path / "runs").run()                # one of the four
    state = state_of(suite.trials[0], tmp_path / "runs")
    assert state.seconds_a_step == pytest.approx(0.01) and (state.step, state.steps) == (20, 20)
    assert table.seconds_left(suite, tmp_path / "runs", 2) == pytest.approx(3 * 20 * 0.01 / 2)
    assert [table.duration(seconds) for seconds in (14, 170, 7400)] == ["14 s", "3 min", "2 h 04 min"]


def test_a_run_of_another_process_is_running_and_a_killed_one_is_cut(fake, tmp_path):
    suite = suite_of(tmp_path, BLOCK)
    Local(suite, tmp_path).run()
    trial, = suite.trials
    path = tmp_path / trial.name / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "running"}))
    assert state_of(trial, tmp_path).status == "cut"
    with RunDirectory(tmp_path / trial.name):
        assert state_of(trial, tmp_path).status == "running"
    path.write_text("half a rec")
    assert state_of(trial, tmp_path).status == "waiting"


def test_the_steps_of_a_graph_are_its_epochs(tmp_path):
    """Every step is at all nodes, whatever the recipe's batch."""
    trial = Trial("gcn", "cora", "paper", 0)
    record = {"schema": records.SCHEMA, "kind": "training", "id": "x", "status": "interrupted", "reason": "",
              "wall_seconds": 1.0, "result": {}, "dataset": {"splits": {"train": 140}},
              "recipe": {"resolved": trial.resolved().resolved}, "history": [{"step": 20, "seconds": 2.0}]}
    records.write_record(tmp_path / trial.name / "record.json", record)
    state = state_of(trial, tmp_path)
    assert state.steps == work_of(trial).steps == 200 and state.seconds_left == pytest.approx(18.0)


# -------------------------------------------------------------------------------------------------- the command

def test_the_command_says_what_there_is_and_how_far_it_is(tmp_path, capsys):
    assert cli.main(["suite"]) == 0
    assert "digits: Small networks on the embedded digits; 12 trials" in capsys.readouterr().out
    assert cli.main(["suite", "digits", "--status", "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("waiting\n") == 12 and said.endswith("0 of 12 trials ended; the same command goes on\n")


@pytest.mark.parametrize("arguments, said", [
    (["digit"], "no suite 'digit': expected 'digits'"), (["digits", "--jobs", "0"], "--jobs 0: expected 1 or more"),
    (["digits", "--replicas", "0"], "--replicas 0: expected 1 or more"),
    (["digits", "--slurm", "x.sh", "--jobs", "2", "--budget", "5"], "--slurm takes no --jobs and no --budget"),
    (["digits", "--slurm", "x.sh", "--trial", "0"], "--slurm takes no --trial"),
    (["digits", "--slurm", "x.sh", "--status"], "--slurm takes no --status"),
    (["digits", "--trial", "0", "--ray", "auto"], "--trial takes no --ray"),
    (["digits", "--trial", "12"], "has the trials 0 to 11"), (["no/where.toml"], "no suite 'no/where.toml'")])
def test_wrong_arguments_are_one_line(capsys, arguments, said):
    assert cli.main(["suite", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_suite_runs_by_command(fake, tmp_path, capsys):
    suite_of(tmp_path)
    assert cli.main(["suite", str(tmp_path / "mine.toml"), "--runs", str(tmp_path / "runs"), "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("4 of 4 trials ended\n") and said.count(": finished, test error") == 4
    suite_of(tmp_path, BLOCK + "seeds = [13]\n")
    assert cli.main(["suite", str(tmp_path / "mine.toml"), "--runs", str(tmp_path / "runs")]) == 1
    assert capsys.readouterr().err == "repro: lenet5_modern-digits-smoke-s13: no luck with seed 13\n"


def test_replicas_are_those_of_every_trial(fake, tmp_path, capsys, monkeypatch):
    suite_of(tmp_path, BLOCK)
    asked, begin = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **more: (asked.append(words), begin(words, **more))[1])
    assert cli.main(["suite", str(tmp_path / "mine.toml"), "--runs", str(tmp_path / "runs"), "--replicas", "2"]) == 0
    trained = next(words for words in asked if "train" in words)
    assert cli.parser().parse_args(trained[trained.index("train"):]).replicas == 2


# ------------------------------------------------------------------------------------------------- the array script

def test_the_array_script_finds_its_folder_and_says_what_is_not_in_it(tmp_path, capsys):
    """Slurm does not make the folder of its logs: without it a task ends before its first line."""
    suite_of(tmp_path, BLOCK, 'title = "A"\nfirst = ["check --keep", "list lenet5"]\n')
    script, runs = tmp_path / "array.sh", tmp_path / "not" / "there"
    assert cli.main(["suite", str(tmp_path / "mine.toml"), "--slurm", str(script), "--runs", str(runs)]) == 0
    output, = [line.split("=")[1] for line in script.read_text().splitlines() if line.startswith("#SBATCH --output")]
    assert Path(output).parent == runs and runs.is_dir()
    said = capsys.readouterr().out.splitlines()[1:]
    assert said == [f"not in it, to be run once by hand: python -m repro check --keep --runs {runs}; "
                    "python -m repro list lenet5"]


@pytest.mark.slow
def test_the_array_script_trains_what_the_suite_would(tmp_path):
    """As Slurm runs it: a task a trial, then one task once more after SIGTERM."""
    suite = suite_of(tmp_path, BLOCK + "seeds = [0, 1]\n")
    script, runs = tmp_path / "array.sh", tmp_path / "runs"
    assert cli.main(["suite", str(tmp_path / "mine.toml"), "--slurm", str(script), "--runs", str(runs)]) == 0
    assert "#SBATCH --array=0-1\n" in script.read_text()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    process = subprocess.Popen(["bash", str(script)], env=environment | {"SLURM_ARRAY_TASK_ID": "0"}, cwd=tmp_path)
    until = time.monotonic() + 120
    while state_of(suite.trials[0], runs).step == 0 and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()                                 # to the script: it hands it on
    assert process.wait(60) == 143 and state_of(suite.trials[0], runs).status == "interrupted"
    for task in ("0", "1"):
        done = subprocess.run(["bash", str(script)], env=environment | {"SLURM_ARRAY_TASK_ID": task}, cwd=tmp_path,
                              timeout=300)
        assert done.returncode == 0
    assert {status for status, _ in outcomes(suite, runs).values()} == {"finished"}
    nothing = subprocess.run(["bash", str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert nothing.returncode != 0 and "SLURM_ARRAY_TASK_ID" in nothing.stderr


@pytest.mark.slow
def test_a_real_suite_cut_by_its_budget_ends_as_one_that_was_not(tmp_path):
    """Real trainings in processes of their own: the weights are those of an uninterrupted suite, bit for bit."""
    suite_of(tmp_path, BLOCK + "seeds = [0, 1]\n")
    command = [sys.executable, "-m", "cnn_repro.repro", "suite", str(tmp_path / "mine.toml"), "--jobs", "2",
               "--deterministic", "--runs"]
    assert subprocess.run([*command, tmp_path / "whole"], cwd=tmp_path, timeout=300).returncode == 0
    assert subprocess.run([*command, tmp_path / "cut", "--budget", "0.15"], cwd=tmp_path, timeout=300).returncode == 0
    assert subprocess.run([*command, tmp_path / "cut"], cwd=tmp_path, timeout=300).returncode == 0
    weights = [[json.loads((path / "record.json").read_text())["weights_sha256"]
                for path in sorted(Path(folder).glob("lenet*/"))] for folder in (tmp_path / "whole", tmp_path / "cut")]
    assert len(weights[0]) == 2 and None not in weights[0] and weights[0] == weights[1]


# ---------------------------------------------------------------------------------------------------------- Ray

@pytest.mark.slow
def test_a_ray_cluster_runs_the_same_trials(fake, tmp_path, monkeypatch):
    """On a real Ray on this machine: stopped by a signal and gone on with, a failed one, and all others."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    from cnn_repro.repro.suite.cluster import Cluster
    suite = suite_of(tmp_path, BLOCK + 'seeds = "0-2,13"\n')
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    Local(suite, whole).run()
    monkeypatch.setenv("FAKE_STEP", "1")

    def stop(event, it):
        if event is None and any(state.step > 0 for _, state in table.rows(suite, cut)):
            os.kill(os.getpid(), signal.SIGTERM)

    assert Cluster(suite, cut, "local", 2, 120, show=stop).run() == "SIGTERM"
    assert "interrupted" in {status for status, _ in outcomes(suite, cut).values()}
    monkeypatch.setenv("FAKE_STEP", "0.01")
    one = Cluster(suite, cut, "local", 2)
    assert one.run() == "done" and one.failed == {"lenet5_modern-digits-smoke-s13": "no luck with seed 13"}
    assert outcomes(suite, cut) == outcomes(suite, whole)
    assert sum(status == "finished" for status, _ in outcomes(suite, cut).values()) == 3


@pytest.mark.slow
def test_on_ray_the_trials_of_a_machine_share_all_its_gpus(fake, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    from cnn_repro.repro.suite.cluster import Cluster
    monkeypatch.setattr(ray, "init", functools.partial(ray.init, num_cpus=4, num_gpus=4))      # Ray takes one's word
    monkeypatch.setenv("FAKE_DEVICES", str(tmp_path / "devices"))
    assert Cluster(suite_of(tmp_path, BLOCK + "seeds = [0, 1]\n"), tmp_path / "runs", "local", 2).run() == "done"
    seen = (tmp_path / "devices").read_text().splitlines()
    assert [len(devices.split(",")) for devices in seen] == [2, 2]


@pytest.mark.parametrize("machines, jobs, found", [
    ([{"CPU": 8.0}], 1, (8, 0)), ([{"CPU": 8.0}], 3, (2, 0)), ([{"CPU": 2.0}], 4, (1, 0)), ([{}], 1, (1, 0)),
    ([{"CPU": 8.0, "GPU": 1.0}], 1, (8, 1)), ([{"CPU": 8.0, "GPU": 1.0}], 4, (2, 1 / 4)),
    ([{"CPU": 8.0, "GPU": 4.0}], 1, (8, 4)), ([{"CPU": 8.0, "GPU": 4.0}], 4, (2, 1)),
    # of three on four GPUs one stays idle, of six on four no task lies on two GPUs
    ([{"CPU": 8.0, "GPU": 4.0}], 3, (2, 1)), ([{"CPU": 8.0, "GPU": 4.0}], 6, (1, 1 / 2)),
    # the smallest of those that have GPUs
    ([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 6.0, "GPU": 2.0}, {"CPU": 2.0}], 2, (3, 1))])
def test_a_task_has_its_share_of_a_machine(machines, jobs, found):
    from cnn_repro.repro.suite.cluster import share
    cpus, gpus = share(machines, jobs)
    assert (cpus, gpus) == found and isinstance(cpus, int)
    assert gpus < 1 or isinstance(gpus, int)            # Ray takes no other numbers above 1


def test_without_ray_one_line_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["suite", "digits", "--ray", "auto", "--runs", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "repro: Ray is not installed: pip install -e '.[ray]', or leave --ray out\n"


def test_several_seeds_are_a_suite_of_one_line(fake, tmp_path, capsys):
    command = ["train", "lenet5_modern", "--dataset", "digits", "--recipe", "smoke", "--runs", str(tmp_path), "--seeds"]
    assert cli.main([*command, "0-2"]) == 0
    assert "(3 of 3 seeds)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("lenet*/")) == [f"lenet5_modern-digits-smoke-s{n}" for n in range(3)]
    assert cli.main([*command, "x"]) == 2 and "neither like" in capsys.readouterr().err
    assert cli.main([*command, "0-2", "--run", "here"]) == 2 and "for one seed" in capsys.readouterr().err
    assert cli.main([*command, "3-5", "--quiet"]) == 0          # the result alone
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize("arguments, said", [
    (["4-0"], "seeds '4-0' has none from 4 to 0; expected \"0-4\""), (["0,0"], "seeds '0,0' has 0 twice"),
    ([""], "neither like"), (["0-2", "--seed", "0"], "--seed 0 and --seeds 0-2: give one of the two")])
def test_wrong_seeds_are_one_line_and_train_nothing(fake, tmp_path, capsys, arguments, said):
    assert cli.main(["train", "lenet5_modern", "--dataset", "digits", "--recipe", "smoke", "--seeds", *arguments,
                     "--runs", str(tmp_path / "runs")]) == 2
    out, error = capsys.readouterr()
    assert said in error and error.count("\n") == 1 and not out and not (tmp_path / "runs").exists()
