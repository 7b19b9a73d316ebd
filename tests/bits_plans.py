"""Plans of formats for models, made by hand: every block offers the formats in turn, so that many types are mixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

from torch import nn

from zetaplan.menus.bits import BitsFacts, Weight
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import head_of, others, weights
from zetaplan.runtimes import find_runtime


def plan_of(
    model: nn.Module,
    labels: Sequence[str] | Callable[[Weight], str],
    *,
    sha256: str,
    runtime: str = "llama.cpp",
    name: str = "tiny",
) -> ChoicePlan:
    """A plan in which every matrix takes the given format. labels : in turn, or a function of the matrix."""
    turn = cycle(labels) if not callable(labels) else None
    found = weights(model)
    chosen = [labels(weight) if callable(labels) else next(turn) for weight in found]  # type: ignore[arg-type]
    size = find_runtime(runtime).size
    costs = [size(find_quantizer(label), weight) for label, weight in zip(chosen, found, strict=True)]
    facts = BitsFacts(
        model=name,
        model_sha256=sha256,
        weights={weight.name: (weight,) for weight in found},
        others=others(model),
        head=head_of(model),
        runtime=runtime,
    )
    menu = Menu(
        names=tuple(weight.name for weight in found),
        options=tuple((label,) for label in chosen),
        losses=((1.0,),) * len(found),
        costs=tuple(((float(cost),),) for cost in costs),
        budgets=("size",),
        units=("bytes",),
        provenance=facts.model_dump(mode="json"),
    )
    return choose(menu, sum(costs))


def planned_bytes(plan: ChoicePlan, runtime: str = "llama.cpp") -> int:
    """The bytes of all tensors of the plan's file: the matrices, and what is kept."""
    from zetaplan.menus.bits import bits_facts

    kept = find_runtime(runtime).kept
    return int(plan.solution.spent[0]) + sum(map(kept, bits_facts(plan.menu).others.values()))
