"""`show` and `list`: figures beside the paper's with a verdict, and the drawing of a network."""
import re
import tomllib
import xml.etree.ElementTree as ElementTree

import keras
import pytest
from zoo import FEW, anatomy_of, published, slow_but

from cnn_repro.architectures import describe, draw, find, names
from cnn_repro.architectures.boxes import stages_of
from cnn_repro.repro import show
from cnn_repro.repro.cli import main
from cnn_repro.repro.papers import card_of, cards
from cnn_repro.repro.papers.card import Card, Result, Table

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", params=slow_but(FEW, names()))
def paper(request):
    """Each network at the paper's size, one at a time."""
    return published(request.param)


def shown(capsys, *arguments) -> str:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out


def result(value, **more) -> Result:
    return Result(**{"architecture": "net", "dataset": "digits", "metric": "parameters", "value": value,
                     "unit": "count", "source": "Table 1", **more})


# ------------------------------------------------------------------------------------------------------------ texts

def test_layers_stages_and_totals_stand_beside_the_papers(capsys):
    out = shown(capsys, "lenet5")
    assert out.startswith("lenet5: Gradient-Based Learning Applied to Document Recognition (1998); input 32×32×1\n")
    assert re.search(r"^C3 +TableConv2D +10×10×16 +5×5 +1,516 +150,000 +0\.006 +14$", out, re.M)
    assert re.search(r"^F6_flat +Flatten +120 +0 +0 +<0\.001 +–$", out, re.M)
    assert re.search(r"^S2 +14×14×6 +0 +12 +0 +0\.004 +6    = 14×14×6, = 12 parameters, = 5,880 connections$", out, re.M)
    assert re.search(r"^published: section II\.B", out, re.M)
    assert re.search(r"^connections +340,908   published: 340,908 \(section II\.A\): equal$", out, re.M)
    assert re.search(r"^memory \(float32\) +0\.229 MiB of weights, 0\.031 MiB of activations of one image", out, re.M)
    assert "≠" not in out


def test_stages_alone(capsys):
    out = shown(capsys, "resnet20_cifar", "--stages")
    assert "Conv2D" not in out and "conv2_1" not in out
    assert re.search(r"^conv3 +16×16×32 +6 +51,072 +12,976,128 .* = 16×16×32, = 6 layers$", out, re.M)
    assert re.search(r"^parameters +269,722   published: 270,000 \(Table 6\): within rounding$", out, re.M)
    assert re.search(r"^multiply-adds +40,551,040   counted: 40,551,040 ", out, re.M)


def test_other_sizes_are_not_set_beside_the_papers(capsys):
    out = shown(capsys, "lenet5_modern", "--classes", "7", "--input-shape", "28,28,3", "--stages")
    assert "published" not in out and "the paper's figures are of 32×32×1 and 10 classes" in out
    assert re.search(r"^OUTPUT +7 ", out, re.M)


@pytest.mark.parametrize("published, word", [
    (result(100), "equal"), (result(101), "differs"), (result(102, rounding=2), "within rounding"),
    (result(102, rounding=1), "differs"), (result(100, rounding=5), "equal"), (result(90, comparable=False),
     "differs, not to be compared"), (result(90, comparable=False, note="biases left out"),
     "differs, and is not to be compared: biases left out"), (result(100, comparable=False), "equal")])
def test_verdicts(published, word):
    assert show.verdict(100, published) == word


def test_every_published_count_gets_its_line():
    found = {"parameters": 100, "multiply_adds": 5, "connections": 6, "depth": 3}
    lines = show.total_lines(found, [result(100), result(1, status="recalled", source="Table 2"),
                                     result(5, metric="multiply_adds", kind="derived", source="counted by hand")])
    assert [re.sub(" +", " ", line) for line in lines] == [
        "parameters 100 published: 100 (Table 1): equal", " published: 1 (Table 2, recalled): differs",
        "multiply-adds 5 counted: 5 (counted by hand): equal", "connections 6", "depth 3"]


def test_what_differs_from_the_papers_table_is_marked():
    table = Table("lenet5", "a wrong table", (
        {"stage": "C1", "output": [28, 28, 7], "parameters": 156}, {"stage": "C9", "output": [1]},
        {"stage": "F6", "output": [84], "parameters": 10165, "layers": 1, "multiply_adds": 10080}))
    lines = show.stage_lines(anatomy_of("lenet5"), [table])
    assert lines[1].endswith("≠ 28×28×7, = 156 parameters")
    assert lines[6].endswith("= 84, = 1 layer, ≠ 10,165 parameters, = 10,080 multiply-adds")
    assert lines[-2:] == ["≠ the published C9 is no stage of this network", "published: a wrong table"]
    two = show.stage_lines(anatomy_of("lenet5"), [table, table])
    assert "published (1)" in two[0] and "published (2)" in two[0]


