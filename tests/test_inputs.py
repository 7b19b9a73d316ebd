"""Numbers per layer are accepted as lists, arrays, tensors, mappings and pandas Series, by place or by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import zetaplan as zp
from tests.made import made_scores

GAIN, COST = {"a": 1.0, "b": 3.0, "c": 2.0}, {"a": 1.0, "b": 0.75, "c": 0.5}
PLACES = (list(GAIN.values()), list(COST.values()))


def reversed_dict(values: Mapping[str, float]) -> dict[str, float]:
    return dict(reversed(values.items()))


def series(values: Mapping[str, float]) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is an extra")
    return pandas.Series(reversed_dict(values))


def tensor(values: Mapping[str, float]) -> torch.Tensor:
    return torch.tensor(list(values.values()), requires_grad=True)


DECLARE = {
    "costs": lambda q, d: zp.allocation(q, d, 6.0),
    "lower": lambda q, d: zp.allocation(q, 1.0, 9.0, lower=d),
    "sizes": lambda q, d: zp.pruning(q, d, sparsity=0.5),
    "upper": lambda q, d: zp.power_pruning(q, 4.0, sparsity=0.2, upper=d),
    "joint": lambda q, d: zp.joint(q, d, 8.0, 0.0),
}


@pytest.mark.parametrize("shape", [dict, reversed_dict, series])
@pytest.mark.parametrize("declare", DECLARE)
def test_numbers_by_name_are_found_whatever_their_order(declare: str, shape: Any) -> None:
    named, placed = DECLARE[declare](GAIN, shape(COST)), DECLARE[declare](*PLACES)
    assert named.names == ("a", "b", "c")
    assert placed.names is None
    for name in ("quality", "weight", "resource", "lower", "upper", "limit"):
        assert np.array_equal(getattr(named, name), getattr(placed, name)), name


def test_later_gains_may_be_by_name_too() -> None:
    inst = zp.allocation(GAIN, 1.0, 6.0)
    sol, other = zp.solve(inst), {"c": 1.0, "b": 1.0, "a": 4.0}
    low, high = {k: 0.9 * v for k, v in other.items()}, {k: 1.1 * v for k, v in other.items()}
    placed = [[box[name] for name in inst.layer_names] for box in (other, low, high)]
    assert zp.regret(inst, sol, other).value == zp.regret(inst, sol, placed[0]).value
    bounds = [zp.regret_bound(inst, sol, low=a, high=b).value for a, b in ((low, high), placed[1:])]
    assert bounds[0] == bounds[1]
    assert zp.robust(inst, low, high).gap == zp.robust(inst, *placed[1:]).gap


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64])
@pytest.mark.parametrize("gradient", [False, True])
def test_a_tensor_is_its_numbers(dtype: torch.dtype, gradient: bool) -> None:
    gain = torch.tensor(PLACES[0], dtype=dtype)
    gain.requires_grad_(gradient and dtype.is_floating_point)
    inst = zp.allocation(gain, torch.tensor(PLACES[1], dtype=torch.bfloat16), torch.tensor(6.0))
    assert np.array_equal(zp.solve(inst).x, zp.solve(zp.allocation(*PLACES, 6.0)).x)
    batches = [zp.solve_batch("allocation", rows, 1.0, [6.0]).x for rows in (gain[None], [PLACES[0]])]
    assert torch.equal(*batches)


@pytest.mark.parametrize("shape", [dict, reversed_dict, series, tensor])
def test_plans_take_numbers_in_every_form(shape: Any) -> None:
    scores = made_scores()
    costs = {name: 50.0 + k for k, name in enumerate(scores.names)}
    for name in ("costs", "upper"):
        plan = zp.plan(scores, kind="rank", mean_rank=torch.tensor(4.0, requires_grad=True), **{name: shape(costs)})
        same = zp.plan(scores, kind="rank", mean_rank=4.0, **{name: list(costs.values())})
        assert plan.ranks == same.ranks
        assert np.array_equal(plan.instance.upper, same.instance.upper)
        assert np.array_equal(plan.instance.resource, same.instance.resource)
    sizes = {name: 90.0 + k for k, name in enumerate(scores.names)}
    assert zp.prune(scores, sizes=shape(sizes)).sparsity == zp.prune(scores, sizes=list(sizes.values())).sparsity


def test_a_plan_needs_a_number_for_every_layer() -> None:
    with pytest.raises(zp.SpecError, match=r"costs: no number for layer 'model.layers.1'"):
        zp.plan(made_scores(), kind="rank", costs={"model.layers.0": 3.0})


def test_a_choice_takes_menus_and_budgets_by_name() -> None:
    named = zp.choice({"q": [3, 1], "k": [2, 0]}, costs={"k": [1, 4], "q": [1, 2]}, budget=torch.tensor(3.0))
    placed = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3, names=["q", "k"])
    assert zp.solve(named).taken == zp.solve(placed).taken
    tensors = zp.choice(torch.tensor([[3.0, 1], [2, 0]], requires_grad=True), torch.tensor([[1, 2], [1, 4]]), 3)
    assert zp.solve(tensors).choice.tolist() == zp.solve(placed).choice.tolist()
    menu = zp.Menu(("q",), (("2", "4"),), ((3.0, 1.0),), (((1.0, 5.0), (2.0, 6.0)),), ("disk", "memory"), ("", ""))
    assert zp.choose(menu, {"memory": 6, "disk": 2}).request.budgets == (2.0, 6.0)
    with pytest.raises(zp.SpecError, match=r"budget\['ram'\]"):
        zp.choose(menu, {"ram": 6, "disk": 2, "memory": 6})


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"a": 1.0, "b": 1.0}, r"costs: no number for layer 'c'"),
        ({**COST, "dd": 1.0}, r"costs\['dd'\]: no layer has this name"),
        ({1: 1.0, 2: 2.0, 3: 1.0}, r"costs\[1\]: expected the names of the layers as keys"),
        ({"a": 1.0, "b": -1.0, "c": 1.0}, r"costs\[1\] = -1"),
    ],
)
def test_wrong_names_are_named(costs: Any, message: str) -> None:
    with pytest.raises(zp.SpecError, match=message):
        zp.allocation(GAIN, costs, 6.0)


def test_names_need_names() -> None:
    with pytest.raises(zp.SpecError, match="give quality by name too"):
        zp.allocation([1, 3, 2], COST, 6.0)


def test_a_series_with_a_name_twice_is_refused() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is an extra")
    with pytest.raises(zp.SpecError, match=r"'a'.*twice"):
        zp.allocation(pandas.Series([1.0, 2.0], index=["a", "a"]), 1.0, 6.0)
    assert zp.allocation(pandas.Series([1.0, 3.0]), 1.0, 6.0).names is None


def test_scores_are_quality_by_name() -> None:
    scores = made_scores()
    inst = zp.allocation(scores, costs=dict(zip(scores.names, scores.rank_parameters, strict=True)), budget=1000.0)
    assert inst.names == scores.names
    assert np.array_equal(inst.quality, zp.allocation(scores.gain, scores.rank_parameters, 1000.0).quality)


def test_a_data_frame_gives_back_its_instance() -> None:
    pytest.importorskip("pandas", reason="pandas is an extra")
    scores = made_scores()
    frame = scores.to_pandas().sort_values("gain")
    solved = dict(zp.solve(zp.allocation(frame["gain"], frame["rank_parameters"], 1000.0)))
    direct = zp.solve(zp.allocation(scores.gain, scores.rank_parameters, 1000.0)).x.tolist()
    assert solved == pytest.approx(dict(zip(scores.names, direct, strict=True)))
