"""The pass over layers: statistics of a plain pass on every architecture, shared weights, and linears without input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from tests.decoders import tiny_decoder
from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.models.apply import prune_blocks
from zetaplan.models.calibrate import loss_curves
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.pruners import pruner_names
from zetaplan.models.pruners.sparsegpt import SparseGPT
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

#: Shared keys and values, several kinds of attention, latents, mixers, convolutions, experts, residuals, odd outputs.
REPLAYED = (
    *("gemma4_text", "gemma4_unified_text", "gemma3n_text", "gemma3_text", "llama", "opt", "bloom", "gpt_neo"),
    *("mamba2", "qwen3_5_text", "lfm2", "zamba2", "rwkv", "deepseek_v3", "minicpm3", "gpt_oss", "granitemoe"),
    *("phi3", "modernbert-decoder", "openai-gpt", "recurrent_gemma", "falcon_h1", "starcoder2", "qwen3_next"),
)

TOKENS = torch.randint(2, 20, (5, 9), generator=torch.Generator().manual_seed(3))
PADDED = torch.ones_like(TOKENS)
PADDED[1, 5:] = 0
TEXT = [{"input_ids": TOKENS[:3], "attention_mask": PADDED[:3]}, {"input_ids": TOKENS[3:, :7]}]


def gram(x: torch.Tensor) -> torch.Tensor:
    return x.mT @ x


def linears_in(model) -> dict[str, nn.Module]:
    parts = partition(model, "layers")
    return {n: m for part in parts for n, m in part.modules.items() if isinstance(m, nn.Linear | Conv1D)}


def replayed(model) -> dict[str, torch.Tensor]:
    """X'X of every linear by the pass over layers."""
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for _, observed in layer_pass(model, checked_batches(TEXT), gram, linears_in(model)):
            found |= observed
    return found


def plain(model) -> dict[str, torch.Tensor]:
    """The same by hooks in plain passes of each sequence alone, cut to its tokens: no padding, no replay."""
    sums: dict[str, torch.Tensor] = {}
    names = {linear: name for name, linear in linears_in(model).items()}

    def add(module, args, options) -> None:
        x = (*args, *options.values())[0]
        sums[names[module]] = sums.get(names[module], 0) + gram(x.reshape(-1, x.shape[-1]))

    handles = [linear.register_forward_pre_hook(add, with_kwargs=True) for linear in names]
    with torch.no_grad():
        for batch in checked_batches(TEXT):
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
                model(input_ids=ids[None, : int(mask.sum())], use_cache=False)
    for handle in handles:
        handle.remove()
    return sums


def require_equal(model) -> None:
    found, expected = replayed(model), plain(model)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 2e-5 * float(value.norm()), name


@pytest.mark.parametrize("kind", REPLAYED)
def test_statistics_are_those_of_a_plain_pass(kind: str) -> None:
    require_equal(tiny_decoder(kind))


def looped():
    """The second layer runs twice, with a linear of the first."""
    model = tiny_llama(layers=4, vocabulary=23)
    layers = model.model.layers
    layers[2] = layers[1]
    layers[1].mlp.up_proj = layers[0].mlp.up_proj
    return model


def test_a_layer_that_is_called_twice_is_observed_at_both_calls() -> None:
    require_equal(looped())


@pytest.mark.parametrize("method", pruner_names())
def test_shared_weights_are_pruned_once_to_the_count(method: str) -> None:
    model = looped()
    counts = {part.name: part.linear_parameters // 2 for part in partition(model, "layers")}
    applied = prune_blocks(model, "layers", counts, method, TEXT)
    assert [(part.removed, part.zeros) for part in applied.blocks] == [(n, n) for n in counts.values()]
    assert loss_curves(looped(), method, TEXT).names == tuple(counts)


def test_a_model_in_training_mode_is_calibrated_without_its_dropout_and_stays_in_training() -> None:
    pruned = []
    for mode in (True, False):
        model = tiny_llama(layers=3, attention_dropout=0.5).train(mode)
        counts = {part.name: part.linear_parameters // 2 for part in partition(model, "layers")}
        prune_blocks(model, "layers", counts, "sparsegpt", TEXT)
        assert model.training == mode
        pruned.append(model.state_dict())
    assert all(torch.equal(value, pruned[1][name]) for name, value in pruned[0].items())


class Short(nn.ModuleList):
    """Hands out its slices without the last layer."""

    def __getitem__(self, index):
        return list(self)[:-1] if isinstance(index, slice) else super().__getitem__(index)


def act_between(model) -> None:
    model.model.layers[1].register_forward_pre_hook(lambda module, args: (args[0] * 1.5, *args[1:]))


def cut(model) -> None:
    model.model.layers[1].register_forward_pre_hook(lambda module, args: (args[0][:, -1:], *args[1:]))
    for layer in model.model.layers:
        layer.forward = lambda hidden_states, **options: 2 * hidden_states


def count_calls(model) -> None:
    calls = iter(range(1, 10**6))
    model.model.layers[0].register_forward_hook(lambda module, args, output: output * (1 + next(calls)))


def leave_out(model) -> None:
    model.model.layers = Short(list(model.model.layers))


RECEIVES = "the input of layer 'model.layers.1' is not the output of a second call of 'model.layers.0': the "


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (act_between, f"{RECEIVES}relative difference is 3.3e-01, and rounding allows"),
        (cut, f"{RECEIVES}shapes are (2, 9, 16) and (2, 1, 16)"),
        (count_calls, f"{RECEIVES}relative difference is"),
        (leave_out, "layer 'model.layers.2' is not called in a pass"),
    ],
)
def test_a_layer_that_cannot_be_replayed_is_named_with_the_remedy(change, message: str, dtype) -> None:
    model = tiny_llama(layers=3, vocabulary=23).to(dtype)
    change(model)
    counts = {"model.layers.0": 100}
    with pytest.raises(ScoringError) as raised:
        prune_blocks(model, "layers", counts, "wanda", TEXT)
    assert message in str(raised.value)
    assert str(raised.value).endswith("this model cannot be calibrated layer by layer; use the method magnitude")
    assert prune_blocks(model, "layers", counts, "magnitude").blocks[0].removed == 100


