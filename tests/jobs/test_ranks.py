"""Commands on several processes: rank 0 alone prints and writes, and the files are those of one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.ranks import started
from tests.refining.test_refine import content
from tests.tiny_models import tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.documents.choices import load_choice

COMMAND = """
import json, runpy, sys
sys.argv = ["zetaplan", *json.loads(sys.argv[1])]
runpy.run_module("zetaplan", run_name="__main__")
"""
TEXT = " ".join(f"the cat {number} sat on the mat {number * 7 % 31}" for number in range(400))


def lines(folder: Path) -> dict[str, list[str]]:
    model, text = str(folder / "tiny-llama"), str(folder / "notes.txt")
    common = [model, "--data", text, "--length", "16"]
    refine = ["--method", "magnitude", "--sequences", "3", "--portions", "1", "--accept", "3", "--compare", "3"]
    return {
        "measure": ["measure", *common, "--formats", "q4_0,q8_0", "--sequences", "3"],
        "refine": ["refine", *common, *refine, "--calibration", "2", "--evaluations", "8"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", ["measure", "refine"])
def test_rank_0_alone_prints_and_writes_what_one_process_writes(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_llama_dir(tmp_path, layers=2, hidden=32)
    (tmp_path / "notes.txt").write_text(TEXT)
    line, files = lines(tmp_path)[command], [tmp_path / f"{name}.json" for name in ("several", "one")]
    where = {"ZETAPLAN_CACHE": str(tmp_path / "several")}
    first, second = started(COMMAND, [*line, "--out", str(files[0])], 2, **where)
    printed, errors = first.communicate(timeout=300)
    nothing, others = second.communicate(timeout=300)
    assert (first.returncode, second.returncode) == (0, 0), errors + others
    assert str(files[0].name) in printed
    assert nothing == ""
    assert "%|" not in others  # a progress bar
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "one"))
    result = CliRunner().invoke(app, [*line, "--out", str(files[1])])
    assert result.exit_code == 0, result.output
    if command == "refine":
        assert content(load_choice(files[0])) == content(load_choice(files[1]))
    else:
        assert json.loads(files[0].read_text()) == json.loads(files[1].read_text())
