"""The menus of a choice as they were given: read as flat arrays, with the names of blocks and options, and checked."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import SpecError, shown
from zetaplan.spec.checks import detached
from zetaplan.spec.menus.choice import Array, Indices

Block = int | str
Option = int | str

LARGEST = 1e300  # of a sum of absolute values: every total is then a double


@dataclass(frozen=True, eq=False)
class Menus:
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


def read_budgets(budget: ArrayLike) -> Array:
    try:
        budgets = np.atleast_1d(np.array(detached(budget), dtype=np.float64))
    except (TypeError, ValueError, RuntimeError):
        raise SpecError(f"budget = {shown(budget)}: expected a number, or one number per budget") from None
    if budgets.ndim != 1 or budgets.size == 0 or not np.isfinite(budgets).all():
        raise SpecError(f"budget = {shown(budget)}: expected a finite number, or a list of them, one per budget")
    if (budgets < 0.0).any():
        raise SpecError(f"budget = {float(budgets.min()):g}: expected at least 0, as costs are")
    return budgets


def read_menus(name: str, menus: Any, names: Sequence[str] | None, budgets: int = 0) -> tuple[Array, Indices]:
    """(n, M) numbers and (K,) sizes of menus given as K sequences or as one array; without budgets M = 1."""
    menus = detached(menus)
    numeric = isinstance(menus, np.ndarray) and menus.dtype.kind in "fiu" and menus.ndim == (3 if budgets > 1 else 2)
    if numeric and menus.size:
        return menus.astype(np.float64).reshape(-1, max(budgets, 1)), np.full(menus.shape[0], menus.shape[1])
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
    if row.ndim == 1 and budgets <= 1:
        return row[:, np.newaxis]
    if row.ndim != 2 or row.shape[1] != budgets:
        expected = f"{budgets} numbers per option, one for each budget" if budgets > 1 else "a list of numbers"
        raise SpecError(f"{where}: expected {expected}, got shape {row.shape}")
    return row


def check_shape(losses: Indices, costs: Indices) -> None:
    if losses.size != costs.size:
        raise SpecError(f"costs: expected {losses.size} menus, as many as losses has, got {costs.size}")
    different = np.flatnonzero(losses != costs)
    if different.size:
        k = int(different[0])
        raise SpecError(f"costs[{k}]: expected {losses[k]} options, as many as losses[{k}] has, got {costs[k]}")


def check_numbers(menus: Menus, budgets: Array) -> None:
    _refuse(menus, "losses", menus.losses, ~np.isfinite(menus.losses), "expected a finite number; forbid the option")
    for column in menus.costs.T:
        bad = ~((column >= 0.0) & (column < math.inf))
        _refuse(menus, "costs", column, bad, "expected a finite number of at least 0")
    with np.errstate(over="ignore"):
        largest = {"losses": np.abs(menus.losses).sum(), "costs": menus.costs.sum() + budgets.sum()}
    for name, total in largest.items():
        if not total < LARGEST:
            raise SpecError(f"{name}: they add up to {total:g}, more than {LARGEST:g}; give them in a larger unit")


def _refuse(menus: Menus, name: str, values: Array, bad: NDArray[np.bool_], expected: str) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    k = int(np.searchsorted(menus.first, row, side="right")) - 1
    j = row - int(menus.first[k])
    raise SpecError(f"{name}[{menus.names[k]!r}][{menus.labels[k][j]!r}] = {values[row]:g}: {expected}")


def read_names(names: Sequence[str] | None, blocks: int) -> tuple[str, ...]:
    if names is None:
        return _numbered(blocks)
    if isinstance(names, str) or len(names) != blocks or not all(isinstance(name, str) for name in names):
        raise SpecError(f"names: expected {blocks} strings, one for each block, got {str(names)[:60]}")
    return _different("names", tuple(names))


def read_labels(options: Any, sizes: Indices) -> tuple[tuple[str, ...], ...]:
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
