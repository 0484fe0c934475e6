"""A network as a picture: stages, blocks and branches as SVG, without any program beside this one.

    Path("resnet50.svg").write_text(draw(build("resnet50", classifier_activation=None)), encoding="utf-8")

A stage is a panel with its name, output and counts; `boxes` says what stands in it. Light or dark as the viewer likes.
"""
import re
from html import escape

import keras

from .anatomy import describe
from .boxes import Block, Stage, stages_of

COLOURS = (                                             # the first that is part of the type's name
    ("Global", "pool"), ("Pooling", "pool"), ("Subsampling", "pool"), ("Conv", "conv"), ("Filters", "conv"),
    ("Local", "special"), ("Dense", "dense"), ("Capsule", "special"), ("Routing", "special"), ("NonLocal", "special"),
    ("Radial", "special"),
)
LINE, SMALL, GAP, ROOM, ARC = 15, 13, 20, 16, 18        # heights of text, gaps between rows and columns, of an arc
MARGIN = 24


# ----------------------------------------------------------------------------------------------------- sizes and places

def _measure(block: Block):
    """Sizes of the boxes, and their places from (0, 0) on: x from the middle of the block."""
    wide = max([_text(text, kind) + 18 for box in block.boxes if not box.joins for kind, text in box.texts()] + [84])
    for box in block.boxes:
        lines = box.texts()
        if box.joins:
            box.w, box.h = max(_text(lines[0][1], "join") + 18, 24), 24
        else:
            box.w, box.h = wide, sum(LINE if kind == "main" else SMALL for kind, _ in lines) + 12
    columns = max(box.column for box in block.boxes) + 1
    heights = {}
    for box in block.boxes:
        heights[box.row] = max(heights.get(box.row, 0), box.h)
    inside = columns * wide + (columns - 1) * ROOM
    for box in block.boxes:
        box.x = box.column * (wide + ROOM) + wide / 2 - inside / 2
    arcs = list(_arcs(block))
    top = GAP if _branches(block) or any(source is None for source, _ in arcs) else 0
    tops, y = {}, top
    for row in sorted(heights):
        joined = any(box.row == row and len(box.sources) > 1 for box in block.boxes)
        y += 8 if joined and row else 0
        tops[row] = y
        y += heights[row] + GAP
    for box in block.boxes:
        box.y = tops[box.row] + (heights[box.row] - box.h if box.joins else 0)
    tagged = max((_text(_tag(names), "small") + 14 for names in block.tags.values()), default=0)
    block.w = inside + 2 * (len(arcs) * ARC + (8 if arcs else 0) + tagged)
    block.h = y - GAP


def _branches(block: Block) -> list:
    """The boxes beyond the first that the entry has to reach."""
    return [box for box in block.boxes if None in box.sources][1:]


def _arcs(block: Block):
    """(source or None, box): edges that pass by other boxes."""
    for box in block.boxes:
        for source in box.sources:
            above = -1 if source is None else source.row
            x = box.x if source is None else source.x
            between = [other for other in block.boxes if above < other.row < box.row
                       and abs(other.x - x) < (other.w + 4) / 2]
            if box.row - above > 1 and (between or source is None):
                yield source, box


def _tag(names) -> str:
    return "from " + ", ".join(names)


def _text(text: str, kind: str) -> float:
    """About how wide a text is; fonts differ."""
    return len(text) * {"main": 7.4, "small": 6.1, "join": 6.6, "title": 10.5, "stage": 8.3}[kind]


# ------------------------------------------------------------------------------------------------------- the picture

