"""Evaluation of the surrogates on every block.

One-pass surrogates are evaluated on all blocks at once. A matrix-free surrogate stores vectors as long as a block has
parameters, and may take minutes per block. It is therefore evaluated block by block, with one block in memory at a
time, and each block's values are cached as soon as they are computed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from torch import nn
from tqdm.auto import tqdm

from zetaplan.scoring.backward.pass_result import PassResult
from zetaplan.scoring.backward.sketch import relative_error
from zetaplan.scoring.cache import Run
from zetaplan.scoring.curvature import Curvature, MatrixFree, OnePass
from zetaplan.scoring.curvature._damping import Damping
from zetaplan.scoring.curvature._products import LinearisedBlock, in_float64
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.prediction import decreases
from zetaplan.scoring.scores import Vector
from zetaplan.scoring.text.sequences import Batch, digest

BlockValues = dict[str, Any]  # of one block: numbers, pairs of numbers, or None where the surrogate has none


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """The blocks of a model, the sequences, and the settings of the evaluation."""

    model: nn.Module
    parts: Sequence[Block]
    data: Sequence[Batch]
    held_out: Sequence[Batch] | None
    damping: Damping
    width: float
    result: PassResult
    run: Run
    ranks: Ranks
    progress: bool

    def taus(self, facts: Sequence[tuple[float, int]]) -> Vector:
        """tau of all blocks, from trace and rank of the curvatures of this rank's blocks."""
        column = self.ranks.column(np.array(facts, dtype=np.float64), len(self.parts))
        return self.damping.tau(tuple(part.name for part in self.parts), column[:, 0], column[:, 1])

    def fall(self, parts: Sequence[Block], curvatures: Sequence[Curvature], taus: Sequence[float]) -> list[BlockValues]:
        """The decrease of the loss when each of these blocks alone takes its step; no values without `held_out`."""
        if self.held_out is None:
            return [{"decrease": None, "held_out_decrease": None} for _ in parts]
        store, passes = self.result.reusable, self.result.passes
        progress = self.progress and len(parts) > 1
        falls = decreases(self.model, parts, curvatures, taus, self.data, self.held_out, store, passes, progress)
        return [dict(zip(("decrease", "held_out_decrease"), pair, strict=True)) for pair in zip(*falls, strict=True)]


def evaluate_blocks(name: str, surrogate: type[Curvature], subject: Subject) -> dict[str, Vector | None]:
    """The columns (K, ...) of `Scores` by name; with a sketch also the `relative_error` of the gains."""
    if issubclass(surrogate, OnePass):
        taus, rows = _all_at_once(surrogate, subject)
    else:
        taus, rows = _one_by_one(name, surrogate, subject)
    return {"damping": taus, **{key: _column([row[key] for row in rows], subject) for key in rows[0]}}


def _column(values: Sequence[object], subject: Subject) -> Vector | None:
    if None in values:
        return None
    return subject.ranks.column(np.array(values, dtype=np.float64), len(subject.parts))


def _all_at_once(surrogate: type[OnePass], subject: Subject) -> tuple[Vector, list[BlockValues]]:
    def of(statistics: Mapping[Any, Sequence[Any]]) -> list[OnePass]:
        return [surrogate(statistic) for statistic in subject.ranks.share(statistics[surrogate.statistic])]

    curvatures = of(subject.result.statistics)
    taus = subject.taus([(c.trace, c.rank) for c in curvatures]) if surrogate.damped else np.zeros(len(subject.parts))
    own = subject.ranks.share(taus.tolist())
    falls = subject.fall(subject.ranks.share(subject.parts), curvatures, own)
    rows = [{**_numbers(c, tau), **fall} for c, tau, fall in zip(curvatures, own, falls, strict=True)]
    if subject.result.repeats:
        alone = zip(*map(of, subject.result.repeats), strict=True)
        for row, tau, repeats in zip(rows, own, alone, strict=True):
            row["relative_error"] = relative_error(row["gain"], [c.gain(tau) for c in repeats])
    return taus, rows


def _one_by_one(name: str, surrogate: type[Curvature], subject: Subject) -> tuple[Vector, list[BlockValues]]:
    assert issubclass(surrogate, MatrixFree)  # noqa: S101  there is no third kind
    exact = cache(partial(in_float64, subject.model))
    own = subject.ranks.share(subject.parts)
    asked = {"width": subject.width, "held_out": subject.held_out and digest(subject.held_out)}

    def build(part: Block) -> MatrixFree:
        return surrogate(LinearisedBlock(subject.model, part.named_parameters, subject.data, exact), subject.width)

    def facts(part: Block) -> tuple[float, int]:
        curvature = build(part)
        return curvature.trace, curvature.rank

    def everything(part: Block, tau: float) -> BlockValues:
        curvature = build(part)
        [fall] = subject.fall([part], [curvature], [tau])
        return {**_numbers(curvature, tau), **fall}

    def kept(compute: Callable[[], Any], part: Block, **more: Any) -> Any:
        return subject.run.numbers(compute, curvature=name, block=part.name, **more)

    def shown(parts: Sequence[Block], what: str) -> Iterator[Block]:
        yield from tqdm(parts, desc=what, unit="blocks", disable=not subject.progress)

    absolute = subject.damping.mode == "absolute"
    taus = subject.taus([(0.0, 1) if absolute else kept(partial(facts, part), part) for part in shown(own, "trace")])
    pairs = zip(shown(own, name), subject.ranks.share(taus.tolist()), strict=True)
    return taus, [kept(partial(everything, part, tau), part, tau=tau, **asked) for part, tau in pairs]


def _numbers(curvature: Curvature, tau: float) -> BlockValues:
    low, high = curvature.enclosure(tau)
    return {
        "gain": curvature.gain(tau),
        "low": low,
        "high": high,
        "noise_floor": curvature.noise_floor(tau),
        "standard_error": curvature.standard_error(tau),
        "cross_fitted": curvature.cross_fitted(tau),
        "effective_dimension": curvature.effective_dimension(tau),
    }
