"""The manifest of a written model: from which plan it was made, and what is stored in which format and size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zetaplan._files import canonical, file_digest
from zetaplan.models.quantize import Formats
from zetaplan.models.statistic import FEW
from zetaplan.scoring import Sequences

SCHEMA = "zetaplan.quantized/1"
KEPT = "kept"


@dataclass(frozen=True)
class Stored:
    """A stored tensor. format : its format, "kept" where the plan does not name it. bytes : with padding."""

    format: str
    shape: tuple[int, ...]
    bytes: int
    sha256: str


def sha256_of_bytes(data: Any) -> str:
    """The sha256 of a contiguous buffer."""
    return hashlib.sha256(data).hexdigest()


def manifest(
    to: str,
    formats: Formats,
    model: tuple[str, str],
    tensors: Mapping[str, Stored],
    files: Mapping[str, Path],
    *,
    text: Sequences | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The manifest. model : name and sha256 of the source. files : what was written, by the name it will have."""
    planned = sum(stored.bytes for stored in tensors.values() if stored.format != KEPT)
    return {
        "schema": SCHEMA,
        "to": to,
        "model": model[0],
        "model_sha256": model[1],
        "plan_sha256": formats.sha256,
        "calibration": text.description if text else None,
        "calibration_sha256": text.sha256 if text else None,
        "notes": list(notes),
        "formats": {name: quantizer.label for name, quantizer in formats.quantizers.items()},
        "bytes": {"matrices": planned, "others": sum(stored.bytes for stored in tensors.values()) - planned},
        "tensors": {name: asdict(stored) | {"shape": list(stored.shape)} for name, stored in tensors.items()},
        "files": {name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for name, path in files.items()},
        "versions": dict(formats.versions),
    }


def text_of(facts: Mapping[str, Any]) -> str:
    """The manifest as the text of its file."""
    return canonical(facts)


def notes_on(blind: Sequence[str], pooled: Sequence[str]) -> list[str]:
    """Notes on matrices that a format with inputs rounded without them, or by those of all experts, by name."""
    names = ", ".join(map(repr, blind))
    few = f"experts that fewer than {FEW} tokens reached (tokens), rounded by the inputs of all experts of their stack"
    return [
        *[f"rounded to nearest, because the text gave no inputs: {names}"] * bool(blind),
        *[f"{few}: {', '.join(pooled)}"] * bool(pooled),
    ]
