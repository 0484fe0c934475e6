"""The page: one HTML file that opens offline, requests nothing, and is the same bytes for the same records."""
import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from ..repro.papers import cards as all_cards
from ..repro.record import write_atomically
from . import blocks, figures, tables
from .compare import Row, compare, count, differences, rules
from .evidence import Evidence, ReportError, gather

TEMPLATES = Path(__file__).parent / "templates"
MOST_SHOWN = 400                # characters of one text on the page; the raw data hold more
DETAIL_BUDGET = 600_000         # bytes of pictures and layer lists on a page, so that it can be mailed
POINTS = 60_000                 # of all learning curves together
OPEN_ARTICLES = 12              # configurations unfolded from the start
INDENTATION = re.compile("^[ \t]+", re.MULTILINE)       # the templates' own: a thirtieth of a page


@dataclass(frozen=True)
class Summary:
    """What was built: the page's path and size, its first sentence, and what it was built from."""
    path: Path
    size: int
    headline: str
    verdicts: dict[str, int]
    runs: int
    broken: int


def build(folders, output, title: str | None = None, cards=None) -> Summary:
    """Write the report of all records below `folders` to `output`, and claims.csv and runs.csv beside it.

    Every file is written whole or not at all. Raises ReportError when a folder does not exist.
    """
    output = Path(output)
    if output.is_dir():
        raise ReportError(f"{output} is a folder: name the HTML file, such as {output / 'report.html'}")
    cards = all_cards() if cards is None else cards
    evidence = gather(folders)
    rows = compare(evidence, cards)
    page = render(evidence, rows, cards, title or "cnn_repro").encode()
    write_atomically(output.with_name("claims.csv"), tables.csv(tables.frame(rows)))
    write_atomically(output.with_name("runs.csv"), tables.csv(tables.runs_frame(evidence)))
    write_atomically(output, page)
    return Summary(output, len(page), tables.headline(rows), tables.tally(rows), len(evidence.runs),
                   len(evidence.broken))


