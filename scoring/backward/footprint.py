"""Memory of a run, estimated before its start, and the choice of the batch size and of the store of the pairs.

With w = in + out of a module, T tokens in all, a bytes per token that a pass holds (see `way`), and b bytes per number:

    passing   a (tokens of the largest batch) + fixed               the pass of one batch
    held      b sum_modules w (T - tokens of the last batch)        pairs stored in memory
    turn      max_modules w T (b + wide bytes) + 2 chunks           one module's pairs while its gradients are computed
              (for a module whose gradients come from passes of single sequences, held and turn count its N gradients)
    kept      numbers that a statistic stores per parameter
    later     for a surrogate that multiplies by H, after the pass: the numbers that it stores per parameter of one
              block, and a copy of the model in float64 unless it is in float64

Without a limit, pairs are stored in memory only if passing + held is at most what one batch of all sequences takes and
the total fits in a share of the free memory. Otherwise pairs are stored on the disk. A smaller batch therefore never
needs more memory than one batch of all sequences. The pass of a product with H holds `PRODUCT` times the activations of
the plain pass, in float64.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from zetaplan._plural import counted
from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import CHUNK, LINEAR
from zetaplan.scoring.backward.sketch import Sketch
from zetaplan.scoring.backward.statistics import Statistic
from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.text.sequences import Batch

#: Activations of a product with H, as a multiple of the plain pass: forward and backward values with their tangents.
PRODUCT = 4


@dataclass(frozen=True)
class Footprint:
    """Bytes of a run: the plain pass, stored pairs, one module's gradients, statistics, later products; see above.

    Attributes:
        whole: passing and held together if all sequences are one batch.
        apart: whether the pass has memory of its own, as on a GPU, while pairs and statistics are in main memory.
    """

    passing: int
    held: int
    turn: int
    kept: int
    later: int
    whole: int
    apart: bool

    def fits(self, memory: int | None, room: int | None) -> bool:
        """Whether pairs may be stored in memory: within the limit, else within the room and one batch's memory."""
        if memory is not None:
            return self.held + self.turn + self.kept <= memory
        if self.apart:
            return room is None or self.held + self.kept <= room
        return self.passing + self.held <= self.whole and (room is None or self.need(held=True) <= room)

    def need(self, held: bool) -> int:
        """Bytes in total, with the pairs in memory or on the disk."""
        return self.passing + self.turn + self.kept + held * self.held

    def words(self, held: bool, size: int, free: int | None) -> str:
        """The estimate in words, printed before the start."""
        where = "in memory" if held else "on the disk"
        parts = [f"{_gb(self.passing)} for a pass of {counted(size, 'sequence')}"]
        parts += [f"{_gb(self.held)} of pairs {where}"] if self.held else []
        parts += [f"{_gb(self.turn + self.kept)} for statistics"]
        known = "" if free is None else f"; {_gb(free)} are free"
        return f"memory: about {_gb(self.need(held))} beside the model ({', '.join(parts)}){known}"

    def require_least(self, memory: int | None) -> None:
        """Raise ScoringError unless the run fits with all pairs on the disk."""
        if memory is None:
            return
        if (least := self.turn + self.kept) > memory:
            raise ScoringError(
                f"memory = {memory:,} bytes: with all pairs on the disk the run still needs {self.turn:,} for the "
                f"largest module and {self.kept:,} for the statistics of the parameters; give at least {least:,}, "
                "fewer tokens, or sketch with block-fisher"
            )
        if self.later > memory:
            raise ScoringError(
                f"memory = {memory:,} bytes: the run needs {self.later:,} for the vectors of the largest block and, "
                "unless the model is in float64, a copy of it in float64; give at least that, or blocks = modules, or "
                "a one-pass surrogate such as mc-fisher"
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
    fixed: int = 0,
    drawn: int = 0,
) -> Footprint:
    """The memory of a pass over these batches, and of the products after it, on this rank.

    carried : bytes per token of a pass. fixed : bytes of a pass beside these. drawn : the number of batches at the end
    that repeat others with drawn labels.
    """
    first = next(model.parameters())
    dtype = first.dtype
    paired = {name: m for part in parts for name, m in part.modules.items() if name not in part.alone}
    widths = [width(module, sketch) for module in paired.values()] or [0]
    alone = [_own(module) for module in {name: part.modules[name] for part in parts for name in part.alone}.values()]
    tokens = [batch["labels"].numel() for batch in data]
    size, wide = dtype.itemsize, torch.promote_types(dtype, torch.float32).itemsize
    if sketch:
        size = wide
    sequences = sum(len(batch["labels"]) for batch in data)
    total, own = sum(widths) * size, sum(tokens[: len(tokens) - drawn])
    return Footprint(
        passing=round(carried * max(tokens)) + fixed,
        held=total * sum(tokens[:-1] if ranks.alone else ranks.share(tokens)) + sum(alone) * size * sequences,
        turn=max(max(widths) * sum(tokens), max(alone, default=0) * sequences) * (size + wide) + 2 * CHUNK * wide,
        kept=sum(kind.numbers * wide for kind in kinds) * sum(part.parameters for part in ranks.share(parts)),
        later=max((_vectors(model, parts, surrogate.numbers * wide) for surrogate in matrix_free), default=0),
        whole=round(carried * own) + fixed + total * sum(tokens[len(tokens) - drawn :]),
        apart=first.device.type not in ("cpu", "mps"),
    )


def fitting_size(carried: float, data: Sequence[Batch], needed: Footprint, room: int | None) -> int | None:
    """The largest number of sequences per batch whose pass fits in the room, >= 1; None if the batches fit."""
    left = None if room is None else room - needed.turn - (0 if needed.apart else needed.kept)
    if left is None or needed.passing <= left:
        return None
    tokens = max(batch["labels"].numel() for batch in data)
    fixed = needed.passing - round(carried * tokens)
    longest = max(batch["labels"].shape[1] for batch in data)
    return max(1, int((left - fixed) // (carried * longest)))


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _vectors(model: nn.Module, parts: Sequence[Block], size: int) -> int:
    """Bytes after the pass: `size` per parameter of the largest block, and a copy of the model in float64."""
    copied = next(model.parameters()).dtype != torch.float64
    return size * max(part.parameters for part in parts) + copied * 8 * sum(p.numel() for p in model.parameters())


def _own(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters(recurse=False))


def width(module: nn.Module, sketch: Sketch | None = None) -> int:
    """in + out of a linear; twice the width of a norm."""
    if not isinstance(module, LINEAR):
        return max(sum(p.shape[-2:]) if p.ndim > 1 else 2 * len(p) for p in module.parameters(recurse=False))
    shape = module.get_parameter("weight").shape
    return sum(sketch.repeats * min(sketch.rank, n) if sketch and type(module) in LINEAR else n for n in shape)
