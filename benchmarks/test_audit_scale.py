"""The audit of planted instances: its parts add up in any order, and the committed result has nothing wrong."""

from __future__ import annotations

import json
from typing import Any

from benchmarks import audit_scale
from benchmarks.common import result

RESULT: dict[str, Any] = json.loads(result("audit_scale").read_text())


def test_parts_add_up() -> None:
    one = {"rows": {"exact": 2, "wrong": 0}, "worst": {"dual": 1e-16}, "failures": ["a"], "seconds": {"solve": 0.5}}
    other = {"rows": {"rounded": 3, "wrong": 1}, "worst": {"dual": 2e-16}, "failures": ["b"]}
    summed = {"rows": {"exact": 2, "rounded": 3, "wrong": 1}, "failures": ["a", "b"], "seconds": {"solve": 0.5}}
    assert audit_scale.total(iter([dict(one), dict(other)])) == summed | {"worst": {"dual": 2e-16}}


def test_every_part_has_a_file_of_its_own() -> None:
    parts = audit_scale.tasks()
    assert len({audit_scale.file_of(part) for part in parts}) == len(parts) == RESULT["settings"]["of parts"]


def test_a_part_is_the_same_again() -> None:
    """But for the times."""
    one, again = (audit_scale.row_part(15) for _ in range(2))
    assert one["certificates"]["python"].pop("seconds") > 0.0 < again["certificates"]["python"].pop("seconds")
    one["certificates"]["proved"].pop("seconds"), again["certificates"]["proved"].pop("seconds")
    assert {**one, "seconds": 0} == {**again, "seconds": 0}


def test_the_committed_result_has_nothing_wrong() -> None:
    assert RESULT["failures"] == []
    assert RESULT["rows"]["wrong"] == RESULT["menus"]["wrong"] == 0
    for kind in ("certificates", "proofs"):
        for checker in ("python", "proved"):
            assert RESULT[kind][checker]["refused honest"] == 0
            assert not any(RESULT[kind][checker]["accepted forged"].values())
    assert not any(counts["accepted"] for counts in RESULT["forged"].values())
