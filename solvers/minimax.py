"""Minimax plan: min over x and lambda of the largest duality gap over a box of scores.

With two weights per decision, one at each end e, and t times a divisor subtracted (see
`verification.regret.dual_ends`),

    Phi_t(x, lambda) = sum max_e [f_e(x) - d_e(lambda) - t parts_e] + sigma lambda R - t rest
    d_e(lambda) = min_y f_e(y) + sigma lambda r y

is jointly convex, because f is convex and d is concave. The solver finds the t at which min Phi_t = 0.

    x       given t, lambda and a multiplier nu of the limit: f_1 - f_0 is monotone in x, so a decision is the median of
            three, the minimiser at either end and the point at which both ends have equal values
    nu      the root of a continuous monotone equation
    lambda  the sign change of the slope of min_x Phi_t, sigma (R - sum of r y at the ends with a chance)
    t       by Newton's method from below, starting at t = 0

Each end of a decision has a chance: 0, 1, or, if both ends have equal values, the one that makes the decision
stationary. `verification.regret.adversary` turns chances and y into a lower bound on the worst case of every plan, so
the result is verified independently of this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from zetaplan.spec.constants import reachable
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Channel, Instance

HALVINGS = 52  # of an interval, to the rounding of a double
LARGEST = 200.0  # largest power of e of a multiplier
STEP = 0.125  # first step of that power
STEPS = 20  # of Newton's method; about four suffice
ACCURACY = 1e-12  # relative change at which an iteration stops


class Minimax(NamedTuple):
    """x, chances (of the higher end) : (T, K). answers : y, (2, T, K). multiplier : lambda. value : t."""

    x: Array
    multiplier: float
    chances: Array
    answers: Array
    value: float


@dataclass(frozen=True, eq=False)
class _Game:
    """The program with two weights per decision, (2, T, K). Arrays are (T, K), or (2, T, K) for values at both ends."""

    instance: Instance
    weights: Array

    @cached_property
    def use(self) -> Array:
        """sigma r(1), the signed unit cost."""
        return self.instance.program.sign * np.array([c.term.usage * c.unit_cost for c in self.instance.channels])

    @cached_property
    def limit(self) -> float:
        return self.instance.program.sign * self.instance.limit

    @cached_property
    def lower(self) -> Array:
        return np.array([channel.lower for channel in self.instance.channels])

    @cached_property
    def upper(self) -> Array:
        return np.array(reachable(self.instance))

    @cached_property
    def declared(self) -> float:
        return max(float(d.declared_price_of(*self.instance.scalars)) for d in derive(self.instance.program))

    def best(self, multiplier: float) -> Array:
        """The minimiser of the Lagrangian at either end, (2, T, K)."""
        return self._both(lambda d, c, _: d.stationary(multiplier, c, self.instance.scalars), self.lower)

    def values(self, x: Array) -> Array:
        """f at either end, (2, T, K)."""
        return self._both(lambda d, c, y: d.objective(y, 0.0, c.weight, c.unit_cost, *self.instance.scalars), x)

    def slopes(self, x: Array) -> Array:
        """f' at either end, (2, T, K)."""
        return self._both(lambda d, c, y: d.gradient(y, 0.0, c.weight, c.unit_cost, *self.instance.scalars), x)

    def _both(self, function: Callable[[Derivation, Channel, Array], Array], x: Array) -> Array:
        found, x = np.empty_like(self.weights), np.broadcast_to(x, self.weights.shape)
        for t, (derivation, channel) in enumerate(
            zip(derive(self.instance.program), self.instance.channels, strict=True)
        ):
            found[:, t] = function(derivation, channel._replace(weight=self.weights[:, t]), x[:, t])
        return found


class _Reply(NamedTuple):
    """The best plan at one t and lambda. slope : derivative of min_x Phi in lambda."""

    x: Array
    chances: Array
    slope: float
    multiplier: float


def minimax(instance: Instance, weights: Array, parts: Array, rest: float, start: float) -> Minimax:
    """The minimax plan.

    weights, parts : (2, T, K), at both ends. rest : constant part of the divisor. start : the first multiplier tried.
    """
    game = _Game(instance, weights)
    found = _best_multiplier(game, np.zeros_like(weights), start, parts, rest)
    for _ in range(STEPS):
        following = _best_multiplier(game, found.value * parts, found.multiplier, parts, rest)
        settled = abs(following.value - found.value) <= ACCURACY * following.value
        found = following
        if settled or not parts.any():
            break
    return found


