"""How fast the solvers are: one call, ten million layers, many instances at once, and cvxpy beside them.

Ratios are taken between runs that alternate in one process; all figures are medians.

    python benchmarks/solvers.py --layers 10000000        writes benchmarks/results/solvers.json
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import cvxpy as cp
import numpy as np
import torch

import zetaplan as zp
from benchmarks import common
from zetaplan.batch import solve_batch
from zetaplan.spec.instance import Instance

RESULT = common.result("solvers")
TIME_LIMIT = 20.0  # seconds that a reference solver may take


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def median(run: Callable[[], object], rounds: int) -> float:
    run()
    return statistics.median(seconds(run) for _ in range(rounds))


def drawn(layers: int, budget: float = 0.5, **box: float) -> Callable[[], Instance]:
    rng = np.random.default_rng(layers)
    quality, costs = 10.0 ** rng.uniform(-2.0, 0.0, layers), rng.uniform(0.5, 2.0, layers)
    return lambda: zp.allocation(quality, costs, budget * layers, **box)


def pruned(layers: int) -> Callable[[], Instance]:
    rng = np.random.default_rng(layers)
    quality, sizes = 10.0 ** rng.uniform(-2.0, 0.0, layers), rng.uniform(0.5, 2.0, layers)
    return lambda: zp.pruning(quality, sizes, sparsity=0.5, upper=0.8)


def small() -> dict[str, dict[str, float]]:
    """Microseconds at K = 32: declare and solve, validation included, and the certificate."""
    results = {}
    for name, make in {"allocation": drawn(32), "pruning": pruned(32)}.items():
        instance = make()
        solution = zp.solve(instance)
        calls = {
            "declare": make,
            "declare and solve": lambda make=make: zp.solve(make()),
            "certify": lambda i=instance, s=solution: zp.certify(i, s),
        }
        results[name] = {call: 1e6 * median(run, 2000) for call, run in calls.items()}
    return results


def large(layers: int, rounds: int) -> dict[str, object]:
    """The exact solver in passes: one pass reads two arrays and writes one."""
    first, second, out = np.ones(layers), np.ones(layers), np.empty(layers)
    results: dict[str, object] = {}
    makers = {"allocation": drawn(layers), "allocation, capped": drawn(layers, upper=2.0), "pruning": pruned(layers)}
    for name, make in makers.items():
        instance = make()
        zp.solve(instance)
        times = [
            (seconds(lambda: np.add(first, second, out=out)), seconds(lambda i=instance: zp.solve(i)))
            for _ in range(rounds)
        ]
        results[name] = {
            "pass ms": 1e3 * statistics.median(t for t, _ in times),
            "solve ms": 1e3 * statistics.median(t for _, t in times),
            "passes": statistics.median(solve / one for one, solve in times),
            "certified": zp.certify(instance, zp.solve(instance)).valid,
        }
    return results


def batch(count: int, rounds: int) -> dict[str, object]:
    """Instances solved and certified per second, K = 32."""
    rng = np.random.default_rng(0)
    quality = torch.from_numpy(10.0 ** rng.uniform(-2.0, 0.0, (count, 32)))
    data = torch.from_numpy(rng.uniform(0.5, 2.0, (count, 32)))
    runs = {
        "allocation": lambda: solve_batch("allocation", quality, data, 32.0),
        "pruning": lambda: solve_batch("pruning", quality, data, 16.0, upper=0.8),
    }
    return {
        name: {"per second": count / median(run, rounds), "all certified": bool(run().valid.all())}
        for name, run in runs.items()
    }


def reference(layers: int, rounds: int) -> dict[str, object]:
    """cvxpy, its compilation included, with every installed solver of exponential cones, beside `exact`."""
    instance = drawn(layers)()
    truth = zp.solve(instance)
    own = median(lambda: zp.solve(instance), 50)
    results: dict[str, object] = {"exact ms": 1e3 * own}
    limits = {"CLARABEL": {"time_limit": TIME_LIMIT}, "SCS": {"time_limit_secs": TIME_LIMIT}}
    for solver in sorted(limits.keys() & set(cp.installed_solvers())):
        times = []
        try:
            for _ in range(rounds):
                started = time.perf_counter()
                found = zp.solve(instance, "cvxpy", solver=solver, **limits[solver])
                times.append(time.perf_counter() - started)
        except zp.SolverError as failure:
            results[solver] = {"failed": str(failure), "after s": time.perf_counter() - started}
            continue
        took = statistics.median(times)
        results[solver] = {
            "ms": 1e3 * took,
            "times slower": took / own,
            "says": found.status.name,
            "plan error": float(np.abs(found.x - truth.x).max()),
            "certified": zp.certify(instance, found).valid,
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=10_000_000)
    parser.add_argument("--instances", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    stages: dict[str, Callable[[], object]] = {
        "machine": lambda: common.environment("numpy", "numba", "torch", "cvxpy", "clarabel", "scs"),
        "one call, K = 32, microseconds": small,
        f"exact, K = {options.layers}": lambda: large(options.layers, options.rounds),
        "batch, K = 32": lambda: batch(options.instances, options.rounds),
        "one call after a batch, K = 32, microseconds": small,
        "cvxpy, K = 1000": lambda: reference(1_000, options.rounds),
        "cvxpy, K = 100000": lambda: reference(100_000, 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    results = {}
    for name, stage in stages.items():
        results[name] = stage()
        RESULT.write_text(json.dumps(results, indent=2) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
