"""Plans that leave layers out, by rules and by zeta^2."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from benchmarks import agreement
from benchmarks.tables.setting import Planned, Point, Setting
from zetaplan.refining.levels.dropping import DROP, KEEP


def _without(setting: Setting, places: ArrayLike) -> Point:
    gone = set(np.asarray(places).tolist())
    return {name: DROP if place in gone else KEEP for place, name in enumerate(setting.levels().costs)}


def _least(setting: Setting, importance: ArrayLike) -> Point:
    return _without(setting, np.argsort(importance)[: int(setting.task.budget)])


def lim(setting: Setting) -> Planned:
    """One minus the cosine of a layer's input and output, as in ShortGPT: the least go."""
    return Planned(_least(setting, agreement.lim(setting.loaded.model, setting.scored)))


def run(setting: Setting) -> Planned:
    """The best contiguous run of layers, every one of them measured, as CLP seeks it."""
    count, layers = int(setting.task.budget), len(setting.levels().costs)
    plans = [_without(setting, range(first, first + count)) for first in range(layers - count + 1)]
    with setting.measuring() as measuring:
        found = [measuring.divergence(setting.portions[0], plan, near={}) for plan in plans]
        return measuring.planned(plans[int(np.argmin(found))], first=int(np.argmin(found)))


def zeta(setting: Setting) -> Planned:
    """The layers with the least zeta^2 go; no exponent changes their order."""
    scores, seconds = setting.scores
    return Planned(_least(setting, scores.gain), seconds=seconds)


ROWS = {"LIM": lim, "best contiguous run": run, "zeta^2": zeta}
