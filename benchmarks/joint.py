"""Pruning and capacity from one budget: SmolLM2 pruned, then fine-tuned with LoRA, with as many parameters in the end.

The passages, windows, seeds and training of `benchmarks.capacity`; weights are removed by Wanda, calibrated on windows
of the passage that is trained on. Every method ends with the same count of parameters, to the unit: half the linear
weights and 4 ranks a layer. Two programs in a row have the split between removing and adding fixed; the joint program
chooses it. On the second passage are chosen its strength eta of the penalty, and the step size of every method.

    python -m benchmarks.joint --text alice.txt     goes on where it was stopped; writes benchmarks/results/joint.json
"""

import argparse
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn

import zetaplan as zp
from benchmarks import common
from benchmarks.capacity import (
    FORMS,
    RATES,
    TUNING_SEED,
    Bench,
    compared,
    costs,
    evaluated,
    fine_tuned,
    read_bench,
    scores,
    spread,
)
from benchmarks.pruning import kept
from zetaplan.models.apply import prune_blocks
from zetaplan.scoring import Sequences
from zetaplan.scoring.model.blocks import layer_blocks
from zetaplan.scoring.peers.rounding import largest_fractions

RESULT = common.result("joint")
FORM = FORMS["LoRA rank"]
SPARSITY, CAP, KAPPA = 0.5, 0.8, 0.25
CALIBRATED = 16  # windows
STRENGTHS = (1.0, 2.0, 4.0, 8.0)  # eta, where gamma = 1


@dataclass(frozen=True)
class Division:
    """Ranks added and weights removed, layer by layer."""

    ranks: tuple[int, ...]
    removed: tuple[int, ...]


def sizes(bench: Bench) -> np.ndarray:
    return np.array([block.linear_parameters for block in layer_blocks(bench.loaded.model)])


def growth(bench: Bench) -> int:
    """By how many parameters every model is larger, or smaller, in the end."""
    return int(costs(bench, FORM).sum()) * FORM.mean - int(SPARSITY * sizes(bench).sum())


def division(bench: Bench, ranks: np.ndarray, rho: np.ndarray) -> Division:
    """Whole ranks of the same rounded total, and counts that then meet the budget exactly."""
    ranks = largest_fractions(ranks, round(float(ranks.sum())))
    total = int(costs(bench, FORM) @ ranks) - growth(bench)
    share = rho * sizes(bench)
    removed = largest_fractions(share * total / share.sum(), total)
    return Division(tuple(ranks.tolist()), tuple(removed.tolist()))


def uniform(bench: Bench) -> Division:
    layers = np.ones(bench.layers)
    return division(bench, FORM.mean * layers, SPARSITY * layers)


def in_a_row(bench: Bench) -> Division:
    """Pruning with kappa 1/4, then ranks."""
    gain = scores(bench)["block-fisher"].gain
    rho = zp.solve(zp.pruning(gain, sizes(bench), sparsity=SPARSITY, kappa=KAPPA, upper=CAP)).x
    return division(
        bench, zp.solve(zp.allocation(gain, costs(bench, FORM), FORM.mean * costs(bench, FORM).sum())).x, rho
    )


def jointly(bench: Bench, eta: float) -> Division:
    gain = scores(bench)["block-fisher"].gain
    instance = zp.joint(
        gain, costs(bench, FORM), sizes(bench), growth(bench), kappa=KAPPA, eta=eta, upper=(np.inf, CAP)
    )
    return division(bench, *zp.solve(instance).x)


METHODS: dict[str, Callable[[Bench], Division]] = {
    "uniform": uniform,
    "two programs in a row": in_a_row,
    **{f"joint, eta {eta:g}": partial(jointly, eta=eta) for eta in STRENGTHS},
}


@cache
def pruned(bench: Bench, plan: Division) -> nn.Module:
    model = copy.deepcopy(bench.loaded.model).to(torch.bfloat16)
    counts = dict(zip((block.name for block in layer_blocks(model)), plan.removed, strict=True))
    prune_blocks(model, "layers", counts, "wanda", spread(bench.train, CALIBRATED))
    return model


def run(bench: Bench, plan: Division, seed: int, rate: float, reported: Sequences) -> dict[str, object]:
    base = pruned(bench, plan)
    before = {"before": float(np.mean(evaluated(base, reported)))}
    return before | fine_tuned(bench, FORM, plan.ranks, seed, rate, reported, base)


def described(bench: Bench, plan: Division) -> dict[str, object]:
    return {
        "ranks": plan.ranks,
        "removed": plan.removed,
        "mean_rank": round(float(np.mean(plan.ranks)), 3),
        "sparsity": round(sum(plan.removed) / int(sizes(bench).sum()), 5),
        "growth": int(costs(bench, FORM) @ plan.ranks) - sum(plan.removed),
    }


def summary(runs: Mapping[str, list[Mapping[str, object]]]) -> dict[str, object]:
    losses = {name: [found["loss"] for found in rows] for name, rows in runs.items()}
    return {
        name: {
            "before": round(float(np.mean([found["before"] for found in runs[name]])), 4),
            "loss": round(float(np.mean(of)), 4),
            "over_uniform": compared(of, losses["uniform"]),
        }
        for name, of in losses.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", type=Path, required=True, help="the text to fine-tune on, and to report on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=Path, default=Path("build/joint-cells"), help="where cells are kept")
    options = parser.parse_args()

    bench = read_bench(options.model, options.text)
    plans = {name: method(bench) for name, method in METHODS.items()}
    setting = [bench.loaded.sha256, bench.train.sha256, bench.tune.sha256, bench.report.sha256, version("torch")]

    def cell(name: str, seed: int, rate: float, text: str) -> dict[str, object]:
        plan, reported = plans[name], getattr(bench, text)
        key = [plan.ranks, plan.removed, seed, rate, text, setting]
        found = kept(options.cells, key, partial(run, bench, plan, seed, rate, reported))
        print(f"{text} {rate:g} seed {seed} {name:24s} {np.mean(found['loss']):.4f}", flush=True)
        return found

    def tuned(name: str, rate: float) -> float:
        return round(float(np.mean(cell(name, TUNING_SEED, rate, "tune")["loss"])), 4)

    tuning = {name: {rate: tuned(name, rate) for rate in RATES} for name in METHODS}
    joint = min((name for name in METHODS if name.startswith("joint")), key=lambda name: min(tuning[name].values()))
    names = ["uniform", "two programs in a row", joint]
    runs = {name: [] for name in names}
    for seed, name in product(range(options.seeds), names):
        runs[name].append(cell(name, seed, min(RATES, key=tuning[name].get), "report"))
    result = {
        "command": "python -m benchmarks.joint",
        "model": bench.loaded.name,
        "model_sha256": bench.loaded.sha256,
        "text": options.text.name,
        "machine": common.processor(),
        "torch": version("torch"),
        "seeds": options.seeds,
        "loss_by_step_size": tuning,
        "plans": {name: described(bench, plan) for name, plan in plans.items()},
        "methods": summary(runs),
    }
    common.save("joint", result)


if __name__ == "__main__":
    main()
