"""Recipes: how a network is trained, as data. Resolved, checked and hashed before anything runs."""
import copy
import hashlib
import json
from dataclasses import dataclass
from difflib import get_close_matches

# Every key a recipe may have. A typo must not train, and neither must a value that nobody reads.
KEYS = (
    "optimizer", "batch", "loss", "schedule", "augment", "preprocess",
    "validation",                   # images held out of the training set: a count, a fraction below 1, or 0
    "gaps",                         # what the paper leaves open and what was chosen
)
# The tables: the key that names their kind, and for each kind the keys that it needs and those it may have.
TABLES = {
    "optimizer": ("name", {"sgd": ((), ("momentum", "weight_decay")), "sdlm": (("mu", "hessian_samples"), ())}),
    "loss": ("name", {"cross_entropy": ((), ()), "map": (("j",), ())}),
    "schedule": ("kind", {"step": (("rate", "stop"), ("at", "factor", "unit", "warmup")),
                          "epochs": (("rates",), ("warmup",))}),
}
CHOICES = {
    "augment": ("pad4_crop32", "flip"),
    "preprocess": ("per_pixel_mean", "mean_std", "lenet"),
    "schedule.unit": ("iterations", "epochs"),
}
NUMBERS = {
    # key                       type    from  below
    "batch":                    (int,   1),                 # images a step
    "validation":               (float, 0),
    "optimizer.momentum":       (float, 0, 1),
    "optimizer.weight_decay":   (float, 0),
    "optimizer.mu":             (float, 0),
    "optimizer.hessian_samples": (int,  1),
    "loss.j":                   (float, 0),
    "schedule.rate":            (float, 0),
    "schedule.rates":           (float, 0),                 # every one of them
    "schedule.at":              (int,   0),
    "schedule.factor":          (float, 0),
    "schedule.stop":            (int,   1),
    "schedule.warmup.rate":     (float, 0),
    "schedule.warmup.until_train_error": (float, 0),
}
LISTS = ("augment", "schedule.at", "schedule.rates")
WARMUP = ("rate", "until_train_error")
NOT_TRAINING = ("gaps",)            # words about a recipe, not the recipe: left out of its hash and comparison


class RecipeError(ValueError):
    """A recipe that cannot be trained; the text says which key, and what was expected."""


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe: nothing inherited any more, every key known.

    `resolved` holds the values; `sha256` is over them; `differences` lists where they leave the paper's recipe
    as {key, paper, here}; `overrides` what the command line changed.
    """
    name: str
    why: str
    resolved: dict
    overrides: dict
    differences: tuple[dict, ...]
    sha256: str


def resolve(card: str, recipes: dict, architectures, architecture: str, name: str, overrides: dict) -> Recipe:
    """Apply inheritance, the network's own values (`for.NETWORK`) and `overrides`, then check every key."""
    where = f"{card}: recipe {name!r}"
    if architecture not in architectures:
        raise RecipeError(f"{card} has no network {architecture!r}{near_hint(architecture, architectures)}")
    if not recipes:
        raise RecipeError(f"{card} states no recipe yet: its networks can be built and evaluated, not trained by a recipe")
    if name not in recipes:
        raise RecipeError(f"{card} has no recipe {name!r}{near_hint(name, recipes)}; it has {', '.join(recipes)}")
    values, why = _inherit(where, recipes, architecture, name)
    # a change of kind first: it takes the other values of its table with it
    for key, value in sorted(overrides.items(), key=lambda item: not item[0].endswith((".name", ".kind"))):
        _set(where, values, key, value)
    _spell_out(values)
    check(where, values)
    paper = values
    if "paper" in recipes:
        paper = _inherit(where, recipes, architecture, "paper")[0]
        _spell_out(paper)
    return Recipe(
        name=name, why=why, resolved=values, overrides=dict(overrides),
        differences=tuple(differences(paper, values)), sha256=digest(values))


def _inherit(where: str, recipes: dict, architecture: str, name: str, seen=()) -> tuple[dict, str]:
    if name in seen:
        raise RecipeError(f"{where} inherits from itself: {' → '.join((*seen, name))}")
    if not recipes:
        raise RecipeError(f"{card} states no recipe yet: its networks can be built and evaluated, not trained by a recipe")
    if name not in recipes:
        raise RecipeError(f"{where} inherits from {name!r}, which the card does not have")
    own = copy.deepcopy(recipes[name])
    parent, why, special = own.pop("inherits", None), own.pop("why", ""), own.pop("for", {})
    values = _inherit(where, recipes, architecture, parent, (*seen, name))[0] if parent else {}
    for layer in (own, special.get(architecture, {})):
        for key, value in layer.items():
            if key not in KEYS:
                raise RecipeError(f"{where}: unknown key {key!r}{near_hint(key, KEYS)}")
            values[key] = value        # tables are replaced whole: half an optimizer from each is nobody's recipe
    return values, why