def render(evidence: Evidence, rows: list[Row], cards, title: str) -> str:
    """The HTML text of the page."""
    script = INDENTATION.sub("", (TEMPLATES / "page.js").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = articles(evidence, rows, cards)
    page = _environment().get_template("page.html").render(
        title=title, headline=tables.headline(rows), tally=tables.tally(rows), newest=evidence.newest,
        rows=sorted(rows, key=_prominence),
        rules=rules(), cards=[card for card in cards if card.results], articles=shown,
        anchors={article["group"].key: article["anchor"] for article in shown},
        evaluations=blocks.evaluations(evidence, cards), gradients=blocks.gradients(evidence),
        speed=blocks.speed(evidence), benches=blocks.benches(evidence),
        provenance=blocks.provenance(evidence),
        failures=blocks.failures(evidence), broken=evidence.broken, runs=evidence.runs,
        left_out=sum(article["left_out"] for article in shown), raw=Markup(raw_data(evidence, rows, title)),
        script=Markup(script), script_hash=digest,
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")))
    return INDENTATION.sub("", page)


def articles(evidence: Evidence, rows: list[Row], cards) -> list[dict]:
    """One article a configuration, in the order of the cards.

    Architecture, samples and kernels are shown once for a network and data set: by the configuration nearest to
    the paper, from its first seed.
    """
    order = {name: i for i, name in enumerate(name for card in cards for name in card.architectures)}
    table = {found.architecture: found for card in cards for found in card.tables}
    claims = {}
    for row in rows:
        if row.group is not None and row.unit != "count":
            claims.setdefault(row.group.key, []).append(row)
    groups = sorted(evidence.groups, key=lambda group: (
        order.get(group.first["architecture"], len(order)), group.first["architecture"],
        group.first["dataset"]["name"] == "digits", group.first["dataset"]["name"],
        len(differences(group)), group.first["layers"] != "explicit", -len(group.counted), group.key))
    found, spent, seen = [], 0, set()
    for i, group in enumerate(groups, 1):
        run, of_group = group.first, claims.get(group.key, [])
        foremost = group.key[:2] not in seen
        seen.add(group.key[:2])
        pictures = _pictures(run) if foremost else {}
        built = blocks.architecture(run, table.get(run["architecture"])) if foremost else None
        size = len(str(pictures)) + (200 * len(built["layers"]) if built else 0)
        left_out = foremost and spent + size > DETAIL_BUDGET
        spent += 0 if left_out else size
        of_curves = [row.published for row in of_group if row.dataset == run["dataset"]["name"] and
                     row.metric != "top5_error" and row.verdict != "not comparable"]
        found.append({
            "anchor": f"configuration-{i}", "group": group, "run": run, "claims": of_group,
            "open": i <= OPEN_ARTICLES,
            "differences": differences(group), "gaps": _words(run["recipe"]["resolved"].get("gaps")),
            "curves": figures.curves(group, of_curves[0] if of_curves else None, f"c{i}",
                                     min(max(POINTS // len(groups), 400), 2000)),
            "errors": blocks.errors(run), "left_out": left_out, "pictures": {} if left_out else pictures,
            "architecture": built,
        })
    return found


def _prominence(row: Row) -> int:
    """Where a row stands: measured errors first, judged before unjudged; then counts, what nobody ran, our own counts."""
    if row.kind != "paper":
        return 5
    if row.unit == "count":
        return 3
    return (1 if row.verdict == "not comparable" else 0) if row.n else 2 if row.records else 4


def _shown_as(row: Row) -> str:
    """The verdict; of a figure that stands in no paper only that it was counted, as long as it is right."""
    return "counted" if row.kind == "derived" and row.verdict == "reproduced" else row.verdict


def _words(value) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _pictures(run: dict) -> dict:
    maps = run["learned"]["feature_maps"]
    return {"samples": blocks.samples(run), "kernels": figures.kernels(run["learned"]),
            "maps_of": maps["layer"],
            "maps": [image for image in map(blocks.picture, maps["images"][:32]) if image]}


def raw_data(evidence: Evidence, rows: list[Row], title: str) -> str:
    """Claims, runs and curves as JSON that may stand inside a <script>: no <, >, & or line separator.

    Claims and runs by columns: in Python, pandas.DataFrame(data["claims"]).
    """
    curves = [{key: [row[key] if row[key] is None else round(row[key], 2) for row in run["history"]]
               for key in ("epoch", "train_error", "validation_error")}
              for run in evidence.runs]
    data = {
        "title": title, "headline": tables.headline(rows), "rules": asdict(rules()),
        "claims": _columns(tables.frame(rows)),
        "runs": _columns(tables.runs_frame(evidence)) | {"history": curves},
        "evaluations": [{key: record[key] for key in ("id", "architecture", "weights", "dataset", "views", "result")}
                        for record in evidence.evaluations],
        "gradients": [{key: table[key] for key in ("backend", "cases", "failed", "references", "rows")}
                      for table in blocks.gradients(evidence)],
        "benches": [{key: bench[key] for key in ("backend", "compile", "machine", "rows")}
                    for bench in blocks.benches(evidence)],
        "malformed": [list(item) for item in evidence.broken],
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _columns(table) -> dict[str, list]:
    """A frame's columns with None, not NaN, for what is missing."""
    return table.astype(object).where(table.notna(), None).to_dict("list")


# ---------------------------------------------------------------------------------------------- the template

def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    environment.filters.update(
        percent=lambda value: f"{value:.2f}",
        signed=lambda value, unit: f"{value:+,.{0 if unit == 'count' else 2}f}".replace("-", "−"),
        kib=lambda value: f"{value / 1024:,.{0 if value >= 10240 else 1}f} KiB" if value else "–",
        thousands=lambda value: f"{value:,.0f}", short_count=_short_count, duration=_duration, size=_size,
        published=tables.published, measured=tables.measured, strip=figures.strip, scientific=_scientific,
        milliseconds=lambda value: "–" if value is None else f"{value:,.3g} ms",
        metric=lambda name: tables.METRICS.get(name, name), slug=lambda verdict: verdict.replace(" ", "-"),
        class_name=blocks.class_name, shown_as=_shown_as)
    environment.globals.update(count=count)
    return environment


def _shown(value):
    """What the page prints for a value: nothing known is a dash, and no text runs on for ever."""
    if value is None:
        return "–"
    if isinstance(value, str) and not isinstance(value, Markup) and len(value) > MOST_SHOWN \
            and not value.startswith("data:image/png;base64,"):
        return f"{value[:MOST_SHOWN]}…"
    return value


def _short_count(value) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:g}"


def _duration(seconds) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(value) -> str:
    values = value if isinstance(value, list) else [value]
    return " × ".join("–" if item is None else f"{item:g}" for item in values)


def _scientific(value) -> str:
    return "not a number" if value is None else "0" if value == 0 else f"{value:.1e}"
