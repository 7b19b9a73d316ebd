"""PEFT: adapter_config.json, as `peft.LoraConfig.from_pretrained` reads it.

Every key is anchored at the start and is the full name of one linear. PEFT rejects a rank of zero, so such a linear is
no target. Unless an alpha is given, the scale alpha / r is the same for every linear, so that a higher rank does not
imply a larger step. PEFT
rewrites a target if transformers has fused the experts of this model type. In that case the weight of the linear is
named as a parameter, which PEFT does not rewrite, and LoRA on it is the same function. A tensor of experts is named as
a parameter too: PEFT gives every expert of it factors of the rank of its pattern.
"""

from __future__ import annotations

import re
from typing import Any

from zetaplan._files import canonical
from zetaplan._yaml import parsed_json
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, UnitJob
from zetaplan.exports.lora import groups
from zetaplan.exports.targets import Outline, linears
from zetaplan.exports.trial import installed, kept

COUNTS, MODEL, FILE = ("ranks",), True, "adapter_config.json"

SCALE = 2  # alpha / r

Settings = dict[str, dict[str, float]]


def settings(job: UnitJob) -> Settings:
    ranks = {name: rank for name, rank in job.units.items() if rank}
    if not ranks:
        raise SpecError("every rank of the plan is 0, so there is nothing to adapt; raise the budget")
    named = {_target(name, job): rank for name, rank in ranks.items()}
    parameters = {name for name in named if name not in ranks or name in job.experts}
    return {
        "target_modules": {name: 1.0 for name in named if name not in parameters},
        "target_parameters": {name: 1.0 for name in named if name in parameters},
        "rank_pattern": {name: float(rank) for name, rank in named.items()},
        "alpha_pattern": {name: alpha(job, rank) for name, rank in named.items()},
    }


def _target(name: str, job: UnitJob) -> str:
    """The name that PEFT adapts: a module, or its weight as a parameter where PEFT would rewrite the module's name."""
    plain = job.model is None or name in job.experts or kept(name, job.model)
    return name if plain else f"{name}.weight"


def alpha(job: UnitJob, rank: float) -> float:
    """The alpha of a linear of this rank."""
    given = job.lora.lora_alpha
    return float(SCALE * rank) if given is None else given


def write(job: UnitJob) -> bytes:
    config = lora(job)
    shared = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none"}
    kinds = {module.kind for module in linears(job.modules)}
    return canonical({**shared, "fan_in_fan_out": kinds == {"Conv1D"}, **config}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed_json(data)
    if config.get("peft_type") != "LORA":
        return None
    return groups(config, model)


def usage(job: UnitJob, file: str) -> str:
    code = f"config = peft.LoraConfig.from_pretrained(FOLDER of {file}); model = peft.get_peft_model(model, config)"
    return code + untried()


def lora(job: UnitJob) -> dict[str, Any]:
    """The fields of a LoraConfig that are determined by the plan."""
    found = settings(job)
    patterns = {
        group: {f"^{re.escape(name)}": whole(value) for name, value in found[group].items()}
        for group in ("rank_pattern", "alpha_pattern")
    }
    top = max(patterns["rank_pattern"].values())
    if job.lora.lora_dropout and (bare := found["target_parameters"]):
        raise SpecError(f"lora_dropout: PEFT adapts {next(iter(bare))} as a parameter, without dropout; leave it at 0")
    targets = {"target_modules": list(found["target_modules"])}
    if found["target_parameters"]:
        targets["target_parameters"] = list(found["target_parameters"])
    knobs = {"lora_dropout": job.lora.lora_dropout, "use_rslora": job.lora.rslora}
    given = {name: value for name, value in knobs.items() if value}
    return {"r": top, "lora_alpha": whole(alpha(job, top)), **given, **targets, **patterns}


def whole(value: float) -> int | float:
    """The number, as an integer if it is whole: PEFT declares ranks and alphas as integers."""
    return int(value) if value.is_integer() else value


def untried() -> str:
    """A line for the usage if PEFT is not installed, so that its rewriting of targets could not be checked."""
    if installed():
        return ""
    return "\n# PEFT is not installed, so whether it rewrites targets of this type of model was not checked"
