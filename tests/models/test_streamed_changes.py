"""Streamed models that are changed and written layer by layer: the tensors of the model that was loaded whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from tests.bits_plans import plan_of
from tests.decoders import OWN, tiny_decoder
from tests.models.test_shortened_folder import plan_without
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama
from zetaplan._files import file_digest
from zetaplan.errors import ScoringError
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.apply import prune_blocks
from zetaplan.models.checkpoints import Source, find_form
from zetaplan.models.model_folder import changed_in
from zetaplan.models.model_folder import save_model as save_changed
from zetaplan.models.quantize import planned_formats
from zetaplan.models.shortened_folder import save_shortened
from zetaplan.scoring import LoadedModel, Sequences, load_model
from zetaplan.scoring.model.blocks import decoder_layers, partition
from zetaplan.scoring.model.streamed import Stored, is_blank, keep, streamed

IDS = torch.randint(0, 22, (6, 12), generator=torch.Generator().manual_seed(2))
TEXT = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
KINDS = (
    "llama",
    "gpt2",
    "gemma3_text",
    "opt",
    "phi3",
    "bloom",
    "qwen2",
    "zamba2",
    "mamba2",
    "mixtral",
    "qwen3_moe",
    "gpt_neox",
)


def tiny(kind: str) -> PreTrainedModel:
    return tiny_gpt2(vocabulary=257) if kind == "gpt2" else tiny_decoder(kind)


def tensors_in(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        own = load_file(file)
        assert not own.keys() & found.keys()
        found |= own
    return found


def require_same(change: Callable[[LoadedModel, Path], Any], source: Path, out: Path, **options: Any) -> None:
    """The change of the streamed model writes the bytes, and returns the value, of that of the loaded one."""
    before = {file: file_digest(file) for file in sorted(source.iterdir())}
    results = [
        change(load_model(source, stream=stream, **options), out.with_name(f"{out.name}-{stream}"))
        for stream in (False, True)
    ]
    assert results[0] == results[1]
    whole, found = (tensors_in(out.with_name(f"{out.name}-{stream}")) for stream in (False, True))
    assert whole.keys() == found.keys()
    for name, value in whole.items():
        assert value.dtype == found[name].dtype
        assert torch.equal(value, found[name]), name
    assert {file: file_digest(file) for file in sorted(source.iterdir())} == before
    again = load_model(out.with_name(f"{out.name}-True")).model.state_dict()
    expected = load_model(out.with_name(f"{out.name}-False")).model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in expected.items())


def pruning(method: str) -> Callable[[LoadedModel, Path], Any]:
    def prune(loaded: LoadedModel, out: Path) -> Any:
        sizes = {block.name: block.linear_parameters for block in partition(loaded.model, "layers")}
        counts = {name: size // (3 + place) for place, (name, size) in enumerate(sizes.items())}
        with changed_in(loaded, out) as folder:
            applied = prune_blocks(loaded.model, "layers", counts, method, TEXT)
            save_changed(loaded, folder)
        return applied

    return prune


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("kind", KINDS)
def test_pruning_writes_the_same_tensors(kind: str, method: str, tmp_path: Path) -> None:
    require_same(pruning(method), save_model(tiny(kind), tmp_path / "model"), tmp_path / "out")


@pytest.mark.parametrize("labels", [("int4", "int8"), ("gptq4", "int3", "gptq3")])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_rounding_writes_the_same_tensors(kind: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    source, turn = save_model(tiny(kind), tmp_path / "model"), cycle(labels)
    known = load_model(source)
    plan = plan_of(
        known.model, lambda weight: next(turn) if weight.layer else "bf16", sha256=known.sha256, runtime="vllm"
    )
    require_same(rounding("safetensors", plan), source, tmp_path / "out", dtype="float32")


@pytest.mark.parametrize("labels", [("int4-g8", "int8-asym", "bf16"), ("gptq4-g8", "int3-g8")])
@pytest.mark.parametrize("kind", ["llama", "opt", "gemma3_text", "mixtral"])
def test_packing_writes_the_same_tensors(kind: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    source, turn = save_model(tiny(kind), tmp_path / "model"), cycle(labels)
    known = load_model(source)
    plan = plan_of(
        known.model,
        lambda weight: next(turn) if weight.layer and weight.count == 1 else "bf16",
        sha256=known.sha256,
        runtime="vllm",
    )
    found = []
    for stream in (False, True):
        out = tmp_path / f"out-{stream}"
        facts = rounding("compressed-tensors", plan)(load_model(source, stream=stream), out)
        found.append((facts, tensors_in(out), (out / "config.json").read_text()))
    (facts, whole, config), (same, tensors, read) = found
    assert (facts, config) == (same, read)
    assert whole.keys() == tensors.keys()
    assert any(name.endswith(".weight_packed") for name in whole)
    for name, value in whole.items():
        assert value.dtype == tensors[name].dtype
        assert torch.equal(value, tensors[name]), name


@pytest.mark.parametrize("labels", ["int4-g8", "gptq4-g8"])
def test_weights_that_are_needed_again_after_they_are_packed_are_refused(
    labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attention of Zamba 2 belongs to several layers."""
    several = {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid"] * 2}
    monkeypatch.setitem(OWN, "zamba2", several)
    source = save_model(tiny("zamba2"), tmp_path / "model")
    known = load_model(source)
    plan = plan_of(known.model, lambda weight: labels if weight.layer else "bf16", sha256=known.sha256)
    write = rounding("compressed-tensors", plan)
    write(known, tmp_path / "whole")
    with pytest.raises(
        ScoringError, match="stream: the model needs weights again after they are packed; load it whole"
    ):
        write(load_model(source, stream=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def rounding(to: str, plan: ChoicePlan) -> Callable[[LoadedModel, Path], Any]:
    text = Sequences(IDS, torch.ones_like(IDS), IDS, "0" * 64, (), "a text")

    def rounded(loaded: LoadedModel, out: Path) -> Any:
        facts = find_form(to).write(planned_formats(plan), Source("x", lambda: loaded, lambda _: text), out)
        return {name: facts[name] for name in ("formats", "bytes", "tensors", "notes")}

    return rounded


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_leaving_layers_out_writes_the_same_tensors(kind: str, tmp_path: Path) -> None:
    model = tiny_llama(layers=4) if kind == "llama" else tiny(kind)
    names = [name for name, _ in decoder_layers(model)]
    plan = plan_without(names, names[1:2])
    require_same(
        lambda loaded, out: save_shortened(loaded, plan, out), save_model(model, tmp_path / "model"), tmp_path / "out"
    )


@pytest.mark.parametrize("method", ["magnitude", "sparsegpt"])
def test_one_layer_at_a_time_is_in_memory(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(save_model(tiny_llama(layers=4), tmp_path / "model"), stream=True)
    layers, full, read = [layer for _, layer in decoder_layers(loaded.model)], list[int](), Stored.read_into

    def watched(self: Stored, values: Any) -> None:
        read(self, values)
        full.append(sum(any(not is_blank(p) for p in layer.parameters()) for layer in layers))

    monkeypatch.setattr(Stored, "read_into", watched)
    pruning(method)(loaded, tmp_path / "out")
    assert set(full) == {1}
    assert len([*(tmp_path / "out").glob("*.safetensors")]) == 5


def test_changed_weights_are_read_again(tmp_path: Path) -> None:
    loaded = load_model(save_model(tiny_llama(layers=3), tmp_path / "model"), stream=True)
    with torch.no_grad():
        dense = loaded.model(IDS).logits
        with changed_in(loaded, tmp_path / "out"):
            for _, layer in decoder_layers(loaded.model)[1:]:
                for weights in in_memory(loaded, layer):
                    weights.mul_(0.5)
            assert not torch.equal(loaded.model(IDS).logits, dense)
            assert len([*tmp_path.glob(".out-*/layer-*")]) == 2


def test_a_second_change_replaces_the_first(tmp_path: Path) -> None:
    model = tiny_llama(layers=2)
    loaded = load_model(save_model(model, tmp_path / "model"), stream=True)
    layers = [layer for _, layer in decoder_layers(loaded.model)]
    with torch.no_grad(), changed_in(loaded, tmp_path / "out") as folder:
        for layer in (*layers, layers[0]):
            for weights in in_memory(loaded, layer):
                weights.mul_(0.5)
        save_changed(loaded, folder)
    found = tensors_in(tmp_path / "out")
    for place, factor in enumerate((0.25, 0.5)):
        for name, value in model.model.layers[place].named_parameters():
            assert torch.equal(found[f"model.layers.{place}.{name}"], value * factor)


def in_memory(loaded: LoadedModel, layer: torch.nn.Module) -> Iterator[Tensor]:
    found = streamed(loaded.model)
    assert found
    with found.in_memory(layer):
        yield from layer.parameters()
        keep(loaded.model, layer)


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_changes_without_a_folder_are_refused(method: str, tmp_path: Path) -> None:
    loaded = load_model(save_model(tiny_llama(), tmp_path / "model"), stream=True)
    with pytest.raises(ScoringError, match="its weights are read layer by layer, and this step changes"):
        prune_blocks(loaded.model, "layers", {"model.layers.0": 3}, method, TEXT)


def test_a_failure_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(save_model(tiny_llama(), tmp_path / "model"), stream=True)
    with pytest.raises(ScoringError, match="batches: "), changed_in(loaded, tmp_path / "out"):
        prune_blocks(loaded.model, "layers", {"model.layers.0": 3}, "wanda")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
