"""What works for each architecture: a tiny random model of each through scores, pruners, exports, and rounding.

`python -m tests.models.matrix` writes the table of the site. A new architecture is one line of `KINDS`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.decoders import tiny_decoder
from tests.made import made_scores
from zetaplan.errors import ZetaplanError
from zetaplan.exports import export, format_names, format_of
from zetaplan.models.apply import prune_blocks
from zetaplan.models.inputs import Inputs
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.pruners import pruner_names
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import matrices, weights
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.refining.levels import find_levels
from zetaplan.scoring import Scores, score
from zetaplan.scoring.curvature._products import LinearisedBlock
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "models.json"

YES = "yes"

#: Architectures by what is particular about them.
KINDS = {
    "dense": (
        *("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "phi", "phi3"),
        *(
            "gpt2",
            "gpt_neox",
            "opt",
            "bloom",
            "falcon",
            "mpt",
            "gptj",
            "codegen",
            "cohere2",
            "olmo2",
            "granite",
            "glm4",
        ),
        *("nemotron", "starcoder2", "stablelm", "diffllama", "minicpm3", "smollm3", "exaone4"),
    ),
    "experts": (
        *("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "llama4_text", "deepseek_v3", "deepseek_v32", "granitemoe"),
        *("olmoe", "phimoe", "glm4_moe", "ernie4_5_moe", "hunyuan_v1_moe", "jetmoe", "aria_text", "minimax_m2"),
    ),
    "state spaces and hybrids": (
        *("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "lfm2", "lfm2_moe", "qwen3_next"),
        *("qwen3_5_text", "qwen3_5_moe_text", "jamba", "bamba", "falcon_h1", "zamba2", "nemotron_h"),
        *("granitemoehybrid", "minimax", "olmo_hybrid"),
    ),
    "with images or sound": (
        *("llava", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics3", "mistral3", "llama4"),
        *("voxtral", "qwen2_audio", "git", "phi4_multimodal"),
    ),
    "decoders of encoder-decoders": ("bart", "marian", "blenderbot"),
}

ARCHITECTURES = tuple(kind for kinds in KINDS.values() for kind in kinds)

TEXT = {"input_ids": torch.randint(0, 22, (4, 9), generator=torch.Generator().manual_seed(0))}
TEXT["attention_mask"] = torch.ones_like(TEXT["input_ids"])
TEXT["attention_mask"][1, 5:] = 0


def found_for(kind: str) -> dict[str, str]:
    """Of every check, "yes" or the message of the refusal."""
    model = tiny_decoder(kind)
    return {name: _outcome(check) for name, check in _checks(model)}


def _outcome(check: Callable[[], object]) -> str:
    try:
        check()
    except ZetaplanError as error:
        return re.sub(r"\{([^{}]*)\}", lambda found: _sorted(found[1]), str(error))
    return YES


def _sorted(names: str) -> str:
    """A set in a message, in one order."""
    return f"{{{', '.join(sorted(names.split(', ')))}}}"


def _checks(model: PreTrainedModel) -> Iterator[tuple[str, Callable[[], object]]]:
    for blocks in ("layers", "modules"):
        yield f"score, {blocks}", lambda blocks=blocks: gains_are_those_of_autograd(model, blocks)
    yield "product with ggn", lambda: one_product(model)
    for method in pruner_names():
        yield method, lambda method=method: counts_are_removed(copy.deepcopy(model), method)
    for to in format_names():
        counts = format_of(to).COUNTS or ()
        if "ranks" in counts or "weights" in counts:
            yield to, lambda to=to, ranks="ranks" in counts: export(_plan(model, ranks), to=to, model=model)
    yield "low rank", lambda: every_matrix_gets_a_low_rank(model)
    yield "rounding", lambda: every_matrix_rounds(copy.deepcopy(model))


def gains_are_those_of_autograd(model: PreTrainedModel, blocks: str) -> None:
    """|g|^2 of every block, g the mean of the gradients of single sequences without padding."""
    found = score(model, TEXT, curvature="gradient", blocks=blocks)
    parameters = {name: p for name, p in model.named_parameters() if name not in found.left_out}
    for p in parameters.values():
        p.requires_grad_(True)
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for ids, mask in zip(TEXT["input_ids"], TEXT["attention_mask"], strict=True):
        short = ids[None, : int(mask.sum())]
        logs = model(input_ids=short, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        loss = -logs.gather(1, short[0, 1:, None]).mean()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        for sums, gradient in zip(total.values(), gradients, strict=True):
            sums += gradient / len(TEXT["input_ids"])
    for name, gain in zip(found.names, found.gain, strict=True):
        own = [value for key, value in total.items() if key.startswith(f"{name}.")]
        expected = sum(float(value.double().square().sum()) for value in own)
        assert abs(gain - expected) <= 2e-4 * expected + 1e-12, (name, gain, expected)


def one_product(model: PreTrainedModel) -> None:
    part = partition(model, "layers")[-1]
    block = LinearisedBlock(model, part.named_parameters, checked_batches(TEXT))
    v = torch.randn(block.dimension, generator=torch.Generator().manual_seed(0))
    product = block.ggn(v)
    assert product.isfinite().all()
    assert float(product @ v) >= -1e-5 * float(product.norm() * v.norm())


def counts_are_removed(model: PreTrainedModel, method: str) -> None:
    counts = {part.name: part.linear_parameters // 2 for part in partition(model, "layers")}
    applied = prune_blocks(model, "layers", counts, method, TEXT)
    assert [block.removed for block in applied.blocks] == list(counts.values())


def every_matrix_rounds(model: PreTrainedModel) -> None:
    """Every matrix of the layers by GPTQ with its own X'X, embedding and head to nearest, in place."""
    known = {weight.name: weight for weight in weights(model)}
    with torch.no_grad():
        for _, grams in layer_pass(model, checked_batches(TEXT), lambda x: x.mT @ x, known):
            for name, gram in grams.items():
                _round(model, known.pop(name), gram, "gptq4")
        for weight in known.values():
            _round(model, weight, None, "int8")


