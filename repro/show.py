"""What `show` prints: a network's layers and stages, and the paper's own figures beside them."""
import json

from .papers.recipe import NOT_TRAINING

HEADS = ("layer", "type", "output", "kernel", "parameters", "multiply-adds", "MiB", "field")
STAGE_HEADS = ("stage", "output", "layers", "parameters", "multiply-adds", "MiB", "field")
WORDS = {"parameters": "parameters", "multiply_adds": "multiply-adds", "connections": "connections", "depth": "depth"}


def layer_lines(found: dict) -> list[str]:
    """A line a layer of `describe`'s anatomy: MiB of one image's output in float32, field in pixels of the height."""
    return columns([HEADS] + [
        (row["name"], row["type"], size(row["output"]), size(row["kernel"] or []), f"{row['parameters']:,}",
         f"{row['multiply_adds']:,}", mebibytes(row["activation_bytes"]), field(row)) for row in found["layers"]], "<<")


def stage_lines(found: dict, tables=()) -> list[str]:
    """A line a stage; of the paper's tables each figure with = or ≠, and the stages that only the paper has."""
    stages = stages_of(found)
    numbers = [f" ({index})" for index in range(1, len(tables) + 1)] if len(tables) > 1 else [""]
    rows = [(*STAGE_HEADS, *(f"published{index}" for index, _ in zip(numbers, tables)))]
    for name, layers in stages.items():
        total = {key: sum(row[key] for row in layers)
                 for key in ("parameters", "multiply_adds", "connections", "activation_bytes")}
        ours = {**total, "output": layers[-1]["output"], "layers": sum(row["multiply_adds"] > 0 for row in layers)}
        rows.append((name, size(ours["output"]), str(ours["layers"]), f"{ours['parameters']:,}",
                     f"{ours['multiply_adds']:,}", mebibytes(ours["activation_bytes"]), field(layers[-1]),
                     *("   ".join(beside(row, ours) for row in table.rows if row["stage"] == name)
                       for table in tables)))
    lines = columns(rows, "<", len(tables))
    missing = [row["stage"] for table in tables for row in table.rows if row["stage"] not in stages]
    lines += [f"≠ the published {stage} is no stage of this network" for stage in missing]
    return lines + [f"published{index}: {table.source}" for index, table in zip(numbers, tables)]


def stages_of(found: dict) -> dict[str, list[dict]]:
    """Stage → its layers, in the network's order."""
    stages = {}
    for row in found["layers"]:
        stages.setdefault(row["stage"], []).append(row)
    return stages


def beside(row: dict, ours: dict) -> str:
    """The paper's figures of a stage, each marked = or ≠."""
    parts = []
    for key in ("output", "layers", "parameters", "multiply_adds", "connections"):
        if key in row:
            word = "layer" if key == "layers" and row[key] == 1 else WORDS.get(key, key)
            text = size(row[key]) if key == "output" else f"{row[key]:,} {word}"
            parts.append(("= " if row[key] == ours[key] else "≠ ") + text)
    return ", ".join(parts)


def total_lines(found: dict, results=()) -> list[str]:
    """Every count of the network with every published one of it, and the verdict."""
    lines = []
    for metric, word in WORDS.items():
        of = [result for result in results if result.metric == metric]
        texts = [f"{'counted' if result.kind == 'derived' else 'published'}: {result.value:,.0f}"
                 f" ({result.source}{', recalled' if result.status == 'recalled' else ''}): "
                 f"{verdict(found[metric], result)}" for result in of] or [""]
        lines += [f"{head:24s}{number:>16s}   {text}".rstrip() for head, number, text in zip(
            [word] + [""] * len(texts), [f"{found[metric]:,}"] + [""] * len(texts), texts)]
    return lines


def verdict(ours: int, result) -> str:
    """equal, within rounding or differs; what is no comparison says why."""
    apart = abs(ours - result.value)
    word = "equal" if apart == 0 else "within rounding" if apart <= result.rounding else "differs"
    if result.comparable or word != "differs":
        return word
    return f"differs, and is not to be compared: {result.note}" if result.note else "differs, not to be compared"


def memory_line(found: dict) -> str:
    weights = 4 * (found["parameters"] + found["non_trainable"])
    outputs = sum(row["activation_bytes"] for row in found["layers"])
    return (f"{'memory (float32)':24s}{mebibytes(weights):>16s} MiB of weights, {mebibytes(outputs)} MiB of activations "
            "of one image (every layer's output)")


