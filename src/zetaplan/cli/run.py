"""Command `zetaplan run`: runs all steps of a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zetaplan.cli.options import Force, Json, Quiet
from zetaplan.cli.output import show, tell

if TYPE_CHECKING:
    from zetaplan.jobs.run import Step


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file; see the folder `examples`.")],
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the steps of a job whose inputs have changed: score, plan, refine, verify, report, export, apply, evaluate.

    With a text to evaluate, a pruned model is compared with uniform pruning; `guard: false` turns that off. A refined
    plan is always compared with uniform.
    """
    from zetaplan.jobs.run import run as done

    steps = done(config, progress=not (quiet or as_json), force=force)
    facts = [_facts(step) for step in steps]
    show(facts, None, as_json, quiet)
    lines = [f"{step.name}: {'done' if step.ran else 'unchanged'}, {', '.join(map(str, step.files))}" for step in steps]
    notes = [step.note for step in steps if step.note]
    tell("\n".join(notes + lines), quiet or as_json)


def _facts(step: Step) -> dict[str, Any]:
    facts = {"step": step.name, "ran": step.ran, "files": [str(file) for file in step.files]}
    return facts | ({"note": step.note} if step.note else {})
