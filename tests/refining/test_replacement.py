"""Plans of low-rank replacements: exact costs, the matrices of every architecture, and the way to a folder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

import zetaplan as zp
from tests.decoders import tiny_decoder
from tests.refining.test_refine import CALIBRATION, HELD_OUT, facts_of, refined
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.menus.low_rank import rank_facts, ranks_by, with_ranks
from zetaplan.models.inputs import Inputs
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.low_rank_folder import FACTORS, save_low_rank
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.refining.levels import Levels, find_levels
from zetaplan.refining.replacing import replaced_layers
from zetaplan.scoring import Sequences
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches, digest

SVDS = ("svd", "svd-llm")
IDS = torch.randint(2, 20, (24, 12), generator=torch.Generator().manual_seed(3))


def levels_of(model: Any, method: str, budget: str = "0.4", folder: Path | None = None, **settings: Any) -> Levels:
    inputs = Inputs(model, checked_batches(IDS, model=model), folder)
    return find_levels(method, inputs=inputs, budget=budget, **settings)


@settings(max_examples=15)
@given(st.integers(1, 99), st.sampled_from(["0.05", "0.1", "0.03"]), st.sampled_from(["layers", "fused", "modules"]))
def test_levels_cost_whole_weights_within_their_share(percent: int, step: str, blocks: str) -> None:
    levels: Any = levels_of(tiny_llama(layers=2), "svd", str(percent / 100), step=step, blocks=blocks)
    total = sum(levels.sizes.values())
    assert total == sum(part.linear_parameters for part in partition(levels.inputs.model, "layers"))
    assert 100 * levels.budget <= (100 - percent) * total
    assert sum(levels.costs[block][option] for block, option in levels.uniform.items()) <= levels.budget
    for block, costs in levels.costs.items():
        assert list(costs.values()) == sorted(costs.values())
        assert all(cost <= (1 - float(option)) * levels.sizes[block] + 1e-6 for option, cost in costs.items())
        assert costs.get("0", levels.sizes[block]) == levels.sizes[block]


@pytest.mark.parametrize("method", SVDS)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text", "mixtral", "gpt_oss", "llama4_text", "jetmoe"])
def test_every_matrix_is_the_truncated_decomposition_in_its_place(kind: str, method: str) -> None:
    """All matrices of a model, experts among them, against numpy: of W, or the error of W L, L from eigenvectors."""
    model = tiny_decoder(kind)
    levels: Any = levels_of(model, method, blocks="layers")
    grams = {}
    with torch.no_grad():
        names = [weight.name for members in levels.weights.values() for weight in members]
        for _, own in layer_pass(model, levels.inputs.calibration, lambda x: x.mT @ x, names):
            grams |= {name: (value, own.rows[name]) for name, value in own.items()}
    changes = {name: value for block in levels.costs for name, value in levels.values(block, "0.4").items()}
    assert set(changes) == set(names)
    for weight in (weight for members in levels.weights.values() for weight in members):
        before, after = model.get_parameter(weight.name).detach(), changes[weight.name]
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
        rank = int(0.6 * weight.rows * weight.columns / (weight.rows + weight.columns) + 1e-9)
        pair = [value.double().reshape(weight.count, *value.shape[-2:]) for value in (before, after)]
        before, after = (value.mT if weight.transposed else value for value in pair)
        gram, rows = grams[weight.name]
        for place in range(weight.count):
            root = np.eye(weight.columns)
            if method == "svd-llm":
                own = gram if gram.ndim == 2 else gram[place] if rows[place] >= 32 else gram.sum(0)
                shift = 1e-3 * float(own.diagonal().mean()) or 1.0
                values, vectors = np.linalg.eigh(own.double().numpy() + shift * np.eye(weight.columns))
                root = vectors * np.sqrt(values)
            error = (before[place] - after[place]).numpy() @ root
            discarded = np.linalg.svd(before[place].numpy() @ root, compute_uv=False)[rank:]
            assert np.sum(error**2) == pytest.approx(np.sum(discarded**2), rel=1e-3, abs=1e-9)
            assert np.linalg.matrix_rank(after[place].numpy(), tol=1e-5) <= rank


def test_the_decomposition_is_computed_once_for_all_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda *a, **k: asked.append(a) or svd(*a, **k))
    for _ in range(2):
        levels = levels_of(tiny_llama(layers=1), "svd-llm", folder=tmp_path, blocks="layers")
        for option in next(iter(levels.costs.values())):
            levels.values("model.layers.0", option)
    assert len(asked) == 7


@pytest.mark.parametrize("method", SVDS)
def test_no_change_at_share_0_and_less_error_at_every_level_up(method: str) -> None:
    model = tiny_llama(layers=1, hidden=32)
    levels = levels_of(model, method, blocks="modules")
    for block, costs in levels.costs.items():
        weight = model.get_submodule(block).weight.detach()
        found = [levels.values(block, option) for option in costs]
        errors = [float((weight - values.get(f"{block}.weight", weight)).square().sum()) for values in found]
        assert errors[-1] == 0.0
        assert found[-1] == {}
        assert method == "svd-llm" or errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("kind", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("method", SVDS)
def test_the_folder_has_the_weights_that_were_measured_and_their_factors(
    method: str, kind: Any, tmp_path: Path
) -> None:
    loaded = zp.load_model(save_model(kind(layers=3), tmp_path / "model"))
    dense = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    plan = refined(method, loaded, evaluations=12, cache=tmp_path)
    point = OperatingPoint(kind(layers=3), checked_batches(HELD_OUT, 8))
    facts = saved(loaded, plan, tmp_path / "made")
    assert facts["note"] is None
    assert facts["ranks"] == ranks_by(plan)
    assert facts["weights"]["factors"] <= 0.7 * facts["weights"]["dense"]
    model = zp.load_model(tmp_path / "made").model
    held_out = facts_of(plan).held_out
    assert held_out is not None
    assert point.reading(dict(model.named_parameters())).loss.tolist() == list(held_out.refined)
    parts = [load_file(file) for file in sorted((tmp_path / "made" / FACTORS).iterdir())]
    stored = {name: value for part in parts for name, value in part.items()}
    assert (
        sum(value.numel() for value in stored.values())
        + sum(dense[name].numel() for name, rank in facts["ranks"].items() if rank is None)
        == (facts["weights"]["factors"])
    )
    for name, rank in facts["ranks"].items():
        value = model.get_parameter(name)
        if rank is None:
            assert torch.equal(value, dense[name])
            continue
        left, right = stored[f"{name}.left"][0], stored[f"{name}.right"][0]
        assert left.shape[1] == right.shape[0] == rank
        product = left @ right
        torch.testing.assert_close(product.mT if kind is tiny_gpt2 else product, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", SVDS)
def test_a_model_that_is_read_layer_by_layer_gets_the_same_weights(method: str, tmp_path: Path) -> None:
    folder = save_model(tiny_llama(layers=3), tmp_path / "model")
    plan = refined(method, zp.load_model(folder), evaluations=12)
    for stream in (False, True):
        saved(zp.load_model(folder, stream=stream), plan, tmp_path / str(stream))
    found = [zp.load_model(tmp_path / str(stream)).model.state_dict() for stream in (False, True)]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    factors = [sorted((tmp_path / str(stream) / FACTORS).iterdir()) for stream in (False, True)]
    assert [file.read_bytes() for file in factors[0]] == [file.read_bytes() for file in factors[1]]


def saved(loaded: zp.LoadedModel, plan: zp.ChoicePlan, folder: Path) -> dict[str, Any]:
    text = None if rank_facts(plan).method == "svd" else CALIBRATION
    described = (
        None if text is None else Sequences(text, torch.ones_like(text), text, digest(checked_batches(text)), (), "")
    )
    return save_low_rank(loaded, replaced_layers(loaded, plan, text), plan, described, folder)


def test_a_plan_is_refused_if_it_is_another_or_costs_something_else() -> None:
    plan = refined("svd", tiny_llama(layers=3), evaluations=12)
    costs = [[(cost + 1.0, changed) for cost, changed in row] for row in plan.menu.costs]
    with pytest.raises(SpecError, match="expected a share of its weights at the size of its factors"):
        ranks_by(replace(plan, menu=replace(plan.menu, costs=tuple(map(tuple, costs)))))
    other = replace(plan.menu, provenance={**plan.menu.provenance, "weights": {}})
    with pytest.raises(SpecError, match=r"provenance\.weights: expected the blocks"):
        ranks_by(replace(plan, menu=other))
    unknown = replace(plan.menu, provenance={**plan.menu.provenance, "method": "nmf"})
    with pytest.raises(SpecError, match=r"menu\.provenance\.method: "):
        ranks_by(replace(plan, menu=unknown))
    with pytest.raises(SpecError, match="it decides no ranks of replacements; make one with `zetaplan refine --method"):
        rank_facts(refined("magnitude", tiny_llama(layers=3), evaluations=12))


@pytest.mark.parametrize("option", ["nan", "inf", "-1", "1.5", "1e999999999", "1/0", "q4_0"])
def test_an_option_that_is_no_share_is_refused(option: str) -> None:
    levels: Any = levels_of(tiny_llama(layers=1), "svd", blocks="layers")
    menu = zp.Menu(("model.layers.0",), ((option,),), ((0.0,),), (((5.0,),),), provenance=levels.facts())
    for read in (ranks_by, with_ranks):
        with pytest.raises(SpecError, match="expected a share of its weights at the size of its factors"):
            read(zp.choose(menu, 5.0))


def test_a_model_must_fit_and_the_method_must_have_its_text(tmp_path: Path) -> None:
    plan = refined("svd-llm", tiny_llama(layers=3), evaluations=12)
    with pytest.raises(SpecError, match="has the shape"):
        saved(zp.load_model(save_model(tiny_llama(layers=3, hidden=32), tmp_path / "wide")), plan, tmp_path / "made")
    fitting = zp.load_model(save_model(tiny_llama(layers=3), tmp_path / "model"))
    with pytest.raises(ScoringError, match="svd-llm needs a calibration text"):
        save_low_rank(fitting, replaced_layers(fitting, plan), plan, None, tmp_path / "made")
    assert not (tmp_path / "made").exists()


SIZES = ("--length", "16", "--calibration", "4", "--sequences", "3", "--portions", "2", "--accept", "4")
SIZES += ("--compare", "4", "--evaluations", "14", "--data", "notes.txt")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    tiny_llama_dir(tmp_path, layers=2)
    Path("notes.txt").write_text(" ".join(f"{n} sheep are {n * n} in a square;" for n in range(60)))


def run(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.mark.usefixtures("files")
def test_from_the_command_line_to_an_evaluation() -> None:
    done = run("refine", "tiny-llama", "--method", "svd-llm", "--budget", "0.3", *SIZES)
    assert done.stdout.startswith("held-out text: the plan is ")
    run("verify", "refined.json")
    run("report", "refined.json", "-o", "report.html")
    assert re.search(r"\(rank \d|\(unchanged\)", Path("report.md").read_text())
    run("apply", "tiny-llama", "refined.json", "--check")
    text = ("--data", "notes.txt", "--length", "16", "--sequences", "4")
    applied = run("apply", "tiny-llama", "refined.json", *text)
    assert "of 14 tensors replaced by svd-llm" in applied.stdout
    assert "stored dense and saves nothing" in applied.stdout
    record = json.loads(Path("low-rank/zetaplan.json").read_text())
    assert record["weights"]["factors"] <= 0.7 * record["weights"]["dense"]
    assert "neither memory nor time" in " ".join(Path("low-rank/README.md").read_text().split())
    evaluated = run(
        "evaluate", "low-rank", "--against", "tiny-llama", "--text", "notes.txt", "--length", "32", "--json"
    )
    assert json.loads(evaluated.stdout)["against"]["kl"]["mean"]["value"] > 0
    again = run(
        "refine", "tiny-llama", "refined.json", "--method", "svd-llm", "--budget", "0.3", *SIZES, "-o", "b.json"
    )
    assert "written to b.json" in again.stdout


@pytest.mark.usefixtures("files")
def test_from_a_measured_menu() -> None:
    text = ("--data", "notes.txt", "--length", "16", "--sequences", "4")
    run("measure", "tiny-llama", "--for", "rank", "--method", "svd", "--step", "0.25", *text)
    menu = zp.load_menu("menu.json")
    assert menu.options == (("0.75", "0.5", "0.25", "0"),) * 2
    budget = sum(row[-1][0] for row in menu.costs) * 0.5
    run("choose", "menu.json", "--budget", f"{budget:.0f}", "-o", "choice.json")
    run("verify", "choice.json")
    run("apply", "tiny-llama", "choice.json", "-o", "made", "--quiet")
    assert set(json.loads(Path("made/zetaplan.json").read_text())["ranks"].values()) != {None}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("--method", "svd"), "method = 'svd': the ranks were measured with 'svd-llm'; leave it out"),
        (("--to", "gguf"), "to = 'gguf': a model of low rank is written as safetensors"),
        (("--structure", "2:4"), "structure = '2:4': the plan removes no single weights; leave it out"),
        (("--data", "absent.txt"), "absent.txt"),
    ],
)
def test_bad_options_of_apply_are_one_line(line: tuple[str, ...], said: str) -> None:
    zp.save_choice(refined("svd-llm", tiny_llama(layers=2), evaluations=12), "plan.json")
    done = run("apply", "tiny-llama", "plan.json", *line, "-o", "x", code=2)
    assert said in done.stderr.splitlines()[-1]
    assert not Path("x").exists()


@pytest.mark.usefixtures("files")
def test_a_check_names_what_does_not_fit() -> None:
    zp.save_choice(refined("svd", tiny_llama(layers=3), evaluations=12), "plan.json")
    said = run("apply", "tiny-llama", "plan.json", "--check", code=1).stderr
    assert "does not fit this model: matrix 'model.layers.2." in said
