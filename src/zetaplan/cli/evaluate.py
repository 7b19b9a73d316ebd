"""`zetaplan evaluate`: perplexity on a text, accuracy on multiple choice, with what paired comparisons need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zetaplan.cli.options import Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import EvaluateOptions


def evaluate(
    model: Model,
    options: EvaluateOptions,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A JSON file with every window and item, for paired comparisons.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model: perplexity with a stride, zero-shot multiple choice by log-likelihood, 95% intervals."""
    from zetaplan._files import canonical, write
    from zetaplan.jobs import pipelines

    facts = pipelines.evaluate(model, options, progress=not (quiet or as_json))
    if out:
        write(out, canonical(facts))
    show(facts, None, as_json, quiet)
    tell("\n".join(_words(facts) + ([f"written: {out}"] if out else [])), quiet or as_json)


def _words(facts: dict[str, Any]) -> list[str]:
    from zetaplan.scoring.text.records import counted

    lines = []
    if p := facts.get("perplexity"):
        windows = f"{counted(p['scored'], 'token')}, {p['length']} a window, stride {p['stride']}"
        lines += [f"perplexity {p['value']:.3f} ({windows}); loss per token {_spread(p['loss'])}"]
    for key, who in (("multiple_choice", ""), ("lm_eval", ", by lm-eval")):
        if a := facts.get(key):
            where = f"on {counted(len(a['items']), 'item')}{who}"
            lines += [f"accuracy ({name}) {_spread(a[name])} {where}" for name in ("sum", "normalised")]
    return lines


def _spread(value: dict[str, Any]) -> str:
    if value["low"] is None:
        return f"{value['mean']:.4f}"
    return f"{value['mean']:.4f} (95% interval {value['low']:.4f} to {value['high']:.4f})"
