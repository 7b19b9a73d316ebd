"""Command `zetaplan score`: measures the curvature-adjusted gain of every block of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._digits import percent_at_most
from zetaplan._outputs import Output, claim, of_schema
from zetaplan._plural import counted
from zetaplan.cli.options import Force, Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import ScoreOptions

if TYPE_CHECKING:
    from zetaplan.scoring import Scores


def score(
    model: Model,
    options: ScoreOptions,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the scores.")] = Path("scores.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the curvature-adjusted gain of every layer, with its noise floor and standard error."""
    from zetaplan.documents.convert import save_scores, scores_document
    from zetaplan.jobs import pipelines
    from zetaplan.plans.notes import prediction_note, ranking_warning
    from zetaplan.reports.tables import scores_table

    claim([Output(out, of_schema("scores"))], [model, *options.data, *options.held_out], force=force)
    scores = pipelines.score(model, options, progress=not (quiet or as_json))
    if scores is None:
        return
    save_scores(scores, out)
    show(scores_document(scores).text(), scores_table(scores), as_json, quiet)
    found = (ranking_warning(scores), prediction_note(scores), _sketch_note(scores))
    notes = [f"note: {note}" for note in found if note]
    tell(
        "\n".join(
            [*notes, f"scores of {counted(len(scores.names), scores.blocks.removesuffix('s'))} written to {out}"]
        ),
        quiet or as_json,
    )


def _sketch_note(scores: Scores) -> str | None:
    sketch = scores.provenance.get("sketch")
    if not sketch:
        return None
    worst = max(sketch["relative_error"])
    error = f"a relative error of at most {percent_at_most(worst)} (one sigma)"
    return f"sketches of rank {sketch['rank']} give the gains {error}"
