"""The house keeps its plan: arrows one way, packages and requirements as declared, nothing of anybody's machine."""
import ast
import importlib.metadata
import re
import subprocess
import sys
import time
import tomllib
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import cnn_repro

ROOT = Path(cnn_repro.__file__).resolve().parent
if not (ROOT / "pyproject.toml").is_file():
    pytest.skip("installed without its checkout", allow_module_level=True)

ROOMS = ("layers", "architectures", "repro", "reports")         # each may import those before it
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("__init__.py")
                  if not {"tests", "build", ".venv"} & set(path.relative_to(ROOT).parts))
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))


def requirements(name: str) -> dict[str, tuple[Requirement, str]]:
    """Distribution → (requirement, the reason behind the #) of a requirements file."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        text, _, reason = line.partition("#")
        if text.strip():
            requirement = Requirement(text.strip())
            found[normal(requirement.name)] = requirement, reason.strip()
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def module(path: Path) -> str:
    """repro/data/split.py → repro.data.split"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path):
    """(absolute name, inside a function) of every import; ours without `cnn_repro.`, marked by a leading dot."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {node for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.Lambda))
             for node in ast.walk(function)}
    package = module(path).split(".") + ([""] if path.name == "__init__.py" and module(path) else [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[:len(package) - node.level]) if node.level else ""
            prefix = ".".join(part for part in (base, node.module) if part)
            found = [f"{prefix}.{alias.name}".strip(".") for alias in node.names]
            found = [f".{name}" for name in found] if node.level else found
        else:
            continue
        for name in found:
            yield (name.removeprefix("cnn_repro") if name.startswith("cnn_repro") else name), node in inner


def edges():
    """(importing module, imported name below the root, inside a function) between our own modules."""
    for path in MODULES:
        for name, inside in imports(path):
            if name.startswith("."):
                yield module(path), name[1:], inside


def room(name: str) -> str:
    return name.split(".")[0]


# ---------------------------------------------------------------------------------------------------- the arrows

def test_the_reader_of_imports_sees_what_there_is():
    """Otherwise the tests below would pass on nothing."""
    found = {(one, other) for one, other, _ in edges()}
    assert ("architectures.lenet", "layers.FanIn") in found                     # from ..layers import FanIn
    assert ("repro.training.run", "repro.record") in found                      # from .. import record
    assert ("repro.data", "repro.data.batches.Batches") in found                # from .batches import Batches, in __init__
    assert ("repro.cli", "reports") in found and ("repro.__main__", "repro.cli.main") in found
    assert {room(one) for one, _, _ in edges()} == set(ROOMS)


def test_arrows_point_from_reports_to_layers():
    up = [(one, other, inside) for one, other, inside in edges()
          if other and room(other) in ROOMS and ROOMS.index(room(other)) > ROOMS.index(room(one))]
    assert up and all(one == "repro.cli" and room(other) == "reports" and inside for one, other, inside in up), up


def test_nobody_imports_a_package_that_is_no_room():
    others = {(one, other) for one, other, _ in edges() if room(other) not in ROOMS}
    assert others <= {("repro.record", "__version__")}, others


def test_reports_know_cards_and_records_and_nothing_else_of_repro():
    known = ("repro.papers", "repro.record")
    for one, other, _ in edges():
        if room(one) == "reports" and room(other) != "reports":
            assert any(other == name or other.startswith(f"{name}.") for name in known), (one, other)


def test_reports_and_cards_run_without_tensorflow():
    for path in MODULES:
        names = {room(name) for name, _ in imports(path) if not name.startswith(".")}
        if room(module(path)) == "reports":
            assert not names & {"tensorflow", "keras", "jax", "torch"}, path
        if module(path).startswith(("repro.papers", "repro.record")):
            assert names <= sys.stdlib_module_names, path


def test_layers_and_architectures_know_no_backend():
    """Backends are named by the training engines, check, benchmark and command line, where gradient functions are
    handed to one, where PyTorch reads a file of weights or is timed against and where TFDS's files are read; the rest
    is Keras."""
    named = {module(path) for path in MODULES for name, _ in imports(path)
             if room(name) in ("tensorflow", "jax", "torch")}
    assert named <= {"architectures.torchvision_weights", "layers.gradient", "repro.bench.backends",
                     "repro.bench.pytorch_loop", "repro.check.backends", "repro.cli", "repro.data.tfds_reader",
                     "repro.training.jax_engine", "repro.training.on_device",
                     "repro.training.replicas", "repro.training.tensorflow_engine"}, named


def test_modules_are_named_by_what_is_inside():
    for path in MODULES:
        assert not {"utils", "util", "common", "helpers", "helper", "core", "misc"} & set(module(path).split(".")), path


def test_repro_itself_is_a_docstring():
    """`python -m repro` runs it under its short name too."""
    body = ast.parse((ROOT / "repro" / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1 and isinstance(body[0].value.value, str)


# ---------------------------------------------------------------------------------------------------- packaging

def test_the_declared_packages_are_the_folders():
    declared = PROJECT["tool"]["setuptools"]["packages"]
    folders = ["cnn_repro" if name == "." else f"cnn_repro.{name.replace('/', '.')}" for name in PACKAGES]
    assert sorted(declared) == sorted(folders)
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {"cnn_repro": "."}
    for room_ in ROOMS:
        assert room_ in PACKAGES


def test_cards_and_templates_are_shipped():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    shipped = set()
    for package, globs in patterns.items():
        folder = ROOT.joinpath(*package.split(".")[1:])
        for pattern in globs:
            found = [path for path in folder.glob(pattern) if path.is_file()]
            assert found, f"{package}: {pattern} matches nothing"
            shipped |= set(found)
    outputs = ("reports/records/*", "reports/html/*")
    for name in tracked():
        inside = any(name.startswith(f"{package}/") for package in PACKAGES if package != ".")
        if inside and not name.endswith(".py") and not any(fnmatch(name, pattern) for pattern in outputs):
            assert ROOT / name in shipped, f"{name} is in no pattern of package-data"


def test_the_command_is_the_one_that_is_declared():
    target = PROJECT["project"]["scripts"]["cnn-repro"]
    where, _, name = target.partition(":")
    from cnn_repro.repro import cli
    assert where == cli.__name__ and getattr(cli, name) is cli.main


def test_the_version_is_said_once():
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cnn_repro.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", cnn_repro.__version__)


def test_the_licence_is_there():
    assert PROJECT["project"]["license"] == "Apache-2.0" and PROJECT["project"]["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0" in text and len(text) > 10_000


# ------------------------------------------------------------------------------------------------- requirements

OPTIONAL = ("jax", "torch", "ray", "tensorboard")   # extras: two backends in place of TensorFlow, a cluster, a log of its own
NOT_IMPORTED = {"importlib-resources"}          # tensorflow-datasets needs it, undeclared


def third_party() -> set[str]:
    """The distributions that the package's modules import."""
    installed = importlib.metadata.packages_distributions()
    names = {room(name) for path in MODULES for name, _ in imports(path) if not name.startswith(".")}
    return {normal(installed.get(name, [name])[0]) for name in names - sys.stdlib_module_names}


