"""Slopes against difference quotients, in float64, on real architectures; the model is left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.decoders import tiny_decoder
from tests.tiny_models import tiny_gpt2, tiny_llama
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.models.slopes import Slopes, step_between
from zetaplan.refining.texts import rows_of
from zetaplan.scoring.text.sequences import checked_batches

IDS = torch.randint(0, 8, (3, 12), generator=torch.Generator().manual_seed(2))
KINDS = {
    "llama": tiny_llama,
    "gpt2": tiny_gpt2,
    "qwen3_moe": lambda: tiny_decoder("qwen3_moe"),
    "mamba": lambda: tiny_decoder("mamba"),
}


def drawn(model: torch.nn.Module, size: float, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        name: p.detach() + size * torch.randn(p.shape, generator=draw, dtype=p.dtype)
        for name, p in model.named_parameters()
        if p.ndim >= 2 and "embed" not in name and "wte" not in name and "wpe" not in name and "head" not in name
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_slope_is_the_limit_of_difference_quotients(kind: str) -> None:
    model: Any = KINDS[kind]().double()
    if kind == "qwen3_moe":
        model.set_experts_implementation("eager")  # the grouped one knows no float64
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked = {name: p.requires_grad for name, p in model.named_parameters()}
    at = drawn(model, 0.02, seed=0)
    one, every = next(iter(at)), drawn(model, 0.03, seed=1)
    few = at[one].clone()
    few[0] = every[one][0]  # kept by its places
    moves = [{**at, one: every[one]}, every, at, {}, {**at, one: few}]
    rows = [row for batch in checked_batches(IDS) for row in rows_of(batch)]
    found = Slopes(model, at, moves).of(rows)

    def reading(changes: dict[str, torch.Tensor]) -> Any:
        return OperatingPoint(model, checked_batches(IDS), resume=False).reading(changes).divergence

    assert [value for value, _ in found] == pytest.approx(reading(at), rel=1e-5)
    for number, changes in enumerate(moves):
        step = 1e-3
        ends = [
            reading({name: at[name] + t * (changes.get(name, before[name]) - at[name]) for name in at})
            for t in (-step, step)
        ]
        expected = (ends[1] - ends[0]) / (2 * step)
        assert [derivatives[number] for _, derivatives in found] == pytest.approx(expected, rel=2e-2, abs=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert asked == {name: p.requires_grad for name, p in model.named_parameters()}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.49, 0.5, 1.0])
def test_a_step_of_few_entries_takes_the_room_of_these(share: float) -> None:
    draw = torch.Generator().manual_seed(3)
    step, gradient = torch.randn(1000, generator=draw), torch.randn(1000, generator=draw)
    step[torch.randperm(1000, generator=draw)[: 1000 - round(1000 * share)]] = 0.0
    kept = step_between(torch.zeros(1000), step)
    assert kept.along(gradient) == pytest.approx(float(step.double() @ gradient.double()), rel=1e-5, abs=1e-6)
    tensors = [kept.entries] if kept.places is None else [kept.entries, kept.places]
    assert sum(t.numel() * t.element_size() for t in tensors) <= min(4 * 1000, 8 * 1000 * share)
