"""Charts as inline SVG: columns, curves, points and grids, with text that stays readable on a phone.

Positions are percentages and there is no view box, so a chart fills the available width while its text keeps its size.
Colours are CSS classes of the page (`bar`, `floor`, `curve`, `grid`, ...), which defines a light and a dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from markupsafe import Markup

Values = Sequence[float]

LEFT, RIGHT, TOP, BOTTOM = 7.0, 99.5, 9.0, 85.0  # the plotting area, in percent of the drawing
HEAT_LEFT = 12.0  # left edge of the cells of a heat map, in percent; row names are to the left
FILL = 0.72  # width of a bar as a share of its slot
TICKS = 4  # approximate number of grid lines
OUTLIER = 3.0  # a value that is so many times as large as nine in ten of the others does not set the scale


def gain_chart(names: Sequence[str], gain: Values, noise_floor: Values, half_widths: Values | None) -> Markup:
    """Gains of K layers: the part up to the noise floor is pale, the part above it has the full colour.

    half_widths : of the 95% interval of each gain, drawn as whiskers; None where they are unknown.
    """
    errors = half_widths if half_widths is not None else [0.0] * len(gain)
    frame = _Frame(len(gain), ceiling([sum(pair) for pair in zip(gain, errors, strict=True)]), "gain")
    columns = [
        Markup("<g><title>{}: gain {:.4g}, noise floor {:.4g}</title>{}{}{}{}</g>").format(
            name,
            value,
            floor,
            frame.bar(k, 0.0, min(value, floor), "floor"),
            frame.bar(k, min(value, floor), value, "bar"),
            frame.whisker(k, value - spread, value + spread) if spread > 0 else "",
            frame.beyond(k, value),
        )
        for k, (name, value, floor, spread) in enumerate(zip(names, gain, noise_floor, errors, strict=True))
    ]
    shown = "its noise floor" if half_widths is None else "its noise floor and its 95% interval"
    return frame.draw(f"Gain of each of {len(gain)} layers, with {shown}", columns)


def plan_chart(
    names: Sequence[str],
    x: Values,
    uniform: float,
    upper: Sequence[float | None],
    baselines: Mapping[str, Values] = MappingProxyType({}),
    unit: str = "",
) -> Markup:
    """The plan of K layers against the uniform plan (dashed), the caps inside the chart (ticks), and the baselines.

    baselines : (K,) values by CSS class, drawn as points. unit : the name of the vertical axis.
    """
    frame = _Frame(len(x), max(uniform, ceiling([*x, *(v for values in baselines.values() for v in values)])), unit)
    columns = [
        Markup("<g><title>{}: {:.4g}</title>{}{}{}{}</g>").format(
            name,
            value,
            frame.bar(k, 0.0, value, "bar"),
            frame.beyond(k, value),
            frame.cap(k, cap) if cap is not None and cap <= frame.top else "",
            Markup("").join(frame.point(k, values[k], kind) for kind, values in baselines.items()),
        )
        for k, (name, value, cap) in enumerate(zip(names, x, upper, strict=True))
    ]
    return frame.draw(f"The plan for each of {len(x)} layers against uniform", [*columns, frame.rule(uniform)])


def curve_chart(
    label: str,
    x: Values,
    y: Values,
    chosen: tuple[float, float],
    others: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    *,
    axes: tuple[str, str],
    uniform: Values = (),
) -> Markup:
    """A curve through the points, with a mark at the chosen point and at other named points.

    axes : the names of both axes, with units. uniform : the values of a dashed curve at the same places, if any.
    """
    points = [chosen, *others.values()]
    plane = _Plane([*x, *(a for a, _ in points)], [*y, *uniform, *(b for _, b in points)], axes)
    title = Markup("<title>{:.6g} at {:.6g}</title>").format(chosen[1], chosen[0])
    marks = [
        plane.dot(a, b, "other", Markup("<title>{}: {:.6g} at {:.6g}</title>").format(name, b, a))
        + _text(plane.x(a), plane.y(b), "middle", name, "-0.8em")
        for name, (a, b) in others.items()
    ]
    even = plane.path(x, uniform, "uniform") if uniform else []
    return plane.draw(label, [*even, *plane.path(x, y), *marks, plane.dot(*chosen, "chosen", title)])


def scatter_chart(label: str, names: Sequence[str], x: Values, series: Mapping[str, Values]) -> Markup:
    """Points of K layers per series, and the line y = x; values far outside are drawn at the edge of the chart."""
    top = ceiling(x)
    shown = {kind: [min(max(value, -top), 2 * top) for value in values] for kind, values in series.items()}
    axes = ("predicted decrease, nats", "measured decrease, nats")
    title = Markup("<title>{}: predicted {:.3g}, measured {:.3g}</title>")
    plane = _Plane([0.0, top], [0.0, top, *(value for values in shown.values() for value in values)], axes)
    dots = [
        plane.dot(min(a, top), b, kind, title.format(name, a, real))
        for kind, values in shown.items()
        for name, a, b, real in zip(names, x, values, series[kind], strict=True)
        if not math.isnan(real)
    ]
    return plane.draw(label, [*plane.path([0.0, top], [0.0, top], "uniform"), *dots])


def heat_chart(
    label: str, rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], float]
) -> Markup:
    """A heat map: the opacity of each cell is proportional to its value up to the ceiling; one without is empty."""
    width, height = (RIGHT - HEAT_LEFT) / len(columns), 100.0 / (len(rows) + 1)
    highest = ceiling(list(cells.values())) or 1.0
    squares = [
        Markup(
            '<rect class="bar" x="{:.3f}%" y="{:.3f}%" width="{:.3f}%" height="{:.3f}%" fill-opacity="{:.3f}">'
            "<title>{} {}: {:.4g}</title></rect>"
        ).format(
            HEAT_LEFT + columns.index(column) * width,
            (1 + rows.index(row)) * height,
            width * 0.96,
            height * 0.92,
            min(max(value, 0.0) / highest, 1.0),
            row,
            column,
            value,
        )
        for (row, column), value in cells.items()
    ]
    heads = [_text(HEAT_LEFT + (j + 0.5) * width, height, "middle", name, "-0.5em") for j, name in enumerate(columns)]
    sides = [_text(HEAT_LEFT - 1, (i + 1.5) * height, "end", name, "0.32em") for i, name in enumerate(rows)]
    return Markup('<svg class="heat" role="img" aria-label="{}" style="--rows: {}">{}</svg>').format(
        label, len(rows), Markup("").join([*heads, *sides, *squares])
    )


class _Plane:
    """The scales of a chart of points: x and y to positions, in percent of the drawing."""

    def __init__(self, x: Values, y: Values, axes: tuple[str, str]) -> None:
        self.axes = axes
        self.left, self.right = min(x), max(x)
        self.low, self.high = min(y), max(y)

    def x(self, value: float) -> float:
        return LEFT + (RIGHT - 2 - LEFT) * (value - self.left) / ((self.right - self.left) or 1.0)

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - self.low) / ((self.high - self.low) or 1.0)

    def dot(self, x: float, y: float, kind: str, title: Markup) -> Markup:
        return Markup('<circle class="{}" cx="{:.3f}%" cy="{:.3f}%" r="4">{}</circle>').format(
            kind, self.x(x), self.y(y), title
        )

    def path(self, x: Values, y: Values, kind: str = "curve") -> list[Markup]:
        points = [(self.x(a), self.y(b)) for a, b in zip(x, y, strict=True)]
        return [_line(kind, *start, *end) for start, end in pairwise(points)]

    def draw(self, label: str, content: Sequence[Markup]) -> Markup:
        levels, places = _ticks(self.low, self.high), _ticks(self.left, self.right)
        rules = [_line("grid", LEFT, self.y(level), RIGHT, self.y(level)) for level in levels]
        sides = [_text(LEFT - 1, self.y(level), "end", _compact(level), "0.32em") for level in levels]
        feet = [_text(self.x(place), BOTTOM, "middle", _compact(place), "1.5em") for place in places]
        return Markup('<svg class="chart" role="img" aria-label="{}">{}</svg>').format(
            label, Markup("").join([*rules, *sides, *feet, _axis_names(*self.axes), *content])
        )


class _Frame:
    """The scales of one chart: layer k to a horizontal position, a value to a height."""

    def __init__(self, layers: int, highest: float, name: str) -> None:
        self.layers, self.name = layers, name
        self.step = _nice(highest / TICKS) if highest > 0 else 1.0
        self.top = self.step * max(1, math.ceil(highest / self.step - 1e-9))

    def x(self, slot: float) -> float:
        return LEFT + (RIGHT - LEFT) * slot / self.layers

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * min(max(value / self.top, 0.0), 1.0)

    def bar(self, k: int, low: float, high: float, kind: str) -> Markup:
        width = self.x(FILL) - self.x(0)
        return Markup('<rect class="{}" x="{:.3f}%" y="{:.3f}%" width="{:.3f}%" height="{:.3f}%"/>').format(
            kind, self.x(k + (1 - FILL) / 2), self.y(high), width, self.y(low) - self.y(high)
        )

    def whisker(self, k: int, low: float, high: float) -> Markup:
        return _line("whisker", self.x(k + 0.5), self.y(low), self.x(k + 0.5), self.y(high))

    def cap(self, k: int, value: float) -> Markup:
        return _line("cap", self.x(k + 0.04), self.y(value), self.x(k + 0.96), self.y(value))

    def point(self, k: int, value: float, kind: str) -> Markup:
        return Markup('<circle class="{}" cx="{:.3f}%" cy="{:.3f}%" r="3"/>').format(
            kind, self.x(k + 0.5), self.y(value)
        )

    def beyond(self, k: int, value: float) -> Markup:
        """The number of a bar that leaves the chart."""
        return _text(self.x(k + 0.5), TOP, "middle", f"↑ {value:.3g}", "-0.3em") if value > self.top else Markup("")

    def rule(self, value: float) -> Markup:
        return _line("uniform", LEFT, self.y(value), RIGHT, self.y(value))

    def draw(self, label: str, columns: Sequence[Markup]) -> Markup:
        inside = Markup("").join([self._grid(), *columns, self._layer_numbers(), _axis_names("layer", self.name)])
        return Markup('<svg class="chart" role="img" aria-label="{}">{}</svg>').format(label, inside)

    def _grid(self) -> Markup:
        levels = [self.step * i for i in range(round(self.top / self.step) + 1)]
        return Markup("").join(
            _line("grid", LEFT, self.y(level), RIGHT, self.y(level))
            + _text(LEFT - 1, self.y(level), "end", f"{level:.4g}", "0.32em")
            for level in levels
        )

    def _layer_numbers(self) -> Markup:
        every = max(1, round(_nice(self.layers / 8)))
        return Markup("").join(
            _text(self.x(k + 0.5), BOTTOM, "middle", str(k), "1.5em") for k in range(0, self.layers, every)
        )


def ceiling(values: Values) -> float:
    """The largest of the values that is no outlier; an outlier would press all others to the ground."""
    usual = sorted(values)[int(0.9 * (len(values) - 1))]
    return max((value for value in values if value <= OUTLIER * usual), default=0.0) if usual > 0 else max(values)


def _axis_names(x: str, y: str) -> Markup:
    """The names of the horizontal axis, below its right end, and of the vertical axis, above its upper end."""
    return _text(RIGHT, BOTTOM, "end", x, "2.7em") + _text(0.0, TOP, "start", y, "-0.9em")


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.3f}%" y1="{:.3f}%" x2="{:.3f}%" y2="{:.3f}%"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, anchor: str, text: str, shift: str) -> Markup:
    return Markup('<text x="{:.3f}%" y="{:.3f}%" dy="{}" text-anchor="{}">{}</text>').format(x, y, shift, anchor, text)


def _ticks(low: float, high: float) -> list[float]:
    """About `TICKS` round numbers from low to high."""
    step = _nice((high - low) / (2 * TICKS) or 1.0)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _compact(value: float) -> str:
    """The value with at most three digits, and k, M or G for thousands, millions and billions."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _nice(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= value * (1 - 1e-9))
