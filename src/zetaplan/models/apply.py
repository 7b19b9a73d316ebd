"""Sparsity plans applied to the weights, layer by layer, so that only one decoder layer's inputs are in memory.

A layer is calibrated on the outputs of its pruned predecessors, as in Wanda and SparseGPT. The inputs pass through the
layer once for the statistics of its matrices, which are then pruned. A second pass computes the inputs of the next
layer. A plan states how many weights of a block are removed; within a block every linear, and every expert of a stack,
loses the same share, to within one weight.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan._digits import percent
from zetaplan.errors import ScoringError, SpecError
from zetaplan.models.layer_pass import Observed, layer_pass, layers_in_memory
from zetaplan.models.matrices import Matrix, matrices_of
from zetaplan.models.pruners import GROUP, Pruner, find_pruner
from zetaplan.models.pruners.magnitude import Magnitude
from zetaplan.models.statistic import FEW, Statistic, statistic_of
from zetaplan.plans.divide import divide
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.blocks import Block, partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.streamed import keep, require_changeable
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

    notes : linears and experts for which the calibration text was insufficient for the method, and their treatment.
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
    planned = dict(zip(plan.names, plan.instance.resource.tolist(), strict=True))
    return block_mismatches(model, plan.scores.blocks, planned, plan.scores.left_out)


def block_mismatches(
    model: nn.Module, blocks: str, planned: Mapping[str, float], unscored: Collection[str] = ()
) -> tuple[str, ...]:
    """Blocks whose names or numbers of linear weights differ from the planned ones.

    blocks : as in `score`. unscored : parameters that were left out of the scores; a block of nothing else needs no
    entry in the plan.
    """
    parts, absent = partition(model, blocks), set(unscored)
    found = {p.name: p.linear_parameters for p in parts if p.name in planned or not absent >= {*p.named_parameters}}
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
    """`apply_pruning` for counts by block name, from any source; `blocks` as in `score`."""
    pruner = find_pruner(method)
    parts = [block for block in partition(model, blocks) if block.name in counts]
    if unknown := [name for name in counts if name not in {block.name for block in parts}]:
        raise SpecError(f"counts: block {unknown[0]!r} is not in the model")
    if structure == "2:4":
        _require_groups(parts, counts)
    targets = {name: count for block in parts for name, count in divided(block, counts[block.name]).items() if count}
    stacks = {matrix.stack.name for block in parts for matrix in matrices_of(block).values() if matrix.name in targets}
    removed, zeros = dict[str, int](), dict[str, int]()
    treated: dict[str, Statistic] = {}
    total = len(partition(model, "layers"))
    require_changeable(model)
    with eval_mode(model), torch.no_grad(), tqdm(total=total, desc=method, unit="layer", disable=not progress) as bar:
        for layer, observed in observed_layers(model, pruner, stacks, batches, progress):
            for name, matrix in matrices_of(layer).items():
                if count := targets.get(name):
                    treated[name] = seen = statistic_of(matrix, observed)
                    removed[name] = prune_matrix(matrix, count, pruner, structure == "2:4", seen.value)
                zeros[name] = int((matrix.weight == 0).sum())
            keep(model, model.get_submodule(layer.name))
            bar.update()
    records = tuple(_removal(block, counts[block.name], removed, zeros) for block in parts)
    return Applied(method, structure, records, _notes(pruner, treated) if pruner.calibrated else ())


def _notes(pruner: Pruner, treated: Mapping[str, Statistic]) -> tuple[str, ...]:
    never = [repr(name) for name, seen in treated.items() if seen.value is None]
    silent = [(name, _silent_inputs(pruner, seen.value)) for name, seen in treated.items() if seen.value is not None]
    pooled = [f"{name!r} ({seen.rows})" for name, seen in treated.items() if seen.pooled]
    fate = "their weights are zeroed too" if pruner.clears else "their weights go first"
    zero = [f"{name!r} ({inputs:,})" for name, inputs in silent if inputs]
    few = f"experts that fewer than {FEW} tokens reached (tokens), pruned by the inputs of all experts of their stack"
    return (
        *([f"linears that received no token of the text, pruned by magnitude: {', '.join(never)}"] * bool(never)),
        *([f"inputs that are zero at every token, by linear; {fate}: {', '.join(zero)}"] * bool(zero)),
        *([f"{few}: {', '.join(pooled)}"] * bool(pooled)),
    )


def _silent_inputs(pruner: Pruner, observed: Tensor) -> int:
    """The number of inputs that were zero at every token."""
    return int((pruner.energy(observed) == 0).sum())


def divided(block: Block, count: int) -> dict[str, int]:
    """The block's count divided over its matrices in proportion to their sizes, by the rule of the exports."""
    matrices = matrices_of(block)
    sizes = [matrix.weight.numel() for matrix in matrices.values()]
    if not 0 <= count <= sum(sizes):
        raise SpecError(f"counts[{block.name!r}] = {count}: expected between 0 and its {sum(sizes):,} linear weights")
    return dict(zip(matrices, divide(count, sizes), strict=True))


