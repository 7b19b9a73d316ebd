"""Command `zetaplan calibrate`: fits the exponent kappa of a plan to a pruning method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import Output, claim, of_schema
from zetaplan.cli.options import Force, Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import CalibrateOptions


def calibrate(
    model: Model,
    options: CalibrateOptions,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the loss curves.")] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prune one layer at a time, measure the increase of the loss, and print the --kappa of `prune` for the method."""
    from zetaplan._files import canonical, write
    from zetaplan.jobs import pipelines

    if out:
        claim([Output(out, of_schema("calibration"))], [model, *options.data], force=force)
    found, facts = pipelines.calibrate(model, options, progress=not (quiet or as_json))
    if out:
        write(out, canonical(facts))
    show(facts, None, as_json, quiet)
    law = f"pruning one layer by {options.method} raises the loss like rho^{found.exponent:.2f} (median of the layers)"
    lines = [law, f"use this exponent in a plan: zetaplan prune SCORES --kappa {found.kappa:.3g}"]
    tell("\n".join(lines + ([f"written: {out}"] if out else [])), quiet or as_json)
