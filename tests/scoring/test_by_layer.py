"""Passes layer by layer: the scores of a pass as a whole, in less memory, or a pass as a whole."""

import gc

import numpy as np
import pytest
import torch

from tests.decoders import tiny_decoder
from tests.models.test_layer_pass import looped
from tests.scoring.test_memory import Live
from tests.tiny_models import tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import score, score_each
from zetaplan.scoring.backward import by_layer, way
from zetaplan.scoring.model import losses

IDS = torch.randint(2, 20, (5, 9), generator=torch.Generator().manual_seed(3))
MASK = torch.ones_like(IDS)
MASK[1, 5:] = 0
MASK[2, :2] = 0
TEXT = [{"input_ids": IDS[:4], "attention_mask": MASK[:4]}, {"input_ids": IDS[3:]}]

#: Masks of several kinds, mixers, convolutions, shared layers, experts, residuals between layers, odd outputs.
BY_LAYER = (
    *("llama", "gemma3_text", "opt", "bloom", "mamba2", "qwen3_5_text", "lfm2", "zamba2", "rwkv", "deepseek_v3"),
    *("minicpm3", "gpt_oss", "granitemoe", "phi3", "modernbert-decoder", "openai-gpt", "falcon_h1", "qwen3_next"),
)


@pytest.fixture
def sparing(monkeypatch):
    """Every pass goes by layer, on portions of two sequences and logits of few tokens."""
    monkeypatch.setattr(way, "SMALL", 0)
    monkeypatch.setattr(losses, "PORTION", 20)
    monkeypatch.setattr(by_layer, "LOGITS", 200)


def require_equal(model, request, by_layer: bool = True, rtol: float = 1e-4, text=TEXT, **settings) -> None:
    whole = score(model, text, **settings)
    request.getfixturevalue("sparing")
    found = score(model, text, **settings)
    facts = [scores.provenance["memory"]["by_layer"] for scores in (whole, found)]
    assert facts == [False, by_layer]
    assert found.loss == pytest.approx(whole.loss, rel=1e-5)
    for column in ("gain", "noise_floor", "standard_error", "gradient_norm"):
        np.testing.assert_allclose(getattr(found, column), getattr(whole, column), rtol=rtol, err_msg=column)


@pytest.mark.parametrize("kind", BY_LAYER)
def test_scores_are_those_of_a_pass_as_a_whole(kind, request):
    require_equal(tiny_decoder(kind), request)


def test_a_layer_that_is_called_twice_is_scored_at_both_calls(request):
    require_equal(looped(), request)


@pytest.mark.parametrize("settings", [{"blocks": "modules"}, {"batch_size": 3}, {"dtype": "float64"}])
def test_the_way_changes_no_setting(settings, request):
    require_equal(tiny_gpt2(vocabulary=23), request, text={"input_ids": IDS}, **settings)


def test_layers_that_share_more_than_hidden_states_are_passed_as_a_whole(request):
    require_equal(tiny_decoder("gemma3n_text"), request, by_layer=False)


def test_a_layer_that_reads_what_an_earlier_one_left_is_passed_as_a_whole(request):
    """Differentiated alone, the later layer would lose the gradient in the earlier one."""
    model = tiny_llama(layers=3, vocabulary=23)
    first, _, last = model.model.layers
    left = []
    first.mlp.register_forward_hook(lambda module, args, output: left.append(output))
    last.mlp.register_forward_hook(lambda module, args, output: output + left.pop() if left else output)
    require_equal(model, request, by_layer=False)


@pytest.mark.parametrize("curvature", ["mc-fisher", "kfac"])
def test_every_kind_of_surrogate_and_the_check_of_the_steps(curvature, request):
    model, text = tiny_llama(vocabulary=23), {"input_ids": IDS}
    held_out = {"input_ids": IDS.flip(0)}
    whole = score_each(model, text, curvatures=[curvature], held_out=held_out)[curvature]
    request.getfixturevalue("sparing")
    found = score_each(model, text, curvatures=[curvature], held_out=held_out)[curvature]
    assert found.provenance["memory"]["by_layer"]
    for column in ("gain", "decrease", "held_out_decrease"):
        np.testing.assert_allclose(getattr(found, column), getattr(whole, column), rtol=1e-3, atol=1e-6)


def test_weights_that_are_not_finite_are_named(sparing):
    model = tiny_llama(vocabulary=23)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ScoringError, match=r"parameter .*layers\.0\.mlp\.up_proj\.weight' holds non-finite values"):
        score(model, TEXT)


def peak(monkeypatch, small: int) -> tuple[int, int]:
    """The most bytes of tensors at once in a score of a model with many layers and a large vocabulary; the estimate."""
    monkeypatch.setattr(way, "SMALL", small)
    model = tiny_llama(layers=8, hidden=64, vocabulary=2003)
    gc.collect()
    with Live() as live:
        facts = score(model, {"input_ids": torch.randint(0, 2003, (24, 48))}).provenance["memory"]
    assert facts["by_layer"] == (small == 0)
    return live.peak, facts["estimate"]["pass"]


def test_a_pass_by_layer_needs_a_fraction_of_the_memory(monkeypatch):
    """Of the activations of one layer in place of eight, and of the logits of few tokens."""
    monkeypatch.setattr(losses, "PORTION", 96)
    monkeypatch.setattr(way, "PORTION", 96)
    for module in (by_layer, way):
        monkeypatch.setattr(module, "LOGITS", 1 << 17)
    (whole, _), (found, estimate) = peak(monkeypatch, 1 << 28), peak(monkeypatch, 0)
    assert found < whole / 4
    assert 0.5 * found <= estimate <= 1.5 * found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_looks_ahead_is_refused(dtype, sparing):
    model = tiny_llama(layers=3, vocabulary=23).to(dtype)
    model.model.layers[1].register_forward_hook(lambda module, args, output: output + output.roll(-1, dims=1))
    with pytest.raises(ScoringError, match="the last token changes the logits of earlier places"):
        score(model, TEXT)
