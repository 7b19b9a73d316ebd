"""What it costs to plan on one text and to work on another: SmolLM2 scored on several real texts.

    python -m benchmarks.transfer pydoc wiki.txt questions.jsonl     scores every text, then all that follows
    python -m benchmarks.transfer                                    all that follows, from the gains in the result

Every text is scored on two samples without a common sequence. A plan is made from the first sample of the source and
judged by the second sample of the target, so the diagonal of a table says what sampling alone does. Writes
results/transfer.json, the figures docs/transfer*.svg and the table in docs/transfer.md.
"""

import argparse
import json
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from tqdm.auto import tqdm

import zetaplan as zp
from benchmarks.regret import ROUNDING, by_flips
from zetaplan.scoring import LoadedModel, Sequences, load_model, read_sequences, score, sequences_between
from zetaplan.scoring.model.blocks import partition
from zetaplan.spec.instance import with_quality
from zetaplan.verification.regret.relative import relative_regret

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "transfer.json"
PAGE = ROOT / "docs" / "transfer.md"
START, END = "<!-- the table is written by benchmarks/transfer.py -->\n", "<!-- end of the table -->\n"

SEQUENCES, LENGTH = 16, 128
MEAN_RANK, SPARSITY, CAP = 8, 0.5, 0.8
KINDS = ("raw", "unbiased")
BOUNDS = {"box": "dual ends of the box", "variational": "variational inequality", "theorem 4": "Theorem 4"}

Cell = dict[str, float]
Table = list[list[Cell]]  # [source][target]


def samples(loaded: LoadedModel, source: str) -> list[Sequences]:
    """Two samples of a text without a common sequence."""
    readers = (read_sequences, sequences_between)
    return [read(source, loaded.tokenizer, sequences=SEQUENCES, length=LENGTH) for read in readers]


def measured(loaded: LoadedModel, text: Sequences) -> dict[str, Any]:
    """The gains of one sample, and what identifies it; where the file lies is not told."""
    scores = score(loaded, text)
    columns = ("gain", "noise_floor", "standard_error", "cross_fitted")
    return {
        "sha256": text.sha256,
        "tokens": int(text.attention_mask.sum()),
        "loss": scores.loss,
        **{column: getattr(scores, column).tolist() for column in columns},
    }


def score_texts(sources: list[str]) -> dict[str, Any]:
    """Every text is read before the first is scored, so that a broken one costs nothing."""
    loaded = load_model("smollm2")
    texts = {Path(source).stem: samples(loaded, source) for source in sources}
    parts = partition(loaded.model, "layers")
    return {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "curvature": "block-fisher",
        "sequences": SEQUENCES,
        "length": LENGTH,
        "versions": {package: version(package) for package in ("zetaplan", "torch", "transformers")},
        "rank_parameters": [part.rank_parameters for part in parts],
        "linear_parameters": [part.linear_parameters for part in parts],
        "texts": {
            name: [measured(loaded, text) for text in pair]
            for name, pair in tqdm(texts.items(), desc="texts", disable=None)
        },
    }


def counted(sample: dict[str, Any], kind: str) -> np.ndarray:
    """The gain as measured, or cross-fitted, where noise cancels."""
    return np.array(sample["gain"]) if kind == "raw" else np.maximum(np.mean(sample["cross_fitted"], axis=1), 0.0)


def instances(scored: dict[str, Any], gain: np.ndarray) -> dict[str, zp.Instance]:
    """The two programs for the gains of one sample."""
    ranks, linears = np.array(scored["rank_parameters"]), np.array(scored["linear_parameters"])
    return {
        "ranks": zp.allocation(gain, ranks, MEAN_RANK * ranks.sum()),
        "sparsity": zp.pruning(gain, linears, sparsity=SPARSITY, upper=CAP),
    }


def compared(source: zp.Instance, target: zp.Instance) -> Cell:
    """What the source's plan loses on the target, and what each bound says, as shares of the target's optimum."""
    plan, best = zp.solve(source), zp.solve(target).objective
    constants, drift = zp.constants(target), source.quality - target.quality
    low, high = np.sort([source.quality, target.quality], axis=0)
    with np.errstate(divide="ignore"):  # without strong convexity there is no bound: it is infinite
        variational = np.float64(constants.L_q**2 * (drift**2).sum()) / (2 * constants.mu)
        condition = np.float64(constants.L) / constants.mu

    def lost(x: np.ndarray) -> float:
        return zp.Solution(target, x, 0.0).objective - best

    return {
        "drift": float(np.abs(drift).sum() / 2),
        "regret": lost(plan.x) / abs(best),
        "uniform": lost(np.full(plan.x.size, target.limit / target.resource.sum())) / abs(best),
        "worst": worst_share(source, plan.x, low, high, target.quality),
        "box": relative_regret(source, plan.x, plan.multiplier, low, high).share,
        "variational": float(variational) / abs(best),
        "theorem 4": float(condition * variational) / abs(best),
    }


def worst_share(source: zp.Instance, x: np.ndarray, low: np.ndarray, high: np.ndarray, start: np.ndarray) -> float:
    """The largest share that the plan loses in the box, from the target's gains by flips of single ends."""

    def lost(gains: np.ndarray) -> float:
        if not gains.any():
            return 0.0
        target = with_quality(source, gains)
        best = zp.solve(target).objective
        return (zp.Solution(target, x, 0.0).objective - best) / abs(best)

    return by_flips(lost, start, low, high)


