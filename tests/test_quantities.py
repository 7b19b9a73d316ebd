"""Shares, counts and sizes as people write them, the same in Python, in YAML files and at the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import zetaplan as zp
from tests.made import made_scores
from zetaplan._digits import percent
from zetaplan._quantities import count, read, share, shares
from zetaplan.cli.app import app
from zetaplan.scoring.sizes import as_bytes


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        (share, "50%", 0.5),
        (share, " 12.5 % ", 0.125),
        (share, "0.3", 0.3),
        (share, "7%", 0.07),
        (share, "110%", 1.1),
        (count, "2M", 2e6),
        (count, "2m", 2e6),
        (count, "1.5 k", 1500.0),
        (count, "3B", 3e9),
        (count, "0.5T", 5e11),
        (count, "90e6", 9e7),
        (count, "1_500", 1500.0),
        (as_bytes, "90MB", 9e7),
        (as_bytes, "8GB", 8e9),
        (as_bytes, "1GiB", 2.0**30),
        (as_bytes, "1.5 kib", 1536.0),
        (as_bytes, "512B", 512.0),
        (as_bytes, "90e6", 9e7),
    ],
)
def test_a_quantity_is_its_number(kind: Any, text: str, number: float) -> None:
    assert kind(text) == number


@pytest.mark.parametrize(
    ("kind", "text"),
    [(share, "50percent"), (share, "2M"), (share, "%"), (share, ""), (share, "5%%"), (count, "50%"), (count, "2MB"),
     (count, "M"), (count, "2 M M"), (count, "-2M")],
)  # fmt: skip
def test_other_text_is_refused_with_an_example(kind: Any, text: str) -> None:
    with pytest.raises(zp.SpecError, match=r"budget: expected .*such as"):
        read("budget", text, kind)


@pytest.mark.parametrize("text", ["50%", "9XB", "２MB", "-2MB", "1e999", ""])
def test_other_sizes_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(zp.ScoringError, match=r"budget: expected a size such as 2GB"):
        as_bytes(text, "budget")


@given(st.floats(allow_nan=False))
def test_numbers_and_their_text_are_unchanged(value: float) -> None:
    for kind in (share, count):
        assert kind(value) == kind(repr(value)) == value


@given(st.floats(0.0, 9.99))
def test_a_percentage_reads_back(value: float) -> None:
    assert math.isclose(share(percent(value)), value, rel_tol=5.1e-3)


def test_shares_are_read_in_every_shape() -> None:
    assert shares(("10%", 0.2)) == (0.1, 0.2)
    assert shares({"a": "10%"}) == {"a": 0.1}
    assert shares("30%") == 0.3


@pytest.mark.parametrize(("value", "text"), [(0.5, "50%"), (0.122, "12.2%"), (0.00812, "0.812%"), (12.0, "1,200%")])
def test_one_style_of_percent(value: float, text: str) -> None:
    assert percent(value) == text


def test_python_plans_read_quantities() -> None:
    scores = made_scores()
    assert zp.allocate(scores, budget="2k").instance.limit == 2000.0
    assert zp.allocate(scores, budget="2%").instance.limit == 0.02 * scores.parameters.sum()
    assert zp.prune(scores, target="2k").instance.limit == 2000.0
    plan = zp.prune(scores, sparsity="40%", upper={"*": "80%"}, pins={"model.layers.3": "10%"}, drift="5%")
    assert plan.request.drift == 0.05
    assert plan.request.limit.value == 0.4
    assert plan.instance.upper.max() == 0.8
    assert plan.solution["model.layers.3"] == pytest.approx(0.1)
    with pytest.raises(zp.SpecError, match=r"sparsity: expected a share, such as 50% or 0\.5, got 'half'"):
        zp.prune(scores, sparsity="half")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    zp.save_scores(made_scores(), "scores.json")


def run(line: str) -> Any:
    return CliRunner().invoke(app, line.split())


LINES = {
    "prune scores.json --sparsity 40% --upper 80% --cap *.2=30% --drift 5%":
        "prune scores.json --sparsity 0.4 --upper 0.8 --cap *.2=0.3 --drift 0.05",
    "prune scores.json --target 2k": "prune scores.json --target 2000",
    "allocate scores.json --budget 1.5k --pin *.1=3": "allocate scores.json --budget 1500 --pin *.1=3",
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_commands_read_quantities(line: str) -> None:
    made = []
    for text, out in ((line, "one.json"), (LINES[line], "two.json")):
        result = run(f"{text} --out {out}")
        assert result.exit_code == 0, result.output
        made.append({k: v for k, v in json.loads(Path(out).read_text()).items() if k not in ("created", "sha256")})
    assert made[0] == made[1]


def test_regret_and_sweep_read_shares() -> None:
    zp.prune(made_scores(), sparsity=0.5).save("plan.json")
    assert run("regret plan.json --drift 10%").stdout == run("regret plan.json --drift 0.1").stdout
    assert run("regret plan.json --confidence 90%").stdout == run("regret plan.json --confidence 0.9").stdout
    refused = run("regret plan.json --drift 10% --tolerance 0.01%")
    assert refused.exit_code == 1
    assert "the tolerance is 0.01% of it" in refused.stderr
    for number, (low, high) in enumerate((("10%", "60%"), ("0.1", "0.6"))):
        result = run(f"sweep scores.json --kind sparsity --from {low} --to {high} --points 3 --out {number}.csv")
        assert result.exit_code == 0, result.output
    assert Path("0.csv").read_text() == Path("1.csv").read_text()


def test_a_budget_in_bytes_is_a_size_and_any_other_a_count() -> None:
    for unit, text, number in (("bytes", "3kB", 3000.0), ("", "3k", 3000.0), ("bits", "3k", 3000.0)):
        zp.save_menu(zp.Menu(("q",), (("2", "4"),), ((9.0, 1.0),), (((2.0,), (4.0,)),), units=(unit,)), "menu.json")
        result = run(f"choose menu.json --budget {text} --out choice.json")
        assert result.exit_code == 0, result.output
        assert zp.load_choice("choice.json").request.budgets == (number,)
    result = run("choose menu.json --budget 3GB --out choice.json")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "budget: expected a number" in result.stderr


def test_the_answer_comes_first() -> None:
    zp.prune(made_scores(), sparsity=0.5).save("plan.json")
    assert run("regret plan.json").stdout.startswith("If the gains are where 32 sequences put them")
    assert run("verify plan.json").stdout.startswith("plan.json is valid: no number was changed; ")
    edited = Path("plan.json").read_text().replace('"multiplier":', '"multiplier" :', 1)
    Path("plan.json").write_text(edited.replace('"created": "2', '"created": "3', 1))
    refused = run("verify plan.json")
    assert refused.exit_code == 1
    assert refused.stdout.startswith("plan.json is refused: digest")


@pytest.mark.parametrize("command", ["allocate scores.json", "prune scores.json", "regret plan.json --drift 10%"])
def test_long_names_are_not_wrapped_at_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    start = "model.language_model.decoder.layers."
    names = tuple(f"{start}{k}.self_attn.q_proj" for k in range(6))
    zp.save_scores(made_scores(names=names), "scores.json")
    zp.prune(made_scores(names=names), sparsity=0.5).save("plan.json")
    lines = run(f"{command} {'--out other.json' if 'regret' not in command else ''}").stdout.splitlines()
    for k in range(6):
        assert sum(line.startswith(f"{k}.self_attn.q_proj ") for line in lines) == 1
    assert f"begins with {start}" in " ".join(" ".join(lines).split())


def test_completion_is_offered_but_not_in_the_way_of_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("--help").stdout
    assert "zetaplan --install-completion" in text
    assert text.count("completion") == 2  # the words and the option, in the last line only
    assert "--show-completion" not in text
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setattr("typer.completion._get_shell_name", lambda shell=shell: shell)  # else that of the terminal
        script = CliRunner().invoke(app, ["--show-completion"], prog_name="zetaplan")
        assert script.exit_code == 0
        assert "_ZETAPLAN_COMPLETE" in script.stdout
    env = {"_ZETAPLAN_COMPLETE": "complete_bash", "COMP_WORDS": "zetaplan al", "COMP_CWORD": "1"}
    assert "allocate" in CliRunner().invoke(app, [], prog_name="zetaplan", env=env).stdout
