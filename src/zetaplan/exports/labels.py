"""A plan of formats for the matrices of a model, and what a tool stores each of them as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from zetaplan.documents.choices import choice_document
from zetaplan.errors import CertificateError, SpecError
from zetaplan.exports.job import Job
from zetaplan.exports.targets import Outline, Problem
from zetaplan.menus.bits import Weight, bits_facts, formats_of
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.models.quantizers._integers import Integer
from zetaplan.models.quantizers.floats import Float
from zetaplan.runtimes import find_runtime, fused

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan

UNQUANTISED = "unquantised"

Obstacle = Callable[[Quantizer, Weight], str]


@dataclass(frozen=True, eq=False)
class FormatJob(Job):
    """A plan of formats. formats : the labels by parameter, in the model's order; without a model, by block."""

    plan: ChoicePlan
    formats: Mapping[str, str]

    @property
    def matrices(self) -> tuple[Weight, ...]:
        """The matrices of the model, in its order; empty if no model is given."""
        return self.model.matrices if self.model else ()

    @property
    def decided(self) -> Mapping[str, str]:
        return self.formats

    @property
    def facts(self) -> dict[str, str]:
        return {"program": "choice", "unit": "format", "plan_sha256": choice_document(self.plan).sha256_}


def format_job(plan: ChoicePlan, model: Outline | None) -> FormatJob:
    """The plan on the matrices of the model; without a model, by the plan's own names.

    Raises SpecError if the plan decides no formats, CertificateError, naming the matrix, if it is for another model.
    """
    if model is None:
        return FormatJob(None, plan, plan.taken)
    known = {weight.name: weight for weight in model.matrices}
    for _, weight in bits_facts(plan.menu).items():
        _check_matrix(weight, known.get(weight.name))
    labels = formats_of(plan)
    return FormatJob(model, plan, {name: labels[name] for name in known if name in labels})


def _check_matrix(planned: Weight, found: Weight | None) -> None:
    if found is None:
        raise CertificateError(f"{planned.name}: would be ignored: the model has no matrix of this name")
    if _shape(planned) != _shape(found):
        raise CertificateError(
            f"{planned.name}: the plan has {_shape(planned)} matrices, rows and columns, "
            f"this model {_shape(found)}: another model"
        )


def _shape(weight: Weight) -> tuple[int, int, int]:
    return weight.count, weight.rows, weight.columns


def stored(job: Job, to: str, obstacle: Obstacle, takes: str) -> dict[str, str]:
    """What the tool stores every matrix as, by parameter: its format, or `UNQUANTISED`.

    takes : the tool's formats, in words. Raises SpecError, naming the matrix and these formats, for a matrix that the
    tool cannot store as planned, and for a plan that quantises nothing.
    """
    plan = cast(FormatJob, job)
    found = {weight.name: UNQUANTISED for weight in plan.matrices}
    for weight in plan.matrices:
        quantizer = find_quantizer(plan.formats.get(weight.name, "f32"))
        if isinstance(quantizer, Float):
            continue
        if why := obstacle(quantizer, weight) or quantizer.obstacle(weight.rows, weight.columns):
            raise SpecError(
                f"to = {to!r}: {weight.name} is planned in {quantizer.label}: {why}; the tool takes {takes}"
            )
        found[weight.name] = stored_as(quantizer)
    if set(found.values()) == {UNQUANTISED}:
        raise SpecError(f"to = {to!r}: the plan quantises no matrix, so there is nothing to set; lower the budget")
    return found


def stored_as(quantizer: Quantizer) -> str:
    """The label of the stored format, whatever the rounding: int4-g64 for gptq4-g64."""
    if isinstance(quantizer, Integer):
        return label_of(quantizer.bits, quantizer.group, quantizer.symmetric)
    return quantizer.label


def label_of(bits: object, group: object, symmetric: object = True) -> str:
    """The label of integers. group : the columns that share a scale; None, 0 or -1 for the whole row."""
    groups = "" if group in (None, 0, -1) else f"-g{group}"
    return f"int{bits}{groups}{'' if symmetric else '-asym'}"


def integer(label: str) -> Integer:
    """The format of a label that `label_of` made."""
    return cast(Integer, find_quantizer(label))


def integers_only(quantizer: Quantizer, weight: Weight) -> str:
    """The obstacle of tools that quantise linears of decoder layers to integers."""
    if not weight.layer:
        return "embedding and head stay unquantised"
    return "" if isinstance(quantizer, Integer) else "it has no such type"


def linears_only(quantizer: Quantizer, weight: Weight) -> str:
    """The obstacle of tools that quantise nn.Linear to integers, and pass over the Conv1D of GPT-2."""
    if weight.transposed and weight.count == 1:
        return "it quantises nn.Linear only, and this is a Conv1D"
    return integers_only(quantizer, weight)


def require_fused(job: Job, to: str, formats: Mapping[str, str]) -> None:
    """Raise SpecError for matrices that vLLM stores in one tensor, if their formats differ."""
    for names in split(cast(FormatJob, job).matrices, formats):
        raise SpecError(
            f"to = {to!r}: vLLM stores {', '.join(names)} in one tensor, and the plan has "
            f"{', '.join(formats[name] for name in names)}; plan with `zetaplan quantize --for vllm`"
        )


def split(matrices: tuple[Weight, ...], formats: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """The matrices that vLLM stores in one tensor and that have different formats, by parameter."""
    for names in fused(find_runtime("vllm"), matrices):
        if len({formats.get(name) for name in names}) > 1:
            yield names


def refused_by_vllm(model: Outline, formats: Mapping[str, str]) -> Iterator[Problem]:
    """The problems of formats, by parameter, that vLLM refuses when it loads the model."""
    for names in split(model.matrices, formats):
        words = f"raises an error in vLLM: it is stored in one tensor with {', '.join(names[1:])}, in another format"
        yield Problem(names[0], words)
