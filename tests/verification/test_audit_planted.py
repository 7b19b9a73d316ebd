"""Rows and menus planted by the thousand: their optimum is that of fractions, liars and forgeries are found out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import zetaplan as zp
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.solution import Solution
from zetaplan.verification import checker
from zetaplan.verification.audit.forgeries import CERTIFICATES, CHOICES, Document
from zetaplan.verification.audit.menus import best_by_table
from zetaplan.verification.audit.planted_menus import FAMILIES, plant_menu
from zetaplan.verification.audit.planted_rows import Rows, plant_rows
from zetaplan.verification.audit.rows import forge_rows, judge_rows, solve_rows
from zetaplan.verification.exact import certify_exactly
from zetaplan.verification.menus import checker as choice_checker

SEED = 7
ROWS = 6  # of a part


def instance(rows: Rows, row: int) -> Instance:
    costs, floors, caps = (rows.unit_cost[row],), (rows.lower[row],), (rows.upper[row],)
    return declare(rows.program, rows.quality[row], costs, float(rows.limit[row]), floors, caps, rows.knobs)


@pytest.mark.parametrize("part", range(16))
def test_the_planted_optimum_is_that_of_fractions(part: int) -> None:
    """Parts 0 to 15 hold both programs, rounded rows, exact rows, and rows of all kinds."""
    rows = plant_rows(SEED, part, ROWS)
    assert rows.exact == (part // 2 % 8 > 1)
    for row in range(ROWS):
        best = exact_optimum(instance(rows, row))
        off = np.abs(np.array([float(x) for x in best.x]) - rows.x[row])
        allowed = 3e-16 + rows.slip[row]
        assert (off <= allowed * np.where(rows.scale[row] > 0.0, rows.scale[row], 1.0)).all()
        multiplier, slack = float(best.multiplier), allowed * (float(best.multiplier) + rows.declared_price)
        assert rows.least[row] - slack <= multiplier <= rows.most[row] + slack


def test_exact_rows_have_an_optimum_without_any_rounding() -> None:
    """Pruning, whose planted plan is made of short numbers: the fractions are equal."""
    for part in (5, 7, 15):
        rows = plant_rows(SEED, part, ROWS)
        for row in range(ROWS):
            assert [float(x) for x in exact_optimum(instance(rows, row)).x] == rows.x[row].tolist()


def test_rows_depend_on_seed_and_part_alone() -> None:
    one, same, other = plant_rows(SEED, 4, ROWS), plant_rows(SEED, 4, ROWS), plant_rows(SEED, 20, ROWS)
    assert (one.quality == same.quality).all()
    assert (one.limit == same.limit).all()
    assert one.quality.shape != other.quality.shape or (one.quality != other.quality).any()


def test_no_answer_is_wrong_and_no_forgery_accepted() -> None:
    for part in range(16):
        rows = plant_rows(SEED, part, 100)
        found = solve_rows(rows)
        tally, off = judge_rows(rows, found)
        assert not off.any()
        assert tally.rows["wrong"] == tally.rows["not certified"] == tally.rows["off"] == 0
        assert sum(tally.decades.values()) == 100
        for counts in forge_rows(rows, found, 50).values():
            assert counts["made"] > 0
            assert counts["accepted"] == 0


@pytest.mark.parametrize("lie", [1.0 + 1e-9, float("nan")])
def test_a_liar_is_found_out(lie: float) -> None:
    """A batch whose plans are off, and called certified all the same, is counted as wrong."""
    rows = plant_rows(SEED, 6, 50)
    found = solve_rows(rows)
    tally, off = judge_rows(rows, replace(found, x=found.x * lie, valid=found.multiplier >= 0.0))
    assert tally.rows["wrong"] == off.sum() >= 40


@pytest.mark.parametrize("index", range(2 * len(FAMILIES)))
def test_the_planted_choice_is_optimal(index: int) -> None:
    planted = plant_menu(SEED, index)
    assert best_by_table(planted.instance, 2000) in (None, planted.objective)
    solution = zp.solve(planted.instance)
    losses = planted.instance.losses[planted.instance.rows(solution.choice)].tolist()
    assert sum(map(Fraction, losses), Fraction(0)) == planted.objective


def accepts(check: Any, document: Document) -> bool:
    try:
        check(document)
    except ValueError:
        return False
    return True


def test_every_class_of_forged_certificates_is_refused() -> None:
    made = dict.fromkeys(CERTIFICATES, 0)
    for part in range(4, 16):
        rows = plant_rows(SEED, part, ROWS)
        for row in range(ROWS):
            case = instance(rows, row)
            document = certify_exactly(case, Solution(case, rows.x[row], float(rows.least[row]))).document
            assert document is not None
            assert accepts(checker.check_certificate, document)
            for name, forge in CERTIFICATES.items():
                forged = forge(document)
                if forged is not None:
                    made[name] += 1
                    assert not accepts(checker.check_certificate, forged), name
    assert min(made.values()) > 15


def test_every_class_of_forged_choices_is_refused() -> None:
    made = dict.fromkeys(CHOICES, 0)
    for index in range(90):
        planted = plant_menu(SEED, index)
        document = zp.certify(planted.instance, zp.solve(planted.instance)).document
        assert document is not None
        assert accepts(choice_checker.check_certificate, document)
        for name, forge in CHOICES.items():
            forged = forge(document)
            if forged is not None:
                made[name] += 1
                assert not accepts(choice_checker.check_certificate, forged), name
    assert min(made.values()) > 5
