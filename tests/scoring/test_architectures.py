"""Every architecture against per-sequence autograd: blocks, experts, shared weights, padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoders import tiny_decoder
from tests.tiny_models import ARCHITECTURES, tiny_architecture, tiny_llama
from zetaplan.scoring import Damping, curvature_names, score, score_each
from zetaplan.scoring.model.blocks import partition

TAU = Damping(0.02, mode="absolute")
ONE_PASS = ("block-fisher", "diagonal-fisher", "gradient", "mc-fisher", "kfac", "ekfac")
kinds = pytest.mark.parametrize("kind", ARCHITECTURES)


def text(seed=0, sequences=4, length=9):
    """Padded on the right, with a label left out in the midst of the first sequence."""
    ids = torch.randint(0, 22, (sequences, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1, 5:] = mask[3, 3:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, 4] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def on_the_left(batch):
    """The same text with its padding before it."""
    turned = {key: value.clone() for key, value in batch.items()}
    for row, tokens in enumerate(batch["attention_mask"].sum(1).tolist()):
        for value in turned.values():
            value[row] = value[row].roll(value.shape[1] - tokens)
    return turned


def dense_rows(model, batch, parameters):
    """G (N, d): each sequence alone and unpadded, its loss written out."""
    rows = []
    for ids, mask, labels in zip(*batch.values(), strict=True):
        n = int(mask.sum())
        logs = model(input_ids=ids[None, :n], use_cache=False).logits[0].log_softmax(-1)
        places = [t for t in range(n - 1) if labels[t + 1] != -100]
        loss = -torch.stack([logs[t, labels[t + 1]] for t in places]).mean()
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows).numpy()


@kinds
def test_gains_equal_the_dense_solve(kind):
    model, batch = tiny_architecture(kind), text()
    found = score_each(model, batch, curvatures=ONE_PASS[:3], damping=TAU)
    for k, part in enumerate(partition(model, "layers")):
        rows = dense_rows(model, batch, list(part.named_parameters.values()))
        g, fisher = rows.mean(axis=0), rows.T @ rows / len(rows)
        expected = {
            "block-fisher": g @ np.linalg.solve(fisher + TAU.value * np.eye(len(g)), g),
            "diagonal-fisher": np.sum(g**2 / (np.diag(fisher) + TAU.value)),
            "gradient": g @ g,
        }
        for name, value in expected.items():
            assert found[name].gain[k] == pytest.approx(value, rel=1e-8), name


@kinds
def test_every_parameter_is_in_a_block_or_left_out_by_name(kind):
    model = tiny_architecture(kind)
    for blocks in ("layers", "modules"):
        found = score(model, text(), blocks=blocks)
        inside = [p for part in partition(model, blocks) for p in part.named_parameters.values()]
        assert len({id(p) for p in inside}) == len(inside)
        named = dict(model.named_parameters())
        assert sum(found.parameters) + sum(named[name].numel() for name in found.left_out) == sum(
            p.numel() for p in named.values()
        )
        assert (found.linear_parameters <= found.parameters).all()
        assert (found.rank_parameters > 0).all()


@kinds
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 3))
def test_padding_and_batching_change_nothing(kind, seed, size):
    model, batch = tiny_architecture(kind), text(seed)
    cut = {key: value[[1, 3], :5] for key, value in batch.items()}
    rest = {key: value[[0, 2]] for key, value in batch.items()}
    whole = score_each(model, batch, curvatures=ONE_PASS, damping=TAU)
    split = score_each(model, [cut, rest], curvatures=ONE_PASS, damping=TAU)
    small = score_each(model, batch, curvatures=ONE_PASS, damping=TAU, batch_size=size)
    left = score_each(model, on_the_left(batch), curvatures=ONE_PASS, damping=TAU)
    for name, expected in whole.items():
        for found in (split, small, left):
            np.testing.assert_allclose(found[name].gain, expected.gain, rtol=1e-7)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3", "phi"])
def test_matrix_free_surrogates_ignore_padding_too(kind):
    model, batch = tiny_architecture(kind), text()
    cut = {key: value[[1, 3], :5] for key, value in batch.items()}
    rest = {key: value[[0, 2]] for key, value in batch.items()}
    for name in ("ggn", "token-fisher", "nystrom"):
        whole = score(model, batch, curvature=name, damping=Damping(1.0, mode="absolute"))
        for other in ([cut, rest], on_the_left(batch)):
            found = score(model, other, curvature=name, damping=Damping(1.0, mode="absolute"))
            np.testing.assert_allclose(found.gain, whole.gain, rtol=1e-7)


@kinds
def test_float32_and_bfloat16_are_close(kind):
    model, batch = tiny_architecture(kind), text()
    exact = score(model, batch, damping=TAU).gain
    np.testing.assert_allclose(score(model, batch, damping=TAU, dtype="float32").gain, exact, rtol=1e-3)
    np.testing.assert_allclose(score(model, batch, damping=TAU, dtype="bfloat16").gain, exact, rtol=0.15)


def test_experts_count_as_matrices():
    [first, _] = partition(tiny_architecture("mixtral"), "layers")
    attention = 8 * 8 + 2 * (4 * 8) + 8 * 8
    assert first.linear_parameters == attention + 3 * (24 * 8 + 12 * 8)
    assert first.rank_parameters == 2 * 16 + 2 * 12 + 3 * (24 + 8) + 3 * (12 + 8)
    names = [part.name for part in partition(tiny_architecture("mixtral"), "modules")]
    assert "model.layers.0.mlp.experts" in names


def test_grouped_experts_agree_with_those_one_by_one():
    """The library's default in float32 is a grouped product over all experts."""
    model = tiny_architecture("mixtral").float()
    one_by_one = score(model, text(), damping=TAU).gain
    model.set_experts_implementation("grouped_mm")
    np.testing.assert_allclose(score(model, text(), damping=TAU).gain, one_by_one, rtol=1e-3)


