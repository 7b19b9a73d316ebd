"""Options of the steps of a job: one frozen record per step, for the command of that name and for `zetaplan run`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from zetaplan._records import Record

TEXTS = "A text, or a file of records (.jsonl, .json), or 'pydoc' for Python's own help texts; repeatable."
DEVICE = "Where to compute: cpu, cuda, cuda:1, mps."
DTYPE = "float32, bfloat16 or float64; as stored if not given."


class ScoreOptions(Record):
    """How a model is scored."""

    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=TEXTS)
    field: str | None = Field(
        None, description="The field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(32, description="How many sequences are scored.")
    length: int = Field(128, description="Tokens per sequence.")
    blocks: Literal["layers", "modules"] = Field("layers", description="Decoder layers, or each linear.")
    curvature: str = Field(
        "block-fisher", description="The surrogate of the curvature; see `zetaplan list surrogates`."
    )
    damping: float = Field(1.0, description="Damping, above 0.")
    damping_mode: Literal["relative", "absolute"] = Field(
        "relative", description="Relative to the mean curvature, or tau itself."
    )
    damping_scope: Literal["global", "block"] = Field("global", description="One tau for all blocks, or one for each.")
    width: float = Field(
        1e-3, description="Relative width of the enclosure at which ggn, hessian and token-fisher stop."
    )
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)
    batch_size: int | None = Field(None, description="Sequences per pass; all at once if not given.")
    memory: str | None = Field(
        None, description="Memory beyond the plain pass, as 2GB; what does not fit waits on the disk."
    )
    sketch: int | None = Field(
        None, description="Random projections to so many dimensions; the error that they cause is reported."
    )
    cache: bool = Field(True, description="Keep scores by content, and batches so that a killed run continues.")
    shard: bool = Field(False, description="Under torchrun: share the weights among the ranks.")
    check: bool = Field(False, description="Take each block's step; measure the loss here and on held-out text.")
    held_out: tuple[str, ...] = Field(
        (), description="The held-out text; sequences between the scored ones if not given. Repeatable."
    )


class ApplyOptions(Record):
    """How a sparsity plan is applied to a model."""

    method: str = Field("wanda", description="How weights are chosen; see `zetaplan list pruners`.")
    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=f"Calibration text. {TEXTS}")
    field: str | None = Field(
        None, description="The field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(32, description="How many sequences calibrate.")
    length: int = Field(128, description="Tokens per sequence.")
    structure: Literal["unstructured", "2:4"] = Field(
        "unstructured", description="2:4: two of every four; the plan has to take half."
    )
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)


class CalibrateOptions(Record):
    """How the exponent of a method of removing weights is measured."""

    method: str = Field("wanda", description="How weights are chosen; see `zetaplan list pruners`.")
    data: tuple[str, ...] = Field(("pydoc",), min_length=1, description=f"Text to measure on. {TEXTS}")
    field: str | None = Field(
        None, description="The field of a record that holds its text; text, ctx or sentence1 if not given."
    )
    sequences: int = Field(8, description="How many sequences of the text.")
    length: int = Field(128, description="Tokens per sequence.")
    level: tuple[float, ...] = Field((0.5, 0.7), min_length=1, description="A sparsity to prune to; repeatable.")
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)


class ExportOptions(Record):
    """The settings of one tool."""

    to: str = Field("json", description="The tool; see `zetaplan list formats`.")
    out: str | None = Field(None, description="The file; the name that the tool expects if not given.")


class EvaluateOptions(Record):
    """What is measured of a model: perplexity on a text, accuracy on multiple choice, or both."""

    text: str | None = Field(
        None, description="A UTF-8 text for perplexity; the texts of records (.jsonl, .json) are joined."
    )
    field: str | None = Field(None, description="The field of a record that holds its text, or an item's prompt.")
    choices: str | None = Field(
        None, description="A .jsonl file: ctx (or sentence1, sentence2), choices, 0-based gold."
    )
    length: int = Field(1024, description="Tokens per window.")
    stride: int | None = Field(
        None, description="How far a window moves, below length; half the length if not given. Every token counts once."
    )
    tokens: int | None = Field(None, description="Only this many tokens of the text.")
    items: int | None = Field(None, description="Only this many items, evenly spread.")
    template: str = Field("{prompt}", description="What the prompt is put into.")
    lm_eval: str | None = Field(
        None, description="Measure the items by lm-eval too (an extra), through a local task written to this folder."
    )
    device: str = Field("cpu", description=DEVICE)
    dtype: str | None = Field(None, description=DTYPE)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.text is None and self.choices is None:
            raise ValueError("text and choices: give at least one of the two")
        if self.lm_eval is not None and self.choices is None:
            raise ValueError("lm_eval: measures multiple choice; give choices")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        return tuple(file for file in (self.text, self.choices) if file is not None)
