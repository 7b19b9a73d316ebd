"""Adapters for a plan of ranks or of experts: LoRA as built by PEFT, and mixtures of LoRA experts."""

from zetaplan.models.adapters.lora import adapter
from zetaplan.models.adapters.mixture import MixtureOfLoRA, mixture

__all__ = ["MixtureOfLoRA", "adapter", "mixture"]
