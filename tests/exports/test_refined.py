"""Refined plans of sparsity as settings of other tools: every linear loses what `apply` removes of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zetaplan as zp
from tests.decoders import tiny_decoder
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama
from zetaplan._yaml import parsed
from zetaplan.errors import CertificateError, SpecError
from zetaplan.exports import check_file, export
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.sparsity import removed_by
from zetaplan.models.matrices import matrices_of
from zetaplan.refining.apply import apply_refined
from zetaplan.scoring.model.blocks import partition

IDS = torch.randint(0, 22, (16, 12), generator=torch.Generator().manual_seed(3))
METHODS = {"wanda": "WandaPruningModifier", "sparsegpt": "SparseGPTModifier", "magnitude": "SparseGPTModifier"}
KINDS = {"llama": lambda: tiny_llama(layers=3, hidden=32), "qwen3_moe": lambda: tiny_decoder("qwen3_moe")}


def refined(model: Any, method: str = "wanda", blocks: str = "modules") -> ChoicePlan:
    options: dict[str, Any] = {"calibration": IDS[12:], "blocks": blocks, "evaluations": 20, "cache": False}
    return zp.refine(model, method, 0.45, IDS[:6], IDS[6:12], **options)


def zeros_by_linear(folder: Path, plan: ChoicePlan, method: str) -> dict[str, int]:
    loaded = zp.load_model(folder)
    apply_refined(loaded, plan, method, IDS[12:])
    found: dict[str, int] = {}
    for block in partition(loaded.model, "modules"):
        for matrix in matrices_of(block).values():
            found[matrix.stack.name] = found.get(matrix.stack.name, 0) + int((matrix.weight == 0).sum())
    return found


@pytest.mark.parametrize("blocks", ["modules", "layers"])
@pytest.mark.parametrize("method", METHODS)
def test_the_recipe_removes_what_apply_removes(method: str, blocks: str, tmp_path: Path) -> None:
    folder = save_model(tiny_llama(layers=3, hidden=32, vocabulary=257), tmp_path / "model")
    plan = refined(zp.load_model(folder), method, blocks)
    zeros = zeros_by_linear(folder, plan, method)
    model = zp.load_model(folder).model
    made = export(plan, to="llm-compressor", model=model)
    [(modifier, recipe)] = parsed(made.data)["pruning_stage"]["pruning_modifiers"].items()
    assert modifier == METHODS[method]
    found = dict(zip(recipe["targets"], recipe["sparsity"], strict=True))
    assert len(set(found.values())) > 1
    for name, count in zeros.items():
        assert found.get(name, 0) == count / model.get_submodule(name).weight.numel()
    made.save(tmp_path / made.file)
    assert check_file(tmp_path / made.file, model) == ("llm-compressor", ())


@pytest.mark.parametrize("kind", KINDS)
def test_the_script_and_the_tables_have_the_counts(kind: str, tmp_path: Path) -> None:
    folder = save_model(KINDS[kind](), tmp_path / "model")
    plan, model = refined(zp.load_model(folder)), zp.load_model(folder).model
    zeros = {name: count for name, count in zeros_by_linear(folder, plan, "wanda").items() if count}
    (tmp_path / "prune.py").write_bytes(export(plan, to="torch-prune", model=model).data)
    assert check_file(tmp_path / "prune.py", model) == ("torch-prune", ())
    rows = list(csv.reader(io.StringIO(export(plan, to="csv", model=model).text)))
    assert rows[0] == ["name", "units"]
    assert {name: int(count) for name, count in rows[1:] if int(count)} == zeros
    alone = json.loads(export(plan, to="json").text)
    assert (alone["program"], alone["unit"], alone["units"]) == ("choice", "weights", removed_by(plan))


def test_ratios_are_those_of_the_plan(tmp_path: Path) -> None:
    model = tiny_llama(layers=3, hidden=32)
    plan = refined(model)
    ratios = np.load(io.BytesIO(export(plan, to="alphapruning", model=model).data))
    assert ratios.tolist() == [removed_by(plan)[name] / plan.menu.provenance["sizes"][name] for name in plan.taken]  # type: ignore[index,call-overload]


def test_a_plan_for_another_model_or_kind_of_tool_is_refused() -> None:
    plan = refined(tiny_llama(layers=3, hidden=32))
    for other, said in ((tiny_llama(layers=2, hidden=32), "would be ignored"), (tiny_gpt2(), "would be ignored")):
        with pytest.raises(CertificateError, match=said):
            export(plan, to="llm-compressor", model=other)
    with pytest.raises(CertificateError, match="it was made for another model"):
        export(plan, to="llm-compressor", model=tiny_llama(layers=3, hidden=64))
    with pytest.raises(SpecError, match="takes plans of ranks, this plan counts weights"):
        export(plan, to="peft", model=tiny_llama(layers=3, hidden=32))
