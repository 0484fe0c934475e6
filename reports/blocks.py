"""What the page's blocks show of their records: errors, samples, architecture, gradients, speed and more."""
import base64
import re
from collections import Counter
from operator import ge, le

from scipy.stats import binomtest

from ..repro.papers import Card, Result
from .compare import count, rules, words
from .evidence import Evidence, changed_midway

MOST_TIMINGS = 400          # rows of one table of a benchmark
MOST_CLASSES = 20           # of a confusion matrix; beyond that the most confused pairs
LARGEST_PICTURE = 64 * 2**10
PICTURE = re.compile(r"(?:data:image/png;base64,)?([A-Za-z0-9+/]+={0,2})")
PNG = b"\x89PNG\r\n\x1a\n"
REFERENCES = ("loops", "stock", "central differences", "adjoint", "second derivatives")


def picture(value: str) -> str:
    """A data URI of a base64 PNG from a record; empty for everything else."""
    match = PICTURE.fullmatch(value) if len(value) <= LARGEST_PICTURE else None
    if not match or len(match[1]) % 4 or not base64.b64decode(match[1]).startswith(PNG):
        return ""
    return f"data:image/png;base64,{match[1]}"


def class_name(run: dict, index) -> str:
    names = run["dataset"]["classes"]
    return names[index] if isinstance(index, int) and 0 <= index < len(names) else str(index)


# --------------------------------------------------------------------------------------------------- errors

def errors(run: dict) -> dict | None:
    """Of one run: confusion matrix or most confused pairs, and each class's error with its Wilson interval."""
    labels, predicted = run["predictions"]["labels"], run["predictions"]["classes"]
    if not labels or len(labels) != len(predicted) or min(*labels, *predicted) < 0:
        return None
    found = Counter(zip(labels, predicted))
    totals = Counter(labels)
    named = range(len(run["dataset"]["classes"]))
    seen = sorted({*totals, *predicted, *(named if len(named) <= MOST_CLASSES else ())})
    classes = []
    for index, total in sorted(totals.items()):
        wrong = total - found[index, index]
        interval = binomtest(wrong, total).proportion_ci(rules().confidence, method="wilson")
        classes.append({"name": class_name(run, index), "images": total, "error": 100 * wrong / total,
                        "low": 100 * interval.low, "high": 100 * interval.high})
    many = len(seen) > MOST_CLASSES
    confused = sorted(((-n, pair) for pair, n in found.items() if pair[0] != pair[1]))[:MOST_CLASSES]
    return {
        "names": [class_name(run, index) for index in seen],
        "matrix": [] if many else [
            {"name": class_name(run, row), "cells": [
                {"n": found[row, column], "share": found[row, column] / max(totals[row], 1),
                 "right": row == column}
                for column in seen]} for row in seen],
        "pairs": [{"label": class_name(run, a), "predicted": class_name(run, b), "n": -n}
                  for n, (a, b) in confused],
        "classes": sorted(classes, key=lambda item: -item["error"])[:MOST_CLASSES],
        "omitted": len(classes) - MOST_CLASSES,
        "scale": max((row["high"] for row in classes), default=1) or 1, "images": len(labels),
    }


def samples(run: dict) -> list[dict]:
    """The record's seed-chosen test images, right ones first, each with what was predicted."""
    found = []
    for sample in run["samples"][:32]:
        top = [(class_name(run, pair[0]), pair[1]) for pair in sample["top5"][:5]
               if len(pair) == 2 and pair[1] is not None]
        if image := picture(sample["image"]):
            found.append({"index": sample["index"], "image": image, "saliency": picture(sample["saliency"]),
                          "top": top,
                          "label": class_name(run, sample["label"]), "right": sample["right"]})
    return sorted(found, key=lambda item: not item["right"])


# --------------------------------------------------------------------------------------------- architecture

