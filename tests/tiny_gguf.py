"""Tiny GGUF files, written by the package gguf as llama.cpp's converter writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

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
    "mlp.gate": "ffn_gate_inp",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
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
    names = {id(p): name for name, p in reversed([*model.named_parameters()])}
    own = [(name, p) for name, p in model.named_parameters() if names[id(p)] == name]
    tensors = {gguf_name(name): permuted(name, p.detach().to(torch.float32).numpy()) for name, p in own}
    return _write(file, "llama", model.config, tensors, type, alignment)


def tiny_moe_gguf(file: Path, *, type: str = "F16") -> Path:
    """A random Qwen3-MoE of 2 layers and 3 experts; transformers reads files of 768 channels per expert only."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 768, "head_dim": 16}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "num_experts": 3, "num_experts_per_tok": 2}
    config = Qwen3MoeConfig(
        vocab_size=len(TOKENS),
        num_hidden_layers=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        **sizes,
        **heads,
    )
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for name, parameter in Qwen3MoeForCausalLM(config).named_parameters():
        values, layer = parameter.detach().numpy(), f"blk.{name.split('.')[2]}" if "layers" in name else ""
        if name.endswith("gate_up_proj"):
            tensors[f"{layer}.ffn_gate_exps.weight"], tensors[f"{layer}.ffn_up_exps.weight"] = np.split(values, 2, 1)
        elif name.endswith("experts.down_proj"):
            tensors[f"{layer}.ffn_down_exps.weight"] = values
        else:
            tensors[gguf_name(name)] = values
    return _write(file, "qwen3moe", config, tensors, type, 32)


def _write(
    file: Path, kind: str, config: Any, tensors: dict[str, np.ndarray[Any, Any]], type: str, alignment: int
) -> Path:
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    writer = GGUFWriter(file, kind)
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    if experts := getattr(config, "num_experts", None):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
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
    for name, values in tensors.items():
        whole = GGMLQuantizationType["F32" if values.ndim == 1 or "gate_inp" in name else type]
        writer.add_tensor(name, quants.quantize(np.ascontiguousarray(values), whole), raw_dtype=whole)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
