"""Files: whole or not at all, the same doubles back, and one clear line for anything that is not ours."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.made import LAYERS, edited, made_scores
from zetaplan import _files
from zetaplan.documents.convert import load_scores, plan_document, save_plan, save_scores, scores_document
from zetaplan.documents.io import load
from zetaplan.documents.schemas.choice import ChoiceFile
from zetaplan.documents.schemas.document import Document
from zetaplan.documents.schemas.menu import MenuFile
from zetaplan.documents.schemas.plan import PlanFile
from zetaplan.documents.schemas.scores import ScoresFile
from zetaplan.documents.verify import load_plan
from zetaplan.errors import SpecError
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate
from zetaplan.scoring import Scores

FINITE = st.floats(min_value=0.0, allow_infinity=False, allow_nan=False)


def test_scores_come_back_bit_for_bit(scores: Scores, scores_file: Path) -> None:
    back = load_scores(scores_file)
    assert back.names == scores.names
    assert scores_document(back) == scores_document(scores)
    for field in ("gain", "noise_floor", "standard_error", "gradient_norm", "damping", "rank_parameters"):
        before, after = getattr(scores, field), getattr(back, field)
        assert before.dtype == after.dtype
        assert before.tobytes() == after.tobytes()


@given(st.lists(FINITE, min_size=LAYERS, max_size=LAYERS))
def test_every_double_survives_the_file(gains: list[float]) -> None:
    document = scores_document(made_scores(gain=np.array(gains)))
    again = ScoresFile.model_validate_json(document.text())
    assert [layer.gain.hex() for layer in again.layers] == [gain.hex() for gain in gains]


def test_scores_without_standard_errors_come_back(tmp_path: Path) -> None:
    path = save_scores(made_scores(standard_error=None), tmp_path / "scores.json")
    assert load_scores(path).standard_error is None


def test_a_step_that_broke_the_model_comes_back_as_not_a_number(tmp_path: Path) -> None:
    falls = np.array([0.1, np.nan, 0.3, -0.2, 0.0, 0.5])
    back = load_scores(save_scores(made_scores(decrease=falls, held_out_decrease=falls), tmp_path / "scores.json"))
    assert back.decrease is not None
    assert back.cross_fitted is not None
    np.testing.assert_array_equal(back.decrease, falls)
    np.testing.assert_array_equal(back.cross_fitted, made_scores().cross_fitted)


def test_scores_of_an_earlier_version_are_read(scores_file: Path) -> None:
    """Their enclosure is the gain itself, and what they did not measure is not there."""
    later = ("low", "high", "cross_fitted", "effective_dimension", "decrease", "held_out_decrease")
    old = edited(scores_file, lambda value: [layer.pop(name) for layer in value["layers"] for name in later])
    back = load_scores(old)
    np.testing.assert_array_equal(back.low, back.gain)
    np.testing.assert_array_equal(back.high, back.gain)
    assert all(getattr(back, name) is None for name in later[2:])


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_plans_come_back_as_the_same_document(plans: dict[str, Plan], program: str, tmp_path: Path) -> None:
    plan = plans[program]
    back = load_plan(plan.save(tmp_path / "plan.json"))
    assert back.document() == plan.document()
    assert back.solution.x.tobytes() == plan.solution.x.tobytes()
    assert back.certificate.valid


def test_an_infinite_cap_is_null_and_comes_back(scores: Scores, tmp_path: Path) -> None:
    path = allocate(scores, upper=[math.inf] * 5 + [9.0]).save(tmp_path / "plan.json")
    assert json.loads(path.read_text())["instance"]["upper"] == [None] * 5 + [9.0]
    assert load_plan(path).instance.upper.tolist() == [math.inf] * 5 + [9.0]


def test_the_digest_of_scores_is_the_sha256_of_their_file(scores_file: Path, plan_file: Path) -> None:
    expected = hashlib.sha256(scores_file.read_bytes()).hexdigest()
    assert json.loads(plan_file.read_text())["scores_sha256"] == expected


def test_a_plan_is_strict_json(plan_file: Path) -> None:
    def refuse(literal: str) -> None:
        raise AssertionError(f"{literal} is not JSON")

    assert json.loads(plan_file.read_text(), parse_constant=refuse)["schema"] == "zetaplan.plan/1"


def test_every_truncation_is_refused(plan_file: Path, tmp_path: Path) -> None:
    text = plan_file.read_text().rstrip()
    cut = tmp_path / "cut.json"
    for length in range(0, len(text), 97):
        cut.write_text(text[:length])
        with pytest.raises(SpecError, match=r"cut\.json is not a complete JSON file"):
            load(cut, PlanFile)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "is not a zetaplan.scores/1 file: its schema is None"),
        (b'{"schema": "other/1"}', "is not a zetaplan.scores/1 file: its schema is 'other/1'"),
        (b'{"schema": "zetaplan.scores/2"}', "its schema is 'zetaplan.scores/2'"),
        (b'{"schema": "zetaplan.scores/1"}', "does not follow its schema: curvature: Field required"),
        (b'{"schema": "a", "schema": "zetaplan.scores/1"}', "the key 'schema' appears twice"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"[" * 100_000, "is not a complete JSON file"),
        (b'{"schema": ' + b"9" * 10_000 + b"}", "is not a complete JSON file"),
    ],
)
def test_foreign_files_are_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load(path, ScoresFile)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*none\.json: No such file"):
        load(tmp_path / "none.json", PlanFile)
    with pytest.raises(SpecError, match="cannot read"):
        load(tmp_path, PlanFile)


def test_a_file_above_the_size_limit_is_refused(scores_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = scores_file.stat().st_size
    monkeypatch.setattr(_files, "SIZE_LIMIT", size)
    load(scores_file, ScoresFile)
    monkeypatch.setattr(_files, "SIZE_LIMIT", size - 1)
    with pytest.raises(SpecError, match="is larger than"):
        load(scores_file, ScoresFile)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["gain", "seconds"])
def test_numbers_that_are_not_finite_are_refused(literal: str, place: str, scores_file: Path) -> None:
    key, _, rest = scores_file.read_text().partition(f'"{place}": ')
    end = rest.index(",") if place == "gain" else rest.index("\n")
    scores_file.write_text(f'{key}"{place}": {literal}{rest[end:]}')
    with pytest.raises(SpecError, match=r"layers\.0\.gain" if place == "gain" else "provenance"):
        load_scores(scores_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"loss": "3"}, "loss: Input should be a valid number"),
        ({"loss": True}, "loss: Input should be a valid number"),
        ({"layers": []}, "layers: Tuple should have at least 1 item"),
    ],
)
def test_broken_schemas_are_refused(change: dict[str, Any], message: str, scores_file: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_scores(edited(scores_file, lambda value: value.update(change)))
    assert message in str(caught.value)


def test_a_layer_twice_is_refused(scores_file: Path) -> None:
    path = edited(scores_file, lambda value: value["layers"].append(value["layers"][0]))
    with pytest.raises(SpecError, match=r"'model\.layers\.0' appears more than once"):
        load_scores(path)


@pytest.mark.parametrize("field", ["quality", "weight", "resource", "lower", "upper"])
def test_vectors_of_another_length_are_refused(field: str, plan_file: Path) -> None:
    path = edited(plan_file, lambda value: value["instance"][field].pop())
    with pytest.raises(SpecError, match=rf"instance\.{field} has 5 entries, but there are 6 layers"):
        load(path, PlanFile)


def test_a_value_that_breaks_the_schema_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="gain: Input should be a finite number"):
        save_scores(made_scores(gain=np.full(LAYERS, np.nan)), tmp_path / "scores.json")
    assert list(tmp_path.iterdir()) == []


class Killed(BaseException):
    """What a test raises where a kill would strike."""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_leaves_the_old_file_whole(moment: str, scores_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scores_file.read_bytes()

    def strike(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, moment, strike)
    with pytest.raises(Killed):
        save_scores(made_scores(loss=9.0), scores_file)
    assert scores_file.read_bytes() == before
    assert list(scores_file.parent.iterdir()) == [scores_file]


def test_a_full_disk_is_one_clear_line(scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpecError, match=r"cannot write .*: No space left on device"):
        save_scores(scores, tmp_path / "scores.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_made(scores: Scores, tmp_path: Path) -> None:
    path = save_scores(scores, tmp_path / "new" / "folder" / "scores.json")
    assert load_scores(path).names == scores.names


@pytest.mark.parametrize("name", ["/dev/null/scores.json", "."])
def test_a_place_that_cannot_be_written_is_refused(
    name: str, scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="cannot write"):
        save_scores(scores, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [ScoresFile, PlanFile, MenuFile, ChoiceFile])
def test_every_document_has_a_json_schema(kind: type[Document]) -> None:
    schema = kind.model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"]["schema"]["const"].startswith("zetaplan.")


def test_a_plan_sealed_in_one_serialisation_is_the_sealed_plan(scores: Scores, tmp_path: Path) -> None:
    plan = allocate(scores, mean_rank=4)
    document = plan_document(plan)
    assert document.sealed_text() == document.sealed().text() == document.text()
    assert save_plan(plan, tmp_path / "plan.json").read_text() == document.text()
