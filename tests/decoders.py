"""Tiny random models of the causal architectures of transformers, their classes unchanged."""

import dataclasses

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from zetaplan.scoring.model.causal import auto_class

#: Numbers that make a model tiny, by the name of the field; a configuration takes those that it has.
SMALL = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 23),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embedding_size", "mamba_d_head"), 16),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "decoder_ffn_dim", "dff"), 24),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "decoder_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "mamba_n_heads"), 2),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "mamba_num_heads"), 2),
    **dict.fromkeys(("num_key_value_heads", "mamba_n_groups", "n_groups", "n_group", "topk_group"), 1),
    **dict.fromkeys(("head_dim", "linear_key_head_dim", "linear_value_head_dim", "mamba_d_state", "state_size"), 8),
    **dict.fromkeys(("ssm_state_size", "q_lora_rank", "kv_lora_rank", "v_head_dim", "laurel_rank"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "hidden_size_per_layer_input", "sliding_window"), 4),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 12),
    **dict.fromkeys(("n_shared_experts", "first_k_dense_replace", "bos_token_id"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 64),
    **dict.fromkeys(("eos_token_id", "pad_token_id"), 22),
    "mamba_d_ssm": 32,
    "mamba_head_dim": 16,
    "rotary_dim": 4,
    "initializer_range": 0.3,
}

SHARED = {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2}

SECTIONS = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}

LATENT = {"num_key_value_heads": 2, "head_dim": 4}

#: What a kind needs beside them.
OWN: dict[str, dict[str, object]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), LATENT),
    **dict.fromkeys(("glm_moe_dsa", "longcat_flash", "minicpm3", "youtu"), LATENT),
    "diffllama": {"num_key_value_heads": 2},
    "dots3_note_text": {"num_key_value_heads": 2},
    "gemma4_text": {**SHARED, "global_head_dim": 8},
    "gemma4_unified_text": {**SHARED, "global_head_dim": 8},
    "gemma3n_text": SHARED,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "codegen": {"n_head": 4},
    "kimi_linear": {**LATENT, "layer_types": ["linear_attention", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention"],
        "chunk_size": 8,
        "moe_shared_expert_intermediate_size": 12,
    },
    **{kind: {"num_key_value_heads": 2} for kind in ("mistral4", "mistral_large4")},
    **{kind: {"rope_parameters": SECTIONS} for kind in ("qwen2_vl_text", "qwen2_5_vl_text", "glm4v_text")},
    "mamba2": {"num_heads": 4, "expand": 2},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"]},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}


#: Of vision towers and other parts beside the text model, as deep as it.
BESIDE = {
    **dict.fromkeys(("hidden_size", "embed_dim", "out_hidden_size", "projection_dim", "dim", "d_model", "width"), 16),
    **dict.fromkeys(("intermediate_size", "mlp_hidden_size", "encoder_ffn_dim"), 24),
    **dict.fromkeys(("num_hidden_layers", "depth", "num_layers", "encoder_layers", "layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_heads", "attention_heads", "encoder_attention_heads"), 2),
    **dict.fromkeys(("num_key_value_heads", "spatial_merge_size", "temporal_patch_size"), 1),
    **dict.fromkeys(("patch_size", "image_size"), 14),
}


def tiny_config(kind: str) -> PreTrainedConfig:
    """The configuration of a tiny model of this type, with tiny parts if it has parts."""
    return AutoConfig.for_model(kind, **_small(AutoConfig.for_model(kind)) | OWN.get(kind, {}))


def _small(config: PreTrainedConfig, beside: bool = False) -> dict[str, object]:
    """The sizes that such a configuration takes; parts are text models, or others beside them."""
    known = {field.name for field in dataclasses.fields(config)}
    sizes = {name: value for name, value in (BESIDE if beside else SMALL).items() if name in known}
    parts = {name: part for name in config.sub_configs if (part := getattr(config, name, None)) is not None}
    small = {
        name: _small(part, beside="text" not in name) | OWN.get(part.model_type, {}) | {"model_type": part.model_type}
        for name, part in parts.items()
    }
    return sizes | small


def tiny_decoder(kind: str, *, seed: int = 0) -> PreTrainedModel:
    """A random model of it in float32, vocabulary 23."""
    torch.manual_seed(seed)
    config = tiny_config(kind)
    return auto_class(config).from_config(config).eval()
