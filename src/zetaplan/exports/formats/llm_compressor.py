"""llm-compressor: a recipe with one sparsity per linear, or with groups of linears of one format each.

The modifiers that prune apply the list of sparsities in the order in which the model names its modules, whatever the
order of the targets. The list must be as long as the number of matched modules. They prune only nn.Linear and ignore a
Conv1D without a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zetaplan._yaml import dumped, parsed
from zetaplan.errors import SpecError
from zetaplan.exports.addresses import require_split, unfused, unfused_modules
from zetaplan.exports.config_groups import config_groups, formats, read_groups
from zetaplan.exports.job import Group, Job, UnitJob
from zetaplan.exports.patterns import from_start
from zetaplan.exports.targets import NOTHING, Entry, Module, Outline, Problem, Value, by_position, linears
from zetaplan.models.quantizers import find_quantizer

COUNTS, MODEL, FILE = ("weights", "formats"), True, "recipe.yaml"

SPARSE_GPT, WANDA = "SparseGPTModifier", "WandaPruningModifier"
PRUNING = (SPARSE_GPT, WANDA)
GPTQ, NEAREST = "GPTQModifier", "QuantizationModifier"
MODIFIERS = (*PRUNING, GPTQ, NEAREST)
PRUNABLE = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d"})
SETTINGS = frozenset(
    {"sparsity", "sparsity_profile", "mask_structure", "owl_m", "owl_lmbda", "sequential_update", "targets", "ignore"}
    | {"index", "group", "start", "end", "update"}
    | {"block_size", "dampening_frac", "preserve_sparsity_mask", "offload_hessians"}
)  # any other is an error in the tool


def settings(job: Job) -> Mapping[str, Mapping[str, Value]]:
    if isinstance(job, UnitJob):
        shares = {name: share for name, share in _shares(job).items() if share}
        return {"targets": dict.fromkeys(shares, 1.0), "sparsity": shares}
    return {"config_groups": formats(job, "llm-compressor", require_split)}


def write(job: Job) -> bytes:
    if isinstance(job, UnitJob):
        return dumped({"pruning_stage": {"pruning_modifiers": {_modifier(job): _pruning(job)}}})
    modifier = GPTQ if any(find_quantizer(str(label)).calibrated for label in job.decided.values()) else NEAREST
    groups = config_groups(settings(job)["config_groups"])
    return dumped({"quant_stage": {"quant_modifiers": {modifier: groups}}})


def _modifier(job: UnitJob) -> str:
    """The modifier of the method that the plan was refined with; SparseGPT for a plan that was not refined."""
    return WANDA if job.plan.method == "wanda" else SPARSE_GPT


def _shares(job: UnitJob) -> dict[str, float]:
    """The shares by the tool's names, in its order: those of experts by the linears that the tool gives them.

    Raises SpecError for a tensor of experts that the tool does not split.
    """
    shares = {name: share for name, share in job.shares.items() if name not in job.experts}
    stacks = {weight.name: weight for weight in job.known.matrices}
    for stack, counts in job.experts.items():
        names, weight = unfused(job.known, stacks[stack]), stacks[stack]
        if any(counts) and not names:
            raise SpecError(
                f"to = 'llm-compressor': {stack} holds several matrices in one tensor, which the tool does not split "
                "into linears; use torch-prune"
            )
        each = len(names) // len(counts)
        shares |= {name: counts[i // each] / (weight.rows * weight.columns) for i, name in enumerate(names)}
    return {module.name: shares[module.name] for module in unfused_modules(job.known) if module.name in shares}


def _pruning(job: UnitJob) -> dict[str, Any]:
    shares = settings(job)["sparsity"]
    if kind := next((module.kind for module in linears(job.modules) if "Linear" not in module.classes), None):
        raise SpecError(f"to = 'llm-compressor': it prunes nn.Linear only, this model has {kind}; use torch-prune")
    if full := next((name for name, share in shares.items() if share == 1), None):
        raise SpecError(
            f"to = 'llm-compressor': {full} would lose all weights, which SparseGPT rejects; plan with upper < 1"
        )
    return {"mask_structure": "0:0", "targets": list(shares), "sparsity": list(shares.values())}


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    recipe = parsed(data)
    found = tuple(_modifiers(recipe))
    if not found:
        return None
    several = len(found) > 1
    return tuple(
        group
        for number, (path, modifier) in enumerate(found, 1)
        for group in _groups(f"{path[-1]} {number}: " if several else "", path, modifier, model)
    )


def usage(job: Job, file: str) -> str:
    free = isinstance(job, UnitJob) and not job.plan.method
    other = f"; or put {WANDA} in its place" if free else ""
    return f"llmcompressor.oneshot(model=MODEL, recipe={file!r}, dataset=...){other}"


def _modifiers(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """The modifiers of a recipe with the keys that lead to them, at any depth."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in MODIFIERS:
            yield (*path, key), inner
        else:
            yield from _modifiers(inner, (*path, str(key)))


