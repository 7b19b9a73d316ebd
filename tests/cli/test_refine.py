"""`zetaplan refine` and `apply` from the command line: from a plan file or uniform to a folder with the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.tiny_models import tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.jobs.refining import dealt
from zetaplan.scoring import load_model, read_sequences

SIZES = ("--length", "16", "--calibration", "4", "--sequences", "3", "--portions", "2", "--accept", "4")
SIZES += ("--compare", "4", "--evaluations", "14", "--data", "notes.txt")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    tiny_llama_dir(tmp_path, layers=3)
    Path("notes.txt").write_text(" ".join(f"{n} sheep are {n * n} in a square;" for n in range(60)))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_from_uniform_to_a_pruned_folder_with_the_measured_weights() -> None:
    done = run("refine", "tiny-llama", "--method", "magnitude", *SIZES)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("held-out text: the plan is ")
    assert "written to refined.json" in done.stdout
    assert run("verify", "refined.json", "-q").exit_code == 0
    applied = run("apply", "tiny-llama", "refined.json", "--method", "magnitude", "-o", "pruned", "--json")
    facts = json.loads(applied.stdout)
    assert facts["note"] is None
    assert facts["sparsity"] >= 0.5
    weights = load_model("pruned").model.state_dict()
    zeros = sum(int((w == 0).sum()) for name, w in weights.items() if "layers" in name and w.ndim == 2)
    assert zeros == sum(block["removed"] for block in facts["blocks"])
    other = run("apply", "tiny-llama", "refined.json", "--data", "notes.txt", "--length", "16", "-o", "other", "--json")
    assert "another model, method or calibration" in json.loads(other.stdout)["note"].replace("with ", "")
    assert "measured losses" in Path("pruned/README.md").read_text()


def test_from_the_plan_of_a_program() -> None:
    score = ("--data", "notes.txt", "--length", "16", "--sequences", "4", "-q")
    assert run("score", "tiny-llama", *score, "-o", "scores.json").exit_code == 0
    assert run("prune", "scores.json", "--sparsity", "0.4", "--upper", "0.6", "-q", "-o", "first.json").exit_code == 0
    line = ("refine", "tiny-llama", "first.json", "--method", "magnitude", "--budget", "0.4", *SIZES)
    done = run(*line, "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)["menu"]["provenance"]["refined"]
    planned = json.loads(Path("first.json").read_text())["rounded"]["layers"]
    sizes = json.loads(done.stdout)["menu"]["provenance"]["sizes"]
    for name, layer in planned.items():
        inside = [block for block in record["start"] if block.startswith(f"{name}.")]
        removed = sum(sizes[block] - record["costs"][block][record["start"][block]] for block in inside)
        assert 0 <= removed - layer["rounded"] <= 1 + len(inside)
    again = run("refine", "tiny-llama", "refined.json", *line[3:], "--out", "second.json", "--json")
    assert again.exit_code == 0, again.stderr


def test_texts_have_no_sequence_in_common_and_are_spread() -> None:
    text = read_sequences("notes.txt", load_model("tiny-llama").tokenizer, sequences=20, length=16)
    counts = {"calibration": 4, "propose": 6, "accept": 7, "compare": 3}
    parts = dealt(text, counts)
    rows = {name: [tuple(row) for row in part["input_ids"].tolist()] for name, part in parts.items()}
    assert {name: len(own) for name, own in rows.items()} == counts
    assert sorted(row for own in rows.values() for row in own) == sorted(map(tuple, text.input_ids.tolist()))
    order = [tuple(row) for row in text.input_ids.tolist()]
    for own in rows.values():
        places = [order.index(row) for row in own]
        assert places == sorted(places)
        assert max(b - a for a, b in zip([-1, *places], [*places, 20], strict=True)) <= 20 / len(own) + 3


def test_a_refined_plan_has_no_structure_and_fits_one_model(tmp_path: Path) -> None:
    assert run("refine", "tiny-llama", "--method", "magnitude", *SIZES, "-q").exit_code == 0
    refused = run("apply", "tiny-llama", "refined.json", "--method", "magnitude", "--structure", "2:4", "-o", "x")
    assert (refused.exit_code, "a refined plan is unstructured" in refused.stderr) == (2, True)
    tiny_llama_dir(tmp_path / "wide", layers=3, hidden=32)
    refused = run("apply", "wide/tiny-llama", "refined.json", "--method", "magnitude", "-o", "x")
    assert (refused.exit_code, "it was made for" in refused.stderr) == (2, True)