@given(data=st.data())
def test_dead_columns_are_set_to_zero_and_the_others_pruned_as_without_them(data: st.DataObject) -> None:
    """With all weights of dead columns removed first, what is left is the problem of the live columns alone."""
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    dead = torch.tensor(data.draw(st.lists(st.booleans(), min_size=columns, max_size=columns)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    inputs = torch.randn(12, columns, generator=generator, dtype=torch.float64).masked_fill(dead, 0)
    count = data.draw(st.integers(int(dead.sum()) * rows, rows * columns))
    left, removed = SparseGPT().prune(weight, count, SparseGPT().observe(inputs), groups=False)
    assert int(removed.sum()) == count
    assert not left[:, dead].any()
    assert removed[:, dead].all()
    if not dead.all():
        alive = inputs[:, ~dead]
        expected, _ = SparseGPT().prune(
            weight[:, ~dead], count - int(dead.sum()) * rows, SparseGPT().observe(alive), groups=False
        )
        torch.testing.assert_close(left[:, ~dead], expected, rtol=1e-9, atol=1e-12)


def smallest_removed(weight: torch.Tensor) -> torch.Tensor:
    """The weight without the quarter that is smallest."""
    return weight.masked_fill(weight.abs() < weight.abs().flatten().sort().values[weight.numel() // 4], 0)


def silenced(model: nn.Module, name: str, kind: str) -> nn.Module:
    """The model with one linear that meets zeros in half of its inputs or in all, or that is not called."""
    linear = model.get_submodule(name)
    width = linear.weight.shape[1]
    cut = {"half": width // 2, "all": 0}
    if kind == "never":
        linear.forward = None
        parent = model.get_submodule(name.rpartition(".")[0])
        parent.forward = lambda x: parent.down_proj(parent.act_fn(parent.gate_proj(x)))
    else:
        linear.register_forward_pre_hook(lambda _, args: (args[0] * (torch.arange(width) < cut[kind]),), prepend=True)
    return model


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
@pytest.mark.parametrize("kind", ["half", "all", "never"])
def test_a_linear_that_the_text_does_not_reach_is_pruned_to_the_count_and_named(method: str, kind: str) -> None:
    name = "model.layers.1.mlp.up_proj"
    model = silenced(tiny_llama(layers=3), name, kind)
    counts = {part.name: part.linear_parameters // 4 for part in partition(model, "layers")}
    applied = prune_blocks(model, "layers", counts, method, TEXT)
    assert [part.removed for part in applied.blocks] == list(counts.values())
    [note] = applied.notes
    weight = model.get_submodule(name).weight
    if kind == "never":
        assert note == f"linears that received no token of the text, pruned by magnitude: {name!r}"
        before = tiny_llama(layers=3).get_submodule(name).weight.detach()
        assert torch.equal(weight, smallest_removed(before))
        return
    dead = 16 if kind == "all" else 8
    fate = "their weights are zeroed too" if method == "sparsegpt" else "their weights go first"
    silent = {name: dead} | ({"model.layers.1.mlp.down_proj": 32} if kind == "all" else {})
    listed = ", ".join(f"{linear!r} ({inputs})" for linear, inputs in silent.items())
    assert note == f"inputs that are zero at every token, by linear; {fate}: {listed}"
    if method == "sparsegpt":
        assert not weight[:, 16 - dead :].any()
        assert applied.blocks[1].zeros > applied.blocks[1].removed


def test_inputs_that_are_not_finite_are_refused_with_the_linear() -> None:
    messages = {
        1: "the input of layer 'model.layers.2' is not finite",
        2: "the inputs of '.*2.mlp.up_proj' are not fin",
    }
    for place, message in messages.items():
        model = tiny_llama(layers=3)
        linear = model.model.layers[place].mlp.up_proj
        linear.register_forward_pre_hook(lambda _, args: (args[0] * torch.inf,), prepend=True)
        for method in ("wanda", "sparsegpt"):
            with pytest.raises(ScoringError, match=message):
                prune_blocks(model, "layers", {f"model.layers.{place}": 1000}, method, TEXT)
