"""The report: verdicts by the rule, and a page that survives any record. All records here are synthetic."""
import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from scipy.stats import t as student

from cnn_repro.repro import record
from cnn_repro.reports import ReportError, blocks, build, figures, load, renew_readme, results_table
from cnn_repro.reports.compare import VERDICTS, compare, judge, judge_count, rules, words
from cnn_repro.reports.evidence import arrange, gather
from cnn_repro.reports.tables import csv as as_csv, frame, headline, tally

import example_records as example


def rows_of(records, *cards):
    return compare(arrange(records), cards or (example.card(),))


def errors_of(records, *cards):
    return [row for row in rows_of(records, *cards) if row.metric == "test_error"]


def seeds(*errors, **more):
    return [example.training(seed=seed, test_error=error, **more) for seed, error in enumerate(errors)]


def page_of(tmp_path, records=(), cards=None, **files):
    """The built page's text; `files` are further files of the records' folder, by stem."""
    folder = tmp_path / "records"
    folder.mkdir(exist_ok=True)
    for i, item in enumerate(records):
        record.write_record(folder / f"{i:03}.json", item)
    for stem, text in files.items():
        (folder / f"{stem}.json").write_bytes(text)
    build([folder], tmp_path / "report.html", cards=cards or (example.card(),))
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Text(HTMLParser):
    """What a reader of the page sees, and the tags that carry it."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.parts, self.attributes, self.silent = [], [], [], False
        self.feed(page)
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        self.silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, data):
        if not self.silent:
            self.parts.append(data)


# ------------------------------------------------------------------------------------------------- the rule

def test_the_rule_is_the_one_that_was_agreed():
    assert rules().confidence == 0.90 and rules().least_runs == 3 and rules().most_diverged == 1
    assert rules().margin == {"mnist": 0.15, "cifar10": 0.5, "default": 1.0}


@pytest.mark.parametrize("values, diverged, upper, verdict", [
    ([8.0, 8.1, 7.9], 0, False, "reproduced"),
    ([8.5, 8.5, 8.5], 0, False, "reproduced"),          # a point on the edge is inside
    ([7.5, 7.5, 7.5], 0, False, "reproduced"),
    ([8.500001] * 3, 0, False, "not reproduced"),
    ([7.499999] * 3, 0, False, "better"),
    ([7.0, 7.1, 6.9], 0, False, "better"),
    ([9.0, 9.1, 8.9], 0, False, "not reproduced"),
    ([8.3, 8.5, 8.4], 0, False, "partly"),              # the mean inside, the interval not
    ([8.7, 8.5, 8.6], 0, False, "partly"),              # the mean outside, the interval overlaps
    ([7.0, 9.0, 8.0], 0, False, "partly"),              # a band inside the interval is not a match
    ([8.0, 8.0], 0, False, "insufficient"),
    ([8.0], 0, False, "insufficient"),
    ([], 0, False, "insufficient"),
    ([8.0, 8.1, 7.9], 1, False, "reproduced"),          # one diverged run is reported and tolerated
    ([8.0, 8.1, 7.9], 2, False, "insufficient"),        # two make the mean one of survivors
    ([70.0, 80.0, 90.0], 0, True, "reproduced"),        # "> 8" has no upper edge
    ([7.0, 7.1, 6.9], 0, True, "better"),
    ([7.0, 8.0, 9.0], 0, True, "partly"),
])
def test_verdicts(values, diverged, upper, verdict):
    found = judge(values, 8.0, 0.5, diverged, upper)
    assert found.verdict == verdict and found.n == len(values)


def test_the_interval_is_students():
    found = judge([8.2, 8.6, 7.9, 8.5], 8.0, 0.5)
    half = student.ppf(0.95, 3) * found.sd / 2
    assert found.mean == pytest.approx(8.3)
    assert (found.low, found.high) == (pytest.approx(8.3 - half), pytest.approx(8.3 + half))


def test_every_margin_edge_survives_binary_fractions():
    for hundredths in range(1, 2000, 7):
        published = hundredths / 100
        for margin in (0.15, 0.5, 1.0):
            assert judge([round(published + margin, 2)] * 3, published, margin).verdict == "reproduced"


@pytest.mark.parametrize("value, rounding, verdict", [
    (1000, 0, "reproduced"), (1001, 0, "not reproduced"), (1050, 50, "reproduced"),
    (949, 50, "not reproduced")])
def test_counts_are_exact_or_within_the_printed_rounding(value, rounding, verdict):
    assert judge_count(value, 1000, rounding).verdict == verdict


# ------------------------------------------------------------------------------------------------- the rows

def test_a_row_carries_all_that_it_compares():
    row, = errors_of(seeds(8.0, 8.2, 8.1))
    assert (row.verdict, row.n, row.margin, row.recipe, row.dataset) == ("reproduced", 3, 0.5, "paper",
                                                                         "cifar10")
    assert (row.mean, row.sd, row.difference) == pytest.approx((8.1, 0.1, 0.1))
    assert row.differences == () and len(row.records) == 3 and row.leading


def test_a_card_may_set_its_own_margin():
    cards = example.card(margin={"cifar10": 0.05})
    assert errors_of(seeds(8.0, 8.1, 7.9), cards)[0].margin == 0.05
    assert errors_of([], example.card(dataset="svhn"))[0].margin == 1.0


def test_a_short_recipe_is_judged_and_carries_its_differences():
    short = [{"key": "schedule.stop", "paper": 64000, "here": 6400},
             {"key": "validation", "paper": 0, "here": 5000}]
    row, = errors_of(seeds(9.0, 9.1, 8.9, recipe="short", differences=short))
    assert row.verdict == "not reproduced"
    assert row.differences == ("schedule.stop 6400 instead of 64000", "validation 5000 instead of 0")


def test_another_data_set_or_scale_is_not_comparable():
    row, = errors_of(seeds(8.0, 8.0, 8.0, dataset="digits", recipe="smoke"))
    assert (row.verdict, row.dataset, row.n) == ("not comparable", "digits", 3)
    assert "digits instead of cifar10" in row.differences
    few = {"name": "cifar10", "splits": {"train": 500, "validation": 0, "test": 10000}, "classes": []}
    row, = errors_of([run | {"dataset": few} for run in seeds(8.0, 8.0, 8.0)])
    assert row.verdict == "not comparable" and "500 training images" in row.why


def test_runs_on_one_of_a_papers_data_sets_are_not_set_beside_its_figures_for_another():
    cards = example.card(results=[example.result(), example.result(dataset="mnist", value=1.0)])
    cifar10, mnist = errors_of(seeds(8.0, 8.0, 8.0), cards)
    assert (cifar10.verdict, cifar10.n) == ("reproduced", 3)
    assert (mnist.verdict, mnist.dataset, mnist.n) == ("not run", "mnist", 0)


def test_a_top_5_error_is_set_beside_a_top_5_error():
    cards = example.card(results=[example.result(metric="top1_error", value=24.7), example.result(metric="top5_error", value=7.8)])
    runs = seeds(24.6, 24.7, 24.8)
    for run, error in zip(runs, (7.7, 7.8, 7.9)):
        run["result"]["test_top5_error"] = error
    one, five = rows_of(runs, cards)
    assert (one.metric, one.verdict, one.mean) == ("top1_error", "reproduced", pytest.approx(24.7))
    assert (five.metric, five.verdict, five.mean) == ("top5_error", "reproduced", pytest.approx(7.8))
    _, none = rows_of(seeds(24.6, 24.7, 24.8), cards)
    assert (none.verdict, none.n, none.mean) == ("insufficient", 0, None)


def test_the_papers_line_in_the_curves_is_no_top_5_error(tmp_path):
    drawn = {metric: "paper, test 7.8 %" in page_of(tmp_path, seeds(8.0), [
        example.card(results=[example.result(metric=metric, value=7.8)])]) for metric in ("top5_error", "top1_error")}
    assert drawn == {"top5_error": False, "top1_error": True}


AUGMENTED, PLAIN = ["pad4_crop32", "flip"], []


def of_two_protocols():
    """A network with two numbers: 8 % with augmentation, as its recipe says, and 10 % without."""
    return example.card(results=[example.result(value=8.0), example.result(value=10.0, protocol={"augment": PLAIN})])


def without_augmentation(runs):
    left = [{"key": "augment", "paper": AUGMENTED, "here": PLAIN}]
    return [run | {"id": f"plain {run['id']}", "recipe": run["recipe"] | {
        "sha256": "f" * 64, "differences": left, "resolved": run["recipe"]["resolved"] | {"augment": PLAIN}}} for run in runs]


def test_a_run_is_set_beside_the_claim_whose_protocol_it_follows():
    augmented, plain = seeds(8.0, 8.1, 7.9), without_augmentation(seeds(10.0, 10.1, 9.9))
    with_it, without = errors_of(augmented + plain, of_two_protocols())
    assert (with_it.published, with_it.verdict, with_it.mean, with_it.differences) == (8, "reproduced", pytest.approx(8), ())
    assert (without.published, without.verdict, without.mean, without.differences) == (10, "reproduced", pytest.approx(10), ())
    assert [row.verdict for row in errors_of(augmented, of_two_protocols())] == ["reproduced", "not run"]
    assert [row.verdict for row in errors_of(plain, of_two_protocols())] == ["not run", "reproduced"]


def test_differences_are_those_from_the_claims_own_protocol():
    runs = without_augmentation(seeds(10.0, 10.1, 9.9))
    for run in runs:
        run["recipe"]["resolved"]["batch"] = 64
    _, row = errors_of(runs, of_two_protocols())
    assert row.differences == ("batch 64 instead of 128",)


def test_a_number_of_another_network_is_never_judged():
    cards = example.card(results=[example.result(comparable=False, note="another network")])
    assert [row.verdict for row in rows_of(seeds(8.0, 8.0, 8.0), cards)] == ["not comparable"]
    assert [row.verdict for row in rows_of([], cards)] == ["not comparable"]


def test_what_nobody_ran_shows_its_cost():
    row, = errors_of([])
    assert row.verdict == "not run" and "unknown" in row.cost
    other = example.training("other", model={"input_shape": [8, 8, 1], "multiply_adds": 4000, "layers": []})
    built = {"schema": 1, "kind": "network", "id": "built", "status": "finished", "architecture": "net",
             "model": {"multiply_adds": 8000, "layers": []}}
    row, = errors_of([other, built])                        # twice the work of what was timed
    assert row.verdict == "not run" and row.cost.endswith("estimated from other's by multiply-adds")
    assert int(row.cost.split(" at ")[1].split()[0]) == pytest.approx(820 / 2, rel=0.02)
    row, = errors_of([example.training(status="interrupted", test_error=None)])
    assert row.verdict == "insufficient" and row.n == 0
    hours = 64000 * 128 * 3 / 820 / 3600
    assert re.match(r"about [\d.]+ h for 3 seeds at 8\d\d images/s", row.cost)
    assert float(row.cost.split()[1]) == pytest.approx(hours, rel=0.02)


def test_cost_is_reckoned_at_the_papers_batch():
    """A run with other batches says little about the speed of the paper's, so it counts only where nothing else does."""
    slow, fast = example.training(seed=0), example.training(seed=0, recipe="short")
    for epoch in fast["history"]:
        epoch["images_per_second"] *= 20
    fast["recipe"] = {**fast["recipe"], "resolved": {**fast["recipe"]["resolved"], "batch": 1}}
    alone, = {row.cost for row in errors_of([slow])}
    assert {row.cost for row in errors_of([slow, fast])} == {alone}
    other, = {row.cost for row in errors_of([fast])}
    assert other and other != alone


