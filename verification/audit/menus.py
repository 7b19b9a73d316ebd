"""Is a solver right when it calls a choice optimal? The classical hard families, exact truth, and a count.

Families (Pisinger 1995; Sinha & Zoltners 1979), with ties, huge ranges, curves as measured, tied blocks, several
budgets, and planted optima. The truth is a table of all sums of costs, in whole numbers, which shares nothing with the
solver; where it grows too large, the planted optimum, or else the checker alone, decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from zetaplan.errors import InfeasibleError, SolverError
from zetaplan.solvers.menus import solve_choice
from zetaplan.solvers.menus.relaxation import relax
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus
from zetaplan.spec.menus.choice import Array, Choice, integers
from zetaplan.spec.menus.declare import choice
from zetaplan.verification.menus.checker import CertificateError, check_certificate
from zetaplan.verification.menus.proof import certify_choice

TABLE = 5_000  # sums of costs that the truth may hold where all are asked,
SMALL = 500  # and where only ours is

Draw = tuple[list[Array], list[Array]]  # losses and costs of every block


@dataclass(frozen=True, eq=False)
class PlantedChoice:
    """An instance, the family that it is from, and its optimal objective where it was planted."""

    family: str
    instance: Choice
    objective: Fraction | None = None


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


def plant_choice(seed: int, index: int) -> PlantedChoice:
    """Instance `index` of a seed; it depends on nothing else."""
    rng = np.random.default_rng([seed, index])
    names = list(FAMILIES)
    family = names[index % len(names)]
    most = 25 if rng.random() < 0.05 else 8
    sizes = rng.integers(1, 9, int(np.exp(rng.uniform(0.0, np.log(most))) + 0.5))
    sizes[rng.integers(sizes.size)] = max(2, sizes.max())
    return FAMILIES[family](family, rng, sizes)


def _correlated(relation: Callable[[np.random.Generator, Array, int], Array]) -> Callable[..., PlantedChoice]:
    """Whole costs up to R = 10 ... 10,000, profits (losses with the sign turned) that depend on them."""

    def make(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
        scale = int(10 ** rng.integers(1, 5))
        costs = [rng.integers(1, scale + 1, size).astype(np.float64) for size in sizes]
        losses = [-relation(rng, cost, scale) for cost in costs]
        return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))

    return make


def _budget(rng: np.random.Generator, costs: list[Array]) -> float:
    """Half way between the cheapest and the dearest choice, or anywhere between."""
    low, high = sum(float(c.min()) for c in costs), sum(float(c.max()) for c in costs)
    share = rng.choice([0.5, rng.random()])
    return max(float(np.floor(low + share * (high - low))), low)


def _sinha_zoltners(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Within a block, costs and profits rise together: nothing is dominated."""
    costs = [np.sort(rng.integers(1, 1001, size)).astype(np.float64) for size in sizes]
    losses = [-np.sort(rng.integers(1, 1001, size)).astype(np.float64) for size in sizes]
    return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))


def _zigzag(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Sinha-Zoltners with every other option pushed above the hull."""
    costs = [np.sort(rng.integers(1, 1001, size)).astype(np.float64) for size in sizes]
    losses = [-np.sort(rng.integers(1, 1001, size)).astype(np.float64) + 50.0 * (np.arange(size) % 2) for size in sizes]
    return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))


def _even(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Subset sum with even costs and an odd budget: the bound cannot be reached."""
    costs = [2.0 * rng.integers(1, 101, size) for size in sizes]
    budget = _budget(rng, costs)
    return PlantedChoice(family, choice([-c for c in costs], costs, budget + 1.0 - budget % 2.0))


def _ties(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Few values, so that losses, costs and rates tie everywhere."""
    costs = [rng.integers(0, 4, size).astype(np.float64) for size in sizes]
    losses = [rng.integers(0, 4, size).astype(np.float64) * rng.choice([1.0, 0.1]) for size in sizes]
    return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))


def _huge(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Losses and costs over 200 orders of magnitude."""
    costs = [10.0 ** rng.uniform(-100.0, 100.0, size) for size in sizes]
    losses = [10.0 ** rng.uniform(-100.0, 100.0, size) * rng.choice([-1.0, 1.0]) for size in sizes]
    low, high = sum(float(c.min()) for c in costs), max(float(c.max()) for c in costs)
    return PlantedChoice(family, choice(losses, costs, 2.0 * low + rng.random() * high))


def _measured(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Bits of tensors: bytes of few shapes, losses near 4^-b with noise; some blocks tied or without an option."""
    bits = np.array([2.0625, 3.0625, 4.25, 4.5, 5.5, 6.5625, 8.5])
    shapes = rng.choice([2.0**18, 2.0**19, 1.5 * 2.0**19, 2.0**20], sizes.size)
    costs = [np.ceil(shape * bits / 8.0) for shape in shapes]
    losses = [rng.lognormal() * shape * 4.0**-bits * rng.lognormal(0.0, 0.2, bits.size) for shape in shapes]
    groups = [(0, 1)] if sizes.size > 2 else []
    forbid = {sizes.size - 1: (0,)} if rng.random() < 0.5 else {}
    budget = max(float(np.floor(shapes.sum() * rng.uniform(2.5, 7.0) / 8.0)), sum(float(c[1]) for c in costs))
    return PlantedChoice(family, choice(losses, costs, budget, groups=groups, forbid=forbid))


def _planted(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """A multiplier with few bits is chosen first; the options that are best at it use the budget up."""
    multiplier = float(rng.integers(1, 64)) / 16.0
    costs = [rng.integers(0, 64, size).astype(np.float64) for size in sizes]
    losses = [rng.integers(0, 4096, size) / 16.0 for size in sizes]
    best = [int(np.argmin(w + multiplier * c)) for w, c in zip(losses, costs, strict=True)]
    budget = sum(float(c[j]) for c, j in zip(costs, best, strict=True))
    objective = sum((Fraction(float(w[j])) for w, j in zip(losses, best, strict=True)), Fraction(0))
    return PlantedChoice(family, choice(losses, costs, budget), objective)


def _several(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Two budgets, up to six blocks of up to four options."""
    costs = [rng.integers(0, 20, (min(size, 4), 2)).astype(np.float64) for size in sizes[:6]]
    losses = [rng.integers(0, 100, min(size, 4)).astype(np.float64) for size in sizes[:6]]
    low, high = (np.sum([f(c, axis=0) for c in costs], axis=0) for f in (np.min, np.max))
    return PlantedChoice(family, choice(losses, costs, np.floor(low + rng.uniform(0.3, 1.0, 2) * (high - low))))


FAMILIES: dict[str, Callable[[str, np.random.Generator, Any], PlantedChoice]] = {
    "uncorrelated": _correlated(lambda rng, cost, scale: rng.integers(1, scale + 1, cost.size).astype(np.float64)),
    "weakly correlated": _correlated(
        lambda rng, cost, scale: cost + rng.integers(-(scale // 10), scale // 10 + 1, cost.size)
    ),
    "strongly correlated": _correlated(lambda rng, cost, scale: cost + float(scale // 10)),
    "subset sum": _correlated(lambda rng, cost, scale: cost),
    "even costs, odd budget": _even,
    "Sinha-Zoltners": _sinha_zoltners,
    "zig-zag": _zigzag,
    "ties": _ties,
    "huge ranges": _huge,
    "measured": _measured,
    "planted": _planted,
    "two budgets": _several,
}


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
