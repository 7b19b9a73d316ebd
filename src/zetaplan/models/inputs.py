"""Statistics of the inputs of a model's linears, and weights that take long to compute, kept in the cache folder.

A file is addressed by the sha256 of everything that its content depends on, so that it is never out of date. Files are
safetensors and written atomically; one that cannot be read is computed again.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zetaplan._owner import owner_of
from zetaplan.models.layer_pass import Observed, layer_pass
from zetaplan.models.matrices import matrices_of
from zetaplan.scoring.cache import VERSIONS, fingerprint, key_of
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.text.sequences import Batch, digest

Observe = Callable[[Tensor], Tensor]

#: The name of the observation X'X.
GRAM = "X'X"


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
        self._layers = [block.name for block in partition(model, "layers")]
        self._observed: dict[str, dict[str, Observed]] = {}

    def observed(self, name: str, observe: Observe, member: str) -> Observed:
        """The summed observations of the linears, and of the tensors of experts, of one decoder layer.

        name : of what `observe` computes. member : the layer, or a part of it.
        """
        layer = owner_of(member, self._layers)
        if name not in self._observed:
            self.observe(name, observe)
        return self._observed[name][layer] if layer else Observed()

    def observe(self, name: str, observe: Observe) -> None:
        """Compute the observations of all layers, each of which is kept as it is passed."""
        facts = {layer: {"sums and rows": name, "layer": layer} for layer in self._layers}
        known = {layer: found for layer, own in facts.items() if (found := self._read(own)) is not None}
        if len(known) < len(facts):
            known = {layer: self._stored(facts[layer], seen.tensors) for layer, seen in self._pass(observe)}
        self._observed[name] = {layer: Observed.of(tensors) for layer, tensors in known.items()}

    def kept(self, facts: Mapping[str, object], compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors that depend on these facts: read from the cache, or computed and stored."""
        found = self._read(facts)
        return self._stored(facts, compute()) if found is None else found

    def _read(self, facts: Mapping[str, object]) -> dict[str, Tensor] | None:
        """The tensors in the cache, mapped into memory and not copied; None if they are not there."""
        if self.folder is None:
            return None
        with suppress(OSError, SafetensorError):
            return load_file(self._file(facts), device=str(next(self.model.parameters()).device))
        return None

    def _stored(self, facts: Mapping[str, object], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors as the cache has them, or themselves where it cannot be written."""
        if self.folder is None:
            return dict(tensors)
        _store({name: tensor.contiguous() for name, tensor in tensors.items()}, self._file(facts))
        found = self._read(facts)
        return dict(tensors) if found is None else found

    def _file(self, facts: Mapping[str, object]) -> Path:
        return (self.folder or Path()) / "levels" / f"{key_of({**self.facts, **facts})}.safetensors"

    @torch.no_grad()
    def _pass(self, observe: Observe) -> Iterator[tuple[str, Observed]]:
        """The observations layer by layer."""
        model, data = self.model, self.calibration or []
        names = {matrix.stack.name for block in partition(model, "layers") for matrix in matrices_of(block).values()}
        with eval_mode(model):
            for layer, seen in layer_pass(model, data, observe, names):
                yield layer.name, seen


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
