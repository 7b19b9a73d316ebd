"""The matrices that a foreign plan is about, and the format that each of them takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from zetaplan.audits.foreign import ForeignPlan
from zetaplan.audits.sizes import Stored, stored
from zetaplan.exports.gguf_names import gguf_names
from zetaplan.exports.targets import Outline, Problem, check
from zetaplan.menus.bits import Weight

LAYER = re.compile(r".*?\.\d+(?=\.)")


@dataclass(frozen=True)
class Tensors:
    """What a plan applies to.

    matrices : with shapes, or (1, 1) where `shaped` is false. keys : the name of a matrix that entries are compared
    with; a matrix without one keeps the plan's rest. kept : the sizes of the other parameters. seen : their names, and
    those of modules without weights of their own.
    """

    matrices: tuple[Weight, ...]
    keys: Mapping[str, str]
    kept: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    seen: tuple[str, ...] = ()
    shaped: bool = True


@dataclass(frozen=True)
class Applied:
    """A plan on its matrices. unset : the matrices whose format is unknown. problems : of the entries."""

    stored: tuple[Stored, ...]
    unset: tuple[Weight, ...]
    problems: tuple[Problem, ...]


def tensors_of(plan: ForeignPlan, model: Outline | None) -> Tensors:
    """The matrices of the model; without a model those that the file holds, or names literally."""
    if plan.stored:
        return Tensors(plan.stored, {weight.name: weight.name for weight in plan.stored})
    if model is None:
        named = tuple(_named(entry.key) for entry in plan.settings if entry.rule == "equal")
        return Tensors(named, {weight.name: weight.name for weight in named}, shaped=False)
    from zetaplan.models.weights import head_of, others, weights

    matrices, kept = weights(model.network), others(model.network)
    if plan.names == "gguf":
        config = getattr(model.network, "config", None)
        layers = len({weight.layer for weight in matrices} - {""})
        names = gguf_names((*(w.name for w in matrices), *kept), getattr(config, "model_type", ""), layers)
        keys = {weight.name: names[weight.name] for weight in matrices if weight.name in names}
        return Tensors(matrices, keys, kept, tuple(names[name] for name in kept if name in names))
    head = head_of(model.network) if plan.head else ""
    keys = {weight.name: weight.module for weight in matrices if weight.layer or weight.name == head}
    return Tensors(matrices, keys, kept, (model.head,) if model.head else ())


def applied(plan: ForeignPlan, tensors: Tensors, rest: str) -> Applied:
    """The format of every matrix: that of the first entry that matches, otherwise `rest` ("": unknown)."""
    if plan.stored:
        rows = [Stored(w, plan.labels[w.name], plan.labels[w.name], plan.bytes[w.name]) for w in plan.stored]
        return Applied(tuple(rows), (), ())
    layout = "gptq" if plan.form == "gptqmodel" else plan.tool
    labels = {weight.name: _label(plan, tensors.keys.get(weight.name), rest) for weight in tensors.matrices}
    small = "f32" if plan.tool == "llama.cpp" else "bf16"
    kept = [Weight(name=name, module=name, rows=1, columns=numel) for name, numel in tensors.kept.items()]
    found = [stored(weight, labels[weight.name], layout) for weight in tensors.matrices if labels[weight.name]]
    found += [stored(weight, small, plan.tool) for weight in kept]
    unset = tuple(weight for weight in tensors.matrices if not labels[weight.name])
    return Applied(tuple(found), unset, _problems(plan, tensors) if tensors.shaped else ())


def _label(plan: ForeignPlan, key: str | None, rest: str) -> str:
    if key is None:
        return "bf16" if plan.tool == "vllm" else rest  # GPTQ and compressed-tensors leave the embedding as it is
    return next((entry.label for entry in plan.settings if entry.hits(key)), rest)


def _problems(plan: ForeignPlan, tensors: Tensors) -> tuple[Problem, ...]:
    names = tuple(dict.fromkeys((*tensors.keys.values(), *tensors.seen)))
    return (*check(plan.settings, names), *_without_effect(plan, set(tensors.keys.values()), tensors.seen))


def _without_effect(plan: ForeignPlan, matrices: Iterable[str], seen: tuple[str, ...]) -> Iterable[Problem]:
    """Entries that set only tensors which llama-quantize never changes."""
    for entry in plan.settings if plan.names == "gguf" else ():
        small = next((name for name in seen if entry.hits(name)), None)
        if small and entry.label != "f32" and not any(entry.hits(name) for name in matrices):
            yield Problem(entry.key, f"would be ignored: llama-quantize never changes {small}")


def _named(key: str) -> Weight:
    layer = LAYER.match(key)
    return Weight(name=key, module=key.removesuffix(".weight"), layer=layer[0] if layer else "", rows=1, columns=1)
