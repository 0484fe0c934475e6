"""Recipes: how a network is trained, as data. Resolved, checked and hashed before anything runs."""
import copy
import hashlib
import json
from dataclasses import dataclass
from difflib import get_close_matches

# Every key a recipe may have. A typo must not train, and neither must a value that nobody reads.
KEYS = (
    "optimizer", "batch", "loss", "schedule",
    "augment",                      # a list, applied in its order: a name, or {name, …}
    "preprocess",                   # a name, or {name, …}
    "validation",                   # images held out of the training set: a count, a fraction below 1, or 0
    "drop_path",                    # ScheduledDropPath's rate in the last cell in the last step
    "average",                      # exponential average of all weights after every step, which is then tested
    "statistics",                   # batches over which batch normalisation's averages are made anew before the test
    "input",                        # sides in pixels: of the network's input, and of what is cropped from
    "test",                         # the views of an image whose scores are averaged after the softmax
    "precision", "compile",
    "gaps",                         # what the paper leaves open and what was chosen
)
OPTIONAL = ("drop_path", "average", "statistics", "input", "test", "precision", "compile", "gaps")     # absent: not used, or the first choice
NOT_TRAINING = ("gaps",)            # words about a recipe, not the recipe: left out of its hash and comparison

_ON_GRADIENTS = ("weight_decay", "decoupled", "decay_of", "clip_norm", "clip_value", "groups")
_ON_RATES = ("unit", "warmup", "early_stop")
# The tables: the key that names their kind ("" where there is one kind), and for each kind the keys that it needs
# and those it may have. A name alone stands for a table with nothing else in it.
TABLES = {
    "optimizer": ("name", {
        "sgd": ((), ("momentum", "nesterov", "velocity", *_ON_GRADIENTS)),
        "rmsprop": (("decay", "epsilon"), ("momentum", *_ON_GRADIENTS)),
        "adam": (("beta1", "beta2", "epsilon"), _ON_GRADIENTS),
        "sdlm": (("mu", "hessian_samples"), ())}),
    "optimizer.groups": ("", {"": (("match",), ("rate", "weight_decay"))}),     # the first that matches counts
    "average": ("", {"": (("decay",), ())}),
    "loss": ("name", {
        "cross_entropy": ((), ("label_smoothing", "auxiliary")),
        "map": (("j",), ()),
        "margin": ((), ("upper", "lower", "down_weight", "reconstruction"))}),
    "schedule": ("kind", {
        "step": (("rate", "stop"), ("at", "factor", *_ON_RATES)),
        "epochs": (("rates",), ("warmup", "early_stop")),
        "constant": (("rate", "stop"), _ON_RATES),
        "plateau": (("rate", "patience", "watch", "stop"), ("factor", "reductions", *_ON_RATES)),
        "exponential": (("rate", "factor", "every", "stop"), ("floor", "staircase", *_ON_RATES)),
        "polynomial": (("rate", "power", "stop"), _ON_RATES),
        "inverse": (("rate", "gamma", "power", "stop"), _ON_RATES),
        "cosine": (("rate", "stop"), _ON_RATES),
        "linear": (("points",), _ON_RATES)}),
    "schedule.warmup": ("", {"": ((), ("rate", "from", "until", "until_train_error"))}),
    "schedule.early_stop": ("", {"": (("watch", "patience"), ())}),
    "augment": ("name", {
        "pad4_crop32": ((), ("padding",)),
        "random_crop": (("size",), ("pad", "padding")),
        "flip": ((), ()),
        "shift": (("pixels",), ()),
        "crop_resize": (("area", "aspect"), ()),
        "scale_crop": (("shorter",), ()),
        "colour_pca": (("deviation",), ()),
        "jitter": ((), ("brightness", "contrast", "saturation")),
        "cutout": (("size",), ()),
        "mixup": (("alpha",), ())}),
    "preprocess": ("name", {
        "per_pixel_mean": ((), ("divisor",)), "channel_mean": ((), ()), "mean_std": ((), ()),
        "per_image": ((), ()), "lenet": ((), ()), "unit": ((), ()), "symmetric": ((), ()), "none": ((), ()),
        "gcn": ((), ()), "gcn_zca": ((), ("regularisation",))}),
    "input": ("", {"": ((), ("size", "shorter"))}),
    "test": ("views", {"one": ((), ()), "five": ((), ()), "ten": ((), ()), "multi": (("scales",), ()),
                      "grid": (("scales",), ()), "whole": (("scales",), ())}),
}
MEANT = {                            # what other programs call them
    "lr": "schedule.rate", "learning_rate": "schedule.rate", "rate": "schedule.rate", "epochs": "schedule.stop",
    "steps": "schedule.stop", "batch_size": "batch", "augmentation": "augment", "size": "input.size",
    "momentum": "optimizer.momentum", "weight_decay": "optimizer.weight_decay", "label_smoothing": "loss.label_smoothing"}
