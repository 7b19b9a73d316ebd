"""Every estimator against its definition, computed literally in float64 on tiny models with padding in the text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zetaplan as zp
from tests.measuring import literal
from tests.tiny_models import tiny_architecture, tiny_llama
from zetaplan.measuring.estimators import estimator_names
from zetaplan.menus.bits import BitsFacts, bits_facts
from zetaplan.menus.menu import Menu

KINDS = ("llama", "gpt2", "qwen3_moe", "gemma3")
FORMATS = ["int3", "int8-g4-asym"]
CLOSE = 2e-4  # estimators compute in float32


def text(seed: int = 0, vocabulary: int = 23) -> list[dict[str, Tensor]]:
    """Five sequences of 4 to 9 tokens in two batches, padded on the right."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for lengths in ((9, 5, 7), (4, 8)):
        ids = torch.randint(0, vocabulary - 1, (len(lengths), max(lengths)), generator=random)
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        found.append({"input_ids": ids, "attention_mask": mask})
    return found


def measure(model: nn.Module, estimator: str, **options: object) -> Menu:
    given = {"formats": FORMATS, "text": text(), "blocks": "modules", "cache": False, **options}
    return zp.measure(model, estimator=estimator, **given)  # type: ignore[arg-type]


def cells(menu: Menu) -> list[tuple[str, str, float, float]]:
    assert menu.standard_error is not None
    return [
        (name, label, loss, error)
        for name, labels, losses, errors in zip(menu.names, menu.options, menu.losses, menu.standard_error, strict=True)
        for label, loss, error in zip(labels, losses, errors, strict=True)
        if label != "bf16"
    ]


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return tiny_architecture(request.param)


def some(menu: Menu) -> list[tuple[str, str, float, float]]:
    """Every third option: all sorts of blocks, in a third of the time."""
    return cells(menu)[::3]


def test_measured_is_the_divergence_of_a_copy_with_rounded_weights(model: nn.Module) -> None:
    menu = measure(model, "measured")
    facts = bits_facts(menu)
    for block, label, loss, error in some(menu):
        expected = literal.measured(model, facts.weights[block], label, text())
        assert (loss, error) == pytest.approx(expected, rel=CLOSE, abs=1e-9), (block, label)


def test_linear_is_its_definition(model: nn.Module) -> None:
    menu = measure(model, "linear", seed=3)
    facts = bits_facts(menu)
    for block, label, loss, _ in some(menu):
        expected = literal.linear(model, facts.weights[block], label, text(), seed=3)
        assert loss == pytest.approx(expected, rel=CLOSE, abs=1e-9), (block, label)


@pytest.mark.parametrize("estimator", ["fisher", "first-order"])
def test_gradients_of_single_sequences_give_the_same(estimator: str, model: nn.Module) -> None:
    menu = measure(model, estimator)
    facts = bits_facts(menu)
    rule = getattr(literal, estimator.replace("-", "_"))
    for block, label, loss, _ in some(menu)[::2]:
        expected = rule(model, facts.weights[block], label, text())
        assert loss == pytest.approx(expected, rel=CLOSE, abs=1e-9), (block, label)


def test_kfac_is_the_kronecker_product_written_out(model: nn.Module) -> None:
    menu = measure(model, "kfac")
    facts = bits_facts(menu)
    fisher = measure(model, "fisher")
    for (block, label, loss, _), (*_, other, _) in list(zip(cells(menu), cells(fisher), strict=True))[::3]:
        members = facts.weights[block]
        factored = all(weight.layer and weight.count == 1 for weight in members)
        expected = literal.kfac(model, members[0], label, text()) if factored else other
        assert loss == pytest.approx(expected, rel=CLOSE, abs=1e-9), (block, label)


def test_the_standard_error_of_measured_is_the_spread_over_other_texts() -> None:
    """Planted: sequences are drawn independently, so repeated texts spread as the standard error states."""
    model = tiny_architecture("llama")
    random = torch.Generator().manual_seed(1)
    found = [
        measure(model, "measured", formats=["int3"], text=torch.randint(0, 22, (24, 8), generator=random))
        for _ in range(12)
    ]
    losses = np.array([[loss for _, _, loss, _ in cells(menu)] for menu in found])
    errors = np.array([[error for *_, error in cells(menu)] for menu in found])
    ratio = losses.std(axis=0, ddof=1) / errors.mean(axis=0)
    assert 0.7 < np.median(ratio) < 1.4


