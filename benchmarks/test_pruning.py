"""The page shows the table of pruning methods that the committed result gives."""

import json

from benchmarks import pruning


def test_the_page_of_experiments_holds_the_table_of_its_result() -> None:
    page = pruning.PAGE.read_text(encoding="utf-8")
    cells = json.loads(pruning.RESULT.read_text(encoding="utf-8"))["cells"]
    assert pruning.with_table(page, cells) == page
    assert all(found["sparsity"] == 0.5 for row in cells.values() for found in row.values())
