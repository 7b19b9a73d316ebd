"""PEFT's own result for a configuration, if PEFT is installed: computed on the model without its weights.

PEFT rewrites the targets of model types whose experts transformers has fused (its table has 29 of them in 0.21), has
its own default targets, and rejects some modules by the type of the model. These tables are internal to PEFT, so the
check runs PEFT itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn

    from zetaplan.exports.targets import Outline

PREFIX = "base_model.model."
INNER = ".base_layer"


@dataclass(frozen=True)
class Trial:
    """Result of a configuration. error : the error that PEFT raises, or "". unknown : settings unknown to PEFT.

    adapted : the rank and the scale alpha / r by module, or by parameter if a parameter is adapted as such.
    """

    error: str = ""
    unknown: tuple[str, ...] = ()
    adapted: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def tried(config: Mapping[str, Any], model: Outline) -> Trial | None:
    """PEFT's result for the LoRA configuration; None if PEFT is not installed."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        return None
    unknown = tuple(sorted(set(config) - set(LoraConfig.__dataclass_fields__) - {"runtime_config"}))
    known = {key: value for key, value in config.items() if key not in (*unknown, "runtime_config")}
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # the checks of the entries find what it warns of
            adapted = get_peft_model(model.bare(), LoraConfig(**known), low_cpu_mem_usage=True)
    except Exception as error:  # PEFT raises many classes of error; each of them is a result
        return Trial(f"{type(error).__name__}: {' '.join(str(error).split())}", unknown)
    return Trial(unknown=unknown, adapted=dict(_adapted(adapted)))


def _adapted(network: nn.Module) -> Iterable[tuple[str, tuple[float, float]]]:
    for path, module in network.named_modules():
        rank = getattr(module, "r", {})
        if not hasattr(module, "lora_A") or "default" not in rank:
            continue
        name = path.removeprefix(PREFIX).replace(INNER, "")
        parameter = getattr(module, "parameter_name", None)
        yield f"{name}.{parameter}" if parameter else name, (rank["default"], module.scaling["default"])


def culprits(config: Mapping[str, Any], model: Outline, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that PEFT rejects even without names of other kinds; the kind is the last part of a name."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.removesuffix(".weight").rpartition(".")[2], []).append(name)
    refused = [alike for alike in kinds.values() if (trial := tried(_only(config, alike), model)) and trial.error]
    return tuple(name for alike in refused for name in alike) if len(refused) < len(kinds) else ()


def _only(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    parameters = [name for name in names if name.endswith(".weight")]
    return {**config, "target_modules": [n for n in names if n not in parameters], "target_parameters": parameters}


def rewritten(config: Mapping[str, Any], model: Outline) -> dict[str, Any]:
    """The configuration with the targets that PEFT uses; unchanged if PEFT is not installed or rejects it."""
    fields = ("target_modules", "target_parameters", "rank_pattern", "alpha_pattern")
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:
        return dict(config)
    known = {key: config[key] for key in (*fields, "r", "lora_alpha", "exclude_modules") if config.get(key) is not None}
    try:
        found = LoraConfig(**known)
        convert_peft_config_for_transformers(found, model.network, None)
        if found.target_modules is None:
            default = LoraModel.target_module_mapping.get(getattr(model.network.config, "model_type", ""))
            found.target_modules = default if isinstance(default, str | None) else list(default)
    except Exception:  # the trial raises it again and reports it
        return dict(config)
    plain = {key: sorted(value) if isinstance(value := getattr(found, key), set) else value for key in fields}
    return {**config, **plain}


def kept(target: str, model: Outline) -> bool:
    """Whether PEFT leaves the target unchanged for this model; true if PEFT is not installed."""
    try:
        from peft import LoraConfig
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:
        return True
    config = LoraConfig(target_modules=[target])
    try:
        convert_peft_config_for_transformers(config, model.network, None)
    except ValueError:  # one half of a pair that PEFT fuses
        return False
    return target in (config.target_modules or ())


def installed() -> bool:
    """Whether PEFT is installed, and therefore used for the check."""
    return find_spec("peft") is not None
