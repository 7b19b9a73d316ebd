"""axolotl: the LoRA part of its YAML file, whose patterns axolotl passes on to PEFT unchanged."""

from __future__ import annotations

from typing import Any

from zetaplan._yaml import dumped, parsed
from zetaplan.exports.formats import peft
from zetaplan.exports.job import Group, UnitJob
from zetaplan.exports.lora import groups
from zetaplan.exports.targets import Outline

COUNTS, MODEL, FILE = ("ranks",), True, "lora.yaml"

NAMES = {
    "r": "lora_r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "use_rslora": "peft_use_rslora",
    "target_modules": "lora_target_modules",
    "target_parameters": "lora_target_parameters",
    "exclude_modules": "lora_exclude_modules",
    "modules_to_save": "lora_modules_to_save",
    "layers_to_transform": "peft_layers_to_transform",
    "layers_pattern": "peft_layers_pattern",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
}

settings = peft.settings


def write(job: UnitJob) -> bytes:
    return dumped({"adapter": "lora"} | {NAMES[key]: value for key, value in peft.lora(job).items()})


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed(data)
    if config.get("adapter") not in ("lora", "qlora") and "lora_rank_pattern" not in config:
        return None
    given = {key: config[name] for key, name in NAMES.items() if config.get(name) is not None}
    return groups({"target_modules": []} | given | _all_linear(config, model, given), model)


def usage(job: UnitJob, file: str) -> str:
    return f"merge {file} into the YAML file that `axolotl train` is given" + peft.untried()


def _all_linear(config: dict[str, Any], model: Outline, given: dict[str, Any]) -> dict[str, Any]:
    """Add the targets of `lora_target_linear`: the last names of all linears, except the output layer's."""
    if not config.get("lora_target_linear"):
        return {}
    last = {name.rpartition(".")[2] for name in (module.name for module in model.modules if module.weights)}
    targets = given.get("target_modules", [])
    targets = [targets] if isinstance(targets, str) else targets
    return {"target_modules": [*targets, *sorted(last - {model.head.rpartition(".")[2], *targets})]}
