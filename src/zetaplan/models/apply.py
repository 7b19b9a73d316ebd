"""Sparsity plans applied to the weights, layer by layer, so that only one decoder layer's inputs are in memory.

A layer is calibrated on the outputs of its pruned predecessors, as in Wanda and SparseGPT. The inputs pass through the
layer once for the statistics of its linears. The linears are then pruned, and a second pass computes the inputs of the
next layer. A plan states how many weights of a block are removed; within a block every linear loses the same share, to
within one weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.pytorch_utils import Conv1D

from zetaplan._digits import percent
from zetaplan.errors import ScoringError, SpecError
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.pruners import GROUP, Pruner, find_pruner
from zetaplan.models.pruners.magnitude import Magnitude
from zetaplan.plans.divide import divide
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.blocks import Block, partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.text.sequences import checked_batches

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan

Structure = Literal["unstructured", "2:4"]


@dataclass(frozen=True)
class Removal:
    """Counts of one block: weights requested, removed, and zero afterwards (some may have been zero before)."""

    name: str
    parameters: int
    requested: int
    removed: int
    zeros: int


@dataclass(frozen=True)
class Applied:
    """Result of applying a plan: the method and structure, and one record per block of the plan, in its order.

    notes : linears for which the calibration text was insufficient for the method, and their treatment.
    """

    method: str
    structure: Structure
    blocks: tuple[Removal, ...]
    notes: tuple[str, ...] = ()

    @property
    def sparsity(self) -> float:
        """The share of the planned blocks' linear weights that was removed."""
        return sum(block.removed for block in self.blocks) / sum(block.parameters for block in self.blocks)


