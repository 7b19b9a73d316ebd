"""How near each bound on the regret comes, and that none is ever exceeded: `python -m benchmarks.regret`.

100,000 random drifts over programs, sizes, widths and seeds, half of them at corners of the box; the worst regret of
each box is also searched by ascent, one layer's end flipped at a time. Writes results/regret.json and
docs/regret-bounds.svg.
"""

import itertools
import json
import platform
from pathlib import Path

import matplotlib
import numpy as np
from tqdm.auto import tqdm

import zetaplan as zp
from zetaplan.spec.instance import with_quality
from zetaplan.verification.regret import NEEDS

matplotlib.use("svg")
from matplotlib import pyplot as plt

RESULT = Path(__file__).parent / "results" / "regret.json"
FIGURE = Path(__file__).parents[1] / "docs" / "regret-bounds.svg"
LAYERS, WIDTHS, SPREADS, SEEDS, DRIFTS = (8, 32), (0.03, 0.1, 0.3), (0.3, 1.0), 4, 348

PROGRAMS = {
    "allocation": lambda g, c: zp.allocation(g, c, 2.0 * c.sum()),
    "allocation, few active": lambda g, c: zp.allocation(g, c, 0.15 * c.sum(), beta=2.0, upper=4.0),
    "pruning": lambda g, c: zp.pruning(g, c, sparsity=0.3),
    "pruning, capped": lambda g, c: zp.pruning(g, c, sparsity=0.5, upper=0.6),
    "precision": lambda g, c: zp.precision(g, c, 4.0 * c.sum(), upper=8.0),
    "joint": lambda g, c: zp.joint(g, c, 20 * c, 3.0 * c.sum(), upper=(6.0, 0.8)),
}


def lost(instance, x, gains):
    """The regret alone, without its certificate."""
    target = with_quality(instance, gains)
    return zp.Solution(target, x, 0.0).objective - zp.solve(target).objective


def ascended(instance, x, low, high, start):
    """The corner that no flip of a single layer makes worse, from a start."""
    at_high = start > (low + high) / 2
    best = lost(instance, x, np.where(at_high, high, low))
    for k in range(low.size):
        at_high[k] ^= True
        found = lost(instance, x, np.where(at_high, high, low))
        if found > best:
            best = found
        else:
            at_high[k] ^= True
    return best


def box(name, layers, width, spread, seed):
    """One row: the worst regret found in a box, and every bound."""
    rng = np.random.default_rng([seed, layers])
    gains, costs = rng.lognormal(0.0, spread, layers), rng.uniform(1.0, 3.0, layers)
    instance = PROGRAMS[name](gains, costs)
    plan, low, high = zp.solve(instance), gains * (1 - width), gains * (1 + width)
    drifts = [rng.uniform(low, high) for _ in range(DRIFTS // 2)]
    drifts += [np.where(rng.random(layers) < rng.random(), low, high) for _ in range(DRIFTS // 2)]
    sampled = [lost(instance, plan.x, g) for g in drifts]
    worst = max(*sampled, ascended(instance, plan.x, low, high, drifts[int(np.argmax(sampled))]))
    bounds = {kind: zp.regret_bound(instance, plan, low=low, high=high, kind=kind).value for kind in NEEDS}
    facts = {"program": name, "layers": layers, "width": width, "spread": spread, "seed": seed, "drifts": len(drifts)}
    return {**facts, "worst": worst, "objective": abs(plan.objective), "condition": _condition(instance), **bounds}


def _condition(instance):
    found = zp.constants(instance)
    return found.L / found.mu


def summary(rows):
    """Bound over worst, per program and kind: median and largest; and violations."""
    table = []
    for name, kind in itertools.product(PROGRAMS, NEEDS):
        own = [row for row in rows if row["program"] == name and row["worst"] > 1e-9 * row["objective"]]
        ratios = np.array([row[kind] / row["worst"] for row in own])
        table.append(
            {
                "program": name,
                "kind": kind,
                "boxes": len(own),
                "median": float(np.median(ratios)),
                "largest": float(ratios.max()),
            }
        )
    return table


def violations(rows):
    return sum(row["worst"] > row[kind] + 1e-11 * row["objective"] for row in rows for kind in NEEDS)


def draw(rows):
    """Looseness of every bound against the condition number, over all boxes."""
    plt.style.use(Path(__file__).with_name("house.mplstyle"))
    figure, axes = plt.subplots(figsize=(5.6, 4.2))
    for kind, marker in zip(NEEDS, "os^D", strict=True):
        own = [row for row in rows if row["worst"] > 1e-9 * row["objective"]]
        axes.scatter(
            [row["condition"] for row in own],
            [row[kind] / row["worst"] for row in own],
            s=10,
            marker=marker,
            label=kind,
        )
    axes.set(xscale="log", yscale="log", xlabel="condition number L / mu", ylabel="bound / worst regret found")
    axes.axhline(1.0, color="#76818e", linewidth=1)
    figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(FIGURE, metadata={"Date": None})


def main():
    cases = list(itertools.product(PROGRAMS, LAYERS, WIDTHS, SPREADS, range(SEEDS)))
    rows = [box(*case) for case in tqdm(cases, disable=None)]
    result = {
        "command": "python -m benchmarks.regret",
        "machine": f"{platform.machine()}, 2 cores",
        "boxes": len(rows),
        "drifts": sum(row["drifts"] for row in rows),
        "violations": violations(rows),
        "table": summary(rows),
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    draw(rows)
    print({key: value for key, value in result.items() if key != "rows"})


if __name__ == "__main__":
    main()
