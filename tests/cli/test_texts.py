"""Every command that reads text reads the same one, by the field that is named, and refuses the same in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_app import refused, run
from tests.tiny_models import save_model, tiny_llama
from zetaplan.jobs.run import run as run_job
from zetaplan.models.calibrate import LossCurves

SIZE = ("--sequences", "2", "--length", "16")
TEXTS = ["the cat sat on the mat", "a dog ran over the \u2028 hill", "all work and no play"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    sizes = {"whole": 257, "small": 60}
    return {name: save_model(tiny_llama(layers=2, vocabulary=size), folder / name) for name, size in sizes.items()}


def records(path: str, field: str, **more: Any) -> Path:
    Path(path).write_text("".join(json.dumps({field: text, **more}) + "\n" for text in TEXTS))
    return Path(path)


def planned(model: Path) -> str:
    if not Path("plan.json").exists():
        assert run("score", model, *SIZE, "-q", "--out", "s.json").exit_code == 0
        assert run("prune", "s.json", "-q", "--out", "plan.json").exit_code == 0
    return "plan.json"


REFINE = ("--calibration", 2, "--sequences", 2, "--portions", 1, "--accept", 2, "--compare", 2, "--evaluations", 8)


def commands(model: Path, data: object, size: tuple[str, ...] = SIZE) -> dict[str, tuple[object, ...]]:
    return {
        "score": ("score", model, "--data", data, *size, "--no-cache"),
        "calibrate": ("calibrate", model, "--method", "magnitude", "--data", data, *size),
        "apply": ("apply", model, "plan.json", "--data", data, *size, "--out", "pruned"),
        "refine": (
            "refine",
            model,
            "--method",
            "magnitude",
            "--data",
            data,
            *REFINE,
            "--length",
            size[3],
            "-o",
            "r.json",
        ),
        "evaluate": ("evaluate", model, "--text", data, "--length", size[3], "--stride", "4"),
    }


@pytest.mark.parametrize("command", ["score", "calibrate", "apply", "evaluate"])
def test_the_field_that_is_named_is_read(
    command: str, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LossCurves, "exponent", 2.0)  # a random model has none
    planned(models["whole"])
    found = []
    for file, named in (
        (records("known.jsonl", "text"), ()),
        (records("x.JSONL", "body", text="?"), ("--field", "body")),
    ):
        out = () if command == "evaluate" else ("--out", f"{file.stem}.{command}")
        result = run(*commands(models["whole"], file)[command], *out, *named, "--json")
        assert result.exit_code == 0, result.stderr
        facts = json.loads(result.stdout)
        facts = facts.get("provenance", facts)
        found.append(facts.get("data_sha256") or facts.get("calibration_sha256") or facts["perplexity"]["windows"])
    assert found[0] == found[1]


def test_choices_and_a_job_take_the_field_too(models: dict[str, Path]) -> None:
    known, named = (records(f"{name}.jsonl", name, choices=["a", "b"], gold=0) for name in ("ctx", "question"))
    first = run("evaluate", models["whole"], "--choices", known, "--json")
    again = run("evaluate", models["whole"], "--choices", named, "--field", "question", "--json")
    assert json.loads(first.stdout)["multiple_choice"]["items"] == json.loads(again.stdout)["multiple_choice"]["items"]
    score = {"data": ["question.jsonl"], "field": "question", "sequences": 2, "length": 16}
    step = {"choices": "question.jsonl", "field": "question"}
    job = {
        "model": str(models["whole"]),
        "score": score,
        "plan": {"program": "pruning"},
        "evaluate": step,
        "out": "made",
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    run_job(Path("job.yaml"))
    assert json.loads(Path("made/scores.json").read_text())["provenance"]["data"].endswith("question.jsonl")
    assert json.loads(Path("made/evaluation.json").read_text())["model"]["multiple_choice"]["items"]


@pytest.mark.parametrize("command", ["score", "calibrate", "apply", "evaluate", "refine"])
def test_every_command_refuses_the_same_texts(command: str, models: dict[str, Path]) -> None:
    planned(models["whole"])
    half, mark, other = Path("half.jsonl"), Path("mark.txt"), Path("other.txt")
    half.write_text('{"text": "whole and good"}\n{"text": "\\ud83d"}\n')
    mark.write_bytes("text".encode("utf-16"))
    other.write_text(half.read_text().splitlines()[0])
    plain = Path("plain.txt")
    plain.write_text("the cat sat on the mat. ~~~ " * 99)
    for file, message in (
        (half, "line 2: field 'text' has \\ud83d"),
        (mark, "UTF-16"),
        (other, "contains JSON"),
    ):
        assert message in refused(*commands(models["whole"], file)[command], "-q")
    long = ("--sequences", "2", "--length", "300")
    assert "256" in refused(*commands(models["whole"], plain, long)[command], "-q")
    assert "is not in the model's vocabulary of 60" in refused(*commands(models["small"], plain)[command], "-q")


def test_words_agree_with_their_numbers(models: dict[str, Path]) -> None:
    Path("two.txt").write_text("ab")
    Path("one.txt").write_text("a")
    assert (
        "(1 token, 2 a window"
        in run("evaluate", models["whole"], "--text", "two.txt", "--length", 2, "--stride", 1).stdout
    )
    assert "one.txt has 1 token, one sequence needs 16" in refused(
        "score", models["whole"], "--data", "one.txt", *SIZE, "-q"
    )
