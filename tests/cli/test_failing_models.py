"""A model whose own code raises: every command that passes it says so in one line, and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaMLP
from typer.testing import CliRunner

from tests.tiny_models import tiny_llama_dir
from zetaplan.cli.app import app

DATA = ("--data", "notes.txt", "--length", "16")
FEW = (*DATA, "--sequences", "2")
DEALT = (*DATA, "--calibration", "2", "--sequences", "2", "--portions", "2", "--accept", "2", "--compare", "2")
FORMATS = ("--option", "int3-g16", "--option", "int4-g16", "--option", "int5-g16", "--budget", "int4-g16")
BITS = ("measure", "--for", "bits", "--formats", "int3-g16,int4-g16", *FEW)

#: Command lines that pass the model forwards, and those that pass it backwards too.
FORWARDS = [
    BITS,
    ("measure", "--for", "sparsity", "--method", "magnitude", *FEW),
    ("measure", "--for", "sparsity", "--method", "wanda", "--calibration", "notes.txt", *FEW),
    ("measure", "--for", "rank", "--method", "svd", *FEW),
    ("measure", "--for", "drop", *FEW),
    ("measure", "--for", "drop", "--stream", *FEW),
    ("refine", "--method", "rtn", *FORMATS, "--moves", "measured", *DEALT),
    ("refine", "--method", "drop", "--budget", "1", *DEALT),
    ("calibrate", "--method", "magnitude", *FEW),
    ("calibrate", "--method", "wanda", *FEW),
    ("evaluate", "--text", "notes.txt", "--length", "16"),
    ("evaluate", "--text", "notes.txt", "--length", "16", "--stream"),
    ("evaluate", "--text", "notes.txt", "--length", "16", "--against", "tiny-llama"),
    ("evaluate", "--choices", "items.jsonl"),
]
BACKWARDS = [
    *[(*BITS, "--estimator", estimator) for estimator in ("fisher", "first-order", "kfac")],
    *[("score", "--curvature", curvature, *FEW) for curvature in ("block-fisher", "mc-fisher", "kfac", "ggn")],
    ("score", "--stream", *FEW),
    *[
        ("refine", "--method", method, *budget, *DEALT, *stream)
        for method, budget in (("rtn", FORMATS), ("wanda", ("--budget", "0.5")), ("svd", ("--budget", "0.2")))
        for stream in ((), ("--stream",))
    ],
    ("refine", "--method", "magnitude", "--budget", "0.5", "--moves", "slopes", *DEALT),
]


class Backwards(torch.autograd.Function):
    """The identity, without a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return broken(*gradients)


def broken(*_: object) -> Tensor:
    raise RuntimeError("strides should be multiple of 16 bytes\nand more")


def without_gradient(_: LlamaMLP, x: Tensor) -> Tensor:
    return Backwards.apply(x)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize(
    ("forward", "line"),
    [*[(broken, line) for line in (*FORWARDS, *BACKWARDS)], *[(without_gradient, line) for line in BACKWARDS]],
    ids=lambda value: value.__name__ if callable(value) else " ".join(word for word in value if word not in DEALT),
)
def test_what_the_code_of_a_model_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forward: Any, line: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    tiny_llama_dir(tmp_path)
    Path("notes.txt").write_text(" ".join(f"{n} sheep are {n * n} in a square;" for n in range(60)))
    Path("items.jsonl").write_text('{"ctx": "two sheep are", "choices": ["four", "five"], "gold": 0}\n')
    monkeypatch.setattr(LlamaMLP, "forward", forward)
    command, *more = line
    done = CliRunner().invoke(app, [command, "tiny-llama", *more, "--out", "out.json"])
    assert done.exit_code == 2, done.output
    said = done.stderr.splitlines()[-1]
    assert said == (
        "zetaplan: model: a pass of LlamaForCausalLM fails: RuntimeError: strides should be multiple of 16 bytes"
    )
    assert not Path("out.json").exists()
