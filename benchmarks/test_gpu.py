"""The GPU benchmark runs in its small form on the CPU, where nothing differs, and says where nothing is measured."""

import sys

import pytest
import torch

from benchmarks import gpu


def test_every_step_runs_on_tiny_models() -> None:
    found = gpu.measured(gpu.SHORT, "cpu")
    assert [*found["steps"]] == [*gpu.STEPS, "solve_batch, 32 layers"]
    assert found["left_out"] == []
    for name, step in found["steps"].items():
        assert step["difference_to_the_cpu"] == 0.0, name
        assert step["seconds"] > 0
    lines = gpu.summary(found).splitlines()
    assert len(lines) == len(found["steps"]) + 1
    assert lines[0].startswith("cpu, ")


def test_steps_after_the_limit_are_left_out_and_named() -> None:
    found = gpu.measured(gpu.SHORT, "cpu", limit=0.0)
    assert found["steps"] == {}
    assert len(found["left_out"]) == len(gpu.STEPS) + 1
    assert "left out after 480 s: evaluate, perplexity" in gpu.summary(found)


def test_without_a_gpu_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(gpu.common, "save", lambda *_: pytest.fail("nothing was measured"))
    with pytest.raises(SystemExit, match="torch sees no CUDA device here: nothing was measured"):
        gpu.main()
