"""The dry run reads a recipe as llm-compressor 0.14 does: all modifiers, what they ignore, ranges and lengths.

Its matching of names is restated here from its documentation of targets, and compared on recipes drawn at random.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.exports.architectures import tiny
from tests.exports.exporting import plan_for, scores_of
from tests.tiny_models import tiny_llama
from zetaplan._yaml import dumped
from zetaplan.errors import SpecError
from zetaplan.exports import check_file, export
from zetaplan.plans.planner import prune

LAYERS = 12
LINEARS = 7 * LAYERS
FAULT = ("would be ignored", "raises an error", "expected a share", "no entry sets", "which it does not name")


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    return tiny("llama", num_hidden_layers=LAYERS)


def found(recipe: dict[str, Any] | str, model: nn.Module, folder: Path) -> list[str]:
    file = folder / "recipe.yaml"
    file.write_bytes(recipe.encode() if isinstance(recipe, str) else dumped(recipe))
    name, problems = check_file(file, model)
    assert name == "llm-compressor"
    return list(map(str, problems))


def recipe(**modifiers: dict[str, Any]) -> dict[str, Any]:
    return {"pruning_stage": {"pruning_modifiers": modifiers}}


WANDA: dict[str, Any] = {"sparsity": 0.5, "targets": ["re:.*q_proj$"]}


@pytest.mark.parametrize(
    "modifier",
    [
        {"sparsity": 0.5},
        {"sparsity": 0, "targets": ["re:.*_proj$"]},
        {"sparsity": 1.0, "targets": ["re:.*q_proj$"]},
        {"sparsity": [0.5] * LAYERS, "targets": ["re:.*q_proj$"]},
        {"sparsity": [0.1] * LAYERS, "targets": ["LlamaDecoderLayer"]},
        {"sparsity": 0.5, "targets": ["Linear"], "ignore": ["re:.*lm_head"]},
        {"sparsity": 0.5, "targets": ["LlamaDecoderLayer"], "ignore": ["model.layers.1.mlp.up_proj"]},
        {"sparsity": 0.5, "mask_structure": "2:4", "targets": ["re:.*q_proj$"]},
        {"sparsity": 0.5, "targets": [r"re:.*layers\.1[01]\..*q_proj$"]},
    ],
)
def test_sound_recipes_fit(modifier: dict[str, Any], llama: nn.Module, tmp_path: Path) -> None:
    assert found(recipe(WandaPruningModifier=modifier), llama, tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sparsity": 1.5}, r"sparsity\[0\]: is 1.5: expected a share between 0 and 1"),
        ({"sparsity": -0.1}, r"expected a share"),
        ({"sparsity": True}, r"expected a share"),
        ({"sparsity": None}, r"expected a share"),
        ({"sparsity": [0.5] * (LAYERS - 1)}, r"sparsity: model\.layers\.11\.self_attn\.q_proj: no entry sets"),
        ({"sparsity": [0.5] * (LAYERS + 1)}, r"sparsity\[12\]: would be ignored"),
        ({"targets": ["q_proj"]}, r"targets: q_proj: would be ignored"),
        ({"targets": ["re:.*q_proj$", "re:.*query"]}, r"re:\.\*query: would be ignored"),
        ({"targets": [r"re:model\.layers\.1.*q_proj"]}, r"would match model\.layers\.10\.self_attn\.q_proj"),
        (
            {"ignore": ["lm_head"], "targets": ["Linear"]},
            r"ignore: lm_head: would be ignored",
        ),  # it is `lm_head.` there
        ({"ignore": ["re:.*layers.99.*"]}, r"ignore: re:.*: would be ignored"),
        ({"ignore": ["Linear"]}, r"sparsity\[0\]: would be ignored: it prunes nothing in model\.layers\.0"),
        ({"mask_structure": "2:4", "sparsity": 0.7}, r"would be ignored: mask_structure 2:4 removes 0.5"),
        ({"mask_structure": "half"}, r"mask_structure: raises an error: expected N:M, got 'half'"),
        ({"sparsitty": 0.5}, r"sparsitty: raises an error: there is no such setting"),
    ],
)
def test_what_the_tool_ignores_or_stops_at(
    changes: dict[str, Any], said: str, llama: nn.Module, tmp_path: Path
) -> None:
    problems = found(recipe(WandaPruningModifier={**WANDA, **changes}), llama, tmp_path)
    assert problems
    assert re.search(said, problems[0])
    assert all(any(fault in problem for fault in FAULT) for problem in problems)


def test_all_modifiers_are_read(llama: nn.Module, tmp_path: Path) -> None:
    first = recipe(WandaPruningModifier=WANDA, SparseGPTModifier={**WANDA, "sparsity": 1.5})
    assert found(first, llama, tmp_path)[0].startswith("SparseGPTModifier 2: sparsity: sparsity[0]: is 1.5")
    stages = {**recipe(WandaPruningModifier=WANDA), "late_stage": recipe(WandaPruningModifier=WANDA)["pruning_stage"]}
    assert found(stages, llama, tmp_path) == []
    stages["late_stage"]["pruning_modifiers"]["WandaPruningModifier"] = {**WANDA, "targets": ["nothing"]}
    assert "WandaPruningModifier 2: targets: nothing: would be ignored" in found(stages, llama, tmp_path)[0]


def test_a_modifier_in_no_stage_or_group_is_not_read_by_the_tool(llama: nn.Module, tmp_path: Path) -> None:
    group = {"WandaPruningModifier": WANDA}
    for odd in (group, {"pruning_stage": group}, {"stage0": {"a_modifiers": group}}, {"a_stage": {"modifiers": group}}):
        [problem] = found(odd, llama, tmp_path)
        assert "WandaPruningModifier: would be ignored: expected NAME_stage" in problem


def test_what_hides_or_is_misread_is_refused(llama: nn.Module, tmp_path: Path) -> None:
    twice = (
        "s_stage:\n  p_modifiers:\n    WandaPruningModifier: {sparsity: 0.5}\n    WandaPruningModifier: {sparsity: 2}\n"
    )
    with pytest.raises(SpecError, match="'WandaPruningModifier' is in the file twice, and the first would be ignored"):
        found(twice, llama, tmp_path)
    with pytest.raises(SpecError, match="targets = 'Linear': the tool would read it letter by letter; write a list"):
        found(recipe(WandaPruningModifier={"sparsity": 0.5, "targets": "Linear"}), llama, tmp_path)
    with pytest.raises(SpecError, match=r"expected its settings by name, got 0\.5"):
        found(recipe(WandaPruningModifier=0.5), llama, tmp_path)  # type: ignore[arg-type]


def test_sparsegpt_cannot_remove_everything(llama: nn.Module, tmp_path: Path) -> None:
    whole = {"sparsity": 1.0, "targets": ["re:.*q_proj$"]}
    assert "SparseGPT cannot remove all weights" in found(recipe(SparseGPTModifier=whole), llama, tmp_path)[0]
    small = tiny_llama(layers=3)
    plan = prune(scores_of(small), sparsity=0.5, pins={"model.layers.1": 1.0})
    with pytest.raises(
        SpecError, match=r"model\.layers\.1\.self_attn\.q_proj would lose all weights, which SparseGPT rejects"
    ):
        export(plan, to="llm-compressor", model=small)


def test_an_export_fits(tmp_path: Path) -> None:
    model = tiny_llama(layers=3)
    for blocks in ("layers", "modules"):
        text = export(plan_for(model, "llm-compressor", blocks), to="llm-compressor", model=model).text
        assert found(text, model, tmp_path) == []


TARGETS = ["Linear", "LlamaMLP", "model.layers.1", "model.layers.3.self_attn.q_proj", r"re:.*layers\.1[01]\..*k_proj"]
TARGETS += ["re:.*down_proj", "q_proj", "re:lm_head", "re:.*experts", "lm_head", "Module", "re:model.layers.2$"]
IGNORE = ["lm_head", "re:.*lm_head", "Linear", "model.layers.1.mlp.up_proj", "model.layers.2.self_attn.v_proj.", "re:x"]


def restated(modifier: dict[str, Any], model: nn.Module) -> tuple[list[str], dict[str, int], set[str], set[str]]:
    """Targets in order, the position of the value of each pruned linear, and what matches of targets and ignore."""

    def matches(entry: str, name: str, module: nn.Module) -> bool:
        by_name = re.match(entry[3:], name) is not None if entry.startswith("re:") else entry == name
        return by_name or any(cls.__name__ == entry for cls in type(module).__mro__)

    named = dict(model.named_modules())
    outer = {n: m for n, m in named.items() if any(matches(t, n, m) for t in modifier["targets"])}
    pruned: dict[str, int] = {}
    used: set[str] = set()
    for index, (name, module) in enumerate(outer.items()):
        for suffix, inner in module.named_modules():
            if isinstance(inner, nn.Linear):
                hits = {entry for entry in modifier["ignore"] if matches(entry, f"{name}.{suffix}", inner)}
                used |= hits
                if not hits:
                    pruned[f"{name}.{suffix}".strip(".")] = index
    heard = {t for t in modifier["targets"] if any(matches(t, n, m) for n, m in named.items())}
    return list(outer), pruned, heard, used


def test_recipes_drawn_at_random_are_read_as_the_tool_reads_them(llama: nn.Module, tmp_path: Path) -> None:
    for seed in range(120):
        rng = random.Random(seed)  # noqa: S311  # no secret
        modifier: dict[str, Any] = {
            "targets": rng.sample(TARGETS, rng.randint(1, 3)),
            "ignore": rng.sample(IGNORE, rng.randint(0, 2)),
        }
        outer, pruned, heard, used = restated(modifier, llama)
        length = max(len(outer) + rng.choice([-1, 0, 0, 1]), 0)
        modifier["sparsity"] = [0.5] * length
        problems = found(recipe(WandaPruningModifier=modifier), llama, tmp_path)
        silent = [p for p in problems if p.endswith("would be ignored: the tool finds no module of this name")]
        unheard = {p.partition(": ")[2].rpartition(": would")[0] for p in silent if not p.startswith("sparsity")}
        assert unheard == {*modifier["targets"]} - heard | ({*modifier["ignore"]} - used)
        idle = {f"sparsity[{i}]" for i in range(length) if i not in pruned.values()}
        assert {p.split(": ")[1] for p in problems if p.startswith("sparsity: sparsity[")} == idle
        assert any("no entry sets" in p for p in problems) == (length < len(outer))
