"""Folders of models with their tokenizers. A streamed model is written from its layers, one file for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from zetaplan._files import canonical
from zetaplan.models.new_folder import new_folder
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.model.streamed import changeable, is_blank, keep_rest, streamed

#: The file of a model in one file, and the index of a model in several.
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"

#: The record of what was changed in a model.
RECORD = "zetaplan.json"


@contextmanager
def changed_in(loaded: LoadedModel, folder: Path) -> Iterator[Path]:
    """A new folder (see `new_folder`), in which the body changes the model and calls `save_model`."""
    with new_folder(folder) as temporary, changeable(loaded.model, temporary):
        yield temporary


def save_model(loaded: LoadedModel, folder: Path, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write model and tokenizer to a folder. tensors : what is stored in place of the model's own values."""
    model: Any = loaded.model
    if streamed(model):
        keep_rest(model)
        model.save_pretrained(folder, state_dict={n: v for n, v in model.state_dict().items() if not is_blank(v)})
        _join(folder)
    else:
        model.save_pretrained(folder, state_dict=tensors)
    loaded.tokenizer.save_pretrained(folder)


def save_described(loaded: LoadedModel, card: str, facts: Mapping[str, Any], folder: Path) -> None:
    """Write model and tokenizer to a folder, with a model card and the record."""
    save_model(loaded, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / RECORD).write_text(canonical(json.loads(json.dumps(facts))), encoding="utf-8")


def _join(folder: Path) -> None:
    """Give the files of the layers and the file of all other tensors their final names, and write their index."""
    files = [*sorted(folder.glob("layer-*.safetensors")), folder / WHOLE]
    places, total = dict[str, str](), 0
    for number, file in enumerate(files, 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        for key, size in _sizes(file):
            places[key], total = name, total + size
        file.rename(folder / name)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _sizes(file: Path) -> list[tuple[str, int]]:
    """The name and the bytes of every tensor of a file."""
    with safe_open(file, "pt") as tensors:
        return [(key, tensors.get_tensor(key).nbytes) for key in tensors.keys()]  # noqa: SIM118  no dict
