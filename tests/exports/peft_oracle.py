"""Configurations of LoRA drawn at random, and what PEFT really does: it raises, ignores entries, or applies all."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils import ModulesToSaveWrapper
from torch import nn

SOUND = [
    "q_proj",
    "v_proj",
    "down_proj",
    "self_attn.k_proj",
    "layers.1.self_attn.q_proj",
    "model.layers.11.mlp.up_proj",
]
NAMES = [*SOUND, "lm_head", "embed_tokens", "mlp", "norm", "proj", "query", "model.layers.1", "self_attn", "1"]
KEYS = [
    *NAMES,
    r"layers.1.*q_proj",
    r"^model\.layers\.1\.self_attn\.q_proj",
    r"model\.layers\.1[01]\.self_attn\.q_proj",
    r"^q_proj",
    r".*v_proj",
    r"(layers\.(2|3)\..*)",
    r"base_model.model.model.layers.1.self_attn.q_proj",
    r"self_attn\.[qk]_proj",
    r"mlp.experts.gate_up_proj",
]
EXPRESSIONS = [
    r".*q_proj",
    r".*\.self_attn\..*_proj",
    r".*layers\.1[01]\..*_proj",
    r"model\.layers\.[0-3]\.self_attn\.(q|k)_proj",
    r"q_proj",
    "all-linear",
    r".*\.mlp",
    r"model\.layers\.1.*v_proj",
]
PARAMETERS = ["q_proj.weight", "model.layers.0.mlp.up_proj.weight", "gate_up_proj", "norm.weight", "o_proj.weight"]


def drawn(seed: int) -> dict[str, Any]:
    """A configuration, most of whose entries are sound, with the fields of a file."""
    rng = random.Random(seed)  # noqa: S311  # no secret

    def some(values: list[Any], most: int = 2) -> list[Any]:
        return rng.sample(values, rng.randint(1, most))

    def maybe(chance: float) -> bool:
        return rng.random() < chance

    config: dict[str, Any] = {"peft_type": "LORA", "r": rng.choice([4] * 17 + [0, 8.5, 4.0])}
    config["target_modules"] = some(SOUND if maybe(0.9) else NAMES, 3) if maybe(0.85) else rng.choice(EXPRESSIONS)
    if maybe(0.05):
        config["target_modules"] = rng.choice([[], None, ""])
    ranks = rng.sample([3, 5, 7, 11, 13, 17], 3) if maybe(0.9) else rng.sample([3, 0, 8.5, -1, 5.0], 3)
    for field, values in (("rank_pattern", ranks), ("alpha_pattern", [19, 23.5, 29])):
        if maybe(0.6):
            config[field] = dict(zip(some(KEYS, 3), values, strict=False))
    if maybe(0.25):
        config["exclude_modules"] = some(NAMES) if maybe(0.8) else rng.choice(EXPRESSIONS[:3])
    if maybe(0.2):
        config["layers_to_transform"] = rng.choice([0, 1, [0, 11], [1, 40], [50], []])
        if maybe(0.4):
            config["layers_pattern"] = rng.choice(["layers", ["layers"], ["h", "layers"], "h", []])
    if maybe(0.03):
        config["layers_pattern"] = "layers"
    if maybe(0.2):
        config["modules_to_save"] = some(["lm_head", "embed_tokens", "norm", "score", "classifier", "head"])
    if maybe(0.15):
        config["target_parameters"] = some(PARAMETERS)
    return config


@dataclass(frozen=True)
class Outcome:
    """adapted : rank and alpha by module or parameter. saved : the modules that are trained in full."""

    adapted: dict[str, tuple[int, float]]
    saved: frozenset[str]


def outcome(config: dict[str, Any], model: nn.Module) -> Outcome | None:
    """What PEFT builds; None where it raises."""
    fields = {key: copy.deepcopy(value) for key, value in config.items() if key != "peft_type"}
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            found = get_peft_model(copy.deepcopy(model), LoraConfig(**fields))
    except Exception:
        return None
    adapted, saved = {}, set()
    for path, module in found.named_modules():
        name = path.removeprefix("base_model.model.").replace(".base_layer", "")
        if isinstance(module, ModulesToSaveWrapper):
            saved.add(name)
        elif hasattr(module, "lora_alpha") and "default" in module.r:
            key = f"{name}.{module.parameter_name}" if hasattr(module, "parameter_name") else name
            adapted[key] = (module.r["default"], module.lora_alpha["default"])
    return Outcome(adapted, frozenset(saved))


def ignored(config: dict[str, Any], model: nn.Module) -> set[tuple[str, str]]:
    """Field and entry of all that has no effect in PEFT; only for configurations that it takes."""
    whole = outcome(config, model)
    changed = {(field, key) for field, key, other in _without(config) if outcome(other, model) == whole}
    alone = {(field, key) for field, key, other in _alone(config) if not _something(outcome(other, model), field)}
    return changed | alone | {("exclude_modules", key) for key in _excluding_nothing(config, model)}


def _without(config: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Entries that act on what others choose, and the configuration without each."""
    for field in ("rank_pattern", "alpha_pattern"):
        for key in config.get(field, {}):
            yield field, key, {**config, field: {k: v for k, v in config[field].items() if k != key}}
    layers = config.get("layers_to_transform")
    layers = [layers] if isinstance(layers, int) else layers or []
    for layer in layers:
        nowhere = [10**6 if other == layer else other for other in layers]
        yield "layers_to_transform", str(layer), {**config, "layers_to_transform": nowhere}


def _alone(config: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Entries of lists, each with no other beside it: it may repeat what another says, and still be followed."""
    sound = {"r": 4, "rank_pattern": {}, "alpha_pattern": {}, "target_parameters": None}
    targets = config.get("target_modules")
    for entry in targets if isinstance(targets, list) else []:
        yield "target_modules", entry, {**config, **sound, "target_modules": [entry]}
    for entry in config.get("target_parameters", []):
        yield "target_parameters", entry, {"target_modules": [], "target_parameters": [entry]}
    for entry in config.get("modules_to_save", []):
        yield "modules_to_save", entry, {"target_modules": ["layers.5.self_attn.o_proj"], "modules_to_save": [entry]}


def _something(found: Outcome | None, field: str) -> bool:
    return found is not None and bool(found.saved if field == "modules_to_save" else found.adapted)


def _excluding_nothing(config: dict[str, Any], model: nn.Module) -> Iterator[str]:
    value = config.get("exclude_modules") or []
    for entry in [value] if isinstance(value, str) else value:
        alone = LoraConfig(target_modules=".*", exclude_modules=entry if isinstance(value, str) else [entry])
        if all(check_target_module_exists(alone, name) for name, _ in model.named_modules() if name):
            yield entry
