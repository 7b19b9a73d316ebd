"""A menu measured on several processes is bit for bit that of one; a lost process costs what it had not finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import zetaplan as zp
from tests.ranks import results, started, survivor_of
from tests.tiny_models import shipped, tiny_llama
from zetaplan.documents.choices import menu_document
from zetaplan.measuring.estimators import estimator_names
from zetaplan.menus.menu import Menu

FORMATS = ["int4", "gptq4", "int8"]
IDS = torch.randint(0, 22, (3, 8), generator=torch.Generator().manual_seed(0))

RANK = """
import json, os, sys, time
import torch
from tests.measuring.test_ranks import content, measured
from zetaplan.errors import ScoringError
from zetaplan.measuring.journal import Journal
from zetaplan.scoring.distributed import joined
options = json.loads(sys.argv[1])
if options.pop("slowly", False):
    whole = Journal.estimate
    def estimate(self, block, label, compute):
        found = whole(self, block, label, compute)
        print("finished", flush=True)
        time.sleep(0.3)
        return found
    Journal.estimate = estimate
try:
    with joined(True, torch.device("cpu")):  # one group for all menus: ranks that leave and join again may miss it
        menus = [measured(estimator=name, distributed=True, **options) for name in options.pop("estimators")]
except ScoringError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
print(json.dumps([content(menu) for menu in menus]))
"""


def measured(estimator: str = "measured", kind: str = "llama", cache: Any = False, **options: Any) -> Menu:
    model = tiny_llama(hidden=32, vocabulary=23, layers=3) if kind == "llama" else shipped(kind)
    return zp.measure(model, FORMATS, IDS, blocks="modules", estimator=estimator, check=True, cache=cache, **options)


def content(menu: Menu) -> dict[str, Any]:
    """All that the file of the menu holds."""
    found: dict[str, Any] = json.loads(menu_document(menu).text())
    return found


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["llama", pytest.param("qwen3_moe", marks=pytest.mark.slow)])
def test_every_rank_returns_the_menu_of_one_process(kind: str, size: int) -> None:
    names = estimator_names()
    alone = [content(measured(name, kind)) for name in names]
    for found in results(started(RANK, {"estimators": names, "kind": kind}, size)):
        for name, one, other in zip(names, alone, found, strict=True):
            assert one == other, name


def stored(folder: Path) -> int:
    return sum(1 for file in (folder / "blocks").glob("*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("others", [1, 4])
def test_a_lost_rank_is_named_and_any_number_of_ranks_goes_on(others: int, tmp_path: Path) -> None:
    options = {"estimators": ["measured"], "cache": str(tmp_path)}
    errors = survivor_of(started(RANK, {**options, "slowly": True}, 2), 5)
    assert errors.strip().endswith("with a cache, finished parts are not computed again")
    alone = measured()
    total = sum(map(len, alone.options))
    kept = stored(tmp_path)
    assert total / 2 <= kept < total  # all of the first rank, and what the second had finished
    for found in results(started(RANK, options, others)):
        assert found == [content(alone)]
    assert stored(tmp_path) == total + len(FORMATS)  # every option and every whole model once
