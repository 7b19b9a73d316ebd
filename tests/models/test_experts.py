"""Experts in one tensor: what each of them receives, and that each is pruned by it, to the count."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from tests.decoders import tiny_decoder
from zetaplan.models import statistic
from zetaplan.models.apply import prune_blocks
from zetaplan.models.calibrate import loss_curves
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.matrices import matrices_of
from zetaplan.models.pruners import find_pruner, pruner_names
from zetaplan.models.weights import matrices, weights
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.model.losses import mean_loss
from zetaplan.scoring.text.sequences import checked_batches

#: Plain, with biases and transposed, with a gate of its own, with all tokens to all experts, with rows by expert.
KINDS = ("mixtral", "gpt_oss", "qwen3_5_moe_text", "llama4_text", "jetmoe", "nemotron_h", "aria_text")

TOKENS = torch.randint(2, 20, (12, 16), generator=torch.Generator().manual_seed(3))
PADDED = torch.ones_like(TOKENS)
PADDED[1, 5:] = 0
TEXT = [{"input_ids": TOKENS[:7], "attention_mask": PADDED[:7]}, {"input_ids": TOKENS[7:, :13]}]


def gram(x: torch.Tensor) -> torch.Tensor:
    return x.mT @ x


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_an_expert_is_observed_with_the_tokens_that_reach_it(kind: str) -> None:
    """The inputs of both stacks, from the routing of plain passes of single sequences, written out."""
    model = tiny_decoder(kind)
    module = model.model.layers[1].mlp.experts
    expected = dict.fromkeys(("gate_up_proj", "down_proj"), 0)
    rows = torch.zeros(4, dtype=torch.int64)

    def add(_, args) -> None:
        hidden, chosen, *_ = args
        for expert in range(4):
            x = hidden[(chosen == expert).any(1)]
            rows[expert] += len(x)
            up = module.gate_up_proj[expert].mT if module.is_transposed else module.gate_up_proj[expert]
            bias = module.gate_up_proj_bias[expert] if module.has_bias else None
            inner = module._apply_gate(functional.linear(x, up, bias))
            for key, value in (("gate_up_proj", x), ("down_proj", inner)):
                sums = torch.zeros(4, value.shape[1], value.shape[1])
                sums[expert] = gram(value)
                expected[key] = expected[key] + sums

    handle = module.register_forward_pre_hook(add)
    model.set_experts_implementation("eager")
    data = checked_batches(TEXT)
    with torch.no_grad():
        for batch in data:
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
                model(input_ids=ids[None, : int(mask.sum())], use_cache=False)
        handle.remove()
        names = {f"model.layers.1.mlp.experts.{key}": key for key in expected}
        _, observed = list(layer_pass(model, data, gram, names))[1]
    for name, key in names.items():
        torch.testing.assert_close(observed[name], expected[key], rtol=1e-4, atol=1e-5)
        assert torch.equal(observed.rows[name], rows)


def test_linears_are_observed_under_the_names_of_their_weights_too() -> None:
    model, name = tiny_decoder("mixtral"), "model.layers.0.self_attn.q_proj"
    with torch.no_grad():
        _, observed = next(layer_pass(model, checked_batches(TEXT), gram, (name, f"{name}.weight")))
    assert torch.equal(observed[name], observed[f"{name}.weight"])
    assert int(observed.rows[name]) == int(PADDED.sum() - PADDED[7:, 13:].sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", pruner_names())
def test_experts_are_pruned_to_the_count(kind: str, method: str) -> None:
    model = tiny_decoder(kind)
    dense = {name: p.detach().clone() for name, p in model.named_parameters()}
    counts = {part.name: part.linear_parameters // 3 for part in partition(model, "layers")}
    applied = prune_blocks(model, "layers", counts, method, TEXT)
    assert [(part.name, part.removed) for part in applied.blocks] == list(counts.items())
    for part in partition(model, "layers"):
        shares = {n: float((m.weight == 0).float().mean()) for n, m in matrices_of(part).items()}
        assert all(share == pytest.approx(1 / 3, abs=0.05) or share > 1 / 3 for share in shares.values()), shares
    touched = {m.stack.name for part in partition(model, "layers") for m in matrices_of(part).values()}
    for name, p in model.named_parameters():
        assert name in touched or name.removesuffix(".weight") in touched or torch.equal(p, dense[name])


def test_an_expert_is_pruned_as_a_linear_with_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every expert that enough tokens reached: SparseGPT on its own matrix with its own X'X."""
    monkeypatch.setattr(statistic, "FEW", 8)
    model = tiny_decoder("mixtral")
    name = "model.layers.0.mlp.experts.gate_up_proj"
    with torch.no_grad():
        _, observed = next(layer_pass(copy.deepcopy(model), checked_batches(TEXT), gram, (name,)))
        before = model.get_parameter(name).detach().clone()
        part = partition(model, "layers")[0]
        applied = prune_blocks(model, "layers", {part.name: part.linear_parameters // 2}, "sparsegpt", TEXT)
    for expert, rows in enumerate(observed.rows[name].tolist()):
        own = observed[name][expert] if rows >= 8 else observed[name].sum(0)
        expected, _ = find_pruner("sparsegpt").prune(before[expert], before[expert].numel() // 2, own, groups=False)
        torch.testing.assert_close(model.get_parameter(name)[expert], expected, rtol=1e-5, atol=1e-6)
    assert not any("received no token" in note for note in applied.notes)


def test_experts_that_few_tokens_reach_are_named_with_the_rule() -> None:
    model = tiny_decoder("mixtral")
    part = partition(model, "layers")[0]
    name = f"{part.name}.mlp.experts.gate_up_proj"
    short = [{"input_ids": TOKENS[:2, :6]}]
    for method in ("wanda", "sparsegpt"):
        pruned = copy.deepcopy(model)
        applied = prune_blocks(pruned, "layers", {part.name: part.linear_parameters // 2}, method, short)
        [note] = [note for note in applied.notes if "experts" in note]
        assert note.startswith(
            "experts that fewer than 32 tokens reached (tokens), pruned by the inputs of all experts of their stack: "
        )
        assert f"{name + '[0]'!r} (" in note
    chosen = {"wanda": lambda x: x.square().sum(0)}
    with torch.no_grad():
        _, observed = next(layer_pass(model, checked_batches(short), chosen["wanda"], (name,)))
    pruned = copy.deepcopy(model)
    prune_blocks(pruned, "layers", {part.name: part.linear_parameters // 2}, "wanda", short)
    before = model.get_parameter(name).detach()
    pooled = observed[name].sum(0)
    expected, _ = find_pruner("wanda").prune(before[2], before[2].numel() // 2, pooled, groups=False)
    assert torch.equal(pruned.get_parameter(name)[2], expected)


def test_a_matrix_that_the_model_reads_from_the_other_side_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_decoder("gpt_oss")
    for layer in model.model.layers:
        layer.mlp.experts.is_transposed = False
        layer.mlp.experts.forward = type(layer.mlp.experts).forward.__wrapped__.__get__(layer.mlp.experts)
    part = partition(model, "layers")[0]
    with pytest.raises(Exception, match="is multiplied by inputs of the width"):
        prune_blocks(model, "layers", {part.name: 100}, "wanda", TEXT)


def test_loss_curves_of_experts_restore_the_weights() -> None:
    model = tiny_decoder("qwen3_moe")
    before = copy.deepcopy(model.state_dict())
    data = checked_batches(TEXT)
    loss = mean_loss(model, data)
    curves = loss_curves(model, "wanda", TEXT, levels=(0.4, 0.8))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    part = partition(model, "layers")[1]
    counts = {part.name: sum(round(0.8 * m.weight.numel()) for m in matrices_of(part).values())}
    prune_blocks(model, "layers", counts, "wanda", TEXT)
    assert curves.rise[1, 1] == pytest.approx(mean_loss(model, data) - loss, abs=2e-4)


@pytest.mark.parametrize("kind", [*KINDS, "mamba2", "lfm2"])
def test_stacks_have_the_shapes_that_their_products_have(kind: str) -> None:
    model = tiny_decoder(kind)
    for weight in weights(model):
        assert matrices(model, weight).shape == (weight.count, weight.rows, weight.columns)
        assert "conv" not in weight.name.rpartition(".")[0].rpartition(".")[2]
