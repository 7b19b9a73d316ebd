"""Layers left out from the command line: from measured losses, or a refinement, to a folder with a shorter model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.cli.test_outputs import full_disk
from tests.models.test_shortened_folder import plan_without
from tests.tiny_models import tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.scoring import load_model

LAYERS = tuple(f"model.layers.{place}" for place in range(3))


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    folder = tiny_llama_dir(tmp_path, layers=3)
    plan_without(LAYERS, LAYERS[1:2], model_sha256=load_model(folder).sha256).save("plan.json")
    plan_without([*LAYERS, "model.layers.3"], LAYERS[1:2]).save("deeper.json")
    plan_without(LAYERS, ()).save("nothing.json")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def refused(*words: str) -> str:
    result = run("apply", *words, "--quiet")
    assert result.exit_code == 2, (result.output, result.exception)
    [said] = result.stderr.splitlines()
    assert not [path for path in Path().iterdir() if path.is_dir() and path.name not in ("tiny-llama", "cache")]
    return said


def test_measured_losses_become_a_shorter_model() -> None:
    Path("notes.txt").write_text(" ".join(f"{n} sheep are {n * n} in a square;" for n in range(60)))
    sizes = ("--data", "notes.txt", "--sequences", "3", "--length", "16", "-q")
    assert run("measure", "tiny-llama", "--for", "drop", *sizes, "-o", "menu.json").exit_code == 0
    assert run("choose", "menu.json", "--budget", "2", "-q", "-o", "chosen.json").exit_code == 0
    done = run("apply", "tiny-llama", "chosen.json")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "1 of 3 layers left out" in done.output
    assert "written: shortened" in done.output
    assert "note:" not in done.output
    assert load_model("shortened").model.config.num_hidden_layers == 2


def test_json_is_the_record() -> None:
    facts = json.loads(run("apply", "tiny-llama", "plan.json", "-o", "new", "--json").stdout)
    assert facts == json.loads(Path("new/zetaplan.json").read_text())
    assert (facts["left_out"], facts["layers"]) == (["model.layers.1"], ["model.layers.0", "model.layers.2"])
    assert facts["note"] is None


def test_check_compares_the_names_and_writes_nothing() -> None:
    assert run("apply", "tiny-llama", "plan.json", "--check").exit_code == 0
    wrong = run("apply", "tiny-llama", "deeper.json", "--check")
    assert (wrong.exit_code, "layer 'model.layers.3' is not in the model" in wrong.stderr) == (1, True)
    assert run("apply", "tiny-llama", "nothing.json", "--check").exit_code == 2
    assert not Path("shortened").exists()


def test_what_is_refused_in_one_line() -> None:
    assert "layer 'model.layers.3' is not in the model" in refused("tiny-llama", "deeper.json")
    assert "it leaves out 0 of 3 layers" in refused("tiny-llama", "nothing.json")
    assert "to = 'gguf': a model without layers is written as safetensors" in refused(
        "tiny-llama", "plan.json", "--to", "gguf"
    )
    assert "structure = '2:4'" in refused("tiny-llama", "plan.json", "--structure", "2:4")
    assert "already exists" in refused("tiny-llama", "plan.json", "-o", "tiny-llama")


@pytest.mark.parametrize("room", [100, 20_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(room: int) -> None:
    with full_disk(room):
        assert "cannot write new" in refused("tiny-llama", "plan.json", "-o", "new")
