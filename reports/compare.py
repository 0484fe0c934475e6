"""Published numbers beside measured ones: cards + evidence → rows with verdicts; numbers in verdicts.toml.

    interval   m ± t(n−1) · s/√n, two-sided at `confidence`: two one-sided tests at half the rest
    band       [p−δ, p+δ]; for a result that the paper prints as "> p", [p−δ, ∞)

reproduced: n ≥ least_runs, and the interval lies inside the band. better, not reproduced: it lies wholly
outside, on the good (lower) or the bad side. partly: it overlaps the band. insufficient: too few seeds, or more
than `most_diverged` runs diverged. Counts (parameters, connections, …) need one built model and no statistics.
A different recipe on the paper's data is judged by the same rule and carries its differences in its row;
another data set or scale is "not comparable". Where a paper has several numbers for one network (one crop and ten,
with and without augmentation), a run is set beside the one whose protocol it is nearest to.
"""
import math
import statistics
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from scipy.stats import t as student

from ..repro.papers import Card, Result, cards as all_cards
from ..repro.papers.recipe import differences as recipe_differences
from .evidence import Evidence, Group

VERDICTS = ("reproduced", "better", "partly", "not reproduced", "insufficient", "not comparable", "not run")
ROUNDING_NOISE = 1e-9       # of binary fractions: 8.75 + 0.5 must contain 9.25
# as records call them
ERRORS = {"test_error": "test_error", "top1_error": "test_error", "top5_error": "test_top5_error"}


@dataclass(frozen=True)
class Rules:
    """verdicts.toml."""
    confidence: float
    least_runs: int
    most_diverged: int
    margin: dict
    images: dict
    altered: dict

    def margin_of(self, card: Card, dataset: str) -> float:
        """δ in percentage points: the card's own, the data set's, or the default."""
        return card.margin.get(dataset, self.margin.get(dataset, self.margin["default"]))


