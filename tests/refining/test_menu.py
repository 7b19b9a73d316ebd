"""Menus of levels: every loss is that of a whole pass with one block changed, and the chosen plan can be applied."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import zetaplan as zp
from tests.refining.test_refine import ACCEPT, CALIBRATION, PROPOSE
from tests.tiny_models import tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.documents.choices import load_choice
from zetaplan.errors import ScoringError, SpecError
from zetaplan.menus.menu import Menu
from zetaplan.menus.sparsity import removed_by, sparsity_facts
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.refining.apply import apply_refined
from zetaplan.scoring.text.sequences import checked_batches


def levels(method: str = "magnitude", **options: Any) -> Menu:
    given = {"text": PROPOSE, "calibration": CALIBRATION, "cache": False, **options}
    return zp.measure_levels(tiny_llama(layers=3, hidden=32), method, **given)


def test_losses_are_those_of_whole_passes_with_one_block_pruned() -> None:
    menu, model = levels(step=0.25), tiny_llama(layers=3, hidden=32)
    whole = OperatingPoint(model, checked_batches(PROPOSE), resume=False)
    assert menu.options == (("0.75", "0.5", "0.25", "0"),) * 3
    for block, losses, errors in zip(menu.names, menu.losses, menu.standard_error or (), strict=True):
        assert (losses[-1], errors[-1]) == (0.0, 0.0)
        for label, loss, error in zip(menu.options[0][:-1], losses, errors, strict=False):
            changes = {}
            for name, value in model.named_parameters():
                if name.startswith(f"{block}.") and value.ndim == 2:
                    order = value.detach().abs().flatten().argsort(stable=True)
                    gone = order[: round(float(label) * value.numel())]
                    changes[name] = value.detach().flatten().index_fill(0, gone, 0).view_as(value)
            found = whole.reading(changes).divergence
            assert loss == pytest.approx(found.mean(), rel=1e-4)
            assert error == pytest.approx(found.std(ddof=1) / len(found) ** 0.5, rel=1e-3)


def test_costs_are_the_weights_that_are_kept_and_the_choice_is_the_best_of_all() -> None:
    menu = levels("wanda", step="25%")
    sizes = sparsity_facts(zp.choose(menu, 1e9)).sizes
    for name, row in zip(menu.names, menu.costs, strict=True):
        assert [cost for (cost,) in row] == [sizes[name] * share for share in (0.25, 0.5, 0.75, 1.0)]
    budget = sum(sizes.values()) // 2
    plan = zp.choose(menu, budget)
    totals = [
        sum(menu.losses[k][j] for k, j in enumerate(places))
        for places in itertools.product(range(4), repeat=3)
        if sum(menu.costs[k][j][0] for k, j in enumerate(places)) <= budget
    ]
    assert plan.optimal
    assert plan.loss == pytest.approx(min(totals))
    model = tiny_llama(layers=3, hidden=32)
    assert sum(removed_by(plan).values()) >= budget
    assert sum(p.numel() for n, p in model.named_parameters() if "layers" in n and p.ndim == 2) == 2 * budget


def test_layers_are_kept_or_left_out() -> None:
    menu = levels("drop")
    assert menu.options == (("drop", "keep"),) * 3
    assert menu.provenance["decides"] == "layers"
    point = OperatingPoint(tiny_llama(layers=3, hidden=32), checked_batches(PROPOSE), resume=False)
    for name, (loss, nothing) in zip(menu.names, menu.losses, strict=True):
        assert loss == pytest.approx(point.reading({name: None}).divergence.mean(), rel=1e-4)
        assert nothing == 0.0
    plan = zp.choose(menu, 2)
    best = min(range(3), key=lambda k: menu.losses[k][0])
    assert [name for name, option in plan.taken.items() if option == "drop"] == [menu.names[best]]


def test_a_journal_is_read_again(tmp_path: Path) -> None:
    first = levels("wanda", cache=tmp_path, step=0.25)
    [file] = tmp_path.rglob("*.jsonl")
    assert len(file.read_bytes().splitlines()) == 9
    assert levels("wanda", cache=tmp_path, step=0.25) == first == levels("wanda", step=0.25)
    assert len(file.read_bytes().splitlines()) == 9
    assert levels("wanda", cache=tmp_path, step=0.25, text=ACCEPT) != first


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "gptq"}, "method = 'gptq': expected one of magnitude, sparsegpt, wanda, svd, svd-llm, drop"),
        ({"step": 1.5}, "step = '1.5': expected a share|budget = '1.5': expected a share"),
        ({"blocks": "experts"}, "blocks = 'experts': expected 'layers' or 'modules'"),
        ({"method": "drop", "blocks": "modules"}, "layers are left out whole"),
        ({"text": PROPOSE[:1]}, "at least two sequences"),
        ({"distributed": 3}, "distributed: expected True or False"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises((SpecError, ScoringError), match=said) as raised:
        levels(**more)
    assert "\n" not in str(raised.value)


def test_the_command_measures_and_the_plan_is_chosen_and_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    tiny_llama_dir(tmp_path, layers=2, hidden=32)
    Path("notes.txt").write_text("the cat sat on the mat " * 60)
    text = ["--data", "notes.txt", "--sequences", "3", "--length", "16"]

    def run(*line: str) -> str:
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, result.output
        return result.output

    said = run("measure", "tiny-llama", "--for", "sparsity", "--step", "0.25", *text, "-o", "menu.json")
    assert "menu: 2 blocks, 8 options, estimator measured" in said
    assert "`zetaplan refine` measures plans" in said
    menu = zp.load_menu("menu.json")
    budget = sum(row[-1][0] for row in menu.costs) / 2
    run("choose", "menu.json", "--budget", f"{budget:.0f}", "-o", "plan.json")
    assert "holds" in run("verify", "plan.json")
    run("apply", "tiny-llama", "plan.json", "--method", "wanda", *text, "-o", "pruned")
    loaded = zp.load_model("pruned")
    plan = load_choice("plan.json")
    expected = zp.load_model("tiny-llama")
    data = zp.read_sequences(["notes.txt"], expected.tokenizer, sequences=3, length=16)
    apply_refined(expected, plan, "wanda", data)
    for name, value in expected.model.named_parameters():
        assert torch.equal(value, loaded.model.get_parameter(name)), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "sparsity", "--formats", "int4"], "formats: it belongs to a menu of formats"),
        (["--for", "drop", "--check"], "check: it belongs to a menu of formats; leave it out with --for drop"),
        (["--for", "sparsity", "--method", "wander"], "method"),
        (["--for", "sparsity", "--method", "svd"], "method = 'svd': expected one of magnitude, sparsegpt, wanda"),
        (["--for", "rank"], "method = 'wanda': expected svd or svd-llm with --for rank"),
        (["--for", "rank", "--method", "svd", "--seed", "3"], "seed: it belongs to a menu of formats"),
    ],
)
def test_bad_options_are_one_line_before_the_model_is_loaded(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["measure", "no-such-model", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1], result.stderr
