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
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from pathlib import Path

from .. import data as datasets
from ..papers import card_of
from ..training.run_directory import run_name

FOLDER = Path(__file__).parent
KEYS = {"title": str, "why": str, "first": list, "trials": list}
TRIAL_KEYS = {"networks": list, "datasets": list, "recipes": list, "seeds": (list, str), "layers": str, "set": dict}


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
    first = tuple(tuple(shlex.split(line)) for line in content.get("first", []))
    return Suite(path.stem, content["title"], content.get("why", ""), first, tuple(trials))


def _expanded(path: Path, index: int, block: dict):
    where = f"{path}: [[trials]] {index}"
    if not isinstance(block, dict):
        raise SuiteError(f"{where}: expected a table")
    _check(where, block, TRIAL_KEYS, ("networks",))
    wanted = block["networks"], block.get("recipes", ["paper"]), seeds(block.get("seeds", [0]), where)
    for network, recipe, seed in product(*wanted):
        card = card_of(network)
        published = [result.dataset for result in card.results if result.architecture == network]
        for dataset in block.get("datasets", published[:1]):
            datasets.source(dataset)                        # raises where the name is none
            trial = Trial(network, dataset, recipe, seed, block.get("layers", "explicit"), dict(block.get("set", {})))
            trial.resolved()
            yield trial


def seeds(value, where: str = "--seeds") -> list[int]:
    """[0, 1, 2] of such a list, of "0-2" or "0,1,2"."""
    if isinstance(value, str):
        found = []
        for one in value.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", one)
            if not match:
                raise SuiteError(f"{where}: seeds {value!r} is neither like \"0-4\" nor like \"0,2,3\"")
            found += range(int(match[1]), int(match[2] or match[1]) + 1)
        return found
    if not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in value):
        raise SuiteError(f"{where}: seeds {value} are not whole numbers from 0 on")
    return list(value)


def _check(where, table: dict, keys: dict, needed) -> None:
    for key, value in table.items():
        if key not in keys:
            near = get_close_matches(key, keys, 1)
            raise SuiteError(f"{where}: unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else
                                                                 f"there are {', '.join(keys)}"))
        if not isinstance(value, keys[key]):
            raise SuiteError(f"{where}: {key} = {value!r} is of the wrong type")
    for key in needed:
        if key not in table:
            raise SuiteError(f"{where}: {key} is missing")


def _toml(value) -> str:
    """A value as `--set` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)
