"""Column charts as inline SVG: one column per layer, colours from the page, text that stays readable on a phone.

Positions are percentages and there is no view box, so a chart fills whatever width it is given while its letters keep
their size. Colours are CSS classes of the page (`bar`, `floor`, `line`, `grid`), which knows light from dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

Values = Sequence[float]

LEFT, RIGHT, TOP, BOTTOM = 7.0, 99.5, 6.0, 88.0  # the plotting area, in per cent of the drawing
FILL = 0.72  # share of a column's slot that its bar takes
TICKS = 4  # about as many grid lines as the eye takes in


def gain_chart(names: Sequence[str], gain: Values, noise_floor: Values, error: Values | None) -> Markup:
    """Gains of K layers: the part that noise alone would give is pale, the part above it is strong."""
    errors = error if error is not None else [0.0] * len(gain)
    frame = _Frame(len(gain), max(map(sum, zip(gain, errors, strict=True))))
    columns = [
        Markup("<g><title>{}: gain {:.4g}, noise floor {:.4g}</title>{}{}{}</g>").format(
            name,
            value,
            floor,
            frame.bar(k, 0.0, min(value, floor), "floor"),
            frame.bar(k, min(value, floor), value, "bar"),
            frame.whisker(k, value - spread, value + spread) if spread > 0 else "",
        )
        for k, (name, value, floor, spread) in enumerate(zip(names, gain, noise_floor, errors, strict=True))
    ]
    return frame.draw(f"Gain of each of {len(gain)} layers, with its noise floor", columns)


def plan_chart(names: Sequence[str], x: Values, uniform: float, upper: Sequence[float | None]) -> Markup:
    """The plan of K layers against the uniform plan (dashed) and the caps, where they are in reach (ticks)."""
    frame = _Frame(len(x), max(*x, uniform))
    columns = [
        Markup("<g><title>{}: {:.4g}</title>{}{}</g>").format(
            name,
            value,
            frame.bar(k, 0.0, value, "bar"),
            frame.cap(k, cap) if cap is not None and cap <= frame.top else "",
        )
        for k, (name, value, cap) in enumerate(zip(names, x, upper, strict=True))
    ]
    return frame.draw(f"The plan for each of {len(x)} layers against uniform", [*columns, frame.rule(uniform)])


class _Frame:
    """The scales of one chart: layer k to a horizontal place, a value to a height."""

    def __init__(self, layers: int, highest: float) -> None:
        self.layers = layers
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
        return self._line("whisker", self.x(k + 0.5), self.y(low), self.x(k + 0.5), self.y(high))

    def cap(self, k: int, value: float) -> Markup:
        return self._line("cap", self.x(k + 0.04), self.y(value), self.x(k + 0.96), self.y(value))

    def rule(self, value: float) -> Markup:
        return self._line("uniform", LEFT, self.y(value), RIGHT, self.y(value))

    def draw(self, label: str, columns: Sequence[Markup]) -> Markup:
        return Markup('<svg class="chart" role="img" aria-label="{}">{}{}{}</svg>').format(
            label, self._grid(), Markup("").join(columns), self._layer_numbers()
        )

    def _grid(self) -> Markup:
        levels = [self.step * i for i in range(round(self.top / self.step) + 1)]
        return Markup("").join(
            self._line("grid", LEFT, self.y(level), RIGHT, self.y(level))
            + self._text(LEFT - 1, self.y(level), "end", f"{level:.4g}", "0.32em")
            for level in levels
        )

    def _layer_numbers(self) -> Markup:
        every = max(1, round(_nice(self.layers / 8)))
        return Markup("").join(
            self._text(self.x(k + 0.5), BOTTOM, "middle", str(k), "1.5em") for k in range(0, self.layers, every)
        )

    @staticmethod
    def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
        return Markup('<line class="{}" x1="{:.3f}%" y1="{:.3f}%" x2="{:.3f}%" y2="{:.3f}%"/>').format(
            kind, x1, y1, x2, y2
        )

    @staticmethod
    def _text(x: float, y: float, anchor: str, text: str, shift: str) -> Markup:
        return Markup('<text x="{:.3f}%" y="{:.3f}%" dy="{}" text-anchor="{}">{}</text>').format(
            x, y, shift, anchor, text
        )


def _nice(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= value * (1 - 1e-9))