def test_a_preset_says_what_differs_and_from_which_network():
    known = ["resnet50", "resnet50_torchvision", "vgg16_bn", "lonely_keras"]
    assert show.differs_line("resnet50_torchvision", "stride in the 3×3", known) == (
        "not the paper's network (that is resnet50): stride in the 3×3")
    assert show.differs_line("lonely_keras", "everything", known) == "not the paper's network: everything"


def test_presets_of_the_registry_show_it(capsys):
    preset = next((name for name in names() if find(name).differs and any(name in card.architectures
                                                                          for card in cards())), None)
    if preset is None:
        pytest.skip("no preset yet")
    assert "not the paper's network" in shown(capsys, preset, "--stages")


def test_every_network_can_be_shown(paper):
    name, found, card = paper.name, paper.found, card_of(paper.name)
    lines = show.layer_lines(found)
    assert [line.split()[0] for line in lines[1:]] == [row["name"] for row in found["layers"]]
    tables = [table for table in card.tables if table.architecture == name]
    stages = show.stage_lines(found, tables)
    assert not [line for line in stages if "≠" in line], "a figure of the card's table differs"
    totals = show.total_lines(found, [one for one in card.results if one.architecture == name and one.counted is None])
    assert not [line for line in totals if line.endswith("differs")]


# ------------------------------------------------------------------------------------------------------------- list

