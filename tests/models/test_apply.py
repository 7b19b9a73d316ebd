"""Plans applied to weights: the counts of the plan, and each method against the literal rule of its paper."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner, Result

from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.models.apply import apply_pruning, mismatches, prune_blocks
from zetaplan.models.inverse_hessian import DAMPING
from zetaplan.models.pruners import find_pruner, pruner_names
from zetaplan.models.pruners.sparsegpt import WIDTH, SparseGPT
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import score
from zetaplan.scoring.model.blocks import layer_blocks

IDS = torch.randint(0, 250, (6, 20), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[2, 13:] = 0
BATCHES = [
    {"input_ids": IDS[:4], "attention_mask": MASK[:4]},
    {"input_ids": IDS[4:], "attention_mask": MASK[4:]},
]
KINDS = {"llama": tiny_llama, "gpt2": tiny_gpt2}


def plan_for(model: nn.Module, blocks: str = "layers", **options: object):
    scores = score(model, BATCHES, blocks=blocks)
    return prune(scores, **{"sparsity": 0.47, "upper": 0.8, **options})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", ["layers", "modules"])
@pytest.mark.parametrize("method", pruner_names())
def test_counts_are_the_plans(kind: str, blocks: str, method: str) -> None:
    model = KINDS[kind](layers=3)
    plan = plan_for(model, blocks)
    applied = apply_pruning(model, plan, method, BATCHES)
    units = plan.rounded.units.tolist()
    assert [(b.requested, b.removed, b.zeros) for b in applied.blocks] == [(n, n, n) for n in units]
    weights = [w for name, w in model.named_parameters() if "layers" in name or ".h." in name]
    assert sum(int((w == 0).sum()) for w in weights if w.ndim == 2) == sum(units) == plan.rounded.used
    assert applied.sparsity == pytest.approx(0.47, abs=1e-3)


def linear_inputs(model: nn.Module, name: str) -> Tensor:
    """Every token that reaches the linear, (tokens, in), from a plain pass of the model as it is."""
    seen: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    for batch in BATCHES:
        model(**batch, use_cache=False)
    handle.remove()
    return torch.cat([x[batch["attention_mask"].bool()] for x, batch in zip(seen, BATCHES, strict=True)])


def literal_magnitude(weight: Tensor, count: int, _: Tensor) -> Tensor:
    left = weight.clone()
    order = sorted(range(weight.numel()), key=lambda i: abs(float(weight.flatten()[i])))
    left.view(-1)[order[:count]] = 0
    return left


def literal_wanda(weight: Tensor, count: int, inputs: Tensor) -> Tensor:
    left = weight.clone()
    norms = [float(inputs[:, j].norm()) for j in range(weight.shape[1])]
    rows = [sorted((abs(float(w)) * norms[j], j) for j, w in enumerate(row)) for row in weight]
    each = count // len(weight)
    extra = sorted(range(len(rows)), key=lambda i: rows[i][each])[: count % len(weight)]
    for i, row in enumerate(rows):
        for _, j in row[: each + (i in extra)]:
            left[i, j] = 0
    return left


def literal_brain_surgeon(weight: Tensor, count: int, inputs: Tensor) -> Tensor:
    """Column by column with an explicit inverse of what is left of H: no Cholesky factor, no lazy update."""
    gram = inputs.T @ inputs
    gram = gram + DAMPING * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    left, columns = weight.clone(), weight.shape[1]
    inverses = [torch.linalg.inv(gram[j:, j:]) for j in range(columns)]
    for start in range(0, columns, WIDTH):
        stop = min(start + WIDTH, columns)
        saliency = torch.stack([left[:, j] ** 2 / inverses[j][0, 0] for j in range(start, stop)], dim=1)
        share = count * stop // columns - count * start // columns
        cut = saliency.flatten().sort().values
        gone = saliency < (cut[share] if share < len(cut) else torch.inf)
        for j in range(start, stop):
            wrong = torch.where(gone[:, j - start], left[:, j], 0) / inverses[j][0, 0]
            left[:, j:] -= wrong[:, None] * inverses[j][0]
            left[gone[:, j - start], j] = 0
    return left


LITERAL = {"magnitude": literal_magnitude, "wanda": literal_wanda, "sparsegpt": literal_brain_surgeon}


@pytest.mark.parametrize("method", pruner_names())
def test_every_linear_agrees_with_the_literal_rule_behind_pruned_predecessors(method: str) -> None:
    dense = in_float64(tiny_llama(layers=3))
    pruned = copy.deepcopy(dense)
    blocks = layer_blocks(dense)
    counts = {
        block.name: int(share * block.linear_parameters) for block, share in zip(blocks, (0.3, 0.55, 0.7), strict=True)
    }
    prune_blocks(pruned, "layers", counts, method, BATCHES)
    replayed = copy.deepcopy(dense)
    for block in blocks:
        names = [name for name, module in block.modules.items() if isinstance(module, nn.Linear)]
        inputs = {name: linear_inputs(replayed, name) for name in names}
        for name in names:
            weight = replayed.get_submodule(name).weight.data
            after = pruned.get_submodule(name).weight.data
            expected = LITERAL[method](weight, int((after == 0).sum()), inputs[name])
            torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-11)
            weight.copy_(after)
        gone = sum(int((pruned.get_submodule(name).weight == 0).sum()) for name in names)
        assert gone == counts[block.name]


def test_sparsegpt_over_several_column_blocks_is_the_literal_brain_surgeon() -> None:
    torch.manual_seed(3)
    weight, inputs = torch.randn(5, 300, dtype=torch.float64), torch.randn(400, 300, dtype=torch.float64)
    left, removed = SparseGPT().prune(weight, 701, SparseGPT().observe(inputs), groups=False)
    torch.testing.assert_close(left, literal_brain_surgeon(weight, 701, inputs), rtol=1e-8, atol=1e-10)
    assert int(removed.sum()) == 701
    kept_alone = inputs @ weight.masked_fill(removed, 0).T
    assert (inputs @ left.T - inputs @ weight.T).norm() < (kept_alone - inputs @ weight.T).norm()


@pytest.mark.parametrize("method", pruner_names())
@given(data=st.data())
def test_any_count_is_met_exactly(method: str, data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    weight = torch.randint(-2, 3, (rows, columns), generator=torch.Generator().manual_seed(0)).double()  # full of ties
    count = data.draw(st.integers(0, rows * columns))
    pruner = find_pruner(method)
    observed = pruner.observe(torch.randn(12, columns, dtype=torch.float64)) if pruner.calibrated else None
    left, removed = pruner.prune(weight, count, observed, groups=False)
    assert int(removed.sum()) == count
    assert not left[removed].any()
    if method == "wanda":
        assert int(removed.sum(1).max() - removed.sum(1).min()) <= 1


@pytest.mark.parametrize("method", pruner_names())
def test_two_of_every_four_neighbours_go_when_the_plan_takes_half_of_every_block(method: str) -> None:
    model = tiny_llama()
    plan = plan_for(model, sparsity=0.5, lower=0.5, upper=0.5)
    applied = apply_pruning(model, plan, method, BATCHES, structure="2:4")
    assert all(block.removed == block.requested == block.zeros for block in applied.blocks)
    for block in layer_blocks(model):
        for module in block.modules.values():
            if isinstance(module, nn.Linear):
                assert ((module.weight == 0).reshape(-1, 4).sum(1) == 2).all()


def test_what_does_not_fit_is_refused_and_nothing_changed() -> None:
    model = tiny_llama(layers=3)
    before = copy.deepcopy(model.state_dict())
    plan = plan_for(model)
    with pytest.raises(
        SpecError, match=r"structure = '2:4' removes exactly 50% of every block, and the plan removes \d+\.\d+%"
    ):
        apply_pruning(model, plan, "magnitude", structure="2:4")
    with pytest.raises(SpecError, match="method = 'nonsense': expected one of magnitude, sparsegpt, wanda"):
        apply_pruning(model, plan, "nonsense")
    with pytest.raises(ScoringError, match="batches: Wanda needs a calibration text"):
        apply_pruning(model, plan, "wanda")
    with pytest.raises(SpecError, match="plan: the plan is in LoRA rank, not sparsity"):
        apply_pruning(model, allocate(plan.scores), "magnitude")
    with pytest.raises(SpecError, match=r"counts\['model.layers.0'\] = -1: expected between 0 and"):
        prune_blocks(model, "layers", {"model.layers.0": -1}, "magnitude")
    with pytest.raises(SpecError, match=r"counts: block 'model.layers.9' is not in the model"):
        prune_blocks(model, "layers", {"model.layers.9": 1}, "magnitude")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_every_entry_that_would_be_ignored_is_named() -> None:
    plan = plan_for(tiny_llama(layers=3))
    assert mismatches(tiny_llama(layers=3), plan) == ()
    assert mismatches(tiny_llama(layers=2), plan) == ("layer 'model.layers.2' is not in the model",)
    assert mismatches(tiny_llama(layers=4), plan) == ("layer 'model.layers.3' of the model is not in it",)
    wider = mismatches(tiny_llama(layers=3, hidden=32), plan)
    assert len(wider) == 3
    assert "it was made for" in wider[0]
    with pytest.raises(SpecError, match=r"has 9,216 linear weights, it was made for 2,304 \(and 2 more\)"):
        apply_pruning(tiny_llama(layers=3, hidden=32), plan, "magnitude")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny model as a folder, and a plan for it."""
    folder = tiny_llama_dir(tmp_path, layers=3)
    plan = plan_for(tiny_llama(layers=3))
    return folder, plan.save(tmp_path / "plan.json")


