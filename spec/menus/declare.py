"""The constructor of a choice instance: every check of the data is made here, and nowhere again."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec.menus.choice import Array, Choice, Indices

Block = int | str
Option = int | str

NONE: Mapping[Any, Any] = MappingProxyType({})
LARGEST = 1e300  # of a sum of absolute values: every total is then a double


def choice(
    losses: Sequence[ArrayLike] | NDArray[Any],
    costs: Sequence[ArrayLike] | NDArray[Any],
    budget: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    options: Sequence[str] | Sequence[Sequence[str]] | None = None,
    groups: Iterable[Collection[Block]] = (),
    pins: Mapping[Block, Option] = NONE,
    forbid: Mapping[Block, Option | Collection[Option]] = NONE,
) -> Choice:
    """Declare a choice: one option for each of K blocks, the least total loss within one or several budgets.

    losses : K menus of J_k finite numbers, in any unit (loss); or an array (K, J).
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
    budgets = _budgets(budget)
    loss, sizes = _flat("losses", losses, names)
    cost, widths = _flat("costs", costs, names, budgets.size)
    _check_shape(sizes, widths)
    menus = _Menus(loss[:, 0], cost, sizes, _names(names, sizes.size), _labels(options, sizes))
    _check_numbers(menus, budgets)
    allowed = _allowed(menus, pins, forbid)
    decision, members = _tie(menus, groups)
    return _merged(menus, budgets, allowed, decision, members)


def with_losses(instance: Choice, losses: Sequence[ArrayLike] | NDArray[Any]) -> Choice:
    """The same menus, costs and budgets under other losses, given as in `choice`: K menus of finite numbers.

    Raises SpecError for numbers that are none, or menus of other sizes.
    """
    flat, sizes = _flat("losses", losses, instance.names)
    expected = np.array([len(labels) for labels in instance.labels])
    if sizes.size != expected.size or (sizes != expected).any():
        raise SpecError(f"losses: expected {expected.size} menus of the sizes of the instance's")
    menus = _Menus(flat[:, 0], np.zeros((flat.size, 1)), sizes, instance.names, instance.labels)
    _check_numbers(menus, instance.budgets)
    leaders, sizes = np.unique(instance.decision, return_index=True, return_counts=True)[1:]
    tied = [np.flatnonzero(instance.decision == g).tolist() for g in np.flatnonzero(sizes > 1)]
    total = _tied_losses(menus, tied)
    return replace(instance, losses=_frozen(total[menus.first[leaders][instance.owner] + instance.option]))


def _tied_losses(menus: _Menus, groups: list[list[int]]) -> Array:
    """(n,) the losses, those of a group's first block the sums of the group's, rounded once."""
    total, first = menus.losses.copy(), menus.first
    for places in groups:
        rows = np.array([np.arange(first[k], first[k + 1]) for k in places])
        total[rows[0]] = [math.fsum(column) for column in menus.losses[rows].T.tolist()]
    return total


@dataclass(frozen=True, eq=False)
class _Menus:
    """The menus as given, flat: losses (n,), costs (n, M), sizes (K,)."""

    losses: Array
    costs: Array
    sizes: Indices
    names: Sequence[str]
    labels: Sequence[Sequence[str]]

    @cached_property
    def first(self) -> Indices:
        return np.concatenate(([0], np.cumsum(self.sizes)))

    @cached_property
    def places(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.names)}

    def place(self, block: Block, argument: str) -> int:
        """The place of a block given by name or place."""
        if isinstance(block, str):
            if block not in self.places:
                raise SpecError(f"{argument}: no block is called {block!r}; the names begin with {self.names[:5]}")
            return self.places[block]
        return _index(block, len(self.names), f"{argument}: block {block!r}")

    def option(self, k: int, option: Option, argument: str) -> int:
        """The place of an option of block k, given by label or place."""
        where = f"{argument}[{self.names[k]!r}]"
        if isinstance(option, str):
            if option not in self.labels[k]:
                raise SpecError(f"{where} = {option!r}: expected one of {', '.join(self.labels[k])}")
            return list(self.labels[k]).index(option)
        return _index(option, int(self.sizes[k]), f"{where} = {option!r}")


def _index(value: Any, size: int, where: str) -> int:
    try:
        place = operator.index(value)
    except TypeError:
        raise SpecError(f"{where}: expected a name or a whole number") from None
    if isinstance(value, bool) or not 0 <= place < size:
        raise SpecError(f"{where}: expected a place between 0 and {size - 1}")
    return place


def _budgets(budget: ArrayLike) -> Array:
    try:
        budgets = np.atleast_1d(np.array(budget, dtype=np.float64))
    except (TypeError, ValueError):
        raise SpecError(f"budget = {str(budget)[:60]}: expected a number, or one number per budget") from None
    if budgets.ndim != 1 or budgets.size == 0 or not np.isfinite(budgets).all():
        raise SpecError(f"budget = {str(budget)[:60]}: expected a finite number, or a list of them, one per budget")
    if (budgets < 0.0).any():
        raise SpecError(f"budget = {float(budgets.min()):g}: expected at least 0, as costs are")
    return budgets


