"""Decoder layers left out of a model: those that stay are renumbered, and its configuration describes them alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import SpecError
from zetaplan.scoring import load_model
from zetaplan.scoring.model.blocks import DEPTHS, decoder_layers, partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.text.sequences import checked_batches

#: Tolerance of the logits of the stored model, in machine epsilons of its number type, relative to their norm.
ROUNDING = 8

#: Sequences and tokens of the random text on which the stored model is compared.
COMPARED = (2, 16)

PLAIN = (bool, int, float, str, type(None))


def mismatches(model: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """Descriptions of the layers that only one of the plan, with layers of these names, and the model has."""
    own = [block.name for block in partition(model, "layers")]
    return (
        *(f"layer {name!r} is not in the model" for name in names if name not in own),
        *(f"layer {name!r} of the model is not in it" for name in own if name not in names),
    )


@dataclass(frozen=True, eq=False)
class Expected:
    """What the stored model has to have: the layers that stay, by their names in the whole model, and the logits.

    places : the numbers of these layers. settings : the plain values and buffers of the modules of each. logits :
    (B, T, V), of the whole model's own pass in which the other layers return their hidden states unchanged.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    settings: tuple[dict[str, object], ...]
    ids: Tensor
    logits: Tensor

    @classmethod
    def of(cls, model: nn.Module, without: Collection[str]) -> Expected:
        layers = decoder_layers(model)
        staying = [place for place, (name, _) in enumerate(layers) if name not in without]
        ids = _text(model)
        return cls(
            tuple(layers[place][0] for place in staying),
            tuple(staying),
            tuple(_settings(layers[place][1]) for place in staying),
            ids,
            _logits(model, ids, without),
        )

    def require_stored(self, folder: Path, device: torch.device, dtype: torch.dtype, stream: bool = False) -> None:
        """Raise SpecError or ScoringError unless the model in the folder has these layers and logits."""
        stored = load_model(folder, device=device, dtype=dtype, stream=stream).model
        layers = [layer for _, layer in decoder_layers(stored)]
        for new, (name, old, settings) in enumerate(zip(self.names, self.places, self.settings, strict=True)):
            _require_same_settings(name, settings, _settings(layers[new]), moved=old - new)
        error = float((_logits(stored, self.ids) - self.logits).norm() / self.logits.norm())
        if not error <= ROUNDING * torch.finfo(dtype).eps:
            raise SpecError(f"its logits would differ by {error:.2g} of their norm from the whole model's without them")


def leave_out(model: nn.Module, without: Collection[str]) -> None:
    """Remove decoder layers from the model and from its configuration, in place. The model is then fit for saving.

    Its layers keep their old numbers for caches: load the saved model to compute with it.
    """
    layers = decoder_layers(model)
    stack: Any = model.get_submodule(layers[0][0].rpartition(".")[0])
    staying = [place for place, (name, _) in enumerate(layers) if name not in without]
    for place in sorted(set(range(len(layers))) - set(staying), reverse=True):
        del stack[place]
    _shorten(model.config.get_text_config(decoder=True), len(layers), staying)  # type: ignore[union-attr, operator]


def _shorten(config: Any, depth: int, staying: Sequence[int]) -> None:
    """The entries of the staying layers in every list with an entry per layer, and their number."""
    for name, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and len(value) == depth and not name.endswith("token_id"):
            numbers = list(value) == list(range(depth))  # of layers, such as those with experts
            setattr(config, name, type(value)(new if numbers else value[old] for new, old in enumerate(staying)))
    for name in DEPTHS:
        if getattr(config, name, None) == depth:
            setattr(config, name, len(staying))


def _settings(layer: nn.Module) -> dict[str, object]:
    """The class, the plain values and the buffers (masks, frequencies) of every module of the layer, by name."""
    found: dict[str, object] = {}
    for name, module in layer.named_modules():
        found[name] = type(module).__name__
        plain = {key: value for key, value in vars(module).items() if isinstance(value, PLAIN)}
        found |= {f"{name}.{key}".lstrip("."): value for key, value in plain.items() if not key.startswith("_")}
    return found | {name: _digest(buffer) for name, buffer in layer.named_buffers()}


def _digest(buffer: Tensor) -> str:
    return hashlib.sha256(buffer.detach().cpu().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()[:12]


def _require_same_settings(name: str, old: dict[str, object], new: dict[str, object], moved: int) -> None:
    """Raise SpecError for a setting that differs, unless it is the number of the layer."""
    for key in old | new:
        before, after = old.get(key), new.get(key)
        if before != after and not (type(before) is type(after) is int and before - after == moved):
            raise SpecError(f"layer {name!r} would have {key or 'the class'} = {after!r} instead of {before!r}")


def _text(model: nn.Module) -> Tensor:
    embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
    return torch.randint(0, len(embedding.weight), COMPARED, generator=torch.Generator().manual_seed(0))


def _logits(model: nn.Module, ids: Tensor, without: Collection[str] = ()) -> Tensor:
    """(B, T, V) in float64, on the CPU."""
    [batch] = checked_batches({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, model=model)
    with eval_mode(model):
        return Passes(model, batch).logits(batch, without=without)[0].double().cpu()
