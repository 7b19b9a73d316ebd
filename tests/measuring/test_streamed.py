"""Menus of streamed models: those of the model that was loaded whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zetaplan as zp
from tests.decoders import tiny_decoder
from tests.streamed_models import held_at_once, require_dropped
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.menus.bits import bits_facts
from zetaplan.menus.menu import Menu

IDS = torch.randint(0, 22, (6, 12), generator=torch.Generator().manual_seed(4))
FORMATS = ("int3", "gptq4", "int8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny_llama(layers=3, vocabulary=257), tmp_path / "model")


def require_same(folder: Path, measure: Any) -> None:
    whole, found = (measure(zp.load_model(folder, stream=stream)) for stream in (False, True))
    assert isinstance(found, Menu)
    assert (found.names, found.options, found.losses) == (whole.names, whole.options, whole.losses)
    assert found.standard_error == whole.standard_error
    assert any(loss > 0 for losses in found.losses for loss in losses)


@pytest.mark.parametrize("estimator", ["measured", "linear"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text"])
def test_losses_of_formats_are_those_of_the_loaded_model(kind: str, estimator: str, tmp_path: Path) -> None:
    folder = save_model(tiny_gpt2() if kind == "gpt2" else tiny_decoder(kind), tmp_path / "model")
    require_same(folder, lambda loaded: zp.measure(loaded, FORMATS, IDS, estimator=estimator, cache=False))


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt", "svd", "svd-llm", "drop"])
@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_losses_of_levels_are_those_of_the_loaded_model(method: str, blocks: str, folder: Path) -> None:
    blocks = "layers" if method == "drop" else blocks
    require_same(folder, lambda loaded: zp.measure_levels(loaded, method, IDS, step=0.25, blocks=blocks, cache=False))


def test_few_layers_at_a_time_are_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most the layer that is measured, and the one that computes."""
    loaded = zp.load_model(folder, stream=True)
    held = held_at_once(loaded.model, monkeypatch)
    zp.measure(loaded, FORMATS, IDS, cache=False)
    zp.measure_levels(loaded, "wanda", IDS, step=0.25, cache=False)
    assert held == {1, 2}
    require_dropped(loaded.model)


@pytest.mark.parametrize("estimator", ["first-order", "fisher", "kfac"])
def test_estimators_that_differentiate_the_whole_model_are_refused(estimator: str, folder: Path) -> None:
    with pytest.raises(ScoringError, match="its weights are read layer by layer, and this step"):
        zp.measure(zp.load_model(folder, stream=True), FORMATS, IDS, estimator=estimator, cache=False)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "mixtral"])
def test_whole_models_in_one_format_are_those_of_the_loaded_model(kind: str, tmp_path: Path) -> None:
    folder = save_model(tiny_decoder(kind), tmp_path / "model")
    whole, found = (
        bits_facts(zp.measure(zp.load_model(folder, stream=stream), FORMATS, IDS, check=True, cache=False)).measured
        for stream in (False, True)
    )
    assert found is not None
    assert found == whole
    assert [each.format for each in found.wholes] == list(FORMATS)
    assert all(each.measured > 0 for each in found.wholes)


def test_one_layer_at_a_time_is_in_memory_while_a_whole_model_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = zp.load_model(folder, stream=True)
    menu = zp.measure(loaded, FORMATS, IDS, cache=tmp_cache(folder))
    held = held_at_once(loaded.model, monkeypatch)
    assert zp.measure(loaded, FORMATS, IDS, cache=tmp_cache(folder), check=True).losses == menu.losses
    assert held == {1}
    require_dropped(loaded.model)


def tmp_cache(folder: Path) -> Path:
    return folder.parent / "cache"
