"""The report's pictures: learning curves (matplotlib, inline SVG), kernels (PNG), the strip of one verdict.

Colours are names of the page's style sheet: matplotlib draws with a stand-in for each, which the SVG then swaps
for the variable, so that a figure follows the page between light and dark. Same data, same bytes: salted ids,
no date.
"""
import base64
import io
import re

import matplotlib
import numpy
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

from .compare import Row
from .evidence import Group

INK, GRID, TRAIN, VALIDATION, PAPER = "#010201", "#010202", "#010203", "#010204", "#010205"
VARIABLES = {INK: "--muted", GRID: "--line", TRAIN: "--train", VALIDATION: "--validation", PAPER: "--ink"}
STYLE = {
    "svg.fonttype": "none", "font.size": 10, "axes.linewidth": 0.8, "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK,
    "text.color": INK,
    "xtick.major.size": 0, "ytick.major.size": 0, "grid.color": GRID, "grid.linewidth": 0.6,
    "path.simplify": True,
}
DECIMALS = re.compile(r"-?\d+\.\d{2,}")
MOST_DROPS = 8          # marked rate drops; a rate that falls every epoch is no event
MOST_TILES = 16         # kernels a side


def svg(figure: Figure, title: str, salt: str) -> Markup:
    """The figure as an inline SVG element with a title, without sizes, styles or ids that would clash."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True,
                       metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = buffer.getvalue().decode()
    body = body[body.index("<svg"):]
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;]*;", "", body)                            # the page's own font
    used = set(re.findall(r"#([\w.-]+)[\"')]", body))
    body = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", body)
    body = re.sub(r"\s*\n\s*(L )?", " ", body)               # after M, further points need no letter
    body = re.sub(r' (d|x|y|width|height|transform)="[^"]*"', lambda match: DECIMALS.sub(
        lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), match[0]), body)     # of places, never of texts
    for stand_in, variable in VARIABLES.items():
        body = body.replace(stand_in, f"var({variable})")
    body = re.sub(r' width="[^"]*pt" height="[^"]*pt"', ' role="img"', body, count=1)
    return Markup(body.replace(">", f"><title>{escape(title)}</title>", 1))


# --------------------------------------------------------------------------------------------------- curves

def curves(group: Group, published: float | None = None, salt: str = "", budget: int = 2000) -> Markup | None:
    """Error % against epoch: a thin line a seed, thick their mean; dotted where the rate drops.

    The mean stands where all finished runs have a value: what is missing leaves a gap, not a guess. All lines
    together are thinned to about `budget` points.
    Returns None when no run has a history.
    """
    runs = [run for run in group.runs if _points(run, "train_error") or _points(run, "validation_error")]
    if not runs:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 2.9))
        axes = figure.add_axes((0.105, 0.15, 0.885, 0.83))      # a layout engine would double the time
        settled = []
        for key, colour, name in (("train_error", TRAIN, "train"),
                                  ("validation_error", VALIDATION, "validation")):
            lines = [(run, _points(run, key)) for run in runs]
            lines = [(run, points) for run, points in lines if points]
            most = max(budget // (2 * len(runs) + 2), 12)
            for run, points in lines:
                finished = run["status"] == "finished"
                axes.plot(*_line(points, most), color=colour, linewidth=0.7 if len(lines) > 1 else 1.8,
                          alpha=0.55 if len(lines) > 1 else 1, linestyle="-" if finished else (0, (3, 2)))
                if len(points) == 1:
                    axes.plot(*_line(points, most), "o", color=colour, markersize=4)
            finished = [points for run, points in lines if run["status"] == "finished"]
            if len(finished) > 1:
                shared = sorted(set.intersection(*(set(points) for points in finished)))
                mean = {epoch: sum(points[epoch] for points in finished) / len(finished) for epoch in shared}
                if mean:
                    axes.plot(*_line(mean, max(most, 60)), color=colour, linewidth=2)
            if lines:
                axes.plot([], [], color=colour, linewidth=2, label=name)
                last = max(max(points) for _, points in lines)
                settled += [value for _, points in lines
                            for epoch, value in points.items() if epoch >= last * 0.12]
        for epoch in _drops(runs[0]):
            axes.axvline(epoch, color=INK, linewidth=0.8, linestyle=(0, (1, 2.5)))
        if published is not None:
            axes.axhline(published, color=PAPER, linewidth=0.9, linestyle=(0, (6, 3)),
                         label=f"paper, test {published:g} %")
        top = max([*settled, published or 0]) * 1.12 or 1
        axes.set_ylim(0, min(top, 105))
        axes.margins(x=0.01)
        axes.set_xlabel("epoch")
        axes.set_ylabel("error, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="upper right", fontsize=9, handlelength=1.6)
        run = runs[0]
        what = f"{run['architecture']} on {run['dataset']['name']}, {len(runs)} runs"
        return svg(figure, f"Learning curves of {what}", salt)


def _points(run: dict, key: str) -> dict:
    return {row["epoch"]: row[key] for row in run["history"]
            if row["epoch"] is not None and row[key] is not None}


def _line(points: dict, most: int) -> tuple[list, list]:
    """Epochs and values, thinned to about `most`, with a break where epochs are missing."""
    epochs = sorted(points)
    kept = sorted({*epochs[::-(-len(epochs) // most)], epochs[-1]})
    usual = min((b - a for a, b in zip(epochs, epochs[1:])), default=1)
    gaps = [b for a, b in zip(epochs, epochs[1:]) if b - a > 1.5 * usual]
    x, y = [], []
    for before, epoch in zip([epochs[0], *kept], kept):
        if any(before < gap <= epoch for gap in gaps):
            x.append(before)
            y.append(float("nan"))
        x.append(epoch)
        y.append(points[epoch])
    return x, y


def _drops(run: dict) -> list:
    rows = [row for row in run["history"] if row["rate"] is not None and row["epoch"] is not None]
    drops = [b["epoch"] for a, b in zip(rows, rows[1:]) if b["rate"] < a["rate"]]
    return drops if len(drops) <= MOST_DROPS else []


# -------------------------------------------------------------------------------------------------- kernels

def kernels(learned: dict) -> dict | None:
    """First-layer kernels (kh, kw, cin, cout) as one PNG: {image, width, height, caption}; zero is mid-grey.

    Three input channels are drawn in colour, one in grey; of more, each column is an input channel.
    """
    try:
        values = numpy.asarray(learned["kernels"], dtype=float)
    except (TypeError, ValueError):
        return None
    if values.ndim != 4 or not values.size or max(values.shape[:2]) > 64 or not numpy.isfinite(values).all():
        return None
    height, width, channels, filters = values.shape
    reach = numpy.abs(values).max(axis=(0, 1, 2), keepdims=True)        # each filter on its own scale
    tiles = 0.5 + values / numpy.where(reach == 0, 1, 2 * reach)
    if channels in (1, 3):
        shown = min(filters, MOST_TILES**2)
        columns = min(shown, MOST_TILES)
        tiles = [numpy.broadcast_to(tiles[..., f], (height, width, 3)) for f in range(shown)]
        caption = f"{shown} of {filters} kernels" if shown < filters else f"{filters} kernels"
    else:
        rows, columns = min(filters, MOST_TILES), min(channels, MOST_TILES)
        tiles = [numpy.broadcast_to(tiles[..., c:c + 1, f], (height, width, 3))
                 for f in range(rows) for c in range(columns)]
        caption = f"a row for each of {rows} kernels, a column for each of {columns} input channels"
    lines = -(-len(tiles) // columns)
    board = numpy.zeros((lines * (height + 1) - 1, columns * (width + 1) - 1, 4))   # clear between tiles
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        board[y:y + height, x:x + width, :3] = tile
        board[y:y + height, x:x + width, 3] = 1
    buffer = io.BytesIO()
    imsave(buffer, board, format="png", metadata={"Software": None})
    return {"image": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
            "width": board.shape[1],
            "height": board.shape[0], "caption": f"{caption}, {height}×{width}×{channels}"}


# ---------------------------------------------------------------------------------------------------- strip

def strip(row: Row) -> Markup:
    """One row of a forest plot: the band p ± δ around the published value, the mean and its interval.

    The scale is ±4 δ; what lies beyond ends in an arrow.
    """
    if row.unit == "count" or row.mean is None or not row.margin or row.verdict == "not comparable":
        return Markup("")
    place = lambda value: 60 + 14 * (value - row.published) / row.margin                    # noqa: E731
    inside = lambda x: min(max(x, 4), 116)                                                  # noqa: E731
    mean, low, high = place(row.mean), row.low, row.high
    parts = ['<path class="axis" d="M2 10h116"/>',
             f'<rect class="band" x="46" width="{70 if row.upper else 28}" y="2" height="16" rx="2"/>',
             '<path class="published" d="M60 2v16"/>']
    if low is not None:
        parts.append(f'<path class="interval" d="M{inside(place(low)):.1f} 10H{inside(place(high)):.1f}"/>')
    if 4 <= mean <= 116:
        parts.append(f'<circle class="mean" cx="{mean:.1f}" cy="10" r="3.6"/>')
    else:
        parts.append(f'<path class="mean" d="M{"118 10l-7-4.5v9z" if mean > 116 else "2 10l7-4.5v9z"}"/>')
    sign = "inside" if abs(row.mean - row.published) <= row.margin else "outside"
    return Markup('<svg class="strip" viewBox="0 0 120 20" role="img" aria-label="mean {} the margin">{}</svg>'
                  ).format(sign, Markup("".join(parts)))
