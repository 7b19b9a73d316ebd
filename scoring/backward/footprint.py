"""Memory of a run, estimated before it starts, and the choice of the batch size and of where pairs wait.

With w = in + out of a module, T tokens in all, a bytes per token that a pass carries (see `activations`), and b bytes
per number:

    passing   a (tokens of the largest batch)                       the plain pass of one batch
    held      b sum_modules w (T - tokens of the last batch)        pairs that wait in memory
    turn      max_modules w T (b + wide bytes) + 2 chunks           one module's pairs while its gradients are formed
    kept      numbers that a statistic keeps of each parameter
    later     of a surrogate that multiplies by H, after the pass: the numbers that it keeps of each parameter of one
              block, and a copy of the model in float64 unless it is one

Unless a limit is given, pairs wait in memory only where passing + held is at most what one batch of all sequences
takes, and all together fits in a share of the free memory; else they wait on the disk. So a smaller batch never needs
more than one batch of all. A product with H needs a pass with more to carry: `PRODUCT` times, in float64.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Any

import torch
from torch import nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.arguments import shown
from zetaplan.scoring.backward.per_sequence import CHUNK, LINEAR
from zetaplan.scoring.backward.sketch import Sketch
from zetaplan.scoring.backward.statistics import Statistic
from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.text.records import counted
from zetaplan.scoring.text.sequences import Batch

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


#: Activations of a product with H, in those of the plain pass: forward and backward values with their tangents.
PRODUCT = 4


def as_bytes(size: Any) -> int | None:
    """2_000_000_000 for "2GB"; powers of 1024 for KiB, MiB, GiB."""
    if size is None:
        return None
    if not isinstance(size, bool) and isinstance(size, Integral) and int(size) >= 0:
        return int(size)
    match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kmgt]?i?)b?\s*", str(size).lower(), re.ASCII)
    if not isinstance(size, str) or not match or match[2] not in UNITS:
        raise ScoringError(f"memory: expected a size as 2GB, 500MB or 1GiB, got {shown(size)}")
    return int(Fraction(match[1]) * UNITS[match[2]])


@dataclass(frozen=True)
class Footprint:
    """Bytes of a plain pass, and beyond it: pairs that wait, one module's turn, what statistics keep, products later.

    Attributes:
        whole: what passing and held are together where all sequences are one batch.
        apart: whether the pass has memory of its own, as on a GPU, while pairs and statistics lie in main memory.
    """

    passing: int
    held: int
    turn: int
    kept: int
    later: int
    whole: int
    apart: bool

    def fits(self, memory: int | None, room: int | None) -> bool:
        """Whether the pairs may wait in memory: within the limit, else within the room and what one batch takes."""
        if memory is not None:
            return self.held + self.turn + self.kept <= memory
        if self.apart:
            return room is None or self.held + self.kept <= room
        return self.passing + self.held <= self.whole and (room is None or self.need(held=True) <= room)

    def need(self, held: bool) -> int:
        """All together, with the pairs in memory or on the disk."""
        return self.passing + self.turn + self.kept + held * self.held

    def words(self, held: bool, size: int, free: int | None) -> str:
        """The estimate for people, before the start."""
        where = "in memory" if held else "on the disk"
        parts = [f"{_gb(self.passing)} for a pass of {counted(size, 'sequence')}"]
        parts += [f"{_gb(self.held)} of pairs wait {where}"] if self.held else []
        parts += [f"{_gb(self.turn + self.kept)} for statistics"]
        known = "" if free is None else f"; {_gb(free)} are free"
        return f"memory: about {_gb(self.need(held))} beside the model ({', '.join(parts)}){known}"

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
    carried: float = 0.0,
    drawn: int = 0,
) -> Footprint:
    """What a pass over these batches, and what comes after it, needs on this rank.

    carried : bytes per token of the plain pass. drawn : how many batches, at the end, repeat others at other labels.
    """
    first = next(model.parameters())
    dtype = first.dtype
    widths = [_width(module, sketch) for part in parts for module in part.modules.values()]
    tokens = [batch["labels"].numel() for batch in data]
    size, wide = dtype.itemsize, torch.promote_types(dtype, torch.float32).itemsize
    if sketch:
        size = wide
    total, own = sum(widths) * size, sum(tokens[: len(tokens) - drawn])
    return Footprint(
        passing=round(carried * max(tokens)),
        held=total * sum(tokens[:-1] if ranks.alone else ranks.share(tokens)),
        turn=max(widths) * sum(tokens) * (size + wide) + 2 * CHUNK * wide,
        kept=sum(kind.numbers * wide for kind in kinds) * sum(part.parameters for part in ranks.share(parts)),
        later=max((_vectors(model, parts, surrogate.numbers * wide) for surrogate in matrix_free), default=0),
        whole=round(carried * own) + total * sum(tokens[len(tokens) - drawn :]),
        apart=first.device.type not in ("cpu", "mps"),
    )


def fitting_size(carried: float, data: Sequence[Batch], needed: Footprint, room: int | None) -> int | None:
    """The most sequences of a batch whose pass fits in the room, at least 1; None where the batches fit as they are."""
    left = None if room is None else room - needed.turn - (0 if needed.apart else needed.kept)
    if left is None or needed.passing <= left:
        return None
    longest = max(batch["labels"].shape[1] for batch in data)
    return max(1, int(left // (carried * longest)))


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


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
