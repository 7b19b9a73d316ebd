"""What commands say: names with brackets, plurals, gains beyond sums, and nothing but errors under -q."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.made import made_scores
from zetaplan import scoring
from zetaplan.cli.app import app
from zetaplan.documents.convert import save_scores
from zetaplan.documents.verify import load_plan
from zetaplan.errors import SpecError
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import Scores


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    [line] = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("pin", "hit"), [("h[0]", [0]), ("h[1]", [1]), ("h[*", [0, 1]), ("h0", [2]), ("g[34]", [3, 4])]
)
def test_a_name_with_brackets_is_itself(pin: str, hit: list[int]) -> None:
    scores = made_scores(names=("h[0]", "h[1]", "h0", "g3", "g4", "x"))
    save_scores(scores, "s.json")
    assert run("prune", "s.json", "--pin", f"{pin}=0.375").exit_code == 0
    assert np.flatnonzero(load_plan("plan.json").solution.x == 0.375).tolist() == hit


def single(scores: Scores) -> Scores:
    """The first layer alone."""
    columns = {name: value[:1] for name, value in vars(scores).items() if isinstance(value, np.ndarray)}
    return made_scores(names=scores.names[:1], **columns)


def test_one_layer_is_no_plural() -> None:
    save_scores(single(made_scores()), "one.json")
    save_scores(made_scores(), "six.json")
    assert "allocation: 1 layer, all 7" in run("allocate", "one.json").stdout
    assert "allocation: 6 layers, all 7" in run("allocate", "six.json", "-o", "p.json").stdout
    assert "expected the 6 blocks of the plan" in told("regret", "p.json", "--scores", "one.json")
    assert "expected the 1 block of the plan" in told("regret", "plan.json", "--scores", "six.json")


@pytest.mark.parametrize("size", [1e151, 1e200, 1e308])
def test_gains_whose_sums_are_no_doubles_are_refused_by_layer(size: float, recwarn: pytest.WarningsRecorder) -> None:
    gain = made_scores().gain.copy()
    gain[3] = size
    scores = made_scores(gain=gain, low=gain, high=gain)
    save_scores(scores, "big.json")
    for command in (("allocate", "big.json"), ("prune", "big.json"), ("sweep", "big.json", "--from", 1, "--to", 2)):
        assert "model.layers.3: gain = " in told(*command, "-q")
    for door in (allocate, prune):
        with pytest.raises(SpecError, match=r"model\.layers\.3: gain = .* divide all gains by one number"):
            door(scores)
    assert not recwarn.list


def test_the_largest_gains_make_a_plan_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    gain = np.full(6, 1e150)
    save_scores(made_scores(gain=gain, low=gain, high=gain), "big.json")
    for line in ("allocate big.json -q", "verify plan.json -q", "report plan.json -q", "regret plan.json -q"):
        done = run(*line.split())
        assert (done.exit_code, done.stderr) == (0, ""), line
    assert not [found for found in recwarn.list if issubclass(found.category, RuntimeWarning)]


def test_an_empty_configuration_has_a_place() -> None:
    Path("empty.yaml").write_text("")
    assert told("run", "empty.yaml") == "zetaplan: empty.yaml: document: Input should be an object"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("score m --data none.txt", "data: cannot read none.txt"),
        ("score m --held-out none.txt", "held_out: cannot read none.txt"),
        ("score m --curvature guess", "curvature = 'guess'"),
        ("score m --sequences 0", "sequences = 0"),
        ("score m --length 1", "length = 1"),
        ("score m --batch-size 0", "batch_size"),
        ("score m -o none/", "is a folder"),
        ("apply m sparsity.json --data none.txt", "data: cannot read none.txt"),
        ("apply m sparsity.json --method wander", "expected one of"),
        ("apply m rank.json", "not sparsity; make one with `zetaplan prune`"),
        ("apply m sparsity.json -o none", "already exists"),
        ("calibrate m --data none.txt", "data: cannot read none.txt"),
        ("calibrate m --method wander", "expected one of"),
        ("calibrate m --level 0.5", "levels"),
        ("calibrate m -o none", "is a folder"),
        ("refine m --data none.txt", "data: cannot read none.txt"),
        ("refine m --held-out none.txt", "held_out: cannot read none.txt"),
        ("refine m rank.json", "not sparsity; make one with `zetaplan prune`"),
        ("refine m --method wander", "method = 'wander': expected one of"),
        ("refine m --accept 1", "accept = 1: expected at least 2"),
        ("refine m --portions 0", "portions = 0"),
        ("refine m --length 1", "length = 1"),
        ("refine m --evaluations 3", "evaluations = 3"),
        ("refine m -o none", "is a folder"),
        ("apply m rank.json -o new", "not sparsity"),
        ("evaluate m --text none.txt", "text: cannot read none.txt"),
        ("evaluate m --choices none.jsonl", "choices: cannot read none.jsonl"),
        ("evaluate m --text plain.txt --against none", "against: none is not a model directory"),
        ("evaluate m --text plain.txt --against none.gguf", "against: there is no file none.gguf"),
        ("evaluate m --against m", "against: measures the divergence on a text; give text"),
    ],
)
def test_what_would_be_refused_later_is_refused_before_a_model_is_loaded(
    line: str, said: str, plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded first")

    monkeypatch.setattr(scoring, "load_model", loaded)
    Path("none").mkdir()
    Path("plain.txt").write_text("plain text")
    plans["allocation"].save("rank.json")
    plans["pruning"].save("sparsity.json")
    assert said in told(*line.split(), "-q")


def test_transformers_is_silent_where_no_progress_is_shown() -> None:
    from transformers.utils import logging

    from zetaplan.jobs.pipelines import _silence

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with _silence():
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, False)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
