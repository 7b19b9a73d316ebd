"""Tables from the committed results and the declared programs.

`{{ name }}` on a page is replaced by the function of that name in this file, or in one of those named *_tables.py.
"""

from __future__ import annotations

import re
from collections import ChainMap
from importlib import import_module
from pathlib import Path
from typing import Any

import sympy as sp
from result_tables import RESULTS, load, table

from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.programs import programs as declared
from zetaplan.verification.proofs.proof import latex

MARK = re.compile(r"\{\{ (\w+) \}\}")

#: The functions that fill marks, by their name.
FUNCTIONS = ChainMap(
    globals(), *(vars(import_module(file.stem)) for file in sorted(Path(__file__).parent.glob("*_tables.py")))
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the marks of a page; a name that is no function here stops the build."""
    return MARK.sub(lambda mark: FUNCTIONS[mark[1]](), markdown)


def programs() -> str:
    """Every term of every declared program, and where its Lagrangian is stationary."""
    heads = ("program", "decision", "objective of a layer", "closed form before clipping")
    rows = [
        (f"`{name}`", *(f"${latex(part)}$" for part in (d.term.decision, d.term.objective, _combined(d))))
        for name, program in declared().items()
        for d in derive(program)
    ]
    return table(heads, rows)


def _combined(d: Derivation) -> sp.Expr:
    """The closed form with its logarithms or powers taken together."""
    if not d.closed_form.has(sp.log):
        return sp.powsimp(d.closed_form, combine="base", force=True)
    two = sp.Symbol(r"\log(2)\,", positive=True)  # a constant, not to be combined with the others
    closed, slope = (part.subs(sp.log(2), two) for part in (d.closed_form, d.slope))
    return sp.expand_mul(slope * sp.logcombine(sp.expand_mul(closed / slope), force=True))


def enclosures() -> str:
    """Coverage in one clause."""
    found = load("enclosures")
    names = dict.fromkeys(row["surrogate"] for row in found["table"])
    low, high = found["damping"]
    return (
        f"{found['misses']} misses in {found['cases']:,} cases (`{found['command']}`; {len(found['architectures'])} "
        f"architectures; {', '.join(names)}; three precisions; 1 to 60 steps; damping of {low:.0e} to {high:.0e} "
        f"of the mean curvature; relative widths from {found['narrowest']:.0e} up)"
    )


def regret() -> str:
    """Bound over the worst regret found, per program and kind."""
    rows = load("regret")["table"]
    programs = list(dict.fromkeys(row["program"] for row in rows))
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    cells = {(row["program"], row["kind"]): _spread(row) for row in rows}
    return table(("program", *kinds), [(name, *(cells[name, kind] for kind in kinds)) for name in programs])


def drifts() -> str:
    """How many drifts were tried, and how many exceeded a bound."""
    found = load("regret")
    tried = f"{found['drifts']:,} random drifts in {found['boxes']} boxes, {found['moved']:,} of which"
    return f"{tried} move a layer to a bound or off it: {found['violations']} exceed any of the four bounds"


def regret_against() -> str:
    """Bound over the worst regret found, by layers, width of the box and condition number."""
    rows = load("regret")["against"]
    words = {"layers": "{:g} layers", "width": "boxes of ±{:.0%}", "condition": "L / mu from {:,.0f} on"}
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    cells: dict[str, list[str]] = {}
    for row in rows:
        cells.setdefault(words[row["against"]].format(row["value"]), []).append(_spread(row))
    return table(("", *kinds), [(name, *of) for name, of in cells.items()])


def linear_term() -> str:
    """The term that the paper's proof of Theorem 4 drops, per program."""
    heads = (
        "program",
        "drifts",
        "largest share of the linear term",
        "its share above 1%",
        r"$\tfrac{L}{2} \lVert x_S - x_T \rVert^2 < R$",
    )
    rows = [
        (row["program"], f"{row['drifts']:,}", f"{row['largest']:.1%}", f"{row['present']:,}", f"{row['fails']:,}")
        for row in load("regret")["proof_step"]
    ]
    return table(heads, rows)


def agreement_text() -> str:
    """What was measured."""
    return str(load("agreement")["text"])


def agreement() -> str:
    """Every method against a few."""
    found = load("agreement")
    names, matrix = found["names"], found["rank_correlation"]
    heads = [name for name in ("block-fisher", "mc-fisher", "ggn", "gradient", "layer ablation") if name in names]
    columns = [names.index(head) for head in heads]
    rows = [(name, *(f"{row[j]:.2f}" for j in columns)) for name, row in zip(names, matrix, strict=True)]
    return table(("method", *heads), rows)


def prediction() -> str:
    """Predicted and measured decrease per surrogate."""
    rows = [
        (
            name,
            _number(row.get("tau")),
            _of(row.get("layers_that_fell"), row),
            _of(row.get("layers_that_fell_held_out"), row),
            _number(row.get("median_share_of_the_promise")),
            _number(row.get("rank_correlation")),
            _number(row.get("rank_correlation_held_out")),
        )
        for name, row in load("prediction")["rows"].items()
        if "refused" not in row
    ]
    heads = ("surrogate and text", "tau", "loss fell", "fell on held-out text", "share of the prediction (median)")
    return table((*heads, "rank correlation", "held out"), rows)


def menus() -> str:
    """Choices: bound, optimum, check, and HiGHS beside them."""
    found = load("menus")
    model, names = found["252 x 6"]["summary"], {"gap ms": "certified gap", "optimum ms": "proved optimum"}
    names |= {"check ms": "check of the proof", "HiGHS ms": "HiGHS, no gap", "HiGHS, defaults ms": "HiGHS, defaults"}
    rows = [
        (f"252 x 6, {name}", f"{model[key]['median']:.1f}", f"{model[key]['largest']:.1f}")
        for key, name in names.items()
    ]
    for size, key in (
        ("10,000 x 8, fine costs", "gap below 1e-6"),
        ("10,000 x 8, fine costs", "optimum"),
        ("10,000 x 8, coarse costs", "gap below 1e-6"),
        ("125,000 x 8", "first choice"),
    ):
        row = found[size][key]
        rows.append((f"{size}, {key} (gap {row['gap']:.1e})", f"{row['ms']:,.0f}", ""))
    return table(("task", "median ms", "largest ms"), rows)


def menus_audit() -> str:
    """Every contestant, over all families."""
    rows = []
    for name, families in load("menus_audit")["tallies"].items():
        asked, claimed, wrong, worse = (
            sum(row[key] for row in families.values()) for key in ("asked", "claimed", "wrong", "suboptimal")
        )
        rows.append((name, f"{asked:,}", f"{claimed:,}", f"{wrong:,}", f"{worse:,}"))
    return table(("solver", "instances", 'answers "optimal"', "of these wrong", "not optimal"), rows)


def menus_drift() -> str:
    """What was tried, and what came out."""
    found = load("menus_drift")
    exact = found["exact worst regret over the bound"][2]
    return (
        f"{found['drifts']:,} drifts of the losses of {found['instances']:,} instances. The regret was above the bound "
        f"{found['regret above the bound']} times; the exact worst regret is {exact:.0%} of the bound in the median."
    )


def surrogates() -> str:
    """Processor time and memory of every surrogate that was run."""
    found = load("surrogates")
    rows = [
        (name, f"{cost['seconds']:.1f}", f"{found['times_plain'][name]:.2f} x", f"{cost['bytes'] / 1e9:.2f} GB")
        for name, cost in found["cost"].items()
        if "seconds" in cost
    ]
    return table(("surrogate", "seconds", "times plain", "peak memory beyond the model"), rows)


def side_by_side() -> str:
    """The same quantity by zetaplan, by curvlinops and by the recipe of published code."""
    rows = [
        (
            quantity,
            name,
            f"{row['median_processor_seconds']:.1f}",
            f"{row['median_ratio_to_zetaplan']:.2f} x",
            "" if row["largest_relative_error"] is None else f"{row['largest_relative_error']:.1e}",
        )
        for quantity, found in load("side_by_side")["quantities"].items()
        for name, row in found.items()
    ]
    return table(("quantity", "tool", "processor seconds", "time, zetaplan = 1", "relative error"), rows)


def ranks() -> str:
    """How far the scores of several processes are from those of one."""
    found = load("distributed")["largest_relative_difference_to_one_rank"]
    return ", ".join(f"{size} ranks {_number(difference)}" for size, difference in found.items())


def gpu() -> str:
    """What was measured on a GPU, if anything was."""
    if not (RESULTS / "gpu.json").exists():
        return "Not measured on a GPU."
    found = load("gpu")
    rows = [
        (
            name,
            f"{step['seconds']:.2f} s",
            f"{step['bytes'] / 2**30:.1f} GiB",
            _number(step["difference_to_the_cpu"]),
        )
        for name, step in found["steps"].items()
    ]
    facts = f"{found['device']}; {found['parameters']:,} parameters in bfloat16, {found['tokens']:,} tokens."
    return facts + "\n\n" + table(("step", "time", "memory", "difference to the CPU in float32"), rows)


def joint() -> str:
    """Pruning and LoRA under one budget, by method."""
    found = load("joint")
    rows = []
    for name, row in found["methods"].items():
        plan, over = found["plans"][name], row["over_uniform"]
        ends = (f"{over[key][0]:+.3f} to {over[key][1]:+.3f}" for key in ("over_seeds", "over_windows"))
        shape = (f"{plan['sparsity']:.2%}", f"{plan['mean_rank']:.2f}", f"{row['before']:.3f}", f"{row['loss']:.3f}")
        rows.append((name, *shape, *(("", "", "") if name == "uniform" else (f"{over['mean']:+.3f}", *ends))))
    heads = ("method", "sparsity", "mean rank", "loss before training", "after", "over uniform")
    return table((*heads, "interval over seeds", "interval over windows"), rows)


def _spread(row: dict[str, Any]) -> str:
    """Median and largest."""
    return f"{row['median']:.4g} ({row['largest']:.3g})"


def _of(count: int | None, row: dict[str, Any]) -> str:
    return f"{count} of {len(row['gain'])}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
