"""What runs a model, and the batches of programs, on a GPU: seconds, peak memory, and agreement with the CPU.

    python -m benchmarks.gpu            writes benchmarks/results/gpu.json, where torch sees CUDA; ten minutes at most
    python -m benchmarks.gpu --small    the same on tiny models and on any device; writes nothing

Every number that a GPU gives is compared with the CPU's on a random Llama in float32; the difference is the largest
over the numbers, relative to the largest number. Times and memory are those of a random Llama of 1.3 billion parameters
in bfloat16. Scores are also timed against a plain forward and backward pass. A step that would begin after `LIMIT`
seconds is left out and named.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

import zetaplan as zp
from benchmarks import common
from zetaplan.menus.refined import refined_facts

#: Seconds after which no further step begins; the longest step takes about a minute.
LIMIT = 480.0

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
SMALL = {**TINY, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "vocab_size": 1024}
LARGE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "vocab_size": 32_000,
}

Numbers = NDArray[np.float64]
Step = Callable[[nn.Module, Tensor], Numbers]


@dataclass(frozen=True)
class Sizes:
    """compared, timed : the models. length : tokens of their 24 sequences. instances : of batches of 32 layers."""

    compared: Mapping[str, int] = field(default_factory=lambda: SMALL)
    timed: Mapping[str, int] = field(default_factory=lambda: LARGE)
    dtype: torch.dtype = torch.bfloat16
    length: int = 512
    instances: int = 10**6


SHORT = Sizes(TINY, TINY, torch.float32, 16, 1000)


def llama(sizes: Mapping[str, int], dtype: torch.dtype = torch.float32, device: str = "cpu") -> nn.Module:
    """A random model, the same on every device."""
    torch.manual_seed(0)
    config = LlamaConfig(**sizes, initializer_range=0.1, max_position_embeddings=512)
    with torch.device(device):
        return LlamaForCausalLM(config).to(dtype).eval()


def plain(model: nn.Module, ids: Tensor) -> Numbers:
    """A forward and backward pass; every parameter gets its gradient, which is dropped."""
    placed = ids[:8].to(next(model.parameters()).device)
    loss = model.requires_grad_(True)(input_ids=placed, labels=placed, use_cache=False).loss
    loss.backward()
    model.zero_grad(set_to_none=True)
    return np.array([float(loss.detach())])


def score(model: nn.Module, ids: Tensor, curvature: str) -> Numbers:
    return zp.score(model, {"input_ids": ids[:8]}, curvature=curvature, batch_size=8).gain


def measure(model: nn.Module, ids: Tensor) -> Numbers:
    menu = zp.measure(model, ["int4-g32", "gptq4-g32"], ids[:8], calibration=ids[8:16], cache=False)
    return np.array([loss for row in menu.losses for loss in row])


def refine(model: nn.Module, ids: Tensor) -> Numbers:
    """The divergences of the first round; later rounds depend on choices between nearly equal moves."""
    plan = zp.refine(
        model, "wanda", 0.5, ids[:4], ids[4:8], calibration=ids[8:16], sequences=4, evaluations=24, cache=False
    )
    facts = refined_facts(plan.menu.provenance)
    assert facts
    return np.array([move.divergence for move in facts.rounds[0].moves])


def apply(model: nn.Module, ids: Tensor, method: str) -> Numbers:
    """The loss of every sequence after half of the weights of a copy are removed."""
    pruned = copy.deepcopy(model)
    scores = zp.score(pruned, {"input_ids": ids[:8]}, curvature="block-fisher")
    zp.apply_pruning(pruned, zp.prune(scores, sparsity=0.5, upper=0.6), method, ids[8:16])
    return evaluate(pruned, ids)


def evaluate(model: nn.Module, ids: Tensor) -> Numbers:
    length = ids.shape[1]
    return zp.perplexity(model, ids[16:].flatten(), length=length, stride=length // 2).per_window


def diverge(model: nn.Module, ids: Tensor) -> Numbers:
    """Divergence of a model whose head is scaled."""
    length, other = ids.shape[1], copy.deepcopy(model)
    other.get_output_embeddings().weight.data *= 1.1  # type: ignore[operator]
    found = zp.divergence(other, model, ids[16:].flatten(), length=length, stride=length // 2)
    return np.asarray(found.kl, np.float64)


STEPS: Mapping[str, Step] = {
    "plain pass": plain,
    "score, block-fisher": partial(score, curvature="block-fisher"),
    "score, diagonal-fisher": partial(score, curvature="diagonal-fisher"),
    "measure, int4 and gptq4": measure,
    "refine, wanda, 24 evaluations": refine,
    "apply, wanda": partial(apply, method="wanda"),
    "apply, sparsegpt": partial(apply, method="sparsegpt"),
    "evaluate, perplexity": evaluate,
    "evaluate, divergence": diverge,
}


def cost(run: Callable[[], object], device: str) -> dict[str, float]:
    """Seconds and, on CUDA, the most bytes that were allocated."""
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    peak = {"bytes": float(torch.cuda.max_memory_allocated())} if cuda else {}
    return {"seconds": time.perf_counter() - started, **peak}


def difference(found: Numbers, expected: Numbers) -> float:
    """The largest difference, relative to the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def batches(instances: int, device: str) -> dict[str, float]:
    """Instances of the pruning program solved and certified in a second, and the difference of the plans."""
    draw = torch.Generator().manual_seed(0)
    quality, sizes = torch.rand(instances, 32, generator=draw, dtype=torch.float64) + 0.1, torch.ones(32)
    placed = quality.to(device)
    solve = partial(zp.solve_batch, "pruning", data=sizes, limits=16.0)
    solve(placed[:100])
    taken = cost(lambda: solve(placed), device)
    some = slice(0, 1000)
    expected = solve(quality[some]).x.numpy()
    return {
        **taken,
        "instances_per_second": instances / taken["seconds"],
        "difference_to_the_cpu": difference(solve(placed[some]).x.cpu().numpy(), expected),
    }


