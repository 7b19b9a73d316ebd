"""Frontier: the optimal plan and the multiplier as functions of the limit, in closed form (method 5.4).

The plan x_k = clip(slope_k u + offset_k, l_k, u_k) depends on one level u, so its resource is piecewise linear in u. It
bends at each level where a layer enters its box (leaves its floor) or leaves it (reaches its cap):

    limit(u) = rise_j u + constant_j    between the bends j and j + 1

One sort of at most 2K bends and two running sums give all pieces without rounding (`solvers.pieces`). Comparing
fractions selects the piece of a limit, because a bend rounded to a double may lie on either side of the limit.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, overload

import numpy as np

from zetaplan._display import Columns, Picture
from zetaplan._plural import counted
from zetaplan.errors import SpecError, require
from zetaplan.solvers.exact import equation, plan, tame
from zetaplan.solvers.pieces import Pieces, exact_pieces, quotient
from zetaplan.solvers.weightless import settle
from zetaplan.spec.checks import LARGEST, LIGHTEST, in_range
from zetaplan.spec.checks import number as checks_number
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Instance, check_feasible
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess, plan_at
from zetaplan.spec.summation import exact_dot
from zetaplan.spec.values import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zetaplan.solvers.menus.frontier import ChoiceFrontier

POINTS = 200  # of a curve


@dataclass(frozen=True, eq=False, repr=False)
class Frontier(Value, Picture):
    """The optimal plans of an instance for every limit (budget or target) that its box admits.

    breakpoints : (J,) limits at which a layer enters or leaves its box and the constraint binds, not decreasing,
        J <= 2K. Rounded once from the value in fractions for the slopes and offsets as doubles.
    levels, multipliers : (J,) u and lambda at the breakpoints. lambda is the decrease of the optimal value per unit
        of budget (it falls along the curve), or its increase per unit of target (it rises).
    slack : the limit at which the constraint stops binding; budgets above it (targets below it) change nothing.

    Examples:
        >>> path = zp.frontier(zp.pruning([1, 3], sizes=1.0, sparsity=0.5))
        >>> [path.at(target).multiplier for target in (0.5, 1.0)]
        [0.1875, 0.375]
    """

    instance: Instance
    breakpoints: Array
    levels: Array
    multipliers: Array
    slack: float
    _pieces: Pieces = field(repr=False)

    def multiplier(self, limit: float) -> float:
        """The multiplier at a limit, in O(log K); at a kink of the curve, its one-sided slope.

        Raises InfeasibleError if no plan satisfies the limit and SpecError if the limit is not a finite number.
        """
        limit = self._checked(limit)
        if self._slackens(limit):
            return 0.0
        return float(_multipliers(self.instance, np.float64(self._level(limit))))

    def at(self, limit: float) -> Solution:
        """The optimal plan at a limit, in O(K), as a solution of the instance with that limit.

        |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|. Raises as `multiplier` does.
        """
        multiplier = self.multiplier(limit)
        instance = replace(self.instance, limit=float(limit))
        if self._slackens(instance.limit):
            return Solution(instance, settle(instance, plan_at(instance, 0.0)), 0.0, Status.SLACK, "frontier")
        with np.errstate(all="ignore"):  # the slope of a layer without weight is infinite
            x = plan(instance, equation(instance), self._level(instance.limit))
        return Solution(instance, x, multiplier, Status.BINDING, "frontier")

    def _slackens(self, limit: float) -> bool:
        return self.instance.program.sign * (self.slack - limit) <= 0.0

    def _checked(self, limit: float) -> float:
        number, program = checks_number("limit", limit), self.instance.program
        if not math.isfinite(number) or (number < 0.0 and program.limit.is_nonnegative):
            raise SpecError(f"{program.limit_argument} = {number}: expected a finite number of at least 0")
        if program.sign * self._pieces.excess(number, self._pieces.reach)[0] < 0:
            check_feasible(replace(self.instance, limit=number))  # raises InfeasibleError with the excess
        return in_range(program.limit_argument, number, LIGHTEST)

    def _level(self, limit: float) -> float:
        """The level on the piece of the limit; if every layer is at a bound, the end with the smaller multiplier."""
        pieces, or_at = self._pieces, self.instance.program.sense == "<="
        j = bisect_left(range(len(pieces.bends)), True, key=lambda j: not pieces.before(j, limit, or_at))
        rise, constant = pieces.rise[j], pieces.constant[j]
        if rise <= 0:  # beyond the last bend that a double can hold
            return float(self.levels[min(j, self.levels.size - 1)])
        numerator, denominator = pieces.excess(limit, constant)
        return quotient(numerator, rise * denominator)

    def _headline(self) -> str:
        program, bends = self.instance.program, counted(self.breakpoints.size, "breakpoint")
        size = counted(self.instance.quality.size, "layer")
        return f"{program.name} of {size} for every {program.limit_argument}: {bends}, slack at {self.slack:.6g}"

    def _columns(self) -> Columns:
        names = (self.instance.program.limit_argument, "level", "multiplier")
        return dict(zip(names, (a.tolist() for a in (self.breakpoints, self.levels, self.multipliers)), strict=True))

    def _draw(self, axes: Axes) -> None:
        """The multiplier over the limit, from the first breakpoint to the last or to the instance's own limit."""
        own = self.instance.limit
        ends = self.breakpoints[np.isfinite(self.breakpoints)]
        limits = np.linspace(min([*ends[:1], own]), max([*ends[-1:], own]), POINTS)
        axes.plot(limits, [self.multiplier(limit) for limit in limits.tolist()])
        axes.plot([own], [self.multiplier(own)], "o", label=f"{self.instance.program.limit_argument} = {own:g}")
        axes.set(xlabel=self.instance.program.limit_argument, ylabel="multiplier")
        axes.legend()


