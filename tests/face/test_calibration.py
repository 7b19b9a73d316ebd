"""Loss curves: measured as a plain prune of a copy measures them, and turned into the kappa that they ask for."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.decoders import tiny_decoder
from tests.models import tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.applying import linears_of, prune_blocks
from zetaplan.calibration import LossCurves, loss_curves
from zetaplan.cli import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.pruners import pruner_names
from zetaplan.scoring.blocks import partition
from zetaplan.scoring.sequences import checked_batches
from zetaplan.solvers import solve
from zetaplan.spec.power_pruning import power_pruning
from zetaplan.spec.pruning import pruning
from zetaplan.sweep import sweep

BATCH = {"input_ids": torch.randint(0, 250, (4, 20), generator=torch.Generator().manual_seed(1))}
OTHER = {"input_ids": torch.randint(0, 250, (3, 20), generator=torch.Generator().manual_seed(2))}


def loss(model) -> float:
    """By transformers: all sequences are equally long, so that the mean over tokens is that over sequences."""
    with torch.no_grad():
        return float(model(**OTHER, labels=OTHER["input_ids"]).loss)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("method", pruner_names())
def test_a_rise_is_that_of_a_copy_with_one_layer_pruned(make, method: str) -> None:
    model = make(layers=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = loss_curves(model, method, OTHER, BATCH, levels=(0.25, 0.5))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for name, row in zip(found.names, found.rise, strict=True):
        for level, rise in zip(found.levels, row, strict=True):
            pruned = copy.deepcopy(model)
            size = sum(w.numel() for w in pruned.get_submodule(name).parameters() if w.ndim == 2)
            prune_blocks(pruned, "layers", {name: int(level * size)}, method, BATCH)
            assert rise == pytest.approx(loss(pruned) - loss(model), abs=2e-6)
    assert np.abs(found.rise).min() > 1e-5


@given(p=st.floats(1.2, 12), seed=st.integers(0, 9), levels=st.sampled_from([(0.5, 0.7), (0.3, 0.5, 0.6, 0.8)]))
def test_the_exponent_of_a_power_is_found(p: float, seed: int, levels: tuple[float, ...]) -> None:
    weights = np.random.default_rng(seed).lognormal(size=7)
    rise = weights[:, None] * np.array(levels) ** p
    rise[0, 0] = -1e-3  # a layer that noise has pushed below zero does not count
    curves = LossCurves(tuple("abcdefg"), "wanda", np.array(levels), rise)
    assert curves.exponent == pytest.approx(p, rel=1e-9)
    assert curves.kappa == pytest.approx(1 / (p - 1), rel=1e-8)


@given(
    quality=st.lists(st.floats(0.01, 100), min_size=2, max_size=9),
    p=st.floats(1.3, 9),
    sparsity=st.floats(0.05, 0.79),
)
def test_kappa_makes_the_square_act_like_the_power_on_layers_of_one_size(quality, p: float, sparsity: float) -> None:
    limits = {"sparsity": sparsity, "upper": 0.8}
    power = solve(power_pruning(quality, 1e6, p=p, **limits)).x
    square = solve(pruning(quality, 1e6, kappa=1 / (p - 1), **limits)).x
    np.testing.assert_allclose(square, power, rtol=1e-8)


def test_curves_that_say_nothing_are_refused() -> None:
    levels = np.array([0.5, 0.7])
    falling = LossCurves(("a", "b"), "wanda", levels, np.array([[0.1, 0.2], [-0.1, 0.2]]))
    with pytest.raises(ScoringError, match="in 1 of 2 layers only, so there is no curve to fit; give more text"):
        _ = falling.exponent
    flat = LossCurves(("a", "b"), "wanda", levels, np.array([[0.1, 0.12], [0.1, 0.11]]))
    with pytest.raises(ScoringError, match=r"rises like rho\^0.4\d*, which is not convex"):
        _ = flat.kappa


@pytest.mark.parametrize("levels", [(0.5,), (0.7, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_bad_levels_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="expected two or more, ascending, between 0 and 1"):
        loss_curves(tiny_llama(), "magnitude", BATCH, levels=levels)


def test_the_command_writes_the_curves_and_says_the_kappa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a random model pruning may lower the loss, so its measured rises are replaced by rho^5."""

    def planted(*args: object, **options: object) -> LossCurves:
        curves = loss_curves(*args, **options)
        return replace(curves, rise=np.tile(curves.levels**5, (len(curves.names), 1)))

    monkeypatch.setattr("zetaplan.calibration.loss_curves", planted)
    model, out = tiny_llama_dir(tmp_path / "model", layers=3), tmp_path / "curves.json"
    options = ["--method", "wanda", "--sequences", "4", "--length", "32", "--level", "0.9", "--level", "0.6"]
    done = CliRunner().invoke(app, ["calibrate", str(model), *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "rises like rho^5.00" in done.stdout
    assert "zetaplan prune SCORES --kappa 0.25" in done.stdout
    found = json.loads(out.read_text())
    assert found["levels"] == [0.6, 0.9]
    assert found["kappa"] == pytest.approx(0.25)
    assert np.shape(found["rise"]) == (3, 2)


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


def linears_in(model) -> dict[str, torch.nn.Module]:
    parts = partition(model, "layers")
    return {name: linear for part in parts for name, linear in linears_of(part.modules).items()}


def replayed(model) -> dict[str, torch.Tensor]:
    """X'X of every linear by the pass over layers."""
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for _, observed in sweep(model, checked_batches(TEXT), gram, linears_in(model)):
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
        prune_blocks(model, "layers", counts, "sparsegpt", BATCH)
        assert model.training == mode
        pruned.append(model.state_dict())
    assert all(torch.equal(value, pruned[1][name]) for name, value in pruned[0].items())


class Short(torch.nn.ModuleList):
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


RECEIVES = "layer 'model.layers.1' does not receive what 'model.layers.0' puts out when it is called again: the "


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (act_between, f"{RECEIVES}relative difference is 3.3e-01, rounding explains"),
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


def test_a_device_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["calibrate", str(tiny_llama_dir(tmp_path)), "--device", "nonsense"])
    assert done.exit_code == 2
    assert "device = 'nonsense': torch cannot compute there; use cpu, or a device that it sees" in done.stderr
