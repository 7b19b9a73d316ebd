"""Divergence against a literal float64 implementation, planted distributions, and the laws of a KL divergence."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax
from typer.testing import CliRunner, Result

from tests.tiny_models import byte_tokenizer, in_float64, save_model, tiny_gpt2, tiny_llama
from zetaplan._interval import interval_facts, mean_interval, per_token, quantile_facts
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError
from zetaplan.evaluate.divergence import Divergence, _kl, divergence, divergence_facts
from zetaplan.evaluate.perplexity import perplexity
from zetaplan.scoring import LoadedModel

TOKENS = torch.randint(0, 250, (83,), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def distribution(model: torch.nn.Module, before: list[int]) -> np.ndarray:
    return softmax(model(torch.tensor([before])).logits[0, -1].double().numpy())


@pytest.mark.parametrize(("length", "stride"), [(16, 8), (16, 15), (10, 1), (200, 100)])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_every_quantity_is_that_of_one_token_at_a_time(make: Any, length: int, stride: int) -> None:
    model, dense = in_float64(make(seed=1)), in_float64(make())
    ids = TOKENS.tolist()
    kl, ratios, dp, same = [], [], [], []
    for place in range(1, len(ids)):
        start = 0 if place < length else math.ceil((place - length + 1) / stride) * stride
        p, q = (distribution(each, ids[start:place]) for each in (dense, model))
        kl.append(sum(a * (math.log(a) - math.log(b)) for a, b in zip(p.tolist(), q.tolist(), strict=True)))
        ratios.append(math.log(p[ids[place]] / q[ids[place]]))
        dp.append(q[ids[place]] - p[ids[place]])
        same.append(int(p.argmax()) == int(q.argmax()))
    found = divergence(model, dense, TOKENS, length=length, stride=stride, batch_size=3)
    assert found.kl == pytest.approx(kl, rel=1e-9)
    assert found.loss - found.dense_loss == pytest.approx(ratios, rel=1e-9, abs=1e-12)
    assert found.dp == pytest.approx(dp, rel=1e-9, abs=1e-14)
    assert found.same_top.tolist() == same
    facts = divergence_facts(found)
    assert facts["kl"]["mean"]["value"] == pytest.approx(np.mean(kl), rel=1e-9)
    assert facts["kl"]["median"]["value"] == pytest.approx(np.median(kl), rel=1e-9)
    assert facts["kl"]["maximum"] == pytest.approx(max(kl), rel=1e-9)
    assert facts["rms_dp"]["value"] == pytest.approx(math.sqrt(np.mean(np.square(dp))), rel=1e-9)
    assert facts["same_top"]["value"] == pytest.approx(np.mean(same))
    ratio = found.model_perplexity.value / found.dense_perplexity.value
    assert facts["loss_difference"]["value"] == pytest.approx(math.log(ratio), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_is_normalised_in_float32(dtype: torch.dtype) -> None:
    model, dense = tiny_llama(seed=1).to(dtype), tiny_llama().to(dtype)
    ids = TOKENS[:40]
    with torch.no_grad():
        q, p = (each(ids[None]).logits[0, :-1].double().numpy() for each in (model, dense))
    found = divergence(model, dense, ids, length=64, stride=32)
    assert found.kl == pytest.approx(rel_entr(softmax(p, 1), softmax(q, 1)).sum(1), rel=1e-5, abs=1e-6)
    taken = np.arange(39), ids[1:].numpy()
    assert found.loss == pytest.approx(-log_softmax(q, 1)[taken], rel=1e-5)
    assert found.same_top.tolist() == (q.argmax(1) == p.argmax(1)).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_model_does_not_diverge_from_itself(dtype: torch.dtype) -> None:
    model = tiny_llama().to(dtype)
    facts = divergence_facts(divergence(model, model, TOKENS, length=16, stride=8))
    zero = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert facts["loss_difference"] == facts["rms_dp"] == facts["kl"]["mean"] == facts["kl"]["median"] == zero
    assert facts["kl"]["maximum"] == 0.0
    assert facts["same_top"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_perplexities_are_those_of_perplexity_and_batches_change_nothing() -> None:
    model, dense = tiny_llama(seed=1), tiny_llama()
    found = divergence(model, dense, TOKENS, length=16, stride=5, batch_size=1)
    for single, ours in ((model, found.model_perplexity), (dense, found.dense_perplexity)):
        theirs = perplexity(single, TOKENS, length=16, stride=5)
        assert ours.nll == pytest.approx(theirs.nll, rel=1e-6)
        assert ours.tokens.tolist() == theirs.tokens.tolist()
        assert ours.value == pytest.approx(theirs.value, rel=1e-6)
    together = divergence(model, dense, TOKENS, length=16, stride=5, batch_size=16)
    assert together.kl == pytest.approx(found.kl, rel=1e-4)


def test_a_long_window_is_compared_in_parts() -> None:
    ids = torch.randint(0, 250, (250,), generator=torch.Generator().manual_seed(6))
    model, dense = in_float64(tiny_llama(seed=1)), in_float64(tiny_llama())
    found = divergence(model, dense, ids, length=256, stride=128)
    with torch.no_grad():
        q, p = (each(ids[None]).logits[0, :-1].numpy() for each in (model, dense))
    assert found.kl == pytest.approx(rel_entr(softmax(p, 1), softmax(q, 1)).sum(1), rel=1e-9)


class Planted(torch.nn.Module):
    """A model that gives every token of its vocabulary a fixed probability, whatever came before."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(probabilities, dtype=torch.float64).log())

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits.expand(*input_ids.shape, -1))


