"""What the report is built from: records read, checked against a shape, and grouped by configuration.

A record is data from anywhere. It is fitted to the shapes below before anything else touches it: unknown keys
are dropped, missing ones become None or empty, a value of the wrong kind makes the record malformed, and a
malformed record is listed, never fatal and never lost.
"""
import json
import math
import re
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..repro import record as records_on_disk

RECORDS = Path(__file__).parent / "records"     # the committed evidence
FAILED_TRAINING = ("diverged", "stuck")         # training itself failed; the others were only cut short
PROGRAM = ("code_sha256", "versions")           # what a resumed run may have changed and still be the same experiment
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
LONGEST = 2000          # characters of a text; a record says what it says in less
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class ReportError(ValueError):
    """Something that keeps a report from being built; the text says what and how to mend it."""


class Malformed(ValueError):
    """A record with a value of the wrong kind; the text names the place."""


# --------------------------------------------------------------------------------------------------- shapes

def text(value, where: str) -> str:
    """A text without control or half characters, and not endless; empty for null."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{where} is {_kind(value)}, expected a text")
    value = UNPRINTABLE.sub("\ufffd", value)
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}… ({len(value):,} characters)"


def encoded(value, where: str) -> str:
    """A picture in base64; checked where it is shown, so that a bad one costs its place and not the record."""
    return value if isinstance(value, str) else ""


def number(value, where: str):
    """An int or float; None for null and for what JSON cannot say (record.py writes "nan", "inf", "-inf")."""
    if value is None or value in ("nan", "inf", "-inf"):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed(f"{where} is {_kind(value)}, expected a number")
    if isinstance(value, int) and abs(value) > 2**63:
        raise Malformed(f"{where} is out of range")
    return value if math.isfinite(value) else None


def size(value, where: str):
    """A number or a list of numbers."""
    return [number(item, where) for item in value] if isinstance(value, list) else number(value, where)


def flag(value, where: str):
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"{where} is {_kind(value)}, expected true or false")
    return value


def anything(value, where: str):
    """Any JSON, its texts made printable."""
    if isinstance(value, dict):
        return {text(key, where): anything(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [anything(item, where) for item in value]
    if isinstance(value, bool):
        return value
    return text(value, where) if isinstance(value, str) else number(value, where)


def table(value, where: str) -> dict:
    fit(value, {}, where)
    return anything(value or {}, where)


def integers(value, where: str) -> list[int]:
    """A long flat list of whole numbers, checked without a call for each."""
    value = [] if value is None else value
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        raise Malformed(f"{where} is not a list of whole numbers")
    return value


COMMON = {
    "id": text, "kind": text, "status": text, "reason": text, "started": text, "ended": text,
    "wall_seconds": number, "peak_memory_mib": number, "command": text, "commit": text, "dirty": flag,
    "version": text, "versions": {"*": text}, "backend": text,
    "hardware": {"processor": text, "cores": number, "memory_gib": number, "accelerators": anything,
                 "platform": text, "replicas": number, "processes": number},
}
TRAINING = COMMON | {
    "precision": text, "compile": text, "deterministic": flag, "weights_sha256": text,
    "resumed_at": [number], "forced": [{"key": text, "was": anything, "is": anything, "from": text}],
    "layers": text, "paper": text, "architecture": text, "seed": number,
    "dataset": {"name": text, "version": text, "sha256": text, "identity": text, "splits": {"*": number},
                "classes": [text]},
    "recipe": {"name": text, "sha256": text, "why": text, "resolved": table, "overrides": table,
               "differences": [{"key": text, "paper": anything, "here": anything}]},
    "model": {"input_shape": size, "parameters": number, "non_trainable": number, "multiply_adds": number,
              "connections": number, "depth": number,
              "layers": [{"name": text, "type": text, "output": size, "kernel": size, "parameters": number,
                          "multiply_adds": number, "connections": number, "activation_bytes": number,
                          "receptive_field": size, "stage": text}]},
    "history": [{"epoch": number, "step": number, "rate": number, "train_error": number,
                 "validation_error": number,
                 "seconds": number, "images_per_second": number}],
    "result": {"test_error": number, "test_top5_error": number, "train_error": number,
               "validation_error": number,
               "test_images": number, "parameters": number, "multiply_adds": number, "connections": number,
               "depth": number},
    "predictions": {"labels": integers, "classes": integers},
    "samples": [{"index": number, "label": number, "right": flag, "top5": [[number]], "image": encoded,
                 "saliency": encoded}],
    "learned": {"layer": text, "shape": size, "kernels": anything,
                "feature_maps": {"layer": text, "index": number, "images": [encoded]}},
}
GRADIENTS = COMMON | {
    "rows": [{"operator": text, "case": text, "argument": text, "against": text, "dtype": text,
              "error": number,
              "threshold": number, "passed": flag}],
    "passed": flag,
}
NETWORK = COMMON | {"paper": text, "architecture": text, "model": TRAINING["model"]}
BENCH = COMMON | {
    "compile": text, "memory_method": text, "geometric_mean": number,
    "goals": {"mean": number, "network": number, "memory": number},
    "rows": [{"kind": text, "name": text, "form": text, "formula": text, "batch": number, "rounds": number,
              "ours_ms": number, "stock_ms": number, "ratio": number, "low": number, "high": number,
              "memory_ours_mib": number, "memory_stock_mib": number, "memory_ratio": number,
              "error": number, "threshold": number, "refused": text, "note": text}],
}
EVALUATION = COMMON | {
    "paper": text, "architecture": text, "views": text, "scales": [number], "scale": text,
    "weights": {"file": text, "sha256": text, "project": text, "origin": text},
    "dataset": {"name": text, "read": text, "version": text, "images": number, "of": number, "classes": number,
                "remark": text},
    "result": {"top1_error": number, "top5_error": number, "top1_error_of_all": number, "top5_error_of_all": number},
}
SHAPES = {"training": TRAINING, "gradients": GRADIENTS, "network": NETWORK, "bench": BENCH, "evaluation": EVALUATION}


def fit(value, shape, where: str = ""):
    """`value` in the form of `shape`: a function, [shape of each], {key: shape} or {"*": shape of each}."""
    if callable(shape):
        return shape(value, where)
    if isinstance(shape, list):
        if value is not None and not isinstance(value, list):
            raise Malformed(f"{where} is {_kind(value)}, expected a list")
        return [fit(item, shape[0], f"{where}[{i}]") for i, item in enumerate(value or ())]
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"{where} is {_kind(value)}, expected a table")
    value = value or {}
    if "*" in shape:
        return {text(key, where): fit(item, shape["*"], f"{where}.{text(key, where)[:40]}")
                for key, item in value.items()}
    return {key: fit(value.get(key), inner, f"{where}.{key}".lstrip(".")) for key, inner in shape.items()}


def _kind(value) -> str:
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")


# ------------------------------------------------------------------------------------------------- evidence

@dataclass(frozen=True)
class Group:
    """Training runs that differ in their seed only."""
    key: tuple
    runs: tuple[dict, ...]                      # by seed, then by time

    @property
    def first(self) -> dict:
        """The run whose pictures stand for the group: the first seed that finished, by rule, not by looks."""
        return (self.counted or self.runs)[0]

    @cached_property
    def outcomes(self) -> list[dict]:
        """What each seed came to, a test error or a training that failed; one that ran twice counts by its newest run."""
        newest = {}
        for run in sorted(self.runs, key=lambda run: run["ended"]):
            measured = run["status"] == "finished" and run["result"]["test_error"] is not None
            if (measured or run["status"] in FAILED_TRAINING) and not changed_midway(run):
                newest[run["id"] if run["seed"] is None else run["seed"]] = run
        return sorted(newest.values(), key=_by_seed)

    @cached_property
    def counted(self) -> list[dict]:
        """The outcomes with a test error."""
        return [run for run in self.outcomes if run["status"] == "finished"]

    @cached_property
    def diverged(self) -> list[dict]:
        return [run for run in self.outcomes if run["status"] in FAILED_TRAINING]

    @cached_property
    def images_per_second(self) -> float | None:
        """Median over all epochs but each run's first, which pays for compilation."""
        speeds = [epoch["images_per_second"] for run in self.runs
                  for epoch in (run["history"][1:] or run["history"]) if epoch["images_per_second"]]
        return statistics.median(speeds) if speeds else None