def _flat(name: str, menus: Any, names: Sequence[str] | None, budgets: int = 1) -> tuple[Array, Indices]:
    """(n, M) numbers and (K,) sizes of menus given as K sequences or as one array."""
    numeric = isinstance(menus, np.ndarray) and menus.dtype.kind in "fiu" and menus.ndim == (2 if budgets == 1 else 3)
    if numeric and menus.size:
        return menus.astype(np.float64).reshape(-1, budgets), np.full(menus.shape[0], menus.shape[1])
    if isinstance(menus, str) or not isinstance(menus, Sequence | np.ndarray) or len(menus) == 0:
        raise SpecError(f"{name}: expected one menu for each block, got {str(menus)[:60]!r}")
    rows = [_menu(name, k, menu, names, budgets) for k, menu in enumerate(menus)]
    return np.concatenate(rows), np.array([len(row) for row in rows])


def _menu(name: str, k: int, menu: ArrayLike, names: Sequence[str] | None, budgets: int) -> Array:
    where = f"{name}[{names[k] if names is not None and k < len(names) else k!r}]"
    try:
        row = np.array(menu, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecError(f"{where}: expected numbers, got {str(menu)[:60]}") from None
    if row.size == 0:
        raise SpecError(f"{where}: the menu is empty; expected at least one option")
    if row.ndim == 1 and budgets == 1:
        row = row[:, np.newaxis]
    if row.ndim != 2 or row.shape[1] != budgets:
        expected = "a list of numbers" if budgets == 1 else f"{budgets} numbers per option, one for each budget"
        raise SpecError(f"{where}: expected {expected}, got shape {row.shape}")
    return row


def _check_shape(losses: Indices, costs: Indices) -> None:
    if losses.size != costs.size:
        raise SpecError(f"costs: expected {losses.size} menus, as many as losses has, got {costs.size}")
    different = np.flatnonzero(losses != costs)
    if different.size:
        k = int(different[0])
        raise SpecError(f"costs[{k}]: expected {losses[k]} options, as many as losses[{k}] has, got {costs[k]}")


def _check_numbers(menus: _Menus, budgets: Array) -> None:
    _refuse(menus, "losses", menus.losses, ~np.isfinite(menus.losses), "expected a finite number; forbid the option")
    for column in menus.costs.T:
        bad = ~((column >= 0.0) & (column < math.inf))
        _refuse(menus, "costs", column, bad, "expected a finite number of at least 0")
    with np.errstate(over="ignore"):
        largest = {"losses": np.abs(menus.losses).sum(), "costs": menus.costs.sum() + budgets.sum()}
    for name, total in largest.items():
        if not total < LARGEST:
            raise SpecError(f"{name}: they add up to {total:g}, more than {LARGEST:g}; give them in a larger unit")


def _refuse(menus: _Menus, name: str, values: Array, bad: NDArray[np.bool_], expected: str) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    k = int(np.searchsorted(menus.first, row, side="right")) - 1
    j = row - int(menus.first[k])
    raise SpecError(f"{name}[{menus.names[k]!r}][{menus.labels[k][j]!r}] = {values[row]:g}: {expected}")


def _names(names: Sequence[str] | None, blocks: int) -> tuple[str, ...]:
    if names is None:
        return _numbered(blocks)
    if isinstance(names, str) or len(names) != blocks or not all(isinstance(name, str) for name in names):
        raise SpecError(f"names: expected {blocks} strings, one for each block, got {str(names)[:60]}")
    return _different("names", tuple(names))


def _labels(options: Any, sizes: Indices) -> tuple[tuple[str, ...], ...]:
    if options is None:
        return tuple(_numbered(size) for size in sizes.tolist())
    if isinstance(options, str) or not isinstance(options, Sequence) or len(options) == 0:
        raise SpecError(f"options: expected labels, or one list of labels for each block, got {str(options)[:60]!r}")
    shared = all(isinstance(label, str) for label in options)
    rows = [options] * sizes.size if shared else list(options)
    if len(rows) != sizes.size:
        raise SpecError(f"options: expected {sizes.size} lists of labels, one for each block, got {len(rows)}")
    common = _different("options", tuple(options)) if shared else None
    labels = tuple(common if common is not None else _row_of_labels(k, row) for k, row in enumerate(rows))
    for k, (row, size) in enumerate(zip(labels, sizes.tolist(), strict=True)):
        if len(row) != size:
            raise SpecError(f"options: block {k} has {size} options and {len(row)} labels")
    return labels


def _row_of_labels(k: int, row: Any) -> tuple[str, ...]:
    if isinstance(row, str) or not all(isinstance(label, str) for label in row):
        raise SpecError(f"options[{k}]: expected a list of strings, got {str(row)[:60]!r}")
    return _different(f"options[{k}]", tuple(row))


def _different(argument: str, words: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(words)) < len(words):
        twice = next(word for place, word in enumerate(words) if word in words[:place])
        raise SpecError(f"{argument}: {twice!r} is there twice; expected different ones")
    return words


@lru_cache
def _numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _allowed(menus: _Menus, pins: Mapping[Block, Option], forbid: Mapping[Block, Any]) -> NDArray[np.bool_]:
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


def _tie(menus: _Menus, groups: Iterable[Collection[Block]]) -> tuple[Indices, list[list[int]]]:
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
    menus: _Menus, budgets: Array, allowed: NDArray[np.bool_], decision: Indices, groups: list[list[int]]
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