def architecture(run: dict, table=None) -> dict | None:
    """The built network by named stage beside the paper's table (a card's Table), and layer by layer.

    A layer without a stage belongs to the next named one; a stage's output and field are its last layer's.
    """
    layers = run["model"]["layers"]
    if not layers:
        return None
    stages, pending = {}, []
    for layer in layers:
        pending.append(layer)
        if layer["stage"]:
            stages.setdefault(layer["stage"], []).extend(pending)
            pending = []
    if stages and any(layer["parameters"] or layer["multiply_adds"] for layer in pending):
        stages["after these"] = pending
    ours = {name: {"output": of[-1]["output"], "receptive_field": of[-1]["receptive_field"],
                   "layers": sum(bool(layer["multiply_adds"]) for layer in of),     # with weights
                   **{key: _sum(of, key)
                      for key in ("parameters", "multiply_adds", "connections", "activation_bytes")}}
            for name, of in stages.items()}
    paper = {row.get("stage", "?"): row for row in table.rows} if table else {}
    rows = []
    for name in [*ours, *(stage for stage in paper if stage not in ours)]:
        said = {key: value for key, value in paper.get(name, {}).items() if key != "stage"}
        mine = ours.get(name, {})
        rows.append({"stage": name, "built": name in ours, **mine, "paper": said,
                     "off": [key for key, value in said.items()
                             if mine.get(key) is not None and mine[key] != value]})
    return {"rows": rows, "layers": layers, "source": table.source if table else "", "connections": any(
                layer["connections"] for layer in layers),
            "parameters": count(run, "parameters"), "multiply_adds": count(run, "multiply_adds"),
            "off": sum(bool(row["off"]) or not row["built"] for row in rows)}


def _sum(layers, key):
    values = [layer[key] for layer in layers if layer[key] is not None]
    return sum(values) if values else None


# ------------------------------------------------------------------------------------ weights of other projects

def evaluations(evidence: Evidence, cards) -> list[dict]:
    """Each network with each file of weights on each data set, by its newest record, beside the paper's errors.

    A difference only where all of ImageNet's validation images were looked at, by the views that the paper's figure is of:
    of ten classes it would say nothing.
    """
    newest = {(record["architecture"], record["weights"]["sha256"], record["dataset"]["name"], record["views"]): record
              for record in evidence.evaluations}
    rows = []
    for _, record in sorted(newest.items()):
        data, result = record["dataset"], record["result"]
        whole = data["name"] == "imagenet" and data["images"] == data["of"]
        errors = []
        for metric in ("top1_error", "top5_error"):
            paper, alike = _printed(record, metric, cards)
            ours = result[metric]
            errors.append({"ours": ours, "of_all": result[f"{metric}_of_all"] if data["classes"] != 1000 else None,
                           "paper": paper, "difference": ours - paper.value if whole and alike and ours is not None
                           else None})
        rows.append({"record": record, "errors": errors})
    return rows


def _printed(record: dict, metric: str, cards) -> tuple[Result | None, bool]:
    """The paper's figure of the network on ImageNet, and whether it is of the same views: of several the first that is."""
    views = "whole" if record["scales"] else "one"
    found = [(_views_of(card, result) == views, result) for card in cards if card.name == record["paper"]
             for result in card.results if result.comparable and
             (result.architecture, result.dataset, result.metric) == (record["architecture"], "imagenet", metric)]
    alike, paper = max(found, key=lambda one: one[0], default=(False, None))
    return paper, alike


def _views_of(card: Card, result: Result) -> str:
    """By which views of an image a published error was measured; empty where no recipe says so."""
    if "paper" not in card.recipes:
        return ""
    return card.recipe(result.architecture, "paper", result.protocol).resolved.get("test", {}).get("views", "one")


# ------------------------------------------------------------------------------------------------ gradients

