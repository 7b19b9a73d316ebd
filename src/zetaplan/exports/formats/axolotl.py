"""axolotl: the LoRA part of its YAML file; the patterns are handed to PEFT as they are."""

from __future__ import annotations

from collections.abc import Sequence

from zetaplan._yaml import dumped, parsed
from zetaplan.exports.formats import peft
from zetaplan.exports.job import Group, Job
from zetaplan.exports.targets import Module

COUNTS, MODEL, FILE = "ranks", True, "lora.yaml"

NAMES = {
    "r": "lora_r",
    "lora_alpha": "lora_alpha",
    "target_modules": "lora_target_modules",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
}

settings = peft.settings


def write(job: Job) -> bytes:
    return dumped({"adapter": "lora"} | {NAMES[key]: value for key, value in peft.lora(job).items()})


def read(data: bytes, modules: Sequence[Module]) -> tuple[Group, ...] | None:
    config = parsed(data)
    if "lora_rank_pattern" not in config and "lora_target_modules" not in config:
        return None
    return peft.groups({key: config.get(name) for key, name in NAMES.items()}, modules)


def usage(job: Job, file: str) -> str:
    return f"merge {file} into the YAML file that `axolotl train` is given"
