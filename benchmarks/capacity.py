"""What a layer-wise capacity is worth: SmolLM2 fine-tuned with LoRA ranks, and with LoRA experts, set by every method.

One text is cut into three passages that do not touch: the model is fine-tuned on the first, where the layers are scored
too, the step size is chosen on the second with the uniform plan alone, the loss is reported on the third, in windows
that are spread over it. All methods hand out the same total of ranks, or of experts, over layers of one shape, so that
the parameters to be trained are equal to the unit, routers included. A seed draws the adapter's start and the order of
the training windows; every method gets the same seeds, and its loss is compared with uniform seed by seed and window
by window. The base is bfloat16 and frozen; the adapter, AdamW and the loss are float32, under autocast.

    python -m benchmarks.capacity --text alice.txt

One JSON file per cell, written when it is done and found again by the content it depends on. With --write the cells
become benchmarks/results/capacity.json, beside the forms that were not asked for; the tables of docs/experiments.md
read it, and its figure is drawn from it.
"""

import argparse
import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import zetaplan as zp
from benchmarks import common
from benchmarks.agreement import by_layer, layerif
from benchmarks.pruning import kept
from zetaplan._interval import mean_interval
from zetaplan.evaluate.perplexity import read_tokens
from zetaplan.plans.plan import Plan
from zetaplan.scoring import LoadedModel, Scores, Sequences, load_model, score_each
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.peers.alphalora import alphalora_experts
from zetaplan.scoring.peers.htsr import htsr_alpha
from zetaplan.scoring.peers.layerif import layerif_experts
from zetaplan.scoring.peers.mola import mola_experts
from zetaplan.scoring.peers.rounding import Counts, nearest_repaired, shares
from zetaplan.scoring.text.sequences import digest

RESULT = common.result("capacity")
DOCS = Path(__file__).parents[1] / "docs"
FIGURE = DOCS / "experiments-capacity.svg"

