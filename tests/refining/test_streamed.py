"""Refinement of a streamed model: the plan and the measurements of the loaded model, one layer at a time in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zetaplan as zp
from tests.decoders import tiny_decoder
from tests.refining.test_refine import CASES, IDS, content, facts_of, refined
from tests.refining.test_slopes import PREDICTED, SMOOTH
from tests.streamed_models import held_at_once, require_dropped
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.inputs import Inputs
from zetaplan.refining.levels import Levels, find_levels
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.text.sequences import checked_batches

KINDS = ("llama", "gpt2", "gemma3_text", "qwen3_moe")

#: Formats that every tiny matrix can have.
ROUNDED: dict[str, dict[str, Any]] = {
    method: {"budget": f"{kind}4", "options": tuple(f"{kind}{bits}" for bits in (2, 4, 8))}
    for method, kind in {"rtn": "int", "gptq": "gptq"}.items()
}


def stored(kind: str, folder: Path) -> Path:
    if kind == "llama":
        return save_model(tiny_llama(layers=3, hidden=32, vocabulary=257), folder)
    return save_model(tiny_gpt2(vocabulary=257) if kind == "gpt2" else tiny_decoder(kind), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return stored("llama", tmp_path / "model")


def both(method: str, folder: Path, **more: Any) -> tuple[ChoicePlan, ChoicePlan]:
    """The plans of the loaded and of the streamed model."""
    whole, found = (refined(method, zp.load_model(folder, stream=stream), **more) for stream in (False, True))
    return whole, found


def sloped(method: str, loaded: LoadedModel, blocks: str, moves: str) -> ChoicePlan:
    """Refined by slopes on ids that every tiny vocabulary has."""
    propose, accept, calibration = IDS[:8] % 22, IDS[8:14] % 22, IDS[20:] % 22
    own = {
        **CASES[method],
        **ROUNDED.get(method, {}),
        "moves": moves,
        "blocks": blocks,
        "evaluations": 9,
        "cache": False,
    }
    return zp.refine(loaded, method, own.pop("budget"), propose, accept, calibration=calibration, **own)


@pytest.mark.parametrize("method", CASES)
def test_measured_moves_are_those_of_the_loaded_model(method: str, folder: Path, tmp_path: Path) -> None:
    for cache in (False, tmp_path / "cache"):
        whole, found = both(method, folder, cache=cache)
        assert content(found) == content(whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ROUNDED)
def test_formats_begin_with_the_plans_of_the_loaded_model(method: str, kind: str, tmp_path: Path) -> None:
    folder = stored(kind, tmp_path / "model")
    whole, found = (levels_of(method, zp.load_model(folder, stream=s)) for s in (False, True))
    text = checked_batches(IDS[:8] % 22)
    assert list(map(list, found.starts(text))) == list(map(list, whole.starts(text)))  # the blocks in one order
    assert found.starts(text) == whole.starts(text)
    assert len(whole.starts(text)) == 2


def test_formats_of_layers_that_share_weights_begin_with_uniform(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zetaplan.measuring.moments.passes_by_layer", lambda *_: None)
    levels = levels_of("rtn", zp.load_model(folder, stream=True))
    assert levels.starts(checked_batches(IDS[:8] % 22)) == (levels.uniform,)


def levels_of(method: str, loaded: LoadedModel) -> Levels:
    inputs = Inputs(loaded.model, checked_batches(IDS[20:] % 22, model=loaded.model), None)
    return find_levels(method, inputs=inputs, **ROUNDED[method])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [*SMOOTH, *ROUNDED])
@pytest.mark.parametrize("moves", PREDICTED)
def test_predictions_are_those_of_the_loaded_model(kind: str, method: str, moves: str, tmp_path: Path) -> None:
    folder = stored(kind, tmp_path / "model")
    for blocks in ("modules", "layers"):
        whole, found = (facts_of(sloped(method, zp.load_model(folder, stream=s), blocks, moves)) for s in (False, True))
        assert found.starts == whole.starts
        first, expected = found.rounds[0], whole.rounds[0]
        assert (first.at, len(first.moves)) == (expected.at, len(expected.moves))
        assert first.divergence == pytest.approx(expected.divergence, rel=1e-4)
        for move, other in zip(first.moves, expected.moves, strict=True):
            assert (move.block, move.option) == (other.block, other.option)
            assert move.divergence == pytest.approx(other.divergence, rel=1e-3, abs=1e-6)
        assert any(move.divergence != first.divergence for move in first.moves)


@pytest.mark.parametrize("moves", [*PREDICTED, "measured"])
def test_one_layer_at_a_time_is_in_memory(moves: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = zp.load_model(folder, stream=True)
    held = held_at_once(loaded.model, monkeypatch)
    refined("wanda", loaded, moves=moves)
    assert held == {1}
    require_dropped(loaded.model)


def test_a_run_continues_from_its_journal(folder: Path, tmp_path: Path) -> None:
    loaded, cache = zp.load_model(folder, stream=True), tmp_path / "cache"
    whole = content(refined("wanda", loaded, moves="slopes", cache=cache))
    [file] = cache.rglob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    for kept in (0, 5, len(lines) - 1):
        file.write_bytes(b"".join(lines[:kept]))
        assert content(refined("wanda", loaded, moves="slopes", cache=cache)) == whole


def test_without_passes_by_layer_moves_are_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zetaplan.models.slopes_by_layer.passes_by_layer", lambda *_: None)
    loaded = zp.load_model(folder, stream=True)
    with pytest.raises(ScoringError, match="so it has no slopes layer by layer; use measured moves, or load it whole"):
        refined("magnitude", loaded, moves="slopes")
    assert facts_of(refined("magnitude", loaded)).moves == "measured"


def test_weights_are_those_of_the_files_afterwards(folder: Path) -> None:
    loaded, ids = zp.load_model(folder, stream=True), torch.arange(1, 9)[None]
    with torch.no_grad():
        before = loaded.model(ids).logits
        refined("wanda", loaded, moves="slopes")
        assert torch.equal(loaded.model(ids).logits, before)