def tables(scored: dict[str, Any], kind: str) -> dict[str, Table]:
    """Every comparison of a source with a target, for each program."""
    sources, targets = (
        [instances(scored, counted(pair[which], kind)) for pair in scored["texts"].values()] for which in (0, 1)
    )
    return {
        program: [[compared(source[program], target[program]) for target in targets] for source in sources]
        for program in sources[0]
    }


def summary(table: Table) -> dict[str, float]:
    """Medians and the worst over the pairs; on the diagonal stands the same text again."""
    same = [row[i] for i, row in enumerate(table)]
    other = [cell for i, row in enumerate(table) for j, cell in enumerate(row) if i != j]
    regrets = {"the same text": same, "another text": other}
    multiples = {
        f"{words} / regret": [cell[name] / cell["regret"] for cell in same + other if cell["regret"] > ROUNDING]
        for name, words in BOUNDS.items()
    }
    near = [cell["box"] / cell["worst"] for cell in same + other if cell["worst"] > ROUNDING]
    return {
        **{f"regret on {text}, median": float(np.median([c["regret"] for c in of])) for text, of in regrets.items()},
        **{f"regret on {text}, worst": max(cell["regret"] for cell in of) for text, of in regrets.items()},
        "regret of the uniform plan, median": float(np.median([cell["uniform"] for cell in table[0]])),
        **{f"{bound}, median": float(np.median(of)) for bound, of in multiples.items()},
        **{f"{bound}, worst": max(of) for bound, of in multiples.items()},
        "dual ends of the box / worst found in it, median": float(np.median(near)),
        "dual ends of the box / worst found in it, worst": max(near),
    }


def page_table(summaries: dict[str, dict[str, dict[str, float]]]) -> str:
    """The summaries in Markdown, a column for each program and gain."""
    columns = {f"{program}, {kind} gain": facts for kind, of in summaries.items() for program, facts in of.items()}
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    rows += [
        [fact, *(_shown(fact, facts[fact]) for facts in columns.values())] for fact in next(iter(columns.values()))
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _shown(fact: str, value: float) -> str:
    if fact.startswith("regret"):
        return f"{value:.2%}"
    if math.isinf(value):
        return "no bound"
    return f"{value:.2f}" if value < 100 else f"{value:.1e}"


def heat_maps(names: list[str], found: dict[str, Table]) -> Figure:
    """Exact regret of every source (rows) on every target (columns), with the uniform plan as the last row."""
    figure, axes = plt.subplots(len(found), 1, figsize=(6.4, 5.4 * len(found)))
    for axis, (program, table) in zip(axes, found.items(), strict=True):
        cells = [[cell["regret"] for cell in row] for row in table] + [[cell["uniform"] for cell in table[0]]]
        percent = 100 * np.array(cells)
        scale = LogNorm(max(percent.min(), 1e-2), percent.max())
        drawn = axis.imshow(percent, cmap="viridis_r", norm=scale)
        figure.colorbar(drawn, ax=axis, label="regret, % of the best objective", format="%g", shrink=0.8)
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axis.set_yticks(range(len(cells)), [*names, "uniform plan"])
        axis.set(title=program, xlabel="text that judges the plan", ylabel="text of the plan")
        for (i, j), share in np.ndenumerate(percent):
            colour = "white" if scale(share) > 0.5 else "black"
            axis.text(j, i, f"{share:.2g}", ha="center", va="center", size=7, color=colour)
    return figure


def scatter(found: dict[str, Table]) -> Figure:
    """Every bound against the exact regret of the same pair."""
    figure, axes = plt.subplots(len(found), 1, figsize=(5.6, 3.2 * len(found)), sharex=True)
    for axis, (program, table) in zip(axes, found.items(), strict=True):
        cells = [cell for row in table for cell in row if cell["regret"] > ROUNDING]
        regret = sorted(cell["regret"] for cell in cells)
        for name, mark in zip(BOUNDS, "o^s", strict=True):
            points = [cell["regret"] for cell in cells], [cell[name] for cell in cells]
            axis.loglog(*points, mark, ms=4, alpha=0.6, label=BOUNDS[name])
        axis.loglog(regret, regret, "-", color="#76818e", lw=1, label="the regret itself")
        axis.set(title=program, ylabel="bound, share of the best objective")
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("exact regret, share of the best objective")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def publish(scored: dict[str, Any]) -> None:
    """JSON, figures and the table of the page, all from the same numbers."""
    found = {kind: tables(scored, kind) for kind in KINDS}
    summaries = {kind: {program: summary(table) for program, table in of.items()} for kind, of in found.items()}
    result = {"command": "python -m benchmarks.transfer", "summary": summaries, "tables": found, "scored": scored}
    RESULT.write_text(json.dumps(_in_json(result), indent=1) + "\n")
    names = [re.split(r"[._]", name)[0] for name in scored["texts"]]
    plt.style.use(ROOT / "benchmarks" / "house.mplstyle")
    heat_maps(names, found["raw"]).savefig(PAGE.with_name("transfer.svg"), metadata={"Date": None})
    scatter(found["raw"]).savefig(PAGE.with_name("transfer-bounds.svg"), metadata={"Date": None})
    before, rest = PAGE.read_text().split(START)
    PAGE.write_text(before + START + page_table(summaries) + END + rest.split(END)[1])


def _in_json(value: Any) -> Any:
    """Nine digits of every number, and null for a bound that is infinite."""
    if isinstance(value, dict):
        return {key: _in_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_json(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="text or .jsonl files, or pydoc")
    sources = parser.parse_args().texts
    publish(_in_json(score_texts(sources)) if sources else json.loads(RESULT.read_text())["scored"])


if __name__ == "__main__":
    main()