def _best_multiplier(game: _Game, toll: Array, start: float, parts: Array, rest: float) -> Minimax:
    """The best plan and lambda at one t. toll : t parts. The chances on both sides of lambda are averaged."""
    unit, replies = start + game.declared or 1.0, {}

    def slope(power: float) -> float:
        replies[power] = _reply(game, toll, max(unit * math.exp(power) - game.declared, 0.0))
        return replies[power].slope

    _crossing(slope, 0.0)
    below = max((power for power, reply in replies.items() if reply.slope <= 0.0), default=min(replies))
    above = min((power for power, reply in replies.items() if reply.slope > 0.0), default=max(replies))
    multiplier, found, other = replies[below].multiplier, replies[below], replies[above]
    share = other.slope / (other.slope - found.slope) if other.slope > found.slope else 1.0
    chances = share * found.chances + (1.0 - share) * other.chances
    answers = game.best(multiplier)
    gap = game.values(found.x) - game.values(answers) - multiplier * game.use * answers
    worth = float(_mean(gap, chances).sum()) + multiplier * game.limit
    value = max(worth, 0.0) / (float(_mean(parts, chances).sum()) + rest)
    return Minimax(found.x, multiplier, chances, answers, value)


def _reply(game: _Game, toll: Array, multiplier: float) -> _Reply:
    """The best plan at a given multiplier, which determines the answers y."""
    answers = game.best(multiplier)
    least = game.values(answers) + multiplier * game.use * answers + toll
    even = _even(game, least)

    def at(nu: float) -> Array:
        alone = game.best(nu)
        plan: Array = np.clip(np.clip(even, alone.min(axis=0), alone.max(axis=0)), game.lower, game.upper)
        return plan

    def left(power: float) -> float:
        return game.limit - float((game.use * at(math.exp(power))).sum())

    start = math.log(multiplier) if multiplier else 0.0
    nu = 0.0 if float((game.use * at(0.0)).sum()) <= game.limit else math.exp(_crossing(left, start))
    x = at(nu)
    chances = _chances(game, x, even, least, nu)
    return _Reply(x, chances, game.limit - float((game.use * _mean(answers, chances)).sum()), multiplier)


def _even(game: _Game, least: Array) -> Array:
    """The point at which both ends have equal values, by Newton's method in a bracket; else a bound of the box."""

    def ahead(x: Array) -> Array:
        difference: Array = np.diff(game.values(x) - least, axis=0)[0]
        return difference

    low, high = game.lower, game.upper
    first, last = ahead(low), ahead(high)
    rises, crosses, x = last > first, (first > 0.0) != (last > 0.0), (low + high) / 2
    for _ in range(HALVINGS):
        found = ahead(x)
        passed = (found > 0.0) == rises
        low, high = np.where(passed, low, x), np.where(passed, x, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - found / np.diff(game.slopes(x), axis=0)[0]
        before, x = x, np.where((low < newton) & (newton < high), newton, (low + high) / 2)
        if (np.abs(x - before) <= ACCURACY * np.maximum(1.0, x))[crosses].all():
            break
    return np.where(crosses, x, np.where((first > 0.0) == rises, game.lower, game.upper))


def _chances(game: _Game, x: Array, even: Array, least: Array, nu: float) -> Array:
    """Chance of the higher end: 0 or 1, or the one that makes a decision with equal ends stationary."""
    behind, before = game.values(x) - least
    here, there = game.slopes(x) + nu * game.use
    mixed = np.divide(-here, there - here, out=np.zeros_like(here), where=there != here)
    between = (game.lower < even) & (even < game.upper) & (x == even)
    chances: Array = np.where(between, np.clip(mixed, 0.0, 1.0), before > behind)
    return chances


def _crossing(rising: Callable[[float], float], start: float) -> float:
    """The root of a rising function of a power of e; an end of the range if there is none."""
    near, step = start, -STEP if rising(start) > 0.0 else STEP
    far = near + step
    while (rising(far) > 0.0) == (step < 0.0):
        if abs(far) > LARGEST:
            return far
        near, far, step = far, far + 2.0 * step, 2.0 * step
    root: float = brentq(rising, near, far, xtol=ACCURACY)
    return root


def _mean(values: Array, chances: Array) -> Array:
    """The mean over both ends, (T, K)."""
    expected: Array = (1.0 - chances) * values[0] + chances * values[1]
    return expected
