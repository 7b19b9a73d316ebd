"""Audit of the choice solver on the classical hard families: `python -m benchmarks.menus_audit --instances 100000`.

Every answer is compared with exact truth, every proof goes through the stand-alone checker, and for every instance the
proof is forged for a worse choice. HiGHS (at its defaults and without a gap), greedy and the rounded relaxation are
asked on every n-th instance. Runs in parts: what is in the result file already is not run again.
Writes results/menus_audit.json.
"""

import argparse
import json
import multiprocessing
import platform
import time
from dataclasses import asdict
from pathlib import Path

import highspy
import scipy

from zetaplan.verification.audit.menu_families import plant_choice
from zetaplan.verification.audit.menus import ChoiceAudit, ChoiceTally, audit_choice

RESULT = Path(__file__).parent / "results" / "menus_audit.json"
CHUNK = 500


def chunk(task):
    seed, start, end, every = task
    audit = ChoiceAudit()
    for index in range(start, end):
        audit_choice(audit, plant_choice(seed, index), index, references=index % every == 0)
    return asdict(audit)


def add(total, part):
    """Counts add up; errors are maxima."""
    for contestant, families in part["tallies"].items():
        for family, tally in families.items():
            mine = total["tallies"].setdefault(contestant, {}).setdefault(family, asdict(ChoiceTally()))
            for key, value in tally.items():
                mine[key] = max(mine[key], value) if key == "error" else mine[key] + value
    for name in ("truths", "counts"):
        for key, value in part[name].items():
            total[name][key] = total[name].get(key, 0) + value
    total["failures"] += part["failures"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--every", type=int, default=25, help="the references are asked on every n-th instance")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this time; run again to go on")
    options = parser.parse_args()
    settings = {"seed": options.seed, "every": options.every}
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if result.get("settings") != settings:
        result = {"settings": settings, "instances": 0, "tallies": {}, "truths": {}, "counts": {}, "failures": []}
    tasks = [
        (options.seed, start, min(start + CHUNK, options.instances), options.every)
        for start in range(result["instances"], options.instances, CHUNK)
    ]
    deadline = time.monotonic() + 60.0 * options.minutes
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for (_, _, end, _), part in zip(tasks, pool.imap(chunk, tasks), strict=True):
            add(result, part)
            result["instances"] = end
            if time.monotonic() > deadline:
                pool.terminate()
                break
    result["versions"] = {
        "python": platform.python_version(),
        "scipy": scipy.__version__,
        "highspy": getattr(highspy, "__version__", "as in scipy"),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(result["instances"], result["truths"], result["counts"], result["failures"][:5])


if __name__ == "__main__":
    main()
