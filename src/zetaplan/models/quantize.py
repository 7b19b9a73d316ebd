"""Plans of formats applied to the weights of a model, layer by layer.

Every planned matrix is replaced by the values that a reader of its stored form gets. Embedding and head come first.
Where a format uses the inputs (GPTQ), the layers follow in the order of the model: a layer is calibrated on the outputs
of its rounded predecessors, and within a layer all linears are observed before the first is rounded, as in SparseGPT.
Every expert is rounded by the inputs that reached it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zetaplan.documents.choices import choice_document
from zetaplan.errors import ScoringError, SpecError, ZetaplanError
from zetaplan.menus.bits import BitsFacts, Weight, bits_facts, formats_of
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import Observed, layer_pass, layers_in_memory
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.models.quantizers._integers import Codes, Integer
from zetaplan.models.statistic import Statistic, pooled_names, statistics_of
from zetaplan.models.weights import matrices, weights
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.streamed import keep, require_changeable
from zetaplan.scoring.text.sequences import checked_batches


@dataclass(frozen=True, eq=False)
class Formats:
    """What a plan of formats says of a model.

    facts : the matrices and the model that the plan was made for. quantizers : the format of every matrix, by the name
    of its parameter. sha256 : of the plan's document. versions : software that made the plan.
    """

    facts: BitsFacts
    quantizers: Mapping[str, Quantizer]
    sha256: str
    versions: Mapping[str, str]

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The planned matrices, in the order of the plan."""
        return tuple(weight for _, weight in self.facts.items())

    @property
    def calibrated(self) -> bool:
        """Whether a format of a linear uses the inputs."""
        return any(_uses_inputs(weight, self.quantizers[weight.name]) for weight in self.weights)


@dataclass(frozen=True, eq=False)
class Rounded:
    """A matrix, or a stack of `weight.count` matrices, that was rounded.

    codes : what is stored of each matrix, where the format is one of integers. blind : its format uses the inputs, and
    they were unknown, so that it was rounded to nearest. pooled : experts that few tokens reached, with their tokens,
    which were rounded by the inputs of all experts of their stack.
    """

    weight: Weight
    quantizer: Quantizer
    codes: tuple[Codes, ...]
    blind: bool
    pooled: tuple[str, ...] = ()


def planned_formats(plan: ChoicePlan) -> Formats:
    """The formats of a plan. Raises SpecError if it decides something else, or takes a format that cannot be rounded
    to."""
    facts = bits_facts(plan.menu)
    quantizers = {name: find_quantizer(label) for name, label in formats_of(plan).items()}
    for name, quantizer in quantizers.items():
        if not quantizer.rounds:
            raise SpecError(
                f"plan: {name!r} takes {quantizer.label}, and only llama.cpp can round to it; export the plan for "
                "llama-quantize"
            )
    return Formats(facts, quantizers, choice_document(plan).sha256_, plan.versions)


def mismatches(model: nn.Module, planned: Iterable[tuple[str, Weight]]) -> tuple[str, ...]:
    """Descriptions of the planned matrices that are not those of the model; empty if the plan fits.

    planned : (block, matrix).
    """
    known = {weight.name: weight for weight in weights(model)}
    return tuple(found for _, weight in planned if (found := _mismatch(weight, known.get(weight.name))))


def require_match(model: nn.Module, planned: Iterable[tuple[str, Weight]]) -> None:
    """Raise SpecError, with the first of the `mismatches`, if the plan does not fit the model."""
    if wrong := mismatches(model, planned):
        raise SpecError(f"plan: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))


def _mismatch(planned: Weight, found: Weight | None) -> str:
    if found is None:
        return f"matrix {planned.name!r} is not in the model"
    if (found.shape, found.transposed) != (planned.shape, planned.transposed):
        return f"matrix {planned.name!r} has the shape {_shape(found)}, the plan was made for {_shape(planned)}"
    return ""


def _shape(weight: Weight) -> str:
    stored = " x ".join(map(str, weight.shape[weight.count == 1 :]))
    return f"{stored}, transposed" if weight.transposed else stored


def rounded_matrices(model: nn.Module, formats: Formats, batches: Batches | None = None) -> Iterator[Rounded]:
    """Round every planned matrix of the model, in place, and yield what is stored of it.

    Args:
        model: a transformers model with the matrices of the plan, in float32 if the values must be exact.
        formats: the plan.
        batches: the calibration text, for formats that use the inputs.

    Raises:
        ScoringError: a format needs text and none is given, or cannot hold a matrix; the message names the matrix.
    """
    require_changeable(model)
    if formats.calibrated and batches is None:
        raise ScoringError("batches: a format of the plan uses the inputs (gptq); give a calibration text")
    with eval_mode(model):
        for weight in formats.weights:
            if not weight.layer:
                yield _rounded(model, weight, formats.quantizers[weight.name], statistics_of(weight, Observed()))
        for block, grams in _layers(model, formats, batches):
            for weight in formats.weights:
                if weight.module in block.modules:
                    yield _rounded(model, weight, formats.quantizers[weight.name], statistics_of(weight, grams))
            keep(model, model.get_submodule(block.name))


def _layers(model: nn.Module, formats: Formats, batches: Batches | None) -> Iterator[tuple[Block, Observed]]:
    """The decoder layers, with X'X of the inputs of their matrices if a format uses them."""
    if not formats.calibrated or batches is None:
        return ((block, Observed()) for block in layers_in_memory(model))
    observed = {w.name for w in formats.weights if _uses_inputs(w, formats.quantizers[w.name])}
    return layer_pass(model, checked_batches(batches, model=model), gram_of, observed)


def _uses_inputs(weight: Weight, quantizer: Quantizer) -> bool:
    return quantizer.calibrated and bool(weight.layer)


@torch.no_grad()
def _rounded(model: nn.Module, weight: Weight, quantizer: Quantizer, seen: Sequence[Statistic]) -> Rounded:
    stored = matrices(model, weight)
    if not stored.isfinite().all():
        raise ScoringError(f"model: {weight.name!r} has entries that are not finite; download or convert it again")
    try:
        found = [_one(quantizer, matrix, own.value) for matrix, own in zip(stored, seen, strict=True)]
    except ZetaplanError as error:
        raise ScoringError(f"{weight.name}: {error}") from error
    for matrix, (values, _) in zip(stored, found, strict=True):
        matrix.copy_(values)
    codes = tuple(code for _, code in found if code is not None)
    blind = quantizer.calibrated and seen[0].value is None
    return Rounded(weight, quantizer, codes, blind, tuple(pooled_names({weight.name: seen})))


def _one(quantizer: Quantizer, matrix: Tensor, gram: Tensor | None) -> tuple[Tensor, Codes | None]:
    if not isinstance(quantizer, Integer):
        return quantizer.rounded(matrix, gram), None
    codes = quantizer.codes(matrix.contiguous(), gram)
    return codes.values, codes
