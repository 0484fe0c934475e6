"""Cards and recipes: what they say is checked, resolved, compared and hashed before anything trains."""
import subprocess
import sys

import pytest

from cnn_repro.repro import papers
from cnn_repro.repro.papers import CardError, RecipeError, card, card_of, cards
from cnn_repro.repro.papers.card import read
from cnn_repro.repro.papers.recipe import KEYS, TABLES, differences

RESOLVED = [pytest.param(found, architecture, name, id=f"{architecture}-{name}")
            for found in cards() for architecture in found.architectures for name in found.recipes]

CARD = """
card = "net2001"
title = "A Network"
authors = "A. Author, B. Author"
venue = "Somewhere"
year = 2001
architectures = ["small_net", "large_net"]

[[result]]
architecture = "small_net"
dataset = "mnist"
metric = "test_error"
value = 1.5
unit = "%"
source = "Table 1"

[[table]]
architecture = "small_net"
source = "Figure 1"
rows = [{stage = "conv1", output = [8, 8, 4]}]

[[deviation]]
architectures = ["small_net"]
text = "another border"

[recipe.paper]
optimizer = {name = "sgd", momentum = 0.9, weight_decay = 1e-4}
batch = 128
loss = "cross_entropy"
schedule = {kind = "step", rate = 0.1, at = [100, 200], stop = 300}
augment = ["flip"]
preprocess = "mean_std"
validation = 0
gaps = ["the border"]
[recipe.paper.for.large_net]
batch = 64
optimizer = {name = "sgd", momentum = 0.8}

[recipe.short]
inherits = "paper"
why = "faster"
schedule = {kind = "step", rate = 0.1, at = [10], stop = 30}
validation = 0.1

[recipe.smoke]
inherits = "short"
why = "fastest"
[recipe.smoke.for.small_net]
batch = 16
"""


@pytest.fixture
def written(tmp_path):
    """Writes CARD with some of its text replaced, and reads it."""
    def write(*changes: tuple[str, str], name="net2001"):
        text = CARD
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return read(path)
    return write