def test_configurations_are_not_mixed():
    stock = seeds(8.0, 8.1, layers="stock")
    overrides = [run | {"id": f"o{i}", "recipe": run["recipe"] | {"overrides": {"batch": 64},
                                                                  "sha256": "f" * 64}}
                 for i, run in enumerate(seeds(8.0, 8.1))]
    found = errors_of(seeds(8.0, 8.1, 8.2) + stock + overrides)
    assert sorted(row.n for row in found) == [2, 2, 3] and sum(row.leading for row in found) == 1


@pytest.mark.parametrize("other", [
    {"dataset": {"sha256": "cd" * 32}}, {"compile": "xla"}, {"hardware": {"replicas": 4}}], ids=lambda other: next(iter(other)))
def test_runs_on_other_bytes_compiled_otherwise_or_over_more_devices_stand_apart(other):
    runs = seeds(8.0, 8.1, 7.9)
    for key, value in other.items():
        runs[2][key] = runs[2][key] | value if isinstance(value, dict) else value
    assert sorted(row.n for row in errors_of(runs)) == [1, 2]


def test_a_run_that_was_changed_on_its_way_counts_nowhere_and_is_listed(tmp_path):
    runs = seeds(8.0, 8.1, 7.9)
    runs[0]["forced"] = [{"key": "recipe.resolved.schedule.rate", "was": 0.1, "is": 0.05, "from": "step-000000400.checkpoint"}]
    row, = errors_of(runs)
    assert (row.verdict, row.n) == ("insufficient", 2)
    text = Text(page_of(tmp_path, runs)).text
    assert "--force changed it while it ran: recipe.resolved.schedule.rate 0.1 to 0.05 at step-000000400.checkpoint" in text
    runs[0]["forced"][0]["key"] = "code_sha256"
    row, = errors_of(runs)
    assert (row.verdict, row.differences) == ("reproduced", ("gone on with by another program than it began with",))


