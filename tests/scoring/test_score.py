"""`score` on whole models against dense truths: sequences one by one through autograd, then a d x d solve."""

import copy
import gc
import pickle
import weakref
from dataclasses import fields
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from tests.tiny_models import in_float64, tiny_architecture, tiny_gpt2, tiny_llama
from zetaplan.scoring import Damping, score, score_each
from zetaplan.scoring.backward import per_sequence
from zetaplan.scoring.backward.hooks import PairHook

N, T = 5, 12
TAU = Damping(0.02, mode="absolute")
MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2}
SURROGATES = ("block-fisher", "diagonal-fisher", "gradient")


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request):
    return in_float64(MODELS[request.param](hidden=8, vocabulary=23))


def random_ids(seed=0, sequences=N, length=T):
    return torch.randint(0, 23, (sequences, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def batch():
    """Sequences of different lengths, padded."""
    ids, mask = random_ids(), torch.ones(N, T, dtype=torch.int64)
    mask[1, 7:] = mask[3, 3:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def dense_gradients(model, batch):
    """G (N, d) of every parameter: each sequence alone and unpadded, its loss written out."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    rows = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        ids = ids[: int(mask.sum())]
        log_likelihood = model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
        loss = -log_likelihood[torch.arange(len(ids) - 1), ids[1:]].mean()
        rows.append([g.flatten() for g in torch.autograd.grad(loss, parameters)])
    return {name: torch.stack(column).numpy() for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def of_block(gradients, block):
    return np.concatenate([g for name, g in gradients.items() if name.startswith(f"{block}.")], axis=1)


def dense_gain(curvature, gradients, tau):
    g, fisher = gradients.mean(axis=0), gradients.T @ gradients / len(gradients)
    if curvature == "gradient":
        return g @ g
    if curvature == "diagonal-fisher":
        return np.sum(g**2 / (np.diag(fisher) + tau))
    return g @ np.linalg.solve(fisher + tau * np.eye(len(g)), g)


@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_gains_equal_the_dense_solve(model, batch, blocks):
    scores = score_each(model, [batch], curvatures=SURROGATES, blocks=blocks, damping=TAU)
    everything = dense_gradients(model, batch)
    for k, name in enumerate(scores["gradient"].names):
        gradients = of_block(everything, name)
        for curvature in SURROGATES:
            expected = dense_gain(curvature, gradients, TAU.value)
            assert scores[curvature].gain[k] == pytest.approx(expected, rel=1e-9), (name, curvature)
            norm = np.linalg.norm(gradients.mean(axis=0))
            assert scores[curvature].gradient_norm[k] == pytest.approx(norm, rel=1e-9)


def test_the_library_s_own_norms_agree_to_single_precision(batch):
    model = tiny_llama(hidden=8, vocabulary=23).double()
    scores = score(model, [batch], damping=TAU)
    everything = dense_gradients(model, batch)
    for k, name in enumerate(scores.names):
        gradients = of_block(everything, name)
        assert scores.gain[k] == pytest.approx(dense_gain("block-fisher", gradients, TAU.value), rel=1e-5)


def test_noise_floor_equals_the_dense_trace(model, batch):
    scores = score(model, [batch], damping=TAU)
    everything = dense_gradients(model, batch)
    for k, name in enumerate(scores.names):
        gradients = of_block(everything, name)
        fisher = gradients.T @ gradients / N
        expected = np.trace(np.linalg.solve(fisher + TAU.value * np.eye(len(fisher)), fisher)) / N
        assert scores.noise_floor[k] == pytest.approx(expected, rel=1e-9)


def test_loss_is_the_mean_over_sequences_of_their_mean_over_tokens(model, batch):
    losses = [
        model(input_ids=ids[None, :n], labels=ids[None, :n]).loss.item()
        for ids, n in zip(batch["input_ids"], batch["attention_mask"].sum(1), strict=True)
    ]
    assert score(model, [batch], damping=TAU).loss == pytest.approx(np.mean(losses), rel=1e-6)


@pytest.mark.parametrize("size", [1, 2, N - 1])
def test_the_batch_size_changes_nothing(model, batch, size):
    for curvature, whole in score_each(model, [batch], curvatures=SURROGATES).items():
        parts = score(model, [batch], curvature=curvature, batch_size=size)
        np.testing.assert_allclose(parts.gain, whole.gain, rtol=1e-9)
        np.testing.assert_allclose(parts.noise_floor, whole.noise_floor, rtol=1e-9)
        assert parts.provenance["data_sha256"] == whole.provenance["data_sha256"]


def test_the_size_of_the_chunks_changes_nothing(model, batch, monkeypatch):
    whole = score(model, batch)
    monkeypatch.setattr(per_sequence, "CHUNK", 3 * N * 8)  # rows by threes, which divides no width
    np.testing.assert_allclose(score(model, batch).gain, whole.gain, rtol=1e-9)


def test_batches_of_different_lengths_equal_one_padded_batch(model, batch):
    short = {key: value[[1, 3], :7] for key, value in batch.items()}
    long = {key: value[[0, 2, 4]] for key, value in batch.items()}
    np.testing.assert_allclose(
        score(model, [short, long], damping=TAU).gain, score(model, [batch], damping=TAU).gain, rtol=1e-9
    )


def test_what_stands_in_the_padding_changes_nothing(model, batch):
    other = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 7)
    np.testing.assert_allclose(
        score(model, [{**batch, "input_ids": other}], damping=TAU).gain,
        score(model, [batch], damping=TAU).gain,
        rtol=1e-9,
    )


def test_labels_on_the_padding_do_not_count(model, batch):
    """As when the labels are a plain copy of the ids."""
    copied = {**batch, "labels": batch["input_ids"]}
    np.testing.assert_array_equal(score(model, copied, damping=TAU).gain, score(model, batch, damping=TAU).gain)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float32])
def test_the_type_of_the_mask_changes_nothing(model, batch, dtype):
    mask, ids = batch["attention_mask"].to(dtype), batch["input_ids"].int()
    found = score(model, {"input_ids": ids, "attention_mask": mask})
    expected = score(model, batch)
    np.testing.assert_array_equal(found.gain, expected.gain)
    assert found.provenance["data_sha256"] == expected.provenance["data_sha256"]


def test_the_order_of_sequences_changes_nothing(model, batch):
    order = [3, 0, 4, 1, 2]
    shuffled = {key: value[order] for key, value in batch.items()}
    np.testing.assert_allclose(score(model, [shuffled]).gain, score(model, [batch]).gain, rtol=1e-9)


def test_one_batch_may_come_alone(model, batch):
    np.testing.assert_array_equal(score(model, batch).gain, score(model, [batch]).gain)


def test_labels_default_to_the_ids_under_the_mask(model, batch):
    unlabelled = {key: batch[key] for key in ("input_ids", "attention_mask")}
    np.testing.assert_array_equal(score(model, [unlabelled]).gain, score(model, [batch]).gain)


def test_relative_damping_is_recorded_per_block(model, batch):
    shared, own = score(model, [batch]), score(model, [batch], damping=Damping(scope="block"))
    gradients = dense_gradients(model, batch)
    traces = [np.sum(of_block(gradients, name) ** 2) / N for name in own.names]
    np.testing.assert_allclose(own.damping, np.array(traces) / N, rtol=1e-9)
    np.testing.assert_allclose(shared.damping, np.mean(traces) / N, rtol=1e-9)
    assert shared.provenance["damping"] == {"value": 1.0, "mode": "relative", "scope": "global"}


def test_sizes_of_the_blocks():
    scores = score(tiny_llama(hidden=8, vocabulary=23), [{"input_ids": random_ids()}])
    # q, o: 8 x 8; k, v: 4 x 8; gate, up, down: 16 x 8; two norms of 8
    linear = 2 * 64 + 2 * 32 + 3 * 128
    assert scores.names == ("model.layers.0", "model.layers.1")
    assert scores.linear_parameters.tolist() == [linear] * 2
    assert scores.parameters.tolist() == [linear + 16] * 2
    assert scores.rank_parameters.tolist() == [2 * 16 + 2 * 12 + 3 * 24] * 2
    assert scores.left_out == ("model.embed_tokens.weight", "model.norm.weight")


def test_modules_are_the_linears_and_the_norms_are_left_out():
    model = tiny_llama(layers=1, hidden=8, vocabulary=23, tie_word_embeddings=False)
    scores = score(model, [{"input_ids": random_ids()}], blocks="modules")
    assert len(scores.names) == 7
    assert scores.names[0] == "model.layers.0.self_attn.q_proj"
    assert "model.layers.0.input_layernorm.weight" in scores.left_out
    assert "lm_head.weight" in scores.left_out
    inside = {f"{name}.weight" for name in scores.names}
    assert inside | set(scores.left_out) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("tiny", MODELS.values())
def test_bfloat16_is_close_to_float64(tiny, batch):
    model = tiny(hidden=16, vocabulary=23)
    exact, rough = (score(model, [batch], damping=TAU, dtype=dtype) for dtype in ("float64", "bfloat16"))
    # 8 bits of mantissa: one part in 256 per operation
    np.testing.assert_allclose(rough.gain, exact.gain, rtol=0.05)
    assert rough.provenance["dtype"] == "bfloat16"
    assert next(model.parameters()).dtype == torch.float32


def test_float32_is_close_to_float64(model, batch):
    single = score(model, [batch], damping=TAU, dtype="float32")
    np.testing.assert_allclose(single.gain, score(model, [batch], damping=TAU).gain, rtol=1e-4)


def test_quality_is_the_share_of_the_gain(model, batch):
    scores = score(model, [batch])
    assert scores.quality.sum() == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(scores.quality * scores.gain.sum(), scores.gain, rtol=1e-12)


def test_scores_are_frozen(model, batch):
    require_frozen(score(model, [batch]))


@pytest.mark.parametrize(
    "travelled",
    [
        copy.copy,
        copy.deepcopy,
        lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301  our own bytes
        lambda value: get_context("spawn").Pool(1).apply(copy.copy, (value,)),
    ],
    ids=["copy", "deepcopy", "pickle", "spawn"],
)
def test_scores_travel(model, batch, travelled):
    scores = score(model, [batch])
    found = travelled(scores)
    for item in fields(scores):
        mine, other = getattr(scores, item.name), getattr(found, item.name)
        assert type(mine) is type(other)
        np.testing.assert_equal(other, mine)
    require_frozen(found)


def require_frozen(scores):
    with pytest.raises(ValueError, match="read-only"):
        scores.gain[0] = 1.0
    with pytest.raises(TypeError):
        scores.provenance["model"] = "other"


def test_the_model_is_left_as_it_was(batch):
    model = tiny_llama(hidden=8, vocabulary=23).train()
    model.model.layers[0].eval()
    model.model.norm.requires_grad_(False)
    before = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    score(model, [batch])
    assert [(m.training, len(m._forward_hooks)) for m in model.modules()] == before
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert all(p.grad is None for p in model.parameters())


def test_scoring_works_inside_no_grad_and_twice_alike(model, batch):
    with torch.no_grad():
        first = score(model, [batch])
    np.testing.assert_array_equal(score(model, [batch]).gain, first.gain)


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_a_pass_leaves_nothing_behind(kind, monkeypatch):
    """Hooks that hold their own graph would keep every pass in memory."""
    captures, hook = [], PairHook.forward

    def watched(self, *arguments):
        captures.append(weakref.ref(self))
        return hook(self, *arguments)

    monkeypatch.setattr(PairHook, "forward", watched)
    score(tiny_architecture(kind), {"input_ids": random_ids() % 22})
    gc.collect()
    assert len(captures) > 10
    assert not [capture for capture in captures if capture() is not None]
