"""Learning rates against their closed forms, step by step; what is observed is saved and restored exactly."""
import json
import math

import pytest

from cnn_repro.repro.papers import cards
from cnn_repro.repro.training.schedule import Schedule

PLATEAU = {"kind": "plateau", "rate": 0.1, "patience": 2, "watch": "validation_error", "stop": 100}


def rates(resolved, steps, steps_per_epoch=10):
    schedule = Schedule(resolved, steps_per_epoch)
    return [schedule.rate(step) for step in steps]


def observed(schedule, errors, key="validation_error"):
    """The rate after each epoch of these values."""
    seen = []
    for error in errors:
        schedule.observe_epoch({key: error})
        seen.append(schedule.rate(0))
    return seen


@pytest.mark.parametrize("resolved, expected, length", [
    ({"kind": "step", "rate": 0.3, "at": [20, 40], "factor": 0.5, "stop": 60},
     lambda i: 0.3 * 0.5 ** ((i >= 20) + (i >= 40)), 60),
    ({"kind": "step", "rate": 0.3, "at": [2, 4], "stop": 6, "unit": "epochs"},
     lambda i: 0.3 * 0.1 ** ((i >= 20) + (i >= 40)), 60),
    ({"kind": "epochs", "rates": [0.3, 0.2, 0.1]}, lambda i: [0.3, 0.2, 0.1][i // 10], 30),
    ({"kind": "constant", "rate": 0.3, "stop": 30}, lambda i: 0.3, 30),
    ({"kind": "exponential", "rate": 0.045, "factor": 0.94, "every": 2, "stop": 6, "unit": "epochs"},
     lambda i: 0.045 * 0.94 ** [0, 0, 1, 1, 2, 2][i // 10], 60),
    ({"kind": "exponential", "rate": 1.0, "factor": 0.5, "every": 10, "stop": 60, "floor": 0.1},
     lambda i: [1, 0.5, 0.25, 0.125, 0.1, 0.1][i // 10], 60),
    ({"kind": "exponential", "rate": 1e-3, "factor": 0.96, "every": 20, "stop": 60, "staircase": False},
     lambda i: 1e-3 * math.exp(math.log(0.96) * i / 20), 60),
    ({"kind": "exponential", "rate": 1.0, "factor": 0.5, "every": 3, "stop": 6, "unit": "epochs",
      "staircase": False},
     lambda i: 2 ** (-i / 30), 60),
    ({"kind": "polynomial", "rate": 0.5, "power": 1.0, "stop": 50}, lambda i: 0.01 * (50 - i), 50),
    ({"kind": "polynomial", "rate": 0.5, "power": 0.5, "stop": 5, "unit": "epochs"},
     lambda i: 0.5 * math.sqrt((50 - i) / 50), 50),
    ({"kind": "inverse", "rate": 0.01, "gamma": 1e-2, "power": 0.75, "stop": 50},
     lambda i: 0.01 / (1 + i / 100) ** 0.75, 50),
    ({"kind": "inverse", "rate": 1.0, "gamma": 1.0, "power": 2, "stop": 5, "unit": "epochs"},
     lambda i: (10 / (10 + i)) ** 2, 50),
    ({"kind": "cosine", "rate": 0.2, "stop": 50}, lambda i: 0.2 * math.cos(math.pi * i / 100) ** 2, 50),
    ({"kind": "cosine", "rate": 0.2, "stop": 5, "unit": "epochs"},
     lambda i: 0.2 * math.cos(math.pi * i / 100) ** 2, 50),
    ({"kind": "linear", "points": [[0, 0], [5, 0.4], [20, 0]]},
     lambda i: 0.08 * i if i <= 5 else 0.4 * (20 - i) / 15, 20),
    ({"kind": "linear", "points": [[0, 0.1], [0.5, 0.1], [2.5, 0.3]], "unit": "epochs"},
     lambda i: 0.1 + max(0, i - 5) * 0.01, 25),
    (PLATEAU, lambda i: 0.1, 100),
], ids=lambda value: value.get("kind") + "-" + value.get("unit", "") if isinstance(value, dict) else "")
def test_every_kind_is_its_closed_form(resolved, expected, length):
    schedule = Schedule(resolved, 10)
    assert schedule.steps == length and schedule.epochs == math.ceil(length / 10)
    assert [schedule.rate(step) for step in range(length)] == pytest.approx([expected(i) for i in range(length)])
    assert not schedule.finished and not schedule.warming


def test_the_ends_are_exact():
    page = {"kind": "linear", "points": [[0, 0], [5, 0.4], [24, 0]], "unit": "epochs"}
    assert rates(page, [0, 50, 240]) == [0, 0.4, 0]
    assert rates({"kind": "cosine", "rate": 0.2, "stop": 40}, [0, 20, 40]) == [0.2, pytest.approx(0.1), 0]
    assert rates({"kind": "polynomial", "rate": 0.2, "power": 1, "stop": 40}, [0, 40]) == [0.2, 0]


# ---------------------------------------------------------------------------------------------------- warm-ups

def test_a_constant_warm_up_moves_nothing_behind_it():
    step = {"kind": "step", "rate": 0.1, "at": [6], "stop": 9}
    found = rates(step | {"warmup": {"rate": 0.01, "until": 4}}, range(9))
    assert found == pytest.approx([0.01] * 4 + [0.1] * 2 + [0.01] * 3)
    epochs = {"kind": "step", "rate": 0.1, "stop": 9, "unit": "epochs", "warmup": {"rate": 0.01, "until": 1.5}}
    assert rates(epochs, [0, 14, 15, 16]) == [0.01, 0.01, 0.1, 0.1]
    lenet = {"kind": "epochs", "rates": [0.1, 0.2], "warmup": {"rate": 0.01, "until": 1}}       # in epochs
    assert rates(lenet, [0, 9, 10]) == [0.01, 0.01, 0.2]


def test_a_rising_warm_up_meets_the_schedule():
    cosine = {"kind": "cosine", "rate": 1.0, "stop": 20}
    plain, warm = rates(cosine, range(20)), rates(cosine | {"warmup": {"from": 0.2, "until": 5}}, range(20))
    assert warm[0] == 0.2 and warm[5:] == plain[5:]
    assert [b - a for a, b in zip(warm[:5], warm[1:6])] == pytest.approx([(plain[5] - 0.2) / 5] * 5)
    assert rates(cosine | {"warmup": {"from": 0.2, "until": 0}}, range(20)) == plain


def test_a_warm_up_by_training_error_ends_once_and_for_good():
    schedule = Schedule({"kind": "step", "rate": 0.1, "at": [5], "stop": 9,
                         "warmup": {"rate": 0.001, "until_train_error": 80}}, 10)
    seen = []
    for step, error in enumerate([90, 80, 79.9, 95, 95, 95]):
        seen.append(schedule.rate(step))
        schedule.observe_training(error)
    assert seen == pytest.approx([0.001, 0.001, 0.001, 0.1, 0.1, 0.01]) and not schedule.warming


# ------------------------------------------------------------------------------------ plateaus and early stopping

def test_a_plateau_lowers_the_rate_after_its_patience():
    #        best 50; 2 without a new lowest → ·0.1; 49 is new; 49 again is not; …
    errors = [50, 50, 51, 49, 49, 49, 60, 60]
    found = observed(Schedule(PLATEAU, 10), errors)
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.0001])
    limited = observed(Schedule(PLATEAU | {"reductions": 1, "factor": 0.5}, 10), errors)
    assert limited == [0.1, 0.1] + [0.05] * 6
    assert observed(Schedule(PLATEAU | {"reductions": 0}, 10), errors) == [0.1] * 8
    losses = observed(Schedule(PLATEAU | {"watch": "validation_loss"}, 10), [2, 2, 2], "validation_loss")
    assert losses == pytest.approx([0.1, 0.1, 0.01])


def test_a_nan_is_no_new_lowest():
    assert observed(Schedule(PLATEAU, 10), [50, math.nan, math.nan]) == pytest.approx([0.1, 0.1, 0.01])


@pytest.mark.parametrize("values, ends_after", [
    ([1.0, 0.9, 0.9, 0.9, 0.9], 5), ([1.0, 1.1, 1.2, 0.9, 1.0, 1.0, 0.8], None), ([3, 4, 5, 6], 4)])
def test_early_stopping_after_its_patience(values, ends_after):
    schedule = Schedule({"kind": "constant", "rate": 0.01, "stop": 200, "unit": "epochs",
                         "early_stop": {"watch": "validation_loss", "patience": 3}}, 1)
    ended = []
    for value in values:
        schedule.observe_epoch({"validation_loss": value, "validation_error": 0.0})
        ended.append(schedule.finished)
    assert ended == [ends_after is not None and epoch >= ends_after for epoch in range(1, len(values) + 1)]
    assert schedule.steps == 200


# ------------------------------------------------------------------------------------------------ saved state

WATCHING = PLATEAU | {"warmup": {"rate": 0.001, "until_train_error": 45}, "reductions": 3,
                      "early_stop": {"watch": "train_error", "patience": 4}}
ROWS = [{"train_error": a, "validation_error": b / 3} for a, b in
        [(50, 50), (48, 50), (49, 50), (44, 51), (44, 49), (43, 49), (44, 50), (44, 48), (44, 48), (44, 48)]]


def follow(schedule, rows):
    seen = []
    for row in rows:
        schedule.observe_training(row["train_error"])
        schedule.observe_epoch(row)
        seen.append((schedule.rate(3), schedule.finished, schedule.warming))
    return seen


@pytest.mark.parametrize("stopped", range(len(ROWS) + 1))
def test_a_restored_schedule_goes_on_exactly(stopped):
    whole = Schedule(WATCHING, 10)
    expected = follow(whole, ROWS)
    assert {rate for rate, _, _ in expected} >= {0.001, 0.1 * 0.1, 0.1 * 0.1 ** 2} and expected[-1][1]
    first, second = Schedule(WATCHING, 10), Schedule(WATCHING, 10)
    begun = follow(first, ROWS[:stopped])
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert begun + follow(second, ROWS[stopped:]) == expected
    assert second.state() == whole.state() and second.finished and whole.finished
    third = Schedule(WATCHING, 10)
    third.restore(whole.state())
    assert third.finished


def test_a_state_is_numbers_and_belongs_to_its_kind():
    for resolved in (WATCHING, {"kind": "constant", "rate": 1.0, "stop": 3}):
        assert all(isinstance(value, int | float) for value in Schedule(resolved, 10).state().values())
    with pytest.raises(KeyError, match="plateau.waited"):
        Schedule(PLATEAU, 10).restore(Schedule({"kind": "constant", "rate": 1.0, "stop": 3}, 10).state())


# -------------------------------------------------------------------------------------------------- the cards

@pytest.mark.parametrize("found", [found for found in cards() if found.recipes], ids=lambda found: found.name)
def test_every_recipe_of_every_card_has_a_rate_at_every_step(found):
    for architecture in found.architectures:
        for name in found.recipes:
            schedule = Schedule(found.recipe(architecture, name).resolved["schedule"], 100)
            places = [0, 1, 99, 100, schedule.steps // 2, schedule.steps - 1]
            assert all(math.isfinite(schedule.rate(step)) and schedule.rate(step) >= 0 for step in places)
            assert schedule.steps > 0 and not schedule.finished