STYLE = """
text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; fill: #1f2430; }
.page { fill: #ffffff; }
.panel { fill: #f5f6f9; stroke: #e1e4ec; }
.frame { fill: none; stroke: #aab1c3; stroke-dasharray: 4 3; }
.box { stroke-width: 1.2; }
.conv { fill: #dbe8fb; stroke: #4f7fc4; }
.pool { fill: #fde3d3; stroke: #cf7d45; }
.dense { fill: #d9f0dc; stroke: #4f9c5c; }
.special { fill: #ece0f8; stroke: #8d63bd; }
.other { fill: #eceef2; stroke: #8a92a6; }
.join { fill: #ffffff; stroke: #4a5264; }
.edge { fill: none; stroke: #4a5264; stroke-width: 1.4; }
.head { fill: #4a5264; }
.t-title { font-size: 20px; font-weight: 650; }
.t-stage { font-size: 14px; font-weight: 650; }
.t-main { font-size: 13px; }
.t-join { font-size: 12px; }
.t-small, .t-muted { font-size: 11px; }
.t-muted, .t-tag { fill: #646c7f; }
.t-tag { font-size: 11px; font-style: italic; }
.t-times { font-size: 14px; font-weight: 650; fill: #a3324b; }
.t-mono { font-size: 11px; fill: #646c7f; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9f0; }
  .page { fill: #14171d; }
  .panel { fill: #1c2028; stroke: #2d333f; }
  .frame { stroke: #596274; }
  .conv { fill: #1f3354; stroke: #6d9be0; }
  .pool { fill: #4a2e1c; stroke: #dd9561; }
  .dense { fill: #1e3d26; stroke: #6cba7a; }
  .special { fill: #37264d; stroke: #ab86da; }
  .other { fill: #2a2f3a; stroke: #7d879c; }
  .join { fill: #14171d; stroke: #aab2c4; }
  .edge { stroke: #aab2c4; }
  .head { fill: #aab2c4; }
  .t-muted, .t-tag, .t-mono { fill: #9aa3b5; }
  .t-times { fill: #ff8fa3; }
}
"""


def draw(model: keras.Model, title: str = "", caption: str = "") -> str:
    """The network as an SVG text. title: default its name; caption: a line below, default its counts."""
    found = describe(model)
    stages = stages_of(model, found)
    for stage in stages:
        for _, block in stage.blocks:
            _measure(block)
        stage.w = max(_outer(*run)[0] for run in stage.blocks)
        inside = sum(_outer(*run)[1] for run in stage.blocks) + GAP * (len(stage.blocks) - 1)
        stage.h = max(inside + 24, 76)
    columns = _columns(stages)
    inputs = [f"{tensor._keras_history.operation.name} {'×'.join(map(str, _of_one(tensor, found, index)))}".strip()
              for index, tensor in enumerate(model.inputs)]
    caption = caption or (f"{found['parameters']:,} parameters · {found['multiply_adds']:,} multiply-adds · "
                          f"depth {found['depth']}")
    return _page(columns, title or model.name, caption, inputs)


def _of_one(tensor, found, index):
    return found["input_shape"] if index == 0 else [n for n in tensor.shape[1:] if n is not None]


def _outer(count, block) -> tuple[float, float]:
    """The size of a block with its frame, where it has one."""
    framed = _framed(count, block)
    names = 2 * _text(_blocks(block.names), "small") + 16               # its half, left of the line from above
    return ((max(block.w + 24, names + 24), block.h + 44) if framed else (block.w + (60 if count > 1 else 0), block.h))


def _framed(count, block) -> bool:
    return len(block.boxes) > 1 and (count > 1 or "_" in block.names[0])


def _columns(stages) -> list[list[Stage]]:
    """The stages in as many columns as make the picture about as wide as it is high."""
    total = sum(stage.h + GAP for stage in stages)
    wide = max(stage.w for stage in stages) + max(map(_labels, stages)) + 2 * MARGIN
    best = min(range(1, 7), key=lambda k: abs(total / k - 0.9 * wide * k) + 200 * (k > 1) + 60 * k)
    columns, height = [[]], 0
    for stage in stages:
        if columns[-1] and len(columns) < best and height + stage.h / 2 > total / best:
            columns.append([])
            height = 0
        columns[-1].append(stage)
        height += stage.h + GAP
    return columns


def _labels(stage: Stage) -> float:
    """The width of what stands to the left of a stage's boxes."""
    return max(_text(_blocks(stage.names), "stage"), *(_text(text, "small") for text in _figures(stage))) + 14


def _figures(stage: Stage) -> list[str]:
    figures = ["×".join("V" if n is None else str(n) for n in stage.output)]
    figures += [f"{_short(value)} {word}" for value, word in (
        (stage.parameters, "parameters"), (stage.multiply_adds, "multiply-adds")) if value]
    return [f"× {len(stage.names)}, each", *figures] if len(stage.names) > 1 else figures