@dataclass(frozen=True)
class Evidence:
    groups: tuple[Group, ...] = ()
    gradients: tuple[dict, ...] = ()            # oldest first
    networks: tuple[dict, ...] = ()             # built and measured, not trained; oldest first
    benches: tuple[dict, ...] = ()              # ours and stock Keras on the clock; oldest first
    evaluations: tuple[dict, ...] = ()          # of weights that others trained; oldest first
    broken: tuple[tuple[str, str], ...] = ()    # (file or id, reason)

    @cached_property
    def runs(self) -> list[dict]:
        return [run for group in self.groups for run in group.runs]

    @cached_property
    def newest(self) -> dict | None:
        """The record whose end (or start) is latest."""
        every = (*self.runs, *self.gradients, *self.networks, *self.benches, *self.evaluations)
        dated = [(when, record["id"], record) for record in every
                 for when in (record["ended"], record["started"]) if TIME.fullmatch(when)]
        return max(dated, key=lambda item: item[:2])[2] if dated else None


def gather(folders) -> Evidence:
    """Read every record below `folders`. Raises ReportError when a folder does not exist."""
    found, broken = [], []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ReportError(f"no folder {folder}: expected records, as `python -m repro train` leaves them")
        read, unreadable = records_on_disk.read_records(folder)
        found += read
        broken += unreadable
    return arrange(found, broken)


