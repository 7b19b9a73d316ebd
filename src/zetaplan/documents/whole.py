"""Check that no plan in whole units is better: by the proof in the file, or by solving anew where it has none.

The stand-alone checker proves a choice from menus. What is left to see is that these are the menus of this plan: its
costs exactly, its losses as near as rounding allows, and every count that a better plan could hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from zetaplan._digits import at_most
from zetaplan.errors import ZetaplanError
from zetaplan.plans.proof import ChoiceProof
from zetaplan.plans.whole import Rounded
from zetaplan.solvers.whole.doubles import in_doubles
from zetaplan.solvers.whole.grid import Grid, whole_problem
from zetaplan.solvers.whole.menus import Menus
from zetaplan.solvers.whole.units import Units
from zetaplan.verification.menus.checker import CertificateError, check_certificate

#: Two machines may sum the same doubles in another order: K units in the last place, with room to spare.
ROUNDING = 1e-12


def whole_optimum(rounded: Rounded) -> tuple[bool, str]:
    """Whether the claim of optimality holds, and what was checked, in words."""
    if rounded.proof is not None:
        return _proved(rounded, rounded.proof)
    if not rounded.optimal:
        return True, "the file does not claim that no plan in whole units is better"
    best = rounded.whole.round(rounded.relaxed, rounded.step)
    if not best.optimal:
        return False, f"by {best.method} it is not proved that no plan in whole units is better"
    same = rounded.objective <= best.objective + ROUNDING * abs(best.objective)
    return same, f"no plan in whole units is better: solved again, with the objective {best.objective:.6g}"


def _proved(rounded: Rounded, proof: ChoiceProof) -> tuple[bool, str]:
    try:
        check_certificate(proof.model_dump(mode="json"))
        problem = whole_problem(rounded.instance, rounded.step)
    except (CertificateError, ZetaplanError) as error:
        return False, str(error)
    units = in_doubles(problem.units)
    menus = None if units is None else _menus(units, proof)
    if menus is None:
        return False, "the menus of the proof are not counts of the layers, each with its cost"
    broken = next(_broken(rounded, proof, problem.grid, menus), None)
    hidden = f"the rounding of losses may hide {at_most(menus.rounding)}"
    return broken is None, broken or f"no plan in whole units is better, as the checker proves; {hidden}"


def _menus(units: Units, proof: ChoiceProof) -> Menus | None:
    """The counts that the menus of the proof hold; None where one is not of neighbouring counts and their costs."""
    if len(proof.menus) != len(units.costs) or proof.budgets != (float(units.room),):
        return None
    low = []
    for menu, cost, most in zip(proof.menus, units.costs, units.most.tolist(), strict=True):
        used, below = menu[0][0].as_integer_ratio()
        start, rest = divmod(used, below * cost)
        if rest or not 0 <= start <= most + 1 - len(menu):
            return None
        if [used for used, _ in menu] != [float(cost * z) for z in range(start, start + len(menu))]:
            return None
        low.append(start)
    first = np.array(low, dtype=np.int64)
    return Menus(units, first, first + np.array([len(menu) - 1 for menu in proof.menus]))


def _broken(rounded: Rounded, proof: ChoiceProof, grid: Grid, menus: Menus) -> Iterator[str]:
    """What ties the proof to the plan, and does not hold."""
    if not rounded.optimal or proof.gap:
        yield "the proof is of a gap, or the file does not claim optimality"
    derived, taken = menus.choice(), np.array(proof.plan)
    if grid.plan(menus.low + taken).tolist() != rounded.units.tolist():
        yield "the proof is about another plan"
    losses = np.array([loss for menu in proof.menus for _, loss in menu])
    if not (np.abs(losses - derived.losses) <= menus.doubt[derived.owner]).all():
        yield "the losses of the proof are not those of the layers"
    multiplier = Fraction(proof.proof[0][0].multipliers[0][0])
    if not menus.cover(replace(derived, losses=losses), taken, multiplier):
        yield "a better plan may hold counts outside of the menus"
