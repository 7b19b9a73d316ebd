"""Many instances at once: the same answers as one by one, the same verdicts, and mutants found in their own row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zetaplan as zp
from zetaplan.batch import BatchSolution, solve_batch
from zetaplan.spec.batch import Batch, declare_batch
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import declare
from zetaplan.spec.programs import named, programs
from zetaplan.verification.batch import CONDITIONS, certified, residuals

N, K = 60, 7
SINGLE = [name for name, program in programs().items() if len(program.terms) == 1]


def drawn(name: str, seed: int) -> tuple[dict[str, object], dict[str, object]]:
    """Zeros, ties, caps, floors, pinned layers, and limits from one end of the box to the other."""
    rng, cap = np.random.default_rng(seed), 4.0 if named(name).terms[0].upper > 1.0 else 0.9
    spread = np.where(rng.random((N, 1)) < 0.5, 1.0, 10.0 ** rng.uniform(-3.0, 0.0, (N, K)))
    quality = rng.choice([0.0, 1.0, 1.0, 3.0], (N, K)) * spread
    quality[:, 0] = 1.0
    data = rng.choice([1.0, 2.0, 0.5], (N, K))
    lower = rng.choice([0.0, 0.0, 0.05], (N, K))
    upper = np.where(rng.random((N, K)) < 0.1, lower, rng.choice([cap / 2, cap], (N, K)))
    floors, caps = (data * lower).sum(1), (data * upper).sum(1)
    limits = floors + rng.choice([0.001, 0.3, 0.6, 0.999], N) * (caps - floors)
    return {"quality": quality, "data": data, "limits": limits}, {"lower": lower, "upper": upper}


def one_by_one(name: str, arrays: dict, box: dict, **knobs: float) -> list[zp.Solution]:
    rows = zip(*(arrays[key] for key in ("quality", "data", "limits")), box["lower"], box["upper"], strict=True)
    return [zp.solve(declare(named(name), q, [d], b, [l], [u], knobs)) for q, d, b, l, u in rows]


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_batch_agrees_with_its_instances(name: str, seed: int) -> None:
    arrays, box = drawn(name, seed)
    priced = {"alpha", "bits"} & {scalar.name for scalar in named(name).scalars} if seed else set()
    knobs = dict.fromkeys(priced, 0.05)
    batch = solve_batch(name, **arrays, **box, **knobs)
    for n, solution in enumerate(one_by_one(name, arrays, box, **knobs)):
        scale = 1.0 + np.abs(solution.x)
        assert (np.abs(batch.x[n].numpy() - solution.x) <= 1e-12 * scale).all(), n
        (derivation,) = derive(named(name))
        price = solution.multiplier + float(derivation.declared_price_of(*solution.instance.scalars))
        assert abs(float(batch.multiplier[n]) - solution.multiplier) <= 1e-12 * price, n
        assert bool(batch.valid[n]) == zp.certify(solution.instance, solution).valid
    assert batch.valid.all()


def claim() -> tuple[Batch, BatchSolution]:
    rng = np.random.default_rng(5)
    q, c = 10.0 ** rng.uniform(-1.0, 0.0, (9, 6)), rng.uniform(0.5, 2.0, (9, 6))
    return declare_batch(named("allocation"), q, c, 9.0), solve_batch("allocation", q, c, 9.0)


def test_a_broken_row_is_found_and_no_other() -> None:
    batch, honest = claim()
    assert honest.valid.all()
    for row in range(9):
        x, multiplier = honest.x.clone(), honest.multiplier.clone()
        multiplier[row] *= 1.001
        assert certified(residuals(batch, x, multiplier)).logical_not().nonzero().flatten().tolist() == [row]
        x[row, honest.x[row].argmax()] += 1e-3
        assert certified(residuals(batch, x, honest.multiplier)).logical_not().nonzero().flatten().tolist() == [row]
        x[row, 0] = torch.nan
        assert certified(residuals(batch, x, honest.multiplier)).logical_not().nonzero().flatten().tolist() == [row]


@pytest.mark.parametrize("name", SINGLE)
def test_every_condition_is_the_one_of_the_single_certificate(name: str) -> None:
    arrays, box = drawn(name, 2)
    honest, batch = solve_batch(name, **arrays, **box), declare_batch(named(name), **arrays, **box)
    rng = np.random.default_rng(2)
    x = honest.x * torch.from_numpy(rng.uniform(0.9, 1.05, (N, K)))
    multiplier = (
        honest.multiplier * torch.from_numpy(rng.uniform(0.5, 1.5, N)) * torch.from_numpy(rng.choice([1, -1], N))
    )
    found = residuals(batch, x, multiplier).numpy()
    for n, solution in enumerate(one_by_one(name, arrays, box)):
        wrong = zp.Solution(solution.instance, x[n].numpy(), float(multiplier[n]))
        conditions = zp.certify(solution.instance, wrong).conditions
        assert tuple(condition.name for condition in conditions) == CONDITIONS
        expected = [condition.residual for condition in conditions]
        # The batch counts the rounding of its own sums: a few parts in a million of what a residual is relative to.
        assert np.allclose(found[n], expected, rtol=1e-5, atol=1e-12, equal_nan=True), (n, found[n], expected)


BAD = {
    r"quality\[1, 2\] = -1: expected a finite number of at least 0": {"quality": [[1, 1, 1], [1, 1, -1]]},
    r"quality\[1\]: all layers are zero": {"quality": [[1, 1, 1], [0, 0, 0]]},
    r"quality: expected one row of gains per instance, shape \(N, K\), got \(3,\)": {"quality": [1, 1, 1]},
    r"costs\[0, 1\] = 0: expected a finite number above 0": {"data": [1, 0, 1]},
    r"costs: expected a shape that broadcasts to \(2, 3\), got shape \(2,\)": {"data": [1, 2]},
    r"budget\[1\] = nan: expected a finite number": {"limits": [1, float("nan")]},
    r"limits: expected one number or 2 of them": {"limits": [1, 2, 3]},
    r"upper\[0, 2\] = 0.5: expected at least the floor": {"lower": 1, "upper": [2, 2, 0.5]},
    r"budget\[1\] = 2: the box requires at least 3": {"lower": 1, "limits": [4, 2]},
    r"alpha = -1: expected at least 0": {"alpha": -1},
    r"allocation has no parameter 'eta'": {"eta": 1},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_data_are_refused(message: str) -> None:
    with pytest.raises(zp.SpecError, match=message):
        solve_batch("allocation", **({"quality": [[1, 1, 1], [1, 2, 3]], "data": 1, "limits": 4} | BAD[message]))


def test_programs_of_several_decisions_are_refused() -> None:
    with pytest.raises(zp.SpecError, match="joint has 2 decisions per layer"):
        solve_batch("joint", [[1.0, 1.0]], 1, 1)