LENGTH = 64  # tokens of a window
PASSAGES = {"train": (0.01, 0.55), "tune": (0.57, 0.62), "report": (0.64, 0.88)}  # shares of the text's tokens
SCORED, TUNED, REPORTED = 32, 32, 64  # windows
STEPS, BATCH = 20, 4
RATES, TUNING_SEED = (2e-3, 4e-3, 8e-3), 100
ENDS = (slice(0, STEPS // 4), slice(-(STEPS // 4), None))  # the first and the last quarter of the steps
SURROGATES = ("gradient", "block-fisher")

Keep = Callable[[object, Callable[[], dict[str, object]]], dict[str, object] | None]


@dataclass(frozen=True)
class Form:
    """What is handed out: on average `mean` per layer, LoRA ranks, or experts of `expert_rank`."""

    mean: int
    expert_rank: int | None = None


FORMS = {"LoRA rank": Form(4), "LoRA experts": Form(3, 2)}


@dataclass(frozen=True, eq=False)
class Bench:
    """The model and its passages, windows of T tokens."""

    loaded: LoadedModel
    train: Sequences
    tune: Sequences
    report: Sequences

    @property
    def scored(self) -> Sequences:
        return spread(self.train, SCORED)

    @property
    def layers(self) -> int:
        return self.loaded.model.config.num_hidden_layers

    def total(self, form: Form) -> int:
        return form.mean * self.layers


def windows(rows: Tensor, name: str) -> Sequences:
    """Full windows, (N, T) ids, as sequences."""
    batch = {"input_ids": rows, "attention_mask": torch.ones_like(rows), "labels": rows}
    return Sequences(**batch, sha256=digest([batch]), sources=(name,), description=f"{len(rows)} windows of {name}")


def spread(text: Sequences, count: int) -> Sequences:
    """`count` of its windows, evenly spread."""
    return windows(text.input_ids[torch.arange(count) * len(text) // count], text.sources[0])


def cut(ids: Tensor, start: float, stop: float, name: str) -> Sequences:
    """The windows between two shares of a text."""
    passage = ids[int(start * len(ids)) : int(stop * len(ids))]
    return windows(passage[: len(passage) // LENGTH * LENGTH].view(-1, LENGTH), name)


@cache
def scores(bench: Bench) -> Mapping[str, Scores]:
    return score_each(bench.loaded, bench.scored, curvatures=SURROGATES)


@cache
def exponents(bench: Bench) -> list[float]:
    return by_layer(bench.loaded.model, htsr_alpha)


@cache
def influences(bench: Bench) -> list[float]:
    return [-score for score in layerif(bench.loaded.model, bench.scored)]


def uniform(bench: Bench, form: Form) -> Counts:
    return np.full(bench.layers, form.mean)


def depth(bench: Bench, form: Form) -> Counts:
    """MoLA's 2, 4, 6, 8 by quarter of the depth, scaled to the total."""
    total = bench.total(form)
    return nearest_repaired(shares(mola_experts(bench.layers), total), total)


def alphalora(bench: Bench, form: Form) -> Counts:
    return alphalora_experts(exponents(bench), bench.total(form))


def influence(bench: Bench, form: Form) -> Counts:
    """LayerIF: even windows train, odd ones validate."""
    return layerif_experts(influences(bench), bench.total(form))


def zeta(bench: Bench, form: Form, surrogate: str = "block-fisher", **options: object) -> Counts:
    return allocated(bench, form, surrogate, **options).rounded.units


def allocated(bench: Bench, form: Form, surrogate: str = "gradient", **options: object) -> Plan:
    return zp.allocate(scores(bench)[surrogate], mean_rank=form.mean, expert_rank=form.expert_rank, **options)


def costs(bench: Bench, form: Form) -> np.ndarray:
    """Parameters of one rank, or of one expert, layer by layer."""
    return allocated(bench, form).instance.resource


METHODS: dict[str, Callable[[Bench, Form], Counts]] = {
    "uniform": uniform,
    "depth": depth,
    "alphalora": alphalora,
    "layerif": influence,
    "gradient norm": partial(zeta, surrogate="gradient"),
    "zeta2 block-fisher": zeta,
    "zeta2 block-fisher, unbiased": partial(zeta, gain="unbiased"),
}


def adapted(bench: Bench, form: Form, counts: Iterable[int], seed: int, base: nn.Module) -> nn.Module:
    """The base with the adapter that has these ranks or experts, layer by layer."""
    scored = scores(bench)["gradient"]
    settled = dict(zip(scored.names, counts, strict=True))
    budget = float(costs(bench, form) @ list(settled.values()))
    plan = zp.allocate(scored, budget=budget, expert_rank=form.expert_rank, pins=settled)
    network = copy.deepcopy(base).to(torch.bfloat16)
    torch.manual_seed(seed)
    model = zp.mixture(network, plan, seed=seed) if form.expert_rank else zp.adapter(network, plan)
    for parameter in trainable(model):
        parameter.data = parameter.data.float()
    return model


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def fine_tuned(
    bench: Bench,
    form: Form,
    counts: Iterable[int],
    seed: int,
    rate: float,
    reported: Sequences,
    base: nn.Module | None = None,
) -> dict[str, object]:
    """The loss of every training step, and of every window that is reported, after AdamW with a linear decay.

    base : what is fine-tuned, if not the model that was scored.
    """
    model = adapted(bench, form, counts, seed, base or bench.loaded.model)
    optimizer = torch.optim.AdamW(trainable(model), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    order = torch.randperm(len(bench.train), generator=torch.Generator().manual_seed(seed))
    training = []
    for chosen in order[: STEPS * BATCH].split(BATCH):
        loss = losses(model, windows(bench.train.input_ids[chosen], "train")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        training.append(float(loss.detach()))
    parameters = sum(parameter.numel() for parameter in trainable(model))
    return {"training": training, "loss": evaluated(model, reported), "parameters": parameters}


def losses(model: nn.Module, text: Sequences) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return sequence_losses(model, text.batch)


@torch.inference_mode()
def evaluated(model: nn.Module, text: Sequences) -> list[float]:
    """Nats per token, window by window."""
    parts = [windows(rows, "report") for rows in text.input_ids.split(16)]
    return torch.cat([losses(model, part) for part in parts]).tolist()


def compared(losses: Sequence[Sequence[float]], uniform: Sequence[Sequence[float]]) -> dict[str, object]:
    """Paired differences to uniform in nats per token, seeds x windows.

    The interval over seeds takes the mean over windows of each seed: what other starts and orders would give. That over
    windows takes the mean over seeds of each window: what other passages would give.
    """
    difference = np.subtract(losses, uniform)
    found = {"over_seeds": mean_interval(difference.mean(1)), "over_windows": mean_interval(difference.mean(0))}
    ends = {name: [round(interval.low, 5), round(interval.high, 5)] for name, interval in found.items()}
    return {"mean": round(float(difference.mean()), 5), "seeds": difference.mean(1).round(5).tolist(), **ends}


def summary(
    rows: Mapping[str, Sequence[Mapping[str, object]]], plans: Mapping[str, list[int]], seeds: int
) -> dict[str, object]:
    """By method with a run for every seed: counts, parameters, loss, and what it is over uniform."""
    losses = {method: [run["loss"] for run in runs] for method, runs in rows.items() if len(runs) == seeds}
    short = {}
    for method, found in losses.items():
        ends = [[run["training"][part] for run in rows[method]] for part in ENDS]
        short[method] = {
            "counts": plans[method],
            "parameters": rows[method][0]["parameters"],
            "loss": round(float(np.mean(found)), 4),
            "training": [round(float(np.mean(end)), 3) for end in ends],
            "training_peaks": [round(max(run["training"][1:]), 2) for run in rows[method]],
        }
        if method != "uniform":
            short[method]["over_uniform"] = compared(found, losses["uniform"])
    return short


def draw(cells: Mapping[str, Mapping[str, Mapping[str, object]]], path: Path) -> None:
    """What is over uniform: the interval over windows, and every seed; to the left of the line is better."""
    pyplot = common.styled_pyplot()
    figure, axes = pyplot.subplots(len(cells), 1, figsize=(5.6, 2.4 * len(cells)), squeeze=False)
    for axis, (title, rows) in zip(axes[:, 0], cells.items(), strict=True):
        gaps = {method: rows[method]["over_uniform"] for method in METHODS if "over_uniform" in rows.get(method, {})}
        places = np.arange(len(gaps))
        colours = common.row_colours(gaps)
        axis.hlines(places, *np.transpose([gap["over_windows"] for gap in gaps.values()]), colors=colours, linewidth=2)
        axis.scatter([gap["mean"] for gap in gaps.values()], places, c=colours, zorder=3)
        seeds = np.array([gap["seeds"] for gap in gaps.values()])
        (seed,) = axis.plot(seeds.ravel(), places.repeat(seeds.shape[1]), "|", color="#76818e", markersize=11)
        axis.axvline(0, color="#76818e", linewidth=1)
        axis.set(title=title, yticks=places, yticklabels=gaps)
        axis.invert_yaxis()
    figure.supxlabel("loss over uniform, nats per token; left of 0 is better", fontsize="medium")
    common.colour_key(figure, handles=[seed], labels=["one seed"])
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def read_bench(model: str, text: Path) -> Bench:
    loaded = load_model(model)
    ids = read_tokens(text, loaded.tokenizer)
    parts = {name: cut(ids, *ends, name) for name, ends in PASSAGES.items()}
    return Bench(loaded, parts["train"], spread(parts["tune"], TUNED), spread(parts["report"], REPORTED))


def setting_of(bench: Bench, steps: int) -> dict[str, object]:
    """What every run of so many steps depends on."""
    texts = {name: getattr(bench, name).sha256 for name in ("scored", "train", "tune", "report")}
    return {"model": bench.loaded.sha256, **texts, "torch": version("torch"), "steps": steps, "batch": BATCH}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", type=Path, required=True, help="the text to fine-tune on, and to report on")
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--times", nargs="+", type=float, default=[1, 0.5], help="the best step size of uniform")
    parser.add_argument("--cells", type=Path, default=Path("build/capacity-cells"), help="where cells are kept")
    parser.add_argument("--write", action="store_true", help="compute nothing, write the result from the cells")
    options = parser.parse_args()

    bench = read_bench(options.model, options.text)
    setting = setting_of(bench, STEPS)
    keep = partial(kept, options.cells, compute=not options.write)
    untrained = keep(["untrained", setting], lambda: {"loss": evaluated(bench.loaded.model, bench.report)})
    tuned, cells = {}, {}
    for name in options.forms:
        form = FORMS[name]
        plans = planned(bench, form, options.methods, keep, setting)
        tuned[name] = step_sizes(bench, form, keep, setting)
        print(f"{name}: uniform on the passage for tuning {tuned[name]}", flush=True)
        for times in options.times:
            rate = times * min(tuned[name], key=tuned[name].get)
            rows = {method: [] for method in plans}
            for seed, (method, counts) in product(range(options.seeds), plans.items()):
                make = partial(fine_tuned, bench, form, counts, seed, rate, bench.report)
                if found := keep(["run", asdict(form), counts, seed, rate, setting], make):
                    rows[method].append(found)
                    print(f"{name} {rate:g} seed {seed} {method:30s} {np.mean(found['loss']):.4f}", flush=True)
            cells[f"{name}, step size {rate:g}"] = summary(rows, plans, options.seeds)
    if options.write:
        write_result(bench, options, untrained, tuned, {name: rows for name, rows in cells.items() if rows})


def planned(
    bench: Bench, form: Form, methods: Iterable[str], keep: Keep, setting: Mapping[str, object]
) -> dict[str, list[int]]:
    found = {
        method: keep(
            ["plan", asdict(form), method, setting],
            lambda method=method: {"counts": METHODS[method](bench, form).tolist()},
        )
        for method in methods
    }
    return {method: plan["counts"] for method, plan in found.items() if plan}


def step_sizes(bench: Bench, form: Form, keep: Keep, setting: Mapping[str, object]) -> dict[float, float]:
    """The loss of the uniform plan on the passage for tuning, by step size."""
    counts = uniform(bench, form).tolist()
    found = {}
    for rate in RATES:
        make = partial(fine_tuned, bench, form, counts, TUNING_SEED, rate, bench.tune)
        found[rate] = keep(["tune", asdict(form), counts, TUNING_SEED, rate, setting], make)
    return {rate: round(float(np.mean(run["loss"])), 4) for rate, run in found.items() if run}


def write_result(
    bench: Bench,
    options: argparse.Namespace,
    untrained: Mapping[str, object],
    tuned: Mapping[str, Mapping[float, float]],
    cells: Mapping[str, Mapping[str, object]],
) -> None:
    result = {
        "model": bench.loaded.name,
        "model_sha256": bench.loaded.sha256,
        "text": options.text.name,
        "passages": {name: list(ends) for name, ends in PASSAGES.items()},
        "windows": {"trained on": STEPS * BATCH, "scored": SCORED, "tuned on": TUNED, "reported": REPORTED},
        "length": LENGTH,
        "steps": STEPS,
        "batch": BATCH,
        "seeds": options.seeds,
        "machine": common.processor(),
        "torch": version("torch"),
        "forms": {name: asdict(FORMS[name]) for name in options.forms},
        "loss_untrained": round(float(np.mean(untrained["loss"])), 4),
        "loss_by_step_size": tuned,
        "cells": cells,
    }
    result = beside(json.loads(RESULT.read_text()), result) if RESULT.is_file() else result
    common.save("capacity", result)
    draw(result["cells"], FIGURE)


def beside(before: Mapping[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The result, with the forms that only an earlier one has, of the same model, text and training."""
    if any(before[key] != result[key] for key in ("model_sha256", "text", "passages", "windows", "steps", "batch")):
        return result
    others = {
        "forms": {name: form for name, form in before["forms"].items() if name not in result["forms"]},
        "loss_by_step_size": {n: of for n, of in before["loss_by_step_size"].items() if n not in result["forms"]},
        "cells": {n: rows for n, rows in before["cells"].items() if n.partition(",")[0] not in result["forms"]},
    }
    return result | {key: result[key] | other for key, other in others.items()}


if __name__ == "__main__":
    main()
