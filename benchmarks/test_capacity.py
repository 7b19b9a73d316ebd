"""The experiment on capacity: equal parameters for every method, paired differences, and the page shows the result."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from benchmarks import capacity
from tests.tiny_models import byte_tokenizer, tiny_llama
from zetaplan.scoring import LoadedModel

pytest.importorskip("peft", reason="PEFT (extra peft) is not installed")

LAYERS = 4


@pytest.fixture(scope="module")
def bench() -> capacity.Bench:
    text = "".join(f"{n} green bottles hanging on the wall, and if {n % 7} should fall... " for n in range(200))
    ids = torch.tensor(byte_tokenizer()(text)["input_ids"])
    passages = (capacity.cut(ids, *ends, name) for name, ends in capacity.PASSAGES.items())
    return capacity.Bench(LoadedModel(tiny_llama(layers=LAYERS), byte_tokenizer(), *["tiny"] * 4), *passages)


@pytest.mark.parametrize("form", capacity.FORMS.values(), ids=capacity.FORMS)
def test_every_method_hands_out_the_same_total_and_trains_the_same_number(bench, form) -> None:
    numbers = set()
    for method in capacity.METHODS.values():
        counts = method(bench, form)
        assert counts.sum() == form.mean * LAYERS
        model = capacity.adapted(bench, form, counts.tolist(), 0, bench.loaded.model)
        numbers.add(sum(p.numel() for p in capacity.trainable(model)))
    assert len(numbers) == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", capacity.FORMS.values(), ids=capacity.FORMS)
def test_a_seed_settles_everything_and_the_base_stays(bench, form) -> None:
    before = {name: value.clone() for name, value in bench.loaded.model.state_dict().items()}
    first, again, other = (
        capacity.fine_tuned(bench, form, [form.mean] * LAYERS, seed, 2e-2, bench.report) for seed in (0, 0, 1)
    )
    assert first == again
    assert first["loss"] != other["loss"]
    assert np.mean(first["loss"]) < np.mean(capacity.evaluated(bench.loaded.model, bench.report)) - 0.1
    assert all(torch.equal(before[name], value) for name, value in bench.loaded.model.state_dict().items())


def test_passages_do_not_touch() -> None:
    ids = torch.arange(10_000)
    parts = [capacity.cut(ids, *ends, name).input_ids for name, ends in capacity.PASSAGES.items()]
    for earlier, later in pairwise(parts):
        assert earlier.max() + capacity.LENGTH < later.min()


def test_differences_are_paired_by_seed_and_by_window() -> None:
    rng = np.random.default_rng(0)
    losses, uniform = rng.normal(size=(2, 3, 5))
    found = capacity.compared(losses, uniform)
    for axis, name in ((1, "over_seeds"), (0, "over_windows")):
        expected = ttest_rel(losses.mean(axis), uniform.mean(axis)).confidence_interval()
        assert found[name] == pytest.approx(list(expected), abs=1e-5)
    assert found["mean"] == pytest.approx((losses - uniform).mean(), abs=1e-5)


def test_every_plan_of_a_form_has_the_same_total() -> None:
    result = json.loads(capacity.RESULT.read_text(encoding="utf-8"))
    assert result["seeds"] >= 3
    for rows in result["cells"].values():
        assert len({found["parameters"] for found in rows.values()}) == 1
        assert len({sum(found["counts"]) for found in rows.values()}) == 1
        assert all(
            len(found["over_uniform"]["seeds"]) == result["seeds"] for m, found in rows.items() if m != "uniform"
        )
