"""The memory of the cache of keys and values, against the caches that transformers fill."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.decoders import tiny_decoder
from zetaplan.errors import SpecError
from zetaplan.menus.cache import CacheLayer, cache_bytes, cache_layers

TOKENS, WINDOW = 12, 4


def filled(model: nn.Module) -> int:
    """The numbers that the cache holds after a pass; transformers drop the oldest token of a window before they add."""
    ids = torch.randint(0, 20, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layers = model(input_ids=ids, use_cache=True).past_key_values.layers
    stored = [
        (layer, layer.keys.numel() + layer.values.numel())
        for layer in layers
        if getattr(layer, "values", None) is not None
    ]
    sliding = [isinstance(getattr(layer, "sliding_window", None), int) for layer, _ in stored]
    return sum(n * WINDOW // (WINDOW - 1) if slides else n for slides, (_, n) in zip(sliding, stored, strict=True))


def counted(model: nn.Module) -> int:
    return cache_bytes(cache_layers(model), TOKENS, "f32") // 4


@pytest.mark.parametrize(
    "kind",
    ["llama", "gpt2", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "gpt_oss", "lfm2_moe", "zamba2", "qwen3_5_text"],
)
def test_the_cache_holds_what_transformers_store(kind: str) -> None:
    """Grouped heads, heads of their own width, sliding windows, layers of convolutions and of linear attention."""
    model = tiny_decoder(kind)
    assert counted(model) == filled(model)


@pytest.mark.parametrize("kind", ["mistral", "gemma4_text"])
def test_what_is_counted_as_plain_attention_is_not_too_small(kind: str) -> None:
    model = tiny_decoder(kind)
    assert counted(model) >= filled(model)


@pytest.mark.parametrize("kind", ["deepseek_v2", "deepseek_v3", "glm4_moe_lite", "kimi_linear"])
def test_latent_attention_keeps_the_outputs_of_one_projection(kind: str) -> None:
    """The latent vector and the rotated key are what `kv_a_proj_with_mqa` returns; transformers stores all heads."""
    model = tiny_decoder(kind)
    widths = [m.out_features for name, m in model.named_modules() if name.endswith("kv_a_proj_with_mqa")]
    assert [layer.numbers for layer in cache_layers(model)] == widths != []
    assert counted(model) == TOKENS * sum(widths)


def test_the_keys_of_an_indexer_are_counted() -> None:
    model = tiny_decoder("deepseek_v32")
    config = model.config
    expected = config.kv_lora_rank + config.qk_rope_head_dim + config.index_head_dim
    assert {layer.numbers for layer in cache_layers(model)} == {expected}


def test_wider_heads_of_full_attention_are_counted() -> None:
    model = tiny_decoder("gemma4_text")
    model.config.global_head_dim = 16
    assert {layer.numbers for layer in cache_layers(model) if layer.window is None} == {2 * 1 * 16}


def test_a_model_without_attention_caches_nothing() -> None:
    assert cache_layers(tiny_decoder("mamba2")) == ()
    assert cache_layers(nn.Linear(2, 2)) == ()


@pytest.mark.parametrize(
    ("kind", "size"), [("f32", 4 * 97), ("f16", 2 * 97), ("bf16", 2 * 97), ("q8_0", 104), ("q4_0", 55)]
)
def test_bytes_are_rounded_up(kind: str, size: int) -> None:
    assert cache_bytes((CacheLayer(numbers=97),), 1, kind) == size  # 97 / 32 blocks of 34 or 18 bytes


def test_a_window_holds_no_more_than_the_context() -> None:
    layers = (CacheLayer(numbers=10, window=100), CacheLayer(numbers=10))
    assert [cache_bytes(layers, tokens, "f16") for tokens in (0, 50, 100, 200)] == [0, 2000, 4000, 6000]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SpecError, match="kv = 'f8': expected one of f32, f16, bf16, q8_0, q4_0"):
        cache_bytes((), 1, "f8")
