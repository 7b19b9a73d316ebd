"""Command `zetaplan apply`: removes weights from a model by a sparsity plan and saves the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._digits import percent
from zetaplan._plural import counted
from zetaplan.cli.options import Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import CertificateError
from zetaplan.jobs.options import ApplyOptions


def apply(
    model: Model,
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", help="Plan file written by `prune`; with --check, any plan or export.")
    ],
    options: ApplyOptions,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check only, without changing the model; exit 1 if an entry would not be used."),
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the pruned model.")] = Path("pruned"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove the planned number of weights from every block, layer by layer, and save the model."""
    if check:
        _tell_check(_wrong(model, plan), plan, as_json, quiet)
        return
    from zetaplan.documents.choices import load_choice
    from zetaplan.documents.io import schema_of
    from zetaplan.documents.verify import load_plan
    from zetaplan.jobs import pipelines

    read = load_choice if schema_of(plan) == "zetaplan.plan/2" else load_plan
    facts = pipelines.apply(model, read(plan), options, out, progress=not (quiet or as_json))
    show(facts, None, as_json, quiet)
    removed = counted(sum(block["removed"] for block in facts["blocks"]), "weight")
    blocks = counted(len(facts["blocks"]), "block")
    lines = [f"{removed} of {blocks} removed ({percent(facts['sparsity'])}) by {options.method}"]
    lines += [f"note: {note}" for note in (facts["note"], *facts["notes"]) if note]
    tell("\n".join([*lines, f"written: {out}"]), quiet or as_json)


def _wrong(model: str, file: Path) -> tuple[str, ...]:
    """Entries of a plan or of exported settings that do not match the model, without changing its weights."""
    from zetaplan.exports import any_plan, check_file, is_plan
    from zetaplan.models.apply import mismatches
    from zetaplan.plans.plan import Plan
    from zetaplan.scoring.model.meta_model import meta_model

    if is_plan(file) and isinstance(wanted := any_plan(file), Plan) and wanted.kind.counts == "weights":
        return mismatches(meta_model(model), wanted)
    return tuple(map(str, check_file(file, model)[1]))


def _tell_check(wrong: tuple[str, ...], plan: Path, as_json: bool, quiet: bool) -> None:
    show({"plan": str(plan), "fits": not wrong, "mismatches": wrong}, None, as_json, quiet)
    if wrong:
        raise CertificateError(f"{plan} does not fit this model: {'; '.join(wrong)}")
    tell(f"{plan} fits: every entry matches one block of the model, or exactly its modules", quiet or as_json)
