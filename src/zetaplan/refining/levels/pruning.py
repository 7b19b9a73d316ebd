"""Sparsity in steps. budget : the share of the linear weights to remove, above 0 and below 1.

The inputs of a linear are those of the unchanged model, so that the weights of a level depend on nothing but the level.
By default blocks are single linears where slopes give all moves at once, and layers where every move is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil
from typing import Any

from torch import Tensor

from zetaplan import _quantities
from zetaplan.errors import ScoringError, SpecError, shown
from zetaplan.menus.sparsity import SparsityFacts
from zetaplan.models.apply import divided, pruned
from zetaplan.models.layer_pass import Observed, in_memory_with
from zetaplan.models.matrices import Matrix, matrices_of
from zetaplan.models.operating_point import Changes
from zetaplan.models.pruners import find_pruner, pruner_names
from zetaplan.models.statistic import statistic_of
from zetaplan.refining.inputs import Inputs
from zetaplan.refining.levels import Levels, by_block
from zetaplan.scoring.measure import score
from zetaplan.scoring.model.blocks import Block, partition
from zetaplan.scoring.text.sequences import Batch

STEP = "0.05"

#: Exponents of the plans by zeta^2 that a refinement may begin with, and the largest share that they remove.
KAPPAS, CAP = (0.25, 0.5, 1.0), 0.8


def methods() -> tuple[str, ...]:
    return pruner_names()


def levels(
    method: str,
    *,
    inputs: Inputs,
    budget: str,
    blocks: str | None = None,
    step: str = STEP,
    start: Any = None,
    stride: int = 1,
    moves: str = "measured",
    **_: Any,
) -> Levels:
    blocks = blocks or ("modules" if moves == "slopes" else "layers")
    share, width = _share("budget", budget), _share("step", step)
    parts = {block.name: block for block in partition(inputs.model, blocks)}
    given = by_block(start or {}, parts)
    anchors = {name: _share(f"plan[{name!r}]", given.get(name, share)) for name in parts}
    return Sparsity(method, inputs, blocks, parts, share, width, anchors, stride)


class Sparsity(Levels):
    resource, unit = "weights kept", "weights"

    def __init__(
        self,
        method: str,
        inputs: Inputs,
        kind: str,
        parts: Mapping[str, Block],
        share: Decimal,
        step: Decimal,
        anchors: Mapping[str, Decimal],
        stride: int,
    ) -> None:
        self.method, self.inputs, self.kind, self.parts = method, inputs, kind, parts
        self.calibrated = find_pruner(method).calibrated
        if self.calibrated and not inputs.calibration:
            raise ScoringError(f"calibration: {method} needs a calibration text; give one, or use 'magnitude'")
        self.sizes = {name: block.linear_parameters for name, block in parts.items()}
        self.stride = stride
        ladders = {name: _ladder(anchors[name], step / stride) for name in parts}
        self.costs = {name: {label: self.cost(name, label) for label in ladder} for name, ladder in ladders.items()}
        total = sum(self.sizes.values())
        self.budget = total - ceil(Fraction(share) * total)
        self.uniform = dict.fromkeys(parts, _label(share))

    def starts(self, data: Sequence[Batch], *, progress: bool = False) -> tuple[Mapping[str, str], ...]:
        """Uniform, and plans of the pruning program by the gains zeta^2 of the layers, on these levels."""
        scores = score(self.inputs.model, list(data), progress=progress)
        gains = dict(zip(scores.names, scores.gain.tolist(), strict=True))
        return (self.uniform, *(self._by_gain(gains, kappa) for kappa in KAPPAS))

    def _by_gain(self, gains: Mapping[str, float], kappa: float) -> Mapping[str, str]:
        """The least sum of zeta^(2 kappa) rho^2 over layers; a layer's linears count by their sizes."""
        layers = by_block({name: name for name in gains}, self.costs)
        totals = dict.fromkeys(gains, 0)
        for block, layer in layers.items():
            totals[layer] += self.sizes[block]
        losses = {
            block: {
                option: gains[layer] ** kappa * self.sizes[block] / totals[layer] * float(option) ** 2
                for option in self.costs[block]
                if float(option) <= max(CAP, float(self.uniform[block]))
            }
            for block, layer in layers.items()
        }
        return self.chosen(losses)[0]

    def spelled(self, option: str) -> str:
        """The shortest spelling of a share, such as 0.45 of "0.450" or "45%"."""
        try:
            return _label(_share("plan", option))
        except SpecError:
            return option

    def cost(self, block: str, option: str) -> int:
        return self.sizes[block] - self.removed(block, option)

    def removed(self, block: str, option: str) -> int:
        """The number of weights removed: at least the share, so that equal shares never exceed the budget."""
        return ceil(Fraction(option) * self.sizes[block])

    def values(self, block: str, option: str) -> Changes:
        part = self.parts[block]
        with in_memory_with(self.inputs.model, part.modules.values()):
            return pruned_weights(self.inputs, self.method, part, self.removed(block, option))

    def facts(self) -> dict[str, Any]:
        return SparsityFacts(
            model=self.inputs.name,
            model_sha256=self.inputs.sha256,
            blocks=self.kind,  # type: ignore[arg-type]
            method=self.method,
            calibration_sha256=self.inputs.facts["calibration"] if self.calibrated else None,  # type: ignore[arg-type]
            sizes=self.sizes,
        ).model_dump(mode="json")


def pruned_weights(inputs: Inputs, method: str, part: Block, count: int) -> dict[str, Tensor]:
    """The weights of a block without `count` of them, by the name of the parameter; those that lose none are left."""
    matrices, found = matrices_of(part), dict[str, Tensor]()
    for name, lost in divided(part, count).items():
        if not lost:
            continue
        stack, own = matrices[name].stack, matrices[name].stored(_pruned(inputs, method, matrices[name], lost))
        if stack.single:
            found[stack.parameter] = own
        else:
            found.setdefault(stack.parameter, stack.values.clone())[matrices[name].place] = own
    return found


def _pruned(inputs: Inputs, method: str, matrix: Matrix, count: int) -> Tensor:
    """Methods that use X'X take seconds for a level, so that their weights are kept; others take less than a pass."""
    pruner = find_pruner(method)
    known = inputs.observed(f"inputs of {method}", pruner.observe) if pruner.calibrated else Observed()
    seen = statistic_of(matrix, known).value
    if seen is None or seen.ndim == 1:
        return pruned(matrix, count, pruner, False, seen)[0]
    facts = {"method": method, "linear": matrix.name, "count": count}
    return inputs.kept(facts, lambda: {"weight": pruned(matrix, count, pruner, False, seen)[0]})["weight"]


def _ladder(anchor: Decimal, step: Decimal) -> list[str]:
    """The shares anchor + i step within [0, 1), largest first: in the order of their costs."""
    below = int(anchor / step)
    count = int((1 - anchor) / step) + below
    shares = (anchor + (i - below) * step for i in range(count, -1, -1))
    return [_label(share) for share in shares if 0 <= share < 1]


def _label(share: Decimal) -> str:
    return format(share.normalize(), "f")


def _share(argument: str, text: object) -> Decimal:
    try:
        share = Decimal(str(_quantities.share(text)))
    except (ValueError, InvalidOperation):
        share = Decimal("NaN")
    least = Decimal(0) if argument.startswith("plan") else Decimal("1e-6")
    if not (share.is_finite() and least <= share < 1):
        raise SpecError(
            f"{argument} = {shown(text)}: expected a share of the weights, above 0 and below 1, such as 0.5"
        )
    return share