def _require_groups(parts: Sequence[Block], counts: Mapping[str, int]) -> None:
    for block in parts:
        if 2 * counts[block.name] != block.linear_parameters:
            share = counts[block.name] / block.linear_parameters
            raise SpecError(
                f"structure = '2:4' removes exactly 50% of every block, and the plan removes {percent(share)} of "
                f"{block.name!r}; plan with sparsity, lower and upper all 0.5, or apply it unstructured"
            )
        for name, matrix in matrices_of(block).items():
            if (inputs := matrix.weight.shape[1]) % GROUP:
                raise SpecError(f"structure = '2:4': {name!r} has {inputs} inputs, no multiple of 4")


def prune_matrix(matrix: Matrix, count: int, pruner: Pruner, groups: bool, observed: Tensor | None) -> int:
    """Prune one matrix in place, by magnitude if its inputs are unknown. Returns the number of removed weights."""
    left, removed = pruned(matrix, count, pruner, groups, observed)
    matrix.weight.copy_(left)
    return removed


def pruned(matrix: Matrix, count: int, pruner: Pruner, groups: bool, observed: Tensor | None) -> tuple[Tensor, int]:
    """The matrix (out, in) after pruning, in its dtype, and the number of removed weights."""
    stored, name = matrix.weight, matrix.name
    weight = stored.to(torch.promote_types(stored.dtype, torch.float32))
    if observed is not None and not observed.isfinite().all():
        raise ScoringError(f"model: the inputs of {name!r} are not finite; calibrate on other text, or in float32")
    rule = Magnitude() if pruner.calibrated and observed is None else pruner
    left, removed = rule.prune(weight, count, observed, groups)
    if not left.isfinite().all():
        raise ScoringError(f"model: {name!r} would not be finite after pruning; calibrate on other text, or in float32")
    return left.to(stored.dtype), int(removed.sum())


def _removal(block: Block, requested: int, removed: Mapping[str, int], zeros: Mapping[str, int]) -> Removal:
    names = [*matrices_of(block)]
    gone, zero = (sum(counts.get(name, 0) for name in names) for counts in (removed, zeros))
    return Removal(block.name, block.linear_parameters, requested, gone, zero)


def observed_layers(
    model: nn.Module, pruner: Pruner, targets: Collection[str], batches: Batches | None, progress: bool = False
) -> Iterator[tuple[Block, Observed]]:
    """The decoder layers with the input statistics of their matrices, if the method is calibrated."""
    if not pruner.calibrated:
        return ((block, Observed()) for block in layers_in_memory(model))
    if batches is None:
        raise ScoringError(f"batches: {type(pruner).__name__} needs a calibration text; give one, or use 'magnitude'")
    if progress:
        tqdm.write("first pass: the whole model, to record the calls of its layers", file=sys.stderr)
    return layer_pass(model, checked_batches(batches, model=model), pruner.observe, targets)
