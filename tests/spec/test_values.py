"""Values pickle, copy and deep-copy, here and in another process, and stay immutable."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

import zetaplan as zp
from zetaplan.batch import solve_batch
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.program import Program
from zetaplan.spec.programs import named, programs
from zetaplan.spec.values import FrozenMap


def instance() -> Instance:
    return zp.allocation([1.0, 3.0, 0.0], [1.0, 2.0, 4.0], 9.0, lower=0.25, upper=[2.0, 8.0, 8.0])


def own() -> Instance:
    """Of a program that is no file of the folder."""
    program = replace(named("pruning"), name="own")
    return declare(program, [1.0, 3.0], ([4.0, 5.0],), 2.0)


MAKERS: dict[str, Callable[[], Any]] = {
    "instance": instance,
    "own program": own,
    "joint": lambda: zp.joint([1.0, 2.0], 1.0, 10.0, 3.0),
    "solution": lambda: zp.solve(instance()),
    "frontier": lambda: zp.frontier(instance()),
    "integer solution": lambda: zp.solve_integer(zp.allocation([1, 3], costs=1.0, budget=3.0)),
    "exact optimum": lambda: zp.exact_optimum(instance()),
    "constants": lambda: zp.constants(instance()),
    "batch solution": lambda: solve_batch("allocation", [[1.0, 3.0]], 1.0, [6.0]),
    "certificate": lambda: zp.certify(instance(), zp.solve(instance())),
    "error": lambda: zp.SpecError("budget = -1: expected at least 0"),
    **{name: lambda program=program: program for name, program in programs().items()},
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301 - our own bytes
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def same(a: Any, b: Any) -> bool:
    """Equal bit by bit, and as immutable."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=True) and a.dtype == b.dtype and a.flags.writeable == b.flags.writeable
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, Program):
        return a is b if a in programs().values() else repr(a) == repr(b)
    if isinstance(a, BaseException):
        return str(a) == str(b)
    if hasattr(a, "__dataclass_fields__"):
        assert same(getattr(a, "x", None), getattr(b, "x", None))
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.name != "_plan")
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MAKERS)
def test_a_value_survives(name: str, way: str) -> None:
    value = MAKERS[name]()
    twin = WAYS[way](value)
    assert same(value, twin)
    assert same(twin, WAYS[way](twin))


def test_what_comes_back_works() -> None:
    for made in (instance(), own()):
        back = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes
        assert np.array_equal(zp.solve(back).x, zp.solve(made).x)
        assert zp.certify(back, zp.solve(back)).valid
    path = copy.deepcopy(zp.frontier(instance()))
    assert np.array_equal(path.at(7.0).x, zp.frontier(instance()).at(7.0).x)


def test_another_process_gives_every_value_back() -> None:
    values = {name: make() for name, make in MAKERS.items() if name != "batch solution"}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for name, back in zip(values, pool.map(copy.copy, list(values.values())), strict=True):
            assert same(values[name], back), name
        solved = pool.map(zp.solve, [instance()])[0]
    assert same(solved.x, zp.solve(instance()).x)


def test_an_instance_stays_small() -> None:
    """What is pickled are its numbers and the program's name."""
    assert len(pickle.dumps(instance())) < 1000


def test_the_knobs_are_a_mapping_that_cannot_be_changed() -> None:
    knobs = instance().parameters
    assert isinstance(knobs, Mapping)
    assert knobs == {"alpha": 0.0, "beta": 1.0, "gamma": 1.0} == dict(knobs)
    assert repr(knobs) == repr(dict(knobs))
    with pytest.raises(TypeError):
        knobs["alpha"] = 1.0
    with pytest.raises(AttributeError, match="cannot be changed"):
        knobs.other = 1.0
    given = {"a": 1.0}
    frozen = FrozenMap(given)
    given["a"] = 2.0
    assert frozen["a"] == 1.0
