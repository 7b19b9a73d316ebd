"""Plans of formats applied to weights: every matrix against its quantizer, behind rounded predecessors."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.bits_plans import plan_of
from tests.models.test_apply import BATCHES, linear_inputs
from tests.tiny_models import shipped, tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError, SpecError
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose
from zetaplan.models.quantize import mismatches, planned_formats, rounded_matrices
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import matrices, weights

KINDS = {"llama": lambda: tiny_llama(hidden=32), "gpt2": lambda: tiny_gpt2(hidden=32)}
MIXED = ("int4-g16", "q8_0", "int3-asym", "bf16", "q4_1")


def applied(model: nn.Module, labels: object, batches: object = None) -> list:
    """The records of applying a plan with these formats in turn."""
    plan = plan_of(model, labels, sha256="0" * 64, runtime="mlx")  # sizes do not matter here
    return list(rounded_matrices(model, planned_formats(plan), batches))


@pytest.mark.parametrize("kind", KINDS)
def test_every_matrix_becomes_what_its_quantizer_says(kind: str) -> None:
    model = KINDS[kind]()
    dense = copy.deepcopy(model)
    records = applied(model, MIXED)
    assert [record.weight for record in records] == list(weights(dense))
    assert len({record.quantizer.label for record in records}) == len(MIXED)
    for record in records:
        [own], [found] = matrices(dense, record.weight), matrices(model, record.weight)
        assert torch.equal(found, record.quantizer.rounded(own))
        assert [torch.equal(code.values, found) for code in record.codes] == [True] * len(record.codes)
        assert bool(record.codes) == record.quantizer.label.startswith("int")
        assert not record.blind
    planned = {record.weight.name for record in records}
    for name, parameter in dense.named_parameters():
        if name not in planned:
            assert torch.equal(parameter, model.get_parameter(name)), name


def test_experts_in_one_tensor_are_rounded_each() -> None:
    model = shipped("qwen3_moe")
    dense = copy.deepcopy(model)
    for record in applied(model, lambda weight: "int4" if weight.count > 1 else "bf16"):
        if record.weight.count > 1:
            assert len(record.codes) == record.weight.count == 3
            for own, found in zip(matrices(dense, record.weight), matrices(model, record.weight), strict=True):
                assert torch.equal(found, find_quantizer("int4").rounded(own))


@pytest.mark.parametrize("kind", KINDS)
def test_gptq_observes_the_outputs_of_rounded_predecessors(kind: str) -> None:
    """Against plain passes of the model: embedding first, then layer by layer, all linears of a layer together."""
    model = KINDS[kind]()
    replayed = copy.deepcopy(model)
    records = applied(model, lambda weight: "gptq4-g16" if weight.layer else "int8", BATCHES)
    assert not any(record.blind for record in records)
    layers: dict[str, list] = {}
    for record in records:
        layers.setdefault(record.weight.layer, []).append(record)
    assert next(iter(layers)) == ""
    for layer, members in layers.items():
        inputs = {r.weight.module: linear_inputs(replayed, r.weight.module) for r in members if layer}
        for record in members:
            [matrix] = matrices(replayed, record.weight)
            seen = inputs.get(record.weight.module)
            gram = seen.mT @ seen if seen is not None else None
            expected = record.quantizer.codes(matrix.contiguous(), gram)
            # sums over tokens have another order, so a tie may be decided otherwise
            assert (record.codes[0].q == expected.q).float().mean() > 0.97
            matrix.copy_(record.codes[0].values)
            assert torch.equal(matrix, matrices(model, record.weight)[0])


def test_without_a_text_gptq_is_refused_and_nothing_has_changed() -> None:
    model = tiny_llama(hidden=32)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ScoringError, match="a format of the plan uses the inputs"):
        applied(model, ["gptq4-g16"])
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_what_receives_no_token_is_rounded_to_nearest_and_reported() -> None:
    model = tiny_llama(hidden=32, tie_word_embeddings=False)
    dense = copy.deepcopy(model)
    records = {record.weight.name: record for record in applied(model, ["gptq4-g16"], BATCHES)}
    blind = {name for name, record in records.items() if record.blind}
    assert blind == {"model.embed_tokens.weight", "lm_head.weight"}
    for name in blind:
        nearest = find_quantizer("int4-g16").rounded(dense.get_parameter(name).detach())
        assert torch.equal(model.get_parameter(name), nearest)


@torch.no_grad()
def test_gptq_is_closer_to_the_dense_model_than_rounding_to_nearest() -> None:
    dense = tiny_llama(hidden=64, layers=3)
    logits = {}
    for label in ("int3-g32", "gptq3-g32"):
        model = copy.deepcopy(dense)
        applied(model, lambda weight, label=label: label if weight.layer else "f32", BATCHES)
        logits[label] = [model(**batch).logits[batch["attention_mask"].bool()] for batch in BATCHES]
    expected = [dense(**batch).logits[batch["attention_mask"].bool()] for batch in BATCHES]
    errors = {
        label: sum(float((a - b).square().sum()) for a, b in zip(found, expected, strict=True))
        for label, found in logits.items()
    }
    assert errors["gptq3-g32"] < errors["int3-g32"]


def test_a_plan_for_another_model_is_described() -> None:
    plan = planned_formats(plan_of(tiny_llama(hidden=32), ["q8_0"], sha256="0" * 64))
    assert mismatches(tiny_llama(hidden=32), plan.facts.items()) == ()
    wider, shorter = (
        mismatches(tiny_llama(hidden=64), plan.facts.items()),
        mismatches(tiny_llama(hidden=32, layers=1), plan.facts.items()),
    )
    assert "matrix 'model.embed_tokens.weight' has the shape 257 x 64, the plan was made for 257 x 32" in wider
    assert shorter[0] == "matrix 'model.layers.1.self_attn.q_proj.weight' is not in the model"
    assert len(shorter) == 7


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.nan, "'model.layers.1.mlp.up_proj.weight' has entries that are not finite"),
        (1e30, "a weight is too large"),
    ],
)
def test_weights_that_no_format_holds_are_named(value: float, said: str) -> None:
    model = tiny_llama(hidden=32)
    with torch.no_grad():
        model.get_parameter("model.layers.1.mlp.up_proj.weight")[3, 4] = value
    with pytest.raises(ScoringError, match=said) as error:
        applied(model, ["q4_0"])
    assert "model.layers.1.mlp.up_proj.weight" in str(error.value)


def test_k_types_and_plans_of_something_else_are_refused() -> None:
    plan = plan_of(tiny_llama(hidden=256), ["q4_k"], sha256="0" * 64)
    with pytest.raises(
        SpecError, match=r"takes q4_k, and only llama\.cpp can round to it; export the plan for llama-qu"
    ):
        planned_formats(plan)
    other = Menu(("q",), (("2", "4"),), ((9, 1),), (((2,), (4,)),))
    with pytest.raises(SpecError, match="so it decides no formats"):
        planned_formats(choose(other, 4))
