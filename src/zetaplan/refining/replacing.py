"""A plan of low-rank replacements applied to the weights: a folder with the dense model, and the factors beside it.

The model gets exactly the weights that were measured. The inputs of every linear are those of the unchanged model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zetaplan._digits import percent
from zetaplan._files import canonical
from zetaplan.documents.choices import choice_document
from zetaplan.errors import SpecError
from zetaplan.menus.low_rank import kept_weights, rank_facts, ranks_by
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.layer_pass import layers_in_memory
from zetaplan.models.model_folder import changed_in, save_model
from zetaplan.models.pruned_folder import RECORD
from zetaplan.models.quantize import mismatches
from zetaplan.models.weights import weights
from zetaplan.refining.inputs import Inputs
from zetaplan.refining.levels._shares import require_calibration
from zetaplan.refining.levels.replacement import PLAIN, as_stored, low_rank_factors
from zetaplan.scoring import LoadedModel, Sequences
from zetaplan.scoring.model.streamed import keep
from zetaplan.scoring.text.sequences import checked_batches

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


def save_replaced(loaded: LoadedModel, plan: ChoicePlan, text: Sequences | None, folder: Path) -> dict[str, Any]:
    """Replace the linears of the model by the ranks of the plan, in place, and write it to a new folder.

    Returns the record.

    Raises:
        SpecError: the plan decides no ranks, or has other matrices than the model.
        ScoringError: the method needs text and none is given.
    """
    method, ranks, model = rank_facts(plan).method, ranks_by(plan), loaded.model
    if wrong := mismatches(model, rank_facts(plan).items()):
        raise SpecError(f"plan: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    inputs = Inputs(model, checked_batches(text, model=model) if text else None, None)
    if method != PLAIN:
        require_calibration(method, inputs, PLAIN)
    with changed_in(loaded, folder) as temporary:
        (temporary / FACTORS).mkdir()
        for layer in layers_in_memory(model):
            own = {name: rank for name, rank in ranks.items() if name.startswith(f"{layer.name}.")}
            save_file(_replaced(inputs, method, own), temporary / FACTORS / f"{layer.name}.safetensors")
            keep(model, model.get_submodule(layer.name))
        facts = record(loaded, plan, text)
        _write(loaded, facts, temporary)
    return facts


@torch.no_grad()
def _replaced(inputs: Inputs, method: str, ranks: dict[str, int | None]) -> dict[str, Tensor]:
    """Replace these matrices in place. Returns their factors: (count, rows, rank) and (count, rank, columns)."""
    found: dict[str, Tensor] = {}
    for weight in weights(inputs.model):
        if (rank := ranks.get(weight.name)) is not None:
            parameter = inputs.model.get_parameter(weight.name)
            left, right = low_rank_factors(inputs, method, weight, rank)
            parameter.copy_(as_stored(inputs, weight, left @ right))
            pair = {f"{weight.name}.left": left, f"{weight.name}.right": right}
            found |= {name: part.to(parameter.dtype).contiguous() for name, part in pair.items()}
    return found


def record(loaded: LoadedModel, plan: ChoicePlan, text: Sequences | None) -> dict[str, Any]:
    """The record of the replaced model. `note` is set if the weights are not those that were measured."""
    facts = rank_facts(plan)
    used = None if facts.method == PLAIN else text
    factors = sum(kept_weights(weight, plan.taken[block]) for block, weight in facts.items())
    same = facts.model_sha256 == loaded.sha256
    calibrated = facts.calibration_sha256 == (used.sha256 if used else None)
    return {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "plan_sha256": choice_document(plan).sha256_,
        "method": facts.method,
        "calibration": used.description if used else None,
        "calibration_sha256": used.sha256 if used else None,
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
    save_model(loaded, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / RECORD).write_text(canonical(json.loads(json.dumps(facts))), encoding="utf-8")
