"""GPTQ of experts in one tensor: each is rounded as a linear of its own, with the tokens that reach it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zetaplan as zp
from tests.bits_plans import plan_of
from tests.decoders import tiny_decoder
from tests.models.test_experts import TEXT, TOKENS
from zetaplan.menus.bits import bits_facts
from zetaplan.models import statistic
from zetaplan.models.checkpoints._manifest import notes_on
from zetaplan.models.inputs import Inputs
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import Observed, layer_pass
from zetaplan.models.quantize import Rounded, planned_formats, rounded_matrices
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import matrices, weights
from zetaplan.refining.levels.formats import Formats
from zetaplan.scoring.text.sequences import checked_batches

#: Plain, plain with another router, and transposed with biases.
KINDS = ("mixtral", "qwen3_moe", "gpt_oss")
FORMAT = "gptq3"


def applied(model: nn.Module, text: Any = TEXT) -> dict[str, Rounded]:
    plan = plan_of(model, lambda w: FORMAT if w.layer else "bf16", sha256="0" * 64, runtime="mlx")
    return {record.weight.name: record for record in rounded_matrices(model, planned_formats(plan), text)}


class Unfused(nn.Module):
    """The same experts as linears of their own."""

    def __init__(self, fused: nn.Module) -> None:
        super().__init__()
        self.gate = getattr(fused, "_apply_gate", None) or (
            lambda h: fused.act_fn(h.chunk(2, -1)[0]) * h.chunk(2, -1)[1]
        )
        turned = getattr(fused, "is_transposed", False)
        for key in ("gate_up_proj", "down_proj"):
            bias = getattr(fused, f"{key}_bias", None)
            self.register_module(key, nn.ModuleList(
                _linear(w.mT if turned else w, None if bias is None else bias[e])
                for e, w in enumerate(getattr(fused, key))
            ))  # fmt: skip

    def forward(self, hidden: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        total = torch.zeros_like(hidden)
        for expert, (up, down) in enumerate(zip(self.gate_up_proj, self.down_proj, strict=True)):
            token, place = torch.where(chosen == expert)
            total.index_add_(0, token, down(self.gate(up(hidden[token]))) * shares[token, place, None])
        return total


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight.data = weight.detach().clone()
    if bias is not None:
        linear.bias.data = bias.detach().clone()
    return linear


@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_is_rounded_as_a_linear_of_its_own(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistic, "FEW", 1)
    model = tiny_decoder(kind)
    model.set_experts_implementation("eager")
    other, ids = copy.deepcopy(model), TOKENS[:2]
    for layer in other.model.layers:
        layer.mlp.experts = Unfused(layer.mlp.experts)
    with torch.no_grad():
        torch.testing.assert_close(other(input_ids=ids).logits, model(input_ids=ids).logits)
    fused, linears = applied(model), applied(other)
    stacks = {name: record for name, record in fused.items() if record.weight.count > 1}
    assert len(stacks) == 4
    for name, record in stacks.items():
        assert not record.blind
        assert not record.pooled
        assert len(record.codes) == 4
        for expert, codes in enumerate(record.codes):
            [expected] = linears[f"{name}.{expert}.weight"].codes
            # sums over tokens have another order, so a tie may be decided otherwise
            assert (codes.q == expected.q).float().mean() > 0.97, (name, expert)
    stored = model.get_parameter("model.layers.1.mlp.experts.down_proj")[2]
    values = other.model.layers[1].mlp.experts.down_proj[2].weight
    turned = stored.mT if model.model.layers[1].mlp.experts.__dict__.get("is_transposed") else stored
    assert torch.isclose(turned, values, atol=1e-5).float().mean() > 0.97


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_gptq_of_experts_is_closer_than_rounding_to_nearest(kind: str) -> None:
    dense = tiny_decoder(kind)
    errors = {}
    for label in ("int3", "gptq3"):
        model = copy.deepcopy(dense)
        plan = plan_of(model, lambda w, label=label: label if w.count > 1 else "f32", sha256="0" * 64, runtime="mlx")
        list(rounded_matrices(model, planned_formats(plan), TEXT))
        errors[label] = float((model(input_ids=TOKENS).logits - dense(input_ids=TOKENS).logits).square().mean())
    assert errors["gptq3"] < errors["int3"]


def observed_at(model: nn.Module, name: str, text: Any) -> Observed:
    with torch.no_grad():
        return next(layer_pass(copy.deepcopy(model), checked_batches(text), gram_of, (name,)))[1]


def test_experts_that_few_tokens_reach_are_rounded_by_the_inputs_of_all_and_named() -> None:
    model, short = tiny_decoder("mixtral"), [{"input_ids": TOKENS[:3, :13]}]
    name = "model.layers.0.mlp.experts.gate_up_proj"
    dense = model.get_parameter(name).detach().clone()
    record = applied(copy.deepcopy(model), short)[name]
    # attention is rounded too, but what a layer receives is observed before
    seen = observed_at(model, name, short)
    counts = seen.rows[name].tolist()
    assert sum(counts) == 2 * 39
    assert record.pooled == tuple(f"'{name}[{e}]' ({rows})" for e, rows in enumerate(counts) if rows < 32)
    assert record.pooled
    for expert, rows in enumerate(counts):
        gram = seen[name][expert] if rows >= 32 else seen[name].sum(0)
        # embedding and head are in bfloat16, so the inputs differ a little
        expected = find_quantizer(FORMAT).codes(dense[expert], gram)
        assert (record.codes[expert].q == expected.q).float().mean() > 0.9
    [note] = notes_on([], record.pooled)
    assert note.startswith(
        "experts that fewer than 32 tokens reached (tokens), rounded by the inputs of all experts of "
    )
    assert f"'{name}[" in note


def test_a_menu_rounds_experts_by_their_inputs_and_tells_of_few_tokens() -> None:
    model, short = tiny_decoder("qwen3_moe"), TOKENS[:2, :8]
    few, many = (
        zp.measure(model, ["int4", "gptq4"], TOKENS[2:4], blocks="modules", calibration=text, cache=False)
        for text in (short, TOKENS)
    )
    for menu in (few, many):
        for name, labels, losses in zip(menu.names, menu.options, menu.losses, strict=True):
            found = dict(zip(labels, losses, strict=True))
            assert (found["int4"] == found["gptq4"]) == ("layers" not in name), name
    facts = bits_facts(few).measured
    assert facts
    assert facts.pooled == {f"model.layers.{k}.mlp.experts": 8 for k in range(2)}  # two stacks of four
    facts = bits_facts(many).measured
    assert facts
    assert all(number < 8 for number in facts.pooled.values())


def test_levels_of_a_refinement_round_experts_by_their_inputs() -> None:
    model = tiny_decoder("gpt_oss")
    inputs = Inputs(model, checked_batches(TEXT), None)
    levels = Formats(inputs, "layers", [find_quantizer("gptq3"), find_quantizer("gptq8")], "gptq8")
    name = "model.layers.0.mlp.experts.down_proj"
    [weight] = [weight for weight in weights(model) if weight.name == name]
    value = levels.values("model.layers.0", "gptq3")[name]
    seen = observed_at(model, name, TEXT)
    for expert, matrix in enumerate(matrices(model, weight)):
        few = int(seen.rows[name][expert]) < statistic.FEW
        gram = seen[name].sum(0) if few else seen[name][expert]
        expected = find_quantizer("gptq3").rounded(matrix, gram)
        assert torch.isclose(value[expert].mT, expected, atol=1e-6).float().mean() > 0.97