def test_two_tokens_have_the_values_that_paper_gives() -> None:
    ids = [0, 0, 1, 0, 0, 1, 0]
    found = divergence(Planted(0.25, 0.75), Planted(0.5, 0.5), ids, length=4, stride=2)
    assert found.kl == pytest.approx([0.5 * math.log(2) + 0.5 * math.log(2 / 3)] * 6)
    assert found.dp == pytest.approx([-0.25, 0.25, -0.25, -0.25, 0.25, -0.25])
    assert found.rms_dp == pytest.approx(0.25)
    assert found.same_top_share == 0.0  # of the two equal probabilities the first is the top
    back = divergence(Planted(0.5, 0.5), Planted(0.25, 0.75), ids, length=4, stride=2)
    assert back.mean == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))  # it is not symmetric
    facts = divergence_facts(found)
    assert facts["loss_difference"]["value"] == pytest.approx((4 * math.log(2) + 2 * math.log(2 / 3)) / 6)
    assert facts["windows"]["squared_dp"] == pytest.approx([3 / 16, 2 / 16, 1 / 16])


def test_a_token_that_both_exclude_has_no_share() -> None:
    found = divergence(Planted(0.25, 0.75, 0.0), Planted(0.5, 0.5, 0.0), [0, 1, 0], length=3, stride=2)
    assert found.kl == pytest.approx([math.log(2 / math.sqrt(3))] * 2)


@given(seed=st.integers(0, 2**32), scale=st.floats(1e-3, 60), shift=st.floats(-300, 300), near=st.floats(0, 2))
def test_a_divergence_is_that_of_scipy_and_not_negative(seed: int, scale: float, shift: float, near: float) -> None:
    draw = np.random.default_rng(seed)
    p = scale * draw.normal(size=(3, 40))
    q = p + near * draw.normal(size=(3, 40)) + shift
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
        log_p, log_q = (torch.tensor(each, dtype=dtype).log_softmax(-1) for each in (p, q))
        found = _kl(log_p, log_q).double().numpy()
        exact = rel_entr(*(softmax(torch.tensor(each, dtype=dtype).double().numpy(), 1) for each in (p, q))).sum(1)
        assert (found >= 0).all()
        size = 1 + np.abs(p).max() + np.abs(q).max()  # a logit of this size has an error of the tolerance times it
        assert found == pytest.approx(exact, rel=tolerance, abs=tolerance * size)


