"""Public values of the face survive pickle, copy, deep copy and the way to another process, number by number."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

import zetaplan as zp
from tests.made import made_scores
from zetaplan.documents.verify import check
from zetaplan.drift.intervals import expected_intervals
from zetaplan.reports.report import Report
from zetaplan.reports.tradeoff import tradeoff

MENU = zp.Menu(("q", "k"), (("2", "4"), ("2", "4")), ((9, 1), (4, 1)), (((2,), (4,)), ((2,), (4,))))


def values() -> dict[str, Any]:
    """One of every value that a user gets from the face, by its name."""
    rank, sizes = zp.allocation([1, 3], 1.0, 6.0), zp.pruning([1, 3], sizes=1.0, target=1.0)
    plan = zp.allocate(made_scores(), mean_rank=4)
    watch = zp.Monitor(plan)
    return {
        "plan of ranks": plan,
        "plan of sparsity": zp.prune(made_scores(), sparsity=0.5),
        "kind": plan.kind,
        "rounded": plan.rounded,
        "cost": plan.regret[0],
        "request": plan.request,
        "proof": plan.proof,
        "document": plan.document(),
        "verdict": check(plan.document()),
        "report": Report(plan, "plan.json"),
        "tradeoff": tradeoff(plan, 1, 4, 3),
        "export": zp.export(plan, to="csv"),
        "export of formats": zp.export(zp.choose(MENU, 6), to="json"),
        "intervals": expected_intervals(made_scores(), "raw", 0.1),
        "regret": zp.regret(rank, zp.solve(rank), [2, 6]),
        "robust": zp.robust(sizes, low=[0.5, 2.0], high=[1.5, 4.0]),
        "reading": watch.update(made_scores()),
        "monitor": watch,
        "curves": zp.LossCurves(("a",), "wanda", np.array([0.5, 0.7]), np.array([[1.0, 2.0]])),
        "scores": made_scores(),
    }


def plain(value: Any) -> Any:
    """What a value holds, as something that compares: every number to its last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, zp.Monitor):
        return plain(vars(value))
    if hasattr(value, "items"):
        return {key: plain(one) for key, one in value.items()}
    return value


WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_value_comes_back_as_it_was(way: str) -> None:
    for name, value in values().items():
        back = WAYS[way](value)
        assert type(back) is type(value), name
        assert plain(back) == plain(value), name


def test_values_cross_to_another_process_and_back() -> None:
    sent = values()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        back = pool.map(copy.copy, list(sent.values()))
    for (name, value), other in zip(sent.items(), back, strict=True):
        assert plain(other) == plain(value), name


def test_a_monitor_that_comes_back_goes_on() -> None:
    watch = pickle.loads(pickle.dumps(zp.Monitor(zp.allocate(made_scores(), mean_rank=4))))  # noqa: S301
    assert watch.update(made_scores()).within


def test_the_comparison_sees_a_changed_bit() -> None:
    scores = made_scores()
    gain = scores.gain.copy()
    gain[2] = np.nextafter(gain[2], 1.0)
    assert plain(scores) != plain(made_scores(gain=gain))
