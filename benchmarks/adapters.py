"""LoRA at equal budgets: ranks by zeta^2, ranks that AdaLoRA and EVA choose, and adapters in half of the layers.

The passages, windows, losses and intervals are those of `benchmarks.capacity`; training is longer. Every kind of
adapter takes the step size that is best for it on the passage for tuning.

    python -m benchmarks.adapters --text alice.txt

One JSON file per run, found again by what it depends on. `--write` makes benchmarks/results/adapters.json of them.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import AdaLoraConfig, EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
from torch import nn

from benchmarks import common
from benchmarks.capacity import (
    BATCH,
    FORMS,
    Bench,
    adapted,
    compared,
    evaluated,
    losses,
    read_bench,
    scores,
    setting_of,
    trainable,
    uniform,
    windows,
    zeta,
)
from benchmarks.pruning import kept
from zetaplan.scoring.peers.rounding import Counts

FORM = FORMS["LoRA rank"]
STEPS, RATES, TUNING_SEED = 100, (1e-3, 3e-3, 9e-3), 100

#: Steps between two readings of the loss on the passage for tuning.
EVERY = 25

#: Scale alpha / r of every adapter, as exported plans have it.
SCALE = 2.0

#: AdaLoRA begins with so many times the rank; it cuts from the first share of the steps to the second.
SURPLUS, CUT = 1.5, (0.1, 0.6)

Keep = Callable[[object, Callable[[], dict[str, object]]], dict[str, object] | None]
Builder = Callable[[Bench, int], Any]


def half(bench: Bench, importance: np.ndarray) -> Counts:
    """Twice the mean rank in the more important half of the layers, no adapter in the others."""
    counts = np.zeros(bench.layers, int)
    counts[np.argsort(-importance)[: bench.layers // 2]] = 2 * FORM.mean
    return counts


def drawn(bench: Bench, seed: int) -> Counts:
    """Half of the layers at random, another half for every seed (as LISA draws layers, arXiv 2403.17919)."""
    return half(bench, np.random.default_rng(seed).random(bench.layers))


def of_ranks(counts: Callable[[Bench, int], Counts]) -> Builder:
    """The adapter with these ranks."""
    return lambda bench, seed: adapted(bench, FORM, counts(bench, seed).tolist(), seed, bench.loaded.model)


def by_gain(surrogate: str) -> Builder:
    """Adapters in the half of the layers with the largest gains; of "gradient", the norm of the gradient."""
    return of_ranks(lambda bench, seed: half(bench, np.asarray(scores(bench)[surrogate].gain)))


def own(bench: Bench, seed: int, config: LoraConfig) -> Any:
    network = copy.deepcopy(bench.loaded.model).to(torch.bfloat16)
    torch.manual_seed(seed)
    model = get_peft_model(network, config)
    for parameter in trainable(model):
        parameter.data = parameter.data.float()
    return model


def linears(model: nn.Module) -> list[str]:
    """The names of the linears of a decoder layer."""
    return sorted({name.rpartition(".")[2] for name, part in model.named_modules() if _inside(name, part)})


def _inside(name: str, part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) and ".layers." in name


def adalora(bench: Bench, seed: int) -> Any:
    first, last = (round(share * STEPS) for share in CUT)
    config = AdaLoraConfig(
        init_r=round(SURPLUS * FORM.mean),
        target_r=FORM.mean,
        lora_alpha=round(SCALE * FORM.mean),
        target_modules=linears(bench.loaded.model),
        tinit=first,
        tfinal=STEPS - last,
        total_step=STEPS,
        task_type="CAUSAL_LM",
    )
    return own(bench, seed, config)


def eva(bench: Bench, seed: int, most: float = 2.0) -> Any:
    """Starting values by the explained variance of the inputs of the windows that are scored, and ranks by it.

    most : the largest rank as a multiple of the mean; with 1 all ranks are equal.
    """
    config = LoraConfig(
        r=FORM.mean,
        lora_alpha=round(SCALE * FORM.mean),
        target_modules=linears(bench.loaded.model),
        init_lora_weights="eva",
        eva_config=EvaConfig(rho=most),
        task_type="CAUSAL_LM",
    )
    model = own(bench, seed, config)
    rows = bench.scored.input_ids.split(BATCH)
    data = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in rows]
    initialize_lora_eva_weights(model, data, show_progress_bar=False)
    for parameter in trainable(model):
        parameter.data = parameter.data.float()
    return model


#: By the name of the row: the kind of adapter, which has a step size of its own, and what makes it.
ROWS: Mapping[str, tuple[str, Builder]] = {
    "uniform": ("LoRA", of_ranks(lambda bench, seed: uniform(bench, FORM))),
    "zeta2 block-fisher": ("LoRA", of_ranks(lambda bench, seed: zeta(bench, FORM))),
    "AdaLoRA": ("AdaLoRA", adalora),
    "EVA": ("EVA", eva),
    "EVA, equal ranks": ("EVA", partial(eva, most=1.0)),
    "half of the layers, by gradient norm": ("LoRA", by_gain("gradient")),
    "half of the layers, by zeta2": ("LoRA", by_gain("block-fisher")),
    "half of the layers, at random": ("LoRA", of_ranks(drawn)),
}

#: The row with which a kind of adapter finds its step size.
TUNED_WITH = {"LoRA": "uniform", "AdaLoRA": "AdaLoRA", "EVA": "EVA"}


def trained(bench: Bench, row: str, seed: int, rate: float) -> dict[str, object]:
    """The losses of a run, nats per token: of every step, on the passage for tuning on the way, and reported."""
    model = ROWS[row][1](bench, seed)
    optimizer = torch.optim.AdamW(trainable(model), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    training, tuning = [], []
    for step, chosen in enumerate(_batches(len(bench.train), seed)):
        loss = losses(model, windows(bench.train.input_ids[chosen], "train")).mean()
        optimizer.zero_grad()
        (loss + _penalty(model)).backward()
        optimizer.step()
        schedule.step()
        if hasattr(model.base_model, "update_and_allocate"):
            model.base_model.update_and_allocate(step)
        training.append(float(loss.detach()))
        if (step + 1) % EVERY == 0:
            tuning.append(float(np.mean(evaluated(model, bench.tune))))
    return {
        "training": training,
        "tuning": tuning,
        "loss": evaluated(model, bench.report),
        "parameters": _remaining(model),
    }


def _batches(count: int, seed: int) -> list[torch.Tensor]:
    """Epochs in new orders, so many steps of them."""
    generator = torch.Generator().manual_seed(seed)
    epochs = -(-STEPS * BATCH // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(epochs)])
    return list(order[: STEPS * BATCH].split(BATCH))


def _penalty(model: Any) -> torch.Tensor | float:
    """AdaLoRA's distance of its factors from orthogonal ones, as PEFT adds it to the loss of a model."""
    config = model.peft_config["default"]
    if not isinstance(config, AdaLoraConfig):
        return 0.0
    factors = [p if "lora_A" in n else p.T for n, p in model.named_parameters() if "lora_A" in n or "lora_B" in n]
    distances = [torch.linalg.matrix_norm(f @ f.T - torch.eye(len(f))) for f in factors]
    return config.orth_reg_weight * torch.stack(distances).mean()