@overload
def frontier(instance: Instance) -> Frontier: ...


@overload
def frontier(instance: Choice) -> ChoiceFrontier: ...


def frontier(instance: Instance | Choice) -> Frontier | ChoiceFrontier:
    """The trade-off curve of an instance's program and data over all limits.

    Construction takes O(K log K). Raises SpecError for a program of several terms, which has several levels.

    Examples:
        >>> path = zp.frontier(zp.allocation([1, 3], costs=1.0, budget=6.0))
        >>> path.breakpoints  # layer 1 is active above 0, layer 0 above 2
        array([0., 2.])
        >>> path.at(6.0).x
        array([1., 5.])
    """
    if isinstance(instance, Choice):
        from zetaplan.solvers.menus.frontier import choice_frontier

        return choice_frontier(instance)
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    derivations = derive(instance.program)
    if len(derivations) != 1:
        raise SpecError(
            f"{instance.program.name} has {len(derivations)} terms: the frontier supports programs of one term"
        )
    (derivation,), (channel,) = derivations, instance.channels
    if not tame(derivation, channel, instance.scalars):
        raise SpecError(
            f"{instance.program.name}: powers of these weights and {channel.term.argument} leave the range of doubles; "
            "move p away from 1, or solve limit by limit"
        )
    pieces, levels = exact_pieces(derivation, channel, instance.scalars)
    breakpoints = pieces.breakpoints(derivation.uses)
    first, last = _binding(derivation, levels, instance.scalars)
    last = min(last, int(np.searchsorted(breakpoints, LARGEST, side="right")))  # no limit is larger
    return Frontier(
        instance=instance,
        breakpoints=_frozen(breakpoints[first:last]),
        levels=_frozen(levels[first:last]),
        multipliers=_frozen(_multipliers(instance, levels[first:last])),
        slack=_slack(instance, plan_at(instance, 0.0)),
        _pieces=pieces._replace(
            rise=pieces.rise[first : last + 1],
            constant=pieces.constant[first : last + 1],
            bends=pieces.bends[first:last],
        ),
    )


def _slack(instance: Instance, at_zero: Array) -> float:
    """The resource of the plan at multiplier 0, rounded to the side on which the limit is kept."""
    if not np.isfinite(at_zero).all():
        return math.inf
    use = exact_dot(instance.resource, at_zero)
    enough = excess(replace(instance, limit=use), at_zero) <= 0.0
    return use if enough else math.nextafter(use, instance.program.sign * math.inf)


def _binding(derivation: Derivation, levels: Array, scalars: tuple[float, ...]) -> tuple[int, int]:
    """The range of bends at which the multiplier is not negative."""
    with np.errstate(divide="ignore", over="ignore"):  # the level may be infinite at total price 0
        at_zero = derivation.level_of(0.0, np.float64(0.0), 0.0, 0.0, *scalars)
    if derivation.uses:
        return 0, int(np.searchsorted(levels, at_zero, side="right"))
    return int(np.searchsorted(levels, at_zero, side="left")), levels.size


def _multipliers(instance: Instance, levels: Array | np.float64) -> Array:
    with np.errstate(all="ignore"):  # the level may be infinite
        multipliers = derive(instance.program)[0].multiplier_of(0.0, levels, 0.0, 0.0, *instance.scalars)
    clipped: Array = np.maximum(multipliers, 0.0)
    return clipped


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
