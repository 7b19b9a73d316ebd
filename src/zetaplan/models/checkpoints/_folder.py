"""Folders of models that transformers loads: weights, tokenizer, a card, and the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from zetaplan.models.checkpoints import Manifest, Source
from zetaplan.models.checkpoints._manifest import KEPT, Stored, manifest, notes_on, sha256_of_bytes, text_of
from zetaplan.models.model_folder import RECORD, changed_in, save_model
from zetaplan.models.quantize import Formats, Rounded, require_match, rounded_matrices
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.model.streamed import Form

CARD = """---
tags: [quantized, zetaplan]
---
# {name}, {formats}

{form}

Made from `{name}` (sha256 of its weights {model}) after a plan by zetaplan {version} (sha256 {plan}). `{record}` lists
the format of every matrix, and size and sha256 of every tensor and file.

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
"""

#: What is stored of one matrix under several names, by the part that replaces `weight`.
PARTS = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape")


def write_folder(
    to: str,
    card: str,
    formats: Formats,
    source: Source,
    out: Path,
    keep: Callable[[Rounded], None] = lambda _: None,
    finish: Callable[[nn.Module], None] = lambda _: None,
    form: Form | None = None,
    notes: Sequence[str] = (),
) -> Manifest:
    """Round the model, save it to a new folder, and return the manifest.

    card : what the folder holds, in words. keep : called with every rounded matrix. finish : called after the last.
    form : makes what is stored of parameters whose matrices are rounded; None for their values.
    """
    loaded = source.load()
    source.require_weights_of(formats, loaded.sha256)
    require_match(loaded.model, formats.facts.items())
    text = source.text(loaded) if formats.calibrated else None
    blind, pooled = list[str](), list[str]()
    with changed_in(loaded, out, form) as temporary:
        for rounded in rounded_matrices(loaded.model, formats, text):
            keep(rounded)
            blind += [rounded.weight.name] * rounded.blind
            pooled += rounded.pooled
        finish(loaded.model)
        save_model(loaded, temporary, form)
        (temporary / "README.md").write_text(_card(card, formats, loaded), encoding="utf-8")
        files = {path.name: path for path in sorted(temporary.iterdir())}
        stored = {
            name: found for file in sorted(temporary.glob("*.safetensors")) for name, found in _stored(file, formats)
        }
        said = (*notes_on(blind, pooled), *notes)
        facts = manifest(to, formats, (loaded.name, loaded.sha256), stored, files, text=text, notes=said)
        (temporary / RECORD).write_text(text_of(facts), encoding="utf-8")
    return facts


def _card(form: str, formats: Formats, loaded: LoadedModel) -> str:
    numel: dict[str, int] = {}
    for weight in formats.weights:
        label = formats.quantizers[weight.name].label
        numel[label] = numel.get(label, 0) + weight.numel
    shares = [f"{count / sum(numel.values()):.1%} {label}" for label, count in sorted(numel.items())]
    return CARD.format(
        name=loaded.name,
        formats=", ".join(shares),
        form=form,
        model=loaded.sha256,
        version=formats.versions.get("zetaplan", "of an unknown version"),
        plan=formats.sha256,
        record=RECORD,
    )


def _stored(file: Path, formats: Formats) -> list[tuple[str, Stored]]:
    with safe_open(file, "pt") as tensors:
        return [(name, _described(name, tensors.get_tensor(name), formats)) for name in tensors.keys()]  # noqa: SIM118


def _described(name: str, tensor: Tensor, formats: Formats) -> Stored:
    owner, _, part = name.rpartition(".")
    matrix = f"{owner}.weight" if part in PARTS else name
    label = formats.quantizers[matrix].label if matrix in formats.quantizers else KEPT
    data = tensor.contiguous().flatten().view(torch.uint8).numpy()
    return Stored(label, tuple(tensor.shape), data.nbytes, sha256_of_bytes(data))
