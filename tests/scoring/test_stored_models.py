"""Models from the disk that are not what their configuration or header declares, or no causal language model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForCausalLM,
    LlamaForTokenClassification,
    T5ForConditionalGeneration,
)

from tests.tiny_models import byte_tokenizer, save_model, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.errors import ScoringError
from zetaplan.scoring import load_model, score
from zetaplan.scoring.model import gguf
from zetaplan.scoring.model.meta_model import meta_model


def stored_too(folder: Path, **tensors: torch.Tensor) -> Path:
    """The folder with further tensors in its weights."""
    weights = folder / "model.safetensors"
    save_file({**load_file(weights), **tensors}, weights, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_layers_beyond_the_config_are_refused(tmp_path, make):
    folder = save_model(make(layers=5), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["n_layer" if "n_layer" in config else "num_hidden_layers"] = 3
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ScoringError,
        match=r"tensors of decoder layers that its config of 3 layers does not use: \S+\.3\..* and \d+ more; correct",
    ):
        load_model(folder)


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn.q_proj.bias", "model.layers.1.mlp.up_proj.weight_scale", "layers.2.norm.weight"]
)
def test_an_unused_tensor_in_a_layer_is_refused_and_named(tmp_path, name):
    with pytest.raises(ScoringError, match=rf"of 2 layers does not use: (model\.)?{re.escape(name)}; correct config"):
        load_model(stored_too(tiny_llama_dir(tmp_path), **{name: torch.ones(16)}))


def test_what_old_checkpoints_hold_beside_their_weights_is_no_fault(tmp_path):
    beside = {
        "model.layers.0.self_attn.bias": torch.ones(1, 1, 8, 8),
        "model.layers.0.self_attn.masked_bias": torch.tensor(-1e4),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
        "vision_tower.layers.0.weight": torch.ones(3),
        "mtp.layers.0.weight": torch.ones(3),
    }
    load_model(stored_too(tiny_llama_dir(tmp_path), **beside))


@pytest.mark.parametrize("base", [True, False])
def test_a_folder_with_an_adapter_is_refused(tmp_path, base):
    folder = tiny_llama_dir(tmp_path)
    out = folder if base else tmp_path / "adapter"
    get_peft_model(tiny_llama(), LoraConfig(r=2)).save_pretrained(out)
    for read in (load_model, meta_model):
        with pytest.raises(ScoringError, match=r"holds a PEFT adapter \(adapter_config\.json\) that is not merged"):
            read(out)


BERT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: BertForMaskedLM(BertConfig(vocab_size=257, **BERT)),
            r"\(bert\) is an encoder: with is_dec",
        ),
        (lambda: ElectraForCausalLM(ElectraConfig(vocab_size=257, **BERT)), r"\(electra\) is an encoder: with is_dec"),
        (
            lambda: DistilBertForMaskedLM(DistilBertConfig(vocab_size=257, dim=16, n_heads=2)),
            r"\(distilbert\) is no causal",
        ),
        (lambda: tiny_translator(T5ForConditionalGeneration), r"\(t5\) is an encoder-decoder; give a decoder-only"),
        (lambda: tiny_translator(BartForConditionalGeneration), r"\(bart\) is an encoder-decoder; give a"),
        (lambda: LlamaForTokenClassification(tiny_llama(tie_word_embeddings=False).config), "missing_keys lm_head"),
    ],
)
def test_folders_of_other_kinds_are_refused(tmp_path, model, message):
    with pytest.raises(ScoringError, match=message):
        load_model(save_model(model(), tmp_path / "model"))


def tiny_translator(kind):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return kind(kind.config_class(vocab_size=257, **sizes, **heads, decoder_start_token_id=0))


def test_a_decoder_of_a_kind_that_can_be_an_encoder_is_loaded(tmp_path):
    decoder = BertLMHeadModel(BertConfig(vocab_size=257, is_decoder=True, **BERT))
    loaded = load_model(save_model(decoder, tmp_path / "model"))
    assert (score(loaded, {"input_ids": torch.arange(24).reshape(3, 8)}).gain > 0).all()


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta2"])
def test_a_device_that_is_not_there(tmp_path, device):
    with pytest.raises(ScoringError, match=f"device = '{device}': torch cannot compute there; use cpu, or a device"):
        load_model(tiny_llama_dir(tmp_path), device=device)


def tiny_gguf(file: Path, *, declared: int, stored: int = 2, without: str = "", beside: str = "") -> Path:
    """A tiny Llama of `stored` blocks as a GGUF file whose header declares other many."""
    writer = pytest.importorskip("gguf").GGUFWriter(file, "llama")
    model, names = tiny_llama(layers=stored, hidden=32, vocabulary=258), gguf_names(stored)
    writer.add_block_count(declared)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(258)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*sorted(byte_tokenizer().get_vocab(), key=byte_tokenizer().get_vocab().get), "ab"])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(256)
    for name, parameter in model.named_parameters():
        module, _, kind = name.rpartition(".")
        if f"{names.get_name(module)}.{kind}" != without:
            writer.add_tensor(f"{names.get_name(module)}.{kind}", parameter.detach().numpy())
    if beside:
        writer.add_tensor(beside, np.zeros(32, np.float32))
    for write in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        write()
    return file


def gguf_names(blocks: int):
    from gguf import MODEL_ARCH, get_tensor_name_map

    return get_tensor_name_map(MODEL_ARCH.LLAMA, blocks)


def test_a_gguf_is_the_model_that_was_written(tmp_path):
    file = tiny_gguf(tmp_path / "a.gguf", declared=2, beside="rope_freqs.weight")
    loaded = load_model(file, cache=tmp_path / "cache").model
    written = dict(tiny_llama(hidden=32, vocabulary=258).named_parameters())
    for name, parameter in loaded.named_parameters():
        if "q_proj" not in name and "k_proj" not in name:  # the reader orders the rows of these two for its rotation
            assert torch.equal(parameter, written[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"declared": 200},
            "declares 200 blocks and stores 2: block 2 is missing; download or convert",
        ),
        ({"declared": 3, "stored": 5}, "declares 3 blocks and stores 5: block 3 would be ignored; convert the model"),
        (
            {"declared": 2, "beside": "blk.7.attn_norm.weight"},
            "declares 2 blocks and stores 3: block 7 would",
        ),
    ],
)
def test_a_gguf_with_other_blocks_than_it_declares_is_refused_unread(tmp_path, monkeypatch, changes, message):
    file = tiny_gguf(tmp_path / "a.gguf", **changes)
    monkeypatch.setattr(gguf.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("converted"))
    for read in (load_model, meta_model):
        with pytest.raises(ScoringError, match=message):
            read(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"without": "blk.1.ffn_up.weight"},
            r"lacks tensors of the model: model\.layers\.1\.mlp\.up_proj\.weight; d",
        ),
        (
            {"beside": "blk.0.attn_q.bias"},
            r"stores tensors that are not used in the model: blk\.0\.attn_q\.bias; d",
        ),
    ],
)
def test_a_gguf_with_other_tensors_than_its_model_is_refused(tmp_path, changes, message):
    with pytest.raises(ScoringError, match=message):
        load_model(tiny_gguf(tmp_path / "a.gguf", declared=2, **changes), cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / "gguf").iterdir()) == []
