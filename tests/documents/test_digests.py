"""The sha256 of a plan and of what it was made from: the same from its file as from its numbers."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.made import made_formats, made_scores
from zetaplan._files import canonical, digest
from zetaplan._uncollected import uncollected
from zetaplan.documents.choices import choice_document, save_choice
from zetaplan.documents.convert import plan_document, save_plan
from zetaplan.documents.io import read
from zetaplan.documents.schemas.choice import ChoiceFile
from zetaplan.documents.schemas.document import Sealed
from zetaplan.documents.schemas.plan import PlanFile
from zetaplan.plans.planner import allocate

Value = dict[str, Any]
KINDS: dict[type[Sealed], Callable[[Path], Path]] = {
    PlanFile: lambda path: save_plan(allocate(made_scores(), mean_rank=4), path),
    ChoiceFile: lambda path: save_choice(made_formats(), path),
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Sealed]:
    found: type[Sealed] = request.param
    return found


def intact(kind: type[Sealed], path: Path) -> tuple[bool, bool]:
    """The verdict on both digests, which has to be the same with the text of the file as without."""
    document, text = read(path, kind)
    found = document.intact(text)
    assert found == document.intact()
    return found


def test_both_digests_are_those_of_the_standard_library(kind: type[Sealed], tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path / "plan.json")
    value = json.loads(path.read_text())
    assert value["sha256"] == digest(canonical({**value, "sha256": ""}))
    assert value[f"{kind.inner}_sha256"] == digest(canonical(value[kind.inner]))
    assert list(value)[-1] == kind.inner
    assert intact(kind, path) == (True, True)


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_the_layout_of_the_file_does_not_matter(kind: type[Sealed], indent: int | None, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path / "plan.json")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=indent))
    assert intact(kind, path) == (True, True)


@pytest.mark.parametrize("resealed", [False, True])
def test_an_edit_outside_and_inside_is_told_apart(kind: type[Sealed], resealed: bool, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path / "plan.json")

    def change(edit: Callable[[Value], object]) -> tuple[bool, bool]:
        value = json.loads(path.read_text())
        edit(value)
        if resealed:
            value["sha256"] = digest(canonical({**value, "sha256": ""}))
        (tmp_path / "other.json").write_text(canonical(value))
        return intact(kind, tmp_path / "other.json")

    assert change(lambda value: value.update(created="2020")) == (resealed, True)
    assert change(lambda value: value[kind.inner]["provenance"].update(model="other")) == (resealed, False)
    assert change(lambda value: value.update({f"{kind.inner}_sha256": "0" * 64})) == (resealed, False)


def test_a_digest_of_another_document_is_refused(kind: type[Sealed], tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path / "plan.json")
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0', 1))
    assert intact(kind, path) == (False, True)


def test_names_that_look_like_the_layout_change_nothing(tmp_path: Path) -> None:
    names = tuple(f'{k}\n  "scores": {{"sha256": ""}}\n}}\n' for k in range(6))
    plan = allocate(made_scores(names=names), mean_rank=4)
    assert save_plan(plan, tmp_path / "plan.json").read_text() == plan_document(plan).text()
    assert intact(PlanFile, tmp_path / "plan.json") == (True, True)


def test_a_choice_sealed_in_one_serialisation_is_the_sealed_choice(tmp_path: Path) -> None:
    plan = made_formats()
    document = choice_document(plan)
    assert document.sealed_text() == document.sealed().text() == document.text()
    assert save_choice(plan, tmp_path / "plan.json").read_text() == document.text()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_before(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        with pytest.raises(ZeroDivisionError):
            uncollected()(lambda: 1 // 0)()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
