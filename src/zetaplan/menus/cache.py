"""Memory of the cache of keys and values: what a model with a context takes beside its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from zetaplan._records import Record
from zetaplan.errors import SpecError, shown

if TYPE_CHECKING:
    from torch import nn

#: Bytes of a number of the cache, as (bytes, numbers) of a block.
KINDS = {"f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q4_0": (18, 32)}


class CacheLayer(Record):
    """Layers that keep `numbers` numbers for every token, of at most the last `window` tokens; None: of all."""

    numbers: int = Field(ge=1)
    window: int | None = Field(default=None, ge=1)


def cache_bytes(layers: tuple[CacheLayer, ...], context: int, kind: str) -> int:
    """The bytes of the cache for one sequence of `context` tokens. Raises SpecError for an unknown kind of number."""
    if kind not in KINDS:
        raise SpecError(f"kv = {shown(kind)}: expected one of {', '.join(KINDS)}")
    size, width = KINDS[kind]
    numbers = sum(layer.numbers * min(context, layer.window or context) for layer in layers)
    return -(-numbers * size // width)


def cache_layers(model: nn.Module) -> tuple[CacheLayer, ...]:
    """The layers of a transformers model that cache keys and values; sliding windows hold fewer tokens.

    Multi-head latent attention (DeepSeek) keeps one latent vector and the rotated part of one key for a token, and the
    key of its indexer if it has one. Layers that share keys and values with another are counted as plain attention.
    """
    config = getattr(model, "config", None)
    text: Any = config.get_text_config() if config is not None else None
    if not (heads := getattr(text, "num_attention_heads", None)):
        return ()
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    both = 2 * (getattr(text, "num_key_value_heads", None) or heads)
    latent = _latent(text)
    window, wider = (getattr(text, name, None) for name in ("sliding_window", "global_head_dim"))
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    attending = [kind for kind in kinds if kind == "hybrid" or ("attention" in kind and "linear" not in kind)]
    return tuple(
        CacheLayer(numbers=both * width, window=window)
        if "sliding" in kind
        else CacheLayer(numbers=latent or both * (wider or width))
        for kind in attending
        if width
    )


def _latent(config: Any) -> int:
    """The numbers for every token and layer of latent attention; 0 for plain attention."""
    if not (rank := getattr(config, "kv_lora_rank", None)):
        return 0
    return int(rank + config.qk_rope_head_dim + (getattr(config, "index_head_dim", None) or 0))
