"""Folders of models without some of their decoder layers: safetensors, tokenizer, a model card, and a record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from zetaplan.documents.choices import choice_document
from zetaplan.errors import SpecError, ZetaplanError
from zetaplan.menus.layers import layers_facts, left_out_by
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.leave_out import Expected, leave_out, mismatches
from zetaplan.models.model_folder import RECORD, changed_in, save_described
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.model.causal import few, one_line
from zetaplan.scoring.model.streamed import streamed

CARD = """---
tags: [pruned, zetaplan]
---
# {name} without {gone} of its {depth} decoder layers

The layers were chosen with measured losses by zetaplan {version}. The others are unchanged and renumbered. `{record}`
lists the names in the whole model of the layers left out, and of those that stay, in the order of the new numbers.

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
"""


def save_shortened(loaded: LoadedModel, plan: ChoicePlan, folder: Path) -> dict[str, Any]:
    """Leave the layers of the plan out of the model, in place, and write it to a new folder. Returns the record.

    The stored model is loaded and compared with the whole model whose layers return their hidden states unchanged.

    Raises:
        SpecError: the plan has other layers than the model, or leaves out none; or the configuration of the
            architecture cannot describe the model without these layers.
    """
    gone, model = left_out_by(plan), loaded.model
    if wrong := mismatches(model, plan.taken):
        raise SpecError(f"plan: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    weight = next(model.parameters())
    with changed_in(loaded, folder) as temporary, _refused(model, gone, temporary):
        expected = Expected.of(model, gone)
        facts = record(loaded, plan, gone, expected.names)
        leave_out(model, gone)
        _write(loaded, facts, temporary)
        expected.require_stored(temporary, weight.device, weight.dtype, stream=streamed(model) is not None)
    return facts


def record(loaded: LoadedModel, plan: ChoicePlan, gone: tuple[str, ...], staying: tuple[str, ...]) -> dict[str, Any]:
    """The record of a shortened model. `note` is set if the weights are not those that were measured."""
    same = layers_facts(plan).model_sha256 == loaded.sha256
    return {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "plan_sha256": choice_document(plan).sha256_,
        "left_out": list(gone),
        "layers": list(staying),
        "note": None if same else "the plan was measured with another model",
        "notes": [],
        "versions": dict(plan.versions),
    }


def _write(loaded: LoadedModel, facts: dict[str, Any], folder: Path) -> None:
    card = CARD.format(
        name=loaded.name,
        gone=len(facts["left_out"]),
        depth=len(facts["left_out"]) + len(facts["layers"]),
        version=facts["versions"].get("zetaplan", "of an unknown version"),
        record=RECORD,
    )
    save_described(loaded, card, facts, folder)


@contextmanager
def _refused(model: Any, gone: tuple[str, ...], folder: Path) -> Iterator[None]:
    """Convert what an architecture raises without these layers to a SpecError that names them."""
    try:
        yield
    except (OSError, SafetensorError):  # the disk's, which `new_folder` reports
        raise
    except Exception as error:  # configurations of transformers raise errors of many kinds
        reason = str(error) if isinstance(error, ZetaplanError) else one_line(error)
        reason = reason.removeprefix("model: ").replace(str(folder), "the new folder")
        raise SpecError(f"model: {type(model).__name__} cannot be stored without {few(gone)}: {reason}") from error
