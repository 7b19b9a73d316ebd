"""Sampled labels against dense matrices with the same draws, and in expectation against the Gauss-Newton matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scoring.test_score import TAU, dense_gradients, of_block, random_ids
from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama
from zetaplan.scoring import score, score_each
from zetaplan.scoring.backward.backward import backward_pass
from zetaplan.scoring.backward.statistics import SampledGram
from zetaplan.scoring.curvature import find_curvature
from zetaplan.scoring.curvature._products import LinearisedBlock
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text import sampling
from zetaplan.scoring.text.sequences import checked_batches

N, D = 6, 9


def observed(true, drawn):
    gram = SampledGram(len(true))
    gram.add(torch.tensor(np.concatenate([true, drawn])))
    return find_curvature("mc-fisher")(gram)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), tau=st.floats(1e-2, 1e2))
def test_everything_equals_the_dense_matrix(seed, tau):
    generator = np.random.default_rng(seed)
    true, drawn = generator.normal(size=(2, N, D))
    h, g = drawn.T @ drawn / N, true.mean(axis=0)
    inverse = np.linalg.inv(h + tau * np.eye(D))
    surrogate = observed(true, drawn)
    assert surrogate.gain(tau) == pytest.approx(g @ inverse @ g, rel=1e-8)
    assert surrogate.noise_floor(tau) == pytest.approx(np.mean([row @ inverse @ row for row in true]) / N, rel=1e-8)
    assert surrogate.effective_dimension(tau) == pytest.approx(np.trace(inverse @ h), rel=1e-8)
    assert (surrogate.trace, surrogate.rank) == (pytest.approx(np.trace(h), rel=1e-9), N)
    left_out = [np.delete(true, i, 0).mean(axis=0) for i in range(N)]
    gains = np.array([row @ inverse @ row for row in left_out])
    error = np.sqrt((N - 1) / N * np.sum((gains - gains.mean()) ** 2))
    assert surrogate.standard_error(tau) == pytest.approx(error, rel=1e-6)
    for half, found in enumerate(surrogate.cross_fitted(tau)):
        other = drawn[1 - half :: 2]
        apart = np.linalg.inv(other.T @ other / len(other) + tau * np.eye(D))
        own = true[half::2]
        products = own @ apart @ own.T
        expected = (products.sum() - np.trace(products)) / (len(own) * (len(own) - 1))
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_drawn_labels_stand_where_labels_stood_and_ignore_batching():
    model = tiny_llama(hidden=8, vocabulary=23)
    ids = random_ids()
    mask = torch.ones_like(ids)
    mask[1, 7:] = mask[3, 3:] = 0
    [whole] = sampling.drawn_labels(model, checked_batches({"input_ids": ids, "attention_mask": mask}), {0})
    assert (whole["labels"][:, 1:] != -100).equal(mask[:, 1:] == 1)
    assert (whole["labels"][mask == 1] >= 0).all()
    parts = sampling.drawn_labels(model, checked_batches({"input_ids": ids, "attention_mask": mask}, 2), range(3))
    torch.testing.assert_close(torch.cat([part["labels"] for part in parts]), whole["labels"])
    order = [3, 0, 4, 1, 2]
    shuffled = {"input_ids": ids[order], "attention_mask": mask[order]}
    [drawn] = sampling.drawn_labels(model, checked_batches(shuffled), {0})
    assert drawn["labels"].equal(whole["labels"][order])


def test_equal_sequences_draw_apart():
    ids = random_ids(sequences=1).repeat(3, 1)
    [drawn] = sampling.drawn_labels(tiny_llama(hidden=8, vocabulary=23), checked_batches({"input_ids": ids}), {0})
    assert len({tuple(row) for row in drawn["labels"].tolist()}) == 3


def test_of_several_ranks_each_draws_what_it_passes():
    model, ids = tiny_llama(hidden=8, vocabulary=23), random_ids(sequences=1).repeat(6, 1)  # all alike
    data = checked_batches({"input_ids": ids}, 2)
    whole, _ = sampling.rows(model, data, drawn=True)
    for rank in range(2):
        mine, _ = sampling.rows(model, data, True, Ranks(rank, 2))
        for number in range(rank, 6, 2):
            assert mine[number]["labels"].equal(whole[number]["labels"])
        for number in range(1 - rank, 6, 2):
            assert mine[number]["labels"].equal(data[number % 3]["labels"])


def test_draws_follow_the_model():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(30000, 3)
    uniform = torch.from_numpy(np.random.default_rng(0).random(30000))
    shares = torch.bincount(sampling._inverse(logits, uniform), minlength=3) / 30000
    expected = logits[0].softmax(-1)
    allowed = 5 * (expected * (1 - expected) / 30000).sqrt()  # five standard deviations
    assert (shares - expected).abs().le(allowed).all()


def drawn_gradients(model, data, name):
    """Rows of G~ of a block through the pass itself."""
    parts = [part for part in partition(model, "modules") if part.name == name]
    batches, weights = sampling.rows(model, data, drawn=True)
    gram, rows = [], []

    def consume(index, name, module, pairs):
        for x, d in pairs[len(data) :]:
            rows.append(torch.einsum("bto,bti->boi", d, x).flatten(1))

    backward_pass(model, parts, batches, consume, weights)
    del gram
    return torch.cat(rows)


def test_the_second_moment_of_draws_is_the_gauss_newton_matrix(monkeypatch):
    model = in_float64(tiny_llama(layers=1, hidden=4, vocabulary=11, tie_word_embeddings=False))
    ids = random_ids(sequences=3, length=6) % 11
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    data = checked_batches({"input_ids": ids, "attention_mask": mask})
    name = "model.layers.0.mlp.down_proj"
    block = LinearisedBlock(model, {f"{name}.weight": model.get_parameter(f"{name}.weight")}, data)
    ggn = torch.stack([block.ggn(row) for row in torch.eye(block.dimension, dtype=torch.float64)])
    draws, generator = [], np.random.default_rng(5)
    direction = torch.tensor(generator.normal(size=block.dimension))
    for seed in range(400):
        monkeypatch.setattr(sampling, "SEED", seed)
        rows = drawn_gradients(model, data, name)
        draws.append(float((rows @ direction).square().mean()))
    expected = float(direction @ ggn @ direction)
    allowed = 5 * np.std(draws) / np.sqrt(len(draws))  # five standard errors
    assert abs(np.mean(draws) - expected) <= allowed < 0.5 * expected


@pytest.mark.parametrize("tiny", [tiny_llama, tiny_gpt2])
def test_a_model_is_scored_with_its_own_draws(tiny):
    model = in_float64(tiny(hidden=8, vocabulary=23))
    ids = random_ids()
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    batch = {"input_ids": ids, "attention_mask": mask}
    true = dense_gradients(model, batch)
    [drawn] = sampling.drawn_labels(model, checked_batches(batch), {0})
    found = score_each(model, batch, curvatures=("mc-fisher", "block-fisher"), damping=TAU, held_out=batch)
    own = score(model, batch, damping=TAU)
    np.testing.assert_allclose(found["block-fisher"].gain, own.gain, rtol=1e-12)
    assert found["mc-fisher"].loss == pytest.approx(own.loss, rel=1e-12)
    names, parameters = zip(*model.named_parameters(), strict=True)
    rows = []
    for i, n in enumerate(mask.sum(1).tolist()):
        logits = model(input_ids=ids[i : i + 1, :n], use_cache=False).logits[0, :-1].log_softmax(-1)
        loss = -logits.gather(1, drawn["labels"][i, 1:n, None]).mean() * (n - 1) ** 0.5
        rows.append([g.flatten() for g in torch.autograd.grad(loss, parameters)])
    sampled = {name: torch.stack(c).numpy() for name, c in zip(names, zip(*rows, strict=True), strict=True)}
    for k, name in enumerate(found["mc-fisher"].names):
        g, s = of_block(true, name).mean(axis=0), of_block(sampled, name)
        expected = g @ np.linalg.solve(s.T @ s / len(s) + TAU.value * np.eye(len(g)), g)
        assert found["mc-fisher"].gain[k] == pytest.approx(expected, rel=1e-6)
    assert (found["mc-fisher"].decrease != 0).all()
