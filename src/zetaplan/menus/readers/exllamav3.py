"""`exllamav3`: the measurement that its tool writes for a model quantised at several bitrates.

Every group of linears keeps the bitrate of the first model or takes that of another one. dkld : the change of the
Kullback-Leibler divergence, in nats per token. dbits : the change of the size, in bits. So the budget is what may be
added to the first model.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zetaplan._records import first_error
from zetaplan._yaml import parsed_json
from zetaplan.errors import SpecError
from zetaplan.menus.menu import Menu

BASE = "base"


class _Part(BaseModel):
    """A part of the file: further keys are left aside."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Candidate(_Part):
    dkld: float
    dbits: float = Field(ge=0, description="in bits; the models are to be given in the order of rising bitrates")


class Group(_Part):
    layers: tuple[str, ...] = Field(min_length=1)
    candidates: tuple[Candidate, ...] = Field(min_length=1)


class Model(_Part):
    bpw: float


class Measurement(_Part):
    """The file. base, alts : the models that were compared, the first one and the others."""

    base: Model
    alts: tuple[Model, ...]
    groups: tuple[Group, ...] = Field(min_length=1)
    base_kld: float | None = None
    arch_string: str | None = None


def recognises(text: str) -> bool:
    """Is it JSON with groups of candidates?"""
    value = _parsed(text)
    groups = value.get("groups")
    return isinstance(groups, list) and any(isinstance(group, dict) and "candidates" in group for group in groups)


def read(text: str) -> Menu:
    """The menu of the groups. Its provenance holds the layers of every block."""
    try:
        found = Measurement.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(first_error(error)) from error
    for place, group in enumerate(found.groups):
        if len(group.candidates) != len(found.alts):
            raise SpecError(f"groups.{place}: expected {len(found.alts)} candidates, got {len(group.candidates)}")
    names = tuple(_name(group.layers) for group in found.groups)
    labels = tuple(str(model.bpw) for model in (found.base, *found.alts))
    return Menu(
        names=names,
        options=(labels,) * len(names),
        losses=tuple((0.0, *(c.dkld for c in group.candidates)) for group in found.groups),
        costs=tuple(((0.0,), *((c.dbits,) for c in group.candidates)) for group in found.groups),
        budgets=("added size",),
        units=("bits",),
        loss_unit="nats per token",
        estimator="exllamav3",
        provenance={
            "architecture": found.arch_string,
            "base_divergence": found.base_kld,
            "layers": dict(zip(names, (list(group.layers) for group in found.groups), strict=True)),
        },
    )


def _name(layers: tuple[str, ...]) -> str:
    """The first layer of the group, and how many follow."""
    return layers[0] if len(layers) == 1 else f"{layers[0]}+{len(layers) - 1}"


def _parsed(text: str) -> dict[str, Any]:
    value = parsed_json(text.encode())
    return value if isinstance(value, dict) else {}