def test_a_shared_linear_counts_once_with_all_its_uses():
    model = tiny_llama(hidden=8, vocabulary=23, layers=2).double()
    layers = model.model.layers
    layers[1].mlp.up_proj.weight = layers[0].mlp.up_proj.weight  # two modules, one weight
    layers[1].mlp.gate_proj = layers[0].mlp.gate_proj  # one module in two places
    batch = text()
    found = score(model, batch, blocks="modules", damping=TAU)
    assert len(found.names) == 12
    for name in ("model.layers.0.mlp.up_proj", "model.layers.0.mlp.gate_proj"):
        rows = dense_rows(model, batch, [model.get_submodule(name).weight])
        g = rows.mean(axis=0)
        expected = g @ np.linalg.solve(rows.T @ rows / 4 + TAU.value * np.eye(len(g)), g)
        assert found.gain[found.names.index(name)] == pytest.approx(expected, rel=1e-5)


def test_a_linear_called_twice_in_one_pass_adds_both():
    model = tiny_llama(hidden=8, vocabulary=23).double()
    model.model.layers[0].mlp.register_forward_hook(
        lambda module, args, output: output + module.up_proj(args[0]).sum(-1, keepdim=True)
    )
    rows = dense_rows(model, text(), [model.model.layers[0].mlp.up_proj.weight])
    g = rows.mean(axis=0)
    found = score(model, text(), blocks="modules", damping=TAU)
    expected = g @ np.linalg.solve(rows.T @ rows / 4 + TAU.value * np.eye(len(g)), g)
    assert found.gain[found.names.index("model.layers.0.mlp.up_proj")] == pytest.approx(expected, rel=1e-5)


def test_the_list_of_surrogates_is_that_of_the_folder():
    matrix_free = {"ggn", "hessian", "nystrom", "token-fisher"}
    assert set(curvature_names()) == set(ONE_PASS) | matrix_free


#: Of each kind, what no gradient reaches. Convolutions, states, sinks and routers are differentiated one by one.
LEFT_OUT = {
    **dict.fromkeys(("lfm2", "qwen3_5_text", "mamba2", "gpt_oss", "gemma3n_text", "gemma4_text", "lfm3"), frozenset()),
    **dict.fromkeys(("rwkv", "minimax_m2", "mamba", "jamba", "jetmoe", "llama4_text", "inkling_text"), frozenset()),
    "deepseek_v32": {f"self_attn.indexer.{name}.weight" for name in ("wq_b", "wk", "k_norm", "weights_proj")}
    | {"self_attn.indexer.k_norm.bias"},
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_unmodified_models_are_scored_on_what_is_covered_and_the_rest_is_listed(kind):
    """In float32: the dense solve over the covered parameters of every layer."""
    model, batch = tiny_decoder(kind), text()
    found = score(model, batch, damping=TAU)
    inside = {name.removeprefix(f"{block}.") for block in found.names for name in found.left_out if f"{block}." in name}
    assert inside == LEFT_OUT[kind]
    for k, part in enumerate(partition(model, "layers")):
        covered = {name: p for name, p in part.named_parameters.items() if name not in found.left_out}
        assert found.parameters[k] == sum(p.numel() for p in covered.values())
        assert found.linear_parameters[k] == part.linear_parameters
        rows = dense_rows(model, batch, list(covered.values())).astype(np.float64)
        products = rows @ rows.T
        gain = np.linalg.solve(products + len(rows) * TAU.value * np.eye(len(rows)), products.sum(1)).sum() / len(rows)
        assert found.gain[k] == pytest.approx(gain, rel=1e-4)


def test_embeddings_scaled_in_place_are_scored():
    """CTRL multiplies what its embedding returns in place; its gains are those of the dense solve."""
    model, batch = tiny_decoder("ctrl"), text()
    found = score(model, batch, curvature="gradient")
    for k, part in enumerate(partition(model, "layers")):
        g = dense_rows(model, batch, list(part.named_parameters.values())).astype(np.float64).mean(axis=0)
        assert found.gain[k] == pytest.approx(g @ g, rel=1e-4)


@pytest.mark.parametrize("kind", ["lfm2", "qwen3_5_text", "mamba2"])
def test_a_convolution_is_no_stack_of_experts(kind):
    model = tiny_decoder(kind)
    for part in partition(model, "layers"):
        linears = sum(module.weight.numel() for module in part.modules.values() if isinstance(module, torch.nn.Linear))
        assert part.linear_parameters == linears > 0
    found = score(model, text(), blocks="modules", damping=TAU)
    assert not any("conv1d" in name or name.endswith("conv.conv") for name in found.names)