def apply_pruning(
    model: LoadedModel | nn.Module,
    plan: Plan,
    method: str = "wanda",
    batches: Batches | None = None,
    *,
    structure: Structure = "unstructured",
    progress: bool = False,
) -> Applied:
    """Remove from the model, in place, exactly the number of weights per block in the plan's whole units.

    Args:
        model: a decoder-only transformers model with the blocks of the plan.
        plan: a pruning plan.
        method: one of `pruner_names()`.
        batches: the calibration text, for every method except "magnitude".
        structure: "2:4" removes two of every four neighbours, if the plan removes 50% of every block.
        progress: show a progress bar.

    Raises:
        SpecError: the plan is no pruning plan, does not fit the model, or does not fit the structure.
        ScoringError: the method needs text and none is given, or the model cannot be run layer by layer.

    Examples:
        >>> half = zp.prune(scores, sparsity=0.5)
        >>> applied = zp.apply_pruning(model, half, "wanda", batch)
        >>> applied.sparsity
        0.5
    """
    network = model.model if isinstance(model, LoadedModel) else model
    if wrong := mismatches(network, plan):
        raise SpecError(f"plan: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    counts = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    return prune_blocks(network, plan.scores.blocks, counts, method, batches, structure=structure, progress=progress)


def mismatches(model: nn.Module, plan: Plan) -> tuple[str, ...]:
    """Descriptions of the entries of the plan that would be ignored or misread on this model; empty if it fits."""
    if plan.kind.counts != "weights":
        return (f"the plan is in {plan.unit}, not sparsity; make one with `zetaplan prune`",)
    return block_mismatches(
        model, plan.scores.blocks, dict(zip(plan.names, plan.instance.resource.tolist(), strict=True))
    )


def block_mismatches(model: nn.Module, blocks: str, planned: Mapping[str, float]) -> tuple[str, ...]:
    """Blocks whose names or numbers of linear weights differ from the planned ones. blocks : "layers" or "modules"."""
    found = {block.name: block.linear_parameters for block in partition(model, blocks)}
    return (
        *(f"layer {name!r} is not in the model" for name in planned if name not in found),
        *(f"layer {name!r} of the model is not in it" for name in found if name not in planned),
        *(
            f"layer {name!r} has {found[name]:,} linear weights, it was made for {size:,.0f}"
            for name, size in planned.items()
            if found.get(name, size) != size
        ),
    )


def prune_blocks(
    model: nn.Module,
    blocks: str,
    counts: Mapping[str, int],
    method: str,
    batches: Batches | None = None,
    *,
    structure: Structure = "unstructured",
    progress: bool = False,
) -> Applied:
    """`apply_pruning` for counts by block name, from any source; `blocks` is "layers" or "modules"."""
    pruner = find_pruner(method)
    parts = [block for block in partition(model, blocks) if block.name in counts]
    if unknown := [name for name in counts if name not in {block.name for block in parts}]:
        raise SpecError(f"counts: block {unknown[0]!r} is not in the model")
    if structure == "2:4":
        _require_groups(parts, counts)
    targets = {name: count for block in parts for name, count in divided(block, counts[block.name]).items()}
    removed: dict[str, int] = {}
    unseen: dict[str, int | None] = {}
    layers = len(partition(model, "layers"))
    with eval_mode(model), torch.no_grad(), tqdm(total=layers, desc=method, unit="layer", disable=not progress) as bar:
        for layer, observed in observed_layers(model, pruner, targets, batches):
            for name, linear in linears_of(layer.modules).items():
                if count := targets.get(name):
                    seen = observed.get(name)
                    removed[name] = prune_linear(name, linear, count, pruner, structure == "2:4", seen)
                    if pruner.calibrated and (silent := _silent_inputs(pruner, seen)) != 0:
                        unseen[name] = silent
            bar.update()
    records = tuple(_removal(block, counts[block.name], removed) for block in parts)
    return Applied(method, structure, records, _notes(pruner, unseen))


def _silent_inputs(pruner: Pruner, observed: Tensor | None) -> int | None:
    """The number of inputs that were zero at every token; None if the linear received no input."""
    return None if observed is None else int((pruner.energy(observed) == 0).sum())


def _notes(pruner: Pruner, unseen: Mapping[str, int | None]) -> tuple[str, ...]:
    never = [repr(name) for name, inputs in unseen.items() if inputs is None]
    silent = [f"{name!r} ({inputs:,})" for name, inputs in unseen.items() if inputs is not None]
    fate = "their weights are zeroed too" if pruner.clears else "their weights go first"
    return (
        *([f"linears that received no token of the text, pruned by magnitude: {', '.join(never)}"] * bool(never)),
        *([f"inputs that are zero at every token, by linear; {fate}: {', '.join(silent)}"] * bool(silent)),
    )


def divided(block: Block, count: int) -> dict[str, int]:
    """The block's count divided over its linears in proportion to their sizes, by the rule of the exports."""
    linears = linears_of(block.modules)
    sizes = [linear.get_parameter("weight").numel() for linear in linears.values()]
    if sum(sizes) != block.linear_parameters:
        raise ScoringError(f"model: {block.name!r} holds experts in one tensor, which cannot be pruned yet")
    if not 0 <= count <= sum(sizes):
        raise SpecError(f"counts[{block.name!r}] = {count}: expected between 0 and its {sum(sizes):,} linear weights")
    return dict(zip(linears, divide(count, sizes), strict=True))


def linears_of(modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The modules that hold weights to be pruned."""
    return {name: module for name, module in modules.items() if isinstance(module, nn.Linear | Conv1D)}


def _require_groups(parts: Sequence[Block], counts: Mapping[str, int]) -> None:
    for block in parts:
        if 2 * counts[block.name] != block.linear_parameters:
            share = counts[block.name] / block.linear_parameters
            raise SpecError(
                f"structure = '2:4' removes exactly 50% of every block, and the plan removes {percent(share)} of "
                f"{block.name!r}; plan with sparsity, lower and upper all 0.5, or apply it unstructured"
            )
        for name, linear in linears_of(block.modules).items():
            if _by_rows(linear).shape[1] % GROUP:
                raise SpecError(f"structure = '2:4': {name!r} has {_by_rows(linear).shape[1]} inputs, no multiple of 4")


def _by_rows(linear: nn.Module) -> Tensor:
    """The weight as (out, in), transposed for Conv1D."""
    weight = linear.get_parameter("weight")
    return weight.mT if isinstance(linear, Conv1D) else weight


def prune_linear(
    name: str, linear: nn.Module, count: int, pruner: Pruner, groups: bool, observed: Tensor | None
) -> int:
    """Prune one linear in place, by magnitude if its inputs are unknown. Returns the number of removed weights."""
    left, removed = pruned(name, linear, count, pruner, groups, observed)
    linear.get_parameter("weight").copy_(left)
    return removed


def pruned(
    name: str, linear: nn.Module, count: int, pruner: Pruner, groups: bool, observed: Tensor | None
) -> tuple[Tensor, int]:
    """The weight of a linear after pruning, as the linear stores it, and the number of removed weights."""
    stored = _by_rows(linear).detach()
    weight = stored.to(torch.promote_types(stored.dtype, torch.float32))
    if observed is not None and not observed.isfinite().all():
        raise ScoringError(f"model: the inputs of {name!r} are not finite; calibrate on other text, or in float32")
    rule = Magnitude() if pruner.calibrated and observed is None else pruner
    left, removed = rule.prune(weight, count, observed, groups)
    if not left.isfinite().all():
        raise ScoringError(f"model: {name!r} would not be finite after pruning; calibrate on other text, or in float32")
    kept = left.to(stored.dtype)
    return kept.mT if isinstance(linear, Conv1D) else kept, int(removed.sum())


def _removal(block: Block, requested: int, removed: Mapping[str, int]) -> Removal:
    linears = linears_of(block.modules)
    zeros = sum(int((linear.get_parameter("weight") == 0).sum()) for linear in linears.values())
    gone = sum(removed.get(name, 0) for name in linears)
    return Removal(block.name, block.linear_parameters, requested, gone, zeros)


def observed_layers(
    model: nn.Module, pruner: Pruner, targets: Mapping[str, object], batches: Batches | None
) -> Iterator[tuple[Block, dict[str, Tensor]]]:
    """The decoder layers with the input statistics of their linears, if the method is calibrated."""
    if not pruner.calibrated:
        return ((block, {}) for block in partition(model, "layers"))
    if batches is None:
        raise ScoringError(f"batches: {type(pruner).__name__} needs a calibration text; give one, or use 'magnitude'")
    return layer_pass(model, checked_batches(batches, model=model), pruner.observe, targets)
