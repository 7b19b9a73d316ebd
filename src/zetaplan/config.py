"""`zetaplan.config/1`: a whole job in one YAML file. What each key means is said by the command of the same name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, Field, JsonValue, ValidationError, model_validator

from zetaplan.errors import SpecError
from zetaplan.files import CertificateFile, Document, PlanFile, Record, ScoresFile, contents

Bound = float | dict[str, float]


class ScoreStep(Record):
    """How the model is scored. data : files, or "pydoc" for Python's own help texts. The rest: `zetaplan score`."""

    data: tuple[str, ...] = Field(("pydoc",), min_length=1)
    field: str | None = None
    sequences: int = 32
    length: int = 128
    blocks: Literal["layers", "modules"] = "layers"
    curvature: str = "block-fisher"
    damping: float = 1.0
    damping_mode: Literal["relative", "absolute"] = "relative"
    damping_scope: Literal["global", "block"] = "global"
    device: str = "cpu"
    dtype: str | None = None
    batch_size: int | None = None


class Wishes(Record):
    """What is wanted of single layers: bounds and pins by name, and blocks that share one value."""

    lower: Bound = 0.0
    upper: Bound | None = None
    pins: dict[str, float] = Field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()
    gain: Literal["raw", "net", "unbiased"] = "raw"
    drift: float = 0.1


class AllocationStep(Wishes):
    """How ranks, or experts, are planned."""

    program: Literal["allocation"]
    budget: float | str | None = None
    mean_rank: float | None = None
    expert_rank: int | None = None
    top_k: int = 2
    step: int = 1
    alpha: float = 0.0
    beta: float = 1.0
    gamma: float = 1.0


class PruningStep(Wishes):
    """How sparsity is planned."""

    program: Literal["pruning"]
    sparsity: float | None = None
    target: float | None = None
    bits: float = 0.0
    eta: float = 1.0
    kappa: float = 1.0


class ExportStep(Record):
    """One file of settings; the name that the tool expects if `out` is not given."""

    to: str
    out: str | None = None


class ApplyStep(Record):
    """How a sparsity plan is applied; the keys are those of `zetaplan apply`."""

    method: str = "wanda"
    data: tuple[str, ...] = Field(("pydoc",), min_length=1)
    field: str | None = None
    sequences: int = 32
    length: int = 128
    structure: Literal["unstructured", "2:4"] = "unstructured"


class EvaluateStep(Record):
    """Perplexity on a text, accuracy on multiple choice: of the model and, where it is applied, of the pruned one."""

    text: str | None = None
    length: int = 1024
    stride: int = 512
    tokens: int | None = Field(None, description="the first so many; all if not given")
    choices: str | None = Field(None, description="a .jsonl file: ctx (or sentence1, sentence2), choices, 0-based gold")
    items: int | None = Field(None, description="only so many, evenly spread; all if not given")
    template: str = "{prompt}"
    field: str | None = Field(None, description="of a record's text, or of an item's prompt")

    @property
    def files(self) -> tuple[str, ...]:
        """What is read."""
        return tuple(file for file in (self.text, self.choices) if file is not None)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.files:
            raise ValueError("give text, choices or both")
        return self


class Config(Document):
    """A whole job: score the model (or take scores that there are), plan, verify, report, export, apply, evaluate.

    Paths are seen from the folder of the configuration; what is made lies in the folder `out`.
    """

    schema_: Literal["zetaplan.config/1"] = Field("zetaplan.config/1", alias="schema")
    model: str
    score: ScoreStep = Field(default_factory=lambda: ScoreStep.model_validate({}))
    scores: str | None = Field(None, description="a file of scores to take instead of scoring")
    plan: Annotated[AllocationStep | PruningStep, Field(discriminator="program")]
    report: bool = True
    export: tuple[ExportStep, ...] = ()
    apply: ApplyStep | None = None
    evaluate: EvaluateStep | None = None
    out: str = "zetaplan-run"


def load_config(path: Path) -> Config:
    """The configuration that a YAML file holds.

    Raises SpecError, in one line: not YAML, a key that there is not (with the nearest that there is), a wrong value.
    """
    try:
        value = yaml.safe_load(contents(path))
        text = json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise SpecError(f"{path} is not YAML of plain values: {' '.join(str(error).split())}") from error
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(f"{path}: {_words(error)}") from error


def schemas() -> dict[str, dict[str, JsonValue]]:
    """The JSON Schema of every kind of document, by its name: what is published as `docs/schemas/NAME.json`."""
    kinds = (Config, ScoresFile, PlanFile, CertificateFile)
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {_name(kind): {**draft, **kind.model_json_schema()} for kind in kinds}


def _name(kind: type[Document]) -> str:
    """`config` of `zetaplan.config/1`."""
    return str(kind.model_fields["schema_"].default).removeprefix("zetaplan.").partition("/")[0]


def _words(error: ValidationError) -> str:
    found = error.errors(include_url=False)
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])  # the cause of a missing key
    place = [str(part) for part in first["loc"]]
    if first["type"] != "extra_forbidden":
        return f"{'.'.join(place)}: {first['msg']}"
    known = sorted({alias for kind in _kinds(place[:-1]) for alias in _aliases(kind)})
    near = get_close_matches(place[-1], known, 1, 0.0)[0]
    return f"{'.'.join(place)}: there is no such key; the nearest is {near!r}, known are {', '.join(known)}"


def _aliases(kind: type[BaseModel]) -> Iterator[str]:
    return (item.alias or name for name, item in kind.model_fields.items())


def _kinds(place: Sequence[str]) -> list[type[BaseModel]]:
    """The models that may stand at a place of the file; indices and names of variants are passed over."""
    kinds: list[type[BaseModel]] = [Config]
    for part in place:
        inner = [kind.model_fields[part].annotation for kind in kinds if part in kind.model_fields]
        kinds = [model for annotation in inner for model in _models(annotation)] or kinds
    return kinds


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