@pytest.mark.parametrize("method", pruner_names())
def test_the_command_saves_what_it_says(method: str, saved: tuple[Path, Path], tmp_path: Path) -> None:
    model, plan = saved
    out = tmp_path / "pruned"
    options = ("--sequences", 4, "--length", 32, "--out", out)
    done = run("apply", model, plan, "--method", method, *options, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts == json.loads((out / "zetaplan.json").read_text())
    assert list(out.glob("*.safetensors"))
    assert facts["method"] in (out / "README.md").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(out)
    for block, parts in zip(facts["blocks"], layer_blocks(loaded), strict=True):
        weights = [m.weight for m in parts.modules.values() if isinstance(m, nn.Linear)]
        assert sum(int((w == 0).sum()) for w in weights) == block["requested"] == block["removed"]
    again = run("apply", model, plan, "--method", method, *options)
    assert again.exit_code == 2
    assert "already exists; choose another --out" in again.stderr


def test_a_dry_run_changes_nothing_and_fails_where_an_entry_is_ignored(
    saved: tuple[Path, Path], tmp_path: Path
) -> None:
    model, plan = saved
    before = sorted(tmp_path.iterdir())
    fits = run("apply", model, plan, "--check")
    assert fits.exit_code == 0, fits.output
    assert "fits: every entry matches one block" in fits.stdout
    shorter = tiny_llama_dir(tmp_path / "other", layers=2)
    wrong = run("apply", shorter, plan, "--check")
    assert wrong.exit_code == 1
    assert "layer 'model.layers.2' is not in the model" in wrong.stderr
    assert sorted(path for path in tmp_path.iterdir() if path.name != "other") == before


def test_scores_of_other_weights_are_noted(saved: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = saved
    scores = tmp_path / "scores.json"
    assert (
        run(
            "score", tiny_llama_dir(tmp_path / "b", layers=3, seed=1), "--sequences", 4, "--length", 16, "--out", scores
        ).exit_code
        == 0
    )
    assert run("prune", scores, "--out", tmp_path / "p.json").exit_code == 0
    done = run("apply", model, tmp_path / "p.json", "--method", "magnitude", "--out", tmp_path / "pruned")
    assert done.exit_code == 0, done.output
    assert "note: the plan was made from scores of other weights" in done.stdout


def test_the_command_computes_where_it_is_told(saved: tuple[Path, Path], tmp_path: Path) -> None:
    model, plan = saved
    options = ("--method", "magnitude", "--out", tmp_path / "pruned")
    wrong = run("apply", model, plan, *options, "--device", "nonsense")
    assert wrong.exit_code == 2
    assert "device = 'nonsense': torch cannot compute there; use cpu, or a device that it sees" in wrong.stderr
    assert run("apply", model, plan, *options, "--device", "cpu").exit_code == 0