def test_requirements_are_what_is_imported():
    required = requirements("requirements.txt")
    assert PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    optional = {normal(Requirement(text).name) for name in OPTIONAL
                for text in PROJECT["project"]["optional-dependencies"][name]}
    assert third_party() - required.keys() == optional, "imported and not required"
    assert required.keys() - third_party() == NOT_IMPORTED, "required and not imported"


def test_every_requirement_has_its_reason_and_a_lower_bound():
    for name, (requirement, reason) in requirements("requirements.txt").items():
        assert len(reason) > 10, name
        if name not in NOT_IMPORTED:
            assert [part.operator for part in requirement.specifier] == [">="], name


def test_constraints_pin_every_requirement_within_its_bounds():
    pinned = requirements("constraints.txt")
    for name, (requirement, _) in pinned.items():
        assert [part.operator for part in requirement.specifier] == ["=="], name
    wanted = {name: requirement for name, (requirement, _) in requirements("requirements.txt").items()}
    wanted |= {normal(Requirement(text).name): Requirement(text)
               for text in PROJECT["project"]["optional-dependencies"]["test"]}
    for name, requirement in wanted.items():
        assert name in pinned, f"{name} is not pinned"
        version = next(iter(pinned[name][0].specifier)).version
        assert requirement.specifier.contains(version), f"{requirement}, pinned to {version}"


# ---------------------------------------------------------------------------------------- what must not be inside

def tracked() -> list[str]:
    """The files of the repository, those not yet committed too."""
    try:
        child = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True,
                               text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no git, so no list of files")
    return [name for name in child.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_package_host():
    """`.ci/run` may look beside the checkout: it is the release machine's own script."""
    words = ["/" + "work/", "/" + "root/", "pypi" + ".org", "files.python" + "hosted", "../" + "shared"]
    for name in tracked():
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        found = [word for word in words if word in text and not (name == ".ci/run" and word.startswith("../"))]
        assert not found, f"{name} contains {found}"


def test_no_large_file_is_committed():
    for name in tracked():
        assert (ROOT / name).stat().st_size < 5 * 2**20, name


# ----------------------------------------------------------------------------------------- beside other projects

def test_a_foreign_layers_folder_does_not_disturb(tmp_path):
    """The rooms' short names are common: somebody's `layers/` and `repro/` lie where Python looks first."""
    for name in ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("whose = 'a stranger'\n")
    code = """
import layers, repro, reports, architectures
import cnn_repro.architectures, cnn_repro.repro.cli, cnn_repro.reports
assert layers.whose == repro.whose == reports.whose == architectures.whose == "a stranger"
model = cnn_repro.architectures.build("lenet5")
assert type(model.get_layer("C1")).__module__ == "cnn_repro.layers.convolution"
print(model.count_params())
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (child.returncode, child.stdout) == (0, "60000\n"), child.stderr[-2000:]


def test_ci_leaves_out_cases_and_never_a_test(monkeypatch):
    """Of a slow test with many cases some run, of one with few and of a quick one all; by default nothing is left out."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    from types import SimpleNamespace

    from conftest import beyond

    def item(name, slow):
        return SimpleNamespace(nodeid=name, get_closest_marker=lambda marker: slow and marker == "slow" or None)

    many, few, quick = ([item(f"a.py::{name}[{index}]", name != "quick") for index in range(count)]
                        for name, count in (("many", 20), ("few", 12), ("quick", 20)))
    assert beyond([*many, *few, *quick], 1) == []
    left = beyond([*many, *few, *quick], 3)
    assert [one for one in many if one not in left] == many[::3] and not {*map(id, left)} & {*map(id, few + quick)}
    monkeypatch.setenv("KERAS_BACKEND", "jax")          # where all are slow
    assert not {*map(id, quick[::3])} & {*map(id, beyond(quick, 3))} and len(beyond(quick, 3)) == 13


def test_when_its_hour_is_over_ci_begins_no_test(monkeypatch):
    from conftest import pytest_runtest_setup

    for until, skipped in ((None, False), (time.time() + 100, False), (time.time() - 1, True)):
        monkeypatch.delenv("CNN_REPRO_UNTIL", raising=False)
        if until:
            monkeypatch.setenv("CNN_REPRO_UNTIL", str(until))
        with pytest.raises(pytest.skip.Exception, match="make test-slow") if skipped else nullcontext():
            pytest_runtest_setup(None)
