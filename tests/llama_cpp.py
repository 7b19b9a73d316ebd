"""llama.cpp itself, from the wheel xllamacpp: the log-probabilities of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

#: The token that is drawn: a letter. A part of a character would be held back, together with the probabilities.
SAMPLED = {"logit_bias": [[65, 1000.0]]}


def next_token(file: Path, prompts: Sequence[Sequence[int]], vocabulary: int) -> np.ndarray:
    """log p(token | prompt) for every prompt, (prompts, vocabulary). Skips the test where llama.cpp is not installed.

    Keys and values are kept in float32, so that only the products of quantised weights are rounded: llama.cpp rounds
    their inputs to 8 bits.
    """
    xlc = pytest.importorskip("xllamacpp", reason="xllamacpp, a build of llama.cpp, is not installed")
    params = xlc.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup, params.verbosity = 128, 1, 0, False, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xlc.ggml_type.GGML_TYPE_F32
    server = xlc.Server(params)
    found = np.full((len(prompts), vocabulary), -np.inf)
    for row, prompt in zip(found, prompts, strict=True):
        options = {"max_tokens": 1, "n_probs": vocabulary, "logprobs": vocabulary, "temperature": 0.0, **SAMPLED}
        answer = server.handle_completions({"prompt": list(prompt), "cache_prompt": False, **options})
        for token in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            row[token["id"]] = token["logprob"]
    return found - np.log(np.exp(found).sum(1, keepdims=True))  # its sums are accurate to 2e-4
