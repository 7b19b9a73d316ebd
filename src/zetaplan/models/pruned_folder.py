"""Folders of pruned models: safetensors, tokenizer, a model card, and a record of requested and removed weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from zetaplan._digits import percent
from zetaplan.documents.choices import choice_document
from zetaplan.documents.convert import plan_document
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.sparsity import sparsity_facts
from zetaplan.models.apply import Applied
from zetaplan.models.model_folder import RECORD, save_described
from zetaplan.plans.plan import Plan
from zetaplan.scoring import LoadedModel, Sequences

CARD = """---
tags: [pruned, zetaplan]
---
# {name}, {sparsity} of the linear weights removed

Pruned layer by layer with `{method}` ({structure}) after a plan by zetaplan {version}: counts per block from
{origin}. `{record}`
lists the requested and the removed weights of every block. Weights are stored dense: zeros alone save neither memory
nor time.

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
"""

ORIGIN = "the program `{program}` with the gain zeta^2 by {curvature}, certified optimal for it"
MEASURED = "measured losses: every round of the refinement has a certificate"


def record(applied: Applied, plan: Plan, loaded: LoadedModel, text: Sequences | None) -> dict[str, Any]:
    """Record of the pruning: model, plan, method and text. `note` is set if the scores are another model's."""
    scored = plan.scores.provenance.get("model_sha256")
    other = scored is not None and scored != loaded.sha256
    return _record(applied, loaded, text) | {
        "plan_sha256": plan_document(plan).sha256_,
        "note": "the plan was made from scores of other weights of this architecture" if other else None,
        "curvature": plan.scores.curvature,
        "program": plan.instance.program.name,
        "versions": dict(plan.versions),
    }


def choice_record(applied: Applied, plan: ChoicePlan, loaded: LoadedModel, text: Sequences | None) -> dict[str, Any]:
    """The record of pruning by a refined plan. `note` is set if the weights are not those that were measured."""
    facts = sparsity_facts(plan)
    same = facts.model_sha256 == loaded.sha256 and facts.method == applied.method
    calibrated = facts.calibration_sha256 == (text.sha256 if text else None)
    return _record(applied, loaded, text) | {
        "plan_sha256": choice_document(plan).sha256_,
        "note": None if same and calibrated else "the plan was measured with another model, method or calibration text",
        "curvature": None,
        "program": "choice",
        "versions": dict(plan.versions),
    }


def _record(applied: Applied, loaded: LoadedModel, text: Sequences | None) -> dict[str, Any]:
    """What every record has, whatever the plan. Keys that depend on the plan are named here to fix their order."""
    return {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "plan_sha256": None,
        "method": applied.method,
        "structure": applied.structure,
        "calibration": text.description if text else None,
        "calibration_sha256": text.sha256 if text else None,
        "note": None,
        "notes": applied.notes,
        "sparsity": applied.sparsity,
        "blocks": [asdict(block) for block in applied.blocks],
    }


def save_pruned(loaded: LoadedModel, applied: Applied, facts: dict[str, Any], folder: Path) -> None:
    """Write model, tokenizer, card and record to the folder."""
    card = CARD.format(
        name=loaded.name,
        sparsity=percent(applied.sparsity),
        method=applied.method,
        structure=applied.structure,
        version=facts["versions"].get("zetaplan", "of an unknown version"),
        origin=ORIGIN.format(**facts) if facts["curvature"] else MEASURED,
        record=RECORD,
    )
    save_described(loaded, card, facts, folder)
