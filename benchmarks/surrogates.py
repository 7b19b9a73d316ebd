"""Processor time and peak memory of surrogates beside a plain forward and backward pass, on SmolLM2 in one process.

Each run's peak of resident memory is taken over what lay there before (Linux with glibc: freed memory is given back
first, and the high-water mark reset through /proc/self/clear_refs). A matrix-free surrogate multiplies by H many times
per block: name it, and expect an hour.

    python -m benchmarks.surrogates --sequences 8 --length 64     writes benchmarks/results/surrogates.json
"""

import argparse
import ctypes
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import common
from benchmarks.agreement import ONE_PASS
from benchmarks.scoring import plain_pass
from zetaplan.errors import ScoringError
from zetaplan.scoring import curvature_names, load_model, read_sequences, score_each

RESULT = common.result("surrogates")


def resident(field: str) -> int:
    """Bytes by /proc/self/status: VmRSS now, VmHWM at most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def cost(run: Callable[[], object]) -> dict[str, float | str]:
    """Seconds of processor time, and bytes at most beyond what was resident before; or why there is no score."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before, started = resident("VmRSS"), time.process_time()
    try:
        run()
    except ScoringError as error:  # the Hessian of a random or early model may need more damping
        return {"refused": str(error)}
    return {"seconds": time.process_time() - started, "bytes": resident("VmHWM") - before}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="smollm2")
    arguments.add_argument("--sequences", type=int, default=8)
    arguments.add_argument("--length", type=int, default=64)
    arguments.add_argument("--surrogates", nargs="*", choices=curvature_names(), default=list(ONE_PASS))
    asked = arguments.parse_args()
    loaded = load_model(asked.model, dtype="float32")
    text = read_sequences("pydoc", loaded.tokenizer, sequences=asked.sequences, length=asked.length)

    plain_pass(loaded, text)
    runs: dict[str, Callable[[], object]] = {"plain forward and backward": lambda: plain_pass(loaded, text)}
    for name in asked.surrogates:
        runs[name] = lambda name=name: score_each(loaded, text, curvatures=[name])
    pair = ["block-fisher", "diagonal-fisher"]
    runs["block-fisher and diagonal-fisher"] = lambda: score_each(loaded, text, curvatures=pair)
    load, costs = os.getloadavg()[0], {name: cost(run) for name, run in runs.items()}
    plain = float(costs["plain forward and backward"]["seconds"])
    result = {
        "model": loaded.name,
        "data": text.description,
        "torch": version("torch"),
        "threads": torch.get_num_threads(),
        "load": load,
        "cost": costs,
        "times_plain": {name: float(c["seconds"]) / plain for name, c in costs.items() if "seconds" in c},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
