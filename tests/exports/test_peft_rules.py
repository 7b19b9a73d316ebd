"""The dry run says of a LoraConfig what PEFT does with it: raise, ignore an entry, or apply all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.exports.architectures import tiny
from zetaplan.errors import SpecError
from zetaplan.exports import check_file, lora

pytest.importorskip("peft", reason="PEFT (extra peft) is not installed")
from tests.exports.peft_oracle import drawn, ignored, outcome

LAYERS = 12  # layer 1 is not layer 11


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    return tiny("llama", num_hidden_layers=LAYERS)


def verdict(config: dict[str, Any], model: nn.Module, file: Path) -> tuple[bool, set[tuple[str, str]], list[str]]:
    """Whether PEFT is said to raise, the entries that are said to be ignored, and everything else that is said."""
    file.write_text(json.dumps(config))
    try:
        _, found = check_file(file, model)
    except SpecError as error:
        return True, set(), [str(error)]
    raises = [problem for problem in found if problem.words.startswith("PEFT raises")]
    unheard = {tuple(p.key.split(": ", 1)) for p in found if p.words.startswith("would be ignored")}
    other = [str(p) for p in found if not p.words.startswith(("PEFT raises", "would be ignored"))]
    return bool(raises), unheard, other  # type: ignore[return-value]


def disagreement(seed: int, model: nn.Module, file: Path) -> str:
    """What the dry run and PEFT do not agree in; "" if nothing."""
    config = drawn(seed)
    raises, unheard, other = verdict(config, model, file)
    really = outcome(config, model)
    if raises != (really is None):
        return f"{config}: said to raise: {raises}, raises: {really is None}"
    if really is not None and unheard != (truth := ignored(config, model)):
        return f"{config}: said to be ignored {unheard}, is ignored {truth}"
    strays = [said for said in other if "which it does not name" not in said]
    return f"{config}: {strays}" if strays else ""


@pytest.mark.parametrize("asked", [True, False], ids=["with-PEFT", "by-rules-alone"])
def test_the_dry_run_agrees_with_peft(
    asked: bool, llama: nn.Module, cases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not asked:
        monkeypatch.setattr(lora, "tried", lambda config, model: None)
    assert [
        found for seed in range(cases) if (found := disagreement(seed, llama, tmp_path / "adapter_config.json"))
    ] == []
