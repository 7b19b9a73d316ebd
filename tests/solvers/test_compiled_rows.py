"""The compiled loops of the CPU against the tensors of other devices: the same plans, residuals and verdicts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

import zetaplan as zp
from tests.solvers.test_batch import SINGLE, drawn
from zetaplan import batch as public
from zetaplan.batch import solve_batch
from zetaplan.solvers import batch as tensors
from zetaplan.solvers import compiled_rows, rows
from zetaplan.spec.batch import Batch, declare_batch
from zetaplan.spec.programs import named
from zetaplan.verification import batch as tensor_certificates
from zetaplan.verification import rows as certificates

ROUNDINGS = 1e-12  # of the terms of a residual; the two add them up in different orders


def declared(name: str, seed: int, **knobs: float) -> Batch:
    arrays, box = drawn(name, seed)
    return declare_batch(named(name), **arrays, **box, parameters=knobs)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loops_solve_as_the_tensors(name: str, seed: int) -> None:
    batch = declared(name, seed)
    (x, multiplier), (y, other) = rows.solve_rows(batch), tensors.solve_rows(batch)
    assert np.allclose(x, y.numpy(), rtol=1e-12, atol=1e-12)
    assert np.allclose(multiplier, other.numpy(), rtol=1e-12, atol=0.0)


def claims(batch: Batch, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Claims that are right, moved, outside the box, not numbers, or infinite."""
    rng = np.random.default_rng(seed)
    x, multiplier = rows.solve_rows(batch)
    x *= rng.choice([1.0, 1.0 + 1e-7, 0.9, 3.0], (len(x), 1))
    x[5, 1], x[7, 2] = np.nan, np.inf
    multiplier *= rng.choice([1.0, 1.0 + 1e-7, 0.5, -1.0], len(x))
    multiplier[11:15] = np.nan, np.inf, -np.inf, 0.0
    return x, multiplier


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loops_certify_as_the_tensors(name: str, seed: int) -> None:
    batch = declared(name, seed)
    for x, multiplier in (rows.solve_rows(batch), claims(batch, seed)):
        found = certificates.residuals(batch, x, multiplier)
        expected = tensor_certificates.residuals(batch, *map(torch.from_numpy, (x, multiplier))).numpy()
        sound = ~(multiplier < 0.0)  # below 0 the sum of absolute values that a slope is relative to may vanish
        assert np.allclose(found[sound], expected[sound], rtol=1e-5, atol=ROUNDINGS, equal_nan=True)
        assert ((found <= 1e-9).all(1) == (expected <= 1e-9).all(1)).all()


def test_a_quotient_whose_terms_cancel_is_as_accurate_as_fractions() -> None:
    """Sums that the compiler may reorder would lose nine digits of the last layer."""
    quality = [4.995e-01, 2.4e-16, 8.9e-04, 4.995e-01, 1.2e-17]
    costs = [0.5, 3.0e-4, 1648.59271, 6.34213575e-03, 1130.83346]
    floors, caps = [0.0, 0.0, 0.25, 0.0, 0.5], [np.inf, 1000.0, 1000.0, 1.0, np.inf]
    spent = Fraction(0.25) * Fraction(costs[2]) + Fraction(0.5) * Fraction(costs[4])
    budget = float(spent) + 1e-13
    found = solve_batch("allocation", [quality], [costs], budget, lower=floors, upper=caps)
    alone = zp.solve(zp.allocation(quality, costs, budget, lower=floors, upper=caps))
    assert np.allclose(found.x[0].numpy(), alone.x, rtol=1e-12, atol=1e-15)


def test_a_cancelling_rest_is_that_of_fractions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = 10.0 ** rng.uniform(-8.0, 8.0, 32), rng.uniform(0.0, 1.0, 32)
        limit = float(a @ b) * (1.0 + 1e-15)
        truth = Fraction(limit) - sum(Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True))
        assert compiled_rows._rest(a, b, limit) == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (4, {"quality": -1.0}, r"quality\[4, 0\] = -1: expected a finite number of at least 0"),
        (7, {"quality": np.nan}, r"quality\[7, 0\] = nan: expected a finite number"),
        (5, {"data": 0.0}, r"costs\[5, 0\] = 0: expected a finite number above 0"),
        (6, {"limits": 0.5}, r"budget\[6\] = 0.5: the box requires at least 0.6; change one of them"),
    ],
)
def test_a_row_is_named_by_its_place_in_the_batch(
    monkeypatch: pytest.MonkeyPatch, row: int, change: dict[str, float], message: str
) -> None:
    monkeypatch.setattr(public, "MANY", 6)  # two rows a piece
    arrays = {"quality": np.ones((9, 3)), "data": np.ones((9, 3)), "limits": np.full(9, 3.0)}
    for name, value in change.items():
        arrays[name][(row, 0) if name != "limits" else row] = value
    with pytest.raises(zp.SpecError, match=message):
        solve_batch("allocation", **arrays, lower=0.2)


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, box = drawn("pruning", 3)
    whole = solve_batch("pruning", **arrays, **box)
    monkeypatch.setattr(public, "MANY", 20)
    pieces = solve_batch("pruning", **arrays, **box)
    for name in ("x", "multiplier", "valid", "residuals"):
        assert torch.equal(getattr(whole, name), getattr(pieces, name))


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    arrays, box = drawn("pruning", 3)
    monkeypatch.setattr(public, "FEW", 8)  # a piece per thread, however few numbers it has
    found, before = [], torch.get_num_threads()
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            found.append(solve_batch("pruning", **arrays, **box))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    for name in ("x", "multiplier", "valid", "residuals"):
        assert torch.equal(getattr(found[0], name), getattr(found[1], name))


@pytest.mark.parametrize("name", SINGLE)
def test_a_row_is_what_one_solve_gives_to_the_last_digits(name: str) -> None:
    batch = declared(name, 5)
    x, multiplier = rows.solve_rows(batch)
    for n in range(len(x)):
        alone = zp.solve(batch.instance(n))
        assert np.allclose(alone.x, x[n], rtol=1e-14, atol=1e-15)  # numpy rounds powers of one and of many differently
        assert alone.multiplier == pytest.approx(multiplier[n], rel=1e-14, abs=0.0)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (2, 3)])
def test_an_array_that_fits_a_piece_but_not_the_batch_is_refused(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(public, "MANY", 6)
    with pytest.raises(zp.SpecError, match=r"expected a shape that broadcasts|expected one number or 9"):
        solve_batch("allocation", np.ones((9, 3)), np.ones(shape), np.full(2, 4.0) if shape == (2, 3) else 4.0)
