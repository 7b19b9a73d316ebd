"""Steps that need unquantised weights refuse a model whose weights are quantised, in one sentence; evaluation works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zetaplan as zp
from tests.bits_plans import plan_of
from tests.tiny_models import save_model, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.exports import export
from zetaplan.models.apply import prune_blocks
from zetaplan.models.checkpoints import Source, find_form
from zetaplan.models.quantize import planned_formats
from zetaplan.plans.planner import allocate
from zetaplan.scoring import load_model

IDS = torch.randint(0, 250, (24, 12), generator=torch.Generator().manual_seed(6))
PARTS = IDS[:8], IDS[8:16]

STEPS: dict[str, Callable[[Any], object]] = {
    "score": lambda model: zp.score(model, IDS, cache=False),
    "prune": lambda model: prune_blocks(model, "layers", {"model.layers.0": 4}, "magnitude", IDS),
    "loss curves": lambda model: zp.loss_curves(model, "magnitude", IDS),
    "measure": lambda model: zp.measure(model, ["int8"], IDS, cache=False),
    "measure_levels": lambda model: zp.measure_levels(model, "magnitude", IDS, step=0.5, cache=False),
    "refine formats": lambda model: zp.refine(model, "rtn", "int4", *PARTS, options=["int2", "int4", "int8"]),
    "refine sparsity": lambda model: zp.refine(model, "magnitude", 0.5, *PARTS),
    "refine ranks": lambda model: zp.refine(model, "svd", 0.2, *PARTS),
    "refine layers": lambda model: zp.refine(model, "drop", 1, *PARTS),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_quantised_model_is_refused(step: str) -> None:
    model = tiny_llama(layers=3)
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(ScoringError, match="LlamaForCausalLM is already quantised, by gptq; give the model that it"):
        STEPS[step](model)


def test_a_packed_checkpoint_is_evaluated_and_exported_to_and_not_scored(tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    dense = load_model(save_model(tiny_llama(layers=3), tmp_path / "model"))
    ranks = allocate(zp.score(dense, IDS, cache=False), mean_rank=2)
    packed = load_model(_packed(dense.model, dense.sha256, tmp_path))
    assert zp.perplexity(packed, IDS, length=64, stride=32).value > 1
    assert export(ranks, to="peft", model=str(tmp_path / "packed")).text
    with pytest.raises(ScoringError, match="stores quantised weights, which are not read layer by layer"):
        load_model(tmp_path / "packed", stream=True)
    for step in STEPS.values():
        with pytest.raises(ScoringError, match="is already quantised, by compressed-tensors; give the model that it"):
            step(packed.model)


def _packed(model: nn.Module, sha256: str, folder: Path) -> Path:
    plan = plan_of(model, lambda weight: "int8" if weight.layer else "bf16", sha256=sha256, runtime="vllm")
    source = Source("x", lambda: load_model(folder / "model"), lambda _: None)
    find_form("compressed-tensors").write(planned_formats(plan), source, folder / "packed")
    return folder / "packed"
