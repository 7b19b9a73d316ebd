"""Menus are validated once, say what is wrong by name, and are the program that they display."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zetaplan as zp
from tests.menus import choices, feasible
from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec.menus.choice import Choice, integers
from zetaplan.spec.menus.declare import choice, with_losses

LOSSES, COSTS = [[9.0, 1.0, 0.0], [4.0, 1.0, 0.5], [2.0, 0.0]], [[2.0, 4.0, 8.0], [2.0, 4.0, 8.0], [1.0, 3.0]]


def made(**changed: Any) -> Choice:
    return choice(**({"losses": LOSSES, "costs": COSTS, "budget": 12.0} | changed))


def test_menus_may_be_ragged_lists_or_one_array() -> None:
    ragged = made()
    assert (ragged.blocks, ragged.decisions, ragged.losses.size) == (3, 3, 8)
    assert ragged.first.tolist() == [0, 3, 6, 8]
    array = choice(np.array(LOSSES[:2]), np.array(COSTS[:2]), 12)
    listed = choice(LOSSES[:2], COSTS[:2], 12.0)
    for field in ("losses", "costs", "first", "option", "budgets"):
        assert (getattr(array, field) == getattr(listed, field)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"losses": []}, "losses: expected one menu for each block"),
        ({"losses": "abc"}, "losses: expected one menu"),
        ({"losses": [[1.0], [], [2.0]]}, r"losses\[1\]: the menu is empty"),
        ({"losses": [[1.0], ["x"], [2.0]]}, r"losses\[1\]: expected numbers"),
        ({"losses": [[[1.0]], [1.0], [2.0]]}, r"losses\[0\]: expected a list of numbers|got shape"),
        ({"losses": [[9.0, math.nan, 0.0], *LOSSES[1:]]}, r"losses\['0'\]\['1'\] = nan: expected a finite number"),
        ({"losses": [[9.0, math.inf, 0.0], *LOSSES[1:]]}, r"losses\['0'\]\['1'\] = inf.*forbid the option"),
        ({"losses": [[1e300, 1e300, 0.0], *LOSSES[1:]]}, "losses: they add up to"),
        (
            {"costs": [[2.0, -4.0, 8.0], *COSTS[1:]]},
            r"costs\['0'\]\['1'\] = -4: expected a finite number of at least 0",
        ),
        ({"costs": COSTS[:2]}, "costs: expected 3 menus, as many as losses has, got 2"),
        ({"costs": [*COSTS[:2], [1.0]]}, r"costs\[2\]: expected 2 options, as many as losses\[2\] has, got 1"),
        ({"costs": [[[2.0, 1.0]] * 3] * 3}, r"costs\[0\]: expected a list of numbers, got shape"),
        ({"budget": math.nan}, "budget = nan: expected a finite number"),
        ({"budget": math.inf}, "budget = inf: expected a finite number"),
        ({"budget": "much"}, "budget = 'much': expected a number"),
        ({"budget": []}, "budget = "),
        ({"budget": -1.0}, "budget = -1: expected at least 0"),
        ({"budget": [12.0, 3.0]}, "expected 2 numbers per option, one for each budget"),
        ({"names": ["a", "b"]}, "names: expected 3 strings"),
        ({"names": ["a", "b", "a"]}, "names: 'a' is there twice"),
        ({"names": ["a", "b", 3]}, "names: expected 3 strings"),
        ({"options": ["x", "y", "z"]}, "options: block 2 has 2 options and 3 labels"),
        ({"options": [["x", "y", "x"], ["x", "y", "z"], ["x", "y"]]}, r"options\[0\]: 'x' is there twice"),
        ({"options": [["x"]]}, "options: expected 3 lists of labels"),
        ({"options": "xyz"}, "options: expected labels"),
        ({"groups": [(0, 2)]}, "'0' and '2' have different options"),
        ({"groups": [(0, 1), (1,)]}, "groups: block '1' is there twice"),
        ({"groups": [("0", "9")]}, "groups: no block is called '9'"),
        ({"groups": [(0, 7)]}, "groups: block 7: expected a place between 0 and 2"),
        ({"groups": ["01"]}, "groups: expected lists of blocks"),
        ({"pins": {0: 5}}, r"pins\['0'\] = 5: expected a place between 0 and 2"),
        ({"pins": {0: "best"}}, r"pins\['0'\] = 'best': expected one of 0, 1, 2"),
        ({"pins": {0: True}}, "expected a place"),
        ({"pins": {0: 1.5}}, "expected a name or a whole number"),
        ({"pins": {0: 1}, "forbid": {"0": "1"}}, r"pins\['0'\] = 1: this option is forbidden"),
        ({"forbid": {2: (0, 1)}}, "block '2': every option is ruled out"),
        ({"groups": [(0, 1)], "pins": {0: 1, 1: 2}}, "block '0': every option is ruled out"),
    ],
)
def test_bad_menus_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        made(**changed)


def test_a_budget_below_the_cheapest_choice_is_named_with_what_is_needed() -> None:
    with pytest.raises(InfeasibleError, match=r"budget = 4\.5: the cheapest option .* together costs 5; raise"):
        made(budget=4.5)
    with pytest.raises(InfeasibleError, match=r"budget\[1\] = 0"):
        choice([[1.0]], [[[0.0, 1.0]]], [1.0, 0.0])
    third = choice([[0.0]] * 3, [[0.1]] * 3, 0.30000000000000004)  # the sum of three times 0.1 is just above 0.3
    assert third.blocks == 3
    with pytest.raises(InfeasibleError):
        choice([[0.0]] * 3, [[0.1]] * 3, 0.3)


def test_tied_blocks_are_one_decision_and_keep_the_budget_of_the_members() -> None:
    tied = made(groups=[("0", "1")], names=None)
    assert tied.decisions == 2
    assert tied.losses.tolist() == [13.0, 2.0, 0.5, 2.0, 0.0]
    assert tied.costs[:, 0].tolist() == [4.0, 8.0, 16.0, 1.0, 3.0]
    assert zp.solve(tied).choice.tolist() == [1, 1, 1]
    rounded = choice([[0.0], [0.0], [0.0]], [[0.1], [0.1], [0.1]], 1.0, groups=[(0, 1, 2)])
    assert Fraction(float(rounded.costs[0, 0])) >= 3 * Fraction(0.1)


def test_pins_and_forbidden_options_by_name_and_by_place() -> None:
    names, options = ["q", "k", "v"], [["2", "4", "8"], ["2", "4", "8"], ["2", "4"]]
    instance = made(names=names, options=options, pins={"q": "2"}, forbid={1: ["2", 1], "v": "4"})
    assert zp.solve(instance).taken == {"q": "2", "k": "8", "v": "2"}
    assert instance.admits(np.array([0, 2, 0]))
    for other in ([0, 1, 0], [1, 2, 0], [0, 2], [0.0, 2.0, 0.0], [0, 3, 0]):
        assert not instance.admits(np.array(other))


def test_the_data_do_not_change_under_the_instance() -> None:
    losses = np.array([[1.0, 0.0]])
    instance = choice(losses, np.array([[1.0, 2.0]]), 2.0)
    losses[:] = 7.0
    assert instance.losses.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        instance.losses[0] = 3.0


def test_an_instance_and_its_solution_survive_pickling() -> None:
    solution = zp.solve(made(groups=[(0, 1)], pins={2: 0}))
    again = pickle.loads(pickle.dumps(solution))  # noqa: S301 our own bytes
    assert again.choice.tolist() == solution.choice.tolist()
    assert zp.certify(again.instance, again).optimal


def test_what_it_displays() -> None:
    assert "sum_k  c_kj(k)  <=  B\n    with K = 3 blocks, 8 options, B = 12" in repr(made())
    assert "K = 3 blocks (2 after tying)" in repr(made(groups=[(0, 1)]))
    assert "c_kj(k),m  <=  B_m" in repr(choice([[1.0]], [[[1.0, 2.0]]], [3.0, 4.0]))
    assert r"\text{minimise}" in made().latex()


def test_other_losses_for_the_same_menus() -> None:
    instance = made(groups=[(0, 1)], forbid={2: 0})
    other = with_losses(instance, [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [5.0, 6.0]])
    assert other.losses.tolist() == [11.0, 22.0, 33.0, 6.0]
    with pytest.raises(SpecError, match="expected 3 menus of the sizes"):
        with_losses(instance, LOSSES[:2])
    with pytest.raises(SpecError, match=r"losses\['0'\]\['0'\] = nan"):
        with_losses(instance, [[math.nan, 2.0, 3.0], [10.0, 20.0, 30.0], [5.0, 6.0]])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_doubles_are_whole_numbers_in_the_coarsest_unit(values: list[float]) -> None:
    found, bits = integers(np.array(values))
    assert [Fraction(n, 1 << bits) for n in found] == [Fraction(v) for v in values]
    assert bits == max(Fraction(v).denominator.bit_length() - 1 for v in values)


@given(choices(), st.floats(0.0, 1e6))
def test_every_multiplier_bounds_the_optimum(instance: Choice, multiplier: float) -> None:
    exact = instance.dual((Fraction(multiplier),))
    optimum = feasible(instance)[0][0]
    assert Fraction(instance.dual_bound(np.array([multiplier]))) <= exact <= optimum


@given(choices(budgets=2), st.floats(0.0, 1e3), st.floats(0.0, 1e3))
def test_so_does_every_pair_of_them(instance: Choice, one: float, two: float) -> None:
    exact = instance.dual((Fraction(one), Fraction(two)))
    assert Fraction(instance.dual_bound(np.array([one, two]))) <= exact
    assert all(exact <= loss for loss, _ in feasible(instance))