def _remaining(model: Any) -> int:
    """Trainable parameters; of AdaLoRA those of the ranks that remain."""
    parts = [part for part in model.modules() if hasattr(part, "lora_E")]
    if not parts:
        return sum(parameter.numel() for parameter in trainable(model))
    return sum(
        int((part.lora_E["default"] != 0).sum()) * (part.lora_A["default"].shape[1] + part.lora_B["default"].shape[0])
        for part in parts
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=Path, default=Path("build/adapter-cells"), help="where runs are kept")
    parser.add_argument("--write", action="store_true", help="compute nothing, write the result from the runs")
    options = parser.parse_args()

    bench = read_bench(options.model, options.text)
    setting = setting_of(bench, STEPS)
    keep = partial(kept, options.cells, compute=not options.write)
    kinds = dict.fromkeys(ROWS[row][0] for row in options.rows)
    rates = {kind: step_size(bench, kind, keep, setting) for kind in kinds}
    runs: dict[str, list[dict[str, Any]]] = {row: [] for row in options.rows}
    for seed, row in product(range(options.seeds), options.rows):
        rate = min(rates[ROWS[row][0]], key=rates[ROWS[row][0]].__getitem__)
        if found := keep(["run", row, seed, rate, setting], partial(trained, bench, row, seed, rate)):
            runs[row].append(found)
            print(f"{row:40s} {rate:g} seed {seed} {np.mean(found['loss']):.4f} {found['tuning']}", flush=True)
    if options.write:
        common.save("adapters", result(bench, options, rates, runs))


def step_size(bench: Bench, kind: str, keep: Keep, setting: Mapping[str, object]) -> dict[float, float]:
    """The last loss on the passage for tuning, by step size."""
    row, found = TUNED_WITH[kind], dict[float, float]()
    for rate in RATES:
        if run := keep(["tune", row, rate, setting], partial(trained, bench, row, TUNING_SEED, rate)):
            found[rate] = round(run["tuning"][-1], 4)  # type: ignore[index]
    print(kind, found, flush=True)
    return found


def result(
    bench: Bench, options: argparse.Namespace, rates: Mapping[str, Mapping[float, float]], runs: Mapping[str, Any]
) -> dict[str, object]:
    whole = {row: found for row, found in runs.items() if len(found) == options.seeds}
    base = [run["loss"] for run in whole["uniform"]]
    return {
        "model": bench.loaded.name,
        "model_sha256": bench.loaded.sha256,
        "text": options.text.name,
        "steps": STEPS,
        "batch": BATCH,
        "seeds": options.seeds,
        "machine": common.processor(),
        "torch": version("torch"),
        "loss_by_step_size": rates,
        "rows": {
            row: {
                "parameters": [run["parameters"] for run in found],
                "loss": round(float(np.mean([run["loss"] for run in found])), 4),
                "tuning": np.mean([run["tuning"] for run in found], 0).round(4).tolist(),
                "minutes": round(float(np.mean([run["seconds"] for run in found])) / 60, 1),
                "over_uniform": None if row == "uniform" else compared([run["loss"] for run in found], base),
            }
            for row, found in whole.items()
        },
    }


if __name__ == "__main__":
    main()
