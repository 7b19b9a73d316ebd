"""Proof of a plan: a certificate in fractions if the stand-alone checker knows the program, else an Arb enclosure.

Some programs have a rational optimum: a certificate in fractions proves the plan, and the checker needs only the
standard library. Other programs, such as `precision`, have none: Arb balls, rounded outwards, enclose the optimum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from zetaplan._records import Bounds, Record, Vector
from zetaplan.spec.instance import Instance
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import TOLERANCE, certify
from zetaplan.verification.checker import PROGRAMS
from zetaplan.verification.condition import Condition
from zetaplan.verification.enclosure import Enclosure, enclose
from zetaplan.verification.menus.proof import certify_choice

BITS = 128  # working precision of an enclosure


class Claims(Record):
    """The claims of a proof, in doubles rounded upwards; `zetaplan.verification.exact` defines each number."""

    distance: float
    coupling: float
    price: float
    gap: float


class FractionProof(Record):
    """`zetaplan.certificate/1`: data, plan and declared price of a program, with the multiplier and sides as its proof.

    multiplier : a fraction of hexadecimal integers. interior, floor, cap : the indices of the layers on each side.
    """

    schema_: Literal["zetaplan.certificate/1"] = Field("zetaplan.certificate/1", alias="schema")
    program: str
    parameters: dict[str, float]
    limit: float
    weight: Vector
    resource: Vector
    lower: Vector
    upper: Bounds
    plan: Vector
    price: float
    multiplier: str
    interior: tuple[int, ...]
    floor: tuple[int, ...]
    cap: tuple[int, ...]
    claim: Claims


class EnclosureProof(Record):
    """`zetaplan.enclosure/1`: an enclosure of the optimum of the program with real weights, rounded outwards.

    distance : every layer of the plan is within distance * max(1, x) of the optimum, except layers without a unique
    optimum. multiplier, objective : (low, high) around the optimal multiplier (high is null if it has no upper bound)
    and around the optimal value. precision : bits of the arithmetic.
    """

    schema_: Literal["zetaplan.enclosure/1"] = Field("zetaplan.enclosure/1", alias="schema")
    program: str
    precision: int
    distance: float
    multiplier: tuple[float, float | None]
    objective: tuple[float, float]


class StageProof(Record):
    """Decisions that a sweep adds in this order, and the multipliers that bound what is still to be added."""

    multipliers: tuple[tuple[str, ...], ...]
    decisions: tuple[int, ...]


class ChoiceProof(Record):
    """`zetaplan.certificate/2`: that a plan in whole units is the best choice from menus of counts.

    menus : for each layer its options (what it uses, its loss). plan : (K,) the places of the options taken. gap : 0.
    """

    schema_: Literal["zetaplan.certificate/2"] = Field("zetaplan.certificate/2", alias="schema")
    menus: tuple[tuple[tuple[float, float], ...], ...]
    budgets: tuple[float]
    plan: tuple[int, ...]
    gap: float
    proof: tuple[tuple[StageProof, ...]]


Proof = FractionProof | EnclosureProof


def prove(instance: Instance, solution: Solution) -> tuple[Proof | None, Sequence[Condition]]:
    """The proof of a solution and the conditions that fail; the proof is None if any fails."""
    if instance.program.name not in PROGRAMS:
        return _enclosed(instance, solution)
    exact = certify(instance, solution, exact=True)
    if exact.failures or exact.document is None:
        return None, exact.failures
    return FractionProof.model_validate_json(json.dumps(exact.document)), ()


def prove_whole(solution: ChoiceSolution | None) -> ChoiceProof | None:
    """The proof that a plan in whole units is optimal; None where the checker does not accept one, as for its size."""
    if solution is None:
        return None
    certificate = certify_choice(solution.instance, solution)
    if not certificate.optimal:
        return None
    return ChoiceProof.model_validate_json(json.dumps(certificate.document))


def _enclosed(instance: Instance, solution: Solution) -> tuple[Proof | None, Sequence[Condition]]:
    found = enclose(instance, solution, precision=BITS)
    meaning = "every layer is near the enclosed optimum, relative where above 1"
    condition = Condition("enclosure", _distance(instance, solution, found), TOLERANCE, meaning)
    if not condition.ok:
        return None, (condition,)
    low, high = found.multiplier
    proof = EnclosureProof(
        schema="zetaplan.enclosure/1",
        program=instance.program.name,
        precision=BITS,
        distance=condition.residual,
        multiplier=(low, high if high < math.inf else None),
        objective=found.objective,
    )
    return proof, ()


def _distance(instance: Instance, solution: Solution, found: Enclosure) -> float:
    """The largest distance of a layer from the far end of its ball, relative for amounts above 1, rounded upwards."""
    low, high = found.x
    unique = (instance.weight > 0) | (low == high)
    far = np.maximum(np.abs(solution.x - low), np.abs(high - solution.x)) / np.maximum(1.0, np.abs(solution.x))
    return math.nextafter(float(np.max(far, where=unique, initial=0.0)), math.inf)
