"""Every committed cell of the tables can be made again: its task and its row exist, and its plan keeps its budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.tables.__main__ import file_of, rows_of
from benchmarks.tables.setting import TASKS

CELLS = sorted((common.RESULTS / "tables").rglob("*.json"))


@pytest.mark.parametrize("file", CELLS, ids=[str(cell.relative_to(common.RESULTS)) for cell in CELLS])
def test_a_cell_has_a_task_and_a_row(file: Path) -> None:
    cell, task = json.loads(file.read_text()), TASKS[file.parent.name]
    assert cell["row"] in rows_of(task.method)
    assert file.name == file_of(cell["row"])
    assert cell["spent"] <= cell["budget"]
    assert len(cell["loss"]) == len(cell["divergence"])
    assert all(len(json.loads(other.read_text())["loss"]) == len(cell["loss"]) for other in file.parent.glob("*.json"))
