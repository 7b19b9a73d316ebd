"""The audit of the choice solver: instances depend on their number alone, truths agree, and a liar is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import zetaplan as zp
from tests.menus import feasible
from zetaplan.errors import InfeasibleError
from zetaplan.spec.menus.choice import Choice
from zetaplan.verification.audit import menus as audits
from zetaplan.verification.audit.menu_families import FAMILIES, PlantedChoice, plant_choice
from zetaplan.verification.audit.menus import ChoiceAudit, audit_choice, best_by_table

SEED = 15


def small(planted: PlantedChoice) -> bool:
    return bool(np.prod(np.diff(planted.instance.first).astype(float)) <= 2000.0)


@pytest.mark.parametrize("index", range(4 * len(FAMILIES)))
def test_the_table_and_brute_force_agree(index: int) -> None:
    planted = plant_choice(SEED, index)
    again = plant_choice(SEED, index)
    assert (planted.instance.losses == again.instance.losses).all()
    assert planted.instance.budgets.tolist() == again.instance.budgets.tolist()
    if not small(planted):
        return
    found = feasible(planted.instance)
    if not found:
        with pytest.raises(InfeasibleError):
            best_by_table(planted.instance)
        return
    assert best_by_table(planted.instance) == found[0][0]
    assert planted.objective in (None, found[0][0])
    assert zp.certify(planted.instance, zp.solve(planted.instance)).optimal


def test_two_hundred_instances_without_a_wrong_answer_or_proof() -> None:
    audit = ChoiceAudit()
    for index in range(200):
        audit_choice(audit, plant_choice(SEED, index), index, references=index % 50 == 0)
    ours = audit.tallies["exact"]
    assert sum(tally.asked for tally in ours.values()) == audit.counts["proofs accepted"]
    assert sum(tally.wrong + tally.failed + tally.suboptimal for tally in ours.values()) == 0
    assert audit.failures == []
    assert set(audit.counts) <= {"proofs accepted", "forgeries refused", "infeasible instances recognised"}
    assert audit.truths["table"] > 100
    assert set(audit.tallies) == {"exact", "HiGHS, defaults", "HiGHS, gap 0", "greedy", "rounding"}


def test_a_liar_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that calls the cheapest choice optimal is counted as wrong, and its proof is refused."""
    honest = audits.solve_choice

    def lies(instance: Choice, method: str = "exact", **options: Any) -> zp.ChoiceSolution:
        solution = honest(instance, method, **options)
        rows = [
            a + int(np.argmin(instance.costs[a:b, 0])) for a, b in zip(instance.first, instance.first[1:], strict=False)
        ]
        return replace(solution, choice=instance.options_of(np.array(rows)))

    monkeypatch.setattr(audits, "solve_choice", lies)
    audit = ChoiceAudit()
    for index in range(0, 60, len(FAMILIES)):
        audit_choice(audit, plant_choice(SEED, index), index, references=False)
    tally = audit.tallies["exact"]["uncorrelated"]
    assert tally.wrong > 0
    assert audit.counts["proofs refused"] == tally.wrong
    assert all("uncorrelated" in failure for failure in audit.failures)
