"""`zetaplan apply`: the weights that a sparsity plan names are removed, and the model is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from zetaplan.errors import CertificateError


def apply(
    model: Annotated[
        str, typer.Argument(help="A folder with safetensors, a .gguf file, a hub name in the local cache, or smollm2.")
    ],
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", help="A file written by `prune`; for --check, any plan or export.")
    ],
    method: Annotated[str, typer.Option(help="magnitude, wanda or sparsegpt.")] = "wanda",
    data: Annotated[
        list[str] | None,
        typer.Option(help="Calibration text, or records; repeatable. 'pydoc', the default: Python's own help texts."),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="The field of a record that holds its text; text, ctx or sentence1 if not given.")
    ] = None,
    sequences: Annotated[int, typer.Option(help="How many sequences calibrate.")] = 32,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 128,
    structure: Annotated[
        Literal["unstructured", "2:4"], typer.Option(help="2:4: two of every four; the plan has to take half.")
    ] = "unstructured",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float64; as stored if not given.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if an entry of the plan would not be used.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the pruned model.")] = Path("pruned"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Remove exactly as many weights of every block as the plan says, layer by layer, and save the model."""
    if check:
        _tell_check(_wrong(model, plan), plan, as_json, quiet)
        return
    from zetaplan.applying import apply_pruning
    from zetaplan.checking import load_plan
    from zetaplan.pruned import record, require_new, save_pruned
    from zetaplan.pruners import find_pruner
    from zetaplan.scoring import load_model, read_sequences

    progress = not (quiet or as_json)
    wanted, calibrated = load_plan(plan), find_pruner(method).calibrated
    require_new(out)
    loaded = load_model(model, dtype=dtype, progress=progress)
    text = None
    if calibrated:
        text = read_sequences(data or ["pydoc"], loaded.tokenizer, sequences=sequences, length=length, field=field)
    applied = apply_pruning(loaded, wanted, method, text, structure=structure, progress=progress)
    facts = record(applied, wanted, loaded, text)
    save_pruned(loaded, applied, facts, out)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    elif not quiet:
        removed = sum(block.removed for block in applied.blocks)
        typer.echo(f"{removed:,} weights of {len(applied.blocks)} blocks removed ({applied.sparsity:.2%}) by {method}")
        if note := facts["note"]:
            typer.echo(f"note: {note}")
        typer.echo(f"written: {out}")


def _wrong(model: str, file: Path) -> tuple[str, ...]:
    """What of a plan, or of settings for another tool, the model would ignore or take otherwise; its weights stay."""
    from zetaplan.applying import mismatches
    from zetaplan.checking import load_plan
    from zetaplan.exports import check_file, is_plan
    from zetaplan.scoring.skeleton import skeleton

    if is_plan(file) and (wanted := load_plan(file)).rounded.counts_parameters:
        return mismatches(skeleton(model), wanted)
    return tuple(map(str, check_file(file, model)[1]))


def _tell_check(wrong: tuple[str, ...], plan: Path, as_json: bool, quiet: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"plan": str(plan), "fits": not wrong, "mismatches": wrong}, indent=2))
    if wrong:
        raise CertificateError(f"{plan} does not fit this model: {'; '.join(wrong)}")
    if not (as_json or quiet):
        typer.echo(f"{plan} fits: every entry meets one block of the model, or the modules that it means")
