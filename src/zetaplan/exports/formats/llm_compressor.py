"""llm-compressor: a recipe with one sparsity per linear, for its Wanda or SparseGPT modifier.

The list of sparsities follows the order in which the model names its modules, whatever the order of the targets, and
must be as long as what they match. Only nn.Linear is pruned there; a Conv1D would be passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from zetaplan._yaml import dumped, parsed
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, Job
from zetaplan.exports.targets import Entry, Module, by_position, linears

COUNTS, MODEL, FILE = "weights", True, "recipe.yaml"

MODIFIERS = ("SparseGPTModifier", "WandaPruningModifier")


def settings(job: Job) -> dict[str, dict[str, float]]:
    shares = {name: share for name, share in job.shares.items() if share}
    return {"targets": dict.fromkeys(shares, 1.0), "sparsity": shares}


def write(job: Job) -> bytes:
    shares = settings(job)["sparsity"]
    if kind := next((module.kind for module in linears(job.modules) if module.kind != "Linear"), None):
        raise SpecError(f"to = 'llm-compressor': it prunes nn.Linear only, this model has {kind}; use torch-prune")
    modifier = {"mask_structure": "0:0", "targets": list(shares), "sparsity": list(shares.values())}
    return dumped({"pruning_stage": {"pruning_modifiers": {"SparseGPTModifier": modifier}}})


def read(data: bytes, modules: Sequence[Module]) -> tuple[Group, ...] | None:
    found = next(_modifiers(parsed(data)), None)
    if found is None:
        return None
    targets = tuple(map(_target, _listed(found.get("targets", ["Linear"]))))
    pruned = [module for module in modules if module.kind == "Linear" or any(_inside(modules, module))]
    kinds = {target.key for target in targets}
    matched = [m.name for m in pruned if m.kind in kinds or any(t.regex.fullmatch(m.name) for t in targets)]
    named = tuple(target for target in targets if target.key not in {module.kind for module in modules})
    sparsity = found.get("sparsity")
    values: list[Any] = sparsity if isinstance(sparsity, list) else [sparsity] * len(matched)
    if not all(isinstance(value, int | float) for value in values):
        raise SpecError("sparsity: expected a number, or one number per target; correct the recipe")
    return (
        Group("targets", named, tuple(module.name for module in pruned)),
        Group("sparsity", by_position("sparsity", values, matched), tuple(matched), complete=True),
    )


def usage(job: Job, file: str) -> str:
    return f"llmcompressor.oneshot(model=MODEL, recipe={file!r}, dataset=...); or put WandaPruningModifier in its place"


def _modifiers(value: object) -> Iterator[dict[str, Any]]:
    """The pruning modifiers of a recipe, at whatever depth."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in MODIFIERS and isinstance(inner, dict):
            yield inner
        yield from _modifiers(inner)


def _listed(targets: object) -> list[str]:
    found = [targets] if isinstance(targets, str) else targets
    if not isinstance(found, list) or not all(isinstance(target, str) for target in found):
        raise SpecError("targets: expected names, kinds of module, or 're:' and a regular expression")
    return found


def _target(target: str) -> Entry:
    if target.startswith("re:"):
        return Entry(target, 1.0, f"(?:{target.removeprefix('re:')}).*")  # re.match there: the end is free
    return Entry(target, 1.0, re.escape(target))


def _inside(modules: Sequence[Module], outer: Module) -> Iterator[bool]:
    """Whether the module holds linears: then the target stands for all of them."""
    prefix = f"{outer.name}."
    return (module.kind == "Linear" and module.name.startswith(prefix) for module in modules)
