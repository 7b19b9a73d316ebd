"""Choices from menus: how fast they are bounded, solved, proved and checked, beside HiGHS in the same run.

    252 x 6      tensors of a model of 36 blocks with six types each, six budgets: a certified gap, the proved optimum,
                 the stand-alone check of the proof; HiGHS without a gap and at its defaults (1e-4), and how often the
                 choice that it then calls optimal is not
    10,000 x 8   the time until the proved gap is below 1e-6, with fine costs (any bytes) and coarse ones (few shapes)
    125,000 x 8  a million options: the time until a choice has a proved gap

Times are medians of the CPU time of this process, for the machine may be shared. `python -m benchmarks.menus` writes
results/menus.json.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import zetaplan as zp

RESULT = Path(__file__).parent / "results" / "menus.json"
SHAPES = np.array([4096, 1024, 1024, 4096, 9728, 9728, 9728]) * 2560.0
TYPES = np.array([2.0625, 3.0625, 4.25, 4.5, 5.5, 6.5625])  # bits per weight
BUDGETS = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0)  # bits per weight
HIGHS_SECONDS = 20.0


def seconds(run, rounds=1):
    """The median time of a call, and what it gave."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        answer = run()
        times.append(time.process_time() - started)
    return statistics.median(times), answer


def tensors(seed, bits_per_weight, blocks=36):
    """Losses that fall like 4^-b with noise, the lowest type twice as bad, as measured ones do."""
    rng = np.random.default_rng(seed)
    shapes = np.tile(SHAPES, blocks)
    gain = rng.lognormal(0.0, 1.0, shapes.size) * shapes / shapes.mean()
    losses = gain[:, np.newaxis] * 4.0**-TYPES * rng.lognormal(0.0, 0.2, (shapes.size, TYPES.size)) * [2, 1, 1, 1, 1, 1]
    budget = np.floor(shapes.sum() * bits_per_weight / 8.0)
    return zp.choice(losses, np.round(shapes[:, np.newaxis] * TYPES / 8.0), budget)


def fine(blocks, options):
    """Any costs up to a million, losses that fall with them."""
    rng = np.random.default_rng(0)
    costs = np.sort(rng.integers(1, 10**6, (blocks, options)), axis=1).astype(np.float64)
    losses = np.sort(rng.random((blocks, options)), axis=1)[:, ::-1].copy()
    return losses, costs, float(np.floor(costs.mean(axis=1).sum()))


def coarse(blocks, options):
    """Bytes of four shapes at bits from 2 to 8: the budget cannot be used up exactly."""
    rng = np.random.default_rng(0)
    shapes = rng.choice([1.0, 2.0, 4.0, 6.0], blocks) * 2.0**18
    bits = np.linspace(2.0, 8.0, options)
    gain = rng.lognormal(0.0, 1.0, blocks) * shapes / 2.0**18
    losses = gain[:, np.newaxis] * 4.0**-bits * rng.lognormal(0.0, 0.2, (blocks, options))
    return losses, np.round(shapes[:, np.newaxis] * bits / 8.0), float(np.floor(shapes.sum() * 4.2 / 8.0))


def model(seeds, rounds):
    """252 x 6, one row for each budget and seed."""
    rows = []
    for bits in BUDGETS:
        for seed in range(seeds):
            instance = tensors(seed, bits)
            zp.solve(instance)
            gap_time, first = seconds(lambda i=instance: zp.solve(i, states=0), rounds)
            time_, found = seconds(lambda i=instance: zp.solve(i), rounds)
            proof = zp.certify(instance, found)
            check_time, _ = seconds(lambda p=proof: zp.check_certificate(p.document), rounds)
            row = {
                "bits per weight": bits,
                "gap ms": 1e3 * gap_time,
                "gap": first.gap / first.objective,
                "optimum ms": 1e3 * time_,
                "proved": proof.optimal,
                "check ms": 1e3 * check_time,
                "proof bytes": len(json.dumps(proof.document["proof"])),
                "document bytes": len(json.dumps(proof.document)),
            }
            for name, relative in (("HiGHS", 0.0), ("HiGHS, defaults", 1e-4)):
                highs_time, highs = seconds(
                    lambda i=instance, r=relative: zp.solve(i, "milp", mip_rel_gap=r, time_limit=HIGHS_SECONDS)
                )
                row |= {
                    f"{name} ms": 1e3 * highs_time,
                    f"{name} times slower": highs_time / time_,
                    f"{name} excess": highs.objective / found.objective - 1.0,
                }
            rows.append(row)
    return {"summary": {key: summary([row[key] for row in rows]) for key in rows[0]}, "rows": rows}


def summary(values):
    if isinstance(values[0], bool):
        return f"{sum(values)} of {len(values)}"
    return {"median": statistics.median(values), "largest": max(values), "above 0": sum(v > 1e-12 for v in values)}


def large(make, blocks, options, rounds, limits):
    """Declaring, then solving under each limit."""
    data = make(blocks, options)
    declared, instance = seconds(lambda: zp.choice(*data), rounds)
    zp.solve(instance, states=0)
    results = {"declare ms": 1e3 * declared}
    for name, limit in limits.items():
        took, found = seconds(lambda limit=limit: zp.solve(instance, **limit), rounds)
        results[name] = {"ms": 1e3 * took, "gap": found.gap / abs(found.objective), "status": found.status.name}
    results["peak memory of the process so far, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return results


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "processor": next(line.split(": ")[1] for line in lines if line.startswith("model name")),
        "cores": os.cpu_count(),
        "load before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "numba", "scipy")},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    first, tight, whole = {"states": 0}, {"gap": 1e-6}, {}
    stages = {
        "machine": machine,
        "252 x 6": lambda: model(options.seeds, options.rounds),
        "10,000 x 8, fine costs": lambda: large(
            fine, 10_000, 8, options.rounds, {"first choice": first, "gap below 1e-6": tight, "optimum": whole}
        ),
        "10,000 x 8, coarse costs": lambda: large(
            coarse, 10_000, 8, 1, {"first choice": first, "gap below 1e-6": tight, "optimum": whole}
        ),
        "125,000 x 8": lambda: large(coarse, 125_000, 8, 3, {"first choice": first}),
    }
    results = {}
    for name, stage in stages.items():
        results[name] = stage()
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({name: part for name, part in results.items() if name != "252 x 6"}, indent=1))
    print(json.dumps(results["252 x 6"]["summary"], indent=1))


if __name__ == "__main__":
    main()
