"""Plans of formats by rules, by zeta^2 and by menus that are estimated from the dense model."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from benchmarks import agreement
from benchmarks.tables.rows.measured import refined
from benchmarks.tables.setting import PORTION, Planned, Setting
from zetaplan.measuring.measure import measure
from zetaplan.scoring.peers.zd import zd_score


def by_importance(setting: Setting, importance: list[float]) -> Planned:
    """The most important third of the layers a level up, the least important third a level down."""
    levels = setting.levels()
    order, third = np.argsort(importance), len(importance) // 3
    names, point = list(levels.costs), dict(levels.uniform)
    for places, way in ((order[:third], -1), (order[len(order) - third :], 1)):
        for place in places:
            ladder = list(levels.costs[names[place]])
            point[names[place]] = ladder[ladder.index(point[names[place]]) + way]
    spent = sum(levels.costs[name][option] for name, option in point.items())
    if spent > levels.budget:
        raise ValueError(f"a level up costs more than a level down: {spent:,} bytes of {levels.budget:,}")
    return Planned(point)


def lim(setting: Setting) -> Planned:
    """Layer importance by one minus the cosine of a layer's input and output (arXiv 2406.17415)."""
    return by_importance(setting, agreement.lim(setting.loaded.model, setting.scored))


def zd(setting: Setting) -> Planned:
    """Layer importance by the share of weights above one standard deviation (arXiv 2406.17415)."""
    return by_importance(setting, agreement.by_layer(setting.loaded.model, zd_score))


def zeta(setting: Setting, kappa: float) -> Planned:
    """The declared program of precision: sum of zeta^(2 kappa) 4^-b over stored bits b."""
    scores, seconds = setting.scores
    levels, gains = setting.levels(), dict(zip(scores.names, scores.gain, strict=True))
    bits = {
        name: {o: 8 * cost / int(size) for o, cost in levels.costs[name].items()}
        for name, size in zip(scores.names, scores.linear_parameters, strict=True)
    }
    losses = {
        name: {option: float(gains[name]) ** kappa * 4.0 ** -bits[name][option] for option in options}
        for name, options in levels.costs.items()
    }
    return Planned(levels.chosen(losses)[0], seconds=seconds)


def estimated(setting: Setting, estimator: str) -> Planned:
    """The menu of single linears by an estimator."""
    started = time.monotonic()
    levels = setting.levels("modules")
    options = tuple(next(iter(levels.costs.values())))
    menu = measure(
        setting.loaded,
        options,
        setting.rows["propose"][:PORTION],
        blocks="modules",
        estimator=estimator,
        calibration=setting.rows["calibrate"] if setting.task.method == "gptq" else None,
        progress=True,
    )
    rows = {
        name: dict(zip(labels, values, strict=True))
        for name, labels, values in zip(menu.names, menu.options, menu.losses, strict=True)
        if name in levels.costs
    }
    point, promised = levels.chosen({name: {o: rows[name][o] for o in levels.costs[name]} for name in levels.costs})
    return Planned(point, "modules", seconds=time.monotonic() - started, facts={"promised": promised})


ROWS = {
    "refine, measured moves": partial(refined, moves="measured"),
    "refine, measured moves of fused linears": partial(refined, moves="measured", blocks="fused"),
    "LIM": lim,
    "ZD": zd,
    "zeta^2, kappa 0.25": partial(zeta, kappa=0.25),
    "zeta^2, kappa 1": partial(zeta, kappa=1.0),
    "first order, single linears": partial(estimated, estimator="first-order"),
    "Fisher, single linears": partial(estimated, estimator="fisher"),
    "linear theorem, single linears": partial(estimated, estimator="linear"),
}
