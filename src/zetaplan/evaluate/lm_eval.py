"""Multiple choice by lm-eval, the harness of published results, on the items of a file: a local task.

The task is read from a folder, so nothing is downloaded, and lm-eval's own command can use the same folder. lm-eval
tokenises, batches and sums by its own code; its results are returned in the form of `multiple_choice`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from zetaplan._files import write
from zetaplan._yaml import dumped
from zetaplan.errors import SpecError
from zetaplan.evaluate.choices import Answers, Item
from zetaplan.scoring import LoadedModel

TASK = "zetaplan_choices"


def write_task(items: Sequence[Item], folder: Path) -> Path:
    """Write the items as a task of lm-eval: `choices.jsonl`, and the YAML file that names it. Returns the YAML file.

    Raises SpecError if the folder cannot be created or written.
    """
    records = (
        {"prompt": item.prompt.rstrip(), "choices": [choice.strip() for choice in item.choices], "gold": item.gold}
        for item in items
    )
    data = write(folder / "choices.jsonl", "".join(f"{json.dumps(record)}\n" for record in records))
    task = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_bytes")
        ],
    }
    return write(folder / f"{TASK}.yaml", dumped(task))


def by_lm_eval(
    model: LoadedModel, items: Sequence[Item], folder: Path, *, batch_size: int = 16, progress: bool = False
) -> Answers:
    """The results of lm-eval for the items, which are written to the folder as its task.

    Raises SpecError if lm-eval is not installed, or the folder cannot be written.
    """
    try:
        lm_eval, tasks = import_module("lm_eval"), import_module("lm_eval.tasks")
        wrapper = import_module("lm_eval.models.huggingface").HFLM
    except ImportError as error:
        raise SpecError(f"lm-eval is not installed ({error}); install zetaplan[lm-eval]") from error
    write_task(items, folder)
    manager = tasks.TaskManager(include_path=str(folder.resolve()), include_defaults=False)
    with nullcontext() if progress else redirect_stderr(io.StringIO()):
        wrapped = wrapper(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size)
        found = lm_eval.simple_evaluate(wrapped, tasks=[TASK], task_manager=manager, bootstrap_iters=0)
    samples: list[dict[str, Any]] = sorted(found["samples"][TASK], key=lambda sample: int(sample["doc_id"]))
    rows = (np.array([value for value, _ in sample["filtered_resps"]]) for sample in samples)
    return Answers(tuple(items), tuple(rows))
