"""Sparsity per block, the share of its linear weights to remove, the program `pruning` (Theorem 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from zetaplan._quantities import Count, Share, Shares
from zetaplan.plans.exponent import exponent_of
from zetaplan.plans.kind import Kind, Words
from zetaplan.plans.options import Bound, PlanOptions
from zetaplan.plans.request import Limit, Request
from zetaplan.plans.whole import Counts

if TYPE_CHECKING:
    from zetaplan.scoring.scores import Scores
    from zetaplan.spec.instance import Array, Instance


class SparsityOptions(PlanOptions):
    """Options of a plan of sparsity."""

    forms: ClassVar[tuple[str, ...]] = ("sparsity", "target")
    default: ClassVar[Limit] = Limit(kind="sparsity", value=0.5)

    lower: Shares = Field(0.0, description="Smallest share to remove: one share, one per block, or by name.")
    upper: Shares | None = Field(None, description="Largest share to remove; no cap if not given.")
    pins: dict[str, Share] = Field(default_factory=dict, description="Fixed shares by name, * matches any characters.")
    sparsity: Share | None = Field(
        None, description="Share of all linear weights to remove, such as 50% (the default without a target)."
    )
    target: Count | None = Field(None, description="Instead of a sparsity, number of weights to remove, such as 60M.")
    sizes: Bound | None = Field(
        None,
        description="Numbers of weights of the blocks, whole numbers, also by name; their linear weights if not given.",
    )
    kappa: float | None = Field(
        None,
        description="Exponent of a layer's share of the gain; 0 is uniform. If not given, what `calibrate` found for "
        "the scores, else 0.25.",
    )
    paper: bool = Field(False, description="The exponent of the paper, kappa = 1.")
    bits: float = Field(0.0, description="Declared reward per removed weight; at 0 the target binds.")
    eta: float = Field(1.0, description="Weight of the penalty; without effect while the target binds.")

    def knobs(self, names: Sequence[str], scores: Scores) -> dict[str, float]:
        return {**super().knobs(names, scores), "kappa": exponent_of(scores, self.kappa, self.paper)}


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
        "sparsity": "a sparsity of {share} over all layers, {amount} to remove",
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
            "Requested is the uniform plan and relaxed is the optimum, both as shares; rounded is the number of "
            "parameters to remove, and achieved is their share. Every layer's share is rounded down. The parameters "
            "that the target still lacks are taken from the layers with the largest remainders, first from layers "
            "whose cap allows it."
        ),
        multiplier="one more parameter to remove would raise the objective by {multiplier:.4g}",
        caveat="Unstructured sparsity alone gives no speed-up: that needs a sparse format and kernels that use it.",
    ),
)
