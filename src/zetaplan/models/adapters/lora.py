"""LoRA with the planned rank on every linear of a layer (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language
Models", arXiv 2106.09685), as a PEFT model.

The scale alpha / r is the same everywhere. The number of trainable parameters equals the plan's, to the unit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from torch import nn

from zetaplan.errors import CertificateError, SpecError
from zetaplan.exports import export
from zetaplan.scoring import LoadedModel

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan


def adapter(model: LoadedModel | nn.Module, plan: Plan, *, dropout: float = 0.0) -> Any:
    """A `peft.PeftModel` around the model, whose linears it replaces in place; only the adapter is trainable.

    Args:
        model: a transformers model with the blocks of the plan.
        plan: an allocation plan in ranks; a layer of rank 0 gets no adapter.
        dropout: dropout of the adapter's input during training.

    Raises:
        SpecError: PEFT is not installed, the plan has no ranks, or dropout is not 0 for a model whose linears PEFT can
            adapt only as parameters (`export` to peft lists them).
        CertificateError: the plan does not fit the model, or PEFT created another number of parameters.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4)
        >>> adapted = zp.adapter(model, ranks)
        >>> sum(p.numel() for p in adapted.parameters() if p.requires_grad) == ranks.rounded.used
        True
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise SpecError("adapter: PEFT is not installed; run: pip install 'zetaplan[peft]'") from error
    network = model.model if isinstance(model, LoadedModel) else model
    fields = json.loads(export(plan, to="peft", model=network).text)
    del fields["peft_type"]
    if dropout and (bare := fields.get("target_parameters")):
        raise SpecError(f"dropout = {dropout}: PEFT adapts {bare[0]} as a parameter, without dropout; leave it at 0")
    adapted = get_peft_model(network, LoraConfig(**fields, lora_dropout=dropout))
    found = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    if plan.request.resource == "rank_parameters" and found != plan.rounded.used:
        raise CertificateError(f"adapter: {found:,} parameters are trainable, the plan has {plan.rounded.used:,.0f}")
    return adapted
