"""The checker accepts a claim exactly if it is true, whatever gap, multipliers, order and branches the file brings."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.menus import choices, feasible
from zetaplan.spec.menus.choice import Choice
from zetaplan.verification.menus.checker import SCHEMA, CertificateError, check_certificate

fractions = st.tuples(st.integers(0, 100), st.integers(1, 16)).map(lambda pair: f"{pair[0]}/{pair[1]}")


@st.composite
def documents(draw: st.DrawFn, budgets: int) -> tuple[Choice, dict[str, Any]]:
    """Menus, any choice that keeps the budgets (or the cheapest), any gap, and any well-formed proof."""
    instance = draw(choices(budgets=budgets))
    menus: list[list[list[float]]] = [[] for _ in range(instance.decisions)]
    rows = np.column_stack((instance.costs, instance.losses)).tolist()
    for g, row in zip(instance.owner.tolist(), rows, strict=True):
        menus[g].append(row)
    plans = [taken for _, taken in feasible(instance)] or [(0,) * instance.decisions]
    gap = draw(st.sampled_from([0.0, 0.0, 1e-3, 1.0, 1e6]))

    def stage(decisions: list[int]) -> dict[str, Any]:
        row = st.lists(fractions, min_size=budgets, max_size=budgets)
        return {"multipliers": draw(st.lists(row, min_size=1, max_size=2)), "decisions": decisions}

    def leaf() -> list[dict[str, Any]]:
        order = draw(st.permutations(range(instance.decisions)))
        cut = draw(st.integers(0, len(order)))
        return [stage(list(order[:cut])), stage(list(order[cut:]))]

    nodes: list[Any] = [leaf()]
    if draw(st.booleans()):
        k = draw(st.integers(0, instance.decisions - 1))
        parts = [[j] for j in range(len(menus[k]))]
        nodes = [{"decision": k, "parts": parts, "children": list(range(1, len(parts) + 1))}, *(leaf() for _ in parts)]
    plan = list(draw(st.sampled_from(plans[:40])))
    data = {"schema": SCHEMA, "menus": menus, "budgets": instance.budgets.tolist(), "plan": plan}
    return instance, data | {"gap": gap, "proof": nodes}


def true(instance: Choice, document: dict[str, Any]) -> bool:
    """Does the plan keep the budgets, and is no choice better by more than the gap?"""
    found = feasible(instance)
    losses = {taken: loss for loss, taken in found}
    plan = tuple(document["plan"])
    return plan in losses and losses[plan] - Fraction(document["gap"]) <= found[0][0]


def accepted(document: dict[str, Any]) -> bool:
    try:
        check_certificate(document)
    except CertificateError as refusal:
        assert refusal.status == 1, refusal  # noqa: PT017 the file is well-formed: what it claims is not so
        return False
    return True


@settings(max_examples=300)
@given(documents(budgets=1))
def test_one_budget(case: tuple[Choice, dict[str, Any]]) -> None:
    assert accepted(case[1]) == true(*case)


@settings(max_examples=200)
@given(documents(budgets=2))
def test_two_budgets(case: tuple[Choice, dict[str, Any]]) -> None:
    assert accepted(case[1]) == true(*case)
