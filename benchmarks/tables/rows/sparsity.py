"""Plans of sparsity by rules and by zeta^2."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from benchmarks import agreement
from benchmarks.tables.rows.measured import refined
from benchmarks.tables.setting import Planned, Setting
from zetaplan.plans.planner import prune
from zetaplan.scoring.peers.alphapruning import alphapruning_sparsity
from zetaplan.scoring.peers.htsr import htsr_alpha
from zetaplan.scoring.peers.layerif import layerif_smoothed, layerif_sparsity
from zetaplan.scoring.peers.minmax_sparsity import minmax_sparsity
from zetaplan.scoring.peers.mola import mola_experts
from zetaplan.scoring.peers.owl import owl_sparsity

CAP, EPSILON = 0.8, 0.3

#: Rise of the share from one layer to the next as a part of the largest possible one, of which the best is taken.
SLOPES = (0.05, 0.1, 0.2, 0.3, 0.4)


def _share(setting: Setting) -> float:
    return float(setting.task.budget)


def _sizes(setting: Setting) -> dict[str, int]:
    return setting.levels().sizes  # type: ignore[attr-defined,no-any-return]


def _counts(setting: Setting, counts: Sequence[int]) -> Planned:
    """A plan of numbers of removed weights; a share has six digits and is rounded up."""
    shares = {
        name: format((Decimal(count) / size).quantize(Decimal("1e-6"), ROUND_CEILING).normalize(), "f")
        for (name, size), count in zip(_sizes(setting).items(), counts, strict=True)
    }
    return Planned(shares)


def by_shares(setting: Setting, shares: ArrayLike) -> Planned:
    """Whole numbers by the cumulative sums, so that the total is that of the shares."""
    ends = np.rint(np.cumsum(np.array(list(_sizes(setting).values())) * np.asarray(shares, np.float64))).astype(int)
    return _counts(setting, np.diff(ends, prepend=0).tolist())


def owl(setting: Setting) -> Planned:
    return by_shares(setting, owl_sparsity(agreement.owl(setting.loaded.model, setting.scored), _share(setting)))


def alphapruning(setting: Setting) -> Planned:
    alphas, sizes = agreement.by_layer(setting.loaded.model, htsr_alpha), list(_sizes(setting).values())
    return by_shares(setting, alphapruning_sparsity(alphas, sizes, _share(setting), epsilon=EPSILON))


def layerif(setting: Setting) -> Planned:
    influences = layerif_smoothed([-found for found in agreement.layerif(setting.loaded.model, setting.scored)])
    return by_shares(
        setting, layerif_sparsity(influences, list(_sizes(setting).values()), _share(setting), epsilon=EPSILON)
    )


def depth(setting: Setting) -> Planned:
    """MoLA's experts by quarter of the depth, read as quality: the last quarter is pruned least."""
    sizes = list(_sizes(setting).values())
    return by_shares(setting, minmax_sparsity(-mola_experts(len(sizes)), sizes, _share(setting), EPSILON))


def progression(setting: Setting) -> Planned:
    """ATP (arXiv 2502.14770): shares in arithmetic progression over the depth, its slope the best of five."""
    places = np.linspace(-1, 1, len(_sizes(setting)))
    most, text = min(_share(setting), 1 - _share(setting)), setting.portions[0]
    plans = [by_shares(setting, _share(setting) + slope * most * places) for slope in SLOPES]
    with setting.measuring() as measuring:
        found = [measuring.divergence(text, plan.point) for plan in plans]
        best = int(np.argmin(found))
        return measuring.planned(plans[best].point, slope=SLOPES[best])


def zeta(setting: Setting, kappa: float) -> Planned:
    scores, seconds = setting.scores
    plan = prune(scores, sparsity=_share(setting), upper=CAP, kappa=kappa)
    found = _counts(setting, plan.rounded.units.tolist())
    return Planned(found.point, seconds=seconds)


def refined_from_zeta(setting: Setting) -> Planned:
    return refined(setting, start=zeta(setting, 0.25), blocks="layers", moves="slopes")


ROWS = {
    "OWL": owl,
    "AlphaPruning": alphapruning,
    "LayerIF": layerif,
    "depth": depth,
    "ATP": progression,
    "zeta^2, kappa 0.25": partial(zeta, kappa=0.25),
    "zeta^2, kappa 1": partial(zeta, kappa=1.0),
    "refine, first derivatives of layers from zeta^2, kappa 0.25": refined_from_zeta,
}
