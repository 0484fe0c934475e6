"""The command line: every verb once for real on the digits, and one clear line where something is wrong."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cnn_repro.architectures import names
from cnn_repro.layers import activation
from cnn_repro.repro import cli, data as datasets
from cnn_repro.repro.cli import main
from cnn_repro.repro.record import read_record, write_record

CHECKOUT = Path(cli.__file__).parents[1]
TRAIN = ["train", "lenet5_modern", "--dataset", "digits", "--recipe", "smoke", "--quiet",
         "--set", "schedule.stop=2", "--set", "schedule.at=[1]"]


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory):
    """The digits, prepared in a folder of this module's own; no other data set anywhere."""
    place = tmp_path_factory.mktemp("prepared data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_REPRO_DATA", str(place))
        patch.setenv("TFDS_DATA_DIR", str(place / "no tfds"))
        patch.delenv("CNN_REPRO_TRACEBACK", raising=False)
        yield place


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory) -> Path:
    """A run directory of `train`, in a folder with blanks in its name."""
    folder = tmp_path_factory.mktemp("my runs")
    assert main([*TRAIN, "--runs", str(folder)]) == 0
    found, = folder.iterdir()
    return found


@pytest.fixture
def digit(tmp_path) -> tuple[Path, int]:
    """A test image of the digits as a PNG file, and its place in the test set."""
    images, _ = datasets.load("digits").open_test()
    path = tmp_path / "a digit.png"
    Image.fromarray(images[5, :, :, 0]).save(path)
    return path, 5


def python(*words, cwd=None, **environment) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=cwd, env={**os.environ, **environment}, capture_output=True,
                          text=True, encoding="utf-8", timeout=300)


def failing(capsys, *arguments) -> tuple[int, str]:
    """(exit code, the one line on stderr) of a command that fails."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in arguments])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert err.endswith("\n") and err.count("\n") == 1 and "Traceback" not in err, err
    assert "\x1b" not in err
    return code, err.strip()


# --------------------------------------------------------------------------------------------- before TensorFlow

def test_help_list_and_every_wrong_name_answer_without_tensorflow(tmp_path):
    commands = [["--help"], ["list"], ["list", "lenet5"], ["train", "--help"], ["data", "list"], ["trian"],
                ["list", "lenet6"], ["show", "lenet6"], ["train", "lenet6"], ["train", "lenet5", "--recipe", "papr"],
                ["train", "lenet5", "--dataset", "digts"], ["train", "lenet5", "--set", "bach=1"],
                ["train", "lenet5", "--layers", "stok"], ["data", "verify", "mnst"], ["evaluate", "nowhere"],
                ["predict", "nowhere", "image.png"], ["bench", "Dens"], ["report", "nowhere"]]
    code = f"""
import sys
from cnn_repro.repro import cli
heavy = {{"tensorflow", "keras", "jax", "torch", "pandas", "matplotlib"}}
assert not heavy & sys.modules.keys(), "at import"
codes = []
for command in {commands!r}:
    try:
        codes.append(cli.main(command))
    except SystemExit as end:
        codes.append(end.code)
    if command[0] != "report":
        assert not heavy & sys.modules.keys(), command
    assert not {{"tensorflow", "keras"}} & sys.modules.keys(), command
