"""Forms in which a model is written after a plan of formats. One file per form, found by its name.

Every form comes with a manifest, `zetaplan.quantized/1`: the plan, the format, size and sha256 of every stored tensor,
and the size and sha256 of every file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from zetaplan import _found
from zetaplan.errors import SpecError
from zetaplan.menus.bits import Weight
from zetaplan.models.quantize import Formats
from zetaplan.models.quantizers import Quantizer
from zetaplan.scoring import LoadedModel, Sequences

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The model that a plan is applied to.

    name : as given to `load_model`. load : loads it. text : reads the calibration text with the model's tokenizer.
    other_weights : whether its weights may be others than those that the plan was made for.
    """

    name: str
    load: Callable[[], LoadedModel]
    text: Callable[[LoadedModel], Sequences]
    other_weights: bool = False

    def require_weights_of(self, formats: Formats, sha256: str) -> None:
        """Raise SpecError if the model with this sha256 is not the one that the plan was made for."""
        if self.other_weights or sha256 == formats.facts.model_sha256:
            return
        raise SpecError(
            f"plan: it was made for the weights of {formats.facts.model!r} (sha256 {formats.facts.model_sha256[:12]}), "
            f"those of {self.name} are others ({sha256[:12]}); give --other-weights if they are a conversion of them"
        )


class Form(Protocol):
    """Interface of a module in `zetaplan.models.checkpoints`."""

    def obstacle(self, quantizer: Quantizer, weight: Weight) -> str:
        """Why the form cannot store the matrix in this format, as one phrase; "" if it can."""

    def outputs(self, out: Path) -> tuple[Path, ...]:
        """The files and folders that are created for this --out."""

    def write(self, formats: Formats, source: Source, out: Path) -> Manifest:
        """Write the model, complete or not at all, and return its manifest.

        Raises SpecError if the plan does not fit the model or the output cannot be written.
        """


def form_names() -> tuple[str, ...]:
    """The names of the forms."""
    return _found.names(sys.modules[__name__])


def find_form(name: str) -> Form:
    """The form of this name. Raises SpecError, with all names, for an unknown one."""
    return cast(Form, _found.module(sys.modules[__name__], name, argument="to"))


def require_storable(form: Form, formats: Formats) -> None:
    """Raise SpecError if the form has no place for a format of the plan; the message names the matrix."""
    for weight in formats.weights:
        quantizer = formats.quantizers[weight.name]
        if found := quantizer.obstacle(weight.rows, weight.columns) or form.obstacle(quantizer, weight):
            raise SpecError(f"plan: {weight.name!r} takes {quantizer.label}: {found}")
