"""How often cvxpy fails as a reference, and how far off it is: `python -m benchmarks.reference`.

Allocation and pruning on a thousand draws of ordinary data each, up to 3,000 layers, gains lognormal or over four
decades. The truth is `exact`; the error of an instance is max_k |x_k - x*_k| / max(1, x*_k), that of the multiplier is
relative. Writes results/reference.json.
"""

import json
import math
import platform
import time
from collections import Counter
from importlib.metadata import version

import numpy as np
from tqdm.auto import tqdm

import zetaplan as zp
from benchmarks import common

RESULT = common.result("reference")
DRAWS = 1000
LAYERS = (10, 3000)
DECADES = 4.0
WANTED = 1e-6


def drawn(seed):
    """An allocation under half a unit per layer, and a pruning to a random sparsity, of the same gains."""
    rng = np.random.default_rng(seed)
    layers = int(math.exp(rng.uniform(*map(math.log, LAYERS))) + 0.5) if seed % 10 else LAYERS[1]
    gains = rng.lognormal(0.0, 1.5, layers) if seed % 2 else 10.0 ** rng.uniform(-DECADES, 0.0, layers)
    costs = rng.lognormal(0.0, 0.5, layers)
    return (
        zp.allocation(gains, costs, layers / 2),
        zp.pruning(gains, costs, sparsity=rng.uniform(0.05, 0.95), upper=rng.choice([1.0, 0.96])),
    )


def compared(instance):
    """(error of the plan, error of the multiplier, seconds, how it was solved)."""
    truth, start = zp.solve(instance), time.perf_counter()
    found = zp.solve(instance, "cvxpy")
    seconds = time.perf_counter() - start
    off = float(np.max(np.abs(found.x - truth.x) / np.maximum(1.0, truth.x)))
    return off, abs(found.multiplier / truth.multiplier - 1.0), seconds, found.method


def measured():
    rows, failed = {"allocation": [], "pruning": []}, Counter()
    for seed in tqdm(range(DRAWS)):
        for instance in drawn(seed):
            name = instance.program.name
            try:
                rows[name].append(compared(instance))
            except zp.SolverError:
                failed[name] += 1
    return {name: summary(found, failed[name]) for name, found in rows.items()}


def summary(found, failed):
    plan, multiplier, seconds, methods = zip(*found, strict=True)
    return {
        "instances": len(found) + failed,
        "failed": failed,
        "off by more than 1e-6": sum(off > WANTED for off in plan),
        "worst error of a plan": max(plan),
        "median error of a plan": float(np.median(plan)),
        "worst error of a multiplier": max(multiplier),
        "median seconds": round(float(np.median(seconds)), 3),
        "solved by": dict(sorted(Counter(methods).items())),
    }


def main():
    result = {
        "layers": LAYERS,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "cvxpy", "clarabel")},
        "programs": measured(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["programs"], indent=2))


if __name__ == "__main__":
    main()
