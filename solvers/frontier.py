"""Every plan over every budget (method 5.4): the multiplier as a function of the limit, in closed form.

The plan x_k = clip(slope_k u + offset_k, l_k, u_k) depends on one price u, so the resource it uses is piecewise
linear in u with a bend wherever a layer enters its box (leaves its floor) or leaves it (reaches its cap):

    limit(u) = rise_j u + constant_j    between the bends j and j + 1

One sort of at most 2K bends and two running sums give all pieces, without rounding (`solvers.pieces`). The piece of
a limit is chosen by comparing fractions: a bend rounded to a double may lie on either side of the limit.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.solvers.exact import equation, plan, tame
from zetaplan.solvers.pieces import Pieces, exact_pieces, quotient
from zetaplan.solvers.weightless import settle
from zetaplan.spec.checks import LARGEST, LIGHTEST, in_range
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Instance, check_feasible
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess, plan_at
from zetaplan.spec.summation import exact_dot
from zetaplan.spec.values import Value


@dataclass(frozen=True, eq=False)
class Frontier(Value):
    """The optimal plans of an instance for every limit (budget or target) that its box admits.

    breakpoints : (J,) limits at which a layer enters or leaves its box, not decreasing, J <= 2K; only those at
        which the constraint binds. Rounded once from the exact value for the slopes and offsets as doubles.
    prices, multipliers : (J,) u and lambda at the breakpoints; lambda is the fall of the optimal value per unit
        of budget (it falls along the curve), or its rise per unit of target (it rises).
    slack : the limit where the constraint stops binding: budgets above it (targets below it) change nothing.

    Examples:
        >>> path = zp.frontier(zp.pruning([1, 3], sizes=1.0, sparsity=0.5))
        >>> [path.at(target).multiplier for target in (0.5, 1.0)]
        [0.1875, 0.375]
    """

    instance: Instance
    breakpoints: Array
    prices: Array
    multipliers: Array
    slack: float
    _pieces: Pieces = field(repr=False)

    def multiplier(self, limit: float) -> float:
        """The price of the resource at a limit, in O(log K); where the curve has a kink, its one-sided slope.

        Raises InfeasibleError where no plan satisfies the limit and SpecError where it is no finite number.
        """
        limit = self._checked(limit)
        if self._slackens(limit):
            return 0.0
        return float(_multipliers(self.instance, np.float64(self._price(limit))))

    def at(self, limit: float) -> Solution:
        """The optimal plan at a limit, in O(K); its instance is this one with that limit.

        |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|. Raises as `multiplier` does.
        """
        multiplier = self.multiplier(limit)
        instance = replace(self.instance, limit=float(limit))
        if self._slackens(instance.limit):
            return Solution(instance, settle(instance, plan_at(instance, 0.0)), 0.0, Status.SLACK, "frontier")
        with np.errstate(all="ignore"):  # a layer without weight has an infinite slope
            x = plan(instance, equation(instance), self._price(instance.limit))
        return Solution(instance, x, multiplier, Status.BINDING, "frontier")

    def _slackens(self, limit: float) -> bool:
        return self.instance.program.sign * (self.slack - limit) <= 0.0

    def _checked(self, limit: float) -> float:
        number, program = float(limit), self.instance.program
        if not math.isfinite(number) or (number < 0.0 and program.limit.is_nonnegative):
            raise SpecError(f"{program.limit_argument} = {number}: expected a finite number of at least 0")
        if program.sign * self._pieces.excess(number, self._pieces.reach)[0] < 0:
            check_feasible(replace(self.instance, limit=number))  # says what is missing
        return in_range(program.limit_argument, number, LIGHTEST)

    def _price(self, limit: float) -> float:
        """u on the piece that holds the limit; where every layer stands at a bound, its end of smaller multiplier."""
        pieces, or_at = self._pieces, self.instance.program.sense == "<="
        j = bisect_left(range(len(pieces.bends)), True, key=lambda j: not pieces.before(j, limit, or_at))
        rise, constant = pieces.rise[j], pieces.constant[j]
        if rise <= 0:  # beyond the last bend that a double can hold
            return float(self.prices[min(j, self.prices.size - 1)])
        numerator, denominator = pieces.excess(limit, constant)
        return quotient(numerator, rise * denominator)


def frontier(instance: Instance) -> Frontier:
    """The whole trade-off curve of an instance's program and data; its own limit is one point of it.

    O(K log K) for the construction. Raises SpecError for a program of several terms, whose plan does not
    depend on one price.

    Examples:
        >>> path = zp.frontier(zp.allocation([1, 3], costs=1.0, budget=6.0))
        >>> path.breakpoints  # the second layer is active from 0 on, the first from 2 on
        array([0., 2.])
        >>> path.at(6.0).x
        array([1., 5.])
    """
    derivations = derive(instance.program)
    if len(derivations) != 1:
        raise SpecError(f"{instance.program.name} has {len(derivations)} terms: the frontier is for programs of one")
    (derivation,), (channel,) = derivations, instance.channels
    if not tame(derivation, channel, instance.scalars):
        raise SpecError(
            f"{instance.program.name}: powers of these weights and {channel.term.argument} leave the range of doubles; "
            "move p away from 1, or solve limit by limit"
        )
    pieces, prices = exact_pieces(derivation, channel, instance.scalars)
    breakpoints = pieces.breakpoints(derivation.uses)
    first, last = _binding(derivation, prices, instance.scalars)
    last = min(last, int(np.searchsorted(breakpoints, LARGEST, side="right")))  # no limit is larger
    return Frontier(
        instance=instance,
        breakpoints=_frozen(breakpoints[first:last]),
        prices=_frozen(prices[first:last]),
        multipliers=_frozen(_multipliers(instance, prices[first:last])),
        slack=_slack(instance, plan_at(instance, 0.0)),
        _pieces=pieces._replace(
            rise=pieces.rise[first : last + 1],
            constant=pieces.constant[first : last + 1],
            bends=pieces.bends[first:last],
        ),
    )


def _slack(instance: Instance, unpriced: Array) -> float:
    """The resource that the plan without a price uses, rounded to the side where it is enough."""
    if not np.isfinite(unpriced).all():
        return math.inf
    use = exact_dot(instance.resource, unpriced)
    enough = excess(replace(instance, limit=use), unpriced) <= 0.0
    return use if enough else math.nextafter(use, instance.program.sign * math.inf)


def _binding(derivation: Derivation, prices: Array, scalars: tuple[float, ...]) -> tuple[int, int]:
    """The range of bends at which the multiplier is not negative."""
    with np.errstate(divide="ignore", over="ignore"):  # a resource of little or no price may have an infinite u
        unpriced = derivation.price_of(0.0, np.float64(0.0), 0.0, 0.0, *scalars)
    if derivation.uses:
        return 0, int(np.searchsorted(prices, unpriced, side="right"))
    return int(np.searchsorted(prices, unpriced, side="left")), prices.size


def _multipliers(instance: Instance, prices: Array | np.float64) -> Array:
    with np.errstate(all="ignore"):  # an infinite price of the resource is an answer
        multipliers = derive(instance.program)[0].multiplier_of(0.0, prices, 0.0, 0.0, *instance.scalars)
    clipped: Array = np.maximum(multipliers, 0.0)
    return clipped


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