def test_list_has_a_line_for_every_network_under_its_paper(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    stated = [name for card in cards() for name in card.architectures]
    assert [line.split()[0] for line in lines if line.startswith("  ")] == stated
    assert all(len(line) <= 118 for line in lines if line.startswith("  "))
    assert lines[-1].startswith(f"{len(stated)} networks of {len(cards())} papers")
    row, = (line for line in lines if line.startswith("  resnet20_cifar "))
    assert row.split()[1:5] == ["270", "k", "40.6", "M"] and row.endswith("test error 8.75% (cifar10)")


def test_list_of_a_card_and_of_a_network_has_every_number_and_its_place(capsys):
    assert main(["list", "he2016"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Deep Residual Learning") and "card he2016" in out and "LeCun" not in out
    assert all(re.search(rf"^  {name} ", out, re.M) for name in card_of("resnet20_cifar").architectures)
    assert "test error 8.75% (cifar10, Table 6)" in out and "test error > 60% (cifar10, Figure 6, caption)" in out
    assert main(["list", "lenet5"]) == 0
    assert "connections 340,908 (mnist, section II.A)" in capsys.readouterr().out


def test_list_says_what_is_not_compared_and_what_is_counted_otherwise(capsys):
    assert main(["list", "lenet5"]) == 0
    assert "test error 0.8% (mnist, section III.B, Figure 9): not compared, with 540,000 randomly" in capsys.readouterr().out
    assert main(["list", "conv6_cifar"]) == 0
    assert "parameters 1,700,000 (cifar10, Figure 2): printed 1.7M weights" in capsys.readouterr().out


def test_list_shows_a_recipe_as_set_takes_it(capsys):
    assert main(["list", "resnet20_cifar", "--recipe", "short"]) == 0
    out = capsys.readouterr().out
    recipe = card_of("resnet20_cifar").recipe("resnet20_cifar", "short")
    assert out.startswith(f"resnet20_cifar by he2016/short: {recipe.why}")
    assert "\n  schedule.stop = 6400      # the paper's: 64000\n" in out and '\n  augment = ["pad4_crop32", "flip"]\n' in out
    assert all(f"left open: {gap}" in out for gap in recipe.resolved["gaps"])
    values = [line.split("#")[0].strip().split(" = ", 1) for line in out.splitlines() if re.match(r"  [a-z_.]+ = ", line)]
    again = card_of("resnet20_cifar").recipe("resnet20_cifar", "paper", {
        key: tomllib.loads(f"value = {value}")["value"] for key, value in values})
    assert again.sha256 == recipe.sha256                                # it is the whole recipe
    assert main(["list", "lenet5", "--recipe", "short"]) == 0           # of another kind than the paper's
    assert "\n  optimizer.name = \"sgd\"      # the paper's: {name = \"sdlm\"" in capsys.readouterr().out


def test_a_long_line_is_cut_and_says_how_much_is_left():
    errors = tuple(result(10 + index, metric="test_error", unit="%", dataset="a data set of a long name")
                   for index in range(9))
    card = Card("one", "One", "A. Author", "there", 2000, ("net",), results=errors)
    head, line = show.short_listing(card)
    assert head == "One (A. Author et al. 2000), card one"
    assert len(line) <= 118 and re.search(r"; (\d) more$", line)
    assert line.count("test error") + int(re.search(r"(\d) more$", line)[1]) == 9


# ---------------------------------------------------------------------------------------------------------- drawings

def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_plot_writes_a_drawing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert shown(capsys, "lenet5", "--plot", "--stages").endswith("drawn: lenet5.svg\n")
    shown(capsys, "lenet5", "--plot", "with blanks & more.svg")
    svg = (tmp_path / "lenet5.svg").read_text(encoding="utf-8")
    assert svg == (tmp_path / "with blanks & more.svg").read_text(encoding="utf-8")
    found = texts(svg)
    assert found[0] == "LeNet-5 as published" and "60,000 parameters" in found[1]
    for text in ("input 32×32×1", "C1", "28×28×6", "5×5 conv, 6", "2×2 subsampling", "5×5 table conv, 16",
                 "dense, 84", "radial basis"):
        assert text in found
    assert "prefers-color-scheme: dark" in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_equal_blocks_are_drawn_once_with_their_number():
    found = texts(draw(published("resnet110_cifar").model))
    assert found.count("× 18") == 1 and found.count("× 17") == 2
    assert found.count("+ · ReLU") == 5 and len(found) < 80
    assert "conv2_1 … 18" in found and "1×1 average pool /2" in found


def test_blocks_know_their_branches_and_shortcuts():
    network = published("resnet20_cifar")
    stages = stages_of(network.model, network.found)
    assert [stage.names for stage in stages] == [["conv1"], ["conv2"], ["conv3"], ["conv4"], ["pool"], ["fc"]]
    (count, identity), = stages[1].blocks
    assert count == 3 and [box.label for box in identity.boxes] == ["3×3 conv", "3×3 conv", "+"]
    first, second, add = identity.boxes
    assert first.sources == [None] and second.sources == [first] and set(map(id, add.sources)) == {id(None), id(second)}
    assert first.after == ["BN", "ReLU"] and add.after == ["ReLU"] and {box.column for box in identity.boxes} == {0}
    _, changing = stages[2].blocks[0]
    assert sorted(box.column for box in changing.boxes if not box.joins) == [0, 0, 1]     # side by side


def inception(x, name):
    a = keras.layers.Conv2D(4, 1, activation="relu", name=f"{name}_1x1")(x)
    b = keras.layers.Conv2D(3, 1, name=f"{name}_3x3_reduce")(x)
    b = keras.layers.Conv2D(6, 3, padding="same", name=f"{name}_3x3")(b)
    c = keras.layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    return keras.layers.Concatenate(name=f"{name}_join")([a, b, c])


def test_equal_stages_are_drawn_once_and_branches_in_the_order_of_their_join():
    x = inputs = keras.Input((8, 8, 3), name="input")
    x = inception(x, "mixed1")
    x = keras.layers.Conv2D(13, 1, name="mid1")(x)
    x = keras.layers.Conv2D(13, 1, name="mid2")(x)
    model = keras.Model(inputs, x)
    mixed, middle = stages_of(model, describe(model))
    (_, block), = mixed.blocks
    assert [(box.label, box.column, box.row) for box in block.boxes] == [
        ("1×1 conv", 0, 0), ("1×1 conv", 1, 0), ("3×3 conv", 1, 1), ("3×3 max pool", 2, 0), ("concatenate", 1, 2)]
    assert middle.names == ["mid1", "mid2"] and "× 2, each" in texts(draw(model))


def test_what_comes_from_further_away_is_named_and_texts_are_escaped():
    a, b = keras.Input((4,), name="image"), keras.Input((4,), name="other")
    x = keras.layers.Dense(4, name="first")(a)
    x = keras.layers.Add(name="second_add")([keras.layers.Dense(4, name="second_dense")(x), b])
    svg = draw(keras.Model([a, b], x), title="<b>&\"", caption="a < b")
    found = texts(svg)
    assert found[:2] == ["<b>&\"", "a < b"] and "&lt;b&gt;&amp;" in svg
    assert "from other" in found and "image 4, other 4" in found


def test_every_network_can_be_drawn(paper):
    svg = draw(paper.model)
    root, found = ElementTree.fromstring(svg), texts(svg)
    assert 3 < len(found) < 600 and all(text.strip() for text in found)
    width, height = float(root.get("width")), float(root.get("height"))
    assert width < 5500 and height < 7500         # NASNet's cells are the widest, a video's blocks the longest
    boxes = [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))
             for rect in root.iter(f"{SVG}rect") if (rect.get("class") or "").startswith("box")]
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for index, (x, y, w, h) in enumerate(boxes):        # no box over another
        for x2, y2, w2, h2 in boxes[:index]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, (x, y, x2, y2)
