"""A plan refined on several processes is that of one; a killed run goes on with any number of processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ranks import results, started, survivor_of
from tests.refining.test_refine import content, facts_of, refined

RANK = """
import json, sys, time
import torch
from tests.refining.test_refine import content, refined
from zetaplan.errors import ScoringError
from zetaplan.refining.journal import Journal
from zetaplan.scoring.distributed import joined
options = json.loads(sys.argv[1])
files = []
add = Journal.add
def recorded(self, key, entry):
    add(self, key, entry)
    files.append(self.file is not None)
    if options.get("slowly"):
        print("finished", flush=True)
        time.sleep(0.3)
Journal.add = recorded
try:
    with joined(True, torch.device("cpu")):  # one group for all plans: ranks that leave and join again may miss it
        plans = [refined(method, cache=options["cache"], distributed=True) for method in options["methods"]]
except ScoringError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
print(json.dumps({"plans": [content(plan) for plan in plans], "writes": sorted(set(files))}))
"""


def lines(folder: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in folder.rglob("*.jsonl"))


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_every_rank_returns_the_plan_of_one_process(size: int, tmp_path: Path) -> None:
    methods = ["wanda", "gptq", "drop"]
    plans = [refined(method) for method in methods]
    found = results(started(RANK, {"methods": methods, "cache": str(tmp_path)}, size))
    for number, rank in enumerate(found):
        assert rank["plans"] == [content(plan) for plan in plans]
        assert rank["writes"] == [number == 0]
    assert lines(tmp_path) == sum(facts_of(plan).evaluations for plan in plans)


@pytest.mark.slow
@pytest.mark.parametrize("others", [1, 4])
def test_a_lost_rank_is_named_and_any_number_of_ranks_goes_on(others: int, tmp_path: Path) -> None:
    options = {"methods": ["wanda"], "cache": str(tmp_path)}
    survivor_of(started(RANK, {**options, "slowly": True}, 2), 7)
    assert 6 <= lines(tmp_path) < 30
    alone = refined("wanda")
    for rank in results(started(RANK, options, others)):
        assert rank["plans"] == [content(alone)]
    assert lines(tmp_path) == facts_of(alone).evaluations
