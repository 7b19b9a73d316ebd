"""The constructor of a choice instance: every check of the data is made here, and nowhere again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec.menus.choice import Array, Choice, Indices
from zetaplan.spec.menus.given import (
    Block,
    Menus,
    Option,
    check_numbers,
    check_shape,
    read_budgets,
    read_labels,
    read_menus,
    read_names,
)
from zetaplan.spec.named import in_order, names_of

NONE: Mapping[Any, Any] = MappingProxyType({})


def choice(
    losses: Sequence[ArrayLike] | Mapping[str, ArrayLike] | NDArray[Any],
    costs: Sequence[ArrayLike] | Mapping[str, ArrayLike] | NDArray[Any],
    budget: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    options: Sequence[str] | Sequence[Sequence[str]] | None = None,
    groups: Iterable[Collection[Block]] = (),
    pins: Mapping[Block, Option] = NONE,
    forbid: Mapping[Block, Option | Collection[Option]] = NONE,
) -> Choice:
    """Declare a choice: one option for each of K blocks, the least total loss within one or several budgets.

    `choice` is the program of given numbers, for `zetaplan.solve`; `zetaplan.choose` makes a plan of it from a menu.

    losses : K menus of J_k finite numbers, in any unit (loss), or by the names of the blocks; or an array (K, J).
    costs : the same shape, >= 0, what an option uses of the budget (bytes, say); (J_k, M) per block for M budgets.
    budget : a number, or M of them; total costs must not exceed it.
    names : K different names of the blocks. options : J labels for all blocks, or J_k different ones for each block.
    groups : blocks that must take the same option, by name or place. Their losses are added up and rounded once, their
        costs are rounded up, so that the budget is kept for the members.
    pins : block -> the option that it must take. forbid : block -> options that it must not take.

    Raises SpecError for data outside these ranges and InfeasibleError where the cheapest options exceed a budget.

    Examples:
        >>> menus = zp.choice([[9, 1, 0], [4, 1, 0]], costs=[[2, 4, 8], [2, 4, 8]], budget=10, options=["2", "4", "8"])
        >>> zp.solve(menus).taken
        {'0': '4', '1': '4'}
        >>> zp.solve(zp.choice([[9, 1], [4, 1]], [[2, 4], [2, 4]], budget=8, pins={1: 0})).choice
        array([1, 0])
    """
    budgets = read_budgets(budget)
    names = names_of("losses", losses) if names is None else names
    losses, costs = in_order("losses", losses, names), in_order("costs", costs, names)
    loss, sizes = read_menus("losses", losses, names)
    cost, widths = read_menus("costs", costs, names, budgets.size)
    check_shape(sizes, widths)
    menus = Menus(loss[:, 0], cost, sizes, read_names(names, sizes.size), read_labels(options, sizes))
    check_numbers(menus, budgets)
    allowed = _allowed(menus, pins, forbid)
    decision, members = _tie(menus, groups)
    return _merged(menus, budgets, allowed, decision, members)


def with_losses(instance: Choice, losses: Sequence[ArrayLike] | NDArray[Any]) -> Choice:
    """The same menus, costs and budgets under other losses, given as in `choice`: K menus of finite numbers.

    Raises SpecError for numbers that are none, or menus of other sizes.
    """
    flat, sizes = read_menus("losses", in_order("losses", losses, instance.names), instance.names)
    expected = np.array([len(labels) for labels in instance.labels])
    if sizes.size != expected.size or (sizes != expected).any():
        raise SpecError(f"losses: expected {expected.size} menus of the sizes of the instance's")
    menus = Menus(flat[:, 0], np.zeros((flat.size, 1)), sizes, instance.names, instance.labels)
    check_numbers(menus, instance.budgets)
    leaders, sizes = np.unique(instance.decision, return_index=True, return_counts=True)[1:]
    tied = [np.flatnonzero(instance.decision == g).tolist() for g in np.flatnonzero(sizes > 1)]
    total = _tied_losses(menus, tied)
    return replace(instance, losses=_frozen(total[menus.first[leaders][instance.owner] + instance.option]))


def _tied_losses(menus: Menus, groups: list[list[int]]) -> Array:
    """(n,) the losses, those of a group's first block the sums of the group's, rounded once."""
    total, first = menus.losses.copy(), menus.first
    for places in groups:
        rows = np.array([np.arange(first[k], first[k + 1]) for k in places])
        total[rows[0]] = [math.fsum(column) for column in menus.losses[rows].T.tolist()]
    return total


def _allowed(menus: Menus, pins: Mapping[Block, Option], forbid: Mapping[Block, Any]) -> NDArray[np.bool_]:
    """(n,) whether an option of a block is neither forbidden nor passed over by a pin."""
    allowed = np.ones(menus.losses.size, dtype=np.bool_)
    first = menus.first
    for block, options in forbid.items():
        k = menus.place(block, "forbid")
        listed = [options] if isinstance(options, str) or not isinstance(options, Collection) else options
        for option in listed:
            allowed[first[k] + menus.option(k, option, "forbid")] = False
    for block, option in pins.items():
        k = menus.place(block, "pins")
        row = first[k] + menus.option(k, option, "pins")
        if not allowed[row]:
            raise SpecError(f"pins[{menus.names[k]!r}] = {option!r}: this option is forbidden; remove one of the two")
        allowed[first[k] : first[k + 1]] = False
        allowed[row] = True
    return allowed


def _tie(menus: Menus, groups: Iterable[Collection[Block]]) -> tuple[Indices, list[list[int]]]:
    """(K,) the decision that every block belongs to, in the order of first blocks; and the groups of several blocks."""
    leader = np.arange(menus.sizes.size)
    tied: list[list[int]] = []
    seen: set[int] = set()
    for group in groups:
        if isinstance(group, str) or not isinstance(group, Collection):
            raise SpecError(f"groups: expected lists of blocks, got {group!r}")
        places = sorted(menus.place(block, "groups") for block in group)
        for k in places:
            if k in seen:
                raise SpecError(f"groups: block {menus.names[k]!r} is there twice; a block belongs to one group")
            seen.add(k)
            if menus.labels[k] != menus.labels[places[0]]:
                pair = f"{menus.names[places[0]]!r} and {menus.names[k]!r}"
                raise SpecError(f"groups: {pair} have different options; tied blocks need the same menu")
            leader[k] = places[0]
        tied += [places] if len(places) > 1 else []
    return np.unique(leader, return_inverse=True)[1].reshape(-1), tied


def _merged(
    menus: Menus, budgets: Array, allowed: NDArray[np.bool_], decision: Indices, groups: list[list[int]]
) -> Choice:
    """The instance: one menu per decision, without the options that are ruled out."""
    losses, costs, first = _tied_losses(menus, groups), menus.costs.copy(), menus.first
    for places in groups:
        rows = np.array([np.arange(first[k], first[k + 1]) for k in places])
        costs[rows[0]] = [[_up(entry) for entry in option] for option in menus.costs[rows].transpose(1, 2, 0).tolist()]
        allowed[rows[0]] = allowed[rows].all(axis=0)
        allowed[rows[1:]] = False
    leaders = np.unique(decision, return_index=True)[1]
    block = np.repeat(np.arange(menus.sizes.size), menus.sizes)
    sizes = np.bincount(block[allowed], minlength=menus.sizes.size)[leaders]
    if not sizes.all():
        k = int(leaders[np.argmin(sizes)])
        raise SpecError(f"block {menus.names[k]!r}: every option is ruled out by pins, forbid or its group; allow one")
    instance = Choice(
        losses=_frozen(losses[allowed]),
        costs=_frozen(costs[allowed]),
        first=_frozen(np.concatenate(([0], np.cumsum(sizes)))),
        option=_frozen((np.arange(allowed.size) - first[block])[allowed]),
        budgets=_frozen(budgets),
        decision=_frozen(decision),
        names=menus.names,
        labels=menus.labels,
    )
    _check_feasible(instance)
    return instance


def _up(parts: Sequence[float]) -> float:
    """The least double that is not below the sum."""
    total = math.fsum(parts)
    return total if math.fsum([*parts, -total]) <= 0.0 else math.nextafter(total, math.inf)


def _check_feasible(instance: Choice) -> None:
    for m, budget in enumerate(instance.budgets.tolist()):
        cheapest = instance.least(instance.costs[:, m]).tolist()
        if math.fsum([*cheapest, -budget]) > 0.0:  # the sign of a sum that is rounded once is exact
            which = f"budget[{m}]" if instance.budgets.size > 1 else "budget"
            least = f"{_up(cheapest):.17g}"
            raise InfeasibleError(
                f"{which} = {budget:.17g}: the cheapest option of every block together costs {least}; raise the budget "
                "to that, or add cheaper options"
            )


def _frozen(array: Any) -> Any:
    array.setflags(write=False)
    return array
