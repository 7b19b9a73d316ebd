"""Readings at an operating point: the same as whole passes of a changed copy, whatever is known of earlier layers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.tiny_models import EXPERTS, SHIPPED, shipped, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.models import operating_point
from zetaplan.models.operating_point import OperatingPoint, Reading, replaced
from zetaplan.scoring.model.blocks import decoder_layers, partition
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.text.sequences import IGNORED, Batch, checked_batches

IDS = torch.randint(0, 22, (5, 12), generator=torch.Generator().manual_seed(3))
MASK = torch.ones_like(IDS)
MASK[1, 9:] = 0


def text() -> list[Batch]:
    return checked_batches({"input_ids": IDS, "attention_mask": MASK}, size=3)


def model_of(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    model = shipped(kind, dtype=dtype, layers=3)
    if kind in EXPERTS:
        model.set_experts_implementation("eager")
    return model


def weight_of(model: nn.Module, layer: int) -> str:
    """The largest parameter of a decoder layer."""
    named = partition(model, "layers")[layer].named_parameters
    return max(named, key=lambda name: named[name].numel())


def same(first: Reading, second: Reading) -> bool:
    return bool((first.divergence == second.divergence).all() and (first.loss == second.loss).all())


def by_hand(model: nn.Module, changed: nn.Module) -> tuple[list[float], list[float]]:
    """Divergence and loss of every sequence alone, without padding, in float64."""
    divergences, losses = [], []
    for ids, mask in zip(IDS, MASK, strict=True):
        row = ids[mask.bool()][None]
        with torch.no_grad():
            p, q = (functional.log_softmax(m(row).logits[0, :-1].double(), -1) for m in (model, changed))
        divergences.append(float((p.exp() * (p - q)).sum(-1).mean()))
        losses.append(float(functional.nll_loss(q, row[0, 1:])))
    return divergences, losses


@pytest.mark.parametrize("kind", SHIPPED)
def test_a_reading_is_that_of_a_changed_copy(kind: str) -> None:
    model = model_of(kind)
    name = weight_of(model, 1)
    point = OperatingPoint(model, text())
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.get_parameter(name).mul_(0.5)
    found = point.reading({name: model.get_parameter(name) * 0.5})
    divergence, loss = by_hand(model, changed)
    assert found.divergence == pytest.approx(divergence, rel=1e-3, abs=1e-6)
    assert found.loss == pytest.approx(loss, rel=1e-4)
    assert found.divergence.mean() > 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", SHIPPED)
def test_a_pass_from_the_first_changed_layer_is_the_whole_pass(kind: str, dtype: torch.dtype) -> None:
    model = model_of(kind, dtype)
    point, whole = OperatingPoint(model, text()), OperatingPoint(model, text(), resume=False)
    assert point._passes.resumable
    base: dict[str, Tensor | None] = {}
    for layer in (2, 0, 1):
        name = weight_of(model, layer)
        half = {**base, name: model.get_parameter(name).detach() * 0.5}
        assert same(point.reading(half), whole.reading(half))
        base |= half
        assert same(point.settle(base), whole.reading(base))
    skipped = {**base, decoder_layers(model)[1][0]: None}
    assert same(point.reading(skipped), whole.reading(skipped))
    assert same(point.reading({}), whole.reading({}))
    assert whole.reading({}).divergence == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_a_reference_that_is_not_kept_is_computed_when_used(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(kind)
    change = {weight_of(model, 1): model.get_parameter(weight_of(model, 1)).detach() * 0.5}
    kept = OperatingPoint(model, text()).reading(change)
    monkeypatch.setattr(operating_point, "KEPT", 0)
    for resume in (True, False):
        point = OperatingPoint(model, text(), resume=resume)
        assert not any(isinstance(dense, Tensor) for dense in point._dense)
        assert same(point.reading(change), kept)


def test_only_the_layers_from_the_first_change_on_are_computed() -> None:
    model = tiny_llama(layers=4, vocabulary=23)
    calls: list[int] = []
    for number, (_, layer) in enumerate(decoder_layers(model)):
        layer.self_attn.register_forward_hook(lambda *_, number=number: calls.append(number))
    point = OperatingPoint(model, text()[:1])
    for first in range(4):
        name = weight_of(model, first)
        calls.clear()
        point.reading({name: model.get_parameter(name).detach() * 0.5})
        assert calls == list(range(first, 4))


def test_a_changed_head_costs_no_layer_and_a_changed_embedding_all() -> None:
    model = tiny_llama(layers=2, vocabulary=23, tie_word_embeddings=False)
    passes = Passes(model, text()[0])
    assert passes.first_use("lm_head.weight") == 2
    assert passes.first_use("model.embed_tokens.weight") == 0
    assert passes.first_use("model.norm.weight") == 0
    tied = tiny_llama(layers=2, vocabulary=23)
    assert Passes(tied, text()[0]).first_use("model.embed_tokens.weight") == 0
    point, whole = OperatingPoint(model, text()), OperatingPoint(model, text(), resume=False)
    change = {"lm_head.weight": model.lm_head.weight.detach() * 0.5}
    assert same(point.reading(change), whole.reading(change))


def test_a_layer_that_is_left_out_adds_nothing() -> None:
    model = tiny_llama(layers=3, vocabulary=23)
    silent = {
        f"model.layers.1.{name}.weight": torch.zeros_like(model.get_parameter(f"model.layers.1.{name}.weight"))
        for name in ("self_attn.o_proj", "mlp.down_proj")
    }
    point = OperatingPoint(model, text())
    out, zero = point.reading({"model.layers.1": None}), point.reading(silent)
    assert out.loss == pytest.approx(zero.loss, rel=1e-6)
    assert out.divergence.mean() > 0.01


class Remembering(nn.Module):
    """A layer that adds what the first layer of the same pass has left. lasting : and leaves it there."""

    def __init__(self, layer: nn.Module, memory: dict[str, Tensor], first: bool, lasting: bool) -> None:
        super().__init__()
        self.layer, self.memory, self.first, self.lasting = layer, memory, first, lasting

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.layer, name)

    def forward(self, hidden: Tensor, *args: Any, **options: Any) -> Any:
        found = self.layer(hidden, *args, **options)
        if self.first:
            self.memory["left"] = found
            return found
        left = self.memory.get("left") if self.lasting else self.memory.pop("left", None)
        return found if left is None else found + left


@pytest.mark.parametrize("lasting", [True, False])
def test_a_model_whose_layers_share_more_than_hidden_states_is_passed_whole(lasting: bool) -> None:
    model = tiny_llama(layers=3, vocabulary=23)
    memory: dict[str, Tensor] = {}
    for number in (0, 2):
        model.model.layers[number] = Remembering(model.model.layers[number], memory, number == 0, lasting)
    point = OperatingPoint(model, text())
    assert not point._passes.resumable
    name = weight_of(model, 2)
    change = {name: model.get_parameter(name).detach() * 0.5}
    whole = OperatingPoint(model, text(), resume=False)
    assert same(point.reading(change), whole.reading(change))


def test_the_model_is_as_before_even_after_an_error() -> None:
    model = tiny_llama(layers=2, vocabulary=23)
    model.train()
    before = {name: (p.data_ptr(), p.clone()) for name, p in model.named_parameters()}
    point = OperatingPoint(model, text())
    name = weight_of(model, 0)
    point.settle({name: model.get_parameter(name).detach() * 0.5})
    with pytest.raises(RuntimeError), replaced(model, {name: torch.zeros(3)}):
        pass
    with pytest.raises(ScoringError, match="a pass of"), replaced(model, {name: torch.zeros_like(before[name][1])}):
        point._passes.logits({"input_ids": IDS[:, :, None], "labels": IDS})
    for key, p in model.named_parameters():
        assert p.data_ptr() == before[key][0]
        assert torch.equal(p, before[key][1])
        assert p.requires_grad
    assert model.training
    assert all("forward" not in layer.__dict__ for _, layer in decoder_layers(model))


def test_labels_that_are_left_out_do_not_count() -> None:
    model = tiny_llama(layers=2, vocabulary=23)
    labels = IDS.clone()
    labels[:, :6] = IGNORED
    name = weight_of(model, 0)
    change = {name: model.get_parameter(name).detach() * 0.5}
    some = OperatingPoint(model, checked_batches({"input_ids": IDS, "labels": labels})).reading(change)
    with torch.no_grad(), replaced(model, change):
        logits = model(IDS).logits
    rows = functional.cross_entropy(logits[:, 5:-1].flatten(0, 1), IDS[:, 6:].flatten(), reduction="none")
    assert np.allclose(some.loss, rows.view(5, 6).double().mean(1).numpy(), rtol=1e-5)
