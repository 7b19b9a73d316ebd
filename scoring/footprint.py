"""Memory beyond the plain pass, by formula, before the run; and the choice that follows from a limit.

With w = in + out of a module, T tokens in all, and b bytes per number:

    held      b sum_modules w (T - tokens of the last batch)        pairs that wait in memory
    turn      max_modules w T (b + wide bytes) + 2 chunks           one module's pairs while its gradients are formed
    kept      numbers that a statistic keeps of each parameter
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.blocks import Block
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.per_sequence import CHUNK, LINEAR
from zetaplan.scoring.sequences import Batch
from zetaplan.scoring.sketch import Sketch
from zetaplan.scoring.statistics import Statistic

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
    """Bytes beyond the plain pass: of the pairs that wait, of one module's turn, of what the statistics keep."""

    held: int
    turn: int
    kept: int

    def fits(self, memory: int | None) -> bool:
        """Whether the pairs may wait in memory."""
        return memory is None or self.held + self.turn + self.kept <= memory

    def require_turn(self, memory: int | None) -> None:
        """Raise unless the run fits when all pairs wait on the disk."""
        least = self.turn + self.kept
        if memory is not None and least > memory:
            raise ScoringError(
                f"memory = {memory:,} bytes: {self.turn:,} for the largest module and {self.kept:,} for what the "
                f"surrogate keeps of every parameter are needed even with all pairs on the disk; give at least "
                f"{least:,}, fewer tokens, or sketch with block-fisher"
            )


def footprint(
    parts: Sequence[Block],
    data: Sequence[Batch],
    kinds: Iterable[type[Statistic]],
    dtype: torch.dtype,
    sketch: Sketch | None,
    ranks: Ranks,
) -> Footprint:
    """What a pass over these batches needs on this rank."""
    widths = [_width(module, sketch) for part in parts for module in part.modules.values()]
    tokens = [batch["labels"].numel() for batch in data]
    size, wide = dtype.itemsize, torch.promote_types(dtype, torch.float32).itemsize
    if sketch:
        size = wide
    return Footprint(
        held=size * sum(widths) * sum(tokens[:-1] if ranks.alone else ranks.share(tokens)),
        turn=max(widths) * sum(tokens) * (size + wide) + 2 * CHUNK * wide,
        kept=sum(kind.numbers * wide for kind in kinds) * sum(part.parameters for part in ranks.share(parts)),
    )


def _width(module: nn.Module, sketch: Sketch | None) -> int:
    """in + out of a linear; of a norm, twice its own width."""
    if not isinstance(module, LINEAR):
        return max(sum(p.shape[-2:]) if p.ndim > 1 else 2 * len(p) for p in module.parameters(recurse=False))
    shape = module.get_parameter("weight").shape
    return sum(sketch.repeats * min(sketch.rank, n) if sketch and type(module) in LINEAR else n for n in shape)
