"""The formats that every block of a model can take, and those that its shapes rule out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from zetaplan.errors import SpecError, shown
from zetaplan.measuring.blocks import Blocks
from zetaplan.measuring.estimators import find_estimator
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer, find_quantizer

#: The format that embedding and head may always take: every runtime stores them in it.
UNQUANTISED = "bf16"

#: Rows and columns of a matrix by which formats are ordered.
LARGE = (1024, 12_288)


@dataclass(frozen=True)
class Options:
    """The formats of every block, in one order, by increasing size of a large matrix.

    dropped : why formats are missing, and in how many blocks.
    """

    of: dict[str, tuple[Quantizer, ...]]
    dropped: Counter[str] = field(default_factory=Counter)


def require_formats(formats: Sequence[str], estimator: str) -> None:
    """Raise SpecError for no or unknown formats, and for formats of which the estimator gives no loss."""
    if isinstance(formats, str | bytes) or not isinstance(formats, Sequence):
        raise SpecError(f"formats = {shown(formats)}: expected a list of labels, such as ['int4-g64', 'int8-g64']")
    if not formats:
        raise SpecError("formats: expected at least one; see `zetaplan list quantizers`")
    kind, unknown = find_estimator(estimator), [label for label in formats if not find_quantizer(label).rounds]
    if unknown and kind.rounds:
        raise SpecError(
            f"estimator = {estimator!r}: it rounds the weights, and only llama.cpp can round to {', '.join(unknown)}; "
            "use the estimator linear, which takes their relative errors"
        )


def options_of(blocks: Blocks, formats: Sequence[str]) -> Options:
    """The formats that every matrix of a block can take. Raises SpecError for a block without any."""
    wanted = sorted({find_quantizer(label) for label in (*formats, UNQUANTISED)}, key=_order)
    plain = set() if UNQUANTISED in formats else {UNQUANTISED}
    dropped: Counter[str] = Counter()
    found = {
        name: _options(members, [q for q in wanted if q.label not in plain or _outside(members)], dropped)
        for name, members in blocks.items()
    }
    if empty := next((name for name, quantizers in found.items() if not quantizers), None):
        reasons = "; ".join(f"{q.label}: {reason}" for q, reason in _obstacles(blocks[empty], wanted))
        raise SpecError(f"formats: block {empty!r} can take none of them ({reasons}); add one that fits, such as q8_0")
    return Options(found, dropped)


def size(quantizer: Quantizer, members: Sequence[Weight]) -> int:
    """The bytes of the matrices of a block in one format."""
    return sum(weight.count * quantizer.size(weight.rows, weight.columns) for weight in members)


def _options(members: Sequence[Weight], wanted: Sequence[Quantizer], dropped: Counter[str]) -> tuple[Quantizer, ...]:
    ruled_out = dict(_obstacles(members, wanted))
    dropped.update(f"{quantizer.label}: {reason}" for quantizer, reason in ruled_out.items())
    return tuple(quantizer for quantizer in wanted if quantizer not in ruled_out)


def _outside(members: Sequence[Weight]) -> bool:
    """Whether the block is the embedding or the head."""
    return not any(weight.layer for weight in members)


def _order(quantizer: Quantizer) -> tuple[int, str]:
    """By the bytes of a matrix that every group and block divides, then by name."""
    return quantizer.size(*LARGE), quantizer.label


def _obstacles(members: Sequence[Weight], wanted: Sequence[Quantizer]) -> Iterator[tuple[Quantizer, str]]:
    for quantizer in wanted:
        reasons = (quantizer.obstacle(weight.rows, weight.columns) for weight in members)
        if reason := next(filter(None, reasons), None):
            yield quantizer, reason
