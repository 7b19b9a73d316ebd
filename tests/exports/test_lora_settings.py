"""Alpha, dropout and the scale of rsLoRA: what PEFT makes of the settings, and where they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn
from typer.testing import CliRunner

import zetaplan as zp
from tests.exports.exporting import plan_for
from tests.tiny_models import save_model, tiny_llama
from zetaplan.cli.app import app
from zetaplan.exports import format_names, format_of
from zetaplan.jobs.config import load_config

GIVEN: dict[str, Any] = {"lora_alpha": 16.0, "lora_dropout": 0.05, "rslora": True}


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    return tiny_llama()


def scales(model: nn.Module, config: dict[str, Any]) -> dict[str, float]:
    """The scale that PEFT gives to every linear."""
    peft = pytest.importorskip("peft", reason="peft is an extra")
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{k: v for k, v in config.items() if k != "peft_type"}))
    return {
        name.removeprefix("base_model.model."): module.scaling["default"]
        for name, module in adapted.named_modules()
        if hasattr(module, "lora_A")
    }


def test_peft_scales_every_linear_by_the_given_alpha_over_the_root_of_its_rank(llama: nn.Module) -> None:
    plan = plan_for(llama, "peft", "modules")
    config = json.loads(zp.export(plan, to="peft", model=llama, **GIVEN).text)
    assert (config["lora_dropout"], config["use_rslora"], config["lora_alpha"]) == (0.05, True, 16)
    found = scales(tiny_llama(), config)
    ranks = {name: rank for name, rank in plan.ranks.items() if rank}
    assert found == pytest.approx({name: 16 / rank**0.5 for name, rank in ranks.items()})


def test_without_settings_the_scale_is_two_for_every_rank(llama: nn.Module) -> None:
    plan = plan_for(llama, "peft")
    config = json.loads(zp.export(plan, to="peft", model=llama).text)
    assert not {"lora_dropout", "use_rslora"} & config.keys()
    assert set(scales(tiny_llama(), config).values()) == {2.0}


def test_a_given_alpha_alone_is_divided_by_the_rank(llama: nn.Module) -> None:
    plan = plan_for(llama, "peft", "modules")
    found = scales(tiny_llama(), json.loads(zp.export(plan, to="peft", model=llama, lora_alpha=7.5).text))
    assert found == pytest.approx({name: 7.5 / rank for name, rank in plan.ranks.items() if rank})


def test_axolotl_names_them_in_its_own_words(llama: nn.Module) -> None:
    config = yaml.safe_load(zp.export(plan_for(llama, "axolotl"), to="axolotl", model=llama, **GIVEN).text)
    assert (config["lora_dropout"], config["peft_use_rslora"], config["lora_alpha"]) == (0.05, True, 16)


@pytest.mark.parametrize("to", [name for name in format_names() if "ranks" not in (format_of(name).COUNTS or ())])
def test_a_format_without_lora_refuses_them(llama: nn.Module, to: str) -> None:
    with pytest.raises(zp.SpecError, match=f"lora_alpha: '{to}' has no settings of LoRA"):
        zp.export(plan_for(llama, to), to=to, model=llama, lora_alpha=16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rslora": True}, "rslora: expected lora_alpha too"),
        ({"lora_alpha": 0}, "lora_alpha: Input should be greater than 0"),
        ({"lora_dropout": 1.0}, "lora_dropout: Input should be less than 1"),
        ({"lora_dropout": "half"}, "lora_dropout: expected a share, such as 50% or 0.5, got 'half'"),
        ({"lora_alfa": 1.0}, "lora_alfa: "),
    ],
)
def test_bad_settings_are_named(llama: nn.Module, given: dict[str, Any], message: str) -> None:
    with pytest.raises(zp.SpecError, match=message):
        zp.export(plan_for(llama, "peft"), to="peft", model=llama, **given)


def test_the_command_and_the_configuration_have_them(
    llama: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(llama, tmp_path / "model")
    plan_for(llama, "peft").save("plan.json")
    line = "export plan.json --to peft --model model --lora-alpha 16 --lora-dropout 5% --rslora -o out.json"
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out.json").read_text())["use_rslora"] is True
    job = {"model": "model", "plan": {"kind": "rank"}, "export": [{"to": "peft", **GIVEN, "lora_dropout": "5%"}]}
    Path("job.yaml").write_text(yaml.safe_dump(job))
    [wanted] = load_config(Path("job.yaml")).export
    assert wanted.lora == GIVEN