def differs_line(name: str, differs: str, names) -> str:
    """Whose network a preset is, and whose it is not."""
    plain = name
    while "_" in plain and (plain == name or plain not in names):
        plain = plain.rsplit("_", 1)[0]
    return f"not the paper's network{f' (that is {plain})' if plain in names and plain != name else ''}: {differs}"


def listing(card, network: str | None = None) -> list[str]:
    """A paper and what it says of each of its networks: a published number a line, and why one is not compared."""
    lines = [heading(card)]
    for name in card.architectures:
        if network in (None, name):
            known = [f"{result.metric.replace('_', ' ')} {number(result)} ({result.dataset}, {result.source})"
                     f"{but(result)}" for result in card.results if result.architecture == name]
            lines += [f"  {name if index == 0 else '':26s} {text}".rstrip() for index, text in enumerate(known or [""])]
    return lines


def but(result) -> str:
    """Why a published number is not compared, or that the network has another count."""
    if not result.comparable:
        return f": not compared, {result.note or 'of another network or protocol'}"
    return "" if result.counted is None else f": {result.note}"


def recipe_lines(card, network: str, name: str) -> list[str]:
    """A recipe value by value, as `--set` takes them, behind it the paper's where that is another; and what is left open."""
    recipe = card.recipe(network, name)
    paper = {item["key"]: item["paper"] for item in recipe.differences if item["paper"] is not None}
    lines = [f"{network} by {card.name}/{name}" + (f": {recipe.why}" if recipe.why else ""), ""]
    for key, value in recipe.resolved.items():
        if key in NOT_TRAINING:
            continue
        for inner, one in value.items() if isinstance(value, dict) else [("", value)]:
            dotted = f"{key}.{inner}".rstrip(".")
            # a table of another kind is one difference, told beside its first value
            other = paper.pop(key if key in paper else dotted, None)
            lines.append(f"  {dotted} = {toml(one)}" + ("" if other is None else f"      # the paper's: {toml(other)}"))
    lines += [f"  # the paper's {key} = {toml(value)}" for key, value in paper.items()]
    gaps = recipe.resolved.get("gaps", [])
    return lines + ([""] if gaps else []) + [f"  left open: {gap}" for gap in gaps]


def toml(value) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def short_listing(card, width: int = 118) -> list[str]:
    """A paper and its networks in a line each: parameters, multiply-adds, and as many errors as the line holds."""
    lines = [heading(card)]
    for name in card.architectures:
        results = [result for result in card.results if result.architecture == name and result.comparable]
        line = f"  {name:31s}"
        for metric in ("parameters", "multiply_adds"):
            counts = sorted((result for result in results if result.metric == metric), key=lambda one: one.rounding)
            line += f" {short(counts[0].value) if counts else '':>8s}"
        errors = [f"{result.metric.replace('_', ' ')} {number(result)} ({result.dataset})"
                  for result in results if result.unit == "%"]
        for index, text in enumerate(errors):
            more = f"; {len(errors) - index - 1} more" if index < len(errors) - 1 else ""
            if len(line) + len(text) + len(more) + 2 > width:
                line += f"{'; ' if index else '  '}{len(errors) - index} more"
                break
            line += f"{'; ' if index else '  '}{text}"
        lines.append(line.rstrip())
    return lines


def heading(card) -> str:
    return (f"{card.title} ({card.authors.split(',')[0]} et al. {card.year}), card {card.name}"
            + (f", recipes {', '.join(card.recipes)}" if card.recipes else ""))


def number(result) -> str:
    return f"{'> ' if result.upper else ''}{result.value:,.10g}{'%' if result.unit == '%' else ''}"


def short(value: float) -> str:
    """1234567 as 1.23 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


# ------------------------------------------------------------------------------------------------------- columns

def columns(rows, left: str, loose: int = 0) -> list[str]:
    """Aligned rows of texts; as many first columns as `left` is long go left, the last `loose` ones are not padded."""
    tight = len(rows[0]) - loose
    widths = [max(len(row[index]) for row in rows) for index in range(tight)]
    return ["  ".join([row[index].ljust(width) if index < len(left) else row[index].rjust(width)
                       for index, width in enumerate(widths)] + ["", *row[tight:]]).rstrip() for row in rows]


def size(shape) -> str:
    """32×32×3; an axis of any size is a ?."""
    return "×".join("?" if n is None else str(n) for n in shape)


def mebibytes(count: int) -> str:
    return "<0.001" if 0 < count < 2**20 / 2000 else f"{count / 2**20:,.3f}"


def field(row: dict) -> str:
    return "–" if row["receptive_field"] is None else str(row["receptive_field"])
