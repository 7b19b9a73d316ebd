"""Exports hit what they mean: read back by the tools' own rules, and by the tools themselves where they are here."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from torch import nn
from typer.testing import CliRunner

from tests.decoders import tiny_decoder
from tests.exports.exporting import LAYERS, MODELS, SPARSITY, UNITS, everywhere, plan_for, scores_of
from tests.tiny_models import byte_tokenizer, save_model, tiny_gpt2, tiny_llama
from zetaplan.cli.app import app
from zetaplan.errors import CertificateError, SpecError
from zetaplan.exports import check_file, export, format_names, format_of
from zetaplan.exports.addresses import linear_names, unfused_modules
from zetaplan.exports.job import job_of, units_of
from zetaplan.exports.targets import Module, linears, modules_of, outline
from zetaplan.models.apply import apply_pruning
from zetaplan.plans.kinds import kind_names, kind_of
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import score

NO_COMPRESSOR = (
    "llmcompressor is not installed, so its own reading is not compared; 0.14 wants transformers up to 5.17, "
    "so it needs an environment of its own beside the pinned 5.23"
)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return MODELS[request.param](layers=LAYERS)


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    return tiny_llama(layers=LAYERS)


@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_peft_gets_the_planned_ranks_and_scales_to_the_parameter(model: nn.Module, blocks: str, tmp_path: Path) -> None:
    plan = plan_for(model, "peft", blocks)
    export(plan, to="peft", model=model).save(tmp_path / "adapter_config.json")
    kind = type(model)
    adapted = get_peft_model(kind(model.config), LoraConfig.from_pretrained(tmp_path))
    found = {
        name.removeprefix("base_model.model."): (module.r["default"], module.scaling["default"])
        for name, module in adapted.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }
    planned = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    expected = {
        module.name: (rank, 2.0)
        for module in linears(modules_of(model))
        if (rank := planned.get(module.name, planned.get(module.block)))
    }
    assert found == expected
    assert len({rank for rank, _ in found.values()}) > 2
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trainable == plan.rounded.used
    assert trainable <= plan.instance.limit


def test_axolotl_says_what_peft_says(llama: nn.Module) -> None:
    plan = plan_for(llama, "axolotl")
    ours = yaml.safe_load(export(plan, to="axolotl", model=llama).data)
    theirs = json.loads(export(plan, to="peft", model=llama).text)
    assert ours.pop("adapter") == "lora"
    assert {key.removeprefix("lora_"): value for key, value in ours.items()} == {
        key.removeprefix("lora_"): theirs[key]
        for key in ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern")
    }
    assert all(isinstance(rank, int) and rank > 0 for rank in ours["lora_rank_pattern"].values())


@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_llm_compressor_lists_are_in_the_order_of_named_modules(llama: nn.Module, blocks: str) -> None:
    plan = plan_for(llama, "llm-compressor", blocks)
    recipe = yaml.safe_load(export(plan, to="llm-compressor", model=llama).data)
    modifier = recipe["pruning_stage"]["pruning_modifiers"]["SparseGPTModifier"]
    order = [name for name, module in llama.named_modules() if name in set(modifier["targets"])]
    assert order == modifier["targets"]
    assert len(modifier["sparsity"]) == len(order)
    removed = sum(
        round(share * llama.get_submodule(name).weight.numel())
        for name, share in zip(order, modifier["sparsity"], strict=True)
    )
    assert removed == plan.rounded.used


@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_llm_compressor_itself_takes_the_planned_shares(llama: nn.Module, blocks: str, tmp_path: Path) -> None:
    pytest.importorskip("llmcompressor", reason=NO_COMPRESSOR)
    from llmcompressor.core import State
    from llmcompressor.recipe import Recipe

    plan = plan_for(llama, "llm-compressor", blocks)
    recipe = export(plan, to="llm-compressor", model=llama).save(tmp_path / "recipe.yaml")
    [modifier] = Recipe.create_instance(str(recipe)).modifiers
    state = State()
    state.model = llama
    modifier.on_initialize(state)
    modifier.on_calibration_start(state, None)
    taken = {name.rstrip("."): modifier._module_sparsities[module] for module, name in modifier._module_names.items()}
    modifier.remove_hooks()
    assert taken == {name: share for name, share in job_of(units_of(plan), outline(llama)).shares.items() if share}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "modifier"), [("sparsegpt", "SparseGPTModifier"), ("wanda", "WandaPruningModifier")]
)
def test_llm_compressor_itself_prunes_what_apply_prunes(
    method: str, modifier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights but for ties, thresholds and its rounding of shares: row by row, down, for Wanda."""
    pytest.importorskip("llmcompressor", reason=NO_COMPRESSOR)
    from datasets import Dataset
    from llmcompressor import oneshot

    monkeypatch.chdir(tmp_path)  # it leaves a folder of logs
    ours = tiny_llama(layers=4)
    source = save_model(ours, tmp_path / "model")
    plan = plan_for(ours, "llm-compressor", "modules")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(export(plan, to="llm-compressor", model=ours).text.replace("SparseGPTModifier", modifier))
    ids = torch.randint(0, 250, (16, 48), generator=torch.Generator().manual_seed(3))
    data = Dataset.from_dict({"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist()})
    settings = {"num_calibration_samples": len(ids), "max_seq_length": ids.shape[1], "processor": byte_tokenizer()}
    theirs = oneshot(model=str(source), recipe=str(recipe), dataset=data, **settings)
    apply_pruning(ours, plan, method, {"input_ids": ids})
    agree = total = 0
    for module in linears(modules_of(ours)):
        gone, planned = (model.get_submodule(module.name).weight == 0 for model in (theirs, ours))
        agree, total = agree + int((gone == planned).sum()), total + gone.numel()
        assert abs(int(gone.sum()) - int(planned.sum())) <= module.outputs  # at most one weight per row
    assert agree / total > 0.95


@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_alphapruning_maps_its_file_back_to_the_plan(llama: nn.Module, blocks: str) -> None:
    exported = export(plan_for(llama, "alphapruning", blocks), to="alphapruning", model=llama)
    scores = torch.tensor(np.load(io.BytesIO(exported.data), allow_pickle=False))
    sizes = torch.tensor([module.weights for module in linears(modules_of(llama))], dtype=torch.float64)
    epsilon, sparsity = (
        float(re.search(rf"--{flag} (\S+)", exported.usage)[1])  # type: ignore[index]
        for flag in ("epsilon", "sparsity_ratio")
    )
    low, high = scores.min(), scores.max()
    mapped = (scores - low) / (high - low) * 2 * epsilon + 1 - epsilon
    mapped = mapped * (sizes.sum() * sparsity / (sizes * mapped).sum())
    torch.testing.assert_close(mapped, scores, rtol=1e-14, atol=1e-15)


def test_mola_has_one_entry_per_layer_and_routes_to_experts_that_exist(model: nn.Module) -> None:
    plan = plan_for(model, "mola")
    words = export(plan, to="mola", model=model).text.split()
    experts, chosen = (list(map(int, word.strip('"').split(","))) for word in words[1::2])
    assert experts == plan.rounded.units.tolist()
    assert len(chosen) == LAYERS
    assert all(1 <= k <= count for k, count in zip(chosen, experts, strict=True))
    assert set(chosen) <= {1, 2}
    wider = allocate(plan.scores, mean_rank=3, expert_rank=4, top_k=3)
    third = export(wider, to="mola", model=model).text.split()[3].strip('"').split(",")
    assert list(map(int, third)) == [min(3, count) for count in experts]
    assert plan.rounded.used == sum(4 * m.inputs * n + 4 * m.outputs * n for m, n in _by_linear(plan, model))
    with pytest.raises(SpecError, match=r"this plan counts ranks; plan kind 'experts'"):
        export(plan_for(model, "peft"), to="mola", model=model)
    with pytest.raises(SpecError, match=r"takes plans of ranks, this plan counts experts"):
        export(plan, to="peft", model=model)


def _by_linear(plan: Plan, model: nn.Module) -> list[tuple[Module, int]]:
    units = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    return [(module, units[module.block]) for module in linears(modules_of(model))]


@pytest.mark.slow
def test_the_script_removes_exactly_the_planned_counts(tmp_path: Path, model: nn.Module) -> None:
    source = save_model(model, tmp_path / "model")  # type: ignore[arg-type]
    plan = plan_for(model, "torch-prune")
    script = export(plan, to="torch-prune", model=str(source)).save(tmp_path / "prune.py")
    subprocess.run([sys.executable, str(script), str(source), str(tmp_path / "out")], check=True, capture_output=True)
    pruned = type(model).from_pretrained(tmp_path / "out")  # type: ignore[attr-defined]
    removed = dict.fromkeys(plan.names, 0)
    for module in linears(modules_of(model)):
        removed[module.block] += int((pruned.get_submodule(module.name).weight == 0).sum())
    assert list(removed.values()) == plan.rounded.units.tolist()


@pytest.mark.parametrize("to", [name for name in UNITS if name != "alphapruning"])
def test_every_format_reads_back_and_names_what_was_changed(llama: nn.Module, to: str, tmp_path: Path) -> None:
    plan = everywhere(llama) if to in ("peft", "axolotl") else plan_for(llama, to if to in SPARSITY else "mola")
    file = export(plan, to=to, model=llama).save(tmp_path / "settings")
    assert check_file(file, llama) == (to, ())
    if to == "mola":
        file.write_text(file.read_text().replace('"', '"3,', 1))
    else:
        name = r"layers\.3" if to in ("json", "csv") else r"layers(\\*)\.3(\\*)\.self_attn(\\*)\.q_proj"
        file.write_text(re.sub(name, lambda hit: hit[0].replace("3", "33"), file.read_text()))
    _, found = check_file(file, llama)
    assert any("33" in problem.key or "number_experts[12]" in problem.key for problem in found)
    assert any("would be ignored" in problem.words for problem in found)


def test_a_plan_of_another_model_is_refused(llama: nn.Module, tmp_path: Path) -> None:
    plan = plan_for(llama, "peft")
    with pytest.raises(
        CertificateError, match=r"model\.layers\.\d+: would be ignored: the model has no decoder layer or"
    ):
        job_of(units_of(plan), outline(tiny_llama(layers=2)))
    with pytest.raises(
        CertificateError, match=r"the plan counts 256 parameters per rank, the linears of this model have 512"
    ):
        export(plan, to="peft", model=tiny_llama(layers=LAYERS, hidden=32))
    with pytest.raises(CertificateError, match="would be ignored"):
        export(plan, to="json", model=tiny_gpt2(layers=LAYERS))


#: Experts in one tensor that llm-compressor and AutoRound split, whatever the checkpoints name them.
SPLIT = ("qwen3_moe", "mixtral", "granitemoe", "gpt_oss", "minimax_m2", "jamba", "nemotron_h")


@pytest.mark.parametrize("blocks", ["layers", "modules", "experts"])
@pytest.mark.parametrize("kind", SPLIT)
def test_plans_over_experts_are_exported_and_read_back(kind: str, blocks: str, tmp_path: Path) -> None:
    model = tiny_decoder(kind)
    scores = score(model, torch.arange(2, 20).reshape(2, 9), blocks=blocks)
    pruned = prune(scores, sparsity=0.5, upper=0.9)
    for to in ("json", "csv", "torch-prune", "llm-compressor"):
        settings = export(pruned, to=to, model=model)
        assert check_file(settings.save(tmp_path / settings.file), model) == (to, ())
        if to == "json":
            assert sum(json.loads(settings.text)["units"].values()) == sum(pruned.rounded.units)
    recipe = yaml.safe_load(export(pruned, to="llm-compressor", model=model).data)
    [modifier] = recipe["pruning_stage"]["pruning_modifiers"].values()
    assert any(name.endswith(".experts.3.down_proj") for name in modifier["targets"])
    with pytest.raises(SpecError, match=r"it takes linears only, and .*_proj holds experts in one tensor"):
        export(pruned, to="alphapruning", model=model)
    plain = export(pruned, to="json")
    assert check_file(plain.save(tmp_path / "plain.json"), model) == ("json", ())


@pytest.mark.parametrize("kind", SPLIT)
def test_llm_compressor_itself_splits_experts_into_the_named_linears(kind: str) -> None:
    pytest.importorskip("llmcompressor", reason=NO_COMPRESSOR)
    from llmcompressor.modeling.moe.linearize import linearize_moe

    model = tiny_decoder(kind)
    named = [module.name for module in unfused_modules(outline(model))]
    assert in_experts(named) == in_experts(name for name, _ in linearize_moe(model).named_modules()) != []


@pytest.mark.parametrize("kind", SPLIT)
def test_auto_round_itself_splits_experts_into_the_named_linears(kind: str) -> None:
    interface = pytest.importorskip(
        "auto_round.modeling.fused_moe.moe_experts_interface", reason="auto-round is not installed: pip install it"
    )
    model = tiny_decoder(kind)
    named = linear_names(outline(model))
    interface.prepare_model_for_moe_quantization(model)
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert {*in_experts(named)} == {*in_experts(linear)} != set()


def in_experts(names: Iterable[str]) -> list[str]:
    return [name for name in names if re.search(r"\.experts\.\d+\.[a-z]+_proj$", name)]


def test_the_script_removes_what_apply_removes_from_every_expert(tmp_path: Path) -> None:
    model = tiny_decoder("mixtral")
    plan = prune(score(model, torch.arange(2, 20).reshape(2, 9), blocks="experts"), sparsity=0.4, upper=0.9)
    script, source, target = tmp_path / "prune.py", save_model(model, tmp_path / "model"), tmp_path / "pruned"
    export(plan, to="torch-prune", model=model).save(script)
    done = subprocess.run([sys.executable, script, source, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    apply_pruning(model, plan, "magnitude")
    written = type(model).from_pretrained(target).state_dict()
    assert all(torch.equal(value, written[name]) for name, value in model.state_dict().items())


def test_different_ranks_in_one_tensor_are_refused() -> None:
    model = tiny_decoder("mixtral")
    plan = allocate(score(model, torch.arange(2, 20).reshape(2, 9), blocks="experts"), mean_rank=3)
    with pytest.raises(
        SpecError, match=r"the experts of one tensor get the ranks .* tools adapt the tensor as a whole"
    ):
        export(plan, to="peft", model=model)


def test_a_block_from_which_the_plan_takes_nothing_needs_no_linear() -> None:
    """The plan of a deeper model, if it takes nothing from the layers that are not there."""
    deep, model = tiny_llama(layers=4), tiny_llama(layers=3)
    plan = prune(scores_of(deep), sparsity=0.3, upper={"*": 0.9, "*.3": 0.0})
    assert plan.rounded.units[3] == 0
    assert export(plan, to="torch-prune", model=model).text.count("layers.2") > 0


@pytest.mark.parametrize(
    ("to", "blocks", "said"),
    [
        ("alphapruning", "layers", "takes plans of weights, this plan counts"),
        ("yaml", "layers", "expected one of alphapruning, auto-round, axolotl, "),
        ("mola", "modules", "needs one per layer; plan over layers"),
    ],
)
def test_what_does_not_fit_is_refused(llama: nn.Module, to: str, blocks: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        export(plan_for(llama, "mola", blocks), to=to, model=llama)


def test_without_a_model_only_plain_tables(llama: nn.Module) -> None:
    plan = plan_for(llama, "peft")
    assert json.loads(export(plan, to="json").text)["units"] == dict(
        zip(plan.names, plan.rounded.units.tolist(), strict=True)
    )
    with pytest.raises(SpecError, match=r"give model \(--model\)"):
        export(plan, to="peft")


def test_conv1d_is_refused_where_it_would_be_passed_over() -> None:
    gpt2 = tiny_gpt2(layers=2)
    for to in ("llm-compressor", "alphapruning"):
        with pytest.raises(SpecError, match=r"prunes nn\.Linear only, this model has Conv1D; use torch-prune"):
            export(plan_for(gpt2, to), to=to, model=gpt2)


@pytest.mark.parametrize("to", format_names())
def test_every_format_keeps_the_contract(to: str) -> None:
    form: Any = format_of(to)
    assert {*(form.COUNTS or ())} <= {"formats", *(kind_of(name).counts for name in kind_names())}
    assert form.FILE
    assert (form.__doc__ or "").strip()


def test_the_command_writes_and_says_how_to_use_it(llama: nn.Module, tmp_path: Path) -> None:
    folder = save_model(llama, tmp_path / "model")  # type: ignore[arg-type]
    (folder / "model.safetensors").unlink()  # the config is enough
    plan = plan_for(llama, "peft").save(tmp_path / "plan.json")
    out = tmp_path / "adapter_config.json"
    done = CliRunner().invoke(app, ["export", str(plan), "--to", "peft", "--model", str(folder), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "every entry matches exactly its modules" in done.output
    assert check_file(out, str(folder)) == ("peft", ())
    for file in (plan, out):
        fits = CliRunner().invoke(app, ["apply", str(folder), str(file), "--check"])
        assert fits.exit_code == 0, fits.output
    out.write_text(out.read_text().replace("^model", "^model2"))
    wrong = CliRunner().invoke(app, ["apply", str(folder), str(out), "--check"])
    assert wrong.exit_code == 1
    assert "would be ignored: the tool finds no module of this name" in wrong.stderr
    bad = CliRunner().invoke(app, ["export", str(plan), "--to", "pfet"])
    assert bad.exit_code == 2
