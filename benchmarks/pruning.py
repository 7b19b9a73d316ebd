"""What a layer-wise ratio is worth: SmolLM2 at 50 % sparsity, every ratio with every method of removing weights.

The layers are scored, and the methods calibrated, on one text; perplexity is reported on another, in windows of 256
tokens that are spread over it, and zero-shot accuracy on multiple choice. The loss curves of the layers are measured on
a third text; every exponent kappa that was tried is reported. Differences are paired, window by window, to the uniform
ratio of the same method. The score and the plan are float32 and float64; pruning and evaluation run in bfloat16.

    python -m benchmarks.pruning --score alice.txt --tune pydoc --report wiki.txt --choices arc_easy.jsonl

One JSON file per cell, written when it is done and found again by the content it depends on: a run that was stopped
goes on where it was. With --write the cells become benchmarks/results/pruning.json, which the tables of
docs/experiments.md read, and its figure.
"""

import argparse
import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import agreement, common
from zetaplan._files import write
from zetaplan._interval import mean_interval
from zetaplan.evaluate.choices import Item, multiple_choice, read_items
from zetaplan.evaluate.perplexity import perplexity
from zetaplan.models.apply import prune_blocks
from zetaplan.models.calibrate import LossCurves, loss_curves
from zetaplan.plans.planner import prune
from zetaplan.plans.whole import Counts as WholeCounts
from zetaplan.scoring import Damping, LoadedModel, Scores, Sequences, load_model, read_sequences, score, score_each
from zetaplan.scoring.gain import Gain
from zetaplan.scoring.model.blocks import layer_blocks
from zetaplan.scoring.peers.alphapruning import alphapruning_sparsity
from zetaplan.scoring.peers.htsr import htsr_alpha
from zetaplan.scoring.peers.layerif import layerif_smoothed, layerif_sparsity
from zetaplan.scoring.peers.minmax_sparsity import minmax_sparsity
from zetaplan.scoring.peers.mola import mola_experts
from zetaplan.scoring.peers.owl import owl_sparsity
from zetaplan.solvers import solve
from zetaplan.spec.programs.power_pruning import power_pruning

RESULT = common.result("pruning")
DOCS = Path(__file__).parents[1] / "docs"
FIGURE = DOCS / "experiments-pruning.svg"
SPARSITY, CAP, EPSILON = 0.5, 0.8, 0.3
WINDOWS, LENGTH = 24, 256  # of the text that is reported
TOGETHER = ("block-fisher", "diagonal-fisher", "gradient")  # surrogates that share one pass
ALONE = ("mc-fisher", "kfac", "ekfac")  # those that need more memory or another pass
PRODUCTS = ("ggn",)  # those that multiply by the curvature many times
KAPPAS = (0.25, 0.5)

Counts = dict[str, int]


@dataclass(frozen=True)
class Ratio:
    """How many weights of every block go."""

    blocks: str
    counts: Counts


@dataclass(frozen=True, eq=False)
class Bench:
    """The model and its texts, N sequences of T tokens each, and the items of multiple choice. few: of the scored."""

    loaded: LoadedModel
    scored: Sequences
    few: Sequences
    calibrated: Sequences
    tuned: Sequences
    reported: Sequences
    items: tuple[Item, ...]

    @property
    def sizes(self) -> dict[str, int]:
        return {block.name: block.linear_parameters for block in layer_blocks(self.loaded.model)}


def by_shares(bench: Bench, shares: Iterable[float]) -> Ratio:
    """Counts of a plan in fractions: the cumulative sums, rounded, so that the total is that of the fractions."""
    ends = np.rint(np.cumsum(np.array(list(bench.sizes.values())) * np.fromiter(shares, np.float64))).astype(int)
    return Ratio("layers", dict(zip(bench.sizes, np.diff(ends, prepend=0).tolist(), strict=True)))


def uniform(bench: Bench) -> Ratio:
    return by_shares(bench, [SPARSITY] * len(bench.sizes))


def depth(bench: Bench) -> Ratio:
    """MoLA's experts by quarter of the depth, read as quality: the last quarter is pruned least."""
    experts = mola_experts(len(bench.sizes))
    return by_shares(bench, minmax_sparsity(-experts, list(bench.sizes.values()), SPARSITY, EPSILON))


