"""Tiny language models and a tokenizer, built in code: nothing is fetched, and a test needs a second at most."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

END = "<|end|>"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and one end token that also pads: a vocabulary of 257."""
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab={**vocabulary, END: len(vocabulary)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def tiny_llama(
    *, layers: int = 2, hidden: int = 16, vocabulary: int = 257, seed: int = 0, **config: object
) -> LlamaForCausalLM:
    """A random Llama with grouped-query attention (4 heads, 2 of keys and values), in float32."""
    torch.manual_seed(seed)
    settings: dict[str, object] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **config})).eval()


def tiny_gpt2(*, layers: int = 2, hidden: int = 16, vocabulary: int = 257, seed: int = 0) -> GPT2LMHeadModel:
    """A random GPT-2: layer norms with bias, and linears stored transposed (Conv1D), in float32."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=256,
        n_embd=hidden,
        n_layer=layers,
        n_head=2,
        initializer_range=0.2,
        bos_token_id=vocabulary - 1,
        eos_token_id=vocabulary - 1,
    )
    return GPT2LMHeadModel(config).eval()


def in_float64(model: PreTrainedModel) -> PreTrainedModel:
    """The model in float64 throughout: the library's RMS norm computes in float32 whatever it is given."""
    model = model.double()
    for name, module in list(model.named_modules()):
        if type(module).__name__ == "LlamaRMSNorm":
            norm = torch.nn.RMSNorm(len(module.weight), eps=module.variance_epsilon, dtype=torch.float64)
            norm.weight = module.weight
            model.set_submodule(name, norm)
    return model


def save_model(model: PreTrainedModel, folder: Path) -> Path:
    """The model and the byte tokenizer as a local directory that `load_model` reads."""
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def tiny_llama_dir(folder: Path, **config: object) -> Path:
    """A tiny Llama (see `tiny_llama`) saved in `folder / "tiny-llama"`."""
    return save_model(tiny_llama(**config), folder / "tiny-llama")  # type: ignore[arg-type]
