"""Whole plans of several exponents: the losses are those of pruned copies, and the model stays as it was."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from typer.testing import CliRunner

import zetaplan as zp
from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.models import whole_plans
from zetaplan.models.apply import prune_blocks
from zetaplan.models.pruners import pruner_names
from zetaplan.plans.exponent import measured_exponent

TEXT = {"input_ids": torch.randint(0, 250, (5, 20), generator=torch.Generator().manual_seed(1))}
OTHER = {"input_ids": torch.randint(0, 250, (4, 20), generator=torch.Generator().manual_seed(2))}


def losses(model: nn.Module) -> np.ndarray:
    """(N,) by transformers, one sequence at a time."""
    with torch.no_grad():
        return np.array([float(model(input_ids=row[None], labels=row[None]).loss) for row in TEXT["input_ids"]])


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("method", pruner_names())
def test_losses_are_those_of_pruned_copies(make: Callable[..., nn.Module], method: str) -> None:
    model = make(layers=3)
    scores = zp.score(model, OTHER)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = zp.calibrated(model, scores, method, TEXT, OTHER, kappas=(1.0, 0.5))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    measured = measured_exponent(found)
    assert measured is not None
    assert [tried.kappa for tried in measured.tried] == [0.0, 0.5, 1.0]
    assert (measured.method, measured.sparsity, measured.sequences, measured.length) == (method, 0.5, 5, 20)
    rows = {}
    for tried in measured.tried:
        plan = zp.prune(scores, sparsity=0.5, upper=0.8, kappa=tried.kappa)
        pruned = copy.deepcopy(model)
        prune_blocks(pruned, "layers", counts(plan), method, OTHER)
        rows[tried.kappa] = losses(pruned)
        differences = rows[tried.kappa] - rows[0.0]
        assert tried.loss == pytest.approx(rows[tried.kappa].mean(), abs=2e-6)
        assert tried.difference == pytest.approx(differences.mean(), abs=2e-6)
        if tried.kappa:
            low, high = stats.t.interval(0.95, 4, differences.mean(), stats.sem(differences))  # paired
            assert (tried.low, tried.high) == pytest.approx((low, high), abs=5e-6)
    assert measured.tried[0].low == measured.tried[0].high == 0
    best = min(rows, key=lambda kappa: rows[kappa].mean())
    assert zp.prune(found, sparsity=0.3).instance.parameters["kappa"] == best


def counts(plan: zp.Plan) -> dict[str, int]:
    return dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))


def test_weights_return_bitwise_if_a_measurement_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama(layers=3)
    scores = zp.score(model, OTHER)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []

    def fails(pruned: nn.Module, batch: object) -> torch.Tensor:
        seen.append(any(not torch.equal(before[name], value) for name, value in pruned.state_dict().items()))
        raise ScoringError("planted")

    monkeypatch.setattr(whole_plans, "sequence_losses", fails)
    with pytest.raises(ScoringError, match="planted"):
        zp.calibrated(model, scores, "magnitude", TEXT)
    assert seen == [True]  # the weights had been pruned
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_other_facts_of_the_scores_stay() -> None:
    model = tiny_llama()
    scores = zp.score(model, OTHER)
    found = zp.calibrated(model, scores, "magnitude", TEXT, kappas=())
    assert found.gain.tolist() == scores.gain.tolist()
    assert scores.provenance.items() <= found.provenance.items()
    assert "exponent" not in scores.provenance


@pytest.mark.parametrize("kappas", [(-1.0,), ("a",), (float("nan"),)])
def test_bad_exponents_are_refused(kappas: tuple[float, ...]) -> None:
    model = tiny_llama()
    with pytest.raises(SpecError, match=r"^kappas = .*: expected exponents of at least 0$"):
        zp.calibrated(model, zp.score(model, OTHER), "magnitude", TEXT, kappas=kappas)


def test_one_sequence_is_too_few() -> None:
    model = tiny_llama()
    with pytest.raises(ScoringError, match="at least two sequences are needed"):
        zp.calibrated(model, zp.score(model, OTHER), "magnitude", {"input_ids": TEXT["input_ids"][:1]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_llama_dir(tmp_path)
    model = zp.load_model(str(tmp_path / "tiny-llama"))
    text = zp.read_sequences(["pydoc"], model.tokenizer, sequences=4, length=24)
    zp.save_scores(zp.score(model, text), tmp_path / "scores.json")
    return tmp_path


def calibrate(folder: Path, *more: str) -> tuple[int, str]:
    model, scores, size = folder / "tiny-llama", folder / "scores.json", ("--sequences", "3", "--length", "24")
    call = ["calibrate", str(model), "--scores", str(scores), "--method", "magnitude", *size, *more]
    result = CliRunner().invoke(app, call)
    return result.exit_code, result.output


def test_the_command_writes_scores_that_prune_reads(folder: Path) -> None:
    code, said = calibrate(folder, "--out", str(folder / "new.json"))
    assert code == 0, said
    measured = measured_exponent(zp.load_scores(folder / "new.json"))
    assert measured is not None
    assert [tried.kappa for tried in measured.tried] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert "kappa = 0 (uniform): loss" in said
    assert f"kappa = {measured.best.kappa:g}" in said
    plan = ["prune", str(folder / "new.json"), "--out", str(folder / "plan.json")]
    assert CliRunner().invoke(app, plan).exit_code == 0
    assert zp.load_plan(folder / "plan.json").instance.parameters["kappa"] == measured.best.kappa


def test_the_command_as_json(folder: Path) -> None:
    code, said = calibrate(folder, "--out", str(folder / "new.json"), "--json")
    assert code == 0, said
    assert json.loads(said)["method"] == "magnitude"


def test_the_command_needs_a_new_file_and_the_same_weights(folder: Path) -> None:
    assert calibrate(folder) == (
        2,
        "zetaplan: --scores: it needs --out, a new file for the scores and the measured losses\n",
    )
    code, said = calibrate(folder, "--out", str(folder / "scores.json"))
    assert code == 2
    assert "scores.json" in said
    tiny_llama_dir(folder, seed=3)
    code, said = calibrate(folder, "--out", str(folder / "new.json"))
    assert (code, "they are of other weights than the model; score it again" in said) == (2, True)
    assert not (folder / "new.json").exists()
