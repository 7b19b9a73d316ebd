"""How near each bound on the regret comes, and that none is ever exceeded: `python -m benchmarks.regret`.

Over 100,000 random drifts over programs, sizes, widths of the box, spreads of the gains and seeds, half of them at
corners of the box. The worst regret of a box is searched among them, and then by ascent: to the corner that the
gradient points to, as long as that is worse, and by flips of one layer's end. Every drift is also asked what the
paper's proof of Theorem 4 says of it (claim C19). Writes results/regret.json and docs/regret-bounds.svg.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from tqdm.auto import tqdm

import zetaplan as zp
from benchmarks import common
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance, with_quality
from zetaplan.verification.regret.bound import NEEDS

matplotlib.use("svg")
from matplotlib import pyplot as plt

RESULT = common.result("regret")
FIGURE = Path(__file__).parents[1] / "docs" / "regret-bounds.svg"
LAYERS, WIDTHS, SPREADS, SEEDS, DRIFTS = (4, 16, 64), (0.03, 0.1, 0.3), (0.3, 1.0), 2, 312
ROUNDING = 1e-9  # a regret below this share of the objective is rounding, and a multiple of it says nothing

PROGRAMS: dict[str, Callable[[Array, Array], Instance]] = {
    "allocation": lambda g, c: zp.allocation(g, c, 2.0 * c.sum()),
    "allocation, few active": lambda g, c: zp.allocation(g, c, 0.15 * c.sum(), beta=2.0, upper=4.0),
    "allocation, equal gains, exponent 1/2": lambda g, c: zp.allocation(np.ones_like(g), c, 2.0 * c.sum(), beta=0.5),
    "allocation, priced": lambda g, c: zp.allocation(g, c, 2.0 * c.sum(), alpha=0.1 / c.sum()),
    "pruning": lambda g, c: zp.pruning(g, c, sparsity=0.3),
    "pruning, capped": lambda g, c: zp.pruning(g, c, sparsity=0.5, upper=0.6),
    "pruning, priced and slack": lambda g, c: zp.pruning(g, c, sparsity=0.2, bits=0.4 / c.sum()),
    "precision": lambda g, c: zp.precision(g, c, 3.0 * c.sum(), upper=4.0),
    "joint": lambda g, c: zp.joint(g, c, 20 * c, 3.0 * c.sum(), upper=(6.0, 0.8)),
    "joint, two exponents": lambda g, c: zp.joint(g, c, 20 * c, 3.0 * c.sum(), beta=1.0, kappa=0.5, upper=(6.0, 0.8)),
}

Row = dict[str, Any]


class Drift(NamedTuple):
    """What one drift does. regret : F_T(x_S) - F_T(x_T). linear : <grad F_T(x_T), x_S - x_T>. quadratic :
    L |x_S - x_T|^2 / 2. moved : does another decision stand at a bound? uphill : dR / dgain, (K,)."""

    regret: float
    linear: float
    quadratic: float
    moved: bool
    uphill: Array


def drifted(instance: Instance, x: Array, gains: Array) -> Drift:
    """The source's plan judged by these gains."""
    target = with_quality(instance, gains)
    best, scalars = zp.solve(target).x, target.scalars
    regret = linear = distance = 0.0
    exponents = {s.symbol: target.parameters[s.name] for s in target.program.scalars}
    uphill = np.zeros_like(gains)
    for d, c, here, there in zip(
        derive(target.program), target.channels, target.rows(x), target.rows(best), strict=True
    ):
        values = [d.objective(y, 0.0, c.weight, c.unit_cost, *scalars) for y in (here, there)]
        per_weight = [values[i] - d.objective(y, 0.0, 0.0, c.unit_cost, *scalars) for i, y in enumerate((here, there))]
        regret += float(np.sum(values[0] - values[1]))
        linear += float(np.sum(d.gradient(there, 0.0, c.weight, c.unit_cost, *scalars) * (here - there)))
        distance += float(((here - there) ** 2).sum())
        uphill += exponents[c.term.exponent] * (per_weight[0] - per_weight[1]) / gains  # dw / w = e dg / g
    uphill -= uphill @ gains / gains.sum()  # along the simplex
    moved = any(((x == end) != (best == end)).any() for end in (instance.lower, instance.upper))
    return Drift(regret, linear, zp.constants(target).L * distance / 2, moved, uphill)


def worst(instance: Instance, x: Array, low: Array, high: Array, start: Array) -> float:
    """The largest regret that ascent finds: along the gradient, then by flips of single ends until none is worse."""
    gains, found = start, drifted(instance, x, start)
    while True:
        corner = np.where(found.uphill > 0.0, high, low)
        there = drifted(instance, x, corner)
        if there.regret <= found.regret * (1 + 1e-12):
            break
        gains, found = corner, there
    return by_flips(lambda flipped: drifted(instance, x, flipped).regret, gains, low, high)


def by_flips(lost: Callable[[Array], float], gains: Array, low: Array, high: Array) -> float:
    """The largest loss that is found from these gains, one layer's end flipped at a time, until no flip is worse."""
    best, improved = lost(gains), True
    while improved:
        improved = False
        for k in range(gains.size):
            flipped = gains.copy()
            flipped[k] = low[k] if gains[k] == high[k] else high[k]
            found = lost(flipped)
            if found > best * (1 + ROUNDING):
                best, gains, improved = found, flipped, True
    return best