@cache
def owl(bench: Bench) -> Ratio:
    """Outliers of |W| |X| over all linears of a layer together, in the dense model."""
    return by_shares(bench, owl_sparsity(agreement.owl(bench.loaded.model, bench.scored), SPARSITY))


@cache
def alphapruning(bench: Bench) -> Ratio:
    alphas = agreement.by_layer(bench.loaded.model, htsr_alpha)
    return by_shares(bench, alphapruning_sparsity(alphas, list(bench.sizes.values()), SPARSITY, epsilon=EPSILON))


@cache
def layerif(bench: Bench) -> Ratio:
    """Influence by DataInf: even sequences train, odd ones validate; smoothed over depth, as published."""
    influences = [-score for score in agreement.layerif(bench.loaded.model, bench.scored)]
    smoothed = layerif_smoothed(influences)
    return by_shares(bench, layerif_sparsity(smoothed, list(bench.sizes.values()), SPARSITY, epsilon=EPSILON))


@cache
def gains(bench: Bench, surrogates: tuple[str, ...], blocks: str) -> Mapping[str, Scores]:
    return score_each(bench.loaded, bench.scored, curvatures=surrogates, blocks=blocks)


@cache
def by_products(bench: Bench, surrogate: str) -> Scores:
    """On few tokens, at the damping that mc-fisher has on them."""
    tau = float(score(bench.loaded, bench.few, curvature="mc-fisher").damping[0])
    return score(bench.loaded, bench.few, curvature=surrogate, damping=Damping(tau, mode="absolute"))


def scored(bench: Bench, surrogate: str, blocks: str = "layers") -> Scores:
    if surrogate in PRODUCTS:
        return by_products(bench, surrogate)
    passed = TOGETHER if surrogate in TOGETHER and blocks == "layers" else (surrogate,)
    return gains(bench, passed, blocks)[surrogate]


def zeta(bench: Bench, surrogate: str, gain: Gain = "raw", kappa: float = 1.0, blocks: str = "layers") -> Ratio:
    plan = prune(scored(bench, surrogate, blocks), sparsity=SPARSITY, upper=CAP, gain=gain, kappa=kappa)
    return Ratio(blocks, dict(zip(plan.names, plan.rounded.units.tolist(), strict=True)))


@cache
def curves(bench: Bench, method: str) -> LossCurves:
    model = copy.deepcopy(bench.loaded.model).to(torch.bfloat16)
    return loss_curves(model, method, bench.tuned, bench.calibrated)


def measured(bench: Bench, method: str, square: bool = False) -> Ratio:
    """In place of the gain what pruning costs: the rise at the upper level, never below a hundredth of the mean."""
    found, sizes = curves(bench, method), list(bench.sizes.values())
    weights = np.maximum(found.rise[:, -1], found.rise[:, -1].mean() / 100)
    p = 2.0 if square else found.exponent
    plan = WholeCounts().round(solve(power_pruning(weights, sizes, p=p, sparsity=SPARSITY, upper=CAP)), 1)
    return Ratio("layers", dict(zip(bench.sizes, plan.units.tolist(), strict=True)))


def zeta_measured(bench: Bench, method: str, surrogate: str, gain: Gain = "raw") -> Ratio:
    """zeta^2 with the kappa that the loss curves of the method ask for."""
    return zeta(bench, surrogate, gain, curves(bench, method).kappa)


#: How many weights of every block go, whatever the method of removing them.
RATIOS: dict[str, Callable[[Bench], Ratio]] = {
    "uniform": uniform,
    "owl": owl,
    "alphapruning": alphapruning,
    "layerif": layerif,
    "depth": depth,
    **{f"zeta2 {name}": partial(zeta, surrogate=name) for name in (*TOGETHER, *ALONE, *PRODUCTS)},
    "zeta2 block-fisher, net": partial(zeta, surrogate="block-fisher", gain="net"),
    "zeta2 block-fisher, unbiased": partial(zeta, surrogate="block-fisher", gain="unbiased"),
    **{f"zeta2 block-fisher, kappa {k:g}": partial(zeta, surrogate="block-fisher", kappa=k) for k in KAPPAS},
    "zeta2 ggn, kappa 0.25": partial(zeta, surrogate="ggn", kappa=0.25),
    "zeta2 block-fisher, modules": partial(zeta, surrogate="block-fisher", blocks="modules"),
}