def test_an_altered_copy_and_an_uncommitted_program_are_said_in_the_row():
    runs = seeds(8.0, 8.1, 7.9)
    altered, words = next(iter(rules().altered.items()))
    for run in runs:
        run["dataset"]["sha256"] = altered
    runs[1]["dirty"] = True
    row, = errors_of(runs)
    assert (row.verdict, row.differences) == ("reproduced", (words, "uncommitted changes in the program"))


def test_every_known_copy_that_is_not_the_original_is_said_to_be_altered():
    from cnn_repro.repro import data
    known = {sha256: text for name in data.names() for sha256, text in data.source(name).known.items()}
    assert {sha256 for sha256, text in known.items() if text.startswith("a copy in which")} == set(rules().altered)


def test_the_size_of_every_data_set_with_claims_is_known():
    from cnn_repro.repro import data
    from cnn_repro.repro.papers import cards
    claimed = {result.dataset for card in cards() for result in card.results if result.unit == "%" and result.comparable}
    sizes = rules().images
    assert claimed & set(data.names()) <= set(sizes)
    for name in set(sizes) & set(data.names()):
        source = data.source(name)
        if source.kind == "images":
            assert sizes[name] == {part: source.splits[part] for part in ("train", "test")}, name


def test_the_leading_row_is_the_nearest_to_the_paper_not_the_best():
    short = [{"key": "schedule.stop", "paper": 64000, "here": 6400}]
    found = errors_of(seeds(8.0, 8.0, 8.0, recipe="short", differences=short) + seeds(12.0))
    assert [row.verdict for row in found if row.leading] == ["insufficient"]
    assert tally(found)["reproduced"] == 0


def test_a_seed_counts_once_by_its_newest_run():
    again = example.training(seed=0, test_error=9.0) | {"id": "again", "ended": "2027-01-01T00:00:00Z"}
    row, = errors_of(seeds(8.0, 8.2) + [again])
    assert row.n == 2 and row.mean == pytest.approx(8.6)