WARMUPS = (("rate", "until_train_error"), ("rate", "until"), ("from", "until"))
LISTS = ("augment", "optimizer.groups", "schedule.at", "schedule.rates", "schedule.points", "test.scales")
PAIRS = ("augment.area", "augment.aspect", "augment.shorter")       # [lowest, highest]
FLAGS = ("optimizer.nesterov", "optimizer.decoupled", "schedule.staircase")
TEXTS = ("optimizer.groups.match",)
_WATCHED = ("validation_error", "train_error", "validation_loss")
CHOICES = {
    "optimizer.velocity": ("caffe", "torch"),
    "optimizer.decay_of": ("all", "kernels"),
    "schedule.unit": ("iterations", "epochs"),
    "schedule.watch": _WATCHED,
    "schedule.early_stop.watch": _WATCHED,
    "augment.padding": ("zero", "reflect"),
    "precision": ("float32", "bfloat16", "float16"),
    "compile": ("graph", "xla"),
}
NUMBERS = {
    # key                       type    from  below
    "batch":                    (int,   1),                 # images a step
    "validation":               (float, 0),
    "optimizer.momentum":       (float, 0, 1),
    "optimizer.decay":          (float, 0, 1),
    "optimizer.beta1":          (float, 0, 1),
    "optimizer.beta2":          (float, 0, 1),
    "optimizer.epsilon":        (float, 0),
    "optimizer.mu":             (float, 0),
    "optimizer.hessian_samples": (int,  1),
    "optimizer.weight_decay":   (float, 0),
    "optimizer.clip_norm":      (float, 0),
    "optimizer.clip_value":     (float, 0),
    "optimizer.groups.rate":    (float, 0),                 # a factor of the schedule's
    "optimizer.groups.weight_decay": (float, 0),
    "average.decay":            (float, 0, 1),
    "drop_path":                (float, 0, 1),
    "statistics":               (int,   1),
    "loss.label_smoothing":     (float, 0, 1),
    "loss.auxiliary":           (float, 0),
    "loss.j":                   (float, 0),
    "loss.upper":               (float, 0),
    "loss.lower":               (float, 0),
    "loss.down_weight":         (float, 0),
    "loss.reconstruction":      (float, 0),
    "schedule.rate":            (float, 0),
    "schedule.rates":           (float, 0),                 # every one of them
    "schedule.points":          (float, 0),                 # both of every pair
    "schedule.at":              (int,   0),
    "schedule.factor":          (float, 0),
    "schedule.every":           (float, 1),
    "schedule.floor":           (float, 0),
    "schedule.power":           (float, 0),
    "schedule.gamma":           (float, 0),
    "schedule.patience":        (int,   1),                 # epochs
    "schedule.reductions":      (int,   0),
    "schedule.stop":            (int,   1),
    "schedule.warmup.rate":     (float, 0),
    "schedule.warmup.from":     (float, 0),
    "schedule.warmup.until":    (float, 0),
    "schedule.warmup.until_train_error": (float, 0),
    "schedule.early_stop.patience": (int, 1),               # epochs
    "augment.size":             (int,   1),
    "augment.pad":              (int,   0),
    "augment.pixels":           (int,   1),
    "augment.area":             (float, 0),
    "augment.aspect":           (float, 0),
    "augment.shorter":          (int,   1),
    "augment.deviation":        (float, 0),
    "augment.brightness":       (float, 0),
    "augment.contrast":         (float, 0),
    "augment.saturation":       (float, 0),
    "augment.alpha":            (float, 0),
    "preprocess.divisor":       (float, 1),
    "preprocess.regularisation": (float, 0),
    "input.size":               (int,   1),
    "input.shorter":            (int,   1),
    "test.scales":              (int,   1),
}


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
        raise RecipeError(f"{card} states no recipe yet: its networks can be built and evaluated, not trained by "
                          "a recipe")
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
    if name not in recipes:
        raise RecipeError(f"{where} inherits from {name!r}, which the card does not have")
    own = copy.deepcopy(recipes[name])
    parent, why, special = own.pop("inherits", None), own.pop("why", ""), own.pop("for", {})
    values = _inherit(where, recipes, architecture, parent, (*seen, name))[0] if parent else {}
    for layer in (own, _of_network(where, special, architecture)):
        for key, value in layer.items():
            if key not in KEYS:
                raise RecipeError(f"{where}: unknown key {key!r}{near_hint(key, KEYS)}")
            values[key] = value        # tables are replaced whole: half an optimizer from each is nobody's recipe
    return values, why


