"""Streamed models: the scores of the loaded model, with the weights of one layer in memory at a time."""

from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.decoders import tiny_decoder
from tests.scoring.test_by_layer import IDS, MASK
from tests.streamed_models import held_at_once, require_dropped
from tests.tiny_models import byte_tokenizer, tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.evaluate.perplexity import perplexity
from zetaplan.models.apply import prune_blocks
from zetaplan.scoring import load_model, score
from zetaplan.scoring.model import losses
from zetaplan.scoring.model.blocks import decoder_layers
from zetaplan.scoring.model.streamed import Stored, in_memory, is_blank

TEXT = {"input_ids": IDS, "attention_mask": MASK}


def stored(model, folder):
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return stored(tiny_llama(layers=4, hidden=32, vocabulary=257), tmp_path / "model")


@pytest.mark.parametrize("dtype", [None, "float64", "bfloat16"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text", "opt", "phi3", "bloom"])
def test_scores_are_those_of_the_loaded_model(kind, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "PORTION", 20)
    model = tiny_gpt2(vocabulary=257) if kind == "gpt2" else tiny_decoder(kind)
    source = stored(model, tmp_path / "model")
    whole, found = (score(load_model(source, dtype=dtype, stream=stream), TEXT) for stream in (False, True))
    assert found.provenance["memory"]["by_layer"]
    assert (found.names, found.left_out) == (whole.names, whole.left_out)
    assert found.loss == pytest.approx(whole.loss, rel=1e-2 if dtype == "bfloat16" else 1e-5)
    rtol = 0.05 if dtype == "bfloat16" else 1e-4
    np.testing.assert_allclose(found.gain, whole.gain, rtol=rtol)
    np.testing.assert_allclose(found.noise_floor, whole.noise_floor, rtol=rtol)


def test_logits_are_those_of_the_loaded_model(folder):
    with torch.no_grad():
        whole, found = (load_model(folder, stream=stream).model(IDS).logits for stream in (False, True))
    assert torch.equal(whole, found)


@pytest.mark.parametrize(
    "kind", ["qwen3_moe", "mixtral", "deepseek_v3", "granitemoe", "gpt_oss", "gemma3", "gpt_neox", "bailing_hybrid"]
)
def test_weights_that_transformers_renames_or_joins_are_those_of_the_loaded_model(kind, tmp_path):
    source = stored(tiny_decoder(kind), tmp_path / "model")
    whole, network = load_model(source).model.state_dict(), load_model(source, stream=True).model
    for name, layer in decoder_layers(network):
        with in_memory(network, layer):
            for own, value in layer.named_parameters():
                assert torch.equal(value, whole[f"{name}.{own}"])
        assert all(is_blank(value) for value in layer.parameters() if value.numel() > 1)
    found = score(network, TEXT)
    assert len(found.gain) > 1
    assert np.isfinite(found.gain).all()


def test_perplexity_is_that_of_the_loaded_model(folder):
    tokens = torch.randint(0, 257, (60,), generator=torch.Generator().manual_seed(1))
    whole, found = (perplexity(load_model(folder, stream=s), tokens, length=20, stride=10).nll for s in (False, True))
    np.testing.assert_array_equal(found, whole)


def test_one_layer_at_a_time_is_in_memory(folder, monkeypatch):
    """When a layer is read, no other holds values; after a score none does."""
    network = load_model(folder, stream=True).model
    held = held_at_once(network, monkeypatch)
    score(network, TEXT)
    assert held == {1}
    require_dropped(network)


def test_a_layer_keeps_its_weights_between_its_two_halves(folder):
    network = load_model(folder, stream=True).model
    layer, own = network.model.layers[1], load_file(folder / "model.safetensors")
    with in_memory(network, layer):
        for name, value in layer.named_parameters():
            assert torch.equal(value, own[f"model.layers.1.{name}"])


def test_an_ordinary_gradient_is_refused_and_not_computed_from_nothing(folder):
    with pytest.raises(ScoringError, match="stream: this step differentiates the whole model at once; load it whole"):
        load_model(folder, stream=True).model(IDS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curvature": "ggn"}, "stream: ggn needs all weights at once for products with H"),
        ({"held_out": {"input_ids": IDS}}, "stream: held_out takes steps in whole weights"),
    ],
)
def test_what_needs_all_weights_is_refused(folder, settings, message):
    with pytest.raises(ScoringError, match=message):
        score(load_model(folder, stream=True), TEXT, **settings)


def test_a_step_that_changes_weights_is_refused(folder):
    loaded = load_model(folder, stream=True)
    for step in (
        lambda: prune_blocks(loaded.model, "layers", {"model.layers.0": 3}, "magnitude"),
        lambda: prune_blocks(loaded.model, "layers", {"model.layers.0": 3}, "wanda", TEXT),
    ):
        with pytest.raises(ScoringError, match="its weights are read layer by layer, and this step changes"):
            step()
    with pytest.raises(ScoringError, match="keep their device and dtype; give the dtype to load_model"):
        score(loaded, TEXT, dtype="float64")


def test_layers_that_share_more_than_hidden_states_are_refused(tmp_path):
    source = stored(tiny_decoder("gemma3n_text"), tmp_path / "model")
    with pytest.raises(ScoringError, match=r"stream: the layers of .* share more than hidden states, or draw"):
        score(load_model(source, stream=True), TEXT)


def test_weights_under_other_names_are_refused(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["other"] = tensors.pop("model.layers.2.mlp.up_proj.weight")
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ScoringError, match=r"does not store model\.layers\.2\.mlp\.up_proj\.weight in a form"):
        load_model(folder, stream=True)


def test_surplus_layers_are_refused(folder):
    file = folder / "model.safetensors"
    save_file({**load_file(file), "model.layers.9.mlp.up_proj.weight": torch.zeros(2)}, file, {"format": "pt"})
    with pytest.raises(ScoringError, match="stores tensors of decoder layers that its config of 4 layers does not use"):
        load_model(folder, stream=True)


def test_the_cache_knows_a_streamed_model_by_its_files(folder, tmp_path):
    first = score(load_model(folder, stream=True), TEXT, cache=tmp_path / "cache")
    again = score(load_model(folder, stream=True), TEXT, cache=tmp_path / "cache")
    assert again.provenance["seconds"] == first.provenance["seconds"]
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.2.mlp.up_proj.weight"] *= 2
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    other = score(load_model(folder, stream=True), TEXT, cache=tmp_path / "cache")
    assert not np.allclose(other.gain, first.gain)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text", "opt", "phi3", "bloom", "qwen2", "cohere"])
def test_a_score_reads_every_layer_seven_times(kind, tmp_path, monkeypatch):
    """Three times to try the passes, twice to try the modules, and twice for the one batch."""
    model = tiny_gpt2(vocabulary=257) if kind == "gpt2" else tiny_decoder(kind)
    network = load_model(stored(model, tmp_path / "model"), stream=True).model
    names, read = {id(value): name for name, value in network.named_parameters()}, Stored.read_into
    found = Counter()

    def counted(self, values):
        found.update(names[id(value)] for value in values.values())
        read(self, values)

    monkeypatch.setattr(Stored, "read_into", counted)
    score(network, TEXT)
    layers = [f"{name}." for name, _ in decoder_layers(network)]
    assert set(found) == {name for name in names.values() if any(layer in name for layer in layers)}
    assert set(found.values()) == {7}
