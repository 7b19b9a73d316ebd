"""Folders of models with their tokenizers. A streamed model is written from its layers, one file for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zetaplan._files import canonical
from zetaplan.models.new_folder import new_folder
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.model.stored import join_files
from zetaplan.scoring.model.streamed import Form, changeable, is_blank, keep_rest, streamed

#: The record of what was changed in a model.
RECORD = "zetaplan.json"


@contextmanager
def changed_in(loaded: LoadedModel, folder: Path, form: Form | None = None) -> Iterator[Path]:
    """A new folder (see `new_folder`), in which the body changes the model and calls `save_model` with this form."""
    with new_folder(folder) as temporary, changeable(loaded.model, temporary, form):
        yield temporary


def save_model(loaded: LoadedModel, folder: Path, form: Form | None = None) -> None:
    """Write model and tokenizer to a folder. form : makes what is stored from the parameters; None for their values."""
    model: Any = loaded.model
    own = model.state_dict()
    if by_layer := streamed(model) is not None:
        keep_rest(model)
        own = {name: value for name, value in own.items() if not is_blank(value)}
    model.save_pretrained(folder, state_dict=form(own) if form else own)
    if by_layer:
        join_files(folder)
    loaded.tokenizer.save_pretrained(folder)


def save_described(loaded: LoadedModel, card: str, facts: Mapping[str, Any], folder: Path) -> None:
    """Write model and tokenizer to a folder, with a model card and the record."""
    save_model(loaded, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / RECORD).write_text(canonical(json.loads(json.dumps(facts))), encoding="utf-8")
