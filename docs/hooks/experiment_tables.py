"""Tables of the experiments: differences to uniform with their intervals, the best first.

A row whose whole interval is below zero is bold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from result_tables import NONE, from_to, load, signed, table

METHODS = {"wanda": "Wanda", "magnitude": "Magnitude", "sparsegpt": "SparseGPT"}

Cell = dict[str, Any]


def exponents() -> str:
    """Plans of sparsity by surrogate and exponent: the loss over the uniform plan."""
    names = (
        "block-fisher, kappa 0.25",
        "block-fisher, measured exponent",
        "diagonal-fisher, measured exponent",
        "block-fisher, kappa 0.5",
        "block-fisher",
    )
    cells = load("pruning")["cells"]
    heads = ("method", "gain and exponent", "difference to uniform, nats per token", "95% interval")
    rows = []
    for method, of in cells.items():
        for name in names:
            over = of[f"zeta2 {name}"]["loss_over_uniform"]
            plan = _marked(name if "," in name else f"{name}, kappa 1", over["high"] < 0)
            rows.append((METHODS[method], plan, *_difference(over)))
    return table(heads, rows)


def _pruning(method: str) -> Callable[[], str]:
    """Every ratio with one method of removing weights, by perplexity."""

    def shown() -> str:
        cells = load("pruning")["cells"][method]
        heads = ("ratio", "perplexity", "difference to uniform, nats per token", "95% interval")
        order = sorted(cells.items(), key=lambda item: float(item[1]["perplexity"]))
        return table(heads, [_ratio(name, cell) for name, cell in order])

    return shown


def _ratio(name: str, cell: Cell) -> tuple[str, ...]:
    over = cell.get("loss_over_uniform")
    better = over is not None and over["high"] < 0
    return _marked(name, better), f"{cell['perplexity']:,.1f}", *_difference(over)


def pruning_accuracies() -> str:
    """The accuracies of every ratio, folded, one table for each method of removing weights."""
    cells = load("pruning")["cells"]
    return "\n\n".join(_accuracies(METHODS[method], row) for method, row in cells.items())


def _accuracies(title: str, row: dict[str, Cell]) -> str:
    heads = ("ratio", "accuracy", "difference to uniform", "95% interval")
    order = sorted(row.items(), key=lambda item: -float(item[1]["correct"]))
    rows = [_accuracy(name, cell) for name, cell in order]
    body = table(heads, rows)
    return f'<details markdown="1">\n<summary>Accuracy on ARC-easy, {title}</summary>\n\n{body}\n\n</details>'


def _accuracy(name: str, cell: Cell) -> tuple[str, ...]:
    over = cell.get("correct_over_uniform")
    better = over is not None and over["low"] > 0
    return _marked(name, better), f"{cell['correct']:.2f}", *_difference(over)


def _lora(form: str) -> Callable[[], str]:
    """Every plan of one form and step size, by its difference to uniform. Bold: both intervals are below zero."""

    def shown() -> str:
        cells = load("capacity")["cells"][form]
        heads = ("plan", "per layer", "loss", "over uniform", "interval over seeds", "interval over windows")
        order = sorted(cells.items(), key=lambda item: float(item[1].get("over_uniform", {"mean": 0.0})["mean"]))
        return table(heads, [_plan(name, cell) for name, cell in order])

    return shown


def _plan(name: str, cell: Cell) -> tuple[str, ...]:
    counts = " to ".join(map(str, sorted({min(cell["counts"]), max(cell["counts"])})))
    over = cell.get("over_uniform")
    if over is None:
        return name, counts, f"{cell['loss']:.4f}", NONE, NONE, NONE
    ends = (over["over_seeds"], over["over_windows"])
    better = all(high < 0 for _, high in ends)
    shown = (from_to(low, high, 4) for low, high in ends)
    return _marked(name, better), counts, f"{cell['loss']:.4f}", signed(over["mean"], 4), *shown


def adapter_rows() -> str:
    """Adapters by rules and by PEFT's own methods, by their difference to uniform. Bold: better on the windows."""
    rows = load("adapters")["rows"]
    heads = ("adapters", "trained parameters", "loss", "over uniform", "interval over windows", "by seed", "minutes")
    order = sorted(rows.items(), key=lambda item: float((item[1]["over_uniform"] or {"mean": 0.0})["mean"]))
    return table(heads, [_adapter(name, row) for name, row in order])


def _adapter(name: str, row: Cell) -> tuple[str, ...]:
    parameters = f"{sum(row['parameters']) / len(row['parameters']):,.0f}"
    over, cost = row["over_uniform"], f"{row['minutes']:.1f}"
    if over is None:
        return name, parameters, f"{row['loss']:.4f}", NONE, NONE, NONE, cost
    seeds = ", ".join(signed(value, 3) for value in over["seeds"])
    low, high = over["over_windows"]
    ends = (signed(over["mean"], 4), from_to(low, high, 4), seeds, cost)
    return _marked(name, high < 0), parameters, f"{row['loss']:.4f}", *ends


def lora_step_sizes() -> str:
    """The loss of the uniform plan on the passage for tuning, by step size."""
    found = load("capacity")["loss_by_step_size"]
    sizes = list(next(iter(found.values())))
    rows = [(form, *(f"{losses[size]:.4f}" for size in sizes)) for form, losses in found.items()]
    return table(("loss on the passage for tuning, uniform", *sizes), rows)


def _difference(over: Cell | None) -> Iterable[str]:
    if over is None:
        return NONE, NONE
    return signed(over["mean"], 3), from_to(over["low"], over["high"], 3)


def _marked(name: str, better: bool) -> str:
    shown = name.replace("zeta2", "ζ²").replace("kappa ", "κ = ").replace("rho^2", "square")
    return f"**{shown}**" if better else shown


pruning_wanda = _pruning("wanda")
pruning_magnitude = _pruning("magnitude")
pruning_sparsegpt = _pruning("sparsegpt")
lora_ranks = _lora("LoRA rank, step size 0.008")
lora_ranks_half_step = _lora("LoRA rank, step size 0.004")
lora_experts = _lora("LoRA experts, step size 0.008")