def _page(columns, title, caption, inputs) -> str:
    parts, x, bottoms, last, top = [], MARGIN, [], None, 84
    for index, column in enumerate(columns):
        labels = max(map(_labels, column))
        wide = max(stage.w for stage in column) + labels + 28
        middle = x + labels + 4 + (wide - labels - 16) / 2
        y = top + 36
        if index == 0:
            label = ", ".join(inputs)
            half = _text(label, "main") / 2 + 14
            parts.append(_rect(middle - half, top - 6, 2 * half, 24, "box other", 12))
            parts.append(_write(middle, top + 11, label, "t-main", "middle"))
            last = (middle, top + 18)
        elif column[0].blocks[0][1].follows:            # down, up between the columns, and in from above
            parts.append(_path([last, (last[0], bottoms[-1] + 10), (x - 22, bottoms[-1] + 10), (x - 22, top + 6),
                                (middle, top + 6), (middle, top + 26)], head=False))
            last = (middle, top + 26)
        for stage in column:
            part, last = _panel(stage, x, y, wide, middle, last)
            parts.append(part)
            y += stage.h + GAP
        bottoms.append(y - GAP)
        x += wide + 44
    width, height = x - 44 + MARGIN, max(bottoms) + MARGIN
    width = max(width, _text(title, "title") + 2 * MARGIN, _text(caption, "small") + 2 * MARGIN)
    head = [_write(MARGIN, 36, title, "t-title"), _write(MARGIN, 56, caption, "t-muted")]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="title">',
        f'<title id="title">{escape(title)}</title>', f"<style>{STYLE}</style>",
        f'<rect class="page" width="100%" height="100%"/>', *head, *parts, "</svg>", ""])


def _bottom(stage: Stage) -> float:
    """How far above the panel's lower border its drawing ends."""
    inside = sum(_outer(*run)[1] for run in stage.blocks) + GAP * (len(stage.blocks) - 1)
    return (stage.h - inside) / 2


def _panel(stage: Stage, x, y, wide, middle, last):
    """(one stage: its name and figures on the left, its blocks below each other on the right; where it ends)."""
    parts = [_rect(x, y, wide, stage.h, "panel", 10)]
    figures = _figures(stage)
    top = y + stage.h / 2 - (16 + 15 * len(figures)) / 2 + 13
    parts.append(_write(x + 14, top, _blocks(stage.names), "t-stage"))
    parts += [_write(x + 14, top + 17 + 15 * index, text, "t-times" if text.startswith("× ") else "t-muted")
              for index, text in enumerate(figures)]
    below = y + _bottom(stage)
    edges = []
    for count, block in stage.blocks:
        outer_w, outer_h = _outer(count, block)
        start = below + (32 if _framed(count, block) else 0)
        if _framed(count, block):
            parts.append(_rect(middle - outer_w / 2, below, outer_w, outer_h, "frame", 8))
            parts.append(_write(middle - outer_w / 2 + 9, below + 16, _blocks(block.names), "t-mono"))
            if count > 1:
                parts.append(_write(middle + outer_w / 2 - 10, below + 17, f"× {count}", "t-times", "end"))
        elif count > 1:
            parts.append(_write(middle + block.w / 2 + 8, below + block.h / 2 + 5, f"× {count}", "t-times"))
        edges += _edges(block, middle, start, last if block.follows else None)
        parts += [_draw_box(box, middle, start) for box in block.boxes]
        for index, names in block.tags.items():
            box, arcs = block.boxes[index], len(list(_arcs(block)))
            side = max(one.x + one.w / 2 for one in block.boxes) + arcs * ARC if arcs else box.x + box.w / 2
            parts.append(_write(middle + side + 7, start + box.y + 13, _tag(names), "t-tag"))
        last = _end(block, middle, start)
        below += outer_h + GAP
    return "\n".join(parts[:1] + edges + parts[1:]), last


def _end(block, middle, start):
    """Where the next block takes over: below the lowest box."""
    box = max(block.boxes, key=lambda one: one.y + one.h)
    return middle + box.x, start + box.y + box.h