@cache
def rules() -> Rules:
    return Rules(**tomllib.loads(Path(__file__).with_name("verdicts.toml").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Judgement:
    verdict: str
    why: str
    mean: float | None = None
    sd: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One published number beside one group of runs, or beside none. Errors in percent, margin in points."""
    claim: int                      # rows of one claim are alternatives; exactly one of them is `leading`
    leading: bool                   # the row nearest to the paper's recipe, whatever its verdict
    card: str
    title: str
    year: int
    architecture: str
    dataset: str                    # the one that was measured; the paper's where nothing was
    metric: str
    published: float
    unit: str
    upper: bool                     # the paper prints "> published"
    source: str
    kind: str
    status: str
    note: str
    mean: float | None
    sd: float | None
    n: int
    difference: float | None
    margin: float                   # of a count: the printed figure's rounding
    low: float | None
    high: float | None
    verdict: str
    why: str
    recipe: str
    layers: str
    differences: tuple[str, ...]    # of these runs from the paper, in words
    deviations: tuple[str, ...]     # of every run of the suite from the paper
    cost: str                       # of a verdict, where there is none yet
    records: tuple[str, ...]
    group: Group | None = None


# ------------------------------------------------------------------------------------------------- the rule

def judge(values, published: float, margin: float, diverged: int = 0, upper: bool = False) -> Judgement:
    """The verdict over test errors `values` (%), one a seed."""
    rule, n = rules(), len(values)
    mean = statistics.fmean(values) if n else None
    if n < 2:
        found = Judgement("", "", mean, None, n)
    else:
        sd = statistics.stdev(values)
        half = float(student.ppf((1 + rule.confidence) / 2, n - 1)) * sd / math.sqrt(n)
        found = Judgement("", "", mean, sd, n, mean - half, mean + half)
    if diverged > rule.most_diverged:
        return replace(found, verdict="insufficient", why=f"{diverged} runs diverged")
    if n < rule.least_runs:
        also = f", {diverged} diverged" if diverged else ""
        return replace(found, verdict="insufficient", why=f"{n} of {rule.least_runs} seeds finished{also}")
    bottom, top = published - margin - ROUNDING_NOISE, published + margin + ROUNDING_NOISE
    if upper:
        top = math.inf
    band = f"≥ {bottom:.2f}" if upper else f"{bottom:.2f} to {top:.2f}"
    if bottom <= found.low and found.high <= top:
        verdict, where = "reproduced", "inside"
    elif found.high < bottom:
        verdict, where = "better", "below"
    elif found.low > top:
        verdict, where = "not reproduced", "above"
    else:
        verdict, where = "partly", "overlaps"
    return replace(found, verdict=verdict,
                   why=f"interval {found.low:.2f} to {found.high:.2f} {where} the band {band}")


def judge_count(value: float, published: float, rounding: float) -> Judgement:
    """The verdict over one built model's count: equal, or equal to the figure as rounded in print."""
    off = abs(value - published)
    if off <= rounding:
        return Judgement("reproduced", "exact" if off == 0 else "equal as rounded in print", value, n=1)
    return Judgement("not reproduced", f"off by {off:,.0f}", value, n=1)


# ------------------------------------------------------------------------------------------------- the rows

def compare(evidence: Evidence, cards=None) -> list[Row]:
    """All rows, in the order of the cards; a claim that nobody ran has one row too."""
    rows, claim = [], 0
    for card in all_cards() if cards is None else cards:
        for result in card.results:
            groups = [group for group in evidence.groups
                      if group.first["architecture"] == result.architecture]
            if result.unit == "count":
                of_claim = _counts(card, result, groups, evidence.networks)
            else:
                of_claim = _errors(card, result, groups, evidence)
            if not of_claim:
                verdict = "not run" if result.comparable else "not comparable"
                why = "no run of it yet" if result.comparable else _elsewhere(result)
                of_claim = [_row(card, result, Judgement(verdict, why), cost=cost(card, result, evidence))]
            best = min(range(len(of_claim)), key=lambda i: _distance(of_claim[i], result))
            if of_claim[best].verdict == "not comparable":      # one pair of numbers side by side says it all
                of_claim, best = [of_claim[best]], 0
            rows += [replace(row, claim=claim, leading=i == best) for i, row in enumerate(of_claim)]
            claim += 1
    return rows


def _errors(card: Card, result: Result, groups, evidence: Evidence) -> list[Row]:
    margin, here, elsewhere = rules().margin_of(card, result.dataset), [], []
    for group in groups:
        if not _belongs(group, card, result):
            continue
        found = [run["result"][ERRORS[result.metric]] for run in group.counted]
        values = [value for value in found if value is not None]
        judged = judge(values, result.value, margin, len(group.diverged), result.upper)
        other = result.comparable and _other_data(group, result)
        if other or not result.comparable:
            judged = replace(judged, verdict="not comparable", why=other or _elsewhere(result))
        costs = cost(card, result, evidence) if judged.verdict == "insufficient" else ""
        row = _row(card, result, judged, group, group.counted or group.runs, costs)
        (elsewhere if other else here).append(row)
    # another data set says something only as long as nothing better is known
    return here or [row for row in elsewhere if row.n]


def _belongs(group: Group, card: Card, result: Result) -> bool:
    """Whether these runs have no other claim of the network's that they are nearer to: of their data set, or of their
    protocol."""
    claims = [one for one in card.results if one.architecture == result.architecture and one.unit == result.unit]
    dataset = group.first["dataset"]["name"]
    if dataset != result.dataset:
        return dataset not in {one.dataset for one in claims}
    if not result.comparable:
        return True
    alike = [one for one in claims if (one.dataset, one.metric) == (result.dataset, result.metric) and one.comparable]
    distance = lambda one: len(_from_the_recipe(group.first, card, one))        # noqa: E731
    return distance(result) == min(map(distance, alike))


def _counts(card: Card, result: Result, groups, networks) -> list[Row]:
    """One row a distinct count: runs that built the same network say the same, and so does one built to be shown."""
    built = [(group, run) for group in groups for run in group.runs if group.first["dataset"]["name"] == result.dataset]
    built += [(None, record) for record in networks if record["architecture"] == result.architecture]
    by_count = {}
    for group, record in built:
        value = count(record, result.metric)
        if value is not None:
            by_count.setdefault(value, (group, []))[1].append(record)
    rows = []
    for value, (group, found) in sorted(by_count.items()):
        judged = judge_count(value, result.value, result.rounding)
        if not result.comparable:
            judged = replace(judged, verdict="not comparable", why=_elsewhere(result))
        rows.append(replace(_row(card, result, judged, group, found), recipe="", differences=()))
    return rows


def count(record: dict, metric: str):
    """A count of the built model, its total or the sum over its layers; None where the record has neither."""
    for total in (record["model"].get(metric), record.get("result", {}).get(metric)):
        if total is not None:
            return total
    of_layers = [layer[metric] for layer in record["model"]["layers"] if layer.get(metric) is not None]
    return sum(of_layers) if of_layers else None


def _row(card: Card, result: Result, judged: Judgement, group=None, runs=(), cost="") -> Row:
    counted = result.unit == "count"
    return Row(
        claim=0, leading=False, card=card.name, title=card.title, year=card.year,
        architecture=result.architecture,
        dataset=group.first["dataset"]["name"] if group else result.dataset, metric=result.metric,
        published=result.value, unit=result.unit, upper=result.upper, source=result.source, kind=result.kind,
        status=result.status, note=result.note, mean=judged.mean, sd=judged.sd, n=judged.n,
        difference=None if judged.mean is None else judged.mean - result.value,
        margin=result.rounding if counted else rules().margin_of(card, result.dataset),
        low=judged.low, high=judged.high, verdict=judged.verdict, why=judged.why,
        recipe=group.first["recipe"]["name"] if group else "", layers=group.first["layers"] if group else "",
        differences=differences(group, card, result) if group else (),
        deviations=deviations(card, result.architecture), cost=cost, records=tuple(run["id"] for run in runs),
        group=group)


def _distance(row: Row, result: Result) -> tuple:
    """How far a row is from the paper, never how good its verdict is; then explicit layers, then most runs."""
    return (row.dataset != result.dataset, len(row.differences), row.layers != "explicit", -len(row.records))


def _elsewhere(result: Result) -> str:
    return result.note or "the paper's number belongs to another network or protocol"


def _other_data(group: Group, result: Result) -> str:
    """Why these runs are on another data set or scale than the paper's; empty when they are not."""
    run = group.first
    if run["dataset"]["name"] != result.dataset:
        return f"measured on {run['dataset']['name']}, published for {result.dataset}"
    own, splits = rules().images.get(result.dataset, {}), run["dataset"]["splits"]
    train, test = (splits.get("train") or 0) + (splits.get("validation") or 0), splits.get("test")
    for here, there, what in ((train, own.get("train"), "training"), (test, own.get("test"), "test")):
        if here and there and here != there:
            return f"{here:,} {what} images, the data set has {there:,}"
    return ""


# ------------------------------------------------------------------------------------------------- in words

def words(value) -> str:
    """A recipe's value in a few words; long lists by their ends."""
    if isinstance(value, list) and len(value) > 4:
        return f"[{words(value[0])}, {words(value[1])}, … {words(value[-1])}] ({len(value)})"
    if isinstance(value, list):
        return "[" + ", ".join(map(words, value)) + "]"
    if isinstance(value, dict):
        name, rest = value.get("name") or value.get("kind") or "", [
            f"{key} {words(item)}" for key, item in value.items() if key not in ("name", "kind")]
        return f"{name} ({', '.join(rest)})" if rest else words(name)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def differences(group: Group, card: Card | None = None, result: Result | None = None) -> tuple[str, ...]:
    """Where these runs leave the paper, or one claim of its: data, recipe, precision, and a program nobody can name."""
    run, found = group.first, []
    if result and run["dataset"]["name"] != result.dataset:
        found.append(f"{run['dataset']['name']} instead of {result.dataset}")
    if run["dataset"]["identity"].startswith("unknown"):
        found.append(f"data set of {run['dataset']['identity']}")
    if altered := rules().altered.get(run["dataset"]["sha256"]):
        found.append(altered)
    for item in _from_the_recipe(run, card, result):
        found.append(f"{item['key']} {words(item['here'])} instead of {words(item['paper'])}")
    if run["precision"] not in ("", "float32"):
        found.append(f"precision {run['precision']}")
    if any(one["dirty"] for one in group.counted or group.runs):
        found.append("uncommitted changes in the program")
    if any(one["forced"] for one in group.counted):
        found.append("gone on with by another program than it began with")
    return tuple(found)


def _from_the_recipe(run: dict, card: Card | None, result: Result | None) -> list[dict]:
    """Where a run leaves the recipe of the paper or, where a claim has a protocol of its own, of that claim."""
    if result is None or not result.protocol:
        return run["recipe"]["differences"]
    claimed = card.recipe(result.architecture, "paper", result.protocol).resolved
    return recipe_differences(claimed, run["recipe"]["resolved"])


def deviations(card: Card, architecture: str) -> tuple[str, ...]:
    return tuple(item["text"] for item in card.deviations
                 if architecture in item.get("architectures", (architecture,)))


def cost(card: Card, result: Result, evidence: Evidence) -> str:
    """What a verdict would cost on the measured machine: the paper's images over its images a second."""
    if result.unit == "count" or not result.comparable:
        return ""
    if "paper" not in card.recipes:
        return "cost unknown: the card has no recipe of the paper's"
    recipe = card.recipe(result.architecture, "paper", result.protocol).resolved
    images, (speed, measured) = _images(result.dataset, recipe), _speed(result, recipe["batch"], evidence)
    if images is None:
        return f"cost unknown: the size of {result.dataset} is not in verdicts.toml"
    if speed is None:
        return "cost unknown: nothing has been timed that its multiply-adds could be set beside"
    runs = rules().least_runs
    hours = images * runs / speed / 3600
    span = f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 10 else f"{hours:,.0f} h"
    return f"about {span} for {runs} seeds at {speed:,.{1 if speed < 10 else 0}f} images/s{measured}"


def _images(dataset: str, recipe: dict) -> float | None:
    """How many images a recipe trains on in all; None where an epoch's length is not known."""
    schedule, held_out, own = recipe["schedule"], recipe["validation"], rules().images.get(dataset)
    if schedule["kind"] != "epochs" and schedule.get("unit", "iterations") == "iterations":
        return _last(schedule) * recipe["batch"]
    if own is None:
        return None
    return _last(schedule) * (own["train"] - (held_out if held_out >= 1 else held_out * own["train"]))


def _speed(result: Result, batch: int, evidence: Evidence) -> tuple[float | None, str]:
    """Images a second of a network, and where that is from: its own runs, on this data set if there are any, or those of
    the network whose multiply-adds are nearest to its."""
    timed = [group for group in evidence.groups if group.images_per_second]
    own = [group for group in timed if group.first["architecture"] == result.architecture]
    if own:
        same = [group for group in own if group.first["dataset"]["name"] == result.dataset]
        # a batch of one and a batch of 64 differ tenfold in images a second
        alike = [group for group in same or own if group.first["recipe"]["resolved"].get("batch") == batch]
        on = "" if same else f", measured on {own[0].first['dataset']['name']}"
        return max(group.images_per_second for group in alike or same or own), on
    built = [record for record in evidence.networks if record["architecture"] == result.architecture]
    work = count(built[-1], "multiply_adds") if built else None
    others = [(abs(math.log(theirs / work)), theirs, group) for group in timed
              if work and (theirs := count(group.first, "multiply_adds"))]
    if not others:
        return None, ""
    _, theirs, nearest = min(others, key=lambda item: (item[0], item[2].key))
    source = f", estimated from {nearest.first['architecture']}'s by multiply-adds"
    return nearest.images_per_second * theirs / work, source


def _last(schedule: dict) -> float:
    """Where a schedule ends, in its unit."""
    if schedule["kind"] == "epochs":
        return len(schedule["rates"])
    return schedule["points"][-1][0] if schedule["kind"] == "linear" else schedule["stop"]
