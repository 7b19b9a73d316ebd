"""A refined plan is refused once any round of its record is forged, whoever seals it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest

from tests.menus.test_plan import failing, sealed
from tests.refining.test_refine import refined
from zetaplan.documents.choices import choice_document

Value = dict[str, Any]


@lru_cache(1)
def _written() -> str:
    uniform = {f"model.layers.{k}": "0.5" for k in range(3)}
    return choice_document(refined("magnitude", evaluations=40, start=uniform)).text()


def record(value: Value) -> Value:
    found: Value = value["menu"]["provenance"]["refined"]
    return found


def accepted(value: Value) -> Value:
    return next(r for r in reversed(record(value)["rounds"]) if any(t["accepted"] for t in r["trials"]))


def _shift(vector: list[float]) -> None:
    vector[0] += 0.25


def _spend(value: Value) -> None:
    record(value)["budget"] += 100


def _accept(value: Value) -> None:
    trial = record(value)["rounds"][-1]["trials"][-1]
    trial["accepted"] = not trial["accepted"]


def _weaken(value: Value) -> None:
    accepted(value)["trials"][-1]["proof"]["gap"] += 1e-3


def _forget(value: Value) -> None:
    record(value)["rounds"].pop(0)


def _other_start(value: Value) -> None:
    block = next(iter(record(value)["start"]))
    record(value)["start"][block] = "0.45"


def _unmeasured(value: Value) -> None:
    changed = accepted(value)["trials"][-1]["changed"]
    changed[next(iter(changed))] = "0.05"


def _cheaper(value: Value) -> None:
    found = accepted(value)
    block = found["moves"][0]["block"]
    record(value)["costs"][block][found["moves"][0]["option"]] -= 1


def _bar(value: Value) -> None:
    found = accepted(value)
    move = found["moves"][0]
    found["trials"][0]["barred"] = [[move["block"], move["option"]]]


MUTANTS: dict[str, tuple[Callable[[Value], Any], str]] = {
    "a measurement": (lambda value: _shift(accepted(value)["moves"][0]["divergence"]), "rounds"),
    "the measurement at the operating point": (lambda value: _shift(accepted(value)["divergence"]), "rounds"),
    "a test": (lambda value: _flip_test(accepted(value)["trials"][-1]), "tests"),
    "a verdict": (_accept, "tests"),
    "a gap": (_weaken, "last round"),
    "the budget": (_spend, "rounds"),
    "a cost": (_cheaper, "rounds"),
    "a round": (_forget, "sequence"),
    "the start": (_other_start, "sequence"),
    "an option": (_unmeasured, "rounds"),
    "a move that was not offered": (_bar, "rounds"),
    "the comparison": (lambda value: record(value)["held_out"].update(difference=-9.0), "held-out"),
    "a held-out loss": (lambda value: _shift(record(value)["held_out"]["refined"]), "held-out"),
}


def _flip_test(trial: Value) -> None:
    trial["before"], trial["after"] = trial["after"], trial["before"]


def test_the_plan_has_accepted_rounds_and_verifies() -> None:
    value = json.loads(_written())
    assert accepted(value)
    assert len(record(value)["rounds"]) >= 2
    assert failing(value) == set()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_forged_record_is_refused(name: str) -> None:
    mutate, check = MUTANTS[name]
    value = json.loads(_written())
    mutate(value)
    assert check in failing(sealed(value))


@pytest.mark.parametrize("broken", [None, 3, [], {}, {"rounds": []}, {"method": "x"}])
def test_a_broken_record_is_refused_in_one_line(broken: Any) -> None:
    value = json.loads(_written())
    value["menu"]["provenance"]["refined"] = broken
    assert failing(sealed(value)) == (set() if broken is None else {"choice"})


def test_a_start_that_was_not_the_best_is_refused() -> None:
    value = json.loads(choice_document(refined("drop", evaluations=12)).text())
    assert failing(value) == set()
    starts = record(value)["starts"]
    assert len(starts) == 4  # evenly spaced, and each of the three layers
    other = next(start for start in starts if start["plan"] != record(value)["start"])
    other["divergence"] = [0.0] * len(other["divergence"])
    assert "sequence" in failing(sealed(value))


def test_the_plan_of_an_earlier_round_is_not_that_of_the_record() -> None:
    value = json.loads(_written())
    other = json.loads(choice_document(refined("magnitude", budget=0.4, evaluations=12)).text())
    other["menu"]["provenance"] = value["menu"]["provenance"]
    assert "last round" in failing(sealed(other))
