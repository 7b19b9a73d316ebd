"""Tables of measured plans, from the cells of `benchmarks.tables`: one function for every table of a page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from result_tables import RESULTS, from_to, load, signed, table

from zetaplan._interval import Interval, mean_interval

HEADS = (
    "plan",
    "perplexity",
    "loss over uniform, nats per token",
    "95% interval",
    "divergence over uniform",
    "95% interval",
    "tokens evaluated, thousands",
    "minutes",
)

Cell = dict[str, Any]


def _cells(model: str, task: str) -> dict[str, Cell]:
    files = sorted((RESULTS / "tables" / model / task).glob("*.json"))
    cells = map(json.loads, (file.read_text() for file in files))
    return {cell["row"]: cell for cell in cells}


def _table(model: str, task: str) -> Callable[[], str]:
    """The rows by their perplexity; plans whose whole interval is below zero are bold."""

    def shown() -> str:
        cells = _cells(model, task)
        order = sorted(cells.values(), key=lambda cell: float(np.mean(cell["loss"])))
        return table(HEADS, [_row(cell, cells["uniform"]) for cell in order])

    return shown


def _row(cell: Cell, uniform: Cell) -> tuple[str, ...]:
    """The plan with its differences to uniform: of the loss, and of the divergence from the dense model."""
    perplexity = f"{math.exp(float(np.mean(cell['loss']))):,.1f}"
    if cell["row"] == "uniform":
        return "uniform", perplexity, *["–"] * (len(HEADS) - 2)
    loss, divergence = (mean_interval(np.subtract(cell[name], uniform[name])) for name in ("loss", "divergence"))
    name = f"**{_named(cell['row'])}**" if loss.high < 0 else _named(cell["row"])
    cost = (f"{cell['tokens'] / 1000:,.0f}" if cell["tokens"] else "–", f"{cell['seconds'] / 60:.1f}")
    return name, perplexity, *_difference(loss), *_difference(divergence), *cost


def _named(row: str) -> str:
    return row.replace("zeta^2", "ζ²").replace("kappa ", "κ = ")


def _difference(found: Interval) -> tuple[str, str]:
    return signed(found.mean, 3), from_to(found.low, found.high, 3)


plans_wanda = _table("smollm2", "wanda-50")
plans_magnitude = _table("smollm2", "magnitude-50")
plans_sparsegpt = _table("smollm2", "sparsegpt-50")
plans_wanda_60 = _table("smollm2", "wanda-60")
plans_wanda_gemma = _table("gemma-3-270m-q4_k_m", "wanda-50")
plans_formats = _table("smollm2", "rtn-4.25")
plans_formats_3 = _table("smollm2", "rtn-3.25")
plans_formats_asymmetric = _table("smollm2", "rtn-3.5")
plans_formats_gguf = _table("smollm2", "gguf-5.5")
plans_formats_gemma = _table("gemma-3-270m-q4_k_m", "rtn-4.25")
plans_rank = _table("smollm2", "svd-20")
plans_layers = _table("smollm2", "drop-fifth")
plans_layers_gemma = _table("gemma-3-270m-q4_k_m", "drop-fifth")


def plans_draws() -> str:
    """The difference to uniform with the masks of each of three calibration texts; the plans are those of the first."""
    draws = [path.name for path in sorted((RESULTS / "tables").glob("draw-*"))]
    rows = []
    for task in ("wanda-50", "wanda-60"):
        found = [_cells(f"{draw}/smollm2", task) for draw in draws]
        first = _cells("smollm2", task)
        for name in found[0]:
            if name != "uniform":
                rows.append((task, _named(name), *(_over_uniform(cells, name) for cells in (first, *found))))
    return table(("task", "plan", "the text of the tables", "second text", "third text"), rows)


def _over_uniform(cells: dict[str, Cell], name: str) -> str:
    found = mean_interval(np.subtract(cells[name]["loss"], cells["uniform"]["loss"]))
    return f"{signed(found.mean, 3)} ({from_to(found.low, found.high, 3)})"


def promised_sums() -> str:
    """The sum of the losses of single blocks from the dense model, and the divergence of the whole plan."""
    heads = ("plan", "menu", "sum of single losses", "measured divergence", "measured over sum")
    bits = json.loads((RESULTS / "bits.json").read_text())["rows"]
    rows = [(row["at the bytes of"], row["plan"], row["promised"], row["divergence"][0]) for row in bits]
    for task in ("gguf-5.5", "rtn-4.25", "rtn-3.5", "rtn-3.25", "wanda-50", "drop-fifth"):
        found = _cells("smollm2", task)
        rows += [
            (task, name, cell["facts"].get("promised"), np.mean(cell["divergence"])) for name, cell in found.items()
        ]
    shown = [row for row in rows if row[2]]
    return table(heads, [(a, b, f"{sum_:.3f}", f"{whole:.3f}", f"{whole / sum_:.2f}") for a, b, sum_, whole in shown])


def predicted_moves() -> str:
    """How well slopes of the first and of the second order predict measured moves of one level at the uniform plan."""
    heads = ("plan", "moves to", "measured", "slopes: correlation", "mean", "second order: correlation", "mean")
    rows = []
    for task, found in load("moves").items():
        larger = np.array(found["larger"])
        for name, chosen in (("more bytes or weights", larger), ("fewer", ~larger)):
            measured, *predicted = (np.array(found[key])[chosen] for key in ("measured", "order 1", "order 2"))
            spread = f"{signed(measured.mean(), 4)} ± {measured.std():.4f}"
            shown = ((f"{np.corrcoef(own, measured)[0, 1]:.2f}", signed(own.mean(), 4)) for own in predicted)
            rows.append((task, name, spread, *chain.from_iterable(shown)))
    return table(heads, rows)
