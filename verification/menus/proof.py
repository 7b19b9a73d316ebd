"""The certificate of a choice: what its proof claims, as a document, and whether the checker accepts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from zetaplan.spec.menus.answer import Branch, ChoiceSolution, ChoiceStatus, Leaf, Stage, Tree
from zetaplan.spec.menus.choice import Choice, Indices
from zetaplan.verification.condition import Condition, Conditions
from zetaplan.verification.menus.checker import SCHEMA, CertificateError, check_certificate
from zetaplan.verification.menus.multiplier import best_multipliers


@dataclass(frozen=True, repr=False)
class ChoiceCertificate(Conditions):
    """What has been proved of a claimed choice. gap : no choice within the budgets is better by more (0: optimal).

    document : `zetaplan.certificate/2`, JSON-able, accepted by `check_certificate` exactly if `valid`; None where the
    claim is not one option per block, of which nothing can be proved.

    Examples:
        >>> menus = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3)
        >>> proof = zp.certify(menus, zp.solve(menus))
        >>> proof.valid, proof.optimal, proof.document["schema"]
        (True, True, 'zetaplan.certificate/2')
    """

    conditions: tuple[Condition, ...]
    gap: float
    document: dict[str, Any] | None

    @property
    def optimal(self) -> bool:
        """Is it proved that no choice within the budgets is better?"""
        return self.valid and self.gap == 0.0


def certify_choice(instance: Choice, solution: ChoiceSolution) -> ChoiceCertificate:
    """Prove that a choice keeps the budgets, and by how much it can be improved at most.

    The claim is that of the solution's proof: optimality, or the gap to its bound. Where the solution brings none, the
    dual bound at the best multipliers found here is used. Whatever is wrong with the claim is said by the certificate.
    """
    choice = np.asarray(solution.choice)
    if not instance.admits(choice):
        meaning = "every block takes one option of its menu that is not ruled out, and tied blocks the same"
        return ChoiceCertificate((Condition("options", math.inf, 0.0, meaning),), math.inf, None)
    tree, gap = _claim(instance, solution)
    document = _document(instance, solution, tree, gap)
    try:
        check_certificate(document)
    except CertificateError as refusal:
        name, _, meaning = str(refusal).partition(": ")
        return ChoiceCertificate(
            (*_budgets(instance, solution), Condition(name, math.inf, 0.0, meaning)), gap, document
        )
    meaning = f"no choice within the budgets is better by more than {gap!r}" if gap else "no choice is better"
    return ChoiceCertificate((*_budgets(instance, solution), Condition("gap", 0.0, 0.0, meaning)), gap, document)


def _budgets(instance: Choice, solution: ChoiceSolution) -> tuple[Condition, ...]:
    """Whether every budget is kept, exactly; the residual is the excess over the budget's size."""
    costs, found = instance.costs[instance.rows(solution.choice)], []
    for m, budget in enumerate(instance.budgets.tolist()):
        excess = max(math.fsum([*costs[:, m].tolist(), -budget]), 0.0)
        name = f"budget {m}" if instance.budgets.size > 1 else "budget"
        found.append(Condition(name, excess / budget if budget else excess, 0.0, "the total cost is within the budget"))
    return tuple(found)


def _claim(instance: Choice, solution: ChoiceSolution) -> tuple[Tree, float]:
    """The proof, and the gap that it is meant to prove."""
    if solution.proof is not None and solution.status is ChoiceStatus.OPTIMAL:
        return solution.proof, 0.0
    losses = instance.losses[instance.rows(solution.choice)].tolist()
    if solution.proof is not None and math.isfinite(solution.bound):
        return solution.proof, _up(sum(map(Fraction, losses)) - Fraction(solution.bound))
    start = np.broadcast_to(np.asarray(solution.multiplier, dtype=np.float64), instance.budgets.shape)
    multipliers = tuple(Fraction(float(m)) for m in best_multipliers(instance, start))
    tree = Tree(((Stage((multipliers,)),),))
    return tree, _up(sum(map(Fraction, losses)) - instance.dual(multipliers))


def _up(gap: Fraction | int) -> float:
    """The least double of at least 0 that is not below."""
    nearest = max(float(gap), 0.0)
    return nearest if Fraction(nearest) >= gap else math.nextafter(nearest, math.inf)


def statement(instance: Choice, choice: Sequence[int] | Indices) -> dict[str, Any]:
    """What a certificate is about, as its document holds it: the menus of the decisions, the budgets and the plan."""
    leaders = np.unique(instance.decision, return_index=True)[1].tolist()
    return {
        "menus": _menus(instance, [len(instance.labels[k]) for k in leaders]),
        "budgets": instance.budgets.tolist(),
        "plan": [int(choice[k]) for k in leaders],
    }


def _document(instance: Choice, solution: ChoiceSolution, tree: Tree, gap: float) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        **statement(instance, solution.choice),
        "gap": gap,
        "proof": [_branch(node) if isinstance(node, Branch) else _leaf(node) for node in tree.nodes],
    }


def _menus(instance: Choice, sizes: list[int]) -> list[list[list[float] | None]]:
    """Menu after menu, every option's costs and then its loss; null for an option that is ruled out."""
    menus: list[list[list[float] | None]] = [[None] * size for size in sizes]
    rows = np.column_stack((instance.costs, instance.losses)).tolist()
    for g, j, row in zip(instance.owner.tolist(), instance.option.tolist(), rows, strict=True):
        menus[g][j] = row
    return menus


def _branch(branch: Branch) -> dict[str, Any]:
    return {
        "decision": branch.decision,
        "parts": [list(part) for part in branch.parts],
        "children": list(branch.children),
    }


def _leaf(leaf: Leaf) -> list[dict[str, Any]]:
    return [
        {
            "multipliers": [[f"{m.numerator}/{m.denominator}" for m in row] for row in stage.multipliers],
            "decisions": list(stage.decisions),
        }
        for stage in leaf
    ]