def measured(sizes: Sizes, device: str, limit: float = LIMIT) -> dict[str, Any]:
    """Every step on the device: its cost on the timed model, and its difference to the CPU on the compared one."""
    started = time.perf_counter()
    draw = torch.Generator().manual_seed(0)
    compared, timed = llama(sizes.compared), llama(sizes.timed, sizes.dtype, device)
    placed = copy.deepcopy(compared).to(device)
    few = torch.randint(0, sizes.compared["vocab_size"], (24, min(sizes.length, 64)), generator=draw)
    many = torch.randint(0, sizes.timed["vocab_size"], (24, sizes.length), generator=draw)
    found: dict[str, dict[str, float]] = {}
    for name, step in STEPS.items():
        if time.perf_counter() - started < limit:
            off = difference(step(placed, few), step(compared, few))
            step(timed, many[:, : sizes.length // 2])  # the first run chooses kernels
            found[name] = {**cost(partial(step, timed, many), device), "difference_to_the_cpu": off}
    if time.perf_counter() - started < limit:
        found["solve_batch, 32 layers"] = batches(sizes.instances, device)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        **common.environment("torch", "transformers"),
        "zetaplan": version("zetaplan"),
        "parameters": sum(p.numel() for p in timed.parameters()),
        "tokens": many[:8].numel(),
        "seconds": time.perf_counter() - started,
        "steps": found,
        "left_out": [name for name in (*STEPS, "solve_batch, 32 layers") if name not in found],
    }


def summary(result: Mapping[str, Any]) -> str:
    """The result in lines for people."""
    lines = [f"{result['device']}, {result['parameters']:,} parameters, {result['seconds']:.0f} s in all"]
    for name, step in result["steps"].items():
        memory = f"{step['bytes'] / 2**30:8.2f} GiB" if "bytes" in step else ""
        lines.append(f"{name:32}{step['seconds']:10.3f} s{memory}   {step['difference_to_the_cpu']:.1e} off the CPU")
    return "\n".join([*lines, *[f"left out after {LIMIT:.0f} s: {name}" for name in result["left_out"]]])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--small", action="store_true", help="tiny models, on any device; nothing is written")
    cuda = torch.cuda.is_available()
    if arguments.parse_args().small:
        print(summary(measured(SHORT, "cuda" if cuda else "cpu")))
        return
    if not cuda:
        raise SystemExit("torch sees no CUDA device here: nothing was measured")
    result = measured(Sizes(), "cuda")
    common.save("gpu", result)
    print(summary(result))


if __name__ == "__main__":
    main()
