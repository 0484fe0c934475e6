"""A suite's file: networks × data sets × recipes × seeds, checked as a whole before anything is trained.

    title = "ResNets on CIFAR-10"
    why = "Table 6 of He et al. 2016, as far as time allows"
    first = ["check", "bench --networks"]           # verbs that run before the trials; optional

    [[trials]]                                      # the order is the order in which they run
    networks = ["resnet20_cifar", "plain20_cifar"]
    datasets = ["cifar10"]                          # default: the paper's
    recipes = ["short"]                             # default: ["paper"]
    seeds = "0-4"                                   # or [0, 1, 2]; default: [0]
    layers = "explicit"                             # or "stock"
    set = {"optimizer.momentum" = 0.8}              # as train's --set
"""
import contextlib
import io
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import product
from pathlib import Path

from .. import data as datasets
from ..papers import card_of
from ..training.run_directory import run_name
from ..training.schedule import Schedule

FOLDER = Path(__file__).parent
KEYS = {"title": str, "why": str, "first": list, "trials": list}
TRIAL_KEYS = {"networks": list, "datasets": list, "recipes": list, "seeds": (list, str), "layers": str, "set": dict}
TEXTS = ("first", "networks", "datasets", "recipes")            # lists of texts
LAYERS = ("explicit", "stock")


class SuiteError(ValueError):
    """A suite that cannot be run; one line that says what is wrong and where."""


@dataclass(frozen=True)
class Trial:
    """One training, as `train` is asked for it."""
    network: str
    dataset: str
    recipe: str
    seed: int
    layers: str = "explicit"
    overrides: dict = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Its run directory's, as `train` would choose it."""
        sha256 = self.resolved().sha256
        return run_name(self.network, self.dataset, self.recipe, self.seed, self.layers, sha256, bool(self.overrides))

    def resolved(self):
        """The recipe. Raises CardError or RecipeError."""
        return card_of(self.network).recipe(self.network, self.recipe, self.overrides)

    def arguments(self, runs: Path) -> list[str]:
        """Of `python -m cnn_repro.repro`."""
        changes = [word for key, value in self.overrides.items() for word in ("--set", f"{key}={_toml(value)}")]
        return ["train", self.network, "--dataset", self.dataset, "--recipe", self.recipe, "--seed", str(self.seed),
                "--layers", self.layers, *changes, "--run", str(Path(runs) / self.name)]


@dataclass(frozen=True)
class Suite:
    """name: the file's; first: the arguments of each verb that runs before the trials."""
    name: str
    title: str
    why: str
    first: tuple[tuple[str, ...], ...]
    trials: tuple[Trial, ...]


def schedule_of(resolved: dict, dataset: str, train: int) -> Schedule:
    """A resolved recipe's, of so many training images; a pass over a graph, whose nodes are trained on all at once, is one
    step."""
    return Schedule(resolved["schedule"], 1) if _kind(dataset) == "graph" else Schedule.over(resolved, train)


@cache
def _kind(dataset: str) -> str:
    return datasets.source(dataset).kind        # asked for at every look, and to know a folder is to read it


def suites() -> list[str]:
    """The names of the suites that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | Path) -> Suite:
    """The suite of that name, or of a TOML file. Raises SuiteError, CardError, RecipeError."""
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = get_close_matches(str(name), suites(), 1)
        raise SuiteError(f"no suite {name!r}: expected " + (f"{near[0]!r}" if near else "a file's path, FILE.toml")
                         + f"; there are {', '.join(suites())}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SuiteError(f"{path}: {error}") from None
    _check(path, content, KEYS, ("title", "trials"))
    trials = [trial for index, block in enumerate(content["trials"], 1) for trial in _expanded(path, index, block)]
    seen = set()
    for trial in trials:
        if trial.name in seen:
            raise SuiteError(f"{path}: {trial.name} stands there twice")
        seen.add(trial.name)
    if not trials:
        raise SuiteError(f"{path}: no trials")
    first = tuple(_verb(path, line) for line in content.get("first", []))
    return Suite(path.stem, content["title"], content.get("why", ""), first, tuple(trials))


def _expanded(path: Path, index: int, block: dict):
    where = f"{path}: [[trials]] {index}"
    if not isinstance(block, dict):
        raise SuiteError(f"{where}: expected a table")
    _check(where, block, TRIAL_KEYS, ("networks",))
    for key in ("networks", "datasets", "recipes"):
        if block.get(key) == []:
            raise SuiteError(f"{where}: {key} is empty")
    if (layers := block.get("layers", LAYERS[0])) not in LAYERS:
        raise SuiteError(f"{where}: no layers {layers!r}{_nearest(layers, LAYERS)}")
    wanted = block["networks"], block.get("recipes", ["paper"]), seeds(block.get("seeds", [0]), where)
    for network, recipe, seed in product(*wanted):
        card = card_of(network)
        published = [result.dataset for result in card.results if result.architecture == network]
        if not published and "datasets" not in block:
            raise SuiteError(f"{where}: nothing is published of {network}; name a data set with datasets = [\"NAME\"]")
        for dataset in block.get("datasets", published[:1]):
            datasets.source(dataset)                        # raises where the name is none
            trial = Trial(network, dataset, recipe, seed, layers, dict(block.get("set", {})))
            trial.resolved()
            yield trial


def seeds(value, where: str = "--seeds") -> list[int]:
    """[0, 1, 2] of such a list, of "0-2" or "0,1,2": at least one, and none twice."""
    if isinstance(value, str):
        found = []
        for one in value.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", one)
            if not match:
                raise SuiteError(f"{where}: seeds {value!r} is neither like \"0-4\" nor like \"0,2,3\"")
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                raise SuiteError(f"{where}: seeds {value!r} has none from {first} to {last}; "
                                 f"expected \"{last}-{first}\"")
            found += range(first, last + 1)
    else:
        if not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in value):
            raise SuiteError(f"{where}: seeds {value} are not whole numbers from 0 on")
        found = list(value)
    if not found:
        raise SuiteError(f"{where}: seeds is empty")
    if len(set(found)) < len(found):                        # one run would count as two
        raise SuiteError(f"{where}: seeds {value!r} has {max(found, key=found.count)} twice")
    return found


def _verb(path: Path, line: str) -> tuple[str, ...]:
    """The arguments of a verb that comes first, as the command line would take them."""
    from ..cli import parser
    said = io.StringIO()
    try:
        words = shlex.split(line)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parser().parse_args(words)
    except ValueError as error:                             # a quotation mark without its twin
        raise SuiteError(f"{path}: first: {line!r}: {error}") from None
    except SystemExit:
        reason = said.getvalue().strip().partition(": ")[2] or "expected a verb with its arguments"
        raise SuiteError(f"{path}: first: {line!r}: {reason}") from None
    return tuple(words)


def _check(where, table: dict, keys: dict, needed) -> None:
    for key, value in table.items():
        if key not in keys:
            raise SuiteError(f"{where}: unknown key {key!r}{_nearest(key, keys)}")
        if not isinstance(value, keys[key]) or key in TEXTS and not all(isinstance(one, str) for one in value):
            raise SuiteError(f"{where}: {key} = {value!r} is of the wrong type"
                             + (", expected a list of texts" if key in TEXTS else ""))
    for key in needed:
        if key not in table:
            raise SuiteError(f"{where}: {key} is missing")


def _nearest(name: str, names) -> str:
    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"


def _toml(value) -> str:
    """A value as `--set` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)
