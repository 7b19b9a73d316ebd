"""Tiny models of many types, on the meta device unless weights are wanted, from one set of small sizes."""

from __future__ import annotations

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny(kind: str, *, device: str = "meta", **changes: object) -> nn.Module:
    """A causal language model of the type, as small as its config allows."""
    cls = CONFIG_MAPPING[kind]
    known = cls()
    sizes = {key: value for key, value in SIZES.items() if hasattr(known, key)}
    with torch.device(device):
        return AutoModelForCausalLM.from_config(cls(**{**sizes, **changes}))
