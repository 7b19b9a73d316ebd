"""Products of one block against dense float64 matrices (see tests.wide_models), and against curvlinops."""

import copy

import numpy as np
import pytest
import torch

from tests.scoring.test_score import random_ids
from tests.tiny_models import tiny_gpt2, tiny_llama
from tests.wide_models import dense as dense_truth
from tests.wide_models import wide
from zetaplan.scoring.curvature._products import LinearisedBlock
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2}


def data(size=None):
    """Three sequences, padded, one with labels that are left out in its midst."""
    ids = random_ids(sequences=3, length=7)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[2, 3] = -100
    return checked_batches({"input_ids": ids, "attention_mask": mask, "labels": labels}, size)


@pytest.fixture(scope="module", params=sorted(MODELS))
def block(request):
    model = MODELS[request.param](layers=2, hidden=4, vocabulary=11).double()
    ids = data()
    for batch in ids:
        batch["input_ids"] %= 11
        batch["labels"] = batch["labels"].where(batch["labels"] == -100, batch["labels"] % 11)
    part = partition(model, "layers")[-1]
    return LinearisedBlock(model, part.named_parameters, ids)


@pytest.fixture(scope="module")
def dense(block):
    """g, H, Gauss-Newton and per-token Fisher, each sequence alone and unpadded, written out from the definitions."""
    return dense_truth(wide(block.model), list(block.parameters), block.batches)


def test_gradient(block, dense):
    torch.testing.assert_close(block.gradient(), dense["gradient"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["ggn", "hessian", "token_fisher"])
def test_products_are_those_of_the_dense_matrix(block, dense, name):
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        v = torch.randn(block.dimension, dtype=torch.float64, generator=generator)
        torch.testing.assert_close(getattr(block, name)(v), dense[name] @ v, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["ggn", "hessian", "token_fisher"])
def test_batches_change_nothing(block, name):
    v = torch.randn(block.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = [{key: value[i : i + 1] for key, value in block.batches[0].items()} for i in range(3)]
    split = LinearisedBlock(block.model, block.parameters, parts)
    torch.testing.assert_close(getattr(split, name)(v), getattr(block, name)(v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("name", ["ggn", "hessian", "token_fisher"])
def test_lower_precision_is_close(block, name, dtype, tolerance):
    model = copy.deepcopy(block.model).to(dtype)
    low = LinearisedBlock(model, {key: model.get_parameter(key) for key in block.parameters}, block.batches)
    v = torch.randn(block.dimension, generator=torch.Generator().manual_seed(2))
    found, wide = getattr(low, name)(v), low.in_float64()
    assert found.dtype == torch.float32
    expected = getattr(wide, name)(v.double())
    assert float((found.double() - expected).norm() / expected.norm()) < tolerance


def test_the_model_is_left_as_it_was(block):
    model = block.model.train()
    wanted = [p.requires_grad for p in model.parameters()]
    block.ggn(torch.ones(block.dimension, dtype=torch.float64))
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert all(p.grad is None for p in model.parameters())
    model.eval()


@pytest.mark.parametrize(
    ("name", "operator", "tiny"),
    [("ggn", "GGNLinearOperator", tiny_llama), ("hessian", "HessianLinearOperator", tiny_gpt2)],
)
def test_curvlinops_agrees(name, operator, tiny):
    """Its Hessian cannot pass a SiLU, hence GPT-2, and is wrong on a layer norm's weights, hence one linear.

    On unpadded sequences of one length the mean over sequences is the mean over tokens, which curvlinops takes.
    """
    curvlinops = pytest.importorskip("curvlinops", reason="curvlinops-for-pytorch is not installed")
    model = wide(tiny(layers=1, hidden=4, vocabulary=11))
    ids = random_ids(sequences=3, length=6) % 11
    part = partition(model, "modules")[2]
    block = LinearisedBlock(model, part.named_parameters, checked_batches({"input_ids": ids}))

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(input_ids=x, use_cache=False).logits[:, :-1].flatten(0, 1)

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = list(part.named_parameters.values())
    for parameter in chosen:
        parameter.requires_grad_(True)
    loader = [(ids, ids[:, 1:].flatten())]
    made = getattr(curvlinops, operator)(
        Logits(), torch.nn.CrossEntropyLoss(reduction="mean"), chosen, loader, check_deterministic=False
    )
    v = torch.randn(block.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    np.testing.assert_allclose(getattr(block, name)(v), (made @ v).detach(), rtol=1e-8, atol=1e-10)