def _draw_box(box, middle, start) -> str:
    x, y = middle + box.x, start + box.y
    kind = "join" if box.joins else next((name for part, name in COLOURS if part in box.main), "other")
    parts = [_rect(x - box.w / 2, y, box.w, box.h, f"box {kind}", box.h / 2 if box.joins else 5)]
    if box.joins:
        return parts[0] + _write(x, y + 16, box.texts()[0][1], "t-join", "middle")
    y += 4
    for kind, text in box.texts():
        y += LINE if kind == "main" else SMALL
        parts.append(_write(x, y, text, f"t-{kind}", "middle"))
    return "".join(parts)


def _edges(block, middle, start, last) -> list[str]:
    """The lines of a block; `last` is where the block before it ended."""
    arcs = list(_arcs(block))
    right = max(box.x + box.w / 2 for box in block.boxes)
    many = bool(_branches(block)) or any(source is None for source, _ in arcs)
    lines, fork = [], last and (last[0], start + 4)     # from where the entry's branches part
    if last and many:
        lines.append(_path([last, fork], head=False))
    for box in block.boxes:
        top = (middle + box.x, start + box.y)
        for source in box.sources:
            if any(source is one and box is other for one, other in arcs):
                continue
            if source is None:
                if last:
                    lines.append(_path([fork, (top[0], fork[1]), top] if many else
                                       [last, (last[0], top[1] - 9), (top[0], top[1] - 9), top]))
                continue
            begin = (middle + source.x, start + source.y + source.h)
            turn = top[1] - 12
            lines.append(_path([begin, (begin[0], turn), (top[0], turn), top]))
    for index, (source, box) in enumerate(arcs):
        side = middle + right + ARC * (index + 1) - 4
        if source is None and not last:
            continue
        begin = fork if source is None else (middle + source.x, start + source.y + source.h + 5)
        end = (middle + box.x + box.w / 2, start + box.y + box.h / 2)
        lines.append(_path([begin, (side, begin[1]), (side, end[1]), end]))
    return lines


def _path(points, head=True) -> str:
    """A line through the points with round corners, and an arrow's head at its end."""
    kept = [points[0]]
    for a, b in zip(points[1:], [*points[2:], None]):
        turns = b is None or ((a[0] - kept[-1][0]) * (b[1] - a[1]) != (a[1] - kept[-1][1]) * (b[0] - a[0]))
        if turns and (abs(a[0] - kept[-1][0]) + abs(a[1] - kept[-1][1]) > 0.5 or b is None):
            kept.append(a)
    text = f"M{kept[0][0]:.1f} {kept[0][1]:.1f}"
    for before, corner, after in zip(kept, kept[1:], kept[2:]):
        radius = min(7, *(max(abs(corner[0] - p[0]), abs(corner[1] - p[1])) / 2 for p in (before, after)))
        text += "L{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}".format(
            *_towards(corner, before, radius), *corner, *_towards(corner, after, radius))
    (x0, y0), (x, y) = kept[-2:]
    text += f"L{x:.1f} {y:.1f}"
    arrow = ""
    if head:
        dx, dy = _towards((0, 0), (x0 - x, y0 - y), 6)
        arrow = (f'<path class="head" d="M{x:.1f} {y:.1f}L{x + dx - dy * 0.55:.1f} {y + dy + dx * 0.55:.1f}'
                 f'L{x + dx + dy * 0.55:.1f} {y + dy - dx * 0.55:.1f}Z"/>')
    return f'<path class="edge" d="{text}"/>{arrow}'


def _towards(point, other, distance):
    """The point at this distance on the way to the other."""
    dx, dy = other[0] - point[0], other[1] - point[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    return point[0] + dx / length * distance, point[1] + dy / length * distance


def _rect(x, y, w, h, kind, radius) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:.1f}"/>'


def _write(x, y, text, kind, anchor="start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _blocks(names) -> str:
    """conv2_1 … 3, conv8 … 12"""
    return names[0] if len(names) == 1 else f"{names[0]} … {re.search(r'[0-9]*[a-z]?$', names[-1])[0] or names[-1]}"


def _short(value: int) -> str:
    """1,234,567 as 1.23 M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)
