"""Command `zetaplan evaluate`: perplexity and divergence on a text, accuracy on multiple choice, results per item."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zetaplan._outputs import Output, claim, of_schema, task_files
from zetaplan._plural import counted
from zetaplan.cli.options import Force, Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import EvaluateOptions

FEW = 1000  # scored tokens: with fewer, the perplexity says more about the text than about the model


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
    """Measure perplexity, divergence from a dense model, and multiple-choice accuracy, with 95% intervals."""
    from zetaplan._files import canonical, write
    from zetaplan.jobs import pipelines

    claim(_outputs(out, options.lm_eval), [model, *options.inputs], force=force)
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
    if d := facts.get("against"):
        lines += _divergence(d)
    if p and p["scored"] < FEW:
        lines += [f"caution: {counted(p['scored'], 'scored token')}, fewer than {FEW:,}; measure on a longer text"]
    for key, who in (("multiple_choice", ""), ("lm_eval", ", by lm-eval")):
        if a := facts.get(key):
            where = f"on {counted(len(a['items']), 'item')}{who}"
            lines += [f"accuracy ({name}) {_spread(a[name])} {where}" for name in ("sum", "normalised")]
    return lines


def _divergence(d: dict[str, Any]) -> list[str]:
    kl = d["kl"]
    return [
        f"perplexity {d['perplexity']['value']:.3f} of {d['model']}; ln of the ratio {_range(d['loss_difference'])}",
        f"KL divergence from {d['model']}, nats per token: mean {_range(kl['mean'])}, median {_range(kl['median'])}, "
        f"99.9% quantile {_range(kl['quantile_99.9'])}, maximum {kl['maximum']:.4g}",
        f"probability of the true token: RMS difference {_range(d['rms_dp'], '.3%')}",
        f"same top token {_range(d['same_top'], '.2%')}",
    ]


def _spread(value: dict[str, Any]) -> str:
    return _range({**value, "value": value["mean"]}, ".4f")


def _range(value: dict[str, Any], digits: str = ".4g") -> str:
    if value["low"] is None:
        return f"{value['value']:{digits}}"
    return f"{value['value']:{digits}} (95% interval {value['low']:{digits}} to {value['high']:{digits}})"
