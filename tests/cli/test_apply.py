"""`zetaplan apply` with plans of formats: exit codes, one line on an error, and nothing left of a failed run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from tests.bits_plans import plan_of, planned_bytes
from tests.cli.test_outputs import full_disk
from tests.models.test_checkpoints_folders import of_linears
from tests.tiny_gguf import tiny_gguf
from tests.tiny_models import tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose
from zetaplan.plans.planner import prune
from zetaplan.scoring import load_model, score

pytest.importorskip("gguf", reason="the extra gguf is not installed")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    loaded = load_model(tiny_llama_dir(tmp_path, hidden=64))
    plan_of(loaded.model, ("int4-g32", "q4_0", "bf16"), sha256=loaded.sha256, runtime="mlx").save("plan.json")
    of_linears(loaded.model, ("gptq4-g32",), loaded.sha256).save("packed.json")
    source = load_model(tiny_gguf(tmp_path / "tiny.gguf"))
    plan_of(source.model, ("q4_0", "q8_0", "mxfp4"), sha256=source.sha256).save("gguf.json")


def run(*line: str) -> Result:
    return CliRunner().invoke(app, ["apply", *line])


def refused(*line: str) -> str:
    before = state()
    result = run(*line, "--quiet")
    assert result.exit_code == 2, (result.output, result.exception)
    [said] = result.stderr.splitlines()
    assert not result.stdout
    assert state() == before
    return said.removeprefix("zetaplan: ")


def state() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.parts[0] != "cache"}


def test_every_form_is_written_and_described() -> None:
    lines = {
        ("tiny.gguf", "gguf.json", "--to", "gguf"): "quantized.gguf",
        ("tiny-llama", "plan.json", "--to", "safetensors", "-o", "values"): "values",
        ("tiny-llama", "packed.json", "--to", "compressed-tensors", "--sequences", "4", "--length", "24"): "quantized",
    }
    for line, out in lines.items():
        done = run(*line)
        assert done.exit_code == 0, (done.output, done.exception)
        assert f"written: {out}" in done.stdout + done.stderr
        assert Path(out).exists()
    assert (
        "15 tensors rounded (5 in mxfp4, 5 in q4_0, 5 in q8_0)"
        in run("tiny.gguf", "gguf.json", "--to", "gguf", "-o", "again.gguf").output
    )
    assert Path("again.gguf").read_bytes() == Path("quantized.gguf").read_bytes()


def test_streamed_formats_are_those_of_the_loaded_model() -> None:
    for options in ((), ("--stream",)):
        done = run("tiny-llama", "plan.json", "--to", "safetensors", "-o", f"values{len(options)}", *options)
        assert done.exit_code == 0, (done.output, done.exception)
    whole, found = (json.loads(Path(f"values{number}/zetaplan.json").read_text()) for number in (0, 1))
    assert {**whole, "files": 0} == {**found, "files": 0}
    for options in ((), ("--stream",)):
        text = ("--sequences", "4", "--length", "24", "-o", f"packed{len(options)}", *options)
        done = run("tiny-llama", "packed.json", "--to", "compressed-tensors", *text)
        assert done.exit_code == 0, (done.output, done.exception)
    whole, found = (json.loads(Path(f"packed{number}/zetaplan.json").read_text()) for number in (0, 1))
    assert {**whole, "files": 0} == {**found, "files": 0}


def test_a_streamed_model_is_pruned_to_the_same_weights() -> None:
    loaded = load_model("tiny-llama")
    prune(score(loaded, torch.arange(40).reshape(4, 10)), sparsity=0.5).save("pruning.json")
    for options in ((), ("--stream",)):
        out = f"pruned{len(options)}"
        done = run("tiny-llama", "pruning.json", "-o", out, "--sequences", "4", "--length", "24", *options)
        assert done.exit_code == 0, (done.output, done.exception)
    whole, found = (load_model(f"pruned{number}").model for number in (0, 1))
    assert all(torch.equal(value, found.get_parameter(name)) for name, value in whole.named_parameters())
    assert Path("pruned0/zetaplan.json").read_text() == Path("pruned1/zetaplan.json").read_text()


def test_json_is_the_manifest_and_quiet_is_silent() -> None:
    done = run("tiny.gguf", "gguf.json", "--to", "gguf", "--json")
    facts = json.loads(done.stdout)
    assert facts == json.loads(Path("quantized.gguf.json").read_text())
    assert Counter(facts["formats"].values()) == {"q4_0": 5, "q8_0": 5, "mxfp4": 5}
    quiet = run("tiny.gguf", "gguf.json", "--to", "gguf", "-o", "other.gguf", "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")


def test_what_is_refused_in_one_line() -> None:
    gguf = ("tiny.gguf", "gguf.json", "--to", "gguf")
    Path("taken.gguf").write_text("mine")
    Path("quantized.gguf.json").write_text("mine")
    assert "quantized.gguf.json already exists" in refused(*gguf)
    assert "taken.gguf already exists" in refused(*gguf, "-o", "taken.gguf")
    assert "tiny.gguf already exists" in refused(*gguf, "-o", "tiny.gguf")
    assert "out = new: expected the name of a .gguf file" in refused(*gguf, "-o", "new")
    assert "its parent is no writable folder" in refused(*gguf, "-o", "no/new.gguf")
    assert "to = 'awq': expected one of" in refused("tiny.gguf", "gguf.json", "--to", "awq")
    assert "convert_hf_to_gguf.py" in refused("tiny-llama", "gguf.json", "--to", "gguf", "-o", "new.gguf")
    assert "takes int4-g32: GGUF has no such type" in refused("tiny.gguf", "plan.json", "--to", "gguf", "-o", "a.gguf")
    assert "sha256" in refused("tiny.gguf", "plan.json")
    assert "would round the values again" in refused("tiny-llama", "plan.json", "--dtype", "bfloat16")
    assert "there is no file none.gguf" in refused("none.gguf", "gguf.json", "--to", "gguf", "-o", "new.gguf")
    assert "data: cannot read none.txt" in refused("tiny-llama", "packed.json", "--data", "none.txt")
    cut = Path("tiny.gguf").read_bytes()[:5000]
    Path("cut.gguf").write_bytes(cut)
    assert "damaged or no GGUF model" in refused("cut.gguf", "gguf.json", "--to", "gguf", "-o", "new.gguf")


def test_plans_of_something_else_are_refused() -> None:
    model = load_model("tiny-llama").model
    choose(Menu(("q",), (("2", "4"),), ((9, 1),), (((2,), (4,)),)), 4).save("choice.json")
    assert "it decides no formats" in refused("tiny-llama", "choice.json")
    plan_of(tiny_llama(hidden=256), ["q4_k"], sha256="0" * 64).save("k.json")
    assert "only llama.cpp can round to it; export the plan for llama-quantize" in refused("tiny-llama", "k.json")
    batch = {"input_ids": model.dummy_inputs["input_ids"], "attention_mask": model.dummy_inputs["input_ids"] >= 0}
    prune(score(model, batch), sparsity=0.5).save("sparsity.json")
    assert "to = 'gguf': a sparsity plan is written as safetensors" in refused(
        "tiny-llama", "sparsity.json", "--method", "magnitude", "--to", "gguf"
    )


def test_a_quantised_model_is_refused_with_the_tools_name() -> None:
    config = json.loads(Path("tiny-llama/config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    Path("tiny-llama/config.json").write_text(json.dumps(config))
    assert "tiny-llama is already quantised, by gptq; give the model that it was made from" in refused(
        "tiny-llama", "plan.json"
    )


def test_other_weights_are_applied_on_request() -> None:
    other = tiny_gguf(Path("other.gguf"), seed=1)
    line = (str(other), "gguf.json", "--to", "gguf", "-o", "new.gguf")
    assert "give --other-weights if they are a conversion" in refused(*line)
    assert run(*line, "--other-weights").exit_code == 0
    assert json.loads(Path("new.gguf.json").read_text())["model_sha256"] == load_model(other).sha256


def test_check_compares_without_writing() -> None:
    assert run("tiny-llama", "plan.json", "--check").exit_code == 0
    assert run("tiny.gguf", "gguf.json", "--check").exit_code == 0
    wrong = run("tiny-llama", "gguf.json", "--check")
    assert wrong.exit_code == 1
    assert "the plan was made for other weights" in wrong.stderr
    assert "'model.embed_tokens.weight' has the shape 257 x 64, the plan was made for 258 x 64" in wrong.stderr
    assert "more; --json lists all" in wrong.stderr
    listed = json.loads(run("tiny-llama", "gguf.json", "--check", "--json").stdout)
    assert (listed["fits"], len(listed["mismatches"])) == (False, 8)
    shapes = json.loads(run("tiny-llama", "gguf.json", "--check", "--json", "--other-weights").stdout)
    assert len(shapes["mismatches"]) == 7
    assert not Path("quantized").exists()


@pytest.mark.parametrize("room", [100, 5_000, 60_000])
@pytest.mark.parametrize("form", ["gguf", "safetensors", "compressed-tensors"])
def test_a_full_disk_is_one_line_and_leaves_nothing(form: str, room: int) -> None:
    line = {
        "gguf": ("tiny.gguf", "gguf.json", "-o", "new.gguf"),
        "safetensors": ("tiny-llama", "plan.json", "-o", "new"),
        "compressed-tensors": ("tiny-llama", "packed.json", "-o", "new", "--sequences", "2", "--length", "16"),
    }[form]
    with full_disk(room):
        assert "cannot write new" in refused(*line, "--to", form)


def test_the_files_tensors_have_the_planned_bytes() -> None:
    from zetaplan.documents.choices import load_choice

    assert run("tiny.gguf", "gguf.json", "--to", "gguf").exit_code == 0
    stored = json.loads(Path("quantized.gguf.json").read_text())["bytes"]
    assert sum(stored.values()) == planned_bytes(load_choice("gguf.json"))
