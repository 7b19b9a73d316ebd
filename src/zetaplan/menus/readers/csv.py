"""`csv`: one option per row. The header names the columns, in any order.

block, option, loss : the names and the loss. cost : what the option uses; of several budgets one column `cost:NAME`
each. low, high, or standard_error : of the loss, if they are known.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from zetaplan.errors import SpecError
from zetaplan.menus.menu import Menu

REQUIRED = ("block", "option", "loss")
OPTIONAL = ("low", "high", "standard_error")
COST = "cost"
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)

Row = dict[str, str]


def recognises(text: str) -> bool:
    """Does the first line name the columns of a menu?"""
    first = text.removeprefix("\ufeff").lstrip().partition("\n")[0]
    return {"block", "option"} <= {cell.strip().strip('"') for cell in first.split(",")}


def read(text: str) -> Menu:
    """The menu of the rows; blocks and options are in the order of their first rows."""
    lines = _lines(text)
    columns = _header(next(lines, (1, []))[1])
    menus: dict[str, list[tuple[int, Row]]] = {}
    for number, cells in lines:
        if len(cells) != len(columns):
            raise SpecError(f"line {number}: expected {len(columns)} cells, as in the header, got {len(cells)}")
        row = dict(zip(columns, cells, strict=True))
        menus.setdefault(row["block"], []).append((number, row))
    if not menus:
        raise SpecError("there is no option; expected a header and one row per option")
    costs = [name for name in columns if name.partition(":")[0] == COST]

    def column(name: str) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(_number(number, name, row) for number, row in rows) for rows in menus.values())

    known: dict[str, Any] = {name: column(name) for name in OPTIONAL if name in columns}
    return Menu(
        names=tuple(menus),
        options=tuple(tuple(row["option"] for _, row in rows) for rows in menus.values()),
        losses=column("loss"),
        costs=tuple(tuple(zip(*rows, strict=True)) for rows in zip(*map(column, costs), strict=True)),
        budgets=tuple(name.partition(":")[2] or COST for name in costs),
        units=("",) * len(costs),
        **known,
    )


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of every line that is not empty."""
    reader = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise SpecError(f"line {reader.line_num}: {error}") from error


def _header(columns: Sequence[str]) -> Sequence[str]:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise SpecError(f"the column {twice[0]!r} is there twice")
    missing = [name for name in REQUIRED if name not in columns]
    costs = [name for name in columns if name.partition(":")[0] == COST]
    if missing or not costs:
        raise SpecError(f"the column {(*missing, COST)[0]!r} is missing; the header names {', '.join(columns)}")
    unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL, *costs)]
    if unknown:
        known = ", ".join((*REQUIRED, COST, *OPTIONAL))
        raise SpecError(f"the column {unknown[0]!r} is unknown; expected {known}, or cost:NAME for several budgets")
    return columns


def _number(line: int, column: str, row: Row) -> float:
    cell = row[column]
    if not NUMBER.fullmatch(cell):
        raise SpecError(f"line {line}: {column} = {cell[:40]!r}: expected a number")
    return float(cell)