#: The same for one method, to which the penalty is calibrated.
CALIBRATED: dict[str, Callable[[Bench, str], Ratio]] = {
    **{f"zeta2 {name}, measured exponent": partial(zeta_measured, surrogate=name) for name in TOGETHER},
    "zeta2 block-fisher, unbiased, measured exponent": partial(
        zeta_measured, surrogate="block-fisher", gain="unbiased"
    ),
    "measured loss, rho^2": partial(measured, square=True),
    "measured loss, measured exponent": measured,
}
NAMES = (*RATIOS, *CALIBRATED)


def ratio_of(bench: Bench, name: str, method: str) -> Ratio:
    return RATIOS[name](bench) if name in RATIOS else CALIBRATED[name](bench, method)


def evaluated(bench: Bench, model: nn.Module) -> dict[str, object]:
    """Perplexity window by window and accuracy item by item."""
    windows = [perplexity(model, row, length=LENGTH, stride=LENGTH - 1) for row in bench.reported.input_ids]
    loss = [float(w.per_window[0]) for w in windows]
    result: dict[str, object] = {"perplexity": float(np.exp(np.mean(loss))), "loss": loss}
    if bench.items:
        answers = multiple_choice(LoadedModel(model, bench.loaded.tokenizer, *["-"] * 4), bench.items)
        result |= {"correct": answers.correct.tolist(), "correct_normalised": answers.correct_normalised.tolist()}
    return result


def cell(bench: Bench, ratio: Ratio | None, method: str) -> dict[str, object]:
    model = copy.deepcopy(bench.loaded.model).to(torch.bfloat16)
    applied = prune_blocks(model, ratio.blocks, ratio.counts, method, bench.calibrated) if ratio else None
    facts = evaluated(bench, model)
    return facts | {"sparsity": applied.sparsity if applied else 0.0}


