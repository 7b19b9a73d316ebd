"""The table of real texts follows from the committed gains, and the page shows it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from benchmarks import transfer

RESULT: dict[str, Any] = json.loads(transfer.RESULT.read_text())


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, transfer.Table]]:
    return {kind: transfer.tables(RESULT["scored"], kind) for kind in transfer.KINDS}


@pytest.mark.slow
def test_the_page_shows_what_the_gains_give(tables: dict[str, dict[str, transfer.Table]]) -> None:
    summaries = {kind: {name: transfer.summary(table) for name, table in of.items()} for kind, of in tables.items()}
    _, rest = transfer.PAGE.read_text().split(transfer.START)
    assert rest.split(transfer.END)[0] == transfer.page_table(summaries)


@pytest.mark.slow
def test_no_bound_is_below_the_regret(tables: dict[str, dict[str, transfer.Table]]) -> None:
    cells = [cell for of in tables.values() for table in of.values() for row in table for cell in row]
    assert len(cells) == 4 * len(RESULT["scored"]["texts"]) ** 2
    for cell in cells:
        assert all(cell[bound] >= cell["regret"] * (1 - 1e-9) - 1e-12 for bound in transfer.BOUNDS)
        assert 0 <= cell["regret"] < math.inf
        assert cell["regret"] * (1 - 1e-9) - 1e-12 <= cell["worst"] <= cell["box"] * (1 + 1e-9) + 1e-12
