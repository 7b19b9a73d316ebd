"""The constants of a program over its box, derived from the declaration: mu, L and L_q (Theorem 4, assumptions i-iii).

    mu_k  = min f''(x)               strong convexity of layer k
    L_k   = max f''(x)               smoothness of layer k
    Lq_k  = max |d^2 f / dx dq|      how fast the layer's gradient moves with its own quality

f'' and the mixed derivative of every declared term are monotone in x, so the extremes stand at the ends of the
box; where the box has no upper end, the budget provides one. The program is separable: its mu is the least of the
mu_k, its L the largest of the L_k, and its L_q the largest of the Lq_k, or, where a layer has several decisions that
all move with its quality, of the lengths of their vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zetaplan.spec.derivation import Derivation, Function, derive
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.values import Value


@dataclass(frozen=True, eq=False)
class Constants(Value):
    """Arrays of the plan's shape, one entry per decision; infinite where a derivative has no bound.

    Examples:
        >>> found = zp.constants(zp.pruning([1, 3], sizes=1.0, target=1.0))
        >>> found.strong_convexity  # 2 eta q, layer by layer
        array([0.5, 1.5])
    """

    strong_convexity: Array
    smoothness: Array
    score_lipschitz: Array

    @property
    def mu(self) -> float:
        return float(self.strong_convexity.min())

    @property
    def L(self) -> float:  # the letter of the theorem
        return float(self.smoothness.max())

    @property
    def L_q(self) -> float:
        return float(np.linalg.norm(np.atleast_2d(self.score_lipschitz), axis=0).max())


def constants(instance: Instance) -> Constants:
    """mu, L and L_q of every decision over the reachable part of its box.

    L_q is at the instance's own quality; where the exponent is below 1 it grows without bound as a quality falls
    to 0 (and mu falls to 0 with the weight), so it says nothing of other scores.

    Examples:
        >>> found = zp.constants(zp.pruning([1, 3], sizes=1.0, target=1.0))
        >>> found.mu, found.L
        (0.5, 1.5)
    """
    rows = [
        _ends(derivation, channel, reach, instance)
        for derivation, channel, reach in zip(
            derive(instance.program), instance.channels, reachable(instance), strict=True
        )
    ]
    stacked = [row[0] if len(rows) == 1 else np.stack(row) for row in zip(*rows, strict=True)]
    return Constants(*stacked)


def reachable(instance: Instance) -> list[Array]:
    """The largest decision that any plan within the limit can hold, layer by layer."""
    spare = instance.limit * instance.program.sign
    for channel in instance.channels:
        least = channel.lower if instance.program.costs(channel.term) else channel.upper
        spare -= instance.program.sign * channel.term.usage * float(channel.unit_cost @ least)
    return [
        np.minimum(channel.upper, channel.lower + max(spare, 0.0) / channel.unit_cost)
        if instance.program.costs(channel.term)
        else channel.upper
        for channel in instance.channels
    ]


def _ends(derivation: Derivation, channel: Channel, reach: Array, instance: Instance) -> tuple[Array, Array, Array]:
    scalars = instance.scalars
    exponent = dict(zip((s.symbol for s in instance.program.scalars), scalars, strict=True))[channel.term.exponent]
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = [_at(derivation.curvature, x, channel, scalars) for x in (channel.lower, reach)]
        mixed = [np.abs(_at(derivation.mixed, x, channel, scalars)) for x in (channel.lower, reach)]
        chain = exponent * instance.quality ** (exponent - 1.0)  # dw/dq
        largest = np.maximum(*mixed)
        lipschitz = np.where(largest * exponent > 0.0, largest * chain, 0.0)  # what never moves has no steep end
    return np.minimum(*curvature), np.maximum(*curvature), lipschitz


def _at(function: Function, x: Array, channel: Channel, scalars: tuple[float, ...]) -> Array:
    values = function(x, 0.0, channel.weight, channel.unit_cost, *scalars)
    return np.broadcast_to(values, x.shape)
