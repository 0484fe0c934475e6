"""A paper's card: the published numbers, each with its place in the paper, and the recipes."""
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path

from .recipe import Recipe, near_hint, resolve

FOLDER = Path(__file__).parent
METRICS = ("test_error", "top1_error", "top5_error", "parameters", "connections", "multiply_adds", "depth")
UNITS = ("%", "count")
STATUSES = ("verified", "recalled", "derived")
KINDS = ("paper", "derived")


class CardError(ValueError):
    """A card that says something it may not say; the text names the card and the key."""


@dataclass(frozen=True)
class Result:
    """One published number. Errors in percent, counts as counts."""
    architecture: str
    dataset: str
    metric: str                 # one of METRICS
    value: float
    unit: str                   # one of UNITS
    source: str                 # table, figure or section of the paper
    status: str = "verified"    # one of STATUSES
    kind: str = "paper"         # "derived": counted or computed, not printed in the paper
    rounding: float = 0         # half-width within which a count equals the printed figure; 0 is exact
    note: str = ""
    spread: float | None = None     # standard deviation, as published
    runs: int | None = None
    upper: bool = False             # the paper prints "> value"
    comparable: bool = True         # False: the paper's number belongs to another network or protocol
    protocol: dict = field(default_factory=dict)    # how this number was got otherwise than by the recipe "paper":
                                                    # its dotted keys with their values
    counted: int | None = None      # what the suite counts where a count is not the paper's, whatever the reason


@dataclass(frozen=True)
class Table:
    """The paper's own table of one network: rows of {stage, output, …} to set beside the built one."""
    architecture: str
    source: str
    rows: tuple[dict, ...]


@dataclass(frozen=True)
class Card:
    name: str
    title: str
    authors: str
    venue: str
    year: int
    architectures: tuple[str, ...]
    arxiv: str = ""
    doi: str = ""
    url: str = ""                                   # of what was published in neither place
    results: tuple[Result, ...] = ()
    tables: tuple[Table, ...] = ()
    deviations: tuple[dict, ...] = ()               # {text, architectures}
    margin: dict = field(default_factory=dict)      # data set → percentage points, instead of the default
    recipes: dict = field(default_factory=dict, repr=False)

    def recipe(self, architecture: str, name: str = "paper", overrides: dict | None = None) -> Recipe:
        """The recipe `name` for one of this card's networks, inheritance and overrides applied.

        `overrides` maps dotted keys to values ("optimizer.momentum": 0.8). Raises RecipeError for an unknown
        recipe, key or network, with the nearest name.
        """
        return resolve(self.name, self.recipes, self.architectures, architecture, name, overrides or {})


def read(path: Path) -> Card:
    """Read and check one card. Unknown keys are an error: a typo must not change a verdict."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CardError(f"{path.name}: {error}") from None
    _keys(path, "key", raw, ("card", "title", "authors", "venue", "year", "architectures"),
          ("arxiv", "doi", "url", "margin", "result", "table", "deviation", "recipe"))
    if raw.get("card") != path.stem:
        raise CardError(f"{path.name}: card = {raw.get('card')!r}, expected {path.stem!r}")
    architectures = tuple(raw["architectures"])
    results = []
    for row in raw.get("result", []):
        optional = {f.name for f in fields(Result) if f.default is not MISSING or f.default_factory is not MISSING}
        _keys(path, "result key", row, [f.name for f in fields(Result) if f.name not in optional], optional)
        result = Result(**row)
        _known(path, "architecture", [result.architecture], architectures)
        for key, known in (("metric", METRICS), ("unit", UNITS), ("status", STATUSES), ("kind", KINDS)):
            _known(path, key, [getattr(result, key)], known)
        results.append(result)
    tables = []
    for row in raw.get("table", []):
        _keys(path, "table key", row, [f.name for f in fields(Table)])
        _known(path, "architecture", [row["architecture"]], architectures)
        tables.append(Table(row["architecture"], row["source"], tuple(row["rows"])))
    for row in raw.get("deviation", []):
        _keys(path, "deviation key", row, ("text",), ("architectures",))
        _known(path, "architecture", row.get("architectures", []), architectures)
    for recipe in raw.get("recipe", {}).values():
        _known(path, "architecture", recipe.get("for", {}), architectures)
    found = Card(
        name=raw["card"], title=raw["title"], authors=raw["authors"], venue=raw["venue"], year=raw["year"],
        arxiv=raw.get("arxiv", ""), doi=raw.get("doi", ""), url=raw.get("url", ""), architectures=architectures,
        results=tuple(results), tables=tuple(tables), deviations=tuple(raw.get("deviation", [])),
        margin=raw.get("margin", {}), recipes=raw.get("recipe", {}))
    for name in found.recipes:                  # every recipe of every network resolves, or the card is wrong
        for architecture in architectures:
            found.recipe(architecture, name)
    for result in results:
        if result.protocol:
            found.recipe(result.architecture, "paper", result.protocol)
    return found


def _keys(path: Path, what: str, table: dict, needed, optional=()) -> None:
    _known(path, what, table, (*needed, *optional))
    for name in needed:
        if name not in table:
            raise CardError(f"{path.name}: {what} {name!r} is missing")


def _known(path: Path, what: str, names, allowed) -> None:
    for name in names:
        if name not in allowed:
            raise CardError(f"{path.name}: unknown {what} {name!r}{near_hint(name, allowed)}")


@cache
def cards() -> tuple[Card, ...]:
    """All cards, by year and name."""
    found = [read(path) for path in sorted(FOLDER.glob("*.toml"))]
    return tuple(sorted(found, key=lambda item: (item.year, item.name)))


def card(name: str) -> Card:
    """The card of one paper, by its file name. Raises CardError with the nearest name."""
    known = {item.name: item for item in cards()}
    if name not in known:
        raise CardError(f"no paper card {name!r}{near_hint(name, known)}")
    return known[name]


def card_of(architecture: str) -> Card:
    """The card of the paper that defines `architecture`. Raises CardError with the nearest name when none does."""
    for item in cards():
        if architecture in item.architectures:
            return item
    known = [name for item in cards() for name in item.architectures]
    raise CardError(f"no architecture {architecture!r}{near_hint(architecture, known)} (python -m repro list shows all)")
