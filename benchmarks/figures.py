"""The figures of the pages on the method, from committed numbers: `python -m benchmarks.figures`.

The gains are those of SmolLM2-135M by block-fisher in results/agreement.json, the solvers' errors those of the audit,
the refined plan and the losses of plans those of results/tables.
Every figure is a vector in the style of house.mplstyle, and small enough for a phone.
"""

import json
from pathlib import Path

import matplotlib
import numpy as np

import zetaplan as zp
from zetaplan._interval import mean_interval
from zetaplan.spec.stationary import plan_at

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

ROOT = Path(__file__).parents[1]
WATER, GROUND, MARK, CLIP = "#2a93a8", "#a9b3bd", "#d9672b", "#8c6bb1"
CAP = 16  # of the ranks in the picture of water-filling
WEIGHTS, RANK = 3_538_944, 22_656  # linear weights of a layer of SmolLM2-135M, and parameters of a unit of rank


def axes(title, x, y):
    figure, drawn = plt.subplots(figsize=(5.6, 3.5))
    drawn.set(title=title, xlabel=x, ylabel=y)
    return figure, drawn


def saved(figure, name):
    if figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(ROOT / "docs" / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def water_filling(gains):
    """c_k / w_k is the ground of layer k, t = 1 / (alpha + lambda) the level; the depth over the ground is its rank."""
    instance = zp.allocation(gains, RANK, 8.0 * len(gains) * RANK, beta=2.0, upper=CAP)
    plan = zp.solve(instance)
    ground = instance.resource / instance.weight / 1e6
    level, k, capped = 1e-6 / plan.multiplier, np.arange(len(gains)), plan.x >= CAP
    surface = np.where(capped, (1 + CAP) * ground, np.maximum(level, ground))
    title = f"Rank 8 on average, at most {CAP}: water over the ground is rank"
    figure, drawn = axes(title, "layer of SmolLM2-135M", "c / w, millions of parameters")
    drawn.bar(k, ground, color=GROUND, width=0.86, label="ground, c / w")
    drawn.bar(k, surface - ground, bottom=ground, color=WATER, width=0.86, label="rank, times c / w")
    drawn.axhline(level, color=MARK, linewidth=1.5, label="level, 1 / λ")
    drawn.plot(k[capped], surface[capped], "v", color=CLIP, markersize=5, label=f"clipped at rank {CAP}")
    saved(figure, "water-filling")


def dual(gains):
    """The dual function of a pruning, concave, and the bracket that is sure to hold its maximum."""
    instance = zp.pruning(gains, WEIGHTS, sparsity=0.5, upper=0.8)
    plan = zp.solve(instance)
    top = 2 * float((instance.weight / instance.resource).max())  # max_k 2 eta w_k / n_k - b
    multipliers = np.linspace(0, 1.05 * top, 300)
    values = [
        zp.Solution(instance, x, 0.0).objective + multiplier * (instance.limit - float(instance.resource @ x))
        for multiplier in multipliers
        for x in (plan_at(instance, multiplier),)
    ]
    title = "50% pruning: every multiplier bounds the objective from below"
    figure, drawn = axes(title, "multiplier λ, objective per billion parameters", "bound, gain share × sparsity²")
    drawn.plot(1e9 * multipliers, values, color=WATER, linewidth=2, label="dual function")
    drawn.axvspan(0, 1e9 * top, color=GROUND, alpha=0.2, linewidth=0, label="bracket")
    best = f"optimum, {plan.objective:.3f}"
    drawn.plot([1e9 * plan.multiplier], [plan.objective], "o", color=MARK, label=best)
    saved(figure, "dual")


def frontier(gains):
    instance = zp.pruning(gains, WEIGHTS, sparsity=0.5, upper=0.8)
    path, total = zp.frontier(instance), float(instance.resource.sum())
    shares = np.linspace(0.01, 0.799, 200)
    title = "The best plan of every sparsity, and uniform"
    figure, drawn = axes(title, "weights removed, % of all", "objective, gain share × sparsity²")
    drawn.plot(100 * shares, [path.at(s * total).objective for s in shares], color=WATER, linewidth=2, label="best")
    even = float(instance.weight.sum()) * shares**2
    drawn.plot(100 * shares, even, "--", color=GROUND, linewidth=1.5, label="uniform")
    bends = [b for b in path.breakpoints if 0 < b < 0.799 * total]
    heights = [path.at(b).objective for b in bends]
    drawn.plot([100 * b / total for b in bends], heights, "o", color=MARK, markersize=4, label="a layer reaches 80%")
    saved(figure, "frontier")


def honesty():
    """Of the answers that a solver calls optimal, how many are not."""
    rows = json.loads((ROOT / "docs" / "audits" / "audit.json").read_text())["summary"]
    names = [row["solver"] for row in rows]
    shares = [row["wrong"] / row["optimal"] for row in rows]
    figure, drawn = axes("Answers that a solver calls optimal and that are not", "share of its “optimal” answers", "")
    bars = drawn.barh(names[::-1], shares[::-1], color=WATER)
    labels = [f"{row['wrong']:,} of {row['optimal']:,}" for row in rows[::-1]]
    drawn.bar_label(bars, labels, padding=4, fontsize=9)
    drawn.set_xlim(0, 1.25 * max(shares))
    saved(figure, "honesty")


#: Plans of 50% sparsity by Wanda: the row of results/tables, and its name in the picture.
ROWS = {
    "refine": "zetaplan refine",
    "search, ten times as many": "EvoPress × 10",
    "search, as many evaluations": "EvoPress",
    "zeta^2, kappa 0.25": "zetaplan prune",
    "ATP": "ATP",
    "OWL": "OWL",
    "AlphaPruning": "AlphaPruning",
    "LayerIF": "LayerIF",
    "zeta^2, kappa 1": "exponent 1 (paper)",
}


def measured_plan():
    """The refined plan of 50% sparsity, and the measured loss of such plans over the uniform plan."""
    folder = ROOT / "benchmarks" / "results" / "tables" / "smollm2" / "wanda-50"
    cells = {cell["row"]: cell for cell in (json.loads(file.read_text()) for file in folder.glob("*.json"))}
    figure, (plan, loss) = plt.subplots(2, figsize=(5.6, 6), height_ratios=(4, 6))
    removed(figure, plan, cells["refine"]["point"])
    title = "Measured loss over the uniform plan (95%)"
    loss.set(title=title, xlabel="nats per token; left of 0 is better", yticks=range(len(ROWS)))
    loss.set_yticklabels(ROWS.values())
    loss.invert_yaxis()
    loss.axvline(0, color=GROUND, linestyle="--", linewidth=1.5)
    for place, row in enumerate(ROWS):
        found = mean_interval(np.subtract(cells[row]["loss"], cells["uniform"]["loss"]))
        ends, colour = [[found.mean - found.low], [found.high - found.mean]], MARK if row == "refine" else WATER
        loss.errorbar(found.mean, place, xerr=ends, fmt="o", color=colour, markersize=4)
    figure.savefig(ROOT / "docs" / "measured-plan.svg", metadata={"Date": None})
    plt.close(figure)


def removed(figure, drawn, point):
    """The share of every linear that a plan removes: a column of linears for every layer."""
    layers = {}
    for name, share in point.items():
        layer, linear = name.removeprefix("model.layers.").split(".", 1)
        layers.setdefault(int(layer), {})[linear.split(".")[-1].removesuffix("_proj")] = 100 * float(share)
    names = list(layers[0])
    shares = [[layers[layer][name] for layer in sorted(layers)] for name in names]
    drawn.set(title="Refined plan: half of all weights", xlabel="layer", yticks=range(len(names)), yticklabels=names)
    colours = LinearSegmentedColormap.from_list("removed", [MARK, "white", WATER], N=32)
    far = np.abs(np.subtract(shares, 50)).max()
    edges = (np.arange(count + 1) - 0.5 for count in (len(layers), len(names)))
    image = drawn.pcolormesh(*edges, shares, cmap=colours, vmin=50 - far, vmax=50 + far)
    drawn.invert_yaxis()
    figure.colorbar(image, ax=drawn, label="removed (%)")


def main():
    plt.style.use(ROOT / "benchmarks" / "house.mplstyle")
    gains = json.loads((ROOT / "benchmarks" / "results" / "agreement.json").read_text())["scores"]["block-fisher"]
    water_filling(gains)
    dual(gains)
    frontier(gains)
    honesty()
    measured_plan()


if __name__ == "__main__":
    main()
