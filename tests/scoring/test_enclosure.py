"""Enclosures against exact arithmetic (Arb, 300 bits) on planted spectra that are as nasty as they come."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from flint import arb, arb_mat, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from zetaplan.scoring.curvature import _krylov as krylov
from zetaplan.scoring.curvature import find_curvature
from zetaplan.scoring.curvature._enclosure import Gradient, enclosed, measured
from zetaplan.scoring.curvature._krylov import KrylovCurvature
from zetaplan.scoring.curvature._precision import shaken

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class Planted:
    """What a `LinearisedBlock` offers, of H = J'J with J (n, d) and a gradient; products in J's own precision."""

    jacobian: torch.Tensor
    exact_gradient: torch.Tensor
    shake: int | None = None

    device = torch.device("cpu")

    @property
    def dimension(self):
        return self.jacobian.shape[1]

    @property
    def dtype(self):
        return torch.promote_types(self.jacobian.dtype, torch.float32)

    def in_float64(self):
        wide = self.jacobian.double()
        return self if self.jacobian.dtype == torch.float64 else replace(self, jacobian=wide)

    def shaken(self, seed):
        return replace(self, shake=seed)

    def gradient(self):
        return self.exact_gradient

    def ggn(self, v):
        with nullcontext() if self.shake is None else shaken(self.shake):
            return self.multiply(v)

    def multiply(self, v):
        return (self.jacobian.mT @ (self.jacobian @ v.to(self.jacobian))).to(self.dtype)


class Sum(KrylovCurvature):
    @staticmethod
    def product(block, v):
        return block.ggn(v)


SPECTRA = {
    "geometric": lambda d: np.geomspace(1, 1e-8, d),
    "of low rank": lambda d: np.where(np.arange(d) < max(1, d // 5), 1.0 / (1 + np.arange(d)), 0.0),
    "in two clusters": lambda d: np.where(np.arange(d) < d // 2, 1.0, 1e-6),
    "with one spike": lambda d: np.where(np.arange(d) == 0, 1e3, 0.0),
}
GRADIENTS = {
    "anywhere": lambda c, s: c,
    "in two directions": lambda c, s: np.where(np.arange(len(c)) < 2, c, 0.0),
    "where it is flat": lambda c, s: np.where(s <= np.median(s), c, 0.0),
    "in the range": lambda c, s: c * np.sqrt(s),
}


def planted(spectrum, gradient, dtype, seed):
    generator = np.random.default_rng(seed)
    d = int(generator.integers(2, 16))
    s, basis = SPECTRA[spectrum](d), np.linalg.qr(generator.normal(size=(d, d)))[0]
    g = basis @ GRADIENTS[gradient](generator.normal(size=d), s)
    return Planted(torch.tensor(np.sqrt(s)[:, None] * basis.T).to(dtype), torch.tensor(g))


def truth(block, tau):
    """g'(J'J + tau I)^-1 g in 300 bits, of J as its precision has it."""
    ctx.prec = 300
    jacobian, g = (arb_mat([[arb(x) for x in row] for row in rows.double().tolist()]) for rows in numbers(block))
    matrix = jacobian.transpose() * jacobian
    for i in range(block.dimension):
        matrix[i, i] += arb(tau)
    return (g.transpose() * matrix.solve(g))[0, 0]


def numbers(block):
    return block.jacobian, block.exact_gradient[:, None]


def holds(low, exact, high):
    return bool(arb(low) <= exact) and bool(exact <= arb(high))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_no_spectrum_escapes(dtype, steps, monkeypatch):
    monkeypatch.setattr(krylov, "STEPS", steps)
    for seed, (spectrum, gradient, relative) in enumerate(product(SPECTRA, GRADIENTS, (1e-12, 1e-6, 1e-2, 1.0))):
        block = planted(spectrum, gradient, dtype, seed)
        tau = relative * float(block.jacobian.double().square().sum()) / block.dimension
        low, high = Sum(block, 1e-3).enclosure(tau)
        assert holds(low, truth(block, tau), high), (spectrum, gradient, relative, low, high)


@settings(max_examples=60, deadline=None)
@given(
    spectrum=st.sampled_from(sorted(SPECTRA)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 10**6),
    relative=st.floats(1e-6, 1e2),
    noise=st.floats(0, 1),
)
def test_any_vector_gives_an_interval(spectrum, dtype, seed, relative, noise):
    """Of conjugate gradients that stopped early, of a solver that erred, or of none."""
    block = planted(spectrum, "anywhere", dtype, seed)
    tau = relative * float(block.jacobian.double().square().sum()) / block.dimension
    g = block.exact_gradient
    x = g + noise * g.norm() * torch.randn(len(g), generator=torch.Generator().manual_seed(seed), dtype=g.dtype)
    found = enclosed(Planted.ggn, block, Gradient(g, 0.0), x.to(block.dtype), tau)
    assert holds(found.low, truth(block, tau), found.high)
    assert found.high <= float(g @ g) / tau * (1 + 1e-12)


def test_a_solution_gives_a_point():
    block = planted("geometric", "anywhere", torch.float64, 0)
    h = block.jacobian.mT @ block.jacobian
    x = torch.linalg.solve(h + 0.1 * torch.eye(len(h), dtype=torch.float64), block.exact_gradient)
    found = enclosed(Planted.ggn, block, Gradient(block.exact_gradient, 0.0), x, 0.1)
    assert found.high - found.low < 1e-12 * found.high
    other = enclosed(Planted.ggn, block, Gradient(block.exact_gradient, 0.0), 7 * x, 0.1)  # the multiple is found
    assert (other.low, other.high) == (pytest.approx(found.low, rel=1e-12), pytest.approx(found.high, rel=1e-12))


class Mixed(Planted):
    """A float64 block some of which computes in float32, as the norms of transformers do."""

    def multiply(self, v):
        image = (self.jacobian @ v.to(self.jacobian)).float().to(self.dtype)
        return (self.jacobian.mT @ image).to(self.dtype)


def test_single_precision_inside_a_float64_model_is_noticed():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        jacobian, g = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((20, 12), (12,)))
        block, mixed = Planted(jacobian, g), Mixed(jacobian, g)
        x = block.exact_gradient
        wrong = float((mixed.ggn(x) - block.ggn(x)).norm() / x.norm())
        assert measured(Mixed.ggn, mixed, x).exact >= wrong > 1e-10
        low, high = Sum(mixed, 0.0).enclosure(0.1)
        assert holds(low, truth(block, 0.1), high)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nystrom_encloses_the_matrix_that_it_approximates(dtype, monkeypatch):
    from zetaplan.scoring.curvature import nystrom

    for seed, (spectrum, gradient, rank) in enumerate(product(SPECTRA, GRADIENTS, (1, 4))):
        monkeypatch.setattr(nystrom, "RANK", rank)
        block = planted(spectrum, gradient, dtype, seed)
        tau = 0.1 * float(block.jacobian.double().square().sum()) / block.dimension
        surrogate = find_curvature("nystrom")(block, 1e-3)
        low, high = surrogate.enclosure(tau)
        assert holds(low, truth(block, tau), high), (spectrum, gradient)
        assert low <= surrogate.gain(tau) <= high