def _groups(label: str, path: tuple[str, ...], modifier: object, model: Outline) -> Iterator[Group]:
    """The tool's reading of one modifier: the modules that its targets match, then the linears pruned in each."""
    if not isinstance(modifier, dict):
        raise SpecError(f"{path[-1]}: expected its settings by name, got {modifier!r}; correct the recipe")
    if len(path) != 3 or not path[0].endswith("_stage") or not path[1].endswith("_modifiers"):
        known = "expected NAME_stage, then NAME_modifiers above it"
        yield Group(f"{label}recipe", (), (), found=(Problem(path[-1], f"would be ignored: {known}"),))
        return
    if path[-1] not in PRUNING:
        yield from _quantising(label, modifier, model)
        return
    targets = tuple(map(_target, _listed("targets", modifier.get("targets", ["Linear"]))))
    ignore = tuple(map(_target, _listed("ignore", modifier.get("ignore", []))))
    every = unfused_modules(model)
    matched = [m for m in every if any(_matches(target, m, m.name) for target in targets)]
    given = modifier.get("sparsity")
    values: list[Any] = given if isinstance(given, list) else [given] * len(matched)
    owner = {inner.name: i for i, outer in enumerate(matched) for inner in _pruned(outer, every, ignore)}  # last wins
    idle = [i for i, _ in zip(range(len(values)), matched, strict=False) if i not in owner.values()]
    idle = idle if values is given or not owner else []
    candidates = [pair for outer in matched for pair in _inner(outer, every)]
    unknown = [key for key in modifier if key not in SETTINGS]
    found = (
        *(Problem(key, "raises an error: there is no such setting") for key in unknown),
        *_wrong_values(path[-1], modifier, values if values is given else [given]),
        *(Problem(f"sparsity[{i}]", f"would be ignored: it prunes nothing in {matched[i].name}") for i in idle),
    )
    names = _names(matched)
    yield Group(f"{label}targets", tuple(_resolved(t, matched) for t in targets), names, ordered=False)
    yield Group(f"{label}ignore", tuple(_ignoring(e, candidates) for e in ignore), _names(every), ordered=False)
    yield Group(f"{label}sparsity", by_position("sparsity", values, names), names, complete=True, found=found)


def _quantising(label: str, modifier: Mapping[str, Any], model: Outline) -> tuple[Group, ...]:
    """The tool's reading of a modifier that quantises: its groups, or one preset scheme for all targets."""
    if "config_groups" in modifier:
        return read_groups(modifier, model, label)
    scheme, targets = str(modifier.get("scheme")), modifier.get("targets", ["Linear"])
    targets = [targets] if isinstance(targets, str) else targets
    preset = {"targets": targets, "weights": {"type": scheme, "num_bits": ""}}
    return read_groups({**modifier, "config_groups": {scheme: preset}}, model, label)


def _wrong_values(kind: str, modifier: Mapping[str, Any], values: Sequence[Any]) -> Iterator[Problem]:
    structure = str(modifier.get("mask_structure", "0:0"))
    if not re.fullmatch(r"0:0|\d+:[1-9]\d*", structure):
        yield Problem("mask_structure", f"raises an error: expected N:M, got {structure!r}")
        return
    if modifier.get("sparsity_profile") is not None:
        return  # the tool computes the values itself
    some, of = map(int, structure.split(":"))
    for i, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            yield Problem(f"sparsity[{i}]", f"is {value!r}: expected a share between 0 and 1")
        elif some and value != some / of:
            yield Problem(f"sparsity[{i}]", f"would be ignored: mask_structure {structure} removes {some / of:g}")
        elif not some and value == 1 and kind == SPARSE_GPT:
            yield Problem(f"sparsity[{i}]", "raises an error: SparseGPT cannot remove all weights of a linear")


def _listed(field: str, names: object) -> list[str]:
    if isinstance(names, str):
        raise SpecError(f"{field} = {names!r}: the tool would read it letter by letter; write a list")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{field}: expected names, kinds of module, or 're:' and a regular expression")
    return names


def _target(target: str) -> Entry:
    if target.startswith("re:"):
        return Entry(target, 1.0, from_start(target.removeprefix("re:")))
    return Entry(target, 1.0, re.escape(target))


def _matches(entry: Entry, module: Module, name: str) -> bool:
    """Whether the entry matches the module by name or by class; `name` is the tool's spelling at that point."""
    return entry.hits(name) or entry.key in module.classes


def _inner(outer: Module, every: Sequence[Module]) -> Iterator[tuple[Module, str]]:
    """The prunable modules of a target, itself included, by the tool's names: the target's own name ends in a dot."""
    prefix = f"{outer.name}." if outer.name else ""
    for module in every:
        if (module.name == outer.name or module.name.startswith(prefix)) and not PRUNABLE.isdisjoint(module.classes):
            yield module, f"{outer.name}.{'' if module.name == outer.name else module.name.removeprefix(prefix)}"


def _pruned(outer: Module, every: Sequence[Module], ignore: Sequence[Entry]) -> Iterator[Module]:
    for module, name in _inner(outer, every):
        if not any(_matches(entry, module, name) for entry in ignore):
            yield module


def _resolved(entry: Entry, modules: Sequence[Module]) -> Entry:
    """The entry, by the names of the modules that it matches by name or by class; an expression is unchanged."""
    if entry.key.startswith("re:"):
        return entry
    hits = [module.name for module in modules if _matches(entry, module, module.name)]
    return Entry(entry.key, entry.value, "|".join(map(re.escape, hits)) or NOTHING)


def _ignoring(entry: Entry, candidates: Sequence[tuple[Module, str]]) -> Entry:
    hits = [module.name for module, name in candidates if _matches(entry, module, name)]
    return Entry(entry.key, entry.value, "|".join(map(re.escape, hits)) or NOTHING)


def _names(modules: Sequence[Module]) -> tuple[str, ...]:
    return tuple(module.name for module in modules)