def gradients(evidence: Evidence) -> list[dict]:
    """Of each backend's newest check: operator × reference, the case nearest to (or most over) its limit."""
    newest = {record["backend"]: record for record in evidence.gradients}
    tables = []
    for backend, record in sorted(newest.items()):
        cells = {}
        for row in record["rows"]:
            cells.setdefault((row["operator"], row["against"]), []).append(row)
        references = sorted({against for _, against in cells},
                            key=lambda name: (REFERENCES.index(name) if name in REFERENCES else 9, name))
        tables.append({
            "record": record, "backend": backend, "references": references, "cases": len(record["rows"]),
            "failed": sum(row["passed"] is not True for row in record["rows"]),
            "rows": [{"operator": operator,
                      "cells": [_worst(cells.get((operator, name), [])) for name in references]}
                     for operator in sorted({operator for operator, _ in cells})]})
    return tables


def _worst(rows) -> dict | None:
    if not rows:
        return None

    def closeness(row):         # an error that is not a number is worse than any
        return (row["passed"] is not True, row["error"] is None,
                (row["error"] or 0) / (row["threshold"] or 1))
    worst = max(rows, key=closeness)
    return {"error": worst["error"], "threshold": worst["threshold"],
            "case": f"{worst['case']}, {worst['argument']}",
            "cases": len(rows), "dtypes": ", ".join(sorted({row["dtype"] for row in rows if row["dtype"]})),
            "passed": all(row["passed"] is True for row in rows)}


# ------------------------------------------------------------------------------------- speed and provenance

def speed(evidence: Evidence) -> list[dict]:
    """Images a second of each configuration, beside stock Keras layers in otherwise the same configuration."""
    groups = [group for group in evidence.groups if group.images_per_second]

    def machine(group):         # all of the configuration but its layers, and what it ran on
        hardware = group.first["hardware"]
        return (*group.key[:5], *group.key[6:], hardware["processor"], str(hardware["accelerators"]), _spread(hardware))
    stock = {machine(group): group.images_per_second for group in groups if group.first["layers"] == "stock"}
    rows = []
    for group in groups:
        run, batch = group.first, group.first["recipe"]["resolved"].get("batch")
        beside = stock.get(machine(group)) if run["layers"] != "stock" else None
        rows.append({"run": run, "images_per_second": group.images_per_second,
                     "step_ms": 1000 * batch / group.images_per_second
                     if isinstance(batch, (int, float)) else None,
                     "batch": batch, "ratio": group.images_per_second / beside if beside else None})
    return rows


def benches(evidence: Evidence) -> list[dict]:
    """Our layers against stock Keras on the clock: of each backend, machine and way of compiling the newest tables.

    Networks, operators and forms may come from different records; each table carries its own.
    """
    setups = {}
    for record in evidence.benches:                                         # oldest first: a newer table replaces
        tables = setups.setdefault((record["backend"], record["compile"], _machine(record)), {})
        for kind in {row["kind"] for row in record["rows"]}:
            rows = [row for row in record["rows"] if row["kind"] == kind]
            tables[kind] = {"record": record, "rows": rows[:MOST_TIMINGS], "omitted": len(rows) - MOST_TIMINGS}
    return [{"backend": backend, "compile": form, "machine": machine,
             "networks": _against_goals(tables["network"]) if "network" in tables else None,
             "operators": tables.get("operator"), "harness": tables.get("harness"),
             "forms": tables["form"] | {"questions": _by_name(tables["form"]["rows"])} if "form" in tables else None,
             "rows": [row for kind in ("network", "harness", "operator", "form") if kind in tables
                      for row in tables[kind]["rows"]]}
            for (backend, form, machine), tables in sorted(setups.items())]


def _against_goals(table: dict) -> dict:
    """The networks' table with the goals of its record and whether each is met; None where that cannot be said."""
    goals, mean, rows = table["record"]["goals"], table["record"]["geometric_mean"], table["rows"]

    def met(name, values, good):
        if goals[name] is None or None in values:
            return None
        return all(good(value, goals[name]) for value in values)
    return table | {"mean": mean, "goals": goals, "met": {
        "mean": met("mean", [mean], ge), "network": met("network", [row["ratio"] for row in rows], ge),
        "memory": met("memory", [row["memory_ratio"] for row in rows], le)}}


