"""PEFT: adapter_config.json, as `peft.LoraConfig.from_pretrained` reads it.

PEFT wraps a key of a pattern as (.*\\.)?(KEY)$ and takes the first that matches, so every key here is anchored at the
start and names one linear in full. A rank of zero is an error there: such a linear is no target. The scale alpha / r
is the same for every linear, so that a higher rank does not mean a larger step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from zetaplan._files import canonical
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, Job
from zetaplan.exports.targets import Entry, Module, linears

COUNTS, MODEL, FILE = "ranks", True, "adapter_config.json"

SCALE = 2  # alpha / r

Settings = dict[str, dict[str, float]]


def settings(job: Job) -> Settings:
    if job.plan.request.expert_rank is not None:
        raise SpecError("the plan counts experts, not ranks: export it to mola, or plan without expert_rank")
    ranks = {name: rank for name, rank in job.units.items() if rank}
    if not ranks:
        raise SpecError("every rank of the plan is 0, so there is nothing to adapt; raise the budget")
    return {
        "target_modules": dict.fromkeys(ranks, 1.0),
        "rank_pattern": {name: float(rank) for name, rank in ranks.items()},
        "alpha_pattern": {name: float(SCALE * rank) for name, rank in ranks.items()},
    }


def write(job: Job) -> bytes:
    config = lora(job)
    shared = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none"}
    kinds = {module.kind for module in linears(job.modules)}
    return canonical({**shared, "fan_in_fan_out": kinds == {"Conv1D"}, **config}).encode()


def read(data: bytes, modules: Sequence[Module]) -> tuple[Group, ...] | None:
    try:
        config = json.loads(data)
    except ValueError:
        return None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        return None
    return groups(config, modules)


def usage(job: Job, file: str) -> str:
    return f"config = peft.LoraConfig.from_pretrained(FOLDER of {file}); model = peft.get_peft_model(model, config)"


def lora(job: Job) -> dict[str, Any]:
    """The fields of a LoraConfig that follow from the plan."""
    found = settings(job)
    patterns = {
        group: {f"^{re.escape(name)}": int(value) for name, value in found[group].items()}
        for group in ("rank_pattern", "alpha_pattern")
    }
    top = max(patterns["rank_pattern"].values())
    return {"r": top, "lora_alpha": SCALE * top, "target_modules": list(found["target_modules"]), **patterns}


def groups(config: Mapping[str, Any], modules: Sequence[Module]) -> tuple[Group, ...]:
    """What PEFT understands of a LoraConfig: which modules are targets, then which pattern each of them takes."""
    targets = _targets(config.get("target_modules"))
    names = tuple(module.name for module in modules)
    matched = [name for name in names if any(target.regex.fullmatch(name) for target in targets)]
    reached = tuple(matched) if targets else tuple(module.name for module in linears(modules))
    found = [Group("target_modules", targets, names)] if targets else []
    for group in ("rank_pattern", "alpha_pattern"):
        pattern = config.get(group) or {}
        if not isinstance(pattern, dict) or not all(isinstance(value, int | float) for value in pattern.values()):
            raise SpecError(f"{group}: expected a number for every key; correct the file")
        entries = tuple(Entry(key, value, rf"(.*\.)?({key})") for key, value in pattern.items())
        found.append(Group(group, entries, reached))
    return tuple(found)


def _targets(value: object) -> tuple[Entry, ...]:
    if value is None or value == "all-linear":
        return ()
    if isinstance(value, str):
        return (Entry(value, 1.0, value),)
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(Entry(name, 1.0, rf"(.*\.)?{re.escape(name)}") for name in value)
    raise SpecError("target_modules: expected a list of names, or one regular expression; correct the file")