def test_small_divergences_survive_float32() -> None:
    """Models that nearly agree: the plain sum p (log p - log q) is wrong by more, and can be negative."""
    draw = np.random.default_rng(0)
    p = 3 * draw.normal(size=(50, 5000))
    q = p + 1e-3 * draw.normal(size=p.shape)
    p, q = p.astype(np.float32), q.astype(np.float32)
    exact = rel_entr(softmax(p.astype(float), 1), softmax(q.astype(float), 1)).sum(1)
    log_p, log_q = (torch.tensor(each).log_softmax(-1) for each in (p, q))
    plain = (log_p.exp() * (log_p - log_q)).sum(-1).numpy()
    assert np.abs(_kl(log_p, log_q).numpy() - exact).max() < 3e-8 < np.abs(plain - exact).max()


def planted(counts: list[int], seed: int = 0) -> Divergence:
    draw, total = np.random.default_rng(seed), sum(counts)
    loss, dense = draw.exponential(size=(2, total))
    same = draw.random(total) < 0.9
    return Divergence(draw.exponential(size=total), loss, dense, same, np.array(counts), 8, 4)


@given(order=st.permutations(range(5)))
def test_the_order_of_windows_changes_nothing(order: list[int]) -> None:
    found = planted([7, 4, 4, 4, 2])
    edges = np.cumsum(found.tokens)[:-1]
    columns = {
        name: np.concatenate([np.split(getattr(found, name), edges)[i] for i in order])
        for name in ("kl", "loss", "dense_loss", "same_top")
    }
    turned = divergence_facts(replace(found, **columns, tokens=found.tokens[list(order)]))
    for name, value in divergence_facts(found).items():
        if name == "windows":
            assert turned[name]["kl"] == pytest.approx([value["kl"][i] for i in order])
        elif name == "perplexity":
            assert turned[name]["value"] == pytest.approx(value["value"])
            assert turned[name]["loss"] == pytest.approx(value["loss"])
        elif name == "kl":
            for part in value:
                assert turned[name][part] == pytest.approx(value[part])
        else:
            assert turned[name] == pytest.approx(value)


@given(counts=st.lists(st.integers(1, 9), min_size=2, max_size=9), seed=st.integers(0, 99))
def test_the_mean_in_an_interval_is_that_over_tokens(counts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=sum(counts))
    edges = np.cumsum(counts)[:-1]
    sums = [part.sum() for part in np.split(values, edges)]
    assert mean_interval(per_token(sums, counts)).mean == pytest.approx(values.mean(), abs=1e-12)
    if len(set(counts)) == 1:
        assert per_token(sums, counts) == pytest.approx(np.array(sums) / counts[0], abs=1e-12)


@pytest.mark.parametrize("windows", [8, 40])
def test_intervals_cover_the_truth_though_windows_differ(windows: int) -> None:
    """Tokens of one window share an effect, so that treating them as independent would cover far less."""
    draw, counts, hits = np.random.default_rng(0), [20] * (windows - 1) + [3], []
    for _ in range(400):
        values = draw.normal(size=sum(counts)) + np.repeat(draw.normal(size=windows), counts)
        sums = [part.sum() for part in np.split(values, np.cumsum(counts)[:-1])]
        mean, median = interval_facts(per_token(sums, counts)), quantile_facts(values, counts, 0.5)
        hits.append([found["low"] <= 0 <= found["high"] for found in (mean, median)])
    assert ((np.mean(hits, 0) > 0.91) & (np.mean(hits, 0) < 0.98)).all()


def test_a_quantile_beyond_the_values_has_no_interval() -> None:
    values, counts = np.random.default_rng(0).exponential(size=20_000), np.full(40, 500)
    assert quantile_facts(values, counts, 0.999)["low"] is not None
    few = quantile_facts(values[:1000], counts[:2], 0.999)
    assert (few["low"], few["high"]) == (None, None)
    assert few["value"] == np.quantile(values[:1000], 0.999)
    assert quantile_facts(values[:500], counts[:1], 0.5)["low"] is None


def test_intervals_keep_to_the_range_of_their_quantity() -> None:
    kl, loss = np.array([9.0, *[0.0] * 11]), np.array([9.0, *[0.1] * 11])
    same = np.array([False] + [True] * 11)
    facts = divergence_facts(Divergence(kl, loss, np.full(12, 0.1), same, np.full(3, 4), 8, 4))
    assert facts["kl"]["mean"]["low"] == facts["rms_dp"]["low"] == 0.0
    assert facts["same_top"]["high"] == 1.0


