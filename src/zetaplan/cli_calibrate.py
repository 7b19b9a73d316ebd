"""`zetaplan calibrate`: the exponent kappa with which a plan fits a method of removing weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    model: Annotated[
        str, typer.Argument(help="A folder with safetensors, a .gguf file, a hub name in the local cache, or smollm2.")
    ],
    method: Annotated[str, typer.Option(help="magnitude, wanda or sparsegpt.")] = "wanda",
    data: Annotated[
        list[str] | None,
        typer.Option(help="Text or records to measure on; repeatable. 'pydoc', the default: Python's own help texts."),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="The field of a record that holds its text; text, ctx or sentence1 if not given.")
    ] = None,
    sequences: Annotated[int, typer.Option(help="How many sequences of the text.")] = 8,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 128,
    level: Annotated[
        list[float] | None,
        typer.Option(help="A sparsity to prune to; repeatable. 0.5 and 0.7 if not given."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float64; as stored if not given.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A JSON file with the curves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Prune one layer at a time, measure how the loss rises, and say which --kappa makes `prune` fit the method."""
    from zetaplan.calibration import LEVELS, loss_curves
    from zetaplan.files import canonical, write
    from zetaplan.scoring import load_model, read_sequences

    progress = not (quiet or as_json)
    loaded = load_model(model, device=device, dtype=dtype, progress=progress)
    text = read_sequences(data or ["pydoc"], loaded.tokenizer, sequences=sequences, length=length, field=field)
    found = loss_curves(loaded, method, text, levels=sorted(level) if level else LEVELS, progress=progress)
    facts = {
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "method": method,
        "data": text.description,
        "data_sha256": text.sha256,
        "levels": found.levels.tolist(),
        "names": found.names,
        "rise": found.rise.tolist(),
        "exponent": found.exponent,
        "kappa": found.kappa,
    }
    if out:
        write(out, canonical(facts))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    elif not quiet:
        typer.echo(f"by {method} the loss of one layer rises like rho^{found.exponent:.2f}, the median of the layers")
        typer.echo(f"plan for it with: zetaplan prune SCORES --kappa {found.kappa:.3g}")
        if out:
            typer.echo(f"written: {out}")