@pytest.mark.parametrize("estimator", estimator_names())
def test_the_order_of_the_sequences_and_their_batches_do_not_matter(estimator: str) -> None:
    model, ids = tiny_architecture("llama"), torch.randint(0, 22, (6, 8), generator=torch.Generator().manual_seed(2))
    base = measure(model, estimator, text=ids)
    for other in (ids[[3, 0, 5, 1, 4, 2]], [ids[:1], ids[1:]]):
        again = measure(model, estimator, text=other)
        for (*_, loss, error), (*_, loss2, error2) in zip(cells(base), cells(again), strict=True):
            assert (loss, error) == pytest.approx((loss2, error2), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("estimator", estimator_names())
def test_a_text_given_twice_has_the_same_losses_and_smaller_errors(estimator: str) -> None:
    """n values twice: the variance of the mean falls by (2n - 1) / (n - 1), or by 2 if the mean is known to be 0."""
    model, ids = tiny_architecture("llama"), torch.randint(0, 22, (4, 8), generator=torch.Generator().manual_seed(2))
    once, twice = measure(model, estimator, text=ids), measure(model, estimator, text=torch.cat([ids, ids]))
    factor = math.sqrt(2 if estimator == "first-order" else (8 - 1) / (4 - 1))
    for (*_, loss, error), (*_, loss2, error2) in zip(cells(once), cells(twice), strict=True):
        assert (loss, error) == pytest.approx((loss2, factor * error2), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("estimator", ["fisher", "kfac"])
def test_layers_are_the_sums_of_their_linears(estimator: str) -> None:
    """No curvature between two linears: what one of them loses does not depend on the others."""
    model = tiny_architecture("llama")
    modules, layers = measure(model, estimator), measure(model, estimator, blocks="layers")
    sums: dict[tuple[str, str], float] = {}
    owner = {w.name: w.layer or w.module for _, w in bits_facts(modules).items()}
    for block, label, loss, _ in cells(modules):
        layer = owner[bits_facts(modules).weights[block][0].name]
        sums[layer, label] = sums.get((layer, label), 0.0) + loss
    for block, label, loss, _ in cells(layers):
        assert loss == pytest.approx(sums[block, label], rel=1e-5)


@pytest.mark.parametrize("estimator", ["linear", "measured"])
def test_a_matrix_in_other_units_loses_the_same(estimator: str) -> None:
    """w and the norm before it scaled by s and 1/s compute the same, and formats round s w to s times what they round
    w to, s being a power of two."""
    model = tiny_architecture("llama")
    base = measure(model, estimator)
    with torch.no_grad():
        layer = model.model.layers[1]
        layer.post_attention_layernorm.weight /= 4
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
            linear.weight *= 4
    for (*_, loss, _), (*_, other, _) in zip(cells(base), cells(measure(model, estimator)), strict=True):
        assert loss == pytest.approx(other, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("estimator", estimator_names())
def test_unused_and_exact_options_lose_nothing(estimator: str) -> None:
    """A matrix of zeros is stored without error by every format."""
    model = tiny_llama(hidden=32, layers=1, vocabulary=23)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.zero_()
    menu = measure(model, estimator, formats=["q4_0", "q8_0", "int4-g32"], text=text())
    found = {(block, label): loss for block, label, loss, _ in cells(menu)}
    for label in ("q4_0", "q8_0", "int4-g32"):
        assert found["model.layers.0.mlp.down_proj", label] == pytest.approx(0.0, abs=1e-12)


def test_divergence_is_quadratic_in_small_errors() -> None:
    """Where measured and linear must agree: at 8 bits both are e' H e / 2 with H averaged over directions."""
    model = tiny_llama(hidden=64, layers=2, vocabulary=23)
    ids = torch.randint(0, 22, (16, 24), generator=torch.Generator().manual_seed(0))
    pair = [measure(model, name, formats=["int6-g32"], text=ids, blocks="layers") for name in ("measured", "linear")]
    for (*_, real, _), (*_, estimated, _) in zip(*map(cells, pair), strict=True):
        assert 0.5 < estimated / real < 2.0


def test_facts_hold_the_text_and_the_calibration() -> None:
    menu = measure(tiny_architecture("llama"), "measured", formats=["gptq4-g4"], calibration=torch.ones(2, 5).long())
    facts: BitsFacts = bits_facts(menu)
    assert facts.measured is not None
    assert facts.measured.sequences == 5
    assert facts.measured.calibration_sha256 not in ("", facts.measured.text_sha256)
