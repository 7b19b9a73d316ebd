"""A task on a model, the texts of its plans, and what every plan cost and reached."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from zetaplan.models.inputs import Inputs
from zetaplan.models.operating_point import Changes, OperatingPoint, Reading
from zetaplan.refining.journal import Journal, journal
from zetaplan.refining.levels import Levels, find_levels
from zetaplan.refining.meter import Meter
from zetaplan.refining.texts import Text, portions, text_of
from zetaplan.scoring import LoadedModel, Scores, Sequences, read_sequences, score
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import layer_blocks
from zetaplan.scoring.text.sequences import checked_batches, digest

Point = dict[str, str]

#: Tokens of a sequence, and of the unit in which costs are stated.
LENGTH, UNIT = 128, 1024

#: Sequences of a draw of calibration text, and the largest number of a draw.
CALIBRATION, DRAWS = 32, 2

#: First and last sequence of the text for every purpose; none is in two of them, nor in a draw.
PLACES = {"calibrate": (0, CALIBRATION), "propose": (100, 164), "accept": (300, 332)}

#: First sequence of those that are reported.
REPORT = 1000

PORTION, SEQUENCES = 8, 2000


@dataclass(frozen=True)
class Task:
    """method, budget, options : of `zetaplan.refine`. evaluations : of the refinement. reported : sequences.

    Formats differ less than plans of sparsity, so that they are compared on more text.
    """

    method: str
    budget: str
    options: tuple[str, ...] = ()
    evaluations: int = 126
    reported: int = 64


def formats(method: str, budget: str, options: tuple[str, ...] = ()) -> Task:
    return Task(method, budget, options, reported=256)


def symmetric(*bits: int) -> tuple[str, ...]:
    return tuple(f"int{b}-g64" for b in bits)


#: By the name in the tables. The budget of formats is that of one format everywhere: its bytes. The file of SmolLM2
#: has linears of q4_1, which is therefore no option.
TASKS: Mapping[str, Task] = {
    "wanda-50": Task("wanda", "0.5"),
    "wanda-60": Task("wanda", "0.6"),
    "magnitude-50": Task("magnitude", "0.5"),
    "sparsegpt-50": Task("sparsegpt", "0.5"),
    "rtn-4.25": formats("rtn", "int4-g64", symmetric(2, 3, 4, 5, 6, 8)),
    "rtn-3.25": formats("rtn", "int3-g64", symmetric(2, 3, 4, 5, 6, 8)),
    "rtn-3.5": formats("rtn", "int3-g64-asym"),
    "rtn-4.5": formats("rtn", "int4-g64-asym"),
    "gptq-3.5": formats("gptq", "gptq3-g64-asym"),
    "gguf-5.5": formats("gguf", "q5_0", ("q4_0", "q5_0", "q8_0")),
    "drop-fifth": Task("drop", "0.2"),
    "svd-20": Task("svd-llm", "0.2", evaluations=60),
}


@dataclass(frozen=True)
class Planned:
    """A plan over blocks of a kind, and what finding it cost.

    tokens : of all evaluations. seconds : of these or of scoring.
    """

    point: Point
    blocks: str = "layers"
    evaluations: int = 0
    tokens: int = 0
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


class Setting:
    """One task on one model. text : the file of all texts. folder : of journals and weights.

    draw : 0, or the number of another draw of calibration text of the same length.
    """

    def __init__(self, loaded: LoadedModel, task: Task, text: Path, folder: Path | None = None, draw: int = 0) -> None:
        self.loaded, self.folder = loaded, folder
        count = len(layer_blocks(loaded.model))
        self.task = task if task.method != "drop" else replace(task, budget=str(round(float(task.budget) * count)))
        rows = read_sequences([str(text)], loaded.tokenizer, sequences=SEQUENCES, length=LENGTH)
        first, last = (place + draw * CALIBRATION for place in PLACES["calibrate"])
        places = {**PLACES, "calibrate": (first, last), "report": (REPORT, REPORT + task.reported)}
        self.rows = {name: rows.input_ids[first:last] for name, (first, last) in places.items()}
        self.inputs = Inputs(
            loaded.model,
            checked_batches(self.rows["calibrate"], model=loaded.model),
            folder,
            name=loaded.name,
            sha256=loaded.sha256,
        )
        self._levels: dict[str | None, Levels] = {}

    def levels(self, blocks: str | None = "layers") -> Levels:
        """blocks : None for those that a refinement takes by default."""
        if blocks not in self._levels:
            self._levels[blocks] = find_levels(
                self.task.method,
                inputs=self.inputs,
                budget=self.task.budget,
                blocks=blocks,
                step="0.05",
                options=self.task.options,
                start=None,
                moves="curvature",
            )
        return self._levels[blocks]

    @cached_property
    def portions(self) -> list[Text]:
        return portions(self.rows["propose"], self.loaded.model, PORTION)

    @cached_property
    def accepting(self) -> Text:
        return text_of(self.rows["accept"], self.loaded.model)

    @cached_property
    def scored(self) -> Sequences:
        """The calibration text, for scores and for peers."""
        return sequences_of(self.rows["calibrate"])

    @cached_property
    def scores(self) -> tuple[Scores, float]:
        """Scores of the layers by the block Fisher, and the seconds they took."""
        started = time.monotonic()
        return score(self.loaded, self.scored, curvature="block-fisher"), time.monotonic() - started

    @cached_property
    def _reporting(self) -> OperatingPoint:
        return OperatingPoint(self.loaded.model, text_of(self.rows["report"], self.loaded.model).batches, resume=False)

    def reported(self, planned: Planned) -> Reading:
        """The plan on the text that nothing was chosen on."""
        return self._reporting.reading(self.changes(planned.point, planned.blocks))

    def changes(self, point: Point, blocks: str) -> Changes:
        """The changes to the model by the options of blocks of this kind."""
        values = (self.levels(blocks).values(block, option) for block, option in point.items())
        return {name: value for own in values for name, value in own.items()}

    def measuring(self) -> Measuring:
        return Measuring(self.levels(), self.folder, {**self.inputs.facts, "tables": self.task.method})


class Measuring:
    """Evaluations of plans by layers, kept in a journal, with their cost."""

    def __init__(self, levels: Levels, folder: Path | None, facts: Mapping[str, object]) -> None:
        self.levels, self._context = levels, journal(folder, facts, Ranks())
        self.tokens = 0

    def __enter__(self) -> Measuring:
        book: Journal = self._context.__enter__()
        self.meter = Meter(self.levels, book, Ranks(), tqdm(disable=True))
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)

    def divergence(self, text: Text, plan: Point, near: Point | None = None) -> float:
        before = self.meter.evaluations
        [found] = self.meter.readings(text, [plan], near)
        if self.meter.evaluations > before:
            self.tokens += tokens_of(text)
        return float(found.divergence.mean())

    def planned(self, point: Point, **facts: object) -> Planned:
        return Planned(dict(point), "layers", self.meter.evaluations, self.tokens, self.meter.seconds, facts)


def tokens_of(text: Text) -> int:
    return sum(batch["labels"].numel() for batch in text.batches)


def sequences_of(rows: torch.Tensor) -> Sequences:
    """Rows of ids as text."""
    batch = checked_batches(rows)
    return Sequences(rows, torch.ones_like(rows), rows, digest(batch), (), "rows of the text")
