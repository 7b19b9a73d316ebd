"""Statistics of the inputs of a model's linears, and weights that take long to compute, kept in the cache folder.

A file is addressed by the sha256 of everything that its content depends on, so that it is never out of date. Files are
safetensors and written atomically; one that cannot be read is computed again.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zetaplan.models.layer_pass import Observed, layer_pass
from zetaplan.models.matrices import matrices_of
from zetaplan.scoring.cache import VERSIONS, fingerprint, key_of
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.text.sequences import Batch, digest

Observe = Callable[[Tensor], Tensor]


class Inputs:
    """The unchanged model with its calibration text.

    Attributes:
        model: the model. name, sha256 : of the model, for the provenance.
        facts: what everything computed here depends on.
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: list[Batch] | None,
        folder: Path | None,
        *,
        name: str = "",
        sha256: str = "",
    ) -> None:
        self.model, self.calibration, self.folder = model, calibration, folder
        self.facts = {
            "model": fingerprint(model),
            "calibration": digest(calibration) if calibration else None,
            "device": next(model.parameters()).device.type,
            "versions": {package: version(package) for package in VERSIONS},
        }
        self.name, self.sha256 = name or type(model).__name__, sha256 or str(self.facts["model"])
        self._observed: dict[str, Observed] = {}

    def observed(self, name: str, observe: Observe) -> Observed:
        """The summed observations of every linear of the decoder layers, and of every tensor of experts.

        name : of what `observe` computes.
        """
        if name not in self._observed:
            self._observed[name] = Observed.of(self.kept({"sums and rows": name}, lambda: self._pass(observe)))
        return self._observed[name]

    def kept(self, facts: Mapping[str, object], compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors that depend on these facts: read from the cache, or computed and stored."""
        if self.folder is None:
            return dict(compute())
        file = self.folder / "levels" / f"{key_of({**self.facts, **facts})}.safetensors"
        with suppress(OSError, SafetensorError):
            return load_file(file, device=str(next(self.model.parameters()).device))
        found = {name: tensor.contiguous() for name, tensor in compute().items()}
        _store(found, file)
        return found

    @torch.no_grad()
    def _pass(self, observe: Observe) -> dict[str, Tensor]:
        model, data = self.model, self.calibration or []
        names = {matrix.stack.name for block in partition(model, "layers") for matrix in matrices_of(block).values()}
        with eval_mode(model):
            passed = [layer.tensors for _, layer in layer_pass(model, data, observe, names)]
        return {name: tensor for layer in passed for name, tensor in layer.items()}


def _store(tensors: dict[str, Tensor], file: Path) -> None:
    """Write the tensors; a failure is a warning, because they can be computed again."""
    temporary = file.with_name(f".{file.stem}.{token_hex(4)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary)
        os.replace(temporary, file)
    except (OSError, SafetensorError) as error:
        warnings.warn(f"cache: {file} cannot be written: {error}; it will be computed again", stacklevel=2)
    finally:
        with suppress(OSError):
            temporary.unlink()
