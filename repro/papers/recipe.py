"""Recipes: how a network is trained, as data. Resolved, checked and hashed before anything runs."""
import copy
import hashlib
import json
from dataclasses import dataclass
from difflib import get_close_matches

# Every key a recipe may have, and for tables every key below it. A typo must not train.
KEYS = {
    "optimizer": {"name", "momentum", "weight_decay", "mu", "hessian_samples"},
    "batch": None,                  # images a step
    "loss": {"name", "j"},
    "schedule": {"kind", "rate", "at", "factor", "stop", "unit", "rates", "warmup"},
    "augment": None,                # list of names, in order
    "preprocess": None,
    "validation": None,             # images held out of the training set: a count, a fraction below 1, or 0
    "gaps": None,                   # what the paper leaves open and what was chosen
}
WARMUP = {"rate", "until_train_error"}
REQUIRED = ("optimizer", "batch", "loss", "schedule", "augment", "preprocess", "validation")
CHOICES = {
    "optimizer": ("sgd", "sdlm"),
    "loss": ("cross_entropy", "map"),
    "schedule": ("step", "epochs"),
    "augment": ("pad4_crop32", "flip"),
    "preprocess": ("per_pixel_mean", "mean_std", "lenet"),
}
KIND = {"optimizer": "name", "loss": "name", "schedule": "kind"}     # the key that says what sort of table it is
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
        raise RecipeError(f"{card} has no network {architecture!r}{_near(architecture, architectures)}")
    if name not in recipes:
        raise RecipeError(f"{card} has no recipe {name!r}{_near(name, recipes)}; it has {', '.join(recipes)}")
    values, why = _inherit(where, recipes, architecture, name)
    for key, value in overrides.items():
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
    if name not in recipes:
        raise RecipeError(f"{where} inherits from {name!r}, which the card does not have")
    own = copy.deepcopy(recipes[name])
    parent, why, special = own.pop("inherits", None), own.pop("why", ""), own.pop("for", {})
    values = _inherit(where, recipes, architecture, parent, (*seen, name))[0] if parent else {}
    for layer in (own, special.get(architecture, {})):
        for key, value in layer.items():
            if key not in KEYS:
                raise RecipeError(f"{where}: unknown key {key!r}{_near(key, KEYS)}")
            values[key] = value        # tables are replaced whole: half an optimizer from each is nobody's recipe
    return values, why


def _set(where: str, values: dict, dotted: str, value) -> None:
    key, _, inner = dotted.partition(".")
    if key not in KEYS:
        raise RecipeError(f"{where}: unknown key {key!r}{_near(key, KEYS)}")
    if not inner:
        values[key] = value
        return
    if not KEYS[key] or inner not in KEYS[key]:
        raise RecipeError(f"{where}: unknown key {dotted!r}{_near(inner, KEYS[key] or ())}")
    table = values.get(key)
    values[key] = {**(table if isinstance(table, dict) else {"name": table}), inner: value}


def _spell_out(values: dict) -> None:
    """loss = "map" is short for loss = {name = "map"}."""
    for key in ("optimizer", "loss"):
        if isinstance(values.get(key), str):
            values[key] = {"name": values[key]}


def check(where: str, values: dict) -> None:
    """Every key known, every choice one that the suite has, every number in its range."""
    for key in REQUIRED:
        if key not in values:
            raise RecipeError(f"{where}: {key!r} is missing")
    for key, kind in KIND.items():
        table = values[key]
        if not isinstance(table, dict):
            raise RecipeError(f"{where}: {key} must be a table, not {table!r}")
        for inner in table:
            if inner not in KEYS[key]:
                raise RecipeError(f"{where}: unknown key '{key}.{inner}'{_near(inner, KEYS[key])}")
        _choice(where, key, table.get(kind))
    for name in values["augment"]:
        _choice(where, "augment", name)
    _choice(where, "preprocess", values["preprocess"])
    _number(where, "batch", values["batch"], int, low=1)
    _number(where, "validation", values["validation"], (int, float), low=0)
    schedule = values["schedule"]
    if schedule["kind"] == "epochs":
        if not schedule.get("rates"):
            raise RecipeError(f"{where}: schedule.rates needs one rate an epoch")
        for rate in schedule["rates"]:
            _number(where, "schedule.rates", rate, (int, float), low=0)
    else:
        _number(where, "schedule.rate", schedule.get("rate"), (int, float), low=0)
        _number(where, "schedule.stop", schedule.get("stop"), int, low=1)
        if schedule.get("unit", "iterations") not in ("iterations", "epochs"):
            raise RecipeError(f"{where}: schedule.unit is 'iterations' or 'epochs', not {schedule['unit']!r}")
    for inner in schedule.get("warmup", {}):
        if inner not in WARMUP:
            raise RecipeError(f"{where}: unknown key 'schedule.warmup.{inner}'{_near(inner, WARMUP)}")


def _choice(where: str, key: str, value) -> None:
    if value not in CHOICES[key]:
        raise RecipeError(f"{where}: {key} {value!r} is not known{_near(str(value), CHOICES[key])}; "
                          f"there are {', '.join(CHOICES[key])}")


def _number(where: str, key: str, value, kinds, low) -> None:
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value < float("inf"):
        raise RecipeError(f"{where}: {key} must be a number of at least {low}, not {value!r}")


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
        kind = KIND.get(key)
        if kind and isinstance(one, dict) and isinstance(other, dict) and one.get(kind) == other.get(kind):
            found += [{"key": f"{key}.{inner}", "paper": one.get(inner), "here": other.get(inner)}
                      for inner in sorted(one.keys() | other.keys()) if one.get(inner) != other.get(inner)]
        else:
            found.append({"key": key, "paper": one, "here": other})
    return found


def digest(values: dict) -> str:
    """sha256 over everything of a recipe that changes the training."""
    training = {key: value for key, value in values.items() if key not in NOT_TRAINING}
    return hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()


def _near(name: str, known) -> str:
    near = get_close_matches(name, list(known), 1)
    return f", did you mean {near[0]!r}?" if near else ""
