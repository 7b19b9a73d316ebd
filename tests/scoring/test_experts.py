"""One block per expert: its gain is that of its part of the gradients, and plans over experts are applied to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.decoders import tiny_decoder
from tests.scoring.test_architectures import TAU, dense_rows, text
from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.models.apply import apply_pruning
from zetaplan.plans.planner import prune
from zetaplan.scoring import score, score_each
from zetaplan.scoring.model.blocks import partition


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss", "llama4_text", "jetmoe"])
def test_the_gain_of_an_expert_is_that_of_its_part_of_the_gradients(kind: str) -> None:
    model, batch = tiny_decoder(kind), text()
    found = score_each(model, batch, blocks="experts", curvatures=("block-fisher", "diagonal-fisher"), damping=TAU)
    whole = score(model, batch, blocks="modules", damping=TAU)
    assert {
        name.rpartition(".")[0] if name.rpartition(".")[2].isdigit() else name for name in found["block-fisher"].names
    } == set(whole.names)
    experts = [part for part in partition(model, "experts") if part.expert is not None]
    assert len(experts) % 4 == 0
    assert len(experts) > 0
    for part in experts:
        k = found["block-fisher"].names.index(part.name)
        parameters = list(part.named_parameters.values())
        sizes = [p.numel() for p in parameters]
        rows = [
            p.unflatten(1, (len(own), -1))[:, part.expert]
            for own, p in zip(
                parameters, torch.from_numpy(dense_rows(model, batch, parameters)).split(sizes, 1), strict=True
            )
        ]
        g = torch.cat(rows, 1).double().numpy()
        assert found["block-fisher"].parameters[k] == g.shape[1] == part.parameters
        fisher = np.linalg.solve(g.T @ g / len(g) + TAU.value * np.eye(g.shape[1]), g.mean(0)) @ g.mean(0)
        assert found["block-fisher"].gain[k] == pytest.approx(fisher, rel=1e-4, abs=1e-12)
        diagonal = np.sum(g.mean(0) ** 2 / ((g**2).mean(0) + TAU.value))
        assert found["diagonal-fisher"].gain[k] == pytest.approx(diagonal, rel=1e-4, abs=1e-12)


def test_counts_of_experts_add_up_to_those_of_their_module() -> None:
    model, batch = tiny_decoder("qwen3_moe"), text()
    of_experts, of_modules = (score(model, batch, blocks=blocks) for blocks in ("experts", "modules"))
    for column in ("parameters", "linear_parameters", "rank_parameters"):
        assert getattr(of_experts, column).sum() == getattr(of_modules, column).sum()
    assert of_experts.left_out == of_modules.left_out


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_a_plan_over_experts_removes_its_counts_from_each(method: str) -> None:
    model = tiny_decoder("mixtral")
    plan = prune(score(model, text(), blocks="experts"), sparsity=0.4, upper=0.9)
    applied = apply_pruning(model, plan, method, text())
    assert [block.removed for block in applied.blocks] == plan.rounded.units.tolist()
    assert "model.layers.1.mlp.experts.3" in plan.names


def test_a_model_without_experts_and_a_surrogate_of_whole_modules_are_refused() -> None:
    with pytest.raises(ScoringError, match="LlamaForCausalLM has no experts in one tensor; use blocks = 'modules'"):
        score(tiny_llama(), text(), blocks="experts")
    for name in ("kfac", "ggn"):
        with pytest.raises(ScoringError, match=f"{name} cannot be restricted to one expert; use block-fisher"):
            score(tiny_decoder("mixtral"), text(), blocks="experts", curvature=name)
    with pytest.raises(ScoringError, match="held_out works on whole modules"):
        score(tiny_decoder("mixtral"), text(), blocks="experts", held_out=text(1))


@pytest.mark.parametrize("name", ["ggn", "hessian", "token-fisher", "nystrom"])
@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss", "llama4_text", "jetmoe"])
def test_products_with_the_curvature_choose_experts_with_derivatives(name: str, kind: str) -> None:
    """The implementation of the experts is that of the model before and after."""
    model = tiny_decoder(kind)
    chosen = model.get_experts_implementation()
    found = score(model, text(), curvature=name, damping=1e3)
    assert (found.low <= found.high).all()
    assert model.get_experts_implementation() == chosen
