"""Adapters from a plan of ranks or of experts: LoRA as PEFT builds it, and mixtures of LoRA experts."""

from zetaplan.adapters.lora import adapter
from zetaplan.adapters.mixture import MixtureOfLoRA, mixture

__all__ = ["MixtureOfLoRA", "adapter", "mixture"]