def test_a_seed_that_failed_at_last_has_failed_and_one_that_finished_at_last_has_not():
    def then(status, error, when):
        return example.training(seed=0, status=status, test_error=error) | {"id": when, "ended": f"{when}-01-01T00:00:00Z"}
    row, = errors_of(seeds(8.0, 8.1, 7.9) + [then("diverged", None, "2027")])
    assert (row.verdict, row.n, row.why) == ("insufficient", 2, "2 of 3 seeds finished, 1 diverged")
    row, = errors_of(seeds(8.0, 8.1, 7.9)[1:] + [then("diverged", None, "2027"), then("stuck", None, "2028"),
                                                 then("finished", 8.0, "2029")])
    assert (row.verdict, row.n) == ("reproduced", 3)


def test_of_one_records_copies_the_latest_counts_whatever_the_order():
    early, late = example.training(status="interrupted", test_error=None), example.training()
    late["ended"] = "2027-01-01T00:00:00Z"
    for copies in ([early, late], [late, early], [early, late, late]):
        found = arrange(copies)
        assert [run["status"] for run in found.runs] == ["finished"] and not found.broken
    other = late | {"result": late["result"] | {"test_error": 1.0}}
    assert [name for name, _ in arrange([late, other]).broken] == [late["id"]]


def test_diverged_and_stuck_runs_spoil_a_verdict_interrupted_ones_do_not():
    failed = [example.training(seed=7, test_error=None, status="diverged"),
              example.training(seed=8, test_error=None, status="stuck")]
    cut = [example.training(seed=9 + i, test_error=None, status="interrupted") for i in range(3)]
    assert errors_of(seeds(8.0, 8.1, 7.9) + failed[:1] + cut)[0].verdict == "reproduced"
    assert errors_of(seeds(8.0, 8.1, 7.9) + failed)[0].verdict == "insufficient"


def test_counts_come_from_any_built_model():
    row, = [row for row in rows_of([example.training(status="diverged", test_error=None)])
            if row.unit == "count"]
    assert (row.verdict, row.mean, row.n, row.recipe) == ("reproduced", 1000, 1, "")
    cards = example.card(results=[example.result(metric="connections", value=12)])
    built = {"layers": [example.layer("a", "Conv2D", (1,), connections=5),
                        example.layer("b", "Dense", (1,), connections=7)]}
    assert rows_of([example.training(model=built)], cards)[0].verdict == "reproduced"


def test_the_headline_counts_claims_once_and_what_no_paper_prints_not_at_all():
    cards = example.card(results=[example.result(), example.result(metric="parameters", value=1000),
                                  example.result(metric="multiply_adds", value=2000, kind="derived"),
                                  example.result(dataset="svhn")])
    found = rows_of(seeds(8.0, 8.1, 7.9) + seeds(8.0, layers="stock"), cards)
    assert headline(found) == (
        "2 of 3 claims reproduced (1 of 2 test errors, 1 of 1 counts), 0 partly, 0 not, 0 not comparable, 1 not run")
    assert headline([]) == "0 of 0 claims reproduced, 0 partly, 0 not, 0 not comparable, 0 not run"
    assert tuple(tally(found)) == VERDICTS


def test_values_in_words():
    assert words([0.0005] * 12 + [1e-5] * 8) == "[0.0005, 0.0005, … 1e-05] (20)"
    assert (words(None), words([1, 2]), words(0.1)) == ("none", "[1, 2]", "0.1")


# ----------------------------------------------------------------------------------------------- the tables

def test_load_gives_the_same_rows(tmp_path):
    for item in seeds(8.0, 8.1, 7.9):
        record.write_record(tmp_path / f"{item['id']}.json", item)
    table = load(tmp_path, cards=(example.card(),))
    expected = frame(compare(gather([tmp_path]), (example.card(),)))
    assert table.equals(expected) and list(table["verdict"]) == ["reproduced", "reproduced"]
    assert set(load()["verdict"]) <= set(VERDICTS)          # the committed evidence, whatever it is today


