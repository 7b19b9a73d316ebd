"""The whole job on a model and a text that need no download: score, allocate, prune, certify, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zetaplan.documents.convert import save_scores
from zetaplan.errors import SpecError
from zetaplan.plans.planner import Plan, allocate, prune
from zetaplan.reports.report import write_report
from zetaplan.scoring import load_model, read_sequences, score

MEAN_RANK, SPARSITY, CAP = 8.0, 0.5, 0.8


@dataclass(frozen=True, eq=False)
class Demonstration:
    """Both plans, made from the same scores, and the files that were written."""

    allocation: Plan
    pruning: Plan
    files: tuple[Path, ...]


def demonstrate(
    folder: Path, *, model: str = "smollm2", sequences: int = 32, length: int = 128, progress: bool = False
) -> Demonstration:
    """Score the layers of the model on Python's own help texts, plan ranks and sparsity, write all of it to the folder.

    Raises ScoringError if the model is not installed and SpecError if the folder cannot be written.
    """
    loaded = load_model(model, progress=progress)
    text = read_sequences(["pydoc"], loaded.tokenizer, sequences=sequences, length=length)
    scores = score(loaded, text, progress=progress)
    plans = allocate(scores, mean_rank=MEAN_RANK), prune(scores, sparsity=SPARSITY, upper=CAP)
    _make(folder)
    files = [save_scores(scores, folder / "scores.json")]
    for plan in plans:
        name = plan.instance.program.name
        files += [plan.save(folder / f"{name}.json")]
        files += write_report(plan, folder / f"{name}.html", file=f"{name}.json")
    return Demonstration(*plans, tuple(files))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from error
