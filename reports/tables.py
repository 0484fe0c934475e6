"""The rows as tables: a sentence, a DataFrame, Markdown for the README, CSV."""
from dataclasses import fields
from functools import reduce
from pathlib import Path

import pandas

from ..repro.record import write_atomically
from .compare import VERDICTS, Row, compare
from .evidence import RECORDS, Evidence, ReportError, gather

METRICS = {"test_error": "test error", "multiply_adds": "multiply-adds"}     # as people say them
RUN_COLUMNS = (
    "id", "status", "reason", "architecture", "dataset.name", "recipe.name", "layers", "seed",
    "result.test_error", "model.parameters", "model.multiply_adds", "started", "ended", "wall_seconds",
    "peak_memory_mib", "commit", "dirty", "version", "backend", "precision", "compile", "deterministic",
    "recipe.sha256", "weights_sha256", "dataset.version", "dataset.sha256",
    "hardware.processor", "hardware.replicas", "command")
MARKS = ("<!-- results -->", "<!-- /results -->")
FORMULA = ("=", "+", "-", "@", "\t", "\r")      # what a spreadsheet would run


def tally(rows, unit: str = "") -> dict[str, int]:
    """Verdict → number of claims, of one unit where given.

    A claim counts once, by its leading row; what was only counted for a card and is printed in no paper does not.
    """
    counted = [row.verdict for row in rows if row.leading and row.kind == "paper" and unit in ("", row.unit)]
    return {verdict: counted.count(verdict) for verdict in VERDICTS}


def headline(rows) -> str:
    """The page's first sentence. Errors and counts are told apart: it is easier to count a network than to train it."""
    n, kinds = tally(rows), []
    for unit, words in (("%", "test errors"), ("count", "counts")):
        of_kind = tally(rows, unit)
        kinds += [f"{of_kind['reproduced']} of {sum(of_kind.values())} {words}"] if any(of_kind.values()) else []
    parts = [f"{n['reproduced']} of {sum(n.values())} claims reproduced" + (f" ({', '.join(kinds)})" if kinds else "")]
    parts += [f"{n['better']} better"] if n["better"] else []
    parts += [f"{n['partly']} partly", f"{n['not reproduced']} not"]
    parts += [f"{n['insufficient']} insufficient"] if n["insufficient"] else []
    return ", ".join([*parts, f"{n['not comparable']} not comparable", f"{n['not run']} not run"])


def frame(rows) -> pandas.DataFrame:
    """The rows as a table, one column a field; lists joined by "; "."""
    names = [f.name for f in fields(Row) if f.name != "group"]
    return pandas.DataFrame(
        [["; ".join(value) if isinstance(value := getattr(row, name), tuple) else value for name in names]
         for row in rows], columns=names)


def load(records=RECORDS, cards=None) -> pandas.DataFrame:
    """Every published number beside what was measured, with its verdict; the rows of the report's claim table.

    `records`: a folder of records or several; the committed evidence by default. `cards`: all by default.
    """
    folders = [records] if isinstance(records, (str, Path)) else records
    return frame(compare(gather(folders), cards))


def results_table(rows) -> str:
    """A Markdown table of the measured test errors, and a line about the counts, for the README."""
    lines = ["| Architecture | Data set | Paper | Ours: mean ± sd (n) | Recipe | Verdict |",
             "|---|---|---:|---:|---|---|"]
    for row in rows:
        if row.n and row.unit == "%":
            cells = (row.architecture, row.dataset, published(row), measured(row), row.recipe, row.verdict)
            lines.append("| " + " | ".join(_markdown(cell) for cell in cells) + " |")
    counts = tally(rows, "count")
    said = (f"Test errors. Of the {sum(counts.values())} counts that papers print (parameters, multiply-adds, connections) "
            f"the networks as built reproduce {counts['reproduced']}, {counts['not reproduced']} they do not.")
    return "\n".join([*lines, "", said]) + "\n"


def renew_readme(path, folders, cards=None) -> None:
    """Write the results table of the records below `folders` between the two marks in a README.

    Raises ReportError where the marks are missing.
    """
    path = Path(path)
    before, opened, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    _, closed, after = rest.partition(MARKS[1])
    if not (opened and closed):
        raise ReportError(f"{path}: no {MARKS[0]} … {MARKS[1]} to put the results table between")
    text = f"{before}{opened}\n{results_table(compare(gather(folders), cards))}{closed}{after}"
    write_atomically(path, text.encode())


def published(row: Row) -> str:
    value = f"{row.published:,.0f}" if row.unit == "count" else f"{row.published:g} %"
    return f"> {value}" if row.upper else value


def measured(row: Row) -> str:
    if row.mean is None:
        return "–"
    if row.unit == "count":
        return f"{row.mean:,.0f}"
    return f"{row.mean:.2f}" + (f" ± {row.sd:.2f}" if row.sd is not None else "") + f" % ({row.n})"


def _markdown(value: str) -> str:
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("\n", " ")):
        value = value.replace(sign, entity)
    return value


def runs_frame(evidence: Evidence) -> pandas.DataFrame:
    """One line a training run, failed ones too: what it was, what came out, where it comes from."""
    return pandas.DataFrame([[reduce(dict.get, path.split("."), run) for path in RUN_COLUMNS]
                             for run in evidence.runs],
                            columns=RUN_COLUMNS)


def csv(table: pandas.DataFrame) -> bytes:
    """CSV in UTF-8 that a spreadsheet shows and never runs: a text that begins like a formula gets a '."""
    def harmless(value):
        return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value
    return table.astype(object).map(harmless).to_csv(index=False, lineterminator="\n").encode()