def test_a_missing_folder_is_one_clear_line(tmp_path):
    with pytest.raises(ReportError, match="no folder .*nowhere"):
        build([tmp_path / "nowhere"], tmp_path / "report.html")
    with pytest.raises(ReportError, match="name the HTML file"):
        build([tmp_path], tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_markdown_table_escapes(tmp_path):
    run = seeds(8.0, 8.1, 7.9)
    for item in run:
        item["recipe"]["name"] = "pa|per<b>"
    text = results_table(rows_of(run))
    assert "| net | cifar10 | 8 % | 8.00 ± 0.10 % (3) | pa&#124;per&lt;b&gt; | reproduced |" in text
    assert all(line.count("|") == 7 for line in text.splitlines() if line.startswith("|"))
    assert "Of the 1 counts that papers print" in text and "as built reproduce 1, 0 they do not" in text


def test_readme_is_renewed_between_its_marks_only(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    (tmp_path / "records").mkdir()
    record.write_record(tmp_path / "records" / "one.json", example.training(seed=0, test_error=8.25))
    for _ in range(2):                      # renewing twice changes nothing more
        renew_readme(readme, [tmp_path / "records"], (example.card(),))
        text = readme.read_text()
        assert text.startswith("before\n<!-- results -->\n| Arch") and text.endswith("<!-- /results -->\nafter\n")
        assert "8.25 % (1)" in text and "old" not in text
    readme.write_text("no marks")
    with pytest.raises(ReportError, match="no <!-- results -->"):
        renew_readme(readme, [tmp_path / "records"])
    assert readme.read_text() == "no marks"


def test_a_network_that_was_only_built_settles_its_counts():
    run = example.training(seed=0)
    built = {"schema": 1, "kind": "network", "id": "network-x", "status": "finished", "paper": run["paper"],
             "architecture": run["architecture"], "model": run["model"]}
    alone, = [row for row in rows_of([built]) if row.metric == "parameters"]
    assert alone.verdict == "reproduced" and alone.records == ("network-x",) and alone.group is None
    both, = [row for row in rows_of([built, run]) if row.metric == "parameters"]
    assert both.records == (run["id"], "network-x")
    built["model"] = {**run["model"], "parameters": run["model"]["parameters"] + 1}
    assert [row.verdict for row in rows_of([built]) if row.metric == "parameters"] == ["not reproduced"]


def test_csv_never_becomes_a_formula(tmp_path):
    items = seeds(8.0, command="=cmd|' /C calc'!A0", reason="@SUM(1)", commit="-1", version="+1")
    page_of(tmp_path, items)
    line, = csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text()))
    assert line["command"] == "'=cmd|' /C calc'!A0" and line["commit"] == "'-1"
    assert float(line["result.test_error"]) == 8.0
    claims = list(csv.DictReader(io.StringIO((tmp_path / "claims.csv").read_text())))
    assert [claim["verdict"] for claim in claims] == ["insufficient", "reproduced"]
    assert b"-0.5" in as_csv(frame(rows_of(seeds(7.5))))    # a negative number stays one


# ------------------------------------------------------------------------------------------------- the page