def changed_midway(run: dict) -> list[dict]:
    """What `--force` changed of the experiment itself while it ran: no configuration's run any more."""
    return [one for one in run["forced"] if not one["key"].startswith(PROGRAM)]


def arrange(found, broken=()) -> Evidence:
    """Check records of any kind and group them; one that lies in two folders counts once, as it was last written."""
    groups, broken = {}, list(broken)
    others = {"gradients": [], "network": [], "bench": [], "evaluation": []}
    newest = {}
    for raw in found:
        shape = SHAPES.get(raw.get("kind"))
        if shape is None:                           # a kind that this report knows nothing of
            continue
        try:
            record = fit(raw, shape)
        except (Malformed, RecursionError) as error:
            broken.append((text(raw["id"], "id"), f"malformed: {error}"))
            continue
        other = newest.get(record["id"])
        if other is None or record["ended"] > other["ended"]:
            newest[record["id"]] = record
        elif record != other and record["ended"] == other["ended"]:
            broken.append((record["id"], "another record of the same name and time says something else"))
    for record in newest.values():
        if record["kind"] in others:
            others[record["kind"]].append(record)
        else:
            groups.setdefault(_configuration(record), []).append(record)
    return Evidence(
        tuple(Group(key, tuple(sorted(groups[key], key=_by_seed))) for key in sorted(groups)),
        *(tuple(sorted(others[kind], key=lambda record: (record["ended"], record["id"])))
          for kind in others),
        tuple(sorted({(text(name, ""), text(why, "")) for name, why in broken})))


def _configuration(run: dict) -> tuple:
    """All that runs of one group share; what is left is chance. Batch normalisation knows over how many devices."""
    recipe, dataset = run["recipe"], run["dataset"]
    return (run["architecture"], dataset["name"], recipe["name"], recipe["sha256"],
            json.dumps(recipe["overrides"], sort_keys=True), run["layers"], run["precision"], run["backend"],
            json.dumps(dataset["splits"], sort_keys=True), dataset["sha256"], run["compile"] or "graph",
            run["hardware"]["replicas"] or 1)


def _by_seed(run: dict) -> tuple:
    return (run["seed"] is None, run["seed"] or 0, run["started"], run["id"])
