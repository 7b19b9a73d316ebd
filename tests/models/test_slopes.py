"""Slopes against difference quotients, in float64, on real architectures; the model is left as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.decoders import tiny_decoder
from tests.tiny_models import tiny_gpt2, tiny_llama
from zetaplan.models.operating_point import OperatingPoint, replaced
from zetaplan.models.slopes import Slopes, drawn_loss, draws, step_between
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


def test_the_second_order_is_the_mean_curvature_of_the_divergence() -> None:
    """Against second differences along steps of random signs, over which the entries off the diagonal cancel."""
    model = tiny_llama(layers=2).double()
    ids = torch.randint(0, 8, (150, 12), generator=torch.Generator().manual_seed(4))
    rows = [row for batch in checked_batches(ids) for row in rows_of(batch)]
    point = OperatingPoint(model, checked_batches(ids), resume=False)
    steps = [signed(model, 2e-3, seed) for seed in range(24)]
    found = np.array([change for _, change in Slopes(model, {}, steps, order=2).of(rows)])
    first = np.array([change for _, change in Slopes(model, {}, steps).of(rows)])
    measured = [point.reading(step).divergence.mean() for step in steps]
    assert abs(first).max() < 1e-9  # the divergence is least at the unchanged model
    assert found.mean() == pytest.approx(np.mean(measured), rel=0.1)


def signed(model: torch.nn.Module, size: float, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        name: p.detach() + size * (2.0 * torch.randint(0, 2, p.shape, generator=draw) - 1.0).to(p)
        for name, p in model.named_parameters()
        if p.ndim >= 2 and "embed" not in name and "head" not in name
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_order_is_half_the_squared_gradient_of_drawn_labels(kind: str) -> None:
    model: Any = KINDS[kind]().double()
    if kind == "qwen3_moe":
        model.set_experts_implementation("eager")
    at = drawn(model, 0.02, seed=0)
    moves = [drawn(model, 0.03, seed=1), {**at, next(iter(at)): drawn(model, 0.1, seed=2)[next(iter(at))]}, at]
    rows = [row for batch in checked_batches(IDS) for row in rows_of(batch)]
    one, two = Slopes(model, at, moves).of(rows), Slopes(model, at, moves, order=2).of(rows)
    for row, (_, slopes), (_, both) in zip(rows, one, two, strict=True):
        squares = squared_gradients(model, at, row)
        expected = [
            sum(float(((move[name] - at[name]) ** 2 * squares[name]).sum()) / 2 for name in at) for move in moves
        ]
        assert np.subtract(both, slopes) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def squared_gradients(model: Any, at: dict[str, torch.Tensor], row: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """T g^2 of the mean loss of labels that numpy draws with the numbers of the row."""
    with replaced(model, at):
        logits = model(row["input_ids"], attention_mask=row["attention_mask"]).logits[0, :-1]
        shares = np.cumsum(torch.softmax(logits.detach().float(), -1).numpy(), axis=1)
        labels = [int(np.searchsorted(own, number)) for own, number in zip(shares, draws(row)[0].numpy(), strict=False)]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
        parameters = [model.get_parameter(name) for name in at]
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return {name: len(labels) * gradient**2 for name, gradient in zip(at, found, strict=True)}


@given(st.lists(st.floats(-6, 2), min_size=2, max_size=7), st.integers(1, 400))
def test_labels_are_drawn_by_their_probabilities(logits: list[float], count: int) -> None:
    """With evenly spaced numbers, every label comes as often as its probability says, up to one."""
    logs = torch.log_softmax(torch.tensor(logits, dtype=torch.float64), -1).repeat(count, 1).requires_grad_(True)
    drawn_loss(logs, (torch.arange(count) + 0.5) / count).backward()
    assert logs.grad is not None
    expected = count * logs.detach()[0].exp()
    assert (-logs.grad.sum(0) - expected).abs().max() <= 1
    assert logs.grad.sum() == -count


def test_a_label_is_drawn_where_the_probabilities_sum_to_less_than_one() -> None:
    logs = torch.full((1, 4), 0.2).log()
    assert drawn_loss(logs, torch.tensor([0.99])) == pytest.approx(-float(torch.tensor(0.2).log()))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.33, 0.49, 0.5, 1.0])
def test_a_step_of_few_entries_takes_the_room_of_these(share: float, kind: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(3)
    step, gradient = torch.randn(1000, generator=draw).to(kind), torch.randn(1000, generator=draw)
    step[torch.randperm(1000, generator=draw)[: 1000 - round(1000 * share)]] = 0.0
    kept = step_between(torch.zeros(1000, dtype=kind), step)
    for order in (1, 2):
        expected = float(step.double() ** order @ gradient.double())
        assert kept.along(gradient, order) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    tensors = [kept.entries] if kept.places is None else [kept.entries, kept.places]
    assert sum(t.nbytes for t in tensors) <= min(step.nbytes, (kind.itemsize + 4) * 1000 * share)
