"""Folders of planned values and packed checkpoints: what transformers and compressed-tensors read back."""

from __future__ import annotations

import json
import re
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from tests.bits_plans import plan_of, planned_bytes
from tests.tiny_models import save_model, tiny_gpt2, tiny_llama
from zetaplan._files import file_digest
from zetaplan.errors import SpecError
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.checkpoints import Source, find_form, form_names, require_storable
from zetaplan.models.quantize import planned_formats, rounded_matrices
from zetaplan.models.quantizers import find_quantizer
from zetaplan.scoring import load_model, read_sequences

SYMMETRIC = ("int4-g32", "gptq3-g16", "int8", "int5-g64", "int2-g32", "int6", "int7-g32")
ASYMMETRIC = ("int4-g32-asym", "gptq3-g16-asym", "int8-asym", "int5-g64-asym", "int2-g32-asym", "int6-asym", "int4-g64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose norms and embedding are stored in bfloat16, and so exactly by vLLM's rules too."""
    model = tiny_llama(hidden=64, tie_word_embeddings=False).to(torch.bfloat16)
    return save_model(model, tmp_path_factory.mktemp("models") / "tiny")


def of_linears(model: nn.Module, labels: tuple[str, ...], sha256: str, runtime: str = "vllm") -> ChoicePlan:
    turn = cycle(labels)
    return plan_of(model, lambda weight: next(turn) if weight.layer else "bf16", sha256=sha256, runtime=runtime)


def source_of(folder: Path) -> Source:
    return Source(
        str(folder),
        load=lambda: load_model(folder, dtype="float32"),
        text=lambda loaded: read_sequences(["pydoc"], loaded.tokenizer, sequences=4, length=24),
    )


def written(form: str, folder: Path, plan: ChoicePlan, out: Path) -> dict[str, Any]:
    formats = planned_formats(plan)
    require_storable(find_form(form), formats)
    return find_form(form).write(formats, source_of(folder), out)


def expected(folder: Path, plan: ChoicePlan) -> tuple[nn.Module, dict[str, Any]]:
    """The model with its rounded values, and the records of every matrix."""
    source = source_of(folder)
    loaded = source.load()
    records = rounded_matrices(loaded.model, planned_formats(plan), source.text(loaded))
    return loaded.model, {record.weight.module: record for record in records}


def test_forms_are_found() -> None:
    assert form_names() == ("compressed-tensors", "gguf", "safetensors")
    with pytest.raises(SpecError, match="to = 'awq': expected one of compressed-tensors, gguf, safetensors"):
        find_form("awq")


def test_a_folder_of_planned_values_is_read_back_exactly(folder: Path, tmp_path: Path) -> None:
    plan = of_linears(load_model(folder).model, (*ASYMMETRIC, "q4_0", "mxfp4"), load_model(folder).sha256)
    facts = written("safetensors", folder, plan, tmp_path / "out")
    model, records = expected(folder, plan)
    found = load_model(tmp_path / "out")
    assert dict(found.model.named_parameters()).keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, found.model.get_parameter(name)), name
    assert facts["calibration"]
    assert not facts["notes"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert facts["model_sha256"] in card
    assert facts["plan_sha256"] in card
    assert len(records) == 16


def test_the_manifest_describes_every_file_and_tensor(folder: Path, tmp_path: Path) -> None:
    plan = of_linears(load_model(folder).model, SYMMETRIC, load_model(folder).sha256)
    for form in ("safetensors", "compressed-tensors"):
        facts, out = written(form, folder, plan, tmp_path / form), tmp_path / form
        assert json.loads((out / "zetaplan.json").read_text()) == facts
        assert facts["files"] == {
            path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(out.iterdir())
            if path.name != "zetaplan.json"
        }
        with safe_open(out / "model.safetensors", "pt") as tensors:
            stored = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
        assert {name: each["bytes"] for name, each in facts["tensors"].items()} == {
            name: tensor.nbytes for name, tensor in stored.items()
        }
        assert facts["formats"] == plan.taken
        kept = {name for name, each in facts["tensors"].items() if each["format"] == "kept"}
        assert kept == {name for name, _ in load_model(folder).model.named_parameters() if "norm" in name}


@pytest.mark.parametrize("labels", [SYMMETRIC, ASYMMETRIC], ids=["symmetric", "asymmetric"])
def test_the_packed_bytes_are_the_planned_ones(labels: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    plan = of_linears(load_model(folder).model, labels, load_model(folder).sha256)
    facts = written("compressed-tensors", folder, plan, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(tensor.nbytes for tensor in stored.values()) == planned_bytes(plan, "vllm")
    assert sum(facts["bytes"].values()) == planned_bytes(plan, "vllm")


@pytest.mark.parametrize("labels", [SYMMETRIC, ASYMMETRIC], ids=["symmetric", "asymmetric"])
def test_compressed_tensors_unpacks_the_planned_codes_scales_and_values(
    labels: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    """By its own packing code and its own scheme, read from the written configuration."""
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    from compressed_tensors.quantization import QuantizationConfig

    plan = of_linears(load_model(folder).model, labels, load_model(folder).sha256)
    written("compressed-tensors", folder, plan, tmp_path / "out")
    _, records = expected(folder, plan)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    schemes = {
        name: scheme
        for scheme in QuantizationConfig.model_validate(config).config_groups.values()
        for name in scheme.targets
    }
    assert set(schemes) == {module for module, record in records.items() if record.codes}
    for module, scheme in schemes.items():
        tensors = {name.rpartition(".")[2]: value for name, value in stored.items() if name.startswith(f"{module}.")}
        [codes] = records[module].codes
        bits = scheme.weights.num_bits
        q = unpack_from_int32(tensors["weight_packed"], bits, codes.q.shape)
        assert torch.equal(q.int() + 2 ** (bits - 1), codes.q.int())
        assert torch.equal(tensors["weight_scale"].float(), codes.scale.float())
        if not scheme.weights.symmetric:
            zero = unpack_from_int32(tensors["weight_zero_point"], bits, codes.zero.shape, packed_dim=0)
            assert torch.equal(zero.int() + 2 ** (bits - 1), codes.zero.int())
        wide: dict[str, Tensor] = {**tensors, "weight_scale": tensors["weight_scale"].float()}
        assert torch.equal(PackedQuantizationCompressor.decompress(wide, scheme)["weight"], codes.values)


def test_transformers_loads_the_packed_checkpoint_with_the_planned_values(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    plan = of_linears(load_model(folder).model, SYMMETRIC, load_model(folder).sha256)
    written("compressed-tensors", folder, plan, tmp_path / "out")
    model, _ = expected(folder, plan)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = torch.arange(24)[None]
    with torch.no_grad():
        assert torch.equal(found(ids).logits, model(ids).logits)  # the first pass unpacks the weights
    for name, parameter in model.named_parameters():
        assert torch.equal(found.get_parameter(name), parameter), name


def test_groups_name_every_linear_once_and_ignore_the_rest(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder).model
    labels = ("int4-g32", "bf16", "int4-g32", "gptq4-g32", "int8-asym")
    written("compressed-tensors", folder, of_linears(model, labels, load_model(folder).sha256), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    groups = [set(group["targets"]) for group in config["config_groups"].values()]
    linears = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert len(groups) == 2  # gptq4-g32 is stored like int4-g32
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert set.union(*groups) | set(config["ignore"]) == linears
    assert not set.union(*groups) & set(config["ignore"])
    assert "lm_head" in config["ignore"]


def test_notes_say_what_vllm_and_transformers_refuse(folder: Path, tmp_path: Path) -> None:
    model, sha256 = load_model(folder).model, load_model(folder).sha256
    same = written("compressed-tensors", folder, of_linears(model, ("int4-g32",), sha256), tmp_path / "same")
    assert same["notes"] == []
    mixed = written("compressed-tensors", folder, of_linears(model, ASYMMETRIC, sha256), tmp_path / "mixed")
    split, zeros = mixed["notes"]
    assert re.search(
        r"vLLM refuses this checkpoint: it stores .*q_proj.* and .*k_proj.* in one tensor.*\(4 such", split
    )
    assert "cannot load packed zero points" in zeros


@pytest.mark.parametrize(
    ("form", "label", "said"),
    [
        ("compressed-tensors", "q4_0", "compressed-tensors has no such type; use intB-gN or gptqB-gN"),
        ("compressed-tensors", "f16", "unquantised tensors are stored in bf16"),
        ("gguf", "int4-g32", "GGUF has no such type"),
        ("safetensors", "int4-g48", "64 columns are no multiple of its group of 48"),
    ],
)
def test_a_format_that_the_form_cannot_store_is_named_before_any_work(form: str, label: str, said: str) -> None:
    plan = plan_of(tiny_llama(hidden=64), lambda weight: label if weight.layer else "bf16", sha256="0" * 64)
    with pytest.raises(SpecError, match=rf"plan: 'model.layers.0.self_attn.q_proj.weight' takes {label}: {said}"):
        require_storable(find_form(form), planned_formats(plan))


def test_stacks_and_transposed_linears_have_no_packed_form() -> None:
    plan = plan_of(tiny_gpt2(hidden=32), lambda weight: "int4-g32" if weight.layer else "bf16", sha256="0" * 64)
    with pytest.raises(SpecError, match="no packed form for transposed linears; use bf16"):
        require_storable(find_form("compressed-tensors"), planned_formats(plan))


def test_a_plan_of_another_model_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    other = of_linears(tiny_llama(hidden=64, tie_word_embeddings=False), ("int8",), "0" * 64)
    with pytest.raises(SpecError, match=r"plan: it was made for the weights of 'tiny' \(sha256 000000000000\)"):
        written("safetensors", folder, other, tmp_path / "out")
    shorter = of_linears(tiny_llama(hidden=64, layers=3), ("int8",), load_model(folder).sha256)
    with pytest.raises(SpecError, match=r"plan: matrix 'model.layers.2.* is not in the model \(and 6 more\)"):
        written("safetensors", folder, shorter, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_scales_of_the_checkpoint_are_the_planned_ones_in_both_number_types(folder: Path, tmp_path: Path) -> None:
    """vLLM reads scales in the model's number type: bfloat16 here, float16 for --dtype float16."""
    plan = of_linears(load_model(folder).model, ("int4-g32",), load_model(folder).sha256)
    written("compressed-tensors", folder, plan, tmp_path / "out")
    for name, tensor in load_file(tmp_path / "out" / "model.safetensors").items():
        if name.endswith("scale"):
            assert tensor.dtype == torch.bfloat16
            assert torch.equal(tensor.half().float(), tensor.float())
    assert find_quantizer("int4-g32").codes(torch.ones(1, 32)).scale.dtype == torch.float16