def box(name: str, layers: int, width: float, spread: float, seed: int) -> Row:
    """One row: the worst regret found in a box, and every bound."""
    rng = np.random.default_rng([seed, layers])
    gains, costs = rng.lognormal(0.0, spread, layers), rng.uniform(1.0, 3.0, layers)
    instance = PROGRAMS[name](gains, costs)
    gains = instance.quality
    plan, low, high = zp.solve(instance), gains * (1 - width), gains * (1 + width)
    points = [rng.uniform(low, high) for _ in range(DRIFTS // 2)]
    points += [np.where(rng.random(layers) < rng.random(), low, high) for _ in range(DRIFTS // 2)]
    drifts = [drifted(instance, plan.x, point) for point in points]
    sampled = max(drift.regret for drift in drifts)
    ascended = worst(instance, plan.x, low, high, max(zip(drifts, points, strict=True), key=lambda p: p[0].regret)[1])
    bounds = {kind: zp.regret_bound(instance, plan, low=low, high=high, kind=kind).value for kind in NEEDS}
    constants = zp.constants(instance)
    told = [drift for drift in drifts if drift.regret > ROUNDING * abs(plan.objective)]
    return {
        "program": name,
        "layers": layers,
        "width": width,
        "spread": spread,
        "seed": seed,
        "drifts": len(drifts),
        "moved": sum(drift.moved for drift in drifts),
        "sampled": sampled,
        "worst": max(sampled, ascended),
        "objective": abs(plan.objective),
        "condition": constants.L / constants.mu,
        "linear_shares": [min(d.linear / d.regret, 1.0) for d in told],
        "step_fails": sum(d.regret > d.quadratic * (1 + 1e-9) for d in told),
        **bounds,
    }


def summary(rows: list[Row]) -> list[Row]:
    """Bound over worst, per program and kind: median and largest."""
    return [{"program": name, **ratios} for name in PROGRAMS for ratios in looseness(rows, "program", name)]


def looseness(rows: list[Row], key: str, value: object) -> list[Row]:
    """The same over the rows that have this value, for every kind."""
    own = [row for row in rows if row[key] == value and row["worst"] > ROUNDING * row["objective"]]
    ratios = {kind: np.array([row[kind] / row["worst"] for row in own]) for kind in NEEDS}
    return [
        {"kind": kind, "boxes": len(own), "median": float(np.median(of)), "largest": float(of.max())}
        for kind, of in ratios.items()
    ]


def against(rows: list[Row]) -> list[Row]:
    """Looseness of every bound against the number of layers, the width of the box and the condition number, which
    counts from 1, 10^2, 10^4 or 10^6 on."""
    binned = [{**row, "condition": min(100 ** int(np.log10(row["condition"]) / 2), 10**6)} for row in rows]
    found = []
    for key in ("layers", "width", "condition"):
        for value in sorted({row[key] for row in binned}):
            found += [{"against": key, "value": value, **ratios} for ratios in looseness(binned, key, value)]
    return found


def violations(rows: list[Row]) -> int:
    return sum(row["worst"] > row[kind] + 1e-11 * row["objective"] for row in rows for kind in NEEDS)


def proof_step(rows: list[Row]) -> list[Row]:
    """Of the drifts of every program: the largest share of the regret that the linear term is which the paper's proof
    drops, how often it is present (above 1 %), and how often L |x_S - x_T|^2 / 2 alone is less than the regret."""
    table = []
    for name in PROGRAMS:
        own = [row for row in rows if row["program"] == name]
        shares = np.concatenate([row["linear_shares"] for row in own])
        fails = sum(row["step_fails"] for row in own)
        facts = {"largest": float(shares.max()), "present": int((shares > 0.01).sum()), "fails": fails}
        table.append({"program": name, "drifts": shares.size, **facts})
    return table


def draw(rows: list[Row]) -> None:
    """Looseness of every bound against the condition number, the number of layers and the drift, over all boxes."""
    plt.style.use(FIGURE.parents[1] / "benchmarks" / "house.mplstyle")
    figure, panels = plt.subplots(1, 3, figsize=(10.5, 4.2), sharey=True)
    told = [row for row in rows if row["worst"] > ROUNDING * row["objective"]]
    labels = {"condition": "condition number L / mu", "layers": "layers", "width": "half width of the box of gains"}
    for axes, (key, label) in zip(panels, labels.items(), strict=True):
        for n, (kind, marker) in enumerate(zip(NEEDS, "os^D", strict=True)):
            x, y = np.array([row[key] for row in told]), np.array([row[kind] / row["worst"] for row in told])
            if key == "condition":
                axes.loglog(x, y, marker, markersize=3, label=kind)
                continue
            values = np.unique(x)  # for these, the median and the range
            middle, low, high = np.array([np.quantile(y[x == value], (0.5, 0.0, 1.0)) for value in values]).T
            aside = values * 1.12 ** (n - 1.5)  # so that they do not hide each other
            axes.errorbar(aside, middle, (middle - low, high - middle), fmt=marker, markersize=4, linewidth=1)
        axes.axhline(1.0, color="#76818e", linewidth=1)
        axes.set(xlabel=label, xscale="log", yscale="log")
    for axes, ticks in ((panels[1], LAYERS), (panels[2], WIDTHS)):
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    panels[0].set_ylabel("bound / worst regret found")
    panels[0].legend()
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    cases = list(itertools.product(PROGRAMS, LAYERS, WIDTHS, SPREADS, range(SEEDS)))
    rows = [box(*case) for case in tqdm(cases, disable=None)]
    result = {
        "command": "python -m benchmarks.regret",
        "machine": common.machine(),
        "boxes": len(rows),
        "drifts": sum(row["drifts"] for row in rows),
        "moved": sum(row["moved"] for row in rows),
        "violations": violations(rows),
        "table": summary(rows),
        "against": against(rows),
        "proof_step": proof_step(rows),
        "rows": [{key: value for key, value in row.items() if key != "linear_shares"} for row in rows],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    draw(rows)
    print({key: value for key, value in result.items() if key != "rows"})


if __name__ == "__main__":
    main()