def test_policy_allows_the_one_script_and_nothing_else(tmp_path):
    page = page_of(tmp_path, example.demonstration())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == ("default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
                      f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    assert Text(page).tags.count("script") == 2             # that one, and the data block


def test_nothing_on_the_page_is_fetched(tmp_path):
    found = Text(page_of(tmp_path, example.demonstration()))
    for tag, name, value in found.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
            assert value.startswith(("data:", "#")) or value in ("claims.csv", "runs.csv"), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    assert not {"iframe", "object", "embed", "base", "video", "audio"} & set(found.tags)
    style = page_of(tmp_path).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_the_same_records_give_the_same_bytes(tmp_path):
    first, second = (tmp_path / name for name in "ab")
    for folder in (first, second):
        folder.mkdir()
        page_of(folder, example.demonstration())
    for name in ("report.html", "claims.csv", "runs.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


HOSTILE = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "\"' onmouseover='x",
    "a\u2028b\u2029c",
    "{{ 7 * 7 }}{% raw %}", "x" * 10_000, "\u202eevil\u202c", "<!--", "]]>", "&lt;b&gt;", "nul\x00\x1b[31m",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_shown_and_nothing_else(tmp_path, text):
    ours = Text(page_of(tmp_path, [example.training(pictures=True), example.gradients(), example.bench()])).tags
    item = example.training(pictures=True, id=text, reason=text, command=text, commit=text, version=text,
                            precision=text,
                            layers=text, backend=text)
    item["dataset"] |= {"version": text, "identity": text, "classes": [text] * 10}
    item["recipe"] |= {"name": text, "why": text,
                       "differences": [{"key": text, "paper": text, "here": [text]}]}
    item["recipe"]["resolved"] = {"gaps": [text], "batch": 128}
    item["hardware"]["processor"] = text
    check = example.gradients(backend=text)
    check["rows"][0] |= {"operator": text, "against": text, "case": text, "dtype": text}
    bench = example.bench(backend=text, compile=text, memory_method=text)
    bench["rows"][0] |= {"name": text, "note": text}
    bench["rows"][3] |= {"name": text, "refused": text}
    bench["rows"][4] |= {"name": text, "form": text, "formula": text}
    bench["rows"].append(bench["rows"][1] | {"kind": text})
    seen = example.evaluation(text) | {"views": text, "paper": text}
    seen["weights"], seen["dataset"] = dict.fromkeys(seen["weights"], text), seen["dataset"] | {"read": text, "remark": text}
    raw = [json.dumps(thing).encode() for thing in (item, check, bench, seen)]      # as a foreign program would write it
    for file in (tmp_path / "records").iterdir():
        file.unlink()
    page = page_of(tmp_path, hostile0=raw[0], hostile1=raw[1], hostile2=raw[2], hostile3=raw[3])
    found = Text(page)
    assert set(found.tags) <= set(ours) and found.tags.count("script") == 2
    assert found.tags.count("img") == ours.count("img")
    shown = " ".join(text[:300].replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ud800",
                                                                                            "\ufffd").split())
    assert shown in found.text
    assert len(page) < 2_000_000
    data = re.search(r'<script type="application/json" id="raw">(.*?)</script>', page, re.DOTALL)[1]
    assert not set(data) & set("<>&\u2028\u2029")
    assert json.loads(data)["runs"]["id"][0][:2].strip() == shown[:2].strip()


def test_hostile_architecture_names_and_titles(tmp_path):
    text = "<b>&'\"</script>"
    page = page_of(tmp_path, [example.training(architecture=text, dataset=text)],
                   cards=(example.card(architecture=text, dataset=text, title=text),))
    assert text not in page and Text(page).tags.count("script") == 2 and text in "".join(Text(page).parts)


def test_only_png_pictures_are_shown():
    png = example.png([[(1,)]])
    assert blocks.picture(png) == blocks.picture("data:image/png;base64," + png) == "data:image/png;base64," + png
    for bad in ("", "AAAA", png + '"', png + "\n", "data:image/svg+xml;base64," + png, "javascript:x",
                png[:-1],
                base64.b64encode(b"GIF89a").decode(), png + "A" * 4 * 2**16):
        assert blocks.picture(bad) == ""


def test_no_runs(tmp_path):
    text = Text(page_of(tmp_path)).text
    assert "0 of 2 claims reproduced (0 of 1 test errors, 0 of 1 counts), 0 partly, 0 not, 0 not comparable, 2 not run" in text
    assert "No training run has been recorded" in text and "No gradient evidence has been recorded" in text
    assert "Nothing has run" in text and "None recorded" in text


def test_one_seed(tmp_path):
    text = Text(page_of(tmp_path, seeds(8.0))).text
    assert "1 of 3 seeds finished" in text and "Every recorded run finished" in text


def test_all_failed(tmp_path):
    items = [example.training(seed=i, test_error=None, status=status, epochs=i)
             for i, status in enumerate(("diverged", "stuck", "interrupted", "failed", "running"))]
    items[-1]["reason"] = ""
    text = Text(page_of(tmp_path, items)).text
    assert "2 runs diverged" in text and "0 of 5 runs counted, 2 diverged" in text
    assert "still running, or killed" in text and "Runs that are no evidence" in text


def test_finished_without_a_number_is_a_failure(tmp_path):
    item = example.training() | {"result": {"test_error": "nan"}}
    assert "finished without a test error" in Text(page_of(tmp_path, [item])).text


def test_missing_epochs_and_validation(tmp_path):
    items = seeds(8.0, 8.1, 7.9, recipe="short", epochs=20)
    items[0]["history"] = items[0]["history"][:5] + items[0]["history"][12:]
    for row in items[1]["history"]:
        row["validation_error"] = None
    items[2]["history"] = []
    drawn = figures.curves(arrange(items).groups[0])
    assert "<title>Learning curves of net on cifar10, 2 runs</title>" in drawn
    x, y = figures._line({1: 5.0, 2: 4.0, 8: 3.0, 9: 2.0}, 100)
    assert x == [1, 2, 2, 8, 9] and y[2] != y[2]            # a break, not a line over epochs that nobody saw
    assert "Configurations" in Text(page_of(tmp_path, items)).text


def test_malformed_records_are_listed(tmp_path):
    wrong = example.training() | {"history": {"epoch": 1}}
    page = page_of(tmp_path, [wrong], cut=b'{"schema": 1, "kind":', latin=b'"\xff"', other=b'{"schema": 9}',
                   array=b"[]", later=b'{"schema": 1, "kind": "claim", "id": "b", "status": "finished"}')
    text = Text(page).text
    assert "history is a table, expected a list" in text and "schema 9" in text
    assert text.count("malformed") >= 5 and "array.json" in text and "later" not in text


@pytest.mark.parametrize("broken", [
    {"recipe": "paper"}, {"dataset": []}, {"result": {"test_error": "8"}}, {"seed": True},
    {"predictions": {"labels": [0.5]}},
    {"samples": [{"top5": [1]}]}, {"hardware": {"cores": 10**40}}, {"model": {"layers": [3]}},
    {"versions": {"keras": 3}}])
def test_a_value_of_the_wrong_kind_makes_a_record_malformed(broken):
    found = arrange([example.training() | broken])
    assert not found.runs and "malformed" in found.broken[0][1] and next(iter(broken)) in found.broken[0][1]


@pytest.mark.parametrize("broken", [
    {"rows": {}}, {"rows": [{"ratio": "fast"}]}, {"rows": [{"ours_ms": [1.0]}]}, {"goals": [1]}, {"geometric_mean": True},
    {"compile": 3}])
def test_so_it_is_with_a_benchmark(broken):
    found = arrange([example.bench() | broken])
    assert not found.benches and "malformed" in found.broken[0][1] and next(iter(broken)) in found.broken[0][1]


def test_weights_of_others_stand_beside_the_paper_and_only_all_of_imagenet_gives_a_difference(tmp_path):
    claim = example.result("net", "imagenet", "top1_error", 42.5)
    paper = example.card(architecture="net", results=[claim, example.result("net", "imagenet", "top5_error", 19.7)])
    ten = example.evaluation("net", "imagenette", 10, 9.0)
    full = example.evaluation("net", "imagenet", 1000, 43.0)
    part = full | {"id": "part", "dataset": full["dataset"] | {"images": 500}, "views": "others"}
    rows = {row["record"]["id"]: row["errors"] for row in blocks.evaluations(arrange([ten, full, part]), [paper])}
    assert rows[full["id"]][0]["difference"] == pytest.approx(0.5) and rows[full["id"]][0]["of_all"] is None
    assert rows[ten["id"]][0]["difference"] is rows["part"][0]["difference"] is None
    assert rows[ten["id"]][0]["of_all"] == 29.0 and rows[ten["id"]][0]["paper"].value == 42.5
    dense = full | {"id": "dense", "scales": [256], "views": "whole, with the shorter side at 256, and their mirror images"}
    row, = blocks.evaluations(arrange([dense]), [paper])                # the figure is of the middle alone
    assert row["errors"][0]["paper"].value == 42.5 and row["errors"][0]["difference"] is None
    whole = example.result("net", "imagenet", "top1_error", 41.0, protocol={"test": {"views": "whole", "scales": [256]}})
    row, = blocks.evaluations(arrange([dense]), [example.card(architecture="net", results=[claim, whole])])
    assert row["errors"][0]["difference"] == pytest.approx(2.0) and row["errors"][1]["paper"] is None
    again = ten | {"id": "later", "ended": "2026-02-02T00:00:00Z"}
    assert [row["record"]["id"] for row in blocks.evaluations(arrange([again, ten]), [paper])] == ["later"]
    page = page_of(tmp_path, [ten, full], [paper])
    shown = Text(page).text
    assert "43.00 %" in shown and "42.5 % Table 1 +0.50" in shown and "29.00 % among all 1,000 classes" in shown
    assert "a package, its weights.pkl" in shown and 'href="#published-weights"' in page
    (tmp_path / "none").mkdir()
    assert "published-weights" not in page_of(tmp_path / "none", [], [paper])


@pytest.mark.parametrize("broken", [{"weights": []}, {"result": {"top1_error": "low"}}, {"dataset": {"images": "all"}}])
def test_so_it_is_with_an_evaluation(broken):
    found = arrange([example.evaluation() | broken])
    assert not found.evaluations and "malformed" in found.broken[0][1] and next(iter(broken)) in found.broken[0][1]


def test_unknown_keys_and_absent_ones_are_tolerated(tmp_path):
    bare = {"schema": 1, "kind": "training", "id": "bare", "status": "finished"}
    page = page_of(tmp_path, [bare, example.training() | {"later": {"x": 1}}])
    assert "bare" in Text(page).text and "finished without a test error" in page
    odd = example.training(pictures=True)
    odd["learned"]["kernels"] = [[1, 2], [3]]
    odd["predictions"]["classes"] = [0]
    assert blocks.errors(arrange([odd]).runs[0]) is None and figures.kernels(odd["learned"]) is None


def test_two_hundred_runs_stay_small(tmp_path):
    base = example.training(pictures=True, epochs=160, recipe="short", model=example.resnet20())
    items = []
    for i in range(200):
        items.append(base | {"id": f"run{i}", "seed": i % 3, "architecture": f"net{i // 3}"})
    page = page_of(tmp_path, items)
    assert len(page.encode()) < 3_000_000
    assert page.count('class="configuration"') == 67 and "are left out to keep the page small" in page


def test_many_seeds_of_one_network(tmp_path):
    items = [example.training(seed=i, test_error=8.0 + i % 5 / 10, epochs=160, recipe="short")
             for i in range(200)]
    for i, item in enumerate(items):
        item["id"] = f"run{i}"
    assert len(page_of(tmp_path, items).encode()) < 3_000_000


# ----------------------------------------------------------------------------------------------- the blocks

def test_errors_of_few_and_of_many_classes():
    run = arrange([example.training()]).runs[0]
    found = blocks.errors(run)
    assert len(found["matrix"]) == 10 and not found["omitted"] > 0
    wrong = sum(cell["n"] for line in found["matrix"] for cell in line["cells"] if not cell["right"])
    assert wrong == sum(a != b for a, b in zip(run["predictions"]["labels"], run["predictions"]["classes"]))
    for item in found["classes"]:
        assert 0 <= item["low"] <= item["error"] <= item["high"] <= 100
    many = arrange([example.training() | {"predictions": {"labels": list(range(50)) * 2,
                                                          "classes": [0] * 100}}]).runs[0]
    found = blocks.errors(many)
    assert not found["matrix"] and len(found["pairs"]) == 20 and found["omitted"] == 30


def test_the_built_network_beside_the_papers_table():
    model = {"layers": [example.layer("a", "Conv2D", (8, 8, 4), 90, 100),
                        example.layer("b", "ReLU", (8, 8, 4), stage="conv1"),
                        example.layer("c", "Dense", (10,), 50, 50)]}
    found = blocks.architecture(arrange([example.training(model=model)]).runs[0], example.TABLE)
    conv, rest, gone = found["rows"]
    assert conv["parameters"] == 90 and conv["layers"] == 1 and conv["off"] == ["parameters"]
    assert rest["stage"] == "after these" and rest["parameters"] == 50
    assert not gone["built"] and found["off"] == 2


def test_gradient_evidence_shows_the_worst_case_of_the_newest_check():
    old = example.gradients(worst=1.0) | {"id": "old", "ended": "2020-01-01T00:00:00Z"}
    new = example.gradients(worst=float("nan"))
    new["rows"][-1] |= {"error": "nan", "passed": False}
    table, = blocks.gradients(arrange([old, new]))
    assert table["failed"] == 1 and table["references"] == ["loops", "stock", "central differences",
                                                            "adjoint"]
    worst = next(row for row in table["rows"] if row["operator"] == "Subsampling2D")["cells"][-1]
    assert worst["error"] is None and not worst["passed"] and worst["cases"] == 4


def test_speed_beside_stock_layers():
    rows = blocks.speed(arrange(seeds(8.0) + seeds(8.0, layers="stock")))
    assert [row["ratio"] is None for row in rows] == [False, True]
    assert rows[0]["step_ms"] == pytest.approx(1000 * 128 / rows[0]["images_per_second"])


def test_a_benchmark_is_held_to_its_goals(tmp_path):
    bench, = blocks.benches(arrange([example.bench()]))
    assert bench["networks"]["met"] == {"mean": True, "network": True, "memory": True}
    slow, = blocks.benches(arrange([example.bench(ratios=(0.89, 1.2), memory=1.11)]))
    assert slow["networks"]["met"] == {"mean": True, "network": False, "memory": False}
    behind, = blocks.benches(arrange([example.bench(ratios=(0.95, 0.99))]))
    assert behind["networks"]["met"] == {"mean": False, "network": True, "memory": True}
    text = Text(page_of(tmp_path, [example.bench()])).text
    for shown in ("geometric mean 1.02, goal ≥ 1", "every network ≥ 0.9", "memory ≤ 1.1 times stock's",
                  "net0 128 100 ms 110 ms 1.10 1.08 to 1.13 9 rounds 210, 200 MiB 1.05", "differ by 5.0e-01",
                  "product a tap the formula of"):
        assert shown in text
    assert text.index("product a tap") < text.index("layers kernel gradient") < text.index("patches")
    assert "bench-tensorflow" in text.split("Failures")[-1]             # the refused operator


def test_a_goal_that_cannot_be_judged_is_not_called_met():
    unmeasured = example.bench(geometric_mean="nan")
    unmeasured["rows"][0] |= {"ratio": None, "memory_ratio": None}
    bench, = blocks.benches(arrange([unmeasured]))
    assert bench["networks"]["met"] == {"mean": None, "network": None, "memory": None}
    bench, = blocks.benches(arrange([example.bench(goals=None)]))
    assert bench["networks"]["met"] == {"mean": None, "network": None, "memory": None}


def test_a_setup_shows_its_newest_tables_and_keeps_machines_apart():
    old = example.bench(ratios=(0.5,)) | {"id": "old", "ended": "2020-01-01T00:00:00Z"}
    new = example.bench(ratios=(1.5,), forms=False)
    bench, = blocks.benches(arrange([new, old]))
    assert [row["ratio"] for row in bench["networks"]["rows"]] == [1.5]
    assert bench["forms"]["record"]["id"] == "old"                      # the newer one timed no forms
    elsewhere = new | {"id": "gpu", "hardware": {"processor": "Example CPU", "accelerators": ["Example GPU"]}}
    found = blocks.benches(arrange([new, elsewhere, example.bench("jax"), new | {"id": "xla", "compile": "xla"}]))
    assert len(found) == 4 and sum("Example GPU" in bench["machine"] for bench in found) == 1


def test_a_run_over_several_devices_is_said_and_not_set_beside_one_on_one():
    ours, stock = example.training(), example.training(layers="stock") | {"id": "stock"}
    spread = stock | {"hardware": stock["hardware"] | {"replicas": 4, "processes": 2}}
    machines = dict(blocks.provenance(arrange([ours, spread])))["Machines"]
    assert sum("each batch over 4 devices in 2 processes" in machine for machine, _ in machines) == 1
    assert [row["ratio"] for row in blocks.speed(arrange([ours, stock]))] != [None, None]
    assert [row["ratio"] for row in blocks.speed(arrange([ours, spread]))] == [None, None]


def test_a_benchmark_without_rows_and_an_endless_one(tmp_path):
    empty = {"schema": 1, "kind": "bench", "id": "bare", "status": "finished"}
    assert "No step has been timed" in Text(page_of(tmp_path)).text
    assert blocks.benches(arrange([empty]))[0]["rows"] == []
    endless = example.bench(rows=[example.bench()["rows"][2]] * 5000)
    page = page_of(tmp_path, [empty, endless])
    assert len(page) < 1_000_000 and "4600 more rows" in Text(page).text


def test_kernels_of_any_depth_are_drawn():
    for channels, colour in ((1, "5×5×1"), (3, "5×5×3"), (6, "5×5×6")):
        kernels = [[[[0.1 * f + c for f in range(4)] for c in range(channels)] for _ in range(5)]
                   for _ in range(5)]
        found = figures.kernels({"kernels": kernels})
        assert blocks.picture(found["image"]) and colour in found["caption"]
        assert found["width"] == (6 * channels - 1 if channels == 6 else 23)


def test_the_strip_stays_inside_its_box():
    for error in (0.0, 8.0, 60.0):
        row, = errors_of(seeds(error, error + 0.1, error + 0.2))
        for number in re.findall(r'(?:cx="|H|M)(-?[\d.]+)', figures.strip(row)):
            assert 0 <= float(number) <= 120


def test_the_report_needs_no_tensorflow():
    code = ("import sys, pathlib, cnn_repro.reports as r; r.load(); "
            "print([m for m in ('tensorflow', 'keras', 'jax', 'torch', 'matplotlib.pyplot') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