def test_reading_cards_loads_nothing_but_the_standard_library():
    code = """
import sys
from cnn_repro.repro.papers import cards
import cnn_repro.repro.record
assert len(cards()) >= 2
print(*sorted({"numpy", "keras", "tensorflow", "pandas", "jinja2"} & sys.modules.keys()))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == []


# ------------------------------------------------------------------------------------------ the suite's own cards

def test_every_network_stands_on_exactly_one_card():
    from cnn_repro.architectures import names
    on_cards = [name for found in cards() for name in found.architectures]
    assert sorted(on_cards) == sorted(set(on_cards)) and set(on_cards) == set(names())
    for name in names():
        assert name in card_of(name).architectures and card(card_of(name).name) is card_of(name)


@pytest.mark.parametrize("found", cards(), ids=lambda found: found.name)
def test_a_card_names_its_paper_and_its_places(found):
    assert found.title and found.authors and found.venue and found.arxiv + found.doi + found.url
    assert 1980 <= found.year <= 2030 and str(found.year) in found.name
    assert "paper" in found.recipes or not found.recipes
    for result in found.results:
        assert result.source and result.value > 0
        assert (result.unit == "%") == result.metric.endswith("_error"), result
        assert result.kind == "paper" or result.status == "derived", result
    keys = [(result.architecture, result.dataset, result.metric, result.value) for result in found.results]
    assert len(set(keys)) == len(keys)
    for architecture in found.architectures:
        counted = [result for result in found.results if result.architecture == architecture]
        assert any(result.metric == "parameters" for result in counted), architecture


@pytest.mark.parametrize("found, architecture, name", RESOLVED)
def test_every_recipe_is_trainable(found, architecture, name):
    recipe = found.recipe(architecture, name)
    assert set(recipe.resolved) <= set(KEYS) and recipe.name == name and recipe.overrides == {}
    assert set(KEYS) - {"gaps"} <= set(recipe.resolved)
    for key, (naming, kinds) in TABLES.items():
        table = recipe.resolved[key]
        needed, more = kinds[table[naming]]
        assert set(needed) <= set(table) <= {naming, *needed, *more}
    assert all(isinstance(gap, str) and gap for gap in recipe.resolved.get("gaps", []))
    assert len(recipe.sha256) == 64
    assert recipe.why if name != "paper" else not recipe.differences
    schedule = recipe.resolved["schedule"]
    if schedule["kind"] == "step":
        assert schedule.get("at", []) == sorted(schedule.get("at", [])) and schedule["stop"] > max(schedule["at"])


@pytest.mark.parametrize("found, architecture, name", RESOLVED)
def test_the_choices_of_recipes_are_those_of_the_data_room(found, architecture, name):
    from cnn_repro.repro.data import AUGMENTATIONS, PREPROCESSINGS
    from cnn_repro.repro.papers.recipe import CHOICES
    recipe = found.recipe(architecture, name).resolved
    assert recipe["preprocess"] in PREPROCESSINGS and set(recipe["augment"]) <= set(AUGMENTATIONS)
    assert set(CHOICES["augment"]) == set(AUGMENTATIONS) and set(CHOICES["preprocess"]) == set(PREPROCESSINGS)


# published figures of data sets that the suite cannot load yet
ELSEWHERE = {"imagenet", "cifar100", "kinetics400", "cora", "citeseer", "pubmed", "nell", "sports1m", "ucf101", "usps"}


def test_published_data_sets_and_margins_are_data_sets():
    from cnn_repro.repro.data import names
    for found in cards():
        assert {result.dataset for result in found.results} | set(found.margin) <= set(names()) | ELSEWHERE, found.name


def test_he2016_and_lecun1998_say_what_the_papers_say():
    he = card("he2016").recipe("resnet20_cifar").resolved
    assert he["schedule"] == {"kind": "step", "rate": 0.1, "at": [32000, 48000], "factor": 0.1, "stop": 64000}
    assert (he["batch"], he["optimizer"]) == (128, {"name": "sgd", "momentum": 0.9, "weight_decay": 1e-4})
    warm = card("he2016").recipe("resnet110_cifar").resolved["schedule"]
    assert warm == he["schedule"] | {"warmup": {"rate": 0.01, "until_train_error": 80}}
    lenet = card("lecun1998").recipe("lenet5").resolved
    assert lenet["schedule"]["rates"] == [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8
    assert lenet["batch"] == 1 and lenet["optimizer"] == {"name": "sdlm", "mu": 0.02, "hessian_samples": 500}
    errors = {result.architecture: result.value for result in card("he2016").results if result.metric == "test_error"}
    assert errors == {"resnet20_cifar": 8.75, "resnet32_cifar": 7.51, "resnet44_cifar": 7.17, "resnet56_cifar": 6.97,
                      "resnet110_cifar": 6.61, "resnet1202_cifar": 7.93, "plain110_cifar": 60.0}


def test_unknown_names_get_the_nearest():
    with pytest.raises(CardError, match="^no paper card 'he2015', did you mean 'he2016'\\?$"):
        card("he2015")
    with pytest.raises(CardError, match="no architecture 'lenet', did you mean 'lenet5'"):
        card_of("lenet")
    with pytest.raises(RecipeError, match="no recipe 'papr', did you mean 'paper'\\?; it has paper, short, smoke"):
        card("he2016").recipe("resnet20_cifar", "papr")
    with pytest.raises(RecipeError, match="krizhevsky2012 states no recipe yet"):
        card("krizhevsky2012").recipe("alexnet")
    with pytest.raises(RecipeError, match="he2016 has no network 'resnet20_cifr', did you mean 'resnet20_cifar'"):
        card("he2016").recipe("resnet20_cifr")


# --------------------------------------------------------------------------------------------------- reading

def test_a_card_reads_into_values(written):
    found = written()
    assert (found.name, found.year, found.architectures) == ("net2001", 2001, ("small_net", "large_net"))
    assert found.results[0].value == 1.5 and found.results[0].status == "verified" and found.results[0].comparable
    assert found.tables[0].rows == ({"stage": "conv1", "output": [8, 8, 4]},)
    assert found.deviations == ({"architectures": ["small_net"], "text": "another border"},)
    assert found.arxiv == found.doi == "" and found.margin == {}


@pytest.mark.parametrize("change, message", [
    (('venue = "S', 'venu = "S'), "unknown key 'venu', did you mean 'venue'"),
    (('title = "A Network"\n', ""), "key 'title' is missing"),
    (('metric = "test_error"', 'metric = "test_eror"'), "unknown metric 'test_eror', did you mean 'test_error'"),
    (('value = 1.5', 'valu = 1.5'), "unknown result key 'valu', did you mean 'value'"),
    (('source = "Table 1"\n', ""), "result key 'source' is missing"),
    (('unit = "%"', 'unit = "percent"'), "unknown unit 'percent'"),
    (('unit = "%"', 'unit = "%"\nstatus = "verifed"'), "unknown status 'verifed', did you mean 'verified'"),
    (('unit = "%"', 'unit = "%"\nkind = "papr"'), "unknown kind 'papr', did you mean 'paper'"),
    (('architecture = "small_net"\ndataset', 'architecture = "smal_net"\ndataset'),
     "unknown architecture 'smal_net', did you mean 'small_net'"),
    (('architecture = "small_net"\nsource', 'architecture = "big"\nsource'), "unknown architecture 'big'$"),
    (('rows = [', 'row = ['), "unknown table key 'row', did you mean 'rows'"),
    (('text = "an', 'txt = "an'), "unknown deviation key 'txt', did you mean 'text'"),
    (('architectures = ["small_net"]\ntext', 'architectures = ["smal_net"]\ntext'), "did you mean 'small_net'"),
    (('[recipe.paper.for.large_net]', '[recipe.paper.for.larg_net]'),
     "unknown architecture 'larg_net', did you mean 'large_net'"),
    (('card = "net2001"', 'card = "net2002"'), "card = 'net2002', expected 'net2001'"),
    (('year = 2001', 'year 2001'), "Expected '='"),
])
def test_a_wrong_card_is_refused_with_its_file_and_the_nearest_name(written, change, message):
    with pytest.raises(CardError, match=message) as error:
        written(change)
    assert str(error.value).startswith("net2001.toml: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("change, message", [
    (('batch = 128', 'bach = 128'), "unknown key 'bach', did you mean 'batch'"),
    (('momentum = 0.9', 'momentun = 0.9'), "'optimizer.momentun' of the optimizer 'sgd', did you mean 'momentum'"),
    (('momentum = 0.9', 'mu = 0.9'), "unknown key 'optimizer.mu' of the optimizer 'sgd'"),
    (('name = "sgd", momentum = 0.9', 'name = "sdg"'), "optimizer 'sdg' is not known, did you mean 'sgd'"),
    (('name = "sgd", momentum = 0.9', 'momentum = 0.9'), "optimizer None is not known"),
    (('rate = 0.1, at = [100, 200], ', 'rat = 0.1, '), "'schedule.rat'.*did you mean 'rate'"),
    (('rate = 0.1, at = [100, 200], ', ''), "'schedule.rate' of the schedule 'step' is missing"),
    (('at = [100, 200]', 'warmup = {rat = 1}'), "unknown key 'schedule.warmup.rat', did you mean 'rate'"),
    (('augment = ["flip"]', 'augment = ["flipp"]'), "augment 'flipp' is not known, did you mean 'flip'"),
    (('preprocess = "mean_std"', 'preprocess = "mean"'), "preprocess 'mean' is not known"),
    (('preprocess = "mean_std"\n', ''), "'preprocess' is missing"),
    (('inherits = "paper"', 'inherits = "papr"'), "inherits from 'papr', which the card does not have"),
    (('inherits = "paper"', 'inherits = "smoke"'), "inherits from itself: short → smoke → short"),
    (('inherits = "paper"', 'inherits = "short"'), "inherits from itself: short → short"),
])
def test_a_wrong_recipe_is_refused_when_its_card_is_read(written, change, message):
    with pytest.raises(RecipeError, match=message) as error:
        written(change)
    assert str(error.value).startswith("net2001: recipe ") and "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------ resolving

def test_inheritance_and_a_networks_own_values(written):
    found = written()
    paper, short, smoke = (found.recipe("small_net", name) for name in ("paper", "short", "smoke"))
    assert paper.resolved["loss"] == {"name": "cross_entropy"}                   # the short form is spelled out
    assert (paper.resolved["batch"], short.resolved["batch"], smoke.resolved["batch"]) == (128, 128, 16)
    assert smoke.resolved["schedule"] == {"kind": "step", "rate": 0.1, "at": [10], "stop": 30}
    assert smoke.resolved["gaps"] == ["the border"]
    assert (paper.why, short.why, smoke.why) == ("", "faster", "fastest")
    large = found.recipe("large_net", "smoke").resolved
    assert large["batch"] == 64                                                  # its own survives the inheritance
    assert large["optimizer"] == {"name": "sgd", "momentum": 0.8}                # tables are replaced whole
    for recipe in (paper, short, smoke):
        assert not {"inherits", "why", "for"} & recipe.resolved.keys()


def test_differences_from_the_paper(written):
    found = written()
    assert found.recipe("small_net").differences == found.recipe("large_net").differences == ()
    assert found.recipe("small_net", "smoke").differences == (
        {"key": "batch", "paper": 128, "here": 16},
        {"key": "schedule.at", "paper": [100, 200], "here": [10]},
        {"key": "schedule.stop", "paper": 300, "here": 30},
        {"key": "validation", "paper": 0, "here": 0.1})
    other = {"optimizer": {"name": "sdlm", "mu": 0.1, "hessian_samples": 9}}
    assert found.recipe("small_net", "paper", other).differences == (
        {"key": "optimizer", "paper": {"name": "sgd", "momentum": 0.9, "weight_decay": 1e-4},
         "here": other["optimizer"]},)
    assert differences({"batch": 1, "gaps": ["a"]}, {"batch": 1, "gaps": ["b"]}) == []


def test_overrides_are_applied_recorded_compared_and_hashed(written):
    found = written()
    plain = found.recipe("small_net")
    changed = found.recipe("small_net", "paper", {"optimizer.momentum": 0.5, "batch": 32, "schedule.warmup":
                                                  {"rate": 0.01, "until_train_error": 80}})
    assert changed.resolved["optimizer"] == {"name": "sgd", "momentum": 0.5, "weight_decay": 1e-4}
    assert changed.overrides["optimizer.momentum"] == 0.5 and changed.overrides["batch"] == 32
    assert [row["key"] for row in changed.differences] == ["batch", "optimizer.momentum", "schedule.warmup"]
    assert changed.sha256 != plain.sha256
    assert found.recipe("small_net", "paper", {"batch": 128}).sha256 == plain.sha256
    assert found.recipe("small_net").resolved == plain.resolved                  # the card itself is untouched
    assert found.recipe("small_net", "paper", {"loss": "cross_entropy"}).resolved == plain.resolved


def test_another_kind_takes_the_old_kinds_values_with_it(written):
    found = written()
    for overrides in ({"loss.name": "map", "loss.j": 3.0}, {"loss.j": 3.0, "loss.name": "map"}):
        assert found.recipe("small_net", "paper", overrides).resolved["loss"] == {"name": "map", "j": 3.0}
    assert found.recipe("small_net", "paper", {"optimizer.name": "sgd"}).sha256 == found.recipe("small_net").sha256
    with pytest.raises(RecipeError, match="'optimizer.mu' of the optimizer 'sdlm' is missing"):
        found.recipe("small_net", "paper", {"optimizer.name": "sdlm"})


@pytest.mark.parametrize("overrides, message", [
    ({"optimizer.momentun": 0.5}, "unknown key 'optimizer.momentun', did you mean 'momentum'"),
    ({"optimiser.momentum": 0.5}, "unknown key 'optimiser', did you mean 'optimizer'"),
    ({"batch.size": 5}, "unknown key 'batch.size'"),
    ({"schedule.rates": [0.1]}, "unknown key 'schedule.rates' of the schedule 'step', did you mean 'rate'"),
    ({"loss.j": 1}, "unknown key 'loss.j' of the loss 'cross_entropy'"),
    ({"why": "because"}, "unknown key 'why'"),
    ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
    ({"batch": 1.5}, "batch must be an integer of at least 1, not 1.5"),
    ({"batch": "many"}, "batch must be an integer of at least 1, not 'many'"),
    ({"batch": True}, "batch must be an integer of at least 1, not True"),
    ({"validation": -0.1}, "validation must be a number of at least 0"),
    ({"optimizer.momentum": "heavy"}, "optimizer.momentum must be a number of at least 0 and below 1, not 'heavy'"),
    ({"optimizer.momentum": 1.0}, "below 1, not 1.0"),
    ({"optimizer.weight_decay": float("nan")}, "optimizer.weight_decay must be a number of at least 0, not nan"),
    ({"optimizer": "adam"}, "optimizer 'adam' is not known; there are sgd, sdlm"),
    ({"optimizer": 5}, "optimizer must be a table, not 5"),
    ({"schedule.rate": float("inf")}, "schedule.rate must be a number of at least 0, not inf"),
    ({"schedule.stop": 0}, "schedule.stop must be an integer of at least 1"),
    ({"schedule.at": 10}, "schedule.at must be a list, not 10"),
    ({"schedule.at": [1.5]}, "schedule.at must be an integer"),
    ({"schedule.unit": "weeks"}, "schedule.unit 'weeks' is not known; there are iterations, epochs"),
    ({"schedule.warmup": 3}, "schedule.warmup must be a table, not 3"),
    ({"schedule.warmup": {"rate": 0.1}}, "'schedule.warmup.until_train_error' is missing"),
    ({"schedule": {"kind": "epochs", "rates": []}}, "schedule.rates needs one rate an epoch"),
    ({"schedule": {"kind": "epochs", "rates": ["fast"]}}, "schedule.rates must be a number"),
    ({"augment": "flip"}, "augment must be a list, not 'flip'"),
    ({"augment": ["flop"]}, "augment 'flop' is not known, did you mean 'flip'"),
    ({"preprocess": 3}, "preprocess 3 is not known"),
])
def test_a_wrong_override_is_one_clear_line(written, overrides, message):
    with pytest.raises(RecipeError, match=message) as error:
        written().recipe("small_net", "short", overrides)
    assert "\n" not in str(error.value) and str(error.value).startswith("net2001: recipe 'short': ")


def test_the_hash_is_of_what_trains(written):
    plain = written().recipe("small_net", "short").sha256
    worded = written(('gaps = ["the border"]', 'gaps = ["the border", "and more"]'), ('why = "faster"', 'why = "soon"'))
    assert worded.recipe("small_net", "short").sha256 == plain
    assert worded.recipe("small_net", "short").differences == written().recipe("small_net", "short").differences
    assert written(('"flip"', '"pad4_crop32"')).recipe("small_net", "short").sha256 != plain
    assert written(("validation = 0.1", "validation = 0.2")).recipe("small_net", "short").sha256 != plain
    assert written(("rate = 0.1, at = [10]", "at = [10], rate = 0.1")).recipe("small_net", "short").sha256 == plain


def test_the_public_names_are_there():
    assert all(hasattr(papers, name) for name in papers.__all__)
