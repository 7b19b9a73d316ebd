"""A menu: what every option of every block loses and costs, and where these numbers come from."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zetaplan._display import ByName, Columns, Picture
from zetaplan._plural import counted
from zetaplan.errors import SpecError, require, shown
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.menus.declare import NONE, choice
from zetaplan.spec.menus.given import read_budgets
from zetaplan.spec.named import in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Column = tuple[tuple[float, ...], ...]  # K rows of J_k numbers


@dataclass(frozen=True, repr=False)
class Menu(ByName, Picture):
    """The options of K blocks: block k has J_k of them, and every option uses something of M budgets.

    names : K different names of the blocks. options : J_k different labels for each block.
    losses : J_k finite numbers for each block, in `loss_unit`; smaller is better.
    costs : for each block J_k rows of M numbers >= 0, in `units`. budgets : M names. units : M units.
    low, high : intervals around the losses, low <= loss <= high; both or none of them.
    standard_error : of the losses, >= 0. groups : blocks that must take the same option, by name.
    estimator : how the losses were measured. provenance : further facts, plain JSON values.

    Raises SpecError for data outside these ranges.

    Examples:
        >>> menu = zp.Menu(("q", "k"), (("2", "4"), ("2", "4")), ((9, 1), (4, 1)), (((2,), (4,)), ((2,), (4,))))
        >>> zp.solve(menu.choice(6)).taken
        {'q': '4', 'k': '2'}
        >>> menu.save("menu.json").name
        'menu.json'
    """

    names: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    losses: Column
    costs: tuple[Column, ...]
    budgets: tuple[str, ...] = ("cost",)
    units: tuple[str, ...] = ("",)
    loss_unit: str = ""
    low: Column | None = None
    high: Column | None = None
    standard_error: Column | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    estimator: str = "given"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (depth, kind) in SHAPES.items():
            value = getattr(self, name)
            if value is None and name in INTERVALS:
                continue
            object.__setattr__(self, name, _nested(value, depth, kind, name))
        require(self.provenance, Mapping, "provenance", "give plain JSON values by name")
        _check_budgets(self)
        with_ample = self.choice(_twice_everything(self))  # every rule of a choice holds for its menu
        _check_intervals(self, with_ample.names)

    def choice(
        self,
        budget: float | Sequence[float] | Mapping[str, float],
        *,
        pins: Mapping[str, str] = NONE,
        forbid: Mapping[str, str | Collection[str]] = NONE,
        groups: Sequence[Collection[str]] = (),
    ) -> Choice:
        """The choice from this menu within the budgets.

        budget : a number, or M of them, in their order or by name, in `units`. pins, forbid : block -> option or
        options, by name and label.
        groups : blocks that must take the same option, in addition to the menu's own.

        Raises SpecError and InfeasibleError as `zetaplan.choice`.
        """
        require(pins, Mapping, "pins", "give the option of each block by name")
        require(forbid, Mapping, "forbid", "give the options of each block by name")
        require(groups, Sequence, "groups", "give lists of names of blocks")
        budgets = read_budgets(in_order("budget", budget, self.budgets)).tolist()
        if len(budgets) != len(self.budgets):
            raise SpecError(f"budget: the menu has {_listed(self.budgets)}; expected one number each, got {budgets}")
        return choice(
            self.losses,
            self.costs,
            budgets,
            names=self.names,
            options=self.options,
            groups=(*self.groups, *groups),
            pins=dict(pins.items()),
            forbid=dict(forbid.items()),
        )

    def _headline(self) -> str:
        blocks, options = counted(len(self.names), "block"), counted(sum(map(len, self.options)), "option")
        return (
            f"{options} of {blocks} within {', '.join(map(with_unit, self.budgets, self.units))}, by {self.estimator}"
        )

    def _columns(self) -> Columns:
        rows = [(k, j) for k, labels in enumerate(self.options) for j in range(len(labels))]
        columns = {"loss": self.losses} | {name: getattr(self, name) for name in INTERVALS if getattr(self, name)}
        return {
            "block": [self.names[k] for k, _ in rows],
            "option": [self.options[k][j] for k, j in rows],
            **{name: [column[k][j] for k, j in rows] for name, column in columns.items()},
            **{name: [self.costs[k][j][m] for k, j in rows] for m, name in enumerate(self.budgets)},
        }

    def _entries(self) -> dict[str, dict[str, float]]:
        """The loss of every option of a block by its label."""
        rows = zip(self.names, self.options, self.losses, strict=True)
        return {name: dict(zip(labels, losses, strict=True)) for name, labels, losses in rows}

    def _draw(self, axes: Axes) -> None:
        """The loss of every block's options over their cost, of the first budget."""
        for name, losses, costs in zip(self.names, self.losses, self.costs, strict=True):
            pairs = sorted((cost[0], loss) for cost, loss in zip(costs, losses, strict=True))
            axes.plot(*zip(*pairs, strict=True), ".-", label=name)
        axes.set(xlabel=with_unit(self.budgets[0], self.units[0]), ylabel=with_unit("loss", self.loss_unit))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `zetaplan.menu/1` to the file, whole or not at all: short for `zp.save_menu(menu, path)`."""
        import zetaplan

        return zetaplan.save_menu(self, path)


def with_unit(heading: str, unit: str) -> str:
    """A heading with its unit in parentheses, if there is one."""
    return f"{heading} ({unit})" if unit else heading


INTERVALS = ("low", "high", "standard_error")

#: How deep the tuples of a field are, and what they hold.
SHAPES: dict[str, tuple[int, type]] = {
    "names": (1, str),
    "options": (2, str),
    "losses": (2, Real),
    "costs": (3, Real),
    "budgets": (1, str),
    "units": (1, str),
    "loss_unit": (0, str),
    **dict.fromkeys(INTERVALS, (2, Real)),
    "groups": (2, str),
    "estimator": (0, str),
}

#: Types of which every value is of the kind.
PLAIN: dict[type, set[type]] = {str: {str}, Real: {int, float}}


def _nested(value: Any, depth: int, kind: type, name: str) -> Any:
    """The value as tuples of that depth, so that no caller can change it later."""
    if depth == 1 and type(value) in (tuple, list) and {*map(type, value)} <= PLAIN[kind]:
        return tuple(value)
    if depth and isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return tuple(_nested(entry, depth - 1, kind, f"{name}[{i}]") for i, entry in enumerate(value))
    if depth or not isinstance(value, kind):
        expected = "a sequence" if depth else "a number" if kind is Real else "a string"
        raise SpecError(f"{name} = {shown(value)}: expected {expected}, got {type(value).__name__}")
    return value


def _check_budgets(menu: Menu) -> None:
    if not menu.budgets or len(set(menu.budgets)) < len(menu.budgets):
        raise SpecError(f"budgets = {menu.budgets}: expected different names, at least one")
    if len(menu.units) != len(menu.budgets):
        raise SpecError(f"units: expected {len(menu.budgets)}, one for each budget, got {menu.units}")


def _twice_everything(menu: Menu) -> list[float]:
    """Budgets that no choice exceeds, whatever is wrong with the costs: the choice names what that is."""
    rows = [row for block in menu.costs for row in block if len(row) == len(menu.budgets)]
    totals = [2.0 * sum(abs(row[m]) for row in rows) for m in range(len(menu.budgets))]
    return [total if math.isfinite(total) else 0.0 for total in totals]


def _check_intervals(menu: Menu, names: Sequence[str]) -> None:
    if (menu.low is None) != (menu.high is None):
        raise SpecError("low, high: expected both of them, or none")
    for name in INTERVALS:
        column: Column | None = getattr(menu, name)
        if column is None:
            continue
        if [len(row) for row in column] != [len(row) for row in menu.losses]:
            raise SpecError(f"{name}: expected one number for each loss")
        fits, expected = EXPECTED[name]
        for block, labels, row, losses in zip(names, menu.options, column, menu.losses, strict=True):
            good = [*map(fits, row, losses)]
            if not all(good):
                j = good.index(False)
                raise SpecError(f"{name}[{block!r}][{labels[j]!r}] = {row[j]:g}: {expected.format(losses[j])}")


#: What a number beside a loss must be, and in words.
EXPECTED: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "low": (lambda v, loss: -math.inf < v <= loss, "expected a finite number of at most the loss, {:g}"),
    "high": (lambda v, loss: loss <= v < math.inf, "expected a finite number of at least the loss, {:g}"),
    "standard_error": (lambda v, _: 0.0 <= v < math.inf, "expected a finite number of at least 0"),
}


def _listed(budgets: Sequence[str]) -> str:
    return f"the budget{'s' if len(budgets) > 1 else ''} {', '.join(budgets)}"
