"""Tiny language models and a tokenizer, built in code: nothing is fetched, and a test needs a second at most."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
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


class WideNorm(torch.nn.Module):
    """The library's RMS norm in the precision it is given; `gemma` adds one to the weight."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.weight = norm.weight
        self.eps = float(getattr(norm, "variance_epsilon", getattr(norm, "eps", 0.0)))
        self.shift = float("Gemma" in type(norm).__name__)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * (self.weight + self.shift)


def in_float64(model: PreTrainedModel) -> PreTrainedModel:
    """The model in float64 throughout: the library's RMS norms compute in float32 whatever they are given."""
    model = model.double()
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            model.set_submodule(name, WideNorm(module))
    return model


def save_model(model: PreTrainedModel, folder: Path) -> Path:
    """The model and the byte tokenizer as a local directory that `load_model` reads."""
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def tiny_llama_dir(folder: Path, **config: object) -> Path:
    """A tiny Llama (see `tiny_llama`) saved in `folder / "tiny-llama"`."""
    return save_model(tiny_llama(**config), folder / "tiny-llama")  # type: ignore[arg-type]


ARCHITECTURES = ("gemma", "gemma2", "gemma3", "gpt2", "llama", "mistral", "mixtral", "phi", "phi3", "qwen2", "qwen3")


#: More of them, each with a norm, an attention or experts of its own.
SHIPPED = (*ARCHITECTURES, "cohere", "gpt_neox", "granite", "nemotron", "olmo", "olmo2", "qwen3_moe", "stablelm")
EXPERTS = {
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
}


def shipped(
    kind: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, vocabulary: int = 23, layers: int = 2
) -> PreTrainedModel:
    """A random model of one of `SHIPPED` as transformers build it, of 8 hidden channels."""
    torch.manual_seed(seed)
    if kind == "gpt2":
        return tiny_gpt2(layers=layers, hidden=8, vocabulary=vocabulary, seed=seed).to(dtype)
    settings: dict[str, object] = {
        "vocab_size": vocabulary,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
        **EXPERTS.get(kind, {}),
    }
    if kind == "gemma3":
        kind, settings = "gemma3_text", {**settings, "sliding_window": 4}
    if kind == "phi":
        settings = {name: value for name, value in settings.items() if name not in ("head_dim", "num_key_value_heads")}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings), dtype=dtype).eval()


def tiny_architecture(kind: str, *, seed: int = 0) -> PreTrainedModel:
    """A random model of two decoder layers of one of `ARCHITECTURES`, vocabulary 23, in float64."""
    model = shipped(kind, seed=seed)
    if kind in EXPERTS:
        model.set_experts_implementation("eager")  # the grouped one knows no float64
    return in_float64(model)
