"""A folder of the planned values in float32: for evaluation by any tool that loads transformers models.

The folder is as large as the model itself in float32; it holds the values, not the stored forms.
"""

from __future__ import annotations

from pathlib import Path

from zetaplan.menus.bits import Weight
from zetaplan.models.checkpoints import Manifest, Source
from zetaplan.models.checkpoints._folder import write_folder
from zetaplan.models.quantize import Formats
from zetaplan.models.quantizers import Quantizer

CARD = (
    "The weights are rounded to these formats and stored as the float32 values that a reader of the formats gets: for "
    "evaluation, at the full size."
)


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    return ""


def outputs(out: Path) -> tuple[Path, ...]:
    return (out,)


def write(formats: Formats, source: Source, out: Path) -> Manifest:
    return write_folder("safetensors", CARD, formats, source, out)
