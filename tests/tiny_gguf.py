"""Tiny GGUF files, written by the package gguf as llama.cpp's converter writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaForCausalLM

from tests.tiny_models import END, tiny_llama

HEADS, GROUPS = 4, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTSIDE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
TOKENS = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", END]


def tiny_gguf(file: Path, *, type: str = "F16", tied: bool = True, alignment: int = 32, seed: int = 0) -> Path:
    """A random Llama of 2 layers, 64 hidden channels and 4 heads. type : of the matrices."""
    model = tiny_llama(hidden=64, vocabulary=len(TOKENS), seed=seed, tie_word_embeddings=tied, intermediate_size=96)
    return write_llama(file, model, type, alignment)


def gguf_name(name: str) -> str:
    """The name of a parameter of Llama in a GGUF file."""
    if name in OUTSIDE or name == "lm_head.weight":
        return OUTSIDE.get(name, "output.weight")
    _, _, layer, *middle, _ = name.split(".")
    return f"blk.{layer}.{NAMES['.'.join(middle)]}.weight"


def permuted(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of q and k in the order of GGUF: the two halves of a head alternate."""
    heads = {"q_proj": HEADS, "k_proj": GROUPS}.get(name.split(".")[-2])
    if heads is None:
        return values
    halves = values.reshape(heads, 2, len(values) // heads // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def write_llama(file: Path, model: LlamaForCausalLM, type: str, alignment: int = 32) -> Path:
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    config = model.config
    writer = GGUFWriter(file, "llama")
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(1)
    writer.add_quantization_version(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * (len(TOKENS) - 1) + [3])
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(len(TOKENS) - 1)
    writer.add_bos_token_id(len(TOKENS) - 1)
    writer.add_add_bos_token(False)
    names = {id(p): name for name, p in reversed([*model.named_parameters()])}
    for name, parameter in model.named_parameters():
        if names[id(parameter)] == name:
            values = permuted(name, parameter.detach().to(torch.float32).numpy())
            kind = GGMLQuantizationType["F32" if values.ndim == 1 else type]
            writer.add_tensor(gguf_name(name), quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
