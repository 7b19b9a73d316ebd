"""Command `zetaplan evaluate`: perplexity on a text and accuracy on multiple choice, with results per item."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zetaplan._outputs import Output, claim, of_schema, task_files
from zetaplan._plural import counted
from zetaplan.cli.options import Force, Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import EvaluateOptions


def evaluate(
    model: Model,
    options: EvaluateOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="JSON file for the results per window and item, for paired comparisons."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the perplexity and zero-shot multiple-choice accuracy of a model, with 95% intervals."""
    from zetaplan._files import canonical, write
    from zetaplan.jobs import pipelines

    claim(_outputs(out, options.lm_eval), [model, *options.files], force=force)
    facts = pipelines.evaluate(model, options, progress=not (quiet or as_json))
    if out:
        write(out, canonical(facts))
    show(facts, None, as_json, quiet)
    tell("\n".join(_words(facts) + ([f"written: {out}"] if out else [])), quiet or as_json)


def _outputs(out: Path | None, task: str | None) -> list[Output]:
    """The file of results, and the two files of an lm-eval task."""
    results = [Output(out, of_schema("evaluation"))] if out else []
    return results if task is None else [*results, *task_files(Path(task))]


def _words(facts: dict[str, Any]) -> list[str]:
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
