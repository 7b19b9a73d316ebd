"""K-FAC and EK-FAC against dense Kronecker products on planted pairs, on whole models, and against curvlinops."""

import numpy as np
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from tests.scoring.test_score import TAU, dense_gradients, of_block, random_ids
from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama
from zetaplan.scoring import score
from zetaplan.scoring.backward.backward import backward_pass
from zetaplan.scoring.curvature import find_curvature
from zetaplan.scoring.curvature._kronecker import KroneckerFactors
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches, labelled_places

N, T, INPUTS, OUTPUTS = 5, 4, 3, 2
PLACES = torch.ones(N, T, dtype=torch.bool)
PLACES[1, 2:] = False


@pytest.fixture(params=["linear", "without bias", "conv1d"])
def module(request):
    torch.manual_seed(0)
    if request.param == "conv1d":
        return Conv1D(OUTPUTS, INPUTS).double()
    return torch.nn.Linear(INPUTS, OUTPUTS, bias=request.param == "linear", dtype=torch.float64)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    x, d = (torch.randn(N, T, width, dtype=torch.float64, generator=generator) for width in (INPUTS, OUTPUTS))
    d[1, 2:] = 0  # padding: the loss does not depend on these places
    return [(x[:2], d[:2]), (x[2:], d[2:])]


def dense(name, module, pairs):
    """(H, G) with the parameters as rows of W, then b."""
    x, d = (torch.cat([pair[i] for pair in pairs]).numpy() for i in (0, 1))
    if module.bias is not None:
        x = np.concatenate([x, np.ones((N, T, 1))], axis=-1)
    gradients = np.einsum("nto,nti->noi", d, x)
    counted = PLACES.reshape(-1).numpy()
    xs, ds = x.reshape(N * T, -1)[counted], d.reshape(N * T, -1)[counted]
    a, b = xs.T @ xs / len(xs), ds.T @ ds / N
    h = np.kron(b, a)
    rows = gradients.reshape(N, -1)
    if name == "ekfac":
        basis = np.kron(np.linalg.eigh(b)[1], np.linalg.eigh(a)[1])
        h = basis @ np.diag(np.mean((rows @ basis) ** 2, axis=0)) @ basis.T
    return h, rows


def observed(name, module, pairs):
    factors = KroneckerFactors(N)
    factors.add_module("linear", module, pairs, [PLACES[:2], PLACES[2:]])
    return find_curvature(name)(factors)


@pytest.mark.parametrize("name", ["kfac", "ekfac"])
@pytest.mark.parametrize("tau", [1e-3, 0.5, 20.0])
def test_everything_equals_the_dense_matrix(name, tau, module, pairs):
    h, rows = dense(name, module, pairs)
    g, damped = rows.mean(axis=0), h + tau * np.eye(len(h))
    surrogate = observed(name, module, pairs)
    assert surrogate.gain(tau) == pytest.approx(g @ np.linalg.solve(damped, g), rel=1e-9)
    floor = np.mean([row @ np.linalg.solve(damped, row) for row in rows]) / N
    assert surrogate.noise_floor(tau) == pytest.approx(floor, rel=1e-9)
    assert surrogate.effective_dimension(tau) == pytest.approx(np.trace(np.linalg.solve(damped, h)), rel=1e-9)
    assert (surrogate.trace, surrogate.rank) == (pytest.approx(np.trace(h), rel=1e-9), len(h))
    step = -np.linalg.solve(damped, g).reshape(OUTPUTS, -1)
    expected = np.concatenate([step[:, :INPUTS].ravel(), step[:, INPUTS:].ravel()])
    np.testing.assert_allclose(surrogate.step(tau)("linear", module, pairs), expected, rtol=1e-8, atol=1e-12)


