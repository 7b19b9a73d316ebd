"""How a value shows itself: a line at a prompt, a table in a notebook, a data frame, a picture.

A class states its headline and its columns; the rest follows from these two. Every package may import this module,
which imports none of them; pandas and matplotlib are imported when a data frame or a picture is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 300  # characters of a repr
ROWS = 12  # of a table in a notebook
CELL = 60  # characters of one cell

Columns = Mapping[str, Sequence[Any]]


class Display(ABC):
    """Base of the values that people look at."""

    @abstractmethod
    def _headline(self) -> str:
        """What matters most, in one line without the name of the class."""

    @abstractmethod
    def _columns(self) -> Columns:
        """The table: sequences of one length by heading, the first of which identifies the row."""

    def __repr__(self) -> str:
        return shortened(f"<{type(self).__name__}: {self._headline()}>", LONGEST)

    def _repr_html_(self) -> str:
        """The headline and the first rows, for notebooks; all text is escaped."""
        columns = self._columns()
        head = "".join(f"<th>{escape(heading)}</th>" for heading in columns)
        rows = list(islice(zip(*columns.values(), strict=True), ROWS))
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell(value))}</td>' for value in row)}</tr>" for row in rows)
        more = len(next(iter(columns.values()), ())) - len(rows)
        rest = f"<p>{more:,} more rows; see <code>to_pandas()</code></p>" if more else ""
        title = f"<p><strong>{type(self).__name__}</strong>: {escape(shortened(self._headline(), LONGEST))}</p>"
        return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

    def to_pandas(self) -> Any:
        """The whole table as a pandas.DataFrame, indexed by its first column.

        Raises SpecError if pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise SpecError("to_pandas: pandas is not installed; run: pip install 'zetaplan[pandas]'") from error
        columns = self._columns()
        return DataFrame({name: list(values) for name, values in columns.items()}).set_index(next(iter(columns)))


class ByName(Display):
    """A value with one entry per layer: `value["name"]`, `value[0]`, `len(value)`, `dict(value)`."""

    @abstractmethod
    def _entries(self) -> Mapping[str, Any]:
        """The entry of every layer by its name, in the order of the layers."""

    def __len__(self) -> int:
        return len(self._entries())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __getitem__(self, layer: str | int) -> Any:
        """The entry of a layer by name or by place."""
        entries = self._entries()
        if not isinstance(layer, str):
            return list(entries.values())[layer]
        if layer in entries:
            return entries[layer]
        near = get_close_matches(layer, list(entries), 1, 0.0)
        raise KeyError(f"no layer is called {layer!r}; the closest name is {near[0]!r}")

    def keys(self) -> list[str]:
        """The names of the layers."""
        return list(self._entries())

    def values(self) -> list[Any]:
        """The entries of the layers."""
        return list(self._entries().values())

    def items(self) -> list[tuple[str, Any]]:
        """Pairs of name and entry."""
        return list(self._entries().items())


class Picture(Display):
    """A value that draws itself."""

    @abstractmethod
    def _draw(self, axes: Axes) -> None:
        """Draw on the axes, with their labels."""

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the value on matplotlib axes, on those of a new figure if none are given, and return them."""
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots(layout="constrained")[1]
        self._draw(ax)
        return ax


def table(arrays: Mapping[str, Any]) -> Columns:
    """Columns of arrays (K,), numbered by layer; an array (T, K) of T terms is T columns."""
    columns = {
        f"{heading} {t}" if len(rows) > 1 else heading: row
        for heading, rows in ((name, array.reshape(-1, array.shape[-1]).tolist()) for name, array in arrays.items())
        for t, row in enumerate(rows)
    }
    return {"layer": range(len(next(iter(columns.values()), ()))), **columns}


def bars(axes: Axes, heights: Sequence[Any], ylabel: str, *, names: Sequence[str] = (), **options: Any) -> None:
    """One bar per layer over its place; the names are written where there are few."""
    axes.bar(range(len(heights)), list(heights), **options)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("layer")
    if 0 < len(names) <= ROWS:
        axes.set_xticks(range(len(names)), [shortened(name, 24) for name in names], rotation=45, ha="right")


def cell(value: Any) -> str:
    """A value of a table as text: floats in four digits, long text cut."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return shortened(f"{value:,}" if isinstance(value, int) else str(value), CELL)


def shortened(text: str, most: int) -> str:
    """The text, cut in its middle where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    kept = (most - 3) // 2
    return f"{text[:kept]}...{text[-kept:]}"
