"""Configuration `zetaplan.config/1`: one YAML file per job. The keys of a step are the options of its command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, JsonValue, ValidationError, create_model, model_validator

from zetaplan._files import contents
from zetaplan._yaml import loaded
from zetaplan.documents.schemas.document import Document
from zetaplan.errors import SpecError
from zetaplan.jobs.options import ApplyOptions, EvaluateOptions, ExportOptions, RefineOptions, ScoreOptions
from zetaplan.plans.kind import Kind
from zetaplan.plans.kinds import kind_for, kind_names, kind_of
from zetaplan.plans.options import PlanOptions


def _step(kind: Kind) -> type[PlanOptions]:
    """The options of a kind with the additional key `kind`, which identifies the kind."""
    title = kind.name.title().replace("-", "") + "Step"
    return create_model(title, __base__=kind.options, __doc__=kind.options.__doc__, kind=(Literal[kind.name], ...))  # type: ignore[arg-type]


def _with_kind(step: Any) -> Any:
    """The step with the key `kind` in place of `program`, the key of configurations before version 0.2."""
    if not isinstance(step, dict) or "program" not in step or "kind" in step:
        return step
    rest = {key: value for key, value in step.items() if key != "program"}
    return {"kind": kind_for(str(step["program"]), step.get("expert_rank")).name, **rest}


if TYPE_CHECKING:

    class PlanStep(PlanOptions):
        """The options of any kind."""

        kind: str
else:
    PlanStep = Annotated[
        Annotated[reduce(or_, (_step(kind_of(name)) for name in kind_names())), Field(discriminator="kind")],
        BeforeValidator(_with_kind),
    ]


class Config(Document):
    """A job: score the model (or read scores from a file), plan, refine, verify, report, export, apply, evaluate.

    With `plan` the plan is the optimum of a program, with `refine` it is found by measurements. With both, the
    refinement begins with the optimum. Paths are relative to the folder of the configuration. Results are written to
    the folder `out`. The keys of every step are the options of the command of that name; `plan` also has the key
    `kind`, the kind of plan.
    """

    schema_: Literal["zetaplan.config/1"] = Field("zetaplan.config/1", alias="schema")
    model: str
    score: ScoreOptions = Field(default_factory=lambda: ScoreOptions.model_validate({}))
    scores: str | None = Field(None, description="a file of scores, used instead of scoring the model")
    plan: PlanStep | None = None
    refine: RefineOptions | None = None
    report: bool = True
    export: tuple[ExportOptions, ...] = ()
    apply: ApplyOptions | None = None
    evaluate: EvaluateOptions | None = None
    guard: bool = Field(True, description="with apply and a text to evaluate, compare with uniform at the same budget")
    out: str = "zetaplan-run"

    @model_validator(mode="after")
    def _planned(self) -> Self:
        if self.plan is None and self.refine is None:
            raise ValueError("plan and refine: give at least one of the two")
        return self


def load_config(path: Path) -> Config:
    """The configuration in a YAML file.

    Raises SpecError, with a one-line message, for a file that is not YAML, an unknown key (with the closest valid one)
    or a wrong value.
    """
    try:
        value = loaded(contents(path))
        text = json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not YAML of plain values: {' '.join(str(error).split())}") from error
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(f"{path}: {_words(error)}") from error


def schemas() -> dict[str, dict[str, JsonValue]]:
    """The JSON Schema of every kind of document, by its name, as published in `docs/schemas/NAME.json`."""
    from zetaplan.documents.schemas.certificate import CertificateFile, ChoiceCertificateFile
    from zetaplan.documents.schemas.choice import ChoiceFile
    from zetaplan.documents.schemas.menu import MenuFile
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.schemas.scores import ScoresFile

    kinds = (Config, ScoresFile, PlanFile, CertificateFile, MenuFile, ChoiceFile, ChoiceCertificateFile)
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {_name(kind): {**draft, **kind.model_json_schema()} for kind in kinds}


def _name(kind: type[Document]) -> str:
    """`config` of `zetaplan.config/1`, `plan-2` of `zetaplan.plan/2`."""
    name, _, version = str(kind.model_fields["schema_"].default).removeprefix("zetaplan.").partition("/")
    return name if version == "1" else f"{name}-{version}"


def _words(error: ValidationError) -> str:
    found = error.errors(include_url=False)
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])  # the cause of a missing key
    place = [str(part) for part in first["loc"]]
    if first["type"] != "extra_forbidden":
        return f"{'.'.join(place) or 'document'}: {first['msg'].removeprefix('Value error, ')}"
    known = sorted({alias for kind in _kinds(place[:-1]) for alias in _aliases(kind)})
    near = get_close_matches(place[-1], known, 1, 0.0)[0]
    return f"{'.'.join(place)}: unknown key; the closest valid one is {near!r}, valid are {', '.join(known)}"


def _aliases(kind: type[BaseModel]) -> Iterator[str]:
    return (item.alias or name for name, item in kind.model_fields.items())


def _kinds(place: Sequence[str]) -> list[type[BaseModel]]:
    """The models that are valid at a position in the file; indices and names of variants are ignored."""
    kinds: list[type[BaseModel]] = [Config]
    for part in place:
        inner = [kind.model_fields[part].annotation for kind in kinds if part in kind.model_fields]
        tagged = [kind for kind in kinds if "kind" in kind.model_fields and part in _tags(kind)]
        kinds = [model for annotation in inner for model in _models(annotation)] or tagged or kinds
    return kinds


def _tags(step: type[BaseModel]) -> tuple[Any, ...]:
    """The kinds that a step accepts."""
    return get_args(step.model_fields["kind"].annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