def _set(where: str, values: dict, dotted: str, value) -> None:
    key, _, inner = dotted.partition(".")
    if key not in KEYS:
        raise RecipeError(f"{where}: unknown key {key!r}{near_hint(key, KEYS)}")
    if not inner:
        values[key] = value
        return
    naming, kinds = TABLES.get(key, ("", {}))
    known = {naming, *(name for groups in kinds.values() for group in groups for name in group)} if kinds else ()
    if inner not in known:
        raise RecipeError(f"{where}: unknown key {dotted!r}{near_hint(inner, known)}")
    table = values.get(key)
    table = table if isinstance(table, dict) else {naming: table}
    if inner == naming and table.get(naming) != value:
        table = {}                 # half an optimizer from each is nobody's recipe
    values[key] = {**table, inner: value}


def _spell_out(values: dict) -> None:
    """loss = "map" is short for loss = {name = "map"}."""
    for key in ("optimizer", "loss"):
        if isinstance(values.get(key), str):
            values[key] = {"name": values[key]}


def check(where: str, values: dict) -> None:
    """Every key known and read by somebody, every choice one that the suite has, every number in its range."""
    for key in KEYS:
        if key not in values and key not in NOT_TRAINING:
            raise RecipeError(f"{where}: {key!r} is missing")
    for key, (naming, kinds) in TABLES.items():
        _table(where, key, values[key])
        kind = values[key].get(naming)
        _choice(where, key, kind, kinds)
        needed, more = kinds[kind]
        _keys(where, f"{key}.", values[key], needed, (naming, *more), f" of the {key} {kind!r}")
    if "warmup" in values["schedule"]:
        _table(where, "schedule.warmup", values["schedule"]["warmup"])
        _keys(where, "schedule.warmup.", values["schedule"]["warmup"], WARMUP, (), "")
    for key, value in _dotted(values):
        if key in LISTS and not isinstance(value, (list, tuple)):
            raise RecipeError(f"{where}: {key} must be a list, not {value!r}")
        for item in value if key in LISTS else [value]:
            if key in CHOICES:
                _choice(where, key, item, CHOICES[key])
            if key in NUMBERS:
                _number(where, key, item, *NUMBERS[key])
    if values["schedule"].get("rates") == []:
        raise RecipeError(f"{where}: schedule.rates needs one rate an epoch")


def _dotted(values: dict, prefix: str = ""):
    """(dotted key, value) of everything that is no table."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _table(where: str, key: str, value) -> None:
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: {key} must be a table, not {value!r}")


def _keys(where: str, prefix: str, table: dict, needed, more, of: str) -> None:
    for inner in table:
        if inner not in (*needed, *more):
            hint = near_hint(inner, (*needed, *more)) or f"; there are {', '.join((*needed, *more))}"
            raise RecipeError(f"{where}: unknown key {prefix + inner!r}{of}{hint}")
    for inner in needed:
        if inner not in table:
            raise RecipeError(f"{where}: {prefix + inner!r}{of} is missing")


def _choice(where: str, key: str, value, known) -> None:
    if not isinstance(value, str) or value not in known:
        raise RecipeError(f"{where}: {key} {value!r} is not known{near_hint(str(value), known)}; "
                          f"there are {', '.join(known)}")


def _number(where: str, key: str, value, kind, low, high=float("inf")) -> None:
    kinds = int if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value < high:
        raise RecipeError(f"{where}: {key} must be {'an integer' if kind is int else 'a number'} of at least {low}"
                          + (f" and below {high}" if high < float("inf") else "") + f", not {value!r}")


def differences(paper: dict, here: dict) -> list[dict]:
    """Where `here` leaves the paper's recipe, as {key, paper, here}; None stands for a key that one of them lacks.

    Inside a table every value that differs is one entry with a dotted key; two optimizers, losses or schedules
    of different kinds have no values in common and are one entry.
    """
    found = []
    for key in sorted(paper.keys() | here.keys()):
        one, other = paper.get(key), here.get(key)
        if key in NOT_TRAINING or one == other:
            continue
        naming = TABLES.get(key, (None,))[0]
        if naming and isinstance(one, dict) and isinstance(other, dict) and one.get(naming) == other.get(naming):
            found += [{"key": f"{key}.{inner}", "paper": one.get(inner), "here": other.get(inner)}
                      for inner in sorted(one.keys() | other.keys()) if one.get(inner) != other.get(inner)]
        else:
            found.append({"key": key, "paper": one, "here": other})
    return found


def digest(values: dict) -> str:
    """sha256 over everything of a recipe that changes the training."""
    training = {key: value for key, value in values.items() if key not in NOT_TRAINING}
    return hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()


def near_hint(name: str, known) -> str:
    """The text `, did you mean 'NAME'?` where a known name is near, else nothing."""
    near = [one for one in known if one.startswith(f"{name}_")] or get_close_matches(name, list(known), 1)
    return f", did you mean {near[0]!r}?" if near else ""