def loaded(model: torch.nn.Module, tokenizer: Any = None) -> LoadedModel:
    return LoadedModel(model, tokenizer or byte_tokenizer(), "tiny", "0", "tiny", "directory")


def test_other_vocabularies_are_refused_with_both_sizes() -> None:
    small = tiny_llama(vocabulary=60)
    for model, dense in ((tiny_llama(), small), (small, tiny_llama())):
        sizes = [each.config.vocab_size for each in (dense, model)]
        with pytest.raises(ScoringError, match=r"dense: its vocabulary has {} tokens, the model's {};".format(*sizes)):
            divergence(model, dense, TOKENS)
    other = byte_tokenizer()
    swapped = SimpleNamespace(get_vocab=lambda: {**other.get_vocab(), "a": 1, "b": 2})
    with pytest.raises(ScoringError, match="its tokenizer of 257 tokens gives 'a' the id 1, the model's of 257 gives"):
        divergence(loaded(tiny_llama()), loaded(tiny_llama(), swapped), TOKENS)
    foreign = SimpleNamespace(get_vocab=lambda: {"zu": 0})
    with pytest.raises(ScoringError, match="its tokenizer of 1 tokens shares none with the model's of 257"):
        divergence(loaded(tiny_llama()), loaded(tiny_llama(), foreign), TOKENS)
    padded = SimpleNamespace(get_vocab=lambda: {**other.get_vocab(), "[PAD257]": 257})
    assert divergence(loaded(tiny_llama()), loaded(tiny_llama(), padded), TOKENS, length=16, stride=8).mean == 0.0


@pytest.mark.parametrize("damaged", ["model", "dense"])
def test_a_damaged_model_is_named(damaged: str) -> None:
    models = {"model": tiny_llama(), "dense": tiny_llama()}
    with torch.no_grad():
        models[damaged].model.norm.weight[0] = float("nan")
    with pytest.raises(ScoringError, match=f"^{damaged}: a log-likelihood is not finite"):
        divergence(**models, tokens=TOKENS, length=16, stride=8)


