"""Refined plans of tiny models: deterministic, resumable, within the budget, proved, applied as they were measured."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import textwrap
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama
from zetaplan.documents.choices import choice_document, load_choice
from zetaplan.errors import InfeasibleError, ScoringError, SpecError
from zetaplan.menus.bits import formats_of
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.refined import Refined, refined_facts, round_menu, sentence
from zetaplan.menus.sparsity import removed_by, sparsity_facts
from zetaplan.models import inputs
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.refining.apply import apply_refined
from zetaplan.refining.levels import methods
from zetaplan.scoring.text.sequences import checked_batches

IDS = torch.randint(0, 250, (24, 16), generator=torch.Generator().manual_seed(5))
PROPOSE, ACCEPT, HELD_OUT, CALIBRATION = IDS[:8], IDS[8:14], IDS[14:20], IDS[20:]
INTEGERS = tuple(f"int{bits}-g8-asym" for bits in (2, 4, 8))
CASES: dict[str, dict[str, Any]] = {
    "magnitude": {"budget": 0.5},
    "wanda": {"budget": "0.52"},
    "sparsegpt": {"budget": 0.4, "blocks": "modules"},
    "svd": {"budget": "30%"},
    "svd-llm": {"budget": 0.3, "blocks": "modules"},
    "rtn": {"budget": 5.0, "options": INTEGERS},
    "gptq": {"budget": "gptq4-g8", "options": ("gptq2-g8", "gptq4-g8", "gptq8-g8"), "blocks": "modules"},
    "gguf": {"budget": 6.0},
    "drop": {"budget": 1},
}


def refined(method: str, model: Any = None, cache: Any = False, evaluations: int = 30, **more: Any) -> ChoicePlan:
    settings_of = {"moves": "measured", **CASES[method], **more}
    return zp.refine(
        tiny_llama(layers=3, hidden=32) if model is None else model,
        method,
        settings_of.pop("budget"),
        PROPOSE,
        ACCEPT,
        held_out=HELD_OUT,
        calibration=CALIBRATION,
        sequences=settings_of.pop("sequences", 4),
        evaluations=evaluations,
        cache=cache,
        **settings_of,
    )


def facts_of(plan: ChoicePlan) -> Refined:
    facts = refined_facts(plan.menu.provenance)
    assert facts is not None
    return facts


def content(plan: ChoicePlan) -> dict[str, Any]:
    """All that the file holds, without the time of its making and the durations."""
    value: dict[str, Any] = json.loads(choice_document(plan).text())
    record = value["menu"]["provenance"]["refined"]
    del value["created"], value["sha256"], value["menu_sha256"], record["seconds"]
    for found in record["rounds"]:
        del found["seconds"]
    return value


@pytest.mark.parametrize("method", CASES)
def test_every_method_makes_a_plan_that_verifies(method: str, tmp_path: Path) -> None:
    model = tiny_llama(layers=3, hidden=32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = refined(method, model, cache=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    read = load_choice(plan.save(tmp_path / "plan.json"))
    assert read.taken == plan.taken
    facts = facts_of(read)
    assert facts.evaluations <= 30 + 2
    assert facts.held_out is not None
    assert sentence(read).startswith("held-out text: the plan is ")
    assert (tmp_path / "plan.json").stat().st_size < 2**20
    assert set(CASES) == set(methods())


def test_the_record_is_that_of_whole_passes() -> None:
    model = tiny_llama(layers=3, hidden=32)
    facts = facts_of(refined("magnitude", model))
    whole = OperatingPoint(model, checked_batches(PROPOSE[:4]), resume=False)
    first = facts.rounds[0]
    sizes = {
        name: sum(p.numel() for n, p in model.named_parameters() if name in n and p.ndim == 2) for name in first.at
    }
    for move in first.moves:
        changes = {}
        for block, option in {**first.at, move.block: move.option}.items():
            linears = [n for n, p in model.named_parameters() if f"{block}." in n and p.ndim == 2]
            removed = sum(model.get_parameter(n).numel() for n in linears) * Fraction(option)
            assert sizes[block] - facts.costs[block][option] == -(-removed // 1)
            for name in linears:  # the shares are whole numbers of weights in every linear of this model
                weight = model.get_parameter(name).detach()
                count = round(float(weight.numel() * Fraction(option)))
                order = weight.abs().flatten().argsort(stable=True)
                changes[name] = weight.flatten().index_fill(0, order[:count], 0).view_as(weight)
        assert whole.reading(changes).divergence == pytest.approx(move.divergence, rel=0.05)


def test_each_round_chooses_the_best_of_all_combinations_of_its_moves() -> None:
    facts = facts_of(refined("magnitude"))
    for found in facts.rounds:
        for trial in found.trials:
            menu = round_menu(facts, found, trial)
            feasible = [
                sum(menu.losses[k][j] for k, j in enumerate(choice))
                for choice in itertools.product(*map(range, map(len, menu.options)))
                if sum(menu.costs[k][j][0] for k, j in enumerate(choice)) <= facts.budget
                and sum(menu.costs[k][j][1] for k, j in enumerate(choice)) <= trial.most
            ]
            taken = {**found.at, **trial.changed}
            loss = sum(
                row[labels.index(taken[name])]
                for name, labels, row in zip(menu.names, menu.options, menu.losses, strict=True)
            )
            assert loss == pytest.approx(min(feasible))


@settings(max_examples=10)
@given(st.integers(1, 18).map(lambda n: n / 20), st.sampled_from(["0.05", "0.1", "0.03"]))
def test_the_budget_is_kept_to_the_unit(share: float, step: str) -> None:
    plan = refined("magnitude", tiny_llama(layers=3), budget=share, step=step, evaluations=12)
    sizes = sparsity_facts(plan).sizes
    removed = removed_by(plan)
    assert sum(removed.values()) >= Fraction(str(share)) * sum(sizes.values())
    assert all(removed[name] == -(-sizes[name] * Fraction(label) // 1) for name, label in plan.taken.items())
    uniform = facts_of(plan).uniform
    assert sum(-(-sizes[name] * Fraction(label) // 1) for name, label in uniform.items()) >= Fraction(str(share)) * sum(
        sizes.values()
    )


def test_a_share_in_percent_is_the_share() -> None:
    plans = [refined("magnitude", tiny_llama(layers=3), budget=b, step=s) for b, s in ((0.4, "0.05"), ("40%", "5%"))]
    assert plans[0].taken == plans[1].taken
    assert plans[0].request == plans[1].request


@pytest.mark.parametrize("method", ["wanda", "svd-llm", "gptq", "drop"])
def test_the_same_arguments_give_the_same_plan_with_and_without_a_cache(method: str, tmp_path: Path) -> None:
    plain, first, again = (content(refined(method, cache=cache)) for cache in (False, tmp_path, tmp_path))
    assert plain == first == again


SCRIPT = """
import sys, time
sys.path.insert(0, {root!r})
import torch
from pathlib import Path
from tests.refining.test_refine import refined
from zetaplan.refining.journal import Journal
add = Journal.add
Journal.add = lambda *given: (add(*given), time.sleep(0.1))
torch.set_num_threads(1)
refined("wanda", cache=Path(sys.argv[1])).save(sys.argv[2])
"""


def test_a_killed_run_continues_with_the_same_result(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    line = [sys.executable, "-c", textwrap.dedent(SCRIPT.format(root=root)), str(tmp_path / "cache")]
    run = subprocess.Popen([*line, str(tmp_path / "killed.json")], env=os.environ)
    try:
        deadline = time.monotonic() + 300
        while _lines(tmp_path) < 6 and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        run.kill()
        run.wait()
    measured = _lines(tmp_path)
    assert 6 <= measured < 30
    assert not (tmp_path / "killed.json").exists()
    continued = refined("wanda", cache=tmp_path / "cache")
    assert content(continued) == content(refined("wanda"))
    assert _lines(tmp_path) == facts_of(continued).evaluations


def _lines(folder: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in (folder / "cache").rglob("*.jsonl"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "binary", "other"])
def test_damaged_lines_of_a_journal_are_measured_again(damage: str, tmp_path: Path) -> None:
    whole = content(refined("magnitude", cache=tmp_path))
    [file] = tmp_path.rglob("*.jsonl")
    data = file.read_bytes()
    lines = data.splitlines(keepends=True)
    spoiled = {
        "cut": data[:-30],
        "flipped": b"".join([lines[0].replace(b'divergence": [0', b'divergence": [1'), *lines[1:]]),
        "empty": b"",
        "binary": b"\xff\x00\n" + data,
        "other": b'[]\n{"sha256": 1}\n{"content": {"key": 1}}\n' + data,
    }[damage]
    assert spoiled != data
    file.write_bytes(spoiled)
    assert content(refined("magnitude", cache=tmp_path)) == whole
    assert content(refined("magnitude", cache=tmp_path)) == whole


def test_a_damaged_file_of_weights_is_computed_again(tmp_path: Path) -> None:
    whole = content(refined("gptq", cache=tmp_path))
    for file in tmp_path.rglob("*.jsonl"):
        file.unlink()
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    assert content(refined("gptq", cache=tmp_path)) == whole


@pytest.mark.parametrize("kind", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_applying_the_plan_gives_the_weights_that_were_measured(method: str, kind: Any, tmp_path: Path) -> None:
    loaded = zp.load_model(save_model(kind(layers=3), tmp_path / "model"))
    plan = refined(method, loaded, evaluations=12, cache=tmp_path)
    point = OperatingPoint(kind(layers=3), checked_batches(HELD_OUT, 8))
    applied = apply_refined(loaded, plan, method, CALIBRATION)
    assert {block.name: block.removed for block in applied.blocks} == removed_by(plan)
    assert all(block.zeros == block.removed for block in applied.blocks)
    found = point.reading(dict(loaded.model.named_parameters())).loss
    held_out = facts_of(plan).held_out
    assert held_out is not None
    assert found.tolist() == list(held_out.refined)


def test_a_start_is_the_first_operating_point() -> None:
    start = {"model.layers.0": "0.6", "model.layers.1": "0.5", "model.layers.2": "0.412345"}
    facts = facts_of(refined("magnitude", start=start, budget=0.5))
    assert facts.rounds[0].at == start
    assert set(facts.costs["model.layers.2"]) >= {"0.362345", "0.462345"}
    with pytest.raises(InfeasibleError, match="the budget is"):
        refined("magnitude", start={**start, "model.layers.0": "0.5"})


@pytest.mark.parametrize("spelled", ["0.450", ".45", "45%", "4.5e-1", "00.45", " 0.45 "])
def test_a_share_is_read_in_every_spelling(spelled: str) -> None:
    at = {"model.layers.0": "0.6", "model.layers.1": "0.5", "model.layers.2": "0.45"}
    facts = facts_of(refined("magnitude", start={**at, "model.layers.2": spelled}, budget=0.5))
    assert facts.rounds[0].at == at


@pytest.mark.parametrize("option", ["q4_0", "1.5", "-0.1", "nan"])
def test_what_is_no_share_is_refused(option: str) -> None:
    at = {"model.layers.0": "0.5", "model.layers.1": "0.5", "model.layers.2": option}
    with pytest.raises(SpecError, match=r"plan\['model.layers.2'\] = "):
        refined("magnitude", start=at, budget=0.5)


def test_formats_are_read_by_the_parameters(tmp_path: Path) -> None:
    plan = refined("rtn", cache=tmp_path)
    formats = formats_of(plan)
    assert set(formats.values()) <= set(INTEGERS)
    assert len(formats) == 3 * 7


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"method": "wander"},
            r"method = 'wander': expected one of drop, gguf, gptq, magnitude, rtn, sparsegpt, svd, svd-llm, wanda",
        ),
        ({"budget": 1.5}, r"budget = '1.5': expected a share of the weights"),
        ({"budget": "nan"}, "expected a share"),
        ({"step": 0}, "step = 0: expected a share"),
        ({"blocks": "heads"}, "blocks: expected one of"),
        ({"evaluations": 3}, "evaluations = 3: expected a whole number of at least 7"),
        ({"sequences": 9, "moves": "measured"}, "sequences = 9: expected from 2 to the 8"),
        ({"accept": PROPOSE}, "accept: a sequence is also in propose"),
        ({"held_out": ACCEPT[:2]}, "held_out: a sequence is also in accept"),
        ({"start": {"model.layers.0": "0.5"}}, "is in only one of the start and the model"),
        ({"method": "rtn", "budget": 0.5, "options": INTEGERS}, "hold no format for all blocks"),
        ({"method": "rtn", "budget": "many", "options": INTEGERS}, "expected stored bits per weight, or one of"),
        ({"method": "rtn", "budget": 4, "options": ["q4_k"]}, "rounded by another tool"),
        ({"method": "gguf", "budget": 6, "model": tiny_llama()}, "cannot store"),
        ({"method": "drop", "budget": 3}, "expected the number of layers to leave out, 1 to 2"),
        ({"method": "drop", "budget": 1, "blocks": "modules"}, "layers are left out whole"),
        ({"method": "wanda", "calibration": None}, "needs a calibration text"),
        ({"method": "svd-llm", "calibration": None}, "svd-llm needs a calibration text; give one, or use 'svd'"),
        ({"method": "svd", "budget": 1}, "budget = '1': expected a share of the weights"),
        ({"method": "svd", "blocks": "heads"}, "blocks = 'heads': expected one of modules, fused, layers"),
        ({"method": "gptq", "budget": 5, "calibration": None, "options": ["gptq4-g8"]}, "needs a calibration text"),
    ],
)
def test_what_cannot_be_refined_is_refused_in_one_line(more: dict[str, Any], said: str) -> None:
    given = {
        "model": tiny_llama(layers=3, hidden=32),
        "method": "magnitude",
        "budget": 0.5,
        "propose": PROPOSE,
        "accept": ACCEPT,
        "calibration": CALIBRATION,
        "cache": False,
        "sequences": 4,
    }
    with pytest.raises((SpecError, ScoringError), match=said) as raised:
        zp.refine(**{**given, **more})
    assert "\n" not in str(raised.value)


def test_what_the_cache_holds_is_read_to_the_device_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pruner multiplies weights by stored statistics, so both have to be on one device."""
    asked = []
    read = inputs.load_file
    monkeypatch.setattr(inputs, "load_file", lambda file, device: asked.append(device) or read(file, device))
    for _ in range(2):
        refined("wanda", cache=tmp_path, evaluations=8)
        for file in tmp_path.rglob("*.jsonl"):
            file.unlink()
    assert set(asked) == {str(next(tiny_llama().parameters()).device)}
