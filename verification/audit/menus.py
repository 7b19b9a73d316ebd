"""Is a solver right when it calls a choice optimal? The families of `menu_families`, exact truth, and a count.

The truth is a table of all sums of costs, in whole numbers, which shares nothing with the solver; where it grows too
large, the planted optimum, or else the checker alone, decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from zetaplan.errors import InfeasibleError, SolverError
from zetaplan.solvers.menus import solve_choice
from zetaplan.solvers.menus.relaxation import relax
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus
from zetaplan.spec.menus.choice import Choice, integers
from zetaplan.verification.audit.menu_families import PlantedChoice
from zetaplan.verification.menus.checker import CertificateError, check_certificate
from zetaplan.verification.menus.proof import certify_choice

TABLE = 5_000  # sums of costs that the truth may hold where all are asked,
SMALL = 500  # and where only ours is


@dataclass
class ChoiceTally:
    """Counts of one contestant on one family. error : relative to the optimum, the largest."""

    asked: int = 0
    claimed: int = 0
    wrong: int = 0
    failed: int = 0
    suboptimal: int = 0
    error: float = 0.0
    seconds: float = 0.0


@dataclass
class ChoiceAudit:
    """Everything counted. truths : how many answers were compared with what. proofs : accepted by the checker.

    forged : proofs of a worse choice that were refused; accepted : those that were not.
    """

    tallies: dict[str, dict[str, ChoiceTally]] = field(default_factory=dict)
    truths: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def tally(self, contestant: str, family: str) -> ChoiceTally:
        return self.tallies.setdefault(contestant, {}).setdefault(family, ChoiceTally())

    def count(self, what: str, failure: str = "") -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        if failure:
            self.failures.append(failure)


def best_by_table(instance: Choice, most: int = TABLE) -> Fraction | None:
    """The optimal objective from the table of all sums of costs, exactly; None where it holds more than `most`.

    Raises InfeasibleError where no choice keeps the budgets.
    """
    losses, bits = integers(instance.losses)
    several = instance.budgets.size
    numbers, _ = integers(np.append(instance.costs, instance.budgets))
    costs = [tuple(numbers[several * row : several * (row + 1)]) for row in range(len(losses))]
    budgets = tuple(numbers[several * len(losses) :])
    table: dict[tuple[int, ...], int] = {(0,) * several: 0}
    for a, b in pairwise(instance.first.tolist()):
        longer: dict[tuple[int, ...], int] = {}
        for spent, lost in table.items():
            for row in range(a, b):
                total = tuple(map(int.__add__, spent, costs[row]))
                if all(map(int.__le__, total, budgets)):
                    longer[total] = min(lost + losses[row], longer.get(total, lost + losses[row]))
        table = longer
        if len(table) > most:
            return None
    if not table:
        raise InfeasibleError("budget: no choice keeps all budgets")
    return Fraction(min(table.values()), 1 << bits)


def contestants() -> dict[str, Callable[[Choice], ChoiceSolution]]:
    """Who is asked, by name: ours, HiGHS at its defaults and without a gap, greedy, rounding the relaxation down."""
    return {
        "exact": lambda instance: solve_choice(instance, time_limit=60.0),
        "HiGHS, defaults": lambda instance: solve_choice(instance, "milp", mip_rel_gap=1e-4),
        "HiGHS, gap 0": lambda instance: solve_choice(instance, "milp"),
        "greedy": lambda instance: solve_choice(instance, "greedy"),
        "rounding": _rounding,
    }


def _rounding(instance: Choice) -> ChoiceSolution:
    relaxed = relax(instance)
    return ChoiceSolution(instance, instance.options_of(relaxed.rows), float(relaxed.multiplier), method="rounding")


def audit_choice(audit: ChoiceAudit, planted: PlantedChoice, index: int, references: bool) -> None:
    """Ask ours, and with `references` all others; count answers, proofs and forgeries."""
    instance = planted.instance
    try:
        truth = best_by_table(instance, TABLE if references else SMALL)
    except InfeasibleError:
        _infeasible(audit, planted, index)
        return
    source = "table" if truth is not None else "planted" if planted.objective is not None else "proof alone"
    audit.truths[source] = audit.truths.get(source, 0) + 1
    if planted.objective is not None and truth not in (None, planted.objective):
        audit.count("disputed truths", f"{index}: table {truth}, planted {planted.objective}")
    best = truth if truth is not None else planted.objective
    for name, ask in contestants().items():
        if name == "exact":
            solution = _ask(audit, name, planted, ask, best)
            if solution is not None:
                best = _exact(solution)
                _prove(audit, planted, solution, index, truth)
        elif references and (instance.budgets.size == 1 or name.startswith("HiGHS")):
            _ask(audit, name, planted, ask, best)


def _infeasible(audit: ChoiceAudit, planted: PlantedChoice, index: int) -> None:
    try:
        solve_choice(planted.instance)
        audit.count("infeasible instances missed", f"{index}: {planted.family}: a choice where there is none")
    except InfeasibleError:
        audit.count("infeasible instances recognised")


def _exact(solution: ChoiceSolution) -> Fraction:
    losses = solution.instance.losses[solution.instance.rows(solution.choice)].tolist()
    return sum(map(Fraction, losses), Fraction(0))


def _ask(
    audit: ChoiceAudit,
    name: str,
    planted: PlantedChoice,
    ask: Callable[[Choice], ChoiceSolution],
    best: Fraction | None,
) -> ChoiceSolution | None:
    tally = audit.tally(name, planted.family)
    tally.asked += 1
    start = time.perf_counter()
    try:
        solution = ask(planted.instance)
    except SolverError:
        tally.failed += 1
        return None
    finally:
        tally.seconds += time.perf_counter() - start
    claims = solution.status is ChoiceStatus.OPTIMAL or solution.method == "milp"
    tally.claimed += claims
    if best is not None and _exact(solution) != best:
        tally.suboptimal += 1
        tally.wrong += claims
        error = (_exact(solution) - best) / abs(best) if best else Fraction(1)
        tally.error = max(tally.error, float(error))
    return solution


def _prove(
    audit: ChoiceAudit, planted: PlantedChoice, solution: ChoiceSolution, index: int, truth: Fraction | None
) -> None:
    """The proof is accepted; the same proof for a worse choice, and without a leaf's multipliers, is refused."""
    certificate = certify_choice(planted.instance, solution)
    where = f"{index}: {planted.family}"
    if not certificate.optimal:
        audit.count("proofs refused", f"{where}: {solution.status.name}, gap {certificate.gap}")
        return
    audit.count("proofs accepted")
    assert certificate.document is not None  # noqa: S101 for the type checker
    worse = _worse(solution)
    if worse is None:
        return
    forged = certificate.document | {"plan": worse}
    try:
        check_certificate(forged)
        audit.count("forgeries accepted", f"{where}: forged plan {worse}")
    except CertificateError:
        audit.count("forgeries refused")


def _worse(solution: ChoiceSolution) -> list[int] | None:
    """The plan of a choice that keeps the budgets and loses more: one block is moved to a cheaper, worse option."""
    instance, rows = solution.instance, solution.instance.rows(solution.choice)
    owner = instance.owner
    cheaper = (instance.costs <= instance.costs[rows][owner]).all(axis=1)
    found = np.flatnonzero(cheaper & (instance.losses > instance.losses[rows][owner]))
    if found.size == 0:
        return None
    moved = rows.copy()
    moved[owner[found[0]]] = found[0]
    if _exact(replace(solution, choice=instance.options_of(moved))) <= _exact(solution):
        return None
    return [int(j) for j in instance.option[moved]]