def test_a_token_that_the_model_alone_excludes_is_infinitely_far() -> None:
    with pytest.raises(ScoringError, match=r"^model: a KL divergence from dense is not finite"):
        divergence(Planted(0.5, 0.5, 0.0), Planted(0.4, 0.4, 0.2), [0, 1, 0], length=3, stride=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 257}, "length: expected from 2 to the model's 256 tokens, got 257"),
        ({"length": 8, "stride": 8}, "stride: expected from 1 to length - 1 = 7, got 8"),
        ({"tokens": [3], "length": 8, "stride": 4}, "at least two are needed to predict one, got 1"),
        ({"tokens": [3, 257], "length": 8, "stride": 4}, "id 257 is not in the model's vocabulary of 257"),
        ({"batch_size": 0, "length": 8, "stride": 4}, "batch_size: expected a whole number of at least 1, got 0"),
        ({"dense": "dense"}, "expected a model, got 'dense'"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        divergence(**{"model": tiny_llama(), "dense": tiny_llama(), "tokens": TOKENS, **options})
    if "dense" not in options:
        with pytest.raises(ScoringError, match=message):
            perplexity(tiny_llama(), **{"tokens": TOKENS, **options})


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    models = {"dense": tiny_llama(), "model": tiny_llama(seed=1), "small": tiny_llama(vocabulary=60)}
    found = {name: save_model(model, place / name) for name, model in models.items()}
    (place / "notes.txt").write_text("The sky is blue, and the grass is green. " * 30)
    (place / "model.gguf").write_bytes(b"GGUF")
    packed = save_model(tiny_llama(), place / "packed")
    config = json.loads((packed / "config.json").read_text())
    settings = {"quant_method": "gptq", "bits": 4, "group_size": 8}
    (packed / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return {**found, "packed": packed, "text": place / "notes.txt", "gguf": place / "model.gguf"}


SIZE = ("--length", 32, "--stride", 16)


def test_the_command_says_and_keeps_the_divergence(folders: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "e.json"
    line = ("evaluate", folders["model"], "--text", folders["text"], *SIZE, "--against", folders["dense"])
    done = run(*line, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts == json.loads(out.read_text())
    alone = {
        name: json.loads(run("evaluate", folders[name], "--text", folders["text"], *SIZE, "--json").stdout)
        for name in ("model", "dense")
    }
    against, counts = facts["against"], facts["perplexity"]["windows"]["tokens"]
    assert (against["model"], against["model_sha256"]) == ("dense", alone["dense"]["model_sha256"])
    assert facts["perplexity"]["value"] == pytest.approx(alone["model"]["perplexity"]["value"], rel=1e-6)
    assert against["perplexity"]["value"] == pytest.approx(alone["dense"]["perplexity"]["value"], rel=1e-6)
    ratio = facts["perplexity"]["value"] / against["perplexity"]["value"]
    assert against["loss_difference"]["value"] == pytest.approx(math.log(ratio), rel=1e-9)
    assert sum(against["windows"]["kl"]) / sum(counts) == pytest.approx(against["kl"]["mean"]["value"])
    paired = np.subtract(facts["perplexity"]["windows"]["nll"], against["perplexity"]["windows"]["nll"])
    expected = mean_interval(per_token(paired, counts))
    assert against["loss_difference"]["low"] == pytest.approx(expected.low, rel=1e-9)
    told = run(*line)
    assert told.exit_code == 0
    number = r"-?[\d.]+(e-?\d+)?%?"
    spread = rf"{number}( \(95% interval {number} to {number}\))?"
    assert re.fullmatch(
        rf"perplexity [\d.]+ \(1,229 tokens, 32 a window, stride 16\); loss per token {spread}\n"
        rf"perplexity [\d.]+ of dense; ln of the ratio {spread}\n"
        rf"KL divergence from dense, nats per token: mean {spread}, median {spread}, 99.9% quantile {spread}, "
        rf"maximum {number}\n"
        rf"probability of the true token: RMS difference {spread}\n"
        rf"same top token {spread}\n",
        told.stdout,
    ), told.stdout


def test_a_model_against_itself_is_equal(folders: dict[str, Path]) -> None:
    line = ("evaluate", folders["dense"], "--text", folders["text"], *SIZE, "--against", folders["dense"], "--json")
    against = json.loads(run(*line).stdout)["against"]
    assert against["kl"]["maximum"] == against["loss_difference"]["high"] == against["rms_dp"]["high"] == 0.0
    assert against["same_top"]["low"] == 1.0


def test_few_tokens_are_a_caution(folders: dict[str, Path]) -> None:
    line = ("evaluate", folders["model"], "--text", folders["text"], *SIZE)
    for tokens, words in (
        (1000, "caution: 999 scored tokens, fewer than 1,000; measure on a longer text\n"),
        (1001, ""),
    ):
        told = run(*line, "--tokens", tokens)
        assert told.exit_code == 0
        assert told.stdout.partition("\n")[2] == words
    assert run(*line, "--tokens", 100, "-q").stdout == ""


@pytest.mark.parametrize(
    ("dense", "said"),
    [
        ("small", "dense: its vocabulary has 60 tokens, the model's 257; a divergence compares"),
        ("packed", "against: transformers cannot load"),
        ("text", "against: "),
        ("gguf", "against: "),
        ("none", "against: 'none' is no directory, no .gguf file"),
    ],
)
def test_a_dense_model_that_cannot_be_compared_is_one_line(dense: str, said: str, folders: dict[str, Path]) -> None:
    line = ("evaluate", folders["model"], "--text", folders["text"], *SIZE, "--against", folders.get(dense, dense))
    refused = run(*line, "-q")
    assert refused.exit_code == 2, refused.output
    [told] = refused.stderr.splitlines()
    assert told.startswith(f"zetaplan: {said}"), told


def test_a_divergence_needs_a_text(tmp_path: Path) -> None:
    for more in ((), ("--choices", tmp_path / "c.jsonl")):
        refused = run("evaluate", tmp_path, "--against", tmp_path, *more)
        assert refused.exit_code == 2
        [told] = refused.stderr.splitlines()
        assert told == "zetaplan: against: measures the divergence on a text; give text"
