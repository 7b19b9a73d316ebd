"""Options of the steps of a job: one frozen record per step, shared by its command and `zetaplan run`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from zetaplan._quantities import Share
from zetaplan._records import Record
from zetaplan.models.lora_settings import LoraSettings

Place = Callable[[str], str]  # the path of a file or a model that an option names

TEXTS = "Text file, file of records (.jsonl, .json), or 'pydoc' for Python's own help texts; repeatable."
DEVICE = "Device to compute on: cpu, cuda, cuda:1, mps."
DTYPE = "Number type: float32, bfloat16 or float64; the stored type if not given."


class ScoreOptions(Record):
    """Options of scoring a model."""

    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=TEXTS)
    field: str | None = Field(
        None, description="Field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(32, description="Number of sequences to score.")
    length: int = Field(128, description="Tokens per sequence.")
    blocks: Literal["layers", "modules", "experts"] = Field(
        "layers", description="Blocks to score: decoder layers, single linear modules, or these and single experts."
    )
    curvature: str = Field("block-fisher", description="Curvature surrogate; see `zetaplan list surrogates`.")
    damping: float = Field(1.0, description="Damping of the curvature, above 0.")
    damping_mode: Literal["relative", "absolute"] = Field(
        "relative", description="Damping relative to the mean curvature, or as the absolute tau."
    )
    damping_scope: Literal["global", "block"] = Field("global", description="One tau for all blocks, or one per block.")
    width: float = Field(
        1e-3, description="Relative width of the gain's enclosure at which ggn, hessian and token-fisher stop."
    )
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)
    batch_size: int | None = Field(None, description="Sequences per pass; all sequences if not given.")
    memory: str | None = Field(
        None, description="Memory limit in addition to the plain pass, such as 2GB; further data goes to disk."
    )
    sketch: int | None = Field(
        None, description="Rank of random projections of the gradients; their error is reported."
    )
    cache: bool = Field(True, description="Cache scores by content, and batches so that a killed run can continue.")
    shard: bool = Field(False, description="Divide the weights among the ranks of torchrun.")
    stream: bool = Field(False, description="Read the weights layer by layer, for a model larger than memory.")
    check: bool = Field(False, description="Take each block's step, and measure the loss on scored and held-out text.")
    held_out: tuple[str, ...] = Field(
        (), description="Held-out text; sequences between the scored ones if not given. Repeatable."
    )


class ApplyOptions(Record):
    """Options of applying a plan of sparsity, of layers, of ranks or of formats to a model."""

    to: str = Field(
        "safetensors",
        description="Output for a plan of formats: gguf, safetensors (the rounded values in float32), or "
        "compressed-tensors.",
    )
    other_weights: bool = Field(
        False, description="Apply a plan of formats to other weights than it was made for, such as a conversion."
    )
    method: str = Field("wanda", description="Pruning method; see `zetaplan list pruners`.")
    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=f"Calibration text. {TEXTS}")
    field: str | None = Field(
        None, description="Field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(32, description="Number of calibration sequences.")
    length: int = Field(128, description="Tokens per sequence.")
    structure: Literal["unstructured", "2:4"] = Field(
        "unstructured", description="2:4 removes two of every four weights; the plan must remove 50% of every block."
    )
    stream: bool = Field(False, description="Read and write the weights layer by layer, for models larger than memory.")
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)


class CalibrateOptions(Record):
    """Options of measuring the exponent of a pruning method."""

    method: str = Field("wanda", description="Pruning method; see `zetaplan list pruners`.")
    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=f"Text for the loss. {TEXTS}")
    field: str | None = Field(
        None, description="Field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(8, description="Number of sequences of the text.")
    length: int = Field(128, description="Tokens per sequence.")
    level: tuple[Share, ...] = Field((0.5, 0.7), min_length=1, description="Sparsity of a pruned layer; repeatable.")
    sparsity: Share = Field(0.5, description="With --scores, share of the weights that every whole plan removes.")
    upper: Share = Field(0.8, description="With --scores, largest share that any block loses.")
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)


class MeasureOptions(Record):
    """Options of measuring a menu on a model."""

    decides: Literal["bits", "sparsity", "rank", "drop"] = Field(
        "bits",
        description="Options of the menu: formats of weights, shares of weights to remove, ranks of low-rank "
        "replacements, or leaving a layer out.",
    )
    stream: bool = Field(False, description="Read the weights layer by layer, for a model larger than memory.")
    method: str = Field(
        "wanda",
        description="With --for sparsity, the pruning method, see `zetaplan list pruners`; with --for rank, svd or "
        "svd-llm.",
    )
    step: str = Field("0.1", description="With --for sparsity or rank, the difference of neighbouring levels.")
    formats: str = Field("q4_0,q5_0,q8_0", description="Formats, separated by commas; see `zetaplan list quantizers`.")
    blocks: Literal["layers", "fused", "modules"] = Field(
        "layers", description="Blocks: decoder layers, linears that are stored together, or single linears."
    )
    estimator: str = Field("measured", description="Estimator of the losses; see `zetaplan list estimators`.")
    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=f"Text for the losses. {TEXTS}")
    field: str | None = Field(
        None, description="Field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(8, description="Number of sequences of the text.")
    length: int = Field(128, description="Tokens per sequence.")
    calibration: tuple[str, ...] = Field(
        (), description="Calibration text of GPTQ or the method; the text for the losses if not given. Repeatable."
    )
    check: bool = Field(False, description="Measure whole models too, and compare them with the sums of the losses.")
    seed: int = Field(0, ge=0, description="Seed of random draws.")
    cache: bool = Field(True, description="Cache finished options by content, so that a killed run can continue.")
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)


class QuantizeOptions(Record):
    """Options of choosing the format of every block."""

    bits_per_weight: float | None = Field(
        None, description="Average bits of the weights that can be quantised, scales included."
    )
    bytes: str | None = Field(None, description="Size of all tensors of the file, such as 90MB.")
    fits: str | None = Field(None, description="Memory for all tensors and the cache, such as 8GB.")
    context: int = Field(0, ge=0, description="Tokens of the cache of keys and values; with --fits.")
    kv: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] = Field("f16", description="Numbers of the cache; with --fits.")
    runtime: str | None = Field(
        None,
        description="Program that loads the model; see `zetaplan list runtimes`. If not given: llama.cpp for GGUF "
        "types, otherwise vllm.",
    )
    time_limit: float = Field(
        math.inf, ge=0, description="Seconds of the search; then the best plan so far is taken, with its proved gap."
    )
    model_config = ConfigDict(allow_inf_nan=True)


class ExportOptions(LoraSettings):
    """Options of one export."""

    to: str = Field("json", description="Format or tool; see `zetaplan list formats`.")
    out: str | None = Field(None, description="Output file; the name that the tool expects if not given.")

    @property
    def lora(self) -> dict[str, Any]:
        """The settings of LoRA by name."""
        return {name: getattr(self, name) for name in LoraSettings.model_fields}


class RefineOptions(Record):
    """Options of refining a plan by measurements."""

    method: str = Field(
        "wanda",
        description="wanda, sparsegpt or magnitude (sparsity); svd-llm or svd (linears of low rank); rtn, gptq or gguf "
        "(formats); drop (layers left out).",
    )
    budget: str = Field(
        "0.5",
        description="Share of the weights to remove, such as 50%; stored bits per weight, or a format; layers to drop.",
    )
    evaluations: int = Field(120, description="Largest number of evaluations of a plan on a text.")
    moves: Literal["curvature", "slopes", "measured"] = Field(
        "curvature",
        description="Moves predicted from one pass, by first and second derivatives or the first alone, or measured "
        "one by one. Layers to drop are always measured, and formats after the last useful prediction.",
    )
    blocks: Literal["layers", "fused", "modules"] | None = Field(
        None,
        description="Blocks that get an option: decoder layers, linears that vLLM stores together (formats, ranks), or "
        "single linears. If not given: layers to drop, and layers with measured moves of sparsity and ranks; otherwise "
        "modules.",
    )
    step: str = Field(
        "0.05", description="First step between levels of sparsity or rank; halved where nothing improves."
    )
    option: tuple[str, ...] = Field((), description="Format to choose from; repeatable.")
    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=TEXTS)
    held_out: tuple[str, ...] = Field(
        (), description="Text of the comparison with uniform; other sequences of the data if not given. Repeatable."
    )
    field: str | None = Field(
        None, description="Field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    length: int = Field(128, description="Tokens per sequence.")
    calibration: int = Field(32, description="Sequences for the input statistics of the method.")
    sequences: int = Field(8, description="Sequences that measure the moves of a round.")
    portions: int = Field(4, description="Rounds that use different sequences.")
    accept: int = Field(32, description="Sequences that decide whether a choice is accepted.")
    compare: int = Field(64, description="Held-out sequences for the comparison with uniform.")
    cache: bool = Field(True, description="Keep weights and evaluations so that a killed run can continue.")
    stream: bool = Field(False, description="Read the weights layer by layer, for a model larger than memory.")
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)


class EvaluateOptions(Record):
    """Options of evaluating a model: perplexity on a text, accuracy on multiple choice, or both."""

    text: str | None = Field(
        None, description="UTF-8 text file for perplexity; the texts of records (.jsonl, .json) are joined."
    )
    field: str | None = Field(None, description="Field of a record that holds its text, or an item's prompt.")
    choices: str | None = Field(
        None,
        description="Multiple-choice items, a .jsonl file with ctx (or sentence1, sentence2), choices, 0-based gold.",
    )
    against: str | None = Field(
        None,
        description="Dense model (as MODEL: a folder, file or name), for the divergence of MODEL from it on the text.",
    )
    length: int = Field(1024, description="Tokens per window.")
    stride: int | None = Field(
        None, description="Tokens between windows, below length; half the length if not given. Every token counts once."
    )
    tokens: int | None = Field(None, description="Largest number of tokens of the text.")
    items: int | None = Field(None, description="Largest number of items, evenly spaced.")
    template: str = Field("{prompt}", description="Template of the prompt.")
    lm_eval: str | None = Field(
        None, description="Folder for a local lm-eval task; if given, lm-eval (an extra) measures the items too."
    )
    stream: bool = Field(False, description="Read the weights layer by layer, for a model larger than memory.")
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.against is not None and self.text is None:
            raise ValueError("against: measures the divergence on a text; give text")
        if self.text is None and self.choices is None:
            raise ValueError("text and choices: give at least one of the two")
        if self.lm_eval is not None and self.choices is None:
            raise ValueError("lm_eval: measures multiple choice; give choices")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """The input files."""
        return tuple(file for file in (self.text, self.choices) if file is not None)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input files, and the dense model."""
        return self.files if self.against is None else (*self.files, self.against)
