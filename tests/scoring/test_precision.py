"""The reference in float64 on models as transformers ship them, against their source rewritten for float64."""

from contextlib import nullcontext

import mpmath
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.tiny_models import SHIPPED, shipped
from tests.wide_models import dense, exact_gain, holds, wide
from zetaplan.scoring.curvature import _precision as precision
from zetaplan.scoring.curvature import _products as products
from zetaplan.scoring.curvature import find_curvature
from zetaplan.scoring.curvature._enclosure import measured, measured_gradient
from zetaplan.scoring.curvature._precision import SHAKE, float64_throughout, shaken
from zetaplan.scoring.curvature._products import LinearisedBlock, cross_entropy
from zetaplan.scoring.text.sequences import checked_batches

KINDS = ("llama", "gemma3", "mixtral", "qwen3", "olmo2", "gpt2")
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
MATRICES = {"ggn": "ggn", "token-fisher": "token_fisher", "hessian": "hessian", "nystrom": "ggn"}


def block_of(kind, dtype=torch.float64, seed=0):
    """The smallest parameter of a one-layer model: of a norm where its norms have weights."""
    model = shipped(kind, seed=seed, dtype=dtype, vocabulary=7, layers=1)
    ids = torch.randint(0, 6, (2, 5), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    inside = {name: p for name, p in model.named_parameters() if "layers.0." in name or "h.0." in name}
    name, parameter = min(inside.items(), key=lambda item: (item[1].numel(), item[0]))
    return LinearisedBlock(model, {name: parameter}, checked_batches({"input_ids": ids, "attention_mask": mask}))


class Dtypes(TorchDispatchMode):
    """The types of the numbers that operations return."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        results = found if isinstance(found, tuple | list) else (found,)
        self.seen |= {r.dtype for r in results if isinstance(r, torch.Tensor) and r.is_floating_point()}
        return found


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_reference_is_that_of_float64_and_worth_what_it_grants(kind):
    block = block_of(kind)
    truth = dense(wide(block.model), list(block.parameters), block.batches)
    with Dtypes() as dtypes:
        g, error = measured_gradient(block)
    assert dtypes.seen == {torch.float64}
    assert float((g - truth["gradient"]).norm()) <= error <= 1e-10 * float(g.norm())
    x = torch.randn(block.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for name in ("ggn", "token_fisher", "hessian"):
        found = measured(getattr(LinearisedBlock, name), block, x)
        assert float((found.image - truth[name] @ x).norm() / x.norm()) <= found.exact, name
        assert found.exact <= 1e-9 * float(torch.linalg.matrix_norm(truth[name], 2)), name


def cases():
    """Each surrogate on the norms of six models, in one precision after the other, dampings far apart."""
    for i, (kind, dtype) in enumerate(zip(KINDS, 2 * DTYPES, strict=True)):
        block = block_of(kind, dtype, seed=i)
        truth = dense(wide(block.model), list(block.parameters), block.batches)
        for j, name in enumerate(MATRICES):
            h = truth[MATRICES[name]]
            tau = (1e5, 1.0, 1e3, 1e-4)[(i + j) % 4] * float(h.diagonal().abs().mean())
            tau += 3 * max(0.0, -float(torch.linalg.eigvalsh(h)[0]))
            yield name, block, tau, (1e-3, 1e-8)[i % 2], exact_gain(h, truth["gradient"], tau)


def enclosures():
    for name, block, tau, width, exact in cases():
        low, high = find_curvature(name)(block, width).enclosure(tau)
        yield low, exact, high


def test_enclosures_hold_on_unmodified_models():
    found = [(holds(low, exact, high), high / low) for low, exact, high in enclosures()]
    assert len(found) == 24
    assert all(held for held, _ in found)
    assert min(ratio for _, ratio in found) < 1 + 1e-10


def test_they_would_not_in_the_arithmetic_of_the_model(monkeypatch):
    """What was granted before: norms as the model computes them, and no more than the rounding of sums."""
    monkeypatch.setattr(products, "float64_throughout", nullcontext)
    monkeypatch.setattr(precision, "SHAKE", 0.0)
    missed = [not holds(low, exact, high) for low, exact, high in enclosures()]
    assert sum(missed) >= 4


def test_what_still_computes_in_float32_is_granted():
    """A cast that names its type by a string escapes the reference; the change of its result does not."""
    block = block_of("llama")
    expected = block.gradient()
    block.model.model.norm.register_forward_hook(
        lambda module, args, output: output.type("torch.FloatTensor").type("torch.DoubleTensor")
    )
    g, error = measured_gradient(block)
    wrong = float((g - expected).norm())
    assert 1e-9 * float(g.norm()) < wrong <= error
    x = torch.ones(block.dimension, dtype=torch.float64)
    assert measured(LinearisedBlock.ggn, block, x).exact > 1e-8 * float(block.ggn(x).norm() / x.norm())


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.float(),
        lambda x: x.half().bfloat16(),
        lambda x: x.to(torch.float32),
        lambda x: x.to("cpu", torch.bfloat16),
        lambda x: x.to(dtype=torch.float16),
        lambda x: x.type(torch.float32),
        lambda x: x.to(torch.zeros(1)),
        lambda x: torch.nn.functional.softmax(x.log(), -1, dtype=torch.float32) * x.sum(dtype=torch.float32),
        lambda x: torch.tensor(x.tolist(), dtype=torch.float32),
        lambda x: torch.tensor(x.tolist()),
        lambda x: torch.arange(1, 4) / 3,
        lambda x: x.new_zeros(3, dtype=torch.float32) + x,
        lambda x: torch.zeros(3, dtype=torch.bfloat16).add_(x),
    ],
)
def test_every_request_for_a_narrower_type_is_answered_with_float64(make):
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) / 3
    with float64_throughout():
        found = make(x)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, x, rtol=1e-15, atol=0)


def test_everything_is_afterwards_as_it_was():
    with pytest.raises(ZeroDivisionError), float64_throughout():
        assert 1 / 0
    assert torch.tensor(1.0).dtype == torch.float32
    assert torch.ones(1, dtype=torch.float64).float().dtype == torch.float32
    block = block_of("mixtral", torch.float32)
    block.model.set_experts_implementation("grouped_mm")
    block.ggn(torch.ones(block.dimension))
    assert block.model.get_experts_implementation() == {"": "grouped_mm"}


def test_results_are_changed_by_units_in_the_last_place_and_the_same_for_a_seed():
    x, eps = torch.linspace(1, 2, 1000, dtype=torch.float64), torch.finfo(torch.float64).eps

    def result(seed):
        with shaken(seed):
            return (2 * x).view(-1)

    change = (result(0) - 2 * x).abs() / (2 * x)
    assert 0.9 * SHAKE * eps < float(change.max()) <= (SHAKE + 1) * eps
    assert torch.equal(result(0), result(0))
    assert not torch.equal(result(0), result(1))
    with shaken(0):
        inside = torch.zeros(3, dtype=torch.float64)
        inside[1:].add_(1.5)  # through a view; whole numbers may be indices and are left
        low = torch.full((3,), torch.finfo(torch.float64).min, dtype=torch.float64) + 0
    assert inside[0] == 0
    assert 0 < float((inside[1:] - 1.5).abs().max()) < 3 * SHAKE * eps
    assert low.isfinite().all()


@pytest.mark.parametrize("gap", [0.0, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("label", [0, 1])
def test_cross_entropy_keeps_its_digits_where_the_text_is_foretold(gap, label):
    """Value, first and second derivative against 100 digits; the likeliest token is 0."""
    z = torch.tensor([gap, 0.5, -0.25, -2.0], dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(z[None], torch.tensor([label]))[0]
    [first] = torch.autograd.grad(loss, z, create_graph=True)
    v = torch.tensor([0.3, -1.0, 0.7, 2.0], dtype=torch.float64)
    [second] = torch.autograd.grad(first @ v, z)
    with mpmath.workdps(400):
        exps = [mpmath.exp(mpmath.mpf(x)) for x in z.tolist()]
        p = [e / mpmath.fsum(exps) for e in exps]
        mean = mpmath.fsum(a * float(b) for a, b in zip(p, v, strict=True))
        value = [-mpmath.log(p[label])]
        gradient = [a - (i == label) for i, a in enumerate(p)]
        curved = [a * (float(b) - mean) for a, b in zip(p, v, strict=True)]
    for found, exact in (([loss], value), (first, gradient), (second, curved)):
        for a, b in zip(found, exact, strict=True):
            assert float(a) == pytest.approx(float(b), rel=1e-13)
    p64 = z.detach().softmax(-1)
    torch.testing.assert_close(products._of_softmax(p64, torch.tensor(label), v), second, rtol=1e-13, atol=0)
    rank_one = products._of_labels(p64, torch.tensor(label), v)
    with mpmath.workdps(400):
        along = mpmath.fsum(g * float(b) for g, b in zip(gradient, v, strict=True))
        for a, b in zip(rank_one, gradient, strict=True):
            assert float(a) == pytest.approx(float(along * b), rel=1e-13)
