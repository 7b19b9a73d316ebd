"""Row by row, a batch is what `solve` and `certify` give: ties, zeros, mixed magnitudes, floors, caps, any limit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from zetaplan.batch import solve_batch
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.programs import named, programs

SINGLE = [name for name, program in programs().items() if len(program.terms) == 1]
N, K = 12, 5
RESOLVED = 1e-290

Row = tuple[np.ndarray, np.ndarray, float, np.ndarray, np.ndarray]


def a_row(name: str, rng: np.random.Generator) -> Row:
    """(quality, data, limit, lower, upper)."""
    small = named(name).terms[0].upper <= 1.0
    decades = rng.choice([0.0, 1.0, 6.0, 20.0])
    quality = np.where(rng.random(K) < 0.3, 1.0, 10.0 ** rng.uniform(-decades, 0.0, K)) * (rng.random(K) < 0.8)
    quality[rng.integers(K)] = 1.0
    data = np.where(rng.random(K) < 0.4, rng.choice([0.5, 1.0, 2.0], K), 10.0 ** (decades * rng.uniform(-0.5, 0.5, K)))
    upper = rng.choice([0.5, 0.9, 0.25] if small else [1.0, 4.0, 1e3, np.inf], K)
    lower = np.minimum(rng.choice([0.0, 0.0, 0.25, 0.5], K), upper)
    least, most = float(data @ lower), float(data @ np.minimum(upper, 1e4))
    share = rng.choice([0.0, 1e-12, 1e-3, 0.5, 0.9, 1.0, rng.random()])
    corner = float(data @ rng.choice(np.stack([lower, np.minimum(upper, 1e4)]), axis=0))  # every layer at a bound
    return quality, data, rng.choice([least + share * (most - least), corner]), lower, upper


def knobs(name: str, rng: np.random.Generator) -> dict[str, float]:
    values = {scalar.name: float(rng.choice([0.0, 0.05])) for scalar in named(name).scalars if scalar.default == 0.0}
    if name == "power_allocation":
        values["p"] = float(rng.choice([0.3, 0.5, 0.9, 0.99]))
    if name == "power_pruning":
        values["p"] = float(rng.choice([1.02, 1.5, 2.0, 8.0]))
    return values


def alone(name: str, row: Row, values: dict[str, float]) -> Instance | None:
    quality, data, limit, lower, upper = row
    try:
        return declare(named(name), quality, [data], limit, [lower], [upper], values)
    except zp.InfeasibleError:
        return None


def batched(name: str, rows: list[Row], values: dict[str, float]) -> zp.BatchSolution:
    quality, data, limits, lower, upper = (np.array(column) for column in zip(*rows, strict=True))
    return solve_batch(name, torch.from_numpy(quality), data, limits, lower=lower, upper=upper, **values)


def is_the_same(solution: zp.Solution, x: np.ndarray, multiplier: float, valid: bool) -> None:
    instance = solution.instance
    assert np.allclose(x, solution.x, rtol=1e-11, atol=1e-13), (x, solution.x)
    price = solution.multiplier + float(derive(instance.program)[0].declared_price_of(*instance.scalars))
    assert multiplier == solution.multiplier or abs(multiplier - solution.multiplier) <= 1e-12 * price
    assert valid == zp.certify(instance, solution).valid


@pytest.mark.parametrize("name", SINGLE)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_row_is_what_solve_gives(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = knobs(name, rng)
    rows = [a_row(name, rng) for _ in range(N)]
    possible = [(row, instance) for row in rows if (instance := alone(name, row, values)) is not None]
    if len(possible) < N:
        with pytest.raises(zp.InfeasibleError):
            batched(name, rows, values)
    if not possible:
        return
    found = batched(name, [row for row, _ in possible], values)
    for n, (_, instance) in enumerate(possible):
        is_the_same(zp.solve(instance), found.x[n].numpy(), float(found.multiplier[n]), bool(found.valid[n]))


def test_what_was_reported() -> None:
    found = solve_batch("allocation", [[0.0, 1.0]], [0.5, 2.0], [0.0], upper=[0.0, 4.0])
    assert (found.x.tolist(), found.multiplier.tolist(), found.valid.tolist()) == ([[0.0, 0.0]], [0.5], [True])


def test_arrays_that_must_not_be_written_to_are_taken() -> None:
    instance = zp.allocation([1.0, 3.0], [1.0, 2.0], 4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve_batch("allocation", instance.quality[None], instance.resource[None], 4.0)
    assert found.x[0].tolist() == zp.solve(instance).x.tolist()


def test_products_below_the_normal_doubles_are_no_gap() -> None:
    """Costs of 1e-32 and capacities of 1e-292 at a budget of 0: the products are one unit of the least double."""
    quality, costs = [0.87, 6e-5, 0.13], [1.3e-32, 9.2e-31, 7.4e-32]
    upper, values = [np.inf, np.inf, 1.0], {"p": 0.99, "alpha": 0.000644}
    instance = zp.power_allocation(quality, costs, 0.0, upper=upper, **values)
    found = solve_batch("power_allocation", [quality], [costs], 0.0, upper=upper, **values)
    is_the_same(zp.solve(instance), found.x[0].numpy(), float(found.multiplier[0]), bool(found.valid[0]))


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (r"costs\[0, 1\] = 1e\+60: expected at most 1e\+50", {"data": [1.0, 1e60]}),
        (r"costs\[0, 1\] = 1e-60: expected a finite number of at least 1e-50", {"data": [1.0, 1e-60]}),
        (r"budget\[0\] = 1e\+60: expected at most 1e\+50", {"limits": 1e60}),
        (r"budget\[0\] = 4.94066e-324: expected 0, or a number of at least 1e-100", {"limits": 5e-324}),
        (r"lower\[0, 0\] = 1e\+60: expected at most 1e\+50", {"lower": 1e60}),
        (r"upper\[0, 0\] = 1e\+60: expected at most 1e\+50, or infinity", {"upper": 1e60}),
        (r"quality\[0, 0\] = 1e-120: expected 0, or a share whose power beta", {"quality": [[1e-120, 1.0]]}),
        ("quality = 'x': expected numbers", {"quality": "x"}),
        ("data = {}: expected numbers", {"data": {}}),
        ("limits = None: expected numbers", {"limits": None}),
    ],
)
def test_what_is_out_of_range_is_refused(message: str, change: dict) -> None:
    with pytest.raises(zp.SpecError, match=message):
        solve_batch("allocation", **({"quality": [[1.0, 3.0]], "data": 1.0, "limits": 4.0} | change))
