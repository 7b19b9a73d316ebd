"""A second truth: both programs solved in rational arithmetic by walking the sorted breakpoints.

It uses the formulas of the paper as they stand (Eqs. 12 and 15), no derivation, no float, no code of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction as F

from zetaplan.spec.instance import Instance

Line = tuple[F, F, F, F, F | None]  # a, p, r, l, h: contributes a clip(p u + r, l, h); h None is infinite


def optimum(instance: Instance) -> tuple[list[F], F]:
    """The optimal plan and its multiplier, exactly, for the doubles that the instance holds."""
    return {"allocation": _allocation, "pruning": _pruning}[instance.program.name](instance)


def _allocation(instance: Instance) -> tuple[list[F], F]:
    alpha, gamma = F(instance.parameters["alpha"]), F(instance.parameters["gamma"])
    lines, budget = _lines(instance, lambda w, c: gamma * w / c, F(-1)), F(instance.limit)
    if alpha > 0 and _total(lines, 1 / alpha) <= budget:
        return [_at(line, 1 / alpha) for line in lines], F(0)
    capped = [line[3] if line[1] == 0 else line[4] for line in lines]
    if alpha == 0 and None not in capped and sum(a[0] * x for a, x in zip(lines, capped, strict=True)) <= budget:
        return capped, F(0)
    t = _root(lines, budget, last=True)
    return [_at(line, t) for line in lines], 1 / t - alpha


def _pruning(instance: Instance) -> tuple[list[F], F]:
    bits, eta = F(instance.parameters["bits"]), F(instance.parameters["eta"])
    target, weights = F(instance.limit), [F(w) for w in instance.weight.tolist()]
    weightless = [k for k, w in enumerate(weights) if w == 0]
    lines = _lines(instance, lambda w, n: n / (2 * eta * w) if w else F(0), F(0))
    for k in weightless:  # removed to the cap at any positive price
        a, p, r, _, h = lines[k]
        lines[k] = (a, p, r, h, h)
    if bits > 0 and _total(lines, bits) >= target:
        return [_at(line, bits) for line in lines], F(0)
    if bits == 0 and _total(lines, F(0)) >= target:
        return _without_price(instance, lines, weightless, target), F(0)
    tau = _root(lines, target, last=False)
    return [_at(line, tau) for line in lines], tau - bits


def _without_price(instance: Instance, lines: list[Line], weightless: list[int], target: F) -> list[F]:
    floors = [F(l) for l in instance.lower.tolist()]
    rest = sum((lines[k][0] * floors[k] for k in range(len(lines)) if k not in weightless), F(0))
    shared = [(lines[k][0], F(1), F(0), floors[k], lines[k][4]) for k in weightless]
    x = list(floors)
    if rest + sum((a * l for a, _, _, l, _ in shared), F(0)) < target:
        u = _root(shared, target - rest, last=False)
        for k, line in zip(weightless, shared, strict=True):
            x[k] = _at(line, u)
    return x


def _lines(instance: Instance, slope: Callable[[F, F], F], offset: F) -> list[Line]:
    rows = zip(*(v.tolist() for v in (instance.weight, instance.resource, instance.lower, instance.upper)), strict=True)
    return [(F(d), slope(F(w), F(d)), offset, F(l), None if h == float("inf") else F(h)) for w, d, l, h in rows]


def _at(line: Line, u: F) -> F:
    _, p, r, l, h = line
    x = max(p * u + r, l)
    return x if h is None else min(x, h)


def _total(lines: list[Line], u: F) -> F:
    return sum((line[0] * _at(line, u) for line in lines), F(0))


def _root(lines: list[Line], limit: F, *, last: bool) -> F:
    """u with _total(lines, u) = limit; the last (first) such u where they are an interval."""
    points = sorted({(b - r) / p for _, p, r, l, h in lines if p > 0 for b in (l, h) if b is not None})
    low, high = -1, len(points)  # the last breakpoint that falls short of the limit, the first that does not
    while high - low > 1:
        middle = (low + high) // 2
        below = _total(lines, points[middle]) <= limit if last else _total(lines, points[middle]) < limit
        low, high = (middle, high) if below else (low, middle)
    left = points[low] if low >= 0 else points[0] - 1
    right = points[high] if high < len(points) else points[-1] + 1
    rise = (_total(lines, right) - _total(lines, left)) / (right - left)
    if rise == 0:
        return left if last else right
    return left + (limit - _total(lines, left)) / rise
