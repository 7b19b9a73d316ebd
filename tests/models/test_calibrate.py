"""Loss curves: measured as a plain prune of a copy measures them, and turned into the kappa that they ask for."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.models.apply import prune_blocks
from zetaplan.models.calibrate import LossCurves, loss_curves
from zetaplan.models.pruners import pruner_names
from zetaplan.solvers import solve
from zetaplan.spec.programs.power_pruning import power_pruning
from zetaplan.spec.programs.pruning import pruning

BATCH = {"input_ids": torch.randint(0, 250, (4, 20), generator=torch.Generator().manual_seed(1))}
OTHER = {"input_ids": torch.randint(0, 250, (3, 20), generator=torch.Generator().manual_seed(2))}


def loss(model) -> float:
    """By transformers: all sequences are equally long, so that the mean over tokens is that over sequences."""
    with torch.no_grad():
        return float(model(**OTHER, labels=OTHER["input_ids"]).loss)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("method", pruner_names())
def test_a_rise_is_that_of_a_copy_with_one_layer_pruned(make, method: str) -> None:
    model = make(layers=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = loss_curves(model, method, OTHER, BATCH, levels=(0.25, 0.5))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for name, row in zip(found.names, found.rise, strict=True):
        for level, rise in zip(found.levels, row, strict=True):
            pruned = copy.deepcopy(model)
            size = sum(w.numel() for w in pruned.get_submodule(name).parameters() if w.ndim == 2)
            prune_blocks(pruned, "layers", {name: int(level * size)}, method, BATCH)
            assert rise == pytest.approx(loss(pruned) - loss(model), abs=2e-6)
    assert np.abs(found.rise).min() > 1e-5


@given(p=st.floats(1.2, 12), seed=st.integers(0, 9), levels=st.sampled_from([(0.5, 0.7), (0.3, 0.5, 0.6, 0.8)]))
def test_the_exponent_of_a_power_is_found(p: float, seed: int, levels: tuple[float, ...]) -> None:
    weights = np.random.default_rng(seed).lognormal(size=7)
    rise = weights[:, None] * np.array(levels) ** p
    rise[0, 0] = -1e-3  # a layer that noise has pushed below zero does not count
    curves = LossCurves(tuple("abcdefg"), "wanda", np.array(levels), rise)
    assert curves.exponent == pytest.approx(p, rel=1e-9)
    assert curves.kappa == pytest.approx(1 / (p - 1), rel=1e-8)


@given(
    quality=st.lists(st.floats(0.01, 100), min_size=2, max_size=9),
    p=st.floats(1.3, 9),
    sparsity=st.floats(0.05, 0.79),
)
def test_kappa_makes_the_square_act_like_the_power_on_layers_of_one_size(quality, p: float, sparsity: float) -> None:
    limits = {"sparsity": sparsity, "upper": 0.8}
    power = solve(power_pruning(quality, 1e6, p=p, **limits)).x
    square = solve(pruning(quality, 1e6, kappa=1 / (p - 1), **limits)).x
    np.testing.assert_allclose(square, power, rtol=1e-8)


def test_curves_that_say_nothing_are_refused() -> None:
    levels = np.array([0.5, 0.7])
    falling = LossCurves(("a", "b"), "wanda", levels, np.array([[0.1, 0.2], [-0.1, 0.2]]))
    with pytest.raises(ScoringError, match="in 1 of 2 layers only, so there is no curve to fit; give more text"):
        _ = falling.exponent
    flat = LossCurves(("a", "b"), "wanda", levels, np.array([[0.1, 0.12], [0.1, 0.11]]))
    with pytest.raises(ScoringError, match=r"rises like rho\^0.4\d*, which is not convex"):
        _ = flat.kappa


@pytest.mark.parametrize("levels", [(0.5,), (0.7, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_bad_levels_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="expected two or more, ascending, between 0 and 1"):
        loss_curves(tiny_llama(), "magnitude", BATCH, levels=levels)


def test_the_command_writes_the_curves_and_says_the_kappa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a random model pruning may lower the loss, so its measured rises are replaced by rho^5."""

    def planted(*args: object, **options: object) -> LossCurves:
        curves = loss_curves(*args, **options)
        return replace(curves, rise=np.tile(curves.levels**5, (len(curves.names), 1)))

    monkeypatch.setattr("zetaplan.models.calibrate.loss_curves", planted)
    model, out = tiny_llama_dir(tmp_path / "model", layers=3), tmp_path / "curves.json"
    options = ["--method", "wanda", "--sequences", "4", "--length", "32", "--level", "0.9", "--level", "0.6"]
    done = CliRunner().invoke(app, ["calibrate", str(model), *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "raises the loss like rho^5.00" in done.stdout
    assert "zetaplan prune SCORES --kappa 0.25" in done.stdout
    found = json.loads(out.read_text())
    assert found["levels"] == [0.6, 0.9]
    assert found["kappa"] == pytest.approx(0.25)
    assert np.shape(found["rise"]) == (3, 2)


def test_a_device_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["calibrate", str(tiny_llama_dir(tmp_path)), "--device", "nonsense"])
    assert done.exit_code == 2
    assert "device = 'nonsense': torch cannot compute there; use cpu, or a device that it sees" in done.stderr
