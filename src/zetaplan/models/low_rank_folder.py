"""Folders of models with linears of low rank: the dense model, the factors, tokenizer, a model card, and a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from zetaplan._digits import percent
from zetaplan.documents.choices import choice_document
from zetaplan.menus.low_rank import kept_weights, rank_facts, ranks_by
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.model_folder import RECORD, changed_in, save_described
from zetaplan.scoring import LoadedModel, Sequences

#: The subfolder of the factors, one file for every decoder layer.
FACTORS = "factors"

CARD = """---
tags: [low-rank, zetaplan]
---
# {name}, linears of low rank with {share} fewer weights

Linears were replaced by `{method}`; their ranks were chosen with measured losses by zetaplan {version}. `{record}`
lists the rank of every matrix. The weights of the model are stored dense, as products of the factors: this saves
neither memory nor time. `{factors}` holds the factors: W is replaced by `left @ right`.

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
"""


def save_low_rank(
    loaded: LoadedModel,
    layers: Iterable[tuple[str, Mapping[str, Tensor]]],
    plan: ChoicePlan,
    text: Sequences | None,
    folder: Path,
) -> dict[str, Any]:
    """Write the model to a new folder, and the factors of every layer to files beside it. Returns the record.

    layers : replaces the linears of the model in place, and yields the factors of every layer by its name.
    """
    with changed_in(loaded, folder) as temporary:
        (temporary / FACTORS).mkdir()
        for name, factors in layers:
            save_file(dict(factors), temporary / FACTORS / f"{name}.safetensors")
        facts = record(loaded, plan, text)
        _write(loaded, facts, temporary)
    return facts


def record(loaded: LoadedModel, plan: ChoicePlan, text: Sequences | None) -> dict[str, Any]:
    """The record of the replaced model. `note` is set if the weights are not those that were measured."""
    facts = rank_facts(plan)
    factors = sum(kept_weights(weight, plan.taken[block]) for block, weight in facts.items())
    same = facts.model_sha256 == loaded.sha256
    calibrated = facts.calibration_sha256 == (text.sha256 if text else None)
    return {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "plan_sha256": choice_document(plan).sha256_,
        "method": facts.method,
        "calibration": text.description if text else None,
        "calibration_sha256": text.sha256 if text else None,
        "ranks": ranks_by(plan),
        "weights": {"dense": sum(weight.numel for _, weight in facts.items()), "factors": factors},
        "note": None if same and calibrated else "the plan was measured with another model or calibration text",
        "notes": [],
        "versions": dict(plan.versions),
    }


def _write(loaded: LoadedModel, facts: dict[str, Any], folder: Path) -> None:
    counts = facts["weights"]
    card = CARD.format(
        name=loaded.name,
        share=percent(1 - counts["factors"] / counts["dense"]),
        method=facts["method"],
        version=facts["versions"].get("zetaplan", "of an unknown version"),
        record=RECORD,
        factors=FACTORS,
    )
    save_described(loaded, card, facts, folder)
