"""The committed result of pruning: every plan removes half of the weights."""

import json

from benchmarks import pruning


def test_every_plan_has_the_same_sparsity() -> None:
    cells = json.loads(pruning.RESULT.read_text(encoding="utf-8"))["cells"]
    assert all(found["sparsity"] == 0.5 for row in cells.values() for found in row.values())
