"""Files of other tools for the tests of audits: GGUF headers byte by byte, and small models."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import LlamaConfig

#: (number of the type, columns of a block, bytes of a block)
TYPES = {"f32": (0, 1, 4), "f16": (1, 1, 2), "q4_0": (2, 32, 18), "q8_0": (8, 32, 34), "q4_k": (12, 256, 144),
         "q6_k": (14, 256, 210)}  # fmt: skip


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(
    tensors: Sequence[tuple[str, tuple[int, ...], str]],
    metadata: Mapping[str, int | str] | None = None,
    *,
    alignment: int = 32,
) -> bytes:
    """A whole GGUF file with tensors of zeros; shape: (rows, columns)."""
    facts = {"general.architecture": "llama", "general.alignment": alignment, **(metadata or {})}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts) + 1)
    for key, value in facts.items():
        head += text(key)
        head += struct.pack("<I", 8) + text(value) if isinstance(value, str) else struct.pack("<II", 4, value)
    head += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    offset, data = 0, b""
    for name, shape, label in tensors:
        number, columns, size = TYPES[label]
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", number, offset)
        stored = math.prod(shape) // columns * size
        data += bytes(stored + -stored % alignment)
        offset += stored + -stored % alignment
    return head + bytes(-len(head) % alignment) + data


def llama(tmp_path: Path, *, layers: int = 12, hidden: int = 64, inner: int = 256) -> Path:
    """A folder with the config of a small Llama and no weights: shapes are all that an audit reads."""
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


def linears(layers: int = 12) -> list[str]:
    """The linears of that model, in its order."""
    parts = [f"self_attn.{name}" for name in ATTENTION] + [f"mlp.{name}" for name in MLP]
    return [f"model.layers.{layer}.{part}" for layer in range(layers) for part in parts]