def every_matrix_gets_a_low_rank(model: PreTrainedModel) -> None:
    """Half of the weights of every matrix of the layers, with the least error of the outputs."""
    levels = find_levels("svd-llm", inputs=Inputs(model, checked_batches(TEXT), None), budget="0.5", blocks="layers")
    found = {name: value for block in levels.costs for name, value in levels.values(block, "0.5").items()}
    for weight in (weight for weight in weights(model) if weight.layer):
        value = found.pop(weight.name)
        assert value.shape == model.get_parameter(weight.name).shape
        rank = weight.rows * weight.columns // (2 * (weight.rows + weight.columns))
        parts = value.detach().reshape(weight.count, *value.shape[-2:])
        assert all(torch.linalg.matrix_rank(part, rtol=1e-4) <= rank for part in parts)
    assert not found


def _round(model: PreTrainedModel, weight: object, gram: Tensor | None, label: str) -> None:
    stored, quantizer = matrices(model, weight), find_quantizer(label)
    for place, matrix in enumerate(stored):
        own = gram if gram is None or gram.ndim == 2 else gram[place]
        rounded = quantizer.rounded(matrix, own if own is not None and own.any() else None)
        matrix.copy_(rounded)
    assert torch.equal(matrices(model, weight)[-1], rounded)


def _plan(model: PreTrainedModel, ranks: bool) -> Plan:
    return allocate(_scores(model), mean_rank=3) if ranks else prune(_scores(model), sparsity=0.5, upper=0.9)


def _scores(model: PreTrainedModel) -> Scores:
    """Made gains of the layers, so that exports are tried where scoring is refused."""
    parts = partition(model, "layers")
    one = np.ones(len(parts))
    gain = np.random.default_rng(5).gamma(2.0, size=len(parts))
    return made_scores(
        **dict.fromkeys(("gain", "low", "high"), gain),
        noise_floor=None,
        cross_fitted=None,
        **dict.fromkeys(("standard_error", "gradient_norm", "effective_dimension", "damping"), one),
        names=tuple(part.name for part in parts),
        parameters=np.array([part.parameters for part in parts]),
        linear_parameters=np.array([part.linear_parameters for part in parts]),
        rank_parameters=np.array([part.rank_parameters for part in parts]),
        blocks="layers",
    )


if __name__ == "__main__":
    table = {kind: found_for(kind) for kind in ARCHITECTURES}
    TABLE.write_text(json.dumps({"kinds": KINDS, "table": table}, indent=1) + "\n")