print("codes", *codes)
"""
    child = python("-c", code, cwd=tmp_path)
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines()[-1].split()[1:] == "0 0 0 0 0 2 2 2 2 2 2 2 2 2 1 1 2 1".split()
    assert child.stderr.count("\n") == 13 and "Traceback" not in child.stderr


@pytest.mark.parametrize("arguments, message", [
    (["trian", "lenet5"], "unknown 'trian', did you mean 'train'?"),
    (["frobnicate"], "unknown 'frobnicate'; there are list, show, train,"),
    (["train", "lenet5_moderm"], "no architecture 'lenet5_moderm', did you mean 'lenet5_modern'? (python"),
    (["show", "resnet20"], "no architecture 'resnet20', did you mean 'resnet20_cifar'?"),
    (["list", "resnet20"], "no architecture 'resnet20', did you mean 'resnet20_cifar'?"),
    (["train", "lenet5", "--recipe", "shrt"], "no recipe 'shrt', did you mean 'short'?; it has paper, short, smoke"),
    (["train", "lenet5", "--dataset", "mnits"], "no data set 'mnits', did you mean 'mnist'? (there are digits, mnist"),
    (["data", "prepare", "cifar"], "no data set 'cifar', did you mean 'cifar10'?"),
    (["data", "prepare"], "data prepare needs a name: digits, mnist, cifar10"),
    (["data", "prepar", "digits"], "unknown 'prepar', did you mean 'prepare'?"),
    (["train", "lenet5_modern", "--set", "optimizer.momentun=1"], "key 'optimizer.momentun', did you mean 'momentum'?"),
    (["train", "lenet5_modern", "--set", "bach=3"], "unknown key 'bach', did you mean 'batch'?"),
    (["train", "lenet5_modern", "--set", "epochs=3"], "unknown key 'epochs', did you mean 'schedule.stop'?"),
    (["train", "lenet5_modern", "--set", "passes=3"], "unknown key 'passes'; there are optimizer, batch, loss, schedule,"),
    (["list", "--recipe", "paper"], "--recipe NAME is a network's: list NETWORK --recipe NAME"),
    (["list", "lenet5", "--recipe", "papr"], "no recipe 'papr', did you mean 'paper'?"),
    (["show", "lenet5", "--plot", "lenet.pdf"], "--plot lenet.pdf: it is drawn as SVG, so name a file ending in .svg"),
    (["data", "verify", "--force"], "unrecognized arguments: --force"),
    (["data", "prepare", "--from", "x"], "--from PATH is for one NAME"),
    (["train", "lenet5_modern", "--set", "batch"], "--set batch: expected KEY=VALUE, e.g. optimizer.momentum=0.8"),
    (["train", "lenet5_modern", "--set", "batch=many"], "batch must be an integer of at least 1, not 'many'"),
    (["train", "lenet5_modern", "--layers", "stok"], "unknown 'stok', did you mean 'stock'?"),
    (["train", "lenet5_modern", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
    (["bench", "Dens"], "no network or operator 'Dens', did you mean 'Dense'?"),
    (["bench", "resnet20_cifra"], "no network or operator 'resnet20_cifra', did you mean 'resnet20_cifar'?"),
    (["bench", "--rounds", "0"], "--rounds and --batch are positive numbers"),
    (["bench", "Dense", "--keep"], "--keep is for whole tables: leave the names out"),
    (["check", "Dense", "--keep"], "--keep is for whole checks: leave the operators out"),
    (["train"], "the following arguments are required: network"),
    ([], "the following arguments are required: VERB"),
    (["show", "lenet5", "--input-shape", "32x32"], "--input-shape 32x32 is not H,W,C"),
])
def test_wrong_usage_is_code_2_and_one_line(arguments, message, capsys):
    code, line = failing(capsys, *arguments)
    assert code == 2 and message in line and line.startswith(("repro: ", "python -m repro"))


@pytest.mark.parametrize("choices", ["'list', 'train'", "list, train"])
def test_a_mistyped_verb_gets_the_nearest_however_python_prints_the_choices(choices, capsys):
    with pytest.raises(SystemExit) as end:
        cli.Parser(prog="x").error(f"argument VERB: invalid choice: 'trian' (choose from {choices})")
    assert end.value.code == 2 and capsys.readouterr().err == "x: unknown 'trian', did you mean 'train'?\n"


@pytest.mark.parametrize("text, expected", [
    ("batch=64", ("batch", 64)), ("loss.j=0.8", ("loss.j", 0.8)), ("augment=[]", ("augment", [])),
    ("schedule.at=[1, 2]", ("schedule.at", [1, 2])), ("preprocess=lenet", ("preprocess", "lenet")),
    ('preprocess="lenet"', ("preprocess", "lenet")), ("loss={name='map', j=1.5}", ("loss", {"name": "map", "j": 1.5})),
    ("preprocess=a=b", ("preprocess", "a=b")), ("preprocess=", ("preprocess", ""))])
def test_assignments_are_toml_or_a_bare_word(text, expected):
    assert cli.assignment(text) == expected


def test_list_shows_every_network_with_its_published_numbers(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out
    assert all(re.search(rf"^  {name}\b", lines, re.M) for name in names())
    assert "test error 8.75% (cifar10)" in lines and "test error 0.95% (mnist)" in lines
    assert main(["list", "lenet5"]) == 0
    one = capsys.readouterr().out
    assert "LeCun" in one and "340,908" in one and "resnet" not in one and "lenet5_modern" not in one
    assert "parameters 60,000 (mnist, section II.A)" in one


def test_outputs_survive_a_closed_pipe_and_an_ascii_terminal(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.run([sys.executable, "-m", "cnn_repro.repro", "list"], stdout=writer, stderr=subprocess.PIPE,
                           text=True, cwd=tmp_path, timeout=60)
    os.close(writer)
    assert child.returncode == 1 and "Traceback" not in child.stderr
    child = python("-m", "cnn_repro.repro", "data", "list", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (child.returncode, child.stderr) == (0, "") and "8?8" in child.stdout


# ---------------------------------------------------------------------------------------- python -m repro, bare

def test_python_m_repro_in_the_checkout_is_the_same_program(tmp_path):
    if not (CHECKOUT / "pyproject.toml").exists():
        pytest.skip("installed without its checkout")
    child = python("-m", "repro", "list", "lenet5", cwd=CHECKOUT)
    assert child.returncode == 0 and "lenet5" in child.stdout, child.stderr
    assert python("-m", "repro", "--help", cwd=CHECKOUT).stdout.startswith("usage: python -m repro")


def test_a_bare_python_says_what_to_do(tmp_path):
    """-S: no site-packages, so neither cnn_repro nor anything that it needs."""
    bare = {"PYTHONPATH": "", "PYTHONSAFEPATH": ""}
    child = python("-S", "-m", "repro", "list", cwd=CHECKOUT, **bare)
    assert (child.returncode, child.stdout) == (1, "")
    assert child.stderr == ("cnn_repro is not installed in this Python; run `make .venv` in the checkout, then "
                            ".venv/bin/python -m repro, or `pip install -e .`\n")


def test_a_link_on_the_path_is_enough_and_a_missing_package_is_named(tmp_path):
    (tmp_path / "cnn_repro").symlink_to(CHECKOUT)
    bare = {"PYTHONPATH": str(tmp_path)}
    listed = python("-S", "-m", "cnn_repro.repro", "list", cwd=tmp_path, **bare)
    assert listed.returncode == 0 and "lenet5" in listed.stdout, listed.stderr
    child = python("-S", "-m", "cnn_repro.repro", "data", "list", cwd=tmp_path, **bare)
    assert (child.returncode, child.stderr) == (
        1, "repro: the package numpy is not installed; run `pip install -r requirements.txt`\n")


@pytest.mark.parametrize("backend", ["torch", "nonsense"])
def test_a_backend_that_does_not_start_is_one_line(backend, tmp_path):
    if importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is installed here")
    child = python("-m", "cnn_repro.repro", "show", "lenet5", cwd=tmp_path, KERAS_BACKEND=backend)
    assert child.returncode == 1 and "Traceback" not in child.stderr
    assert backend in child.stderr and child.stderr.count("\n") == 1, child.stderr


def test_a_users_keras_settings_do_not_turn_the_images(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(
        {"backend": "tensorflow", "image_data_format": "channels_first", "floatx": "float32", "epsilon": 1e-7}))
    child = python("-m", "cnn_repro.repro", "show", "lenet5", cwd=tmp_path, KERAS_HOME=str(tmp_path))
    assert child.returncode == 0, child.stderr
    assert re.search(r"connections\s+340,908\s+published: 340,908", child.stdout)


# ----------------------------------------------------------------------------------------------------- show, train

def test_show_sets_our_counts_beside_the_published(capsys):
    assert main(["show", "lenet5"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^C3 +TableConv2D +10×10×16 +5×5 +1,516 ", out, re.M)
    assert re.search(r"^parameters +60,000   published: 60,000 \(section II.A\): equal$", out, re.M)
    assert main(["show", "lenet5_modern", "--classes", "7", "--input-shape", "28,28,3"]) == 0
    assert re.search(r"^OUTPUT +Dense +7 ", capsys.readouterr().out, re.M)


@pytest.mark.parametrize("arguments, message", [
    (["--classes", "11"], "an output code for each of the ten digits and no more, not for 11 classes"),
    (["--input-shape", "8,8,1"], "lenet5 cannot be built for input_shape=(8, 8, 1); the paper's is (32, 32, 1)"),
    (["--input-shape", "32,32"], "three positive integers, not (32, 32)")])
def test_an_impossible_network_is_code_1_and_one_line(arguments, message, capsys):
    code, line = failing(capsys, "show", "lenet5", *arguments)
    assert code == 1 and line.startswith("repro: ") and message in line


def test_train_leaves_a_run_and_prints_its_error(run, capsys, tmp_path):
    record = read_record(run / "record.json")
    assert record["status"] == "finished"
    assert record["recipe"]["overrides"] == {"schedule.stop": 2, "schedule.at": [1]}
    assert main([*TRAIN, "--runs", str(tmp_path), "--set", "schedule.stop=1", "--set", "schedule.at=[]", "--seed", "7",
                 "--layers", "stock"]) == 0
    out = capsys.readouterr().out.splitlines()
    found = read_record(next(tmp_path.iterdir()) / "record.json")
    assert (found["seed"], found["layers"]) == (7, "stock") and len(found["history"]) == 1
    assert out[-1].startswith(f"test error {found['result']['test_error']:.2f} % of 360 images, ")


def test_train_keeps_evidence_only_when_asked_and_only_in_a_checkout(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(cli, "RECORDS", tmp_path / "records")
    (tmp_path / "pyproject.toml").touch()
    one = [*TRAIN, "--runs", str(tmp_path / "runs"), "--set", "schedule.stop=1", "--set", "schedule.at=[]"]
    assert main([*one, "--keep"]) == 0
    kept, = (tmp_path / "records").iterdir()
    assert f"kept {kept}" in capsys.readouterr().out and read_record(kept)["id"] == kept.stem
    run, = (tmp_path / "runs").iterdir()
    assert kept.read_bytes() == (run / "record.json").read_bytes()
    (tmp_path / "pyproject.toml").unlink()
    code, line = failing(capsys, *one, "--keep")
    assert code == 1 and "--keep adds to the evidence of a checkout" in line
    assert list((tmp_path / "runs").iterdir()) == [run]


def test_a_diverging_training_is_code_1_with_its_reason_and_record(tmp_path, capsys):
    code, line = failing(capsys, *TRAIN, "--set", "schedule.rate=1e5", "--runs", tmp_path)
    found = re.fullmatch(r"repro: diverged: the loss is \w+ at step \d+ \(record in (.*)\)", line)
    assert code == 1 and found and read_record(Path(found[1]) / "record.json")["status"] == "diverged"


def test_a_data_set_that_is_not_here_is_told_with_the_command(tmp_path, capsys):
    code, line = failing(capsys, "train", "resnet20_cifar", "--runs", tmp_path / "runs")
    assert code == 1 and "cifar10 is not here" in line and "python -m repro data prepare cifar10" in line
    assert not (tmp_path / "runs").exists()


def test_runs_that_cannot_be_written_are_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    code, line = failing(capsys, *TRAIN, "--runs", tmp_path / "file" / "runs")
    assert code == 1 and str(tmp_path / "file") in line


# ------------------------------------------------------------------------------------------- evaluate and predict

def test_evaluate_finds_the_error_of_the_record(run, tmp_path, capsys):
    error = f"{read_record(run / 'record.json')['result']['test_error']:.2f} %"
    capsys.readouterr()
    for model in (run, run / "model.keras"):
        assert main(["evaluate", str(model)]) == 0
        assert capsys.readouterr().out.splitlines() == [f"test error {error} of 360 images of digits",
                                                        f"the run's record says {error}"]
    moved = shutil.copy(run / "model.keras", tmp_path / "moved.keras")
    assert main(["evaluate", str(moved), "--dataset", "digits"]) == 0
    assert capsys.readouterr().out == f"test error {error} of 360 images of digits\n"
    code, line = failing(capsys, "evaluate", moved)
    assert code == 2 and "has no record beside it: name the data set with --dataset" in line
    code, line = failing(capsys, "evaluate", run, "--dataset", "digit")
    assert code == 2 and "did you mean 'digits'" in line


def test_predict_gives_the_class_of_an_image_file(run, digit, tmp_path, capsys):
    path, place = digit
    predictions = read_record(run / "record.json")["predictions"]
    capsys.readouterr()
    assert main(["predict", str(run), str(path), "--top", "3"]) == 0
    line = capsys.readouterr().out.strip()
    found = re.fullmatch(rf"{re.escape(str(path))}: (\d) (0\.\d+|1\.000), \d 0\.\d+, \d 0\.\d+", line)
    assert found and int(found[1]) == predictions["classes"][place]
    assert abs(1000 * float(found[2]) - predictions["scores"][place]) <= 1
    with Image.open(path) as image:
        Image.eval(image, lambda value: 255 - value).save(tmp_path / "inverted.png")
        image.convert("RGB").resize((32, 32), Image.Resampling.NEAREST).save(tmp_path / "large colours.png")
    others = [str(tmp_path / name) for name in ("inverted.png", "large colours.png")]
    assert main(["predict", str(run), others[0], "--invert", "--top", "1"]) == 0
    assert capsys.readouterr().out == f"{others[0]}: {found[1]} {found[2]}\n"
    assert main(["predict", str(run), *others, str(path)]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [*others, str(path)]


def test_predict_says_what_is_no_image(run, digit, tmp_path, capsys):
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    half = tmp_path / "half.png"
    half.write_bytes(digit[0].read_bytes()[:60])
    for path in (text, half):
        code, line = failing(capsys, "predict", run, path)
        assert code == 1 and line.startswith(f"repro: {path}: not an image that Pillow reads")
    code, line = failing(capsys, "predict", run, digit[0], tmp_path / "none.png")
    assert code == 1 and line == f"repro: {tmp_path / 'none.png'}: no such image file"


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_missing_model_is_told_with_the_command_that_makes_one(verb, digit, tmp_path, capsys):
    for path in (tmp_path / "nowhere", tmp_path):
        code, line = failing(capsys, verb, path, *([digit[0]] if verb == "predict" else []))
        assert code == 1 and "no such model; `python -m repro train …` leaves one in its run directory" in line


def test_a_damaged_model_file_is_one_line(run, digit, tmp_path, capsys):
    whole = (run / "model.keras").read_bytes()
    weights = whole.index(b"model.weights.h5")
    damaged = {"garbage": b"no model at all", "empty": b"", "half": whole[:len(whole) // 2], "almost": whole[:-10],
               "config": flipped(whole, 200), "weights": flipped(whole, weights + 20_000),
               "end": flipped(whole, len(whole) - 8)}
    for name, content in damaged.items():
        path = tmp_path / f"{name}.keras"
        path.write_bytes(content)
        code, line = failing(capsys, "predict", path, digit[0])
        assert code == 1 and line.startswith(f"repro: {path}: not a model that can be loaded ("), name


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1:]


def test_a_model_file_with_code_in_it_is_refused_unread(digit, tmp_path, capsys):
    """A Lambda layer is Python in a file; safe mode must not run it."""
    import keras
    path, sign = tmp_path / "hostile.keras", tmp_path / "it ran"
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(
        lambda x, path=str(sign): (open(path, "w").close(), x)[1], output_shape=(8, 8, 1))])
    model.save(path)
    sign.unlink(missing_ok=True)
    code, line = failing(capsys, "predict", path, digit[0])
    assert code == 1 and "not a model that can be loaded" in line and not sign.exists()


def test_a_model_of_too_few_classes_is_not_evaluated(tmp_path, capsys):
    import keras
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inputs)))
    model.save(tmp_path / "three.keras")
    code, line = failing(capsys, "evaluate", tmp_path / "three.keras", "--dataset", "digits")
    assert code == 1 and line.endswith("three.keras knows 3 classes, digits has 10")


# ----------------------------------------------------------------------------------------------------------- check

def test_check_of_one_operator_writes_a_record(tmp_path, capsys):
    assert main(["check", "ReLU", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    run, = tmp_path.iterdir()
    record = read_record(run / "record.json")
    assert (record["kind"], record["status"], record["passed"]) == ("gradients", "finished", True)
    assert {row["operator"] for row in record["rows"]} == {"ReLU"} and all(row["passed"] for row in record["rows"])
    assert {"schema", "id", "started", "ended", "wall_seconds", "command", "commit", "dirty", "version", "versions",
            "hardware", "backend"} <= record.keys() and record["id"] == run.name
    count = len(record["rows"])
    assert f"{count} of {count} comparisons within their thresholds; {run / 'record.json'}" in out
    assert re.search(r"^ReLU +\d\.\de[+-]\d\d", out, re.M) and "FAIL" not in out


def test_check_of_a_wrong_formula_fails_and_keeps_the_record(tmp_path, capsys, monkeypatch):
    right = activation.relu_gradient
    monkeypatch.setattr(activation, "relu_gradient", lambda *arguments: 1.01 * right(*arguments))
    assert main(["check", "ReLU", "--runs", str(tmp_path)]) == 1
    assert "FAIL ReLU" in capsys.readouterr().out
    record = read_record(next(tmp_path.iterdir()) / "record.json")
    assert (record["status"], record["passed"]) == ("failed", False)


def test_check_of_an_unknown_operator_names_the_nearest(tmp_path, capsys):
    code, line = failing(capsys, "check", "Relu", "--runs", tmp_path)
    assert code == 2 and line == "repro: no operator 'Relu', did you mean 'ReLU'?"
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------- data and report

def test_data_lists_prepares_and_verifies(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CNN_REPRO_DATA", str(tmp_path / "fresh"))
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^digits .*: on disk$", out, re.M) and re.search(r"^mnist .*: to download$", out, re.M)
    code, line = failing(capsys, "data", "verify", "digits")
    assert code == 1 and "run `python -m repro data prepare digits`" in line
    assert main(["data", "prepare", "digits"]) == 0
    assert re.match(r"digits 1\.0\.0: sha256 [0-9a-f]{16}…, known: ", capsys.readouterr().out)
    assert main(["data", "verify", "digits"]) == 0 and main(["data", "list", "digits"]) == 0
    assert "prepared, known" in capsys.readouterr().out
    with open(tmp_path / "fresh" / "digits" / "1.0.0" / "train_images.npy", "r+b") as file:
        file.seek(5000)
        file.write(b"\xff\xff")
    code, line = failing(capsys, "data", "verify", "digits")
    assert code == 1 and "train_images.npy is damaged" in line and "data prepare digits --force" in line
    code, line = failing(capsys, *TRAIN, "--runs", tmp_path / "runs")
    assert code == 1 and "train_images.npy is damaged" in line
    assert main(["data", "prepare", "--force", "digits"]) == 0 and main(["data", "verify", "digits"]) == 0


def test_report_builds_a_page_of_a_folder_of_runs(run, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert main(["report", str(run.parent), "--output", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html>") and read_record(run / "record.json")["id"] in text and "lenet5_modern" in text
    assert main(["report", str(run.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run.parent / "report.html")
    for path in (run.parent / "report.html", run.parent / "claims.csv", run.parent / "runs.csv"):
        path.unlink()


def test_report_survives_garbage_and_says_what_is_missing(tmp_path, capsys):
    code, line = failing(capsys, "report", tmp_path / "nowhere")
    assert code == 1 and "no such folder of records; `python -m repro train …` writes one under runs/" in line
    (tmp_path / "broken.json").write_text("{")
    write_record(tmp_path / "odd.json", {"schema": 1, "kind": "a kind of tomorrow", "id": "x", "status": "?"})
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
    assert (tmp_path / "report.html").is_file()


def test_report_renews_the_table_between_the_readmes_marks(run, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    arguments = ["report", str(run.parent), "--output", str(tmp_path / "report.html"), "--readme", str(readme)]
    assert main(arguments) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\n|") and text.endswith("<!-- /results -->\nafter\n")
    assert "old" not in text
    readme.write_text("no marks")
    code, line = failing(capsys, *arguments)
    assert code == 1 and "README.md: no <!-- results -->" in line and readme.read_text() == "no marks"


# ------------------------------------------------------------------------------------------------------------ demo

@pytest.mark.slow
def test_the_demo_trains_checks_and_ends_with_the_reports_path(tmp_path, capsys):
    assert main(["demo", "--folder", str(tmp_path / "demo runs")]) == 0
    last = Path(capsys.readouterr().out.splitlines()[-1])
    assert last == (tmp_path / "demo runs" / "report.html").resolve() and last.is_file()
    found = sorted(read_record(path)["kind"] for path in (tmp_path / "demo runs").glob("*/record.json"))
    assert found == ["gradients", "training", "training"]


# -------------------------------------------------------------------------------------------------------- failures

def test_a_traceback_is_shown_when_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CNN_REPRO_TRACEBACK", "1")
    with pytest.raises(cli.Failure, match="no such model"):
        main(["evaluate", str(tmp_path / "nowhere")])


def test_long_and_many_lined_errors_become_one_line():
    assert cli.one_line(ValueError("a\n\n  b\tc")) == "a b c"
    assert cli.one_line(ValueError()) == "ValueError"
    assert len(cli.one_line(ValueError("x" * 5000))) == 1002


def test_an_interrupt_is_code_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "cards", interrupted)
    assert main(["list"]) == 130 and capsys.readouterr().err == "repro: interrupted\n"