def _of_network(where: str, special: dict, architecture: str) -> dict:
    """The network's own values; `for.NETWORK = "ANOTHER"` takes those of another."""
    values = special.get(architecture, {})
    if isinstance(values, str):
        other, values = values, special.get(values)
        if not isinstance(values, dict):
            raise RecipeError(f"{where}: for.{architecture} is {other!r}, which has no values of its own there"
                              f"{near_hint(other, special)}")
    return values


def _set(where: str, values: dict, dotted: str, value) -> None:
    key, _, inner = dotted.partition(".")
    if key not in KEYS:
        meant = f", did you mean {MEANT[key]!r}?" if key in MEANT else near_hint(key, KEYS)
        raise RecipeError(f"{where}: unknown key {key!r}{meant or f'; there are ' + ', '.join(KEYS)}")
    if not inner:
        values[key] = value
        return
    naming, kinds = TABLES.get(key, ("", {}))
    known = {naming, *(name for groups in kinds.values() for group in groups for name in group)} - {""}
    if key in LISTS:
        raise RecipeError(f"{where}: {key} is a list: --set {key}=[…] changes the whole of it, not {dotted!r}")
    if inner not in known:
        raise RecipeError(f"{where}: unknown key {dotted!r}{near_hint(inner, known)}")
    table = values.get(key)
    table = table if isinstance(table, dict) else {naming: table} if naming and table else {}
    if inner == naming and table.get(naming) != value:
        table = {}                 # half an optimizer from each is nobody's recipe
    values[key] = {**table, inner: value}


def _spell_out(values: dict) -> None:
    """One spelling, one hash: loss = "map" is short for {name = "map"}, [{name = "flip"}] long for ["flip"]."""
    for key in ("optimizer", "loss", "test"):
        if isinstance(values.get(key), str):
            values[key] = {TABLES[key][0]: values[key]}
    if isinstance(values.get("augment"), list):
        values["augment"] = [_name_alone(item) for item in values["augment"]]
    if "preprocess" in values:
        values["preprocess"] = _name_alone(values["preprocess"])


def _name_alone(value):
    return value["name"] if isinstance(value, dict) and value.keys() == {"name"} else value


def check(where: str, values: dict) -> None:
    """Every key known and read by somebody, every choice one that the suite has, every number in its range."""
    for key in KEYS:
        if key not in values and key not in OPTIONAL:
            raise RecipeError(f"{where}: {key!r} is missing")
    for key, (naming, kinds) in TABLES.items():
        for table in _tables(where, values, key):
            kind = table.get(naming, "" if not naming else None)
            if naming:
                _choice(where, key, kind, kinds)
            needed, more = kinds[kind]
            _keys(where, f"{key}.", table, needed, (naming, *more) if naming else more,
                  f" of the {key} {kind!r}" if naming else "")
    for key, value in _leaves(where, values):
        if key in CHOICES:
            _choice(where, key, value, CHOICES[key])
        elif key in FLAGS and not isinstance(value, bool):
            raise RecipeError(f"{where}: {key} must be true or false, not {value!r}")
        elif key in TEXTS and not isinstance(value, str):
            raise RecipeError(f"{where}: {key} must be a text, not {value!r}")
        elif key in NUMBERS:
            _number(where, key, value, *NUMBERS[key])
    _check_schedule(where, values["schedule"], values["validation"])
    _check_together(where, values)


