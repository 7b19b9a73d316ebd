"""Do derivatives predict what one move changes? `python -m benchmarks.moves --text wiki.valid.raw`

At the uniform plan of a task of the tables, every move of one level of every n-th single linear is measured, on the
sequences of one round, and predicted from the same sequences by slopes of the first and of the second order. One row
for every task in results/moves.json; rows that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.tables.setting import TASKS, Setting
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.models.slopes import Slopes
from zetaplan.scoring import load_model
from zetaplan.scoring.model.gguf import cache_folder

RESULT = common.result("moves")


def row(setting: Setting, every: int) -> dict[str, object]:
    levels, text, model = setting.levels("modules"), setting.portions[0], setting.loaded.model
    at = setting.changes(dict(levels.uniform), "modules")
    moves = [
        (block, option)
        for block in list(levels.costs)[::every]
        for option in levels.neighbours(block, levels.uniform[block])
    ]
    after = [{**at, **levels.values(*move)} for move in moves]
    point, started = OperatingPoint(model, text.batches), time.monotonic()
    base = point.settle(at).divergence
    measured = [float((point.reading(changes).divergence - base).mean()) for changes in after]
    seconds = {"measured": time.monotonic() - started}
    predicted = {}
    for order in (1, 2):
        started = time.monotonic()
        found = Slopes(model, at, after, order).of(text.rows)
        seconds[f"order {order}"] = time.monotonic() - started
        predicted[f"order {order}"] = np.mean([changes for _, changes in found], 0).tolist()
    more = [levels.cost(*move) > levels.cost(move[0], levels.uniform[move[0]]) for move in moves]
    return {
        "moves": moves,
        "larger": more,
        "divergence": float(base.mean()),
        "sequences": len(text.rows),
        "measured": measured,
        **predicted,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "machine": common.processor(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=("wanda-50", "rtn-4.25", "rtn-3.25"))
    parser.add_argument("--every", type=int, default=8, help="linears from one that is measured to the next")
    options = parser.parse_args()
    rows = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    loaded = load_model(options.model)
    for task in options.tasks:
        if task not in rows:
            rows[task] = row(Setting(loaded, TASKS[task], options.text, cache_folder()), options.every)
            common.save("moves", rows)


if __name__ == "__main__":
    main()
