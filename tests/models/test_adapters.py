"""Adapters from plans: the planned parameters to the unit, mixtures against their formula, and both trained."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from tests.tiny_models import byte_tokenizer, tiny_gpt2, tiny_llama
from zetaplan.errors import CertificateError, SpecError
from zetaplan.models.adapters import MixtureOfLoRA, adapter, mixture
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import Scores, score
from zetaplan.scoring.model.blocks import layer_blocks

peft = pytest.importorskip("peft", reason="PEFT (extra peft) is not installed")

TEXT = "The quick brown fox jumps over the lazy dog. " * 8


def sequences(text: str = TEXT, length: int = 32) -> list[dict[str, torch.Tensor]]:
    ids = torch.tensor(byte_tokenizer()(text)["input_ids"])
    return [{"input_ids": row, "labels": row} for row in ids[: len(ids) // length * length].view(-1, length)]


def scored(model: nn.Module) -> Scores:
    return score(model, {"input_ids": torch.stack([row["input_ids"] for row in sequences()])})


def trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("mean_rank", [1, 2.7])
def test_an_adapter_has_the_parameters_of_the_plan(make, mean_rank: float) -> None:
    model = make(layers=3)
    plan = allocate(scored(model), mean_rank=mean_rank)
    adapted = adapter(model, plan)
    assert trainable(adapted) == plan.rounded.used
    ranks = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    found = {name: m for name, m in adapted.named_modules() if hasattr(m, "lora_A")}
    assert found
    for name, module in found.items():
        [rank] = [rank for layer, rank in ranks.items() if f".{layer}." in f".{name}."]
        assert module.r["default"] == rank
        assert module.scaling["default"] == 2


def test_a_layer_of_rank_zero_gets_no_adapter() -> None:
    model = tiny_llama(layers=3)
    plan = allocate(scored(model), mean_rank=1, upper=[0, 4, 4])
    adapted = adapter(model, plan)
    assert not [n for n, m in adapted.named_modules() if hasattr(m, "lora_A") and "layers.0." in n]
    assert trainable(adapted) == plan.rounded.used > 0


def trained(model: nn.Module, folder: object, steps: int) -> tuple[float, float]:
    """The loss before and after, by the Trainer of transformers."""
    options = {"max_steps": steps, "per_device_train_batch_size": 4, "learning_rate": 3e-2, "seed": 0}
    quiet = {"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    trainer = Trainer(model, TrainingArguments(str(folder), **options, **quiet), train_dataset=sequences())
    losses = []
    for step in (None, trainer.train):
        if step:
            step()
        with torch.no_grad():
            model.eval()
            losses.append(
                float(np.mean([float(model(**{k: v[None] for k, v in row.items()}).loss) for row in sequences()]))
            )
    return losses[0], losses[1]


@pytest.mark.slow
def test_an_adapter_learns_and_the_base_stays(tmp_path) -> None:
    model = tiny_llama(layers=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = allocate(scored(model), mean_rank=4)
    adapted = adapter(model, plan)
    start, end = trained(adapted, tmp_path, steps=60)
    assert end < 0.8 * start
    after = adapted.unload().state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 5, dtype=torch.float64)


def filled(layer: MixtureOfLoRA) -> MixtureOfLoRA:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (layer.down, layer.up, layer.router):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return layer


X = torch.randn(2, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("top_k", [1, 2, 4, 9])
def test_a_mixture_is_its_formula_token_by_token(linear: nn.Linear, top_k: int) -> None:
    layer = filled(MixtureOfLoRA(linear, 4, 3, top_k=top_k, scale=1.5))
    for x, found in zip(X.flatten(0, 1), layer(X).flatten(0, 1), strict=True):
        logits = [float(r @ x) for r in layer.router]
        best = sorted(range(4), key=lambda e: -logits[e])[:top_k]
        total = sum(np.exp(logits[e]) for e in best)
        parts = [np.exp(logits[e]) / total * layer.up[e] @ (layer.down[e] @ x) for e in best]
        torch.testing.assert_close(found, linear(x) + 1.5 * sum(parts))


def test_all_experts_are_the_dense_mixture_and_one_is_plain_lora(linear: nn.Linear) -> None:
    dense = filled(MixtureOfLoRA(linear, 4, 3, top_k=4))
    shares = torch.softmax(X @ dense.router.T, -1)
    everyone = torch.einsum("bte,eor,eri,bti->bto", shares, dense.up, dense.down, X)
    torch.testing.assert_close(dense(X), linear(X) + 2 * everyone)
    one = filled(MixtureOfLoRA(linear, 1, 3))
    wrapped = peft.get_peft_model(
        nn.Sequential(copy.deepcopy(linear)), peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0"])
    ).double()
    lora = wrapped.base_model.model[0]
    with torch.no_grad():
        lora.lora_A["default"].weight.copy_(one.down[0])
        lora.lora_B["default"].weight.copy_(one.up[0])
    torch.testing.assert_close(one(X), wrapped(X))


def test_gradients_are_those_of_finite_differences_and_the_start_is_the_model(linear: nn.Linear) -> None:
    fresh = MixtureOfLoRA(linear, 3, 2)
    torch.testing.assert_close(fresh(X), linear(X), rtol=0, atol=0)
    layer = filled(MixtureOfLoRA(linear, 3, 2, top_k=2))
    parameters = (layer.down, layer.up, layer.router)

    def answer(*values: torch.Tensor) -> torch.Tensor:
        names = ("down", "up", "router")
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (X[:1, :3],))

    assert torch.autograd.gradcheck(answer, parameters)
    layer(X).sum().backward()
    assert linear.weight.grad is None


@pytest.mark.slow
def test_a_planned_mixture_learns_on_a_tiny_model(tmp_path) -> None:
    model = tiny_llama(layers=3)
    plan = allocate(scored(model), mean_rank=3, expert_rank=2)
    mixed = mixture(model, plan)
    experts = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    routers = 0
    for block in layer_blocks(mixed):
        layers = [m for m in mixed.get_submodule(block.name).modules() if isinstance(m, MixtureOfLoRA)]
        assert len(layers) == 7
        assert all(len(m.down) == experts[block.name] for m in layers)
        routers += sum(m.router.numel() for m in layers)
    assert trainable(mixed) - routers == plan.rounded.used
    start, end = trained(mixed, tmp_path, steps=60)
    assert end < 0.8 * start


def test_a_mixture_routes_to_as_many_experts_as_the_plan_says() -> None:
    plan = allocate(scored(tiny_llama(layers=3)), mean_rank=5, expert_rank=2, top_k=3)
    mixed = mixture(tiny_llama(layers=3), plan)
    counts = [(len(m.down), m.top_k) for m in mixed.modules() if isinstance(m, MixtureOfLoRA)]
    assert {top for _, top in counts} & {3}
    assert all(top == min(3, experts) for experts, top in counts)


def test_what_does_not_fit_is_refused(linear: nn.Linear) -> None:
    model = tiny_llama(layers=3)
    ranks: Plan = allocate(scored(model), mean_rank=2)
    experts = allocate(scored(model), mean_rank=3, expert_rank=2)
    with pytest.raises(SpecError, match="plan: the plan has no experts"):
        mixture(model, ranks)
    with pytest.raises(SpecError, match="takes plans of ranks, this plan counts experts"):
        adapter(model, experts)
    with pytest.raises(SpecError, match="takes plans of ranks, this plan counts weights"):
        adapter(model, prune(scored(model)))
    with pytest.raises(CertificateError, match="but not of both"):
        mixture(tiny_llama(layers=2), experts)
    with pytest.raises(SpecError, match="experts = 0, rank = 2, top_k = 2: expected each at least 1"):
        MixtureOfLoRA(linear, 0, 2)
