"""Names by which tools address the linears of a model: of its modules, and of experts that a tool splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from zetaplan.errors import SpecError
from zetaplan.exports.labels import UNQUANTISED
from zetaplan.exports.targets import Module, Outline, linears
from zetaplan.menus.bits import Weight

#: The linears in a tensor of experts by its name, in the order in which llm-compressor adds them to an expert.
STACKED = {"gate_up_proj": ("up_proj", "gate_proj"), "up_proj": ("up_proj",), "down_proj": ("down_proj",)}


def linear_names(model: Outline) -> dict[str, str]:
    """The parameter of every linear, by the name of the linear; a tensor of experts has one linear per expert."""
    return dict(_linear_names(model))


def in_layers(model: Outline) -> dict[str, str]:
    """Those of `linear_names` that belong to a decoder layer."""
    starts = tuple(f"{block}." for block in dict.fromkeys(module.block for module in linears(model.modules)))
    return {name: parameter for name, parameter in linear_names(model).items() if name.startswith(starts)}


def _linear_names(model: Outline) -> Iterator[tuple[str, str]]:
    stacks: dict[str, list[Weight]] = {}
    for weight in model.matrices:
        if weight.count > 1:
            stacks.setdefault(weight.module, []).append(weight)
    for module in model.modules:
        if module.weights:
            yield module.name, f"{module.name}.weight"
        for stack in stacks.get(module.name, ()):
            yield from ((name, stack.name) for name in unfused(model, stack))


def unfused(model: Outline, stack: Weight) -> list[str]:
    """The names of the linears that tools make of a tensor of experts; none if they do not split it.

    llm-compressor and AutoRound split the modules that `use_experts_implementation` of transformers decorates, and no
    others. The decorator gives a module `has_gate`.
    """
    parts = STACKED.get(stack.name.removeprefix(f"{stack.module}."), ())
    if not parts or not hasattr(model.network.get_submodule(stack.module), "has_gate"):
        return []
    return [f"{stack.module}.{expert}.{part}" for expert in range(stack.count) for part in parts]


def unfused_modules(model: Outline) -> tuple[Module, ...]:
    """All modules of the model after a tool has given every expert linears of its own."""
    stacks: dict[str, list[str]] = {}
    shapes: dict[str, Weight] = {}
    for weight in model.matrices:
        if weight.count > 1 and (names := unfused(model, weight)):
            stacks.setdefault(weight.module, []).extend(names)
            shapes |= dict.fromkeys(names, weight)
    return tuple(
        part for module in model.modules for part in (module, *_experts(module, stacks.get(module.name, ()), shapes))
    )


def _experts(module: Module, names: Sequence[str], shapes: Mapping[str, Weight]) -> Iterator[Module]:
    """The linears of the experts, one expert after the other, each in the order of the tensors."""
    for name in sorted(names, key=lambda name: int(name.split(".")[-2])):
        stack = shapes[name]
        rows = stack.rows // len(STACKED[stack.name.rpartition(".")[2]])
        yield Module(name, ("Linear", "Module"), module.block, stack.columns, rows)


def require_split(to: str, model: Outline, formats: Mapping[str, str]) -> None:
    """Raise SpecError for a tensor of experts that is quantised, if the tool does not split it into linears."""
    for stack in _quantised_stacks(model, formats):
        if not unfused(model, stack):
            raise SpecError(
                f"to = {to!r}: {stack.name} holds several matrices in one tensor, which the tool does not split into "
                f"linears; plan bf16 for it, or export for llama-quantize"
            )


def require_checkpoint_names(to: str, model: Outline, formats: Mapping[str, str]) -> None:
    """Raise SpecError for a tensor of experts that is quantised, if checkpoints have other names for its linears."""
    kind = getattr(model.network.config, "model_type", "")
    for stack in _quantised_stacks(model, formats):
        if not unfused(model, stack) or not _keeps_names(kind):
            raise SpecError(
                f"to = {to!r}: {stack.name} holds experts in one tensor, and how checkpoints of this type name "
                f"them is not known; plan bf16 for it, or export for llama-quantize"
            )


def _quantised_stacks(model: Outline, formats: Mapping[str, str]) -> list[Weight]:
    return [stack for stack in model.matrices if stack.count > 1 and formats[stack.name] != UNQUANTISED]


@cache
def _keeps_names(model_type: str) -> bool:
    """Whether the checkpoints of a type name every expert's linears as `STACKED`, by the table of transformers."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    changes = get_checkpoint_conversion_mapping(model_type) or ()
    sources = {source for change in changes for source in change.source_patterns}
    return {f"mlp.experts.*.{part}.weight" for parts in STACKED.values() for part in parts} == sources
