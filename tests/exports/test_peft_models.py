"""PEFT trains what the plan says, module by module, after an export for any type of model that it rewrites."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from transformers import CONFIG_MAPPING

from tests.exports.architectures import tiny
from tests.exports.exporting import owner, scores_of
from zetaplan.errors import CertificateError, ScoringError, SpecError
from zetaplan.exports import check_file, export
from zetaplan.exports.formats.axolotl import NAMES
from zetaplan.exports.targets import modules_of, outline
from zetaplan.models.adapters import adapter
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate

peft = pytest.importorskip("peft", reason="PEFT (extra peft) is not installed")
from peft.utils.transformers_weight_conversion import (  # noqa: E402
    _MODEL_TO_CONVERSION_PATTERN,
    _MOE_TARGET_MODULE_MAPPING,
)

#: Every type of model whose targets PEFT rewrites, from its own table.
REWRITTEN = sorted(kind for kind, like in _MODEL_TO_CONVERSION_PATTERN.items() if like in _MOE_TARGET_MODULE_MAPPING)
ORDINARY = [
    "llama",
    "gpt2",
    "qwen3",
    "gemma3_text",
    "opt",
    "gpt_neox",
    "phi",
    "bloom",
    "olmo2",
    "starcoder2",
    "smollm3",
]
#: Types of that table that are no causal language models of transformers, or have no list of decoder layers.
UNSCORABLE = {
    "longcat_flash",
    "Dots3NoteTextModel",
    "UnlimitedOcrTextModel",
    "glm4v_moe",
    "qwen3_omni_moe",
    "qwen3_omni_moe_text",
    "qwen3_omni_moe_thinker",
}
DENSE = {"first_k_dense_replace": 2, "mlp_layer_types": ["dense", "dense"], "num_dense_layers": 2}


def planned(model: nn.Module, blocks: str) -> Plan:
    return allocate(scores_of(model, blocks), mean_rank=2, lower={"*.0*": 1})


def trained(model: nn.Module, config: Mapping[str, object]) -> dict[str, int]:
    """The parameters that can be trained, by the linear that they adapt."""
    adapted = peft.get_peft_model(model, peft.LoraConfig(**config))
    found: dict[str, int] = {}
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            key = name.partition(".lora_")[0].removeprefix("base_model.model.").replace(".base_layer", "")
            found[key] = found.get(key, 0) + parameter.numel()
    return found


def expected(plan: Plan, model: nn.Module) -> dict[str, int]:
    units = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    sizes: dict[str, int] = {}
    for m in outline(model).planned:  # PEFT nests the adapters of several tensors of one module
        rank, name = units.get(owner(m), units.get(m.block, 0)), owner(m)
        sizes[name] = sizes.get(name, 0) + rank * m.count * (m.inputs + m.outputs)
    return {name: size for name, size in sizes.items() if size}


def dense(kind: str) -> dict[str, object]:
    """What makes a model of this type one without experts, if its config can say that."""
    known = CONFIG_MAPPING[kind]()
    return {key: value for key, value in DENSE.items() if hasattr(known, key)}


@pytest.mark.parametrize("kind", [kind for kind in REWRITTEN if kind not in UNSCORABLE] + ORDINARY)
def test_peft_trains_the_plan(kind: str) -> None:
    """A model with experts planned by linears, and one without, if there is any, by layers."""
    for blocks, model in (("modules", tiny(kind)), ("layers", tiny(kind, **dense(kind)))):
        plan = planned(model, blocks)
        config = json.loads(export(plan, to="peft", model=model).text)
        merged = yaml.safe_load(export(plan, to="axolotl", model=model).data)
        given = {key: merged[name] for key, name in NAMES.items() if name in merged}
        assert given == {key: config[key] for key in config.keys() & NAMES.keys()}
        wanted = expected(plan, model)
        assert trained(model, config) == wanted


@pytest.mark.parametrize("kind", sorted(UNSCORABLE))
def test_types_that_are_left_out_cannot_be_scored(kind: str) -> None:
    with pytest.raises((KeyError, ValueError, ScoringError)):
        modules_of(tiny(kind))


def deepseek(device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    return tiny("deepseek_v3", device=device, **DENSE_DEEPSEEK).eval()


DENSE_DEEPSEEK = {"first_k_dense_replace": 2, "head_dim": 4}


def test_a_dense_deepseek_is_adapted_everywhere_and_loads_again(tmp_path: Path) -> None:
    """PEFT took 1,344 of 2,976 such parameters out of training, because it looks for experts in the place of mlp."""
    model = deepseek()
    plan = planned(model, "layers")
    bare = deepseek("meta")
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert export(plan, to="peft", model=model).text == export(plan, to="peft", model=bare).text
    export(plan, to="axolotl", model=model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    wanted = expected(plan, model)
    adapted = adapter(model, plan)
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == plan.rounded.used == sum(wanted.values())
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    ids = torch.arange(12).view(2, 6)
    adapted.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(deepseek(), tmp_path)
    torch.testing.assert_close(again(ids).logits, adapted(ids).logits)
    assert not torch.equal(again(ids).logits, deepseek()(ids).logits)


def test_an_adapter_of_parameters_takes_no_dropout() -> None:
    with pytest.raises(
        SpecError, match=r"dropout = 0.1: PEFT adapts model\.layers\.0\.mlp\.gate_proj\.weight as a par"
    ):
        adapter(deepseek(), planned(deepseek(), "layers"), dropout=0.1)


@pytest.mark.parametrize("to", ["peft", "axolotl"])
@pytest.mark.parametrize("kind", ["mamba", "falcon_h1", "nemotron_h"])
def test_linears_that_peft_refuses_are_named(kind: str, to: str) -> None:
    model = tiny(kind)
    with pytest.raises(CertificateError, match=r"layers\.0\.\w+\.out_proj: PEFT raises an error: .*incompatible"):
        export(planned(model, "modules"), to=to, model=model)
    without = allocate(scores_of(model, "modules"), mean_rank=2, upper={"*.out_proj": 0})
    wanted = expected(without, model)
    assert trained(model, json.loads(export(without, to="peft", model=model).text)) == wanted


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        (["gate_proj", "up_proj", "down_proj", "o_proj"], "model.layers.0.mlp.gate_proj"),
        (["down_proj"], "model.layers.0.mlp.down_proj"),
        (
            ["gate_proj", "o_proj"],
            "model.layers.0.mlp.gate_proj",
        ),  # one half of a pair that PEFT fuses: it raises an error
        (r".*layers\.0\.self_attn\.o_proj", "model.layers.1.self_attn.o_proj"),  # it keeps the last name only
        ("all-linear", "model.layers.0.mlp.gate_proj"),
        (["o_proj"], ""),
    ],
)
def test_targets_that_peft_rewrites_are_found_in_files_of_others(targets: object, named: str, tmp_path: Path) -> None:
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA", "r": 2, "target_modules": targets}))
    _, found = check_file(file, deepseek("meta"))
    assert bool(found) == bool(named)
    assert not named or any(problem.key.endswith(named) for problem in found)


def test_targets_that_peft_moves_to_experts_fit(tmp_path: Path) -> None:
    """Experts in one tensor are parameters, to which PEFT moves the names that they had."""
    file = tmp_path / "adapter_config.json"
    every = ["gate_proj", "up_proj", "down_proj", "q_proj"]
    file.write_text(json.dumps({"peft_type": "LORA", "r": 2, "target_modules": every}))
    assert check_file(file, tiny("qwen3_moe")) == ("peft", ())
    _, found = check_file(file, tiny("qwen3_next"))  # its shared expert is three linears, which are left out
    assert any(problem.key.endswith("shared_expert.gate_proj") for problem in found)


def test_without_peft_the_usage_says_that_it_was_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tiny("llama")
    asked = export(planned(model, "modules"), to="peft", model=model)
    monkeypatch.setitem(sys.modules, "peft", None)
    for to in ("peft", "axolotl"):
        made = export(planned(model, "modules"), to=to, model=model)
        assert "PEFT is not installed, so whether it rewrites" in made.usage
        assert check_file(made.save(tmp_path / "settings"), model) == (to, ())
    assert "not asked" not in asked.usage
    with pytest.raises(SpecError, match="PEFT is not installed"):
        adapter(model, planned(model, "modules"))