def kept(
    folder: Path, key: object, make: Callable[[], dict[str, object]], compute: bool = True
) -> dict[str, object] | None:
    """The value that the file for this key holds; if there is none, made and written, or None."""
    text = json.dumps(key, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    if path.is_file():
        return json.loads(path.read_text())
    if not compute:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    value = make()
    write(path, json.dumps(value | {"seconds": round(time.perf_counter() - started, 1)}))
    return value


def summary(found: Mapping[str, object], against: Mapping[str, object] | None) -> dict[str, object]:
    """The cell without its windows and items; what is paired with the uniform ratio, window by window, item by item."""
    short = {"perplexity": round(float(found["perplexity"]), 2), "sparsity": round(float(found["sparsity"]), 6)}
    if "correct" in found:
        short |= {name: round(float(np.mean(found[name])), 4) for name in ("correct", "correct_normalised")}
    if against is not None:
        paired = [name for name in ("loss", "correct") if name in found]
        short |= {f"{name}_over_uniform": over(found[name], against[name]) for name in paired}
    return short


def over(found: Sequence[float], against: Sequence[float]) -> dict[str, float]:
    paired = mean_interval(np.subtract(found, against, dtype=np.float64))
    return {name: round(getattr(paired, name), 4) for name in ("mean", "low", "high")}


Cells = Mapping[str, Mapping[str, Mapping[str, object]]]


def draw(cells: Cells, path: Path) -> None:
    """The paired difference to uniform with its interval: to the left of the line a ratio is better than uniform."""
    pyplot = common.styled_pyplot()
    shown = [name for name in NAMES if any("loss_over_uniform" in row.get(name, {}) for row in cells.values())]
    figure, axes = pyplot.subplots(len(cells), 1, figsize=(5.6, (1 + len(shown) / 5) * len(cells)), squeeze=False)
    for axis, (method, row) in zip(axes[:, 0], cells.items(), strict=True):
        gaps = {ratio: found["loss_over_uniform"] for ratio, found in row.items() if "loss_over_uniform" in found}
        places = [shown.index(ratio) for ratio in gaps]
        low, mean, high = ([gap[end] for gap in gaps.values()] for end in ("low", "mean", "high"))
        axis.hlines(places, low, high, colors=(colours := common.row_colours(gaps)), linewidth=2)
        axis.scatter(mean, places, s=16, c=colours, zorder=3)
        axis.axvline(0, color="#76818e", linewidth=1)
        axis.set(title=method, yticks=range(len(shown)))
        axis.set_yticklabels(shown, fontsize=8)
        axis.invert_yaxis()
    figure.supxlabel("loss over uniform, nats per token; left of 0 is better", fontsize="medium")
    common.colour_key(figure)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def read_bench(options: argparse.Namespace) -> Bench:
    loaded = load_model(options.model)
    read = partial(read_sequences, tokenizer=loaded.tokenizer)
    template = "Question: {prompt}\nAnswer:"
    items = read_items(options.choices, template=template, limit=options.items) if options.choices else ()
    return Bench(
        loaded,
        scored=read(options.score, sequences=16, length=128),
        few=read(options.score, sequences=4, length=32),
        calibrated=read(options.score, sequences=8, length=128),
        tuned=read(options.tune, sequences=4, length=128),
        reported=read(options.report, sequences=WINDOWS, length=LENGTH),
        items=items,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--score", default="pydoc", help="the text that scores and calibrates")
    parser.add_argument("--tune", default="pydoc", help="the text that the loss curves are measured on")
    parser.add_argument("--report", required=True, help="the text that perplexity is reported on")
    parser.add_argument("--choices", help="multiple choice in the one jsonl form; no accuracy without it")
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--methods", nargs="+", default=["wanda", "magnitude", "sparsegpt"])
    parser.add_argument("--ratios", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--cells", type=Path, default=Path("build/pruning-cells"), help="where cells are kept")
    parser.add_argument("--write", action="store_true", help="compute nothing, write the result from the cells")
    options = parser.parse_args()

    bench = read_bench(options)
    texts = {name: getattr(bench, name).sha256 for name in ("scored", "calibrated", "tuned", "reported")}
    setting = {"model": bench.loaded.sha256, **texts, "torch": version("torch"), "items": len(bench.items)}
    keep = partial(kept, options.cells, compute=not options.write)
    dense = keep(["cell", "dense", setting], lambda: cell(bench, None, "none"))
    cells: dict[str, dict[str, dict[str, object]]] = {method: {} for method in options.methods}
    for name, method in product(options.ratios, options.methods):
        own = method if name in CALIBRATED else ""
        ratio = keep(
            ["ratio", name, own, setting], lambda name=name, method=method: asdict(ratio_of(bench, name, method))
        )
        if ratio:
            planned = Ratio(ratio["blocks"], ratio["counts"])
            found = keep(["cell", method, asdict(planned), setting], partial(cell, bench, planned, method))
            if found:
                cells[method][name] = found
                print(f"{method:10s} {name:34s} {found['perplexity']:10.2f}", flush=True)
    exponents = {}
    for method in options.methods:
        found = keep(["exponent", method, setting], lambda method=method: {"exponent": curves(bench, method).exponent})
        if found:
            exponents[method] = round(found["exponent"], 3)
            print(f"{method:10s} exponent {exponents[method]}", flush=True)
    if options.write:
        write_result(bench, options, dense, cells, exponents)


def write_result(
    bench: Bench,
    options: argparse.Namespace,
    dense: Mapping[str, object],
    cells: Cells,
    exponents: Mapping[str, float],
) -> None:
    short = {
        method: {name: summary(found, row["uniform"] if name != "uniform" else None) for name, found in row.items()}
        for method, row in cells.items()
    }
    result = {
        "model": bench.loaded.name,
        "model_sha256": bench.loaded.sha256,
        "texts": {name: Path(getattr(options, name)).name for name in ("score", "tune", "report")},
        "windows": WINDOWS,
        "length": LENGTH,
        "items": len(bench.items),
        "machine": common.processor(),
        "torch": version("torch"),
        "dense": summary(dense, None),
        "exponents": exponents,
        "cells": short,
    }
    common.save("pruning", result, indent=2)
    draw(short, FIGURE)


if __name__ == "__main__":
    main()
