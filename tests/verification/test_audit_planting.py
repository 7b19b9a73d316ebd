"""Planted instances: is the planted answer the optimum, and does every special case occur?"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.oracle import optimum
from zetaplan.spec.instance import Instance
from zetaplan.verification.audit.planting import Planted, plant
from zetaplan.verification.audit.trial import truth

SOME = range(250)


@pytest.fixture(scope="module")
def planted() -> list[Planted]:
    return [plant(7, index) for index in SOME]


def arrays(instance: Instance) -> list[list[float]]:
    return [v.tolist() for v in (instance.weight, instance.resource, instance.lower, instance.upper)]


def test_an_instance_depends_on_seed_and_number_alone(planted: list[Planted]) -> None:
    for index in reversed(range(0, len(SOME), 25)):
        again, there = plant(7, index).instance, planted[index].instance
        assert arrays(again) == arrays(there)
        assert (again.limit, again.parameters) == (there.limit, there.parameters)
    assert arrays(plant(8, 3).instance) != arrays(planted[3].instance)


def test_planted_plans_satisfy_the_optimality_conditions_in_fractions(planted: list[Planted]) -> None:
    known = [p for p in planted if p.plan is not None]
    assert len(known) > len(planted) / 3
    for p in known:
        assert p.plan is not None
        assert p.multiplier is not None
        use = sum((Fraction(d) * x for d, x in zip(p.instance.resource.tolist(), p.plan, strict=True)), Fraction(0))
        slack = (Fraction(p.instance.limit) - use) * (1 if p.instance.program.name == "allocation" else -1)
        assert slack >= 0
        assert slack * p.multiplier == 0
        for x, l, u, g in zip(p.plan, p.instance.lower.tolist(), p.instance.upper.tolist(), gradient(p), strict=True):
            assert Fraction(l) <= x
            assert x <= u
            assert x == u or g >= 0
            assert x == l or g <= 0


def gradient(p: Planted) -> list[Fraction]:
    """dL/dx layer by layer, by the formulas of the method."""
    knobs = {name: Fraction(value) for name, value in p.instance.parameters.items()}
    rows = list(
        zip(map(Fraction, p.instance.weight.tolist()), map(Fraction, p.instance.resource.tolist()), strict=True)
    )
    assert p.plan is not None
    assert p.multiplier is not None
    if p.instance.program.name == "allocation":
        price = knobs["alpha"] + p.multiplier
        return [price * c - knobs["gamma"] * w / (1 + m) for (w, c), m in zip(rows, p.plan, strict=True)]
    price = knobs["bits"] + p.multiplier
    return [2 * knobs["eta"] * w * rho - price * n for (w, n), rho in zip(rows, p.plan, strict=True)]


def test_the_truth_is_that_of_a_second_rational_solver(planted: list[Planted]) -> None:
    for p in (p for p in planted if p.instance.weight.size <= 12):
        found, (x, multiplier) = truth(p), optimum(p.instance)
        assert [float(value) for value in x] == pytest.approx(found.x.tolist(), rel=0, abs=0)
        assert found.multipliers[0] == pytest.approx(float(multiplier), rel=1e-15)


def test_every_special_case_is_planted(planted: list[Planted]) -> None:
    truths = [truth(p) for p in planted]
    instances = [p.instance for p in planted]
    assert {i.program.name for i in instances} == {"allocation", "pruning"}
    assert {i.weight.size for i in instances} >= {1, 2, 3}
    assert max(i.weight.size for i in instances) > 150
    assert min(p.spread for p in planted) < 1 < 11 < max(p.spread for p in planted)
    cases = {
        "ties of quality": [np.unique(i.weight).size < i.weight.size for i in instances],
        "layers without weight": [(i.weight == 0).any() for i in instances],
        "caps equal to floors": [(i.lower == i.upper).any() for i in instances],
        "a priced resource": [t.declared_price > 0 for t in truths],
        "a slack constraint": [t.multipliers == (0, 0) for t in truths],
        "an interval of multipliers": [t.multipliers[0] < t.multipliers[1] for t in truths],
        "the limit at the floors": [(t.side == -1).all() for t in truths],
        "the limit at the caps": [(t.side == 1).all() for t in truths],
        "costs over six decades": [i.resource.max() > 1e6 * i.resource.min() for i in instances],
        "an infinite cap": [np.isinf(i.upper).any() for i in instances],
    }
    assert [name for name, found in cases.items() if sum(map(bool, found)) < 3] == []
