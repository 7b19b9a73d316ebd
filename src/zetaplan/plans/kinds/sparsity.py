"""Sparsity per block: a share of all linear weights to remove, solved as `pruning` (Theorem 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from zetaplan.plans.kind import Kind, Words
from zetaplan.plans.options import Numbers, PlanOptions
from zetaplan.plans.request import Limit, Request
from zetaplan.plans.whole import Counts

if TYPE_CHECKING:
    from zetaplan.scoring.scores import Scores
    from zetaplan.spec.instance import Array, Instance


class SparsityOptions(PlanOptions):
    """Options of a plan of sparsity."""

    forms: ClassVar[tuple[str, ...]] = ("sparsity", "target")
    default: ClassVar[Limit] = Limit(kind="sparsity", value=0.5)

    sparsity: float | None = Field(
        None, description="Share of all linear weights to remove (0.5 if no target is given either)."
    )
    target: float | None = Field(None, description="Instead of a sparsity: how many weights to remove.")
    sizes: Numbers | None = Field(
        None, description="Whole numbers of weights; the blocks' linear weights if not given."
    )
    kappa: float = Field(1.0, description="The exponent on quality.")
    bits: float = Field(0.0, description="Declared reward per removed weight; at 0 the target binds.")
    eta: float = Field(1.0, description="Strength of the penalty; it cancels while the target binds.")


def declare(quality: Array, resource: Array, scores: Scores, request: Request, **knobs: Any) -> Instance:
    """The pruning of K blocks to the request's limit."""
    from zetaplan.spec.programs.pruning import pruning

    return pruning(quality, resource, **{request.limit.kind: request.limit.value}, **knobs)


KIND = Kind(
    name="sparsity",
    program="pruning",
    options=SparsityOptions,
    column="linear_parameters",
    given="sizes",
    limits={
        "target": "a target of {amount} to remove",
        "sparsity": "a sparsity of {value:.2%} over all layers, {amount} to remove",
    },
    declare=declare,
    whole=Counts(),
    counts="weights",
    cap=1.0,
    words=Words(
        title="Sparsity",
        unit="sparsity (share of the layer's linear weights)",
        whole="parameters to remove",
        command="prune",
        requested=(
            "Requested is the uniform plan, relaxed the optimum, both as shares; rounded is the number of parameters "
            "to remove, achieved the share that they are. Every layer's share is rounded down, and what the target "
            "still lacks is taken where most was cut off, first from layers whose cap allows it."
        ),
        multiplier="one more parameter to remove would raise the objective by {multiplier:.4g}",
        caveat="Unstructured sparsity alone promises no speed-up: it needs a sparse format and kernels that use it.",
    ),
)
