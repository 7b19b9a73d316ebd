"""Demonstration on a model and a text that need no download: score, allocate, prune, quantize, certify, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zetaplan.bits.quantize import quantize
from zetaplan.documents.convert import save_scores
from zetaplan.errors import SpecError
from zetaplan.measuring.measure import measure
from zetaplan.menus.plan import ChoicePlan
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.reports.choices import write_choice_report
from zetaplan.reports.report import write_report
from zetaplan.scoring import load_model, read_sequences, score

MEAN_RANK, SPARSITY, CAP = 8.0, 0.5, 0.8
#: Formats of the bits plan, and the average that the middle one takes everywhere.
FORMATS, BITS = ("q4_0", "q5_0", "q8_0"), 5.5
#: Sequences and tokens of the text on which the formats are measured, one block at a time.
FEW, SHORT = 4, 64


@dataclass(frozen=True, eq=False)
class Demonstration:
    """The plans of the same scores by the name of their program, the plan of formats, and the written files."""

    plans: Mapping[str, Plan]
    bits: ChoicePlan
    files: tuple[Path, ...]


def demonstrate(
    folder: Path,
    *,
    model: str = "smollm2",
    sequences: int = 32,
    length: int = 128,
    formats: Sequence[str] = FORMATS,
    bits: float = BITS,
    progress: bool = False,
) -> Demonstration:
    """Score the layers of the model on Python's own help texts, plan ranks, sparsity and bits, and write the files.

    Raises ScoringError if the model is not installed and SpecError if the folder cannot be written.
    """
    loaded = load_model(model, progress=progress)
    text = read_sequences(["pydoc"], loaded.tokenizer, sequences=sequences, length=length)
    scores = score(loaded, text, progress=progress)
    made = allocate(scores, mean_rank=MEAN_RANK), prune(scores, sparsity=SPARSITY, upper=CAP)
    plans = {plan.instance.program.name: plan for plan in made}
    _make(folder)
    files = [save_scores(scores, folder / "scores.json")]
    for name, plan in plans.items():
        files += [plan.save(folder / f"{name}.json")]
        files += write_report(plan, folder / f"{name}.html", file=f"{name}.json")
    few = read_sequences(["pydoc"], loaded.tokenizer, sequences=FEW, length=SHORT)
    menu = measure(loaded, formats, few, progress=progress)
    quantized = quantize(menu, bits_per_weight=bits)
    files += [menu.save(folder / "menu.json"), quantized.save(folder / "bits.json")]
    files += write_choice_report(quantized, folder / "bits.html", file="bits.json")
    return Demonstration(plans, quantized, tuple(files))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from error
