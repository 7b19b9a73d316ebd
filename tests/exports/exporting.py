"""Scores and plans for the linears of any model, without a backward pass."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from torch import nn

from tests.made import made_scores
from tests.tiny_models import tiny_gpt2, tiny_llama
from zetaplan.exports import format_names, format_of
from zetaplan.exports.targets import EXPERTS, Module, outline
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import Scores

LAYERS = 12  # layer 1 is not layer 11
MODELS: dict[str, Callable[..., nn.Module]] = {"llama": tiny_llama, "gpt2": tiny_gpt2}
RANKS = ("peft", "axolotl", "mola")
SPARSITY = ("llm-compressor", "alphapruning", "torch-prune")
UNITS = tuple(to for to in format_names() if format_of(to).COUNTS != ("formats",))


def scores_of(model: nn.Module, blocks: str = "layers") -> Scores:
    """Unequal gains for every block of the model, with its true sizes."""
    found = outline(model).planned
    keys = [module.block if blocks == "layers" else owner(module) for module in found]
    names = tuple(dict.fromkeys(keys))
    weights = np.array([sum(m.weights for m, key in zip(found, keys, strict=True) if key == name) for name in names])
    each = [module.count * (module.inputs + module.outputs) for module in found]
    ranks = np.array([sum(n for n, key in zip(each, keys, strict=True) if key == name) for name in names])
    gain = np.random.default_rng(5).gamma(0.5, size=len(names))
    one = np.ones(len(names))
    return made_scores(
        names=names,
        gain=gain,
        low=gain,
        high=gain,
        noise_floor=None,
        cross_fitted=None,
        standard_error=one,
        gradient_norm=one,
        effective_dimension=one,
        damping=one,
        parameters=weights,
        linear_parameters=weights,
        rank_parameters=ranks,
        blocks=blocks,
    )


def owner(module: Module) -> str:
    """The name of the linear, or of the module that holds a tensor of experts."""
    return module.name.rpartition(".")[0] if module.kind == EXPERTS else module.name


def plan_for(model: nn.Module, to: str, blocks: str = "layers") -> Plan:
    if to in RANKS:
        return allocate(scores_of(model, blocks), mean_rank=3, expert_rank=4 if to == "mola" else None)
    return prune(scores_of(model, blocks), sparsity=0.5, upper=0.9)


def damaged(data: bytes, seed: int) -> bytes:
    """The file with bytes changed, cut out, doubled or torn off, at one to four places."""
    rng, found = random.Random(seed), bytearray(data)  # noqa: S311  # no secret
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(found))
        end = min(start + rng.randint(1, 20), len(found))
        piece = rng.choice([b"", bytes([rng.randrange(256)]), found[start:end] * 2, b"0", b"-", b'"', b"null", b"[]"])
        found[start:end] = piece
    return bytes(found)


def everywhere(model: nn.Module) -> Plan:
    return allocate(scores_of(model), mean_rank=3, lower=1)
