"""Is the bound on what a choice can lose sound, and how near is it? `python -m benchmarks.menus_drift`.

Boxes of up to 50% around the losses of random menus; drifts drawn inside the box and at its corners. For each the
regret of the nominal choice is computed with an exact optimum and compared with the bound; the exact worst regret is
the upper end of what can occur. Writes results/menus_drift.json.
"""

import argparse
import json
import math
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

import zetaplan as zp
from zetaplan.solvers.menus.robust import robust_choice, worst_regret
from zetaplan.spec.menus.declare import with_losses

RESULT = Path(__file__).parent / "results" / "menus_drift.json"


def loss(instance, rows):
    return sum(map(Fraction, instance.losses[rows].tolist()), Fraction(0))


def drawn(rng, low, high):
    """A point of the box: inside, or at a corner."""
    if rng.random() < 0.5:
        return [a + (b - a) * rng.random(a.size) for a, b in zip(low, high, strict=True)]
    return [np.where(rng.random(a.size) < 0.5, a, b) for a, b in zip(low, high, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--drifts", type=int, default=100)
    options = parser.parse_args()
    started = time.perf_counter()
    exceeded, unproved, tightness, sampled, gained, safer = 0, 0, [], [], [], 0
    for seed in range(options.instances):
        rng = np.random.default_rng([seed, 7])
        sizes = rng.integers(2, 6, rng.integers(2, 13))
        losses = [rng.lognormal(0.0, 1.0) * np.sort(rng.random(size))[::-1] for size in sizes]
        costs = [np.sort(rng.integers(1, 100, size)).astype(np.float64) for size in sizes]
        budget = math.floor(sum(c.min() + rng.uniform(0.3, 0.7) * (c.max() - c.min()) for c in costs))
        budget = max(budget, sum(c.min() for c in costs))
        drift = rng.uniform(0.02, 0.5)
        low, high = ([w * (1.0 + sign * drift * rng.random(w.size)) for w in losses] for sign in (-1.0, 1.0))
        instance = zp.choice(losses, costs, budget)
        nominal = zp.solve(instance)
        bound = zp.regret_bound(instance, nominal, low=low, high=high)
        unproved += not (bound.certificate.valid and bound.certificate.gap <= bound.value * (1 + 1e-9) + 1e-300)
        worst, _ = worst_regret(instance, nominal, np.concatenate(low), np.concatenate(high), {})
        rows, most = instance.rows(nominal.choice), Fraction(0)
        for _ in range(options.drifts):
            moved = with_losses(instance, drawn(rng, low, high))
            best = zp.solve(moved)
            regret = loss(moved, rows) - loss(moved, moved.rows(best.choice))
            most = max(most, regret)
            exceeded += regret > Fraction(bound.value)
        if worst > 0.0:
            tightness.append(worst / bound.value)
            sampled.append(float(most) / worst)
        safe = robust_choice(instance, low, high)
        safer += safe.worst < safe.before
        if safe.before > 0.0:
            gained.append(1.0 - safe.worst / safe.before)
    quantiles = [0.0, 0.25, 0.5, 0.75, 1.0]
    result = {
        "instances": options.instances,
        "drifts": options.instances * options.drifts,
        "regret above the bound": exceeded,
        "bounds that the checker refuses": unproved,
        "quantiles": quantiles,
        "exact worst regret over the bound": np.quantile(tightness, quantiles).round(4).tolist(),
        "worst sampled regret over the exact worst": np.quantile(sampled, quantiles).round(4).tolist(),
        "instances where the robust choice can lose less": safer,
        "share of the worst regret that it saves": np.quantile(gained, quantiles).round(4).tolist(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
