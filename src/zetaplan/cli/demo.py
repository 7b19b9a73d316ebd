"""Command `zetaplan demo`: all steps on a model and a text that need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import Output, claim, of_choice, of_plan, of_schema, report_files
from zetaplan.cli.options import Force, Json, Quiet
from zetaplan.cli.output import formats_summary, show, summary, tell


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for scores, plans and reports.")] = Path(
        "zetaplan-demo"
    ),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score SmolLM2-135M on Python's own help texts, then allocate, prune, quantize, certify and report."""
    silent = quiet or as_json
    claim(_outputs(out), [], force=force)
    tell("scoring 30 layers of SmolLM2-135M on 32 sequences (about a minute; longer the first time)", silent)
    from zetaplan.jobs.demo import demonstrate
    from zetaplan.reports.tables import plans_table

    done = demonstrate(out, progress=not silent)
    facts = {
        "valid": all(plan.certificate.valid for plan in done.plans.values()),
        "files": [str(file) for file in done.files],
        "plans": {
            name: dict(zip(plan.names, plan.rounded.units.tolist(), strict=True)) for name, plan in done.plans.items()
        },
        "formats": done.bits.taken,
    }
    show(facts, plans_table(list(done.plans.values())), as_json, quiet)
    for plan in done.plans.values():
        tell(summary(plan), silent)
    tell(formats_summary(done.bits), silent)
    tell("\n".join(["written:", *(f"  {file}" for file in done.files)]), silent)


def _outputs(folder: Path) -> list[Output]:
    """The file of scores, and for each program the files of the plan and its report."""
    kinds = {"allocation": "rank", "pruning": "sparsity"}
    plans = [Output(folder / f"{name}.json", of_plan(kind)) for name, kind in kinds.items()]
    reports = [file for name in kinds for file in report_files(folder / f"{name}.html")]
    menu, bits = Output(folder / "menu.json", of_schema("menu")), Output(folder / "bits.json", of_choice)
    scores = Output(folder / "scores.json", of_schema("scores"))
    return [scores, *plans, *reports, menu, bits, *report_files(folder / "bits.html")]
