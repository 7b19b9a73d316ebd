"""The experiment on adapters: equal numbers of ranks, PEFT's own schedules, and a page that shows every row."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks import adapters, common
from benchmarks.test_capacity import LAYERS, bench

__all__ = ["bench"]

pytest.importorskip("peft", reason="PEFT (extra peft) is not installed")


def ranks(model) -> int:
    return sum(part["default"].weight.shape[0] for part in (m.lora_A for m in model.modules() if hasattr(m, "lora_A")))


@pytest.mark.parametrize("row", [row for row in adapters.ROWS if row != "AdaLoRA"])
def test_every_row_has_the_same_ranks(bench, row) -> None:
    """AdaLoRA begins with more, and cuts them while it trains."""
    linears = len(adapters.linears(bench.loaded.model))
    assert ranks(adapters.ROWS[row][1](bench, 0)) == adapters.FORM.mean * LAYERS * linears


def test_half_of_the_layers_are_chosen_by_importance_or_by_the_seed(bench) -> None:
    assert adapters.half(bench, np.array([3.0, 1.0, 4.0, 2.0])).tolist() == [8, 0, 8, 0]
    drawn = {tuple(adapters.drawn(bench, seed).tolist()) for seed in range(8)}
    assert len(drawn) > 1
    assert all(sum(counts) == adapters.FORM.mean * LAYERS for counts in drawn)


def test_batches_are_whole_epochs_in_new_orders() -> None:
    batches = torch.cat(adapters._batches(10, seed=1))
    assert len(batches) == adapters.STEPS * adapters.BATCH
    assert sorted(batches[:10].tolist()) == sorted(batches[10:20].tolist()) == list(range(10))
    assert batches[:10].tolist() != batches[10:20].tolist()


@pytest.mark.slow
def test_adalora_ends_with_the_ranks_of_the_budget(bench) -> None:
    run = adapters.trained(bench, "AdaLoRA", 0, 3e-3)
    whole = adapters.trained(bench, "uniform", 0, 3e-3)
    left, budget = run["parameters"], whole["parameters"]
    assert abs(left - budget) < 0.35 * budget  # as many ranks, of linears of other shapes
    assert len(run["loss"]) == len(whole["loss"]) == len(bench.report)
    assert np.mean(whole["training"][-10:]) < np.mean(whole["training"][:10])


def test_the_penalty_is_the_distance_of_the_factors_from_orthogonal_ones(bench) -> None:
    model = adapters.adalora(bench, 0)
    before = float(adapters._penalty(model))
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            rows = parameter.data if "lora_A" in name else parameter.data.T
            rows.copy_(torch.linalg.qr(rows.T)[0].T)
    assert before > 0.1 > 1e-4 > float(adapters._penalty(model))
    assert adapters._penalty(adapters.ROWS["uniform"][1](bench, 0)) == 0.0


def test_the_page_has_every_row_with_the_same_seeds() -> None:
    result = json.loads(common.result("adapters").read_text(encoding="utf-8"))
    assert set(result["rows"]) == set(adapters.ROWS)
    assert all(len(row["parameters"]) == result["seeds"] for row in result["rows"].values())
