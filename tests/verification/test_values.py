"""Values of this room survive pickling, copying and another process, and stay equal field by field."""

from __future__ import annotations

import copy
import inspect
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

import zetaplan as zp
from zetaplan.solvers import solve
from zetaplan.verification.checker import CertificateError, check_certificate
from zetaplan.verification.conformance import conformance
from zetaplan.verification.enclosure import enclose
from zetaplan.verification.regret.bound import NEEDS, regret_bound
from zetaplan.verification.regret.boxes import decision_box
from zetaplan.verification.regret.dual_ends import dual_ends
from zetaplan.verification.regret.relative import relative_regret

LOW, HIGH = [0.9, 2.7, 0.0], [1.1, 3.3, 1.0]


def values() -> dict[str, Any]:
    """Of every kind, and of each what is proved and what is not."""
    instance = zp.pruning([1, 3, 0.5], sizes=[1.0, 2.0, 1.0], sparsity=0.4, upper=[0.5, 1.0, 1.0])
    plan = solve(instance)
    wrong, outside = replace(plan, x=plan.x * 0.9), replace(plan, x=plan.x + 1.0)
    found: dict[str, Any] = {}
    for name, claim in (("optimal", plan), ("wrong", wrong), ("outside", outside)):
        found[f"certificate, {name}"] = zp.certify(instance, claim)
        found[f"exact certificate, {name}"] = zp.certify(instance, claim, exact=True)
    menus = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3)
    for name, taken in (("optimal", (1, 0)), ("too dear", (1, 1))):
        found[f"certificate of a choice, {name}"] = zp.certify(menus, replace(zp.solve(menus), choice=np.array(taken)))
    for kind in NEEDS:
        found[f"regret bound, {kind}"] = regret_bound(instance, plan, low=LOW, high=HIGH, kind=kind)
    box = decision_box(instance, LOW, HIGH, False)
    found["relative regret"] = relative_regret(instance, plan.x, plan.multiplier, LOW, HIGH)
    found["box"] = box
    found["proved"] = dual_ends(instance, [box], plan.x, plan.multiplier)
    found["verdict"] = check_certificate(found["exact certificate, optimal"].document)
    found["enclosure"] = enclose(instance, plan)
    found["report"] = conformance(solve)
    return found


VALUES = values()
ROUND_TRIPS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda value, n=n: pickle.loads(pickle.dumps(value, n)) for n in range(2, 6)},  # noqa: S301 our own
}


def same(one: Any, two: Any) -> bool:
    """Equal in type and content, arrays and dataclasses by their parts."""
    if type(one) is not type(two):
        return False
    if is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(two, field.name)) for field in fields(one))
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=True)
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back(name: str, trip: str) -> None:
    value = VALUES[name]
    back = ROUND_TRIPS[trip](value)
    assert same(value, back)
    assert str(value) == str(back)


def identity(value: Any) -> Any:
    return value


def test_values_go_through_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        backs = list(pool.map(identity, VALUES.values()))
    assert all(map(same, VALUES.values(), backs))


def test_a_copy_of_the_document_is_still_proved() -> None:
    certificate = VALUES["exact certificate, optimal"]
    back = pickle.loads(pickle.dumps(certificate))  # noqa: S301 our own
    assert check_certificate(back.document) == check_certificate(json.loads(json.dumps(certificate.document)))


def test_an_error_of_the_checker_keeps_its_status() -> None:
    with pytest.raises(CertificateError) as caught:
        check_certificate(VALUES["exact certificate, wrong"].document)
    back = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 our own
    assert (str(back), back.status) == (str(caught.value), caught.value.status)


def test_every_public_value_of_the_room_is_tried() -> None:
    public = (getattr(zp, name) for name in zp.__all__)
    found = {kind for kind in public if inspect.isclass(kind) and kind.__module__.startswith("zetaplan.verification")}
    assert found <= {type(value) for value in VALUES.values()} | {CertificateError}
    assert len(found) >= 3


def test_other_content_is_not_the_same() -> None:
    bound = VALUES["regret bound, dual-endpoint"]
    assert not same(bound, replace(bound, value=bound.value * 2))
    assert not same(bound, replace(bound, layers=bound.layers + 1))
    assert not same(VALUES["box"], tuple(VALUES["box"]))