def test_one_place_per_sequence_and_one_output_makes_ekfac_no_worse_than_kfac(module, pairs):
    """Nearest to the Fisher in the Frobenius norm of all that is diagonal in the eigenbasis."""
    fisher = None
    distance = {}
    for name in ("kfac", "ekfac"):
        h, rows = dense(name, module, pairs)
        fisher = rows.T @ rows / N
        distance[name] = np.linalg.norm(h - fisher)
    assert distance["ekfac"] <= distance["kfac"]
    assert observed("ekfac", module, pairs).trace == pytest.approx(np.trace(fisher))


@pytest.mark.parametrize("tiny", [tiny_llama, tiny_gpt2])
def test_ekfac_of_a_model_has_the_trace_of_its_fisher(tiny):
    model = in_float64(tiny(hidden=8, vocabulary=23))
    ids = random_ids()
    gradients = dense_gradients(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    found = score(model, {"input_ids": ids}, curvature="ekfac")
    traces = [np.sum(of_block(gradients, name) ** 2) / len(ids) for name in found.names]
    dimension = [of_block(gradients, name).shape[1] for name in found.names]
    np.testing.assert_allclose(found.damping, np.sum(traces) / np.sum(dimension), rtol=1e-9)
    norms = [np.linalg.norm(of_block(gradients, name).mean(axis=0)) for name in found.names]
    np.testing.assert_allclose(found.gradient_norm, norms, rtol=1e-9)


@pytest.mark.parametrize("name", ["kfac", "ekfac"])
def test_padding_and_batching_change_nothing(name):
    model = in_float64(tiny_gpt2(hidden=8, vocabulary=23))
    ids, mask = random_ids(), torch.ones(5, 12, dtype=torch.int64)
    mask[1, 7:] = mask[3, 3:] = 0
    batch = {"input_ids": ids, "attention_mask": mask}
    short = {key: value[[1, 3], :7] for key, value in batch.items()}
    long = {key: value[[0, 2, 4]] for key, value in batch.items()}
    whole = score(model, batch, curvature=name, damping=TAU).gain
    np.testing.assert_allclose(score(model, [short, long], curvature=name, damping=TAU).gain, whole, rtol=1e-8)
    np.testing.assert_allclose(score(model, batch, curvature=name, damping=TAU, batch_size=2).gain, whole, rtol=1e-8)


def test_curvlinops_has_the_same_factors():
    """Its input factor takes every place, so the text that it sees ends before the token that nothing follows.

    It counts each of the T' losses of a sequence as a sample, where our sample is their mean: T' times our matrix.
    """
    curvlinops = pytest.importorskip("curvlinops", reason="curvlinops-for-pytorch is not installed")
    model = in_float64(tiny_llama(layers=1, hidden=8, vocabulary=23, tie_word_embeddings=False))
    ids, seen = random_ids(sequences=4, length=7), {}
    data = checked_batches({"input_ids": ids})
    parts = partition(model, "modules")
    backward_pass(model, parts, data, lambda _, *met: seen.update({met[0]: met[1:]}), [torch.ones(4)])

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(input_ids=x, use_cache=False).logits.flatten(0, 1)

    for name in ("model.layers.0.mlp.up_proj", "model.layers.0.self_attn.v_proj"):
        module, pairs = seen[name]
        model.requires_grad_(False)
        made = curvlinops.KFACLinearOperator(
            Logits(),
            torch.nn.CrossEntropyLoss(),
            [module.weight.requires_grad_(True)],
            [(ids[:, :-1], ids[:, 1:].flatten())],
            fisher_type="empirical",
            kfac_approx="expand",
            num_per_example_loss_terms=6,
            check_deterministic=False,
        )
        dense_h = (made @ torch.eye(module.weight.numel(), dtype=torch.float64)).detach() / 6
        [(x, d)] = pairs
        g = torch.einsum("nto,nti->oi", d, x).flatten() / 4
        factors = KroneckerFactors(4)
        factors.add_module(name, module, pairs, [labelled_places(data[0])])
        expected = float(g @ torch.linalg.solve(dense_h + 0.01 * torch.eye(len(g), dtype=torch.float64), g))
        assert find_curvature("kfac")(factors).gain(0.01) == pytest.approx(expected, rel=1e-8)
