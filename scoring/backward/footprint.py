"""Memory beyond the plain pass, by formula, before the run; and the choice that follows from a limit.

With w = in + out of a module, T tokens in all, and b bytes per number:

    held      b sum_modules w (T - tokens of the last batch)        pairs that wait in memory
    turn      max_modules w T (b + wide bytes) + 2 chunks           one module's pairs while its gradients are formed
    kept      numbers that a statistic keeps of each parameter
    later     of a surrogate that multiplies by H, after the pass: the numbers that it keeps of each parameter of one
              block, and a copy of the model in float64 unless it is one

What a product itself needs is a pass with more to carry: three to four times the activations, twice as wide in float64.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import CHUNK, LINEAR
from zetaplan.scoring.backward.sketch import Sketch
from zetaplan.scoring.backward.statistics import Statistic
from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.text.sequences import Batch

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def as_bytes(size: str | int | None) -> int | None:
    """2_000_000_000 for "2GB"; powers of 1024 for KiB, MiB, GiB."""
    if size is None or isinstance(size, int):
        return size
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?i?)b?\s*", size.lower())
    if not match or match[2] not in UNITS or match[1].count(".") > 1:
        raise ScoringError(f"memory: expected a size as 2GB, 500MB or 1GiB, got {size!r}")
    return int(float(match[1]) * UNITS[match[2]])


@dataclass(frozen=True)
class Footprint:
    """Bytes beyond the plain pass: pairs that wait, one module's turn, what statistics keep, and products later."""

    held: int
    turn: int
    kept: int
    later: int

    def fits(self, memory: int | None) -> bool:
        """Whether the pairs may wait in memory."""
        return memory is None or self.held + self.turn + self.kept <= memory

    def require_least(self, memory: int | None) -> None:
        """Raise unless the run fits when all pairs wait on the disk."""
        if memory is None:
            return
        if (least := self.turn + self.kept) > memory:
            raise ScoringError(
                f"memory = {memory:,} bytes: {self.turn:,} for the largest module and {self.kept:,} for what the "
                f"surrogate keeps of every parameter are needed even with all pairs on the disk; give at least "
                f"{least:,}, fewer tokens, or sketch with block-fisher"
            )
        if self.later > memory:
            raise ScoringError(
                f"memory = {memory:,} bytes: {self.later:,} for the vectors of the largest block, and for the model in "
                "float64 unless it is; give as much, or blocks = modules, or a one-pass surrogate such as mc-fisher"
            )


def footprint(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    kinds: Iterable[type[Statistic]],
    matrix_free: Iterable[type[MatrixFree]],
    sketch: Sketch | None,
    ranks: Ranks,
) -> Footprint:
    """What a pass over these batches, and what comes after it, needs on this rank."""
    dtype = next(model.parameters()).dtype
    widths = [_width(module, sketch) for part in parts for module in part.modules.values()]
    tokens = [batch["labels"].numel() for batch in data]
    size, wide = dtype.itemsize, torch.promote_types(dtype, torch.float32).itemsize
    if sketch:
        size = wide
    return Footprint(
        held=size * sum(widths) * sum(tokens[:-1] if ranks.alone else ranks.share(tokens)),
        turn=max(widths) * sum(tokens) * (size + wide) + 2 * CHUNK * wide,
        kept=sum(kind.numbers * wide for kind in kinds) * sum(part.parameters for part in ranks.share(parts)),
        later=max((_vectors(model, parts, surrogate.numbers * wide) for surrogate in matrix_free), default=0),
    )


def _vectors(model: nn.Module, parts: Sequence[Block], size: int) -> int:
    """Bytes after the pass, of which `size` for every parameter of the block at work."""
    copied = next(model.parameters()).dtype != torch.float64
    return size * max(part.parameters for part in parts) + copied * 8 * sum(p.numel() for p in model.parameters())


def _width(module: nn.Module, sketch: Sketch | None) -> int:
    """in + out of a linear; of a norm, twice its own width."""
    if not isinstance(module, LINEAR):
        return max(sum(p.shape[-2:]) if p.ndim > 1 else 2 * len(p) for p in module.parameters(recurse=False))
    shape = module.get_parameter("weight").shape
    return sum(sketch.repeats * min(sketch.rank, n) if sketch and type(module) in LINEAR else n for n in shape)
