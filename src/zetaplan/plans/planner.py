"""Planning from scores: the instance of a request, its optimum under all bounds, the whole units and the proof."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from zetaplan import __version__
from zetaplan._records import checked
from zetaplan._signature import takes
from zetaplan.drift.cost import stated_costs
from zetaplan.errors import CertificateError, SpecError, require
from zetaplan.plans.bounds import feasible, grouped, least_of_all, require_range, requirements
from zetaplan.plans.kind import Kind
from zetaplan.plans.kinds import kind_for, kind_of
from zetaplan.plans.kinds.experts import ExpertsOptions
from zetaplan.plans.kinds.sparsity import SparsityOptions
from zetaplan.plans.notes import warnings
from zetaplan.plans.options import PlanOptions
from zetaplan.plans.plan import Plan
from zetaplan.plans.proof import prove
from zetaplan.plans.request import Request
from zetaplan.plans.whole import Rounded
from zetaplan.scoring.scores import Scores
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, Arrayish, Instance
from zetaplan.spec.programs import named
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import certify


def plan(scores: Scores, *, kind: str | None = None, program: str | None = None, **options: Any) -> Plan:
    """A plan of the named kind: "rank", "experts", "sparsity" or any other file of `zetaplan.plans.kinds`.

    program : instead of a kind, the program that the kind solves: "allocation" or "pruning".
    options : the fields of the kind's options record; `allocate` and `prune` list them.

    Examples:
        >>> ranks = zp.plan(scores, kind="rank", mean_rank=4)
        >>> ranks.certificate.valid
        True
    """
    if (kind is None) == (program is None):
        raise SpecError("kind and program: give one of the two")
    found = kind_of(kind) if kind is not None else kind_for(str(program), options.get("expert_rank"))
    return make_plan(scores, found, checked(found.options, **options))


@takes(ExpertsOptions)
def allocate(scores: Scores, **options: Any) -> Plan:
    """Divide a budget of parameters over the blocks as LoRA rank, or as LoRA experts of one rank (Theorem 2).

    `allocate` makes a plan from measured scores; `zetaplan.allocation` is the program that the plan solves.

    budget : parameters, or "2%" of the parameters of all blocks that were scored; or
    mean_rank : the rank of the uniform plan with the same cost (8 if neither is given).
    costs : (K,) unit costs, also by name, resource per unit of rank; the blocks' `rank_parameters` if not given.
    lower, upper : one number, (K,), or numbers by name, with wildcards. pins : fixed values, by name.
    groups : lists of names, with wildcards, whose blocks share one value and count as one block.
    expert_rank : plan experts of this LoRA rank instead, at least one per block; all amounts then count experts.
    top_k : experts per token, for exports and `zetaplan.mixture`; a block with fewer experts uses all of them.
    gain : "raw", "net" of the noise floor, or "unbiased" (cross-fitted).
    step : the common divisor of all ranks of `rounded`, above 0.
    drift : between 0 and 1, the largest relative change of every gain covered by the regret bound of the plan.
    method : a method of `zetaplan.solve`. alpha, beta, gamma : see `zetaplan.allocation`.

    Raises SpecError or InfeasibleError for bad data, also where floors and caps leave no whole ranks, and
    CertificateError if a condition of optimality is violated by more than 1e-9.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4, step=2)
        >>> int(ranks.rounded.units.sum())  # as many as rank 4 everywhere
        12
    """
    asked = checked(ExpertsOptions, **options)
    if asked.expert_rank is not None and asked.costs is not None:
        raise SpecError(f"expert_rank = {asked.expert_rank}: expected no costs, which follow from it; leave out costs")
    return make_plan(scores, kind_of("rank" if asked.expert_rank is None else "experts"), asked)


@takes(SparsityOptions)
def prune(scores: Scores, **options: Any) -> Plan:
    """Divide a number of parameters to remove over the blocks as sparsity (Theorem 3).

    `prune` makes a plan from measured scores; `zetaplan.pruning` is the program that the plan solves.

    sparsity : share of all parameters to remove (0.5 if neither is given); or target : number of parameters to remove.
    sizes : (K,) whole numbers of parameters, also by name; the blocks' `linear_parameters` if not given.
    lower, upper : one number, (K,), or numbers by name, with wildcards. pins : fixed values, by name.
    groups : lists of names, with wildcards, whose blocks share one value and count as one block.
    gain : "raw", "net" of the noise floor, or "unbiased" (cross-fitted).
    drift : between 0 and 1, the largest relative change of every gain covered by the regret bound of the plan.
    method : a method of `zetaplan.solve`. bits, eta : see `zetaplan.pruning`.
    kappa : the exponent of `zetaplan.pruning`; by default what `zetaplan.calibrated` found for the scores, else 0.25.
    paper : take the paper's kappa = 1.

    Raises SpecError or InfeasibleError for bad data, and CertificateError if a condition of optimality is violated by
    more than 1e-9.

    Examples:
        >>> sparsity = zp.prune(scores, sparsity=0.5, upper=0.8)
        >>> int(sparsity.rounded.units.sum()) * 2 == int(scores.linear_parameters.sum())
        True
    """
    return make_plan(scores, kind_of("sparsity"), checked(SparsityOptions, **options))


def make_plan(scores: Scores, kind: Kind, options: PlanOptions) -> Plan:
    """The plan of a kind under all requirements: the optimum, its whole units, its proof, and bounds on its regret."""
    require(scores, Scores, "scores", "give what zetaplan.score returns; read a file with zetaplan.load_scores")
    require_range(scores)
    scores = grouped(scores, options.groups)
    request = request_of(kind, options)
    required = requirements(
        scores.names, options.lower, math.inf if options.upper is None else options.upper, options.pins
    )
    if kind.least:
        required.append(least_of_all(scores.names, kind.least, kind.counts))
    solution, rounded = feasible(scores.names, required, _attempt(scores, kind, request, options), kind.cap)
    certificate = certify(solution.instance, solution)
    proof, failures = prove(solution.instance, solution)
    if proof is None or not certificate.valid:
        failing = ", ".join(condition.name for condition in (*certificate.failures, *failures))
        raise CertificateError(
            f"the solution by {options.method!r} fails {failing}, so no plan was made; use method='exact'"
        )
    made = Plan(
        kind=kind,
        instance=solution.instance,
        solution=solution,
        certificate=certificate,
        rounded=rounded,
        proof=proof,
        scores=scores,
        request=request,
        regret=stated_costs(solution, scores, request.gain, request.drift),
        warnings=(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"zetaplan": __version__, "python": platform.python_version(), "numpy": np.__version__},
    )
    return replace(made, warnings=warnings(made))


def request_of(kind: Kind, options: PlanOptions) -> Request:
    """The options that determine the instance from the scores."""
    if not 0.0 < options.drift < 1.0:
        raise SpecError(f"drift = {options.drift}: expected a share of every gain, above 0 and below 1, such as 0.1")
    resource = kind.column if getattr(options, kind.given) is None else "given"
    known = {name: getattr(options, name) for name in Request.model_fields if name in type(options).model_fields}
    return checked(Request, **known, resource=resource, limit=options.limit())


def instance_of(
    kind: Kind,
    scores: Scores,
    request: Request,
    given: Arrayish | None,
    lower: Arrayish,
    upper: Arrayish,
    **knobs: float,
) -> Instance:
    """The instance of the scores and the request. given : (K,) unit costs, used if `request.resource` is "given".

    Raises SpecError for a request that this kind does not know.
    """
    for name, found, known in (
        ("request.resource", request.resource, (kind.column, "given")),
        ("request.limit.kind", request.limit.kind, tuple(kind.limits)),
    ):
        if found not in known:
            raise SpecError(f"{name} = {found!r}: a plan of kind {kind.name!r} has {' or '.join(map(repr, known))}")
    resource = kind.resource(scores, request, given)
    quality = scores.counted(request.gain)
    declared = kind.declare(quality, resource, scores, request, lower=lower, upper=upper, **knobs)
    return replace(declared, names=scores.names)


def _attempt(
    scores: Scores, kind: Kind, request: Request, options: PlanOptions
) -> Callable[[Array, Array], tuple[Solution, Rounded]]:
    """A function from floors and caps, (K,) each, to the optimum and its whole units."""
    knobs = options.knobs([scalar.name for scalar in named(kind.program).scalars], scores)
    declare = partial(instance_of, kind, scores, request, getattr(options, kind.given), **knobs)

    def attempt(lower: Array, upper: Array) -> tuple[Solution, Rounded]:
        optimum = solve(declare(lower=lower, upper=upper), method=options.method)
        return optimum, kind.whole.round(optimum, getattr(options, "step", 1))

    return attempt
