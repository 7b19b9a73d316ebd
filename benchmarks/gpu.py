"""Scores on a GPU: time and peak memory against a plain forward and backward pass, and agreement with the CPU.

SmolLM2-135M in float32, gains compared with the CPU's; and a random Llama of 1.3 billion parameters in bfloat16.

    python benchmarks/gpu.py                       writes benchmarks/results/gpu.json, where torch sees CUDA
"""

import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import common
from zetaplan.scoring import load_model, read_sequences, score_each

RESULT = common.result("gpu")
SURROGATES = ("block-fisher", "diagonal-fisher", "mc-fisher")
ROUNDS = 5


def plain_pass(model: nn.Module, batch: dict[str, torch.Tensor]) -> None:
    """All parameters get their gradient, which is dropped."""
    model.requires_grad_(True)
    placed = {name: value.cuda() for name, value in batch.items()}
    model(**placed, use_cache=False).loss.backward()
    model.zero_grad(set_to_none=True)


def cost(run: Callable[[], object]) -> dict[str, float]:
    """Seconds, and the most bytes that were allocated."""
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - started, "bytes": float(torch.cuda.max_memory_allocated())}


def compared(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, object]:
    """Medians of alternating rounds, after one that warms up."""
    runs: dict[str, Callable[[], object]] = {"plain": lambda: plain_pass(model, batch)}
    for name in SURROGATES:
        runs[name] = lambda name=name: score_each(model, batch, curvatures=[name])
    rounds = [{name: cost(run) for name, run in runs.items()} for _ in range(ROUNDS + 1)][1:]
    return {
        name: {unit: statistics.median(found[name][unit] for found in rounds) for unit in ("seconds", "bytes")}
        for name in runs
    }


def large() -> nn.Module:
    """About 1.3 billion random parameters in bfloat16."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32
    )
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here: nothing was measured")
    loaded = load_model("smollm2")
    text = read_sequences("pydoc", loaded.tokenizer, sequences=32, length=128)
    here = score_each(loaded, text, curvatures=SURROGATES)
    there = score_each(loaded, text, curvatures=SURROGATES, device="cuda")
    model = large()
    ids = torch.randint(0, 32000, (8, 512))
    result = {
        "device": torch.cuda.get_device_name(),
        "torch": version("torch"),
        "largest_relative_difference_to_the_cpu": {
            name: float(np.max(np.abs(there[name].gain / here[name].gain - 1))) for name in SURROGATES
        },
        "smollm2, float32, 32 x 128": compared(loaded.model.cuda(), text.batch),
        "random llama, 1.3e9 parameters, bfloat16, 8 x 512": compared(model, {"input_ids": ids, "labels": ids}),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
