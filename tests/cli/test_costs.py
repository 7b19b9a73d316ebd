"""What a command does not do: import slow packages that it does not need, or read weights where shapes are enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import torch
from typer.testing import CliRunner

import zetaplan
from tests.bits_plans import plan_of
from tests.tiny_gguf import tiny_gguf
from tests.tiny_models import tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.documents.choices import save_choice
from zetaplan.documents.convert import save_plan
from zetaplan.plans.plan import Plan
from zetaplan.scoring import Scores
from zetaplan.scoring.model import gguf
from zetaplan.scoring.model.load import load_model

#: Packages that a command may import beyond those of the rows above it, and the commands.
MATRIX: list[tuple[set[str], list[str]]] = [
    (set(), ["--version", "verify --help", "list surrogates", "list pruners", "list estimators", "list kinds"]),
    (
        {"numpy"},
        [
            "list quantizers",
            "list runtimes",
            "verify f.json",
            "choose m.json --budget 1e6 --out c.json",
            "quantize m.json --bits-per-weight 16 --out q.json",
            "verify q.json",
        ],
    ),
    ({"jinja2"}, ["report f.json --out f.html"]),
    ({"sympy"}, ["list programs", "list formats"]),
    (
        {"scipy"},
        [
            "allocate s.json --out n.json --force",
            "prune s.json --out n.json --force",
            "verify r.json",
            "verify p.json",
            "export p.json --to csv --out n.csv",
            "report r.json --out r.html",
            "report p.json --out p.html",
            "regret r.json --drift 10%",
            "regret p.json --drift 10%",
            "sweep s.json --from 1 --to 4",
        ],
    ),
]
HEAVY = {
    *("numpy", "sympy", "sympy.physics", "scipy", "scipy.optimize", "scipy.stats", "numba", "jinja2"),
    *("torch", "transformers", "cvxpy", "matplotlib", "pandas", "multiprocessing"),
}
ROWS = """
import sys
from typer.testing import CliRunner
from zetaplan.cli.app import app
for line in sys.argv[1:]:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 0, (line, result.output)
    print(*sys.modules)
"""


@pytest.fixture
def files(scores: Scores, plans: dict[str, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    zetaplan.save_scores(scores, "s.json")
    save_plan(plans["allocation"], "r.json")
    save_plan(plans["pruning"], "p.json")
    formats = plan_of(tiny_llama(), ("bf16", "f16"), sha256="0" * 64)
    save_choice(formats, "f.json")
    zetaplan.save_menu(formats.menu, "m.json")
    return tmp_path


def test_no_command_imports_what_it_does_not_need(files: Path) -> None:
    lines = [line for _, row in MATRIX for line in row]
    done = subprocess.run([sys.executable, "-c", ROWS, *lines], capture_output=True, text=True, cwd=files)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    allowed: set[str] = set()
    for packages, row in MATRIX:
        allowed |= packages
        for line in row:
            found = HEAVY & set(shown.pop(0).split())
            assert found <= allowed, f"{line} imports {found - allowed}"


def test_intervals_do_not_import_scipy_stats(files: Path) -> None:
    code = [sys.executable, "-c", ROWS, "verify r.json", "report r.json", "regret r.json"]
    assert "scipy.stats" not in subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture
def _no_weights(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to read tensors fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr(safetensors, "safe_open", refuse)
    monkeypatch.setattr("transformers.modeling_utils.safe_open", refuse)
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    monkeypatch.setattr(gguf, "_convert", refuse)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A GGUF file that was never converted, and a folder of which only the config is left, with plans of both."""
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tiny_llama_dir(tmp_path)
    tiny_gguf(tmp_path / "tiny.gguf")
    for name, source in (("folder", folder), ("file", tmp_path / "tiny.gguf")):
        loaded = load_model(source, cache=tmp_path / "other")
        found = zetaplan.score(loaded, {"input_ids": torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])}, cache=False)
        save_plan(zetaplan.allocate(found, mean_rank=2), f"{name}-ranks.json")
        save_plan(zetaplan.prune(found, sparsity=0.5), f"{name}-sparsity.json")
        save_choice(plan_of(loaded.model, ("f16", "bf16"), sha256=loaded.sha256), f"{name}-formats.json")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    return {"folder": str(folder), "file": "tiny.gguf"}


@pytest.mark.usefixtures("_no_weights")
def test_commands_of_shapes_read_no_weights(models: dict[str, str]) -> None:
    for name, model in models.items():
        lines = [
            f"export {name}-ranks.json --to peft --model {model} --out {name}.json",
            f"export {name}-sparsity.json --to llm-compressor --model {model} --out {name}.yaml",
            f"export {name}-formats.json --to llama-quantize --model {model} --out {name}.txt",
            f"apply {model} {name}-ranks.json --check",
            f"apply {model} {name}-sparsity.json --check",
            f"apply {model} {name}-formats.json --check --other-weights",
        ]
        for line in lines:
            result = CliRunner().invoke(app, line.split())
            assert result.exit_code == 0, (line, result.output, result.exception)


@pytest.mark.usefixtures("_no_weights")
def test_check_knows_other_weights_of_a_file_that_was_never_converted(models: dict[str, str]) -> None:
    assert CliRunner().invoke(app, ["apply", models["file"], "file-formats.json", "--check"]).exit_code == 0
    tiny_gguf(Path("tiny.gguf"), seed=1)
    wrong = CliRunner().invoke(app, ["apply", models["file"], "file-formats.json", "--check"])
    assert wrong.exit_code == 1
    assert "made for other weights" in wrong.stderr


def test_the_header_describes_the_converted_model(models: dict[str, str]) -> None:
    file = Path(models["file"])
    header, converted = gguf.gguf_config(file), load_model(file).model.config
    assert gguf.gguf_config(file).to_dict().items() >= {"architectures": ["LlamaForCausalLM"]}.items()
    different = {key for key, value in converted.to_dict().items() if header.to_dict().get(key) != value}
    assert different <= {"_name_or_path", "architectures", "dtype", "torch_dtype"}


def test_progress_covers_the_forward_pass_and_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    batch = {"input_ids": torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])}
    model = tiny_llama()
    zetaplan.score(model, batch, held_out=batch, progress=True, cache=False)
    shown = capsys.readouterr().err
    modules = 2 * (7 + 2)  # linears and norms
    assert f"{2 * modules}/{2 * modules}" in shown
    assert "steps: 100%" in shown
