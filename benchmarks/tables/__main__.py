"""`python -m benchmarks.tables --model smollm2 --task wanda-50 --text wiki.valid.raw`: one JSON file per cell.

A cell that is there is not run again, and evaluations are kept in a journal, so that a run that was stopped continues.
With --again, the plans of finished cells are measured again on the text that is reported, where this has changed.
With --draw, the plans of finished cells are applied with another calibration text; their cells are in a folder of their
own.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.tables.rows import dropping, formats, measured, sparsity
from benchmarks.tables.setting import DRAWS, TASKS, Planned, Setting
from zetaplan._files import write
from zetaplan.scoring import load_model
from zetaplan.scoring.model.gguf import cache_folder


def rows_of(method: str) -> dict[str, object]:
    """The rows of a method, in the order in which they are run: those that measure last."""
    own = {"drop": dropping, "rtn": formats, "gptq": formats, "gguf": formats}.get(method, sparsity)
    return {"uniform": measured.ROWS["uniform"], **own.ROWS, **measured.ROWS}


def cell(setting: Setting, row: str) -> dict[str, object]:
    started = time.monotonic()
    planned: Planned = rows_of(setting.task.method)[row](setting)  # type: ignore[operator]
    took = time.monotonic() - started
    levels = setting.levels(planned.blocks)
    spent = sum(levels.cost(block, option) for block, option in planned.point.items())
    return {
        "row": row,
        "blocks": planned.blocks,
        "point": planned.point,
        "spent": spent,
        "budget": levels.budget,
        "evaluations": planned.evaluations,
        "tokens": planned.tokens,
        "seconds": round(planned.seconds or took, 1),
        "facts": dict(planned.facts),
        **reached(setting, planned),
        "machine": common.processor(),
    }


def reached(setting: Setting, planned: Planned) -> dict[str, object]:
    """What the plan reaches on the text that is reported."""
    found = setting.reported(planned)
    return {"divergence": found.divergence.tolist(), "loss": found.loss.tolist()}


def plan_in(cell: dict[str, Any]) -> Planned:
    return Planned(cell["point"], cell["blocks"])


def file_of(row: str) -> str:
    """The name of the file of a row."""
    return f"{row.replace('^', '').replace(',', '').replace(' ', '-')}.json"


def content(file: Path) -> dict[str, Any]:
    """The cell in a file; empty if there is none."""
    return json.loads(file.read_text()) if file.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--task", choices=tuple(TASKS), required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--again", action="store_true", help="measure finished plans again where the text has changed")
    parser.add_argument("--draw", type=int, choices=range(DRAWS + 1), default=0, help="of calibration text")
    parser.add_argument("--reported", type=int, help="sequences of the text that is reported; by default the task's")
    parser.add_argument("--evaluations", type=int, help="of a refinement; by default the task's")
    parser.add_argument("--cells", type=Path, default=common.RESULTS / "tables")
    options = parser.parse_args()
    task = TASKS[options.task]
    task = replace(
        task,
        reported=options.reported or task.reported,
        evaluations=options.evaluations or task.evaluations,
    )
    place = Path(Path(options.model).stem, options.task)
    known = options.cells / place
    folder = options.cells / f"draw-{options.draw}" / place if options.draw else known
    setting: Setting | None = None
    for row in options.rows or rows_of(task.method):
        name = file_of(row)
        own, before = content(folder / name), content(known / name)
        done = own and not (options.again and len(own["loss"]) != task.reported)
        if done or (options.draw and not before):
            continue
        setting = setting or Setting(load_model(options.model), task, options.text, cache_folder(), options.draw)
        found = before | reached(setting, plan_in(before)) if before else cell(setting, row)
        write(folder / name, json.dumps(found) + "\n")
        print(row, sum(found["loss"]) / len(found["loss"]), found["evaluations"], found["seconds"], flush=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
