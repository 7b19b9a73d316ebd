"""Settings of LoRA that no plan decides: alpha, dropout, and the scale of rsLoRA (Kalajdzievski 2023, 2312.03732)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from zetaplan._quantities import Share
from zetaplan._records import Record, checked


class LoraSettings(Record):
    """Settings of LoRA that no plan decides, for tools that train it."""

    lora_alpha: float | None = Field(None, gt=0, description="Alpha of every linear; 2 times its rank if not given.")
    lora_dropout: Share = Field(0.0, ge=0, lt=1, description="Dropout of the input of LoRA, such as 5%.")
    rslora: bool = Field(False, description="Scale by alpha over the root of the rank (rsLoRA); needs an alpha.")

    @model_validator(mode="after")
    def _scale(self) -> Self:
        if self.rslora and self.lora_alpha is None:
            raise ValueError("rslora: expected lora_alpha too, one alpha for all ranks; give one, such as 16")
        return self

    @property
    def given(self) -> list[str]:
        """The names of the settings that are not at their defaults."""
        return list(self.model_dump(exclude_defaults=True))


DEFAULT = checked(LoraSettings)
