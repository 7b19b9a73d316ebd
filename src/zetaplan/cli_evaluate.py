"""`zetaplan evaluate`: perplexity on a text, accuracy on multiple choice, with what paired comparisons need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zetaplan.errors import SpecError
from zetaplan.scoring.records import counted


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A folder with safetensors, a .gguf file, a hub name in the local cache, or smollm2.")
    ],
    text: Annotated[
        Path | None, typer.Option(help="A UTF-8 text for perplexity; texts of records (.jsonl, .json) are joined.")
    ] = None,
    choices: Annotated[
        Path | None, typer.Option(help="A .jsonl file: ctx (or sentence1, sentence2), choices, 0-based gold.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="The field of a record that holds its text, or an item's prompt.")
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens per window.")] = 1024,
    stride: Annotated[int, typer.Option(help="How far a window moves, below length; every token counts once.")] = 512,
    tokens: Annotated[int | None, typer.Option(help="Only this many tokens of the text.")] = None,
    items: Annotated[int | None, typer.Option(help="Only this many items, evenly spread.")] = None,
    template: Annotated[str, typer.Option(help="What the prompt is put into.")] = "{prompt}",
    lm_eval: Annotated[
        Path | None,
        typer.Option(help="Measure the items by lm-eval too (an extra), through a local task written to this folder."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float64; as stored if not given.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A JSON file with every window and item, for paired comparisons.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Measure a model: perplexity with a stride, zero-shot multiple choice by log-likelihood, 95 % intervals."""
    if text is None and choices is None:
        raise SpecError("text and choices: give at least one of the two")
    if lm_eval is not None and choices is None:
        raise SpecError("lm-eval: measures multiple choice; give --choices")
    from zetaplan import evaluation
    from zetaplan.files import canonical, write
    from zetaplan.scoring import load_model

    progress = not (quiet or as_json)
    read = evaluation.read_items(choices, template=template, limit=items, field=field) if choices else ()
    loaded = load_model(model, device=device, dtype=dtype, progress=progress)
    facts: dict[str, Any] = {"model": loaded.name, "model_sha256": loaded.sha256}
    if text:
        ids = evaluation.read_tokens(text, loaded.tokenizer, field=field)[:tokens]
        found = evaluation.perplexity(loaded, ids, length=length, stride=stride, progress=progress)
        facts["perplexity"] = evaluation.perplexity_facts(found) | {"text": text.name}
    if read:
        answers = evaluation.multiple_choice(loaded, read, progress=progress)
        facts["multiple_choice"] = evaluation.answers_facts(answers) | {"choices": str(choices), "template": template}
        if lm_eval:
            from zetaplan.harness import by_lm_eval

            theirs = by_lm_eval(loaded, read, lm_eval, progress=progress)
            facts["lm_eval"] = evaluation.answers_facts(theirs) | {"task": str(lm_eval)}
    if out:
        write(out, canonical(facts))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    elif not quiet:
        typer.echo("\n".join(_words(facts) + ([f"written: {out}"] if out else [])))


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
    return f"{value['mean']:.4f} (95 % interval {value['low']:.4f} to {value['high']:.4f})"
