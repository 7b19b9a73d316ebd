"""Command `zetaplan calibrate`: the exponent kappa of a plan, from loss curves of single layers or from whole plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._outputs import Output, claim, of_schema
from zetaplan.cli.options import Force, Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import SpecError
from zetaplan.jobs.options import CalibrateOptions

if TYPE_CHECKING:
    from zetaplan.plans.exponent import Exponent, Tried


def calibrate(
    model: Model,
    options: CalibrateOptions,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="Scores of the model: measure whole plans, and keep the losses in --out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for the loss curves; with --scores, for the scores.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the exponent that `prune` should use for a pruning method.

    Without --scores, one layer at a time is pruned, and the rise of the loss gives --kappa. With --scores, whole plans
    with several exponents, uniform among them, are measured, and `prune` takes the best from the new scores.
    """
    if scores is not None:
        _whole_plans(model, options, scores, out, force, as_json, quiet)
        return
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


def _whole_plans(
    model: str, options: CalibrateOptions, scores: Path, out: Path | None, force: bool, as_json: bool, quiet: bool
) -> None:
    from zetaplan.documents.convert import load_scores, save_scores
    from zetaplan.jobs import pipelines
    from zetaplan.plans.exponent import measured_exponent

    if out is None:
        raise SpecError("--scores: it needs --out, a new file for the scores and the measured losses")
    claim([Output(out, of_schema("scores"))], [model, scores, *options.data], force=force)
    found = pipelines.calibrate_scores(model, load_scores(scores), options, progress=not (quiet or as_json))
    save_scores(found, out)
    measured = measured_exponent(found)
    assert measured  # noqa: S101  it was measured just now
    show(measured.model_dump(mode="json"), None, as_json, quiet)
    tell("\n".join([_verdict(measured), *map(_line, measured.tried), f"written: {out}"]), quiet or as_json)


def _verdict(measured: Exponent) -> str:
    best = measured.best
    if best.kappa == 0:
        return f"uniform was the best plan with {measured.method}; `prune` takes kappa = 0 from these scores"
    better = "better than uniform" if best.high < 0 else "not measurably better than uniform"
    return f"kappa = {best.kappa:g} was the best with {measured.method}, {better}; `prune` takes it from these scores"


def _line(tried: Tried) -> str:
    if tried.kappa == 0:
        return f"  kappa = 0 (uniform): loss {tried.loss:.4f}"
    interval = f"95% interval {tried.low:+.4f} to {tried.high:+.4f}"
    return f"  kappa = {tried.kappa:g}: loss {tried.loss:.4f}, difference {tried.difference:+.4f} ({interval})"