def _by_name(rows) -> list[tuple[str, list[dict]]]:
    """The forms of each question, fastest first; what could not be timed last."""
    names = dict.fromkeys(row["name"] for row in rows)
    return [(name, sorted((row for row in rows if row["name"] == name),
                          key=lambda row: -1 if row["ratio"] is None else row["ratio"], reverse=True))
            for name in names]


def provenance(evidence: Evidence) -> list[tuple[str, list[tuple[str, int]]]]:
    """What the runs ran on: (heading, [(one setup in words, number of records)])."""
    records = [*evidence.runs, *evidence.gradients, *evidence.benches, *evidence.evaluations]
    return [
        ("Software", _distinct(records, lambda r: ", ".join(map(" ".join, r["versions"].items())))),
        ("Machines", _distinct(records, _machine)),
        ("Arithmetic", _distinct(evidence.runs, lambda r: ", ".join(filter(None, (
            f"{r['backend']} backend", r["precision"], "XLA" if r["compile"] == "xla" else "",
            "deterministic" if r["deterministic"] else "not forced deterministic"))))),
        ("Data sets", _distinct(evidence.runs, lambda r: ", ".join(filter(None, (
            f"{r['dataset']['name']} {r['dataset']['version']}".strip(), r["dataset"]["identity"],
            r["dataset"]["sha256"] and f"sha256 {r['dataset']['sha256'][:16]}…",
            " + ".join(f"{n:,} {name}" for name, n in r["dataset"]["splits"].items() if n)))))),
        ("Code", _distinct(records, lambda r: ", ".join(filter(None, (
            r["version"] and f"version {r['version']}",
            r["commit"] and f"commit {r['commit'][:12]}" or "no commit",
            "with uncommitted changes" if r["dirty"] else ""))))),
    ]


def _machine(record: dict) -> str:
    hardware = record["hardware"]
    accelerators = hardware["accelerators"]
    return ", ".join(filter(None, (
        hardware["processor"], hardware["cores"] and f"{hardware['cores']} cores",
        hardware["memory_gib"] and f"{hardware['memory_gib']} GiB", hardware["platform"],
        *map(str, accelerators if isinstance(accelerators, list) else ()), _spread(hardware))))


def _spread(hardware: dict) -> str:
    """Where one training took several devices."""
    if (hardware["replicas"] or 1) <= 1:
        return ""
    processes = f" in {hardware['processes']} processes" if (hardware["processes"] or 1) > 1 else ""
    return f"each batch over {hardware['replicas']} devices{processes}"


def _distinct(records, describe) -> list[tuple[str, int]]:
    return sorted(Counter(filter(None, map(describe, records))).items())


def failures(evidence: Evidence) -> list[dict]:
    """Every run that is no evidence: failed ones, cut short ones, changed ones, finished ones without a result."""
    found = []
    for run in evidence.runs:
        if run["status"] != "finished":
            why = run["reason"] or ("no end was recorded: still running, or killed"
                                    if run["status"] == "running" else "")
            found.append({"run": run, "status": run["status"], "why": why})
        elif changed := changed_midway(run):
            found.append({"run": run, "status": "changed", "why": "--force changed it while it ran: " + "; ".join(
                f"{one['key']} {words(one['was'])} to {words(one['is'])} at {one['from']}" for one in changed)})
        elif run["result"]["test_error"] is None:
            found.append({"run": run, "status": "no result", "why": "finished without a test error"})
    return found + [{"run": record, "status": record["status"], "why": record["reason"] or what}
                    for what, records in (("gradient check", evidence.gradients), ("benchmark", evidence.benches),
                                          ("evaluation", evidence.evaluations))
                    for record in records if record["status"] != "finished"]