def _check_schedule(where: str, schedule: dict, validation) -> None:
    """What the single values cannot show."""
    if schedule.get("rates") == []:
        raise RecipeError(f"{where}: schedule.rates needs one rate an epoch")
    if "points" in schedule:
        places = [place for place, _ in schedule["points"]]
        if len(places) < 2 or places[0] != 0 or places != sorted(set(places)):
            raise RecipeError(f"{where}: schedule.points must be two or more [place, rate] from place 0 on, each "
                              f"later than the one before, not {schedule['points']!r}")
    if "warmup" in schedule and set(schedule["warmup"]) not in [set(form) for form in WARMUPS]:
        forms = ", or ".join(" and ".join(form) for form in WARMUPS)
        raise RecipeError(f"{where}: schedule.warmup needs {forms}, not "
                          f"{' and '.join(schedule['warmup']) or 'nothing'}")
    for key, table in (("schedule", schedule), ("schedule.early_stop", schedule.get("early_stop", {}))):
        watched = table.get("watch", "")
        if watched.startswith("validation") and not validation:
            raise RecipeError(f"{where}: {key}.watch is {watched!r}, and validation = 0 holds no images out")


def _check_together(where: str, values: dict) -> None:
    size, shorter = (values.get("input", {}).get(key) for key in ("size", "shorter"))
    if size and shorter and shorter < size:
        raise RecipeError(f"{where}: input.shorter must be at least input.size, {size}, not {shorter}")
    if values.get("test", {}).get("scales") == []:
        raise RecipeError(f"{where}: test.scales needs one scale or more")
    names = [item if isinstance(item, str) else item["name"] for item in values["augment"]]
    if "mixup" in names and values["loss"]["name"] != "cross_entropy":
        raise RecipeError(f"{where}: augment 'mixup' mixes labels, which only the loss 'cross_entropy' takes, "
                          f"not {values['loss']['name']!r}")


def _tables(where: str, values: dict, key: str) -> list[dict]:
    """The tables that stand under a dotted key: none, one, or those of a list."""
    outer, _, inner = key.rpartition(".")
    values = values.get(outer, {}) if outer else values
    if inner not in values:
        return []
    found = []
    for item in _listed(where, key, values[inner]):
        if isinstance(item, str) and TABLES[key][0]:
            item = {TABLES[key][0]: item}
        if not isinstance(item, dict):
            what = "a name or a table" if TABLES[key][0] == "name" else "a table"
            raise RecipeError(f"{where}: {key} must be {what}, not {item!r}")
        found.append(item)
    return found


def _leaves(where: str, values: dict, prefix: str = ""):
    """(dotted key, value) of everything that is no table; of lists and pairs every item."""
    for inner, value in values.items():
        key = prefix + inner
        for item in _listed(where, key, value):
            if isinstance(item, dict):
                yield from _leaves(where, item, f"{key}.")
            elif key == "schedule.points":
                if not isinstance(item, (list, tuple)) or len(item) != 2:
                    raise RecipeError(f"{where}: {key} must be a list of [place, rate], not {value!r}")
                yield from ((key, number) for number in item)
            else:
                yield key, item


def _listed(where: str, key: str, value) -> list:
    """The items of a value: several where the key's value is a list, else itself."""
    if key not in LISTS and key not in PAIRS:
        return [value]
    if not isinstance(value, (list, tuple)):
        raise RecipeError(f"{where}: {key} must be a list, not {value!r}")
    if key in PAIRS:
        for item in value:
            _number(where, key, item, *NUMBERS[key])
        if len(value) != 2 or value[0] > value[1]:
            raise RecipeError(f"{where}: {key} must be [lowest, highest], not {value!r}")
    return value


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
        naming = TABLES.get(key, ("",))[0]
        if isinstance(one, dict) and isinstance(other, dict) and one.get(naming) == other.get(naming):
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
