"""No command destroys what it reads, or a file that it did not write; a full disk leaves every file as it was.

A matrix: every command that writes, each of its inputs and each of its outputs.
"""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from tests.made import made_format_menu, made_formats, made_scores
from tests.tiny_models import tiny_llama_dir
from zetaplan._files import write
from zetaplan.cli.app import app
from zetaplan.documents.convert import save_scores
from zetaplan.errors import SpecError
from zetaplan.exports import export
from zetaplan.jobs import pipelines
from zetaplan.jobs.demo import Demonstration
from zetaplan.menus.bits import MeasuredData, bits_facts
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose
from zetaplan.models.apply import Applied, Removal
from zetaplan.models.new_folder import new_folder
from zetaplan.models.pruned_folder import record, save_pruned
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.reports.choices import write_choice_report
from zetaplan.reports.report import write_report
from zetaplan.scoring import Scores, load_model

FOREIGN = b"the only copy of my notes, 1998 to 2026\n"


@dataclass(frozen=True)
class Case:
    """A command line. {out} : what --out names. inputs : files that it reads. outputs : files that it writes."""

    line: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("{out}",)
    folder: bool = False

    @property
    def command(self) -> str:
        return self.line.split()[0]

    def files(self, out: str) -> list[Path]:
        return [Path(name.format(out=out, stem=Path(out).stem)) for name in self.outputs]


PAGE = ("{out}", "{stem}.md")
PLANS = (f"{program}.{suffix}" for program in ("allocation", "pruning") for suffix in ("json", "html", "md"))
BITS = ("menu.json", "bits.json", "bits.html", "bits.md")
DEMO = tuple(f"{{out}}/{name}" for name in ("scores.json", *PLANS, *BITS))
JOB = tuple(f"{{out}}/{name}" for name in ("plan.json", "verdict.json", "report.html", "report.md", "ranks.csv"))
AUDIT = tuple(f"{{out}}/{name}" for name in ("campaign.json", "audit.json", "audit.html"))
CASES = {
    "score": Case(
        "score model --data notes.txt --held-out other.txt -o {out}", ("notes.txt", "other.txt", "model/config.json")
    ),
    "calibrate": Case("calibrate model --data notes.txt -o {out}", ("notes.txt", "model/config.json")),
    "calibrate scores": Case(
        "calibrate model --scores scores.json --data notes.txt -o {out}",
        ("scores.json", "notes.txt", "model/config.json"),
    ),
    "evaluate": Case(
        "evaluate model --text notes.txt --choices items.jsonl --against dense -o {out}",
        ("notes.txt", "items.jsonl", "model/config.json", "dense/config.json"),
    ),
    "refine": Case(
        "refine model first.json --data notes.txt --held-out other.txt -o {out}",
        ("first.json", "notes.txt", "other.txt", "model/config.json"),
    ),
    "allocate": Case("allocate scores.json -o {out}", ("scores.json",)),
    "prune": Case("prune scores.json -o {out}", ("scores.json",)),
    "choose": Case("choose menu.json --budget 6 -o {out}", ("menu.json",)),
    "measure": Case(
        "measure model --data notes.txt --calibration other.txt -o {out}",
        ("notes.txt", "other.txt", "model/config.json"),
    ),
    "quantize": Case("quantize bits.json --bytes 1MB -o {out}", ("bits.json",)),
    "report": Case("report plan.json -o {out}", ("plan.json",), PAGE),
    "export json": Case("export plan.json --to json -o {out}", ("plan.json",)),
    "export csv": Case("export plan.json --to csv -o {out}", ("plan.json",)),
    "export formats": Case("export formats.json --to csv -o {out}", ("formats.json",)),
    **{
        f"sweep {suffix}": Case("sweep scores.json --from 1 --to 8 --points 3 -o {out}", ("scores.json",))
        for suffix in ("html", "svg", "csv", "json")
    },
    "demo": Case("demo -o {out}", (), DEMO, folder=True),
    "schema": Case("schema -o {out}", (), ("{out}/config.json", "{out}/plan.json"), folder=True),
    "audit": Case("audit --instances 1 --solvers exact -o {out}", (), AUDIT, folder=True),
    "run": Case("run job.yaml", ("job.yaml", "scores.json"), JOB, folder=True),
}
SUFFIX = {"sweep html": "html", "sweep svg": "svg", "sweep csv": "csv", "report": "html"}
SINGLE = [name for name, case in CASES.items() if not case.folder]


def out_of(name: str) -> str:
    """What --out names in a case."""
    if CASES[name].folder:
        return "made"
    return f"out.{SUFFIX.get(name, 'json')}"


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {"allocation": allocate(made_scores(), mean_rank=4), "pruning": prune(made_scores(), sparsity=0.5)}


@pytest.fixture(autouse=True)
def worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plans: dict[str, Plan]) -> list[str]:
    """A folder with an input of every sort; models are not run: what a pipeline would return is made by hand."""
    monkeypatch.chdir(tmp_path)
    save_scores(made_scores(), "scores.json")
    plans["allocation"].save("plan.json")
    menu = Menu(("q", "k"), (("2", "4"), ("2", "4")), ((9, 1), (4, 1)), (((2,), (4,)), ((2,), (4,))))
    menu.save("menu.json")
    choose(replace(menu, names=("q_proj", "k_proj")), 6).save("formats.json")
    choose(menu, 6).save("first.json")
    measured_menu().save("bits.json")
    item = json.dumps({"ctx": "The sky is", "choices": ["blue", "a road"], "gold": 0})
    texts = {"notes.txt": "notes", "other.txt": "other", "items.jsonl": item, "model/config.json": "{}"}
    texts["dense/config.json"] = "{}"
    job = "{model: model, scores: scores.json, plan: {kind: rank}, export: [{to: csv, out: ranks.csv}], out: made}"
    for name, text in {**texts, "job.yaml": job}.items():
        write(name, text)
    calls: list[str] = []
    curve = type("Curve", (), {"exponent": 3.0, "kappa": 0.5})()
    made: dict[str, Any] = {
        "score": made_scores(),
        "calibrate": (curve, {"schema": "zetaplan.calibration/1"}),
        "calibrate_scores": with_exponent(),
        "measure": measured_menu(),
        "evaluate": {"schema": "zetaplan.evaluation/1", "model": "m"},
        "refine": choose(menu, 6),
    }
    for name, value in made.items():
        monkeypatch.setattr(pipelines, name, _recorded(calls, name, value))
    monkeypatch.setattr("zetaplan.jobs.demo.demonstrate", _demonstrated(plans))
    monkeypatch.setattr("zetaplan.exports.export", lambda plan, *, to, model=None, **lora: export(plan, to=to))
    monkeypatch.setattr("zetaplan.scoring.model.meta_model.fingerprint", str)
    return calls


def with_exponent() -> Scores:
    """Scores as `calibrate --scores` returns them."""
    uniform = {"kappa": 0.0, "loss": 3.0, "difference": 0.0, "low": 0.0, "high": 0.0}
    found = {"method": "wanda", "sparsity": 0.5, "upper": 0.8, "text_sha256": "0" * 64, "sequences": 8, "length": 64}
    return made_scores(provenance={"exponent": {**found, "tried": [uniform]}})


def measured_menu() -> Menu:
    """A menu of formats as `measure` returns it."""
    menu = made_format_menu()
    measured = MeasuredData(text_sha256="0" * 64, sequences=2, seed=0)
    facts = bits_facts(menu).model_copy(update={"measured": measured})
    return replace(menu, provenance=facts.model_dump(mode="json"))


def _recorded(calls: list[str], name: str, value: Any) -> Callable[..., Any]:
    def called(*_: Any, **__: Any) -> Any:
        calls.append(name)
        return value

    return called


def _demonstrated(plans: dict[str, Plan]) -> Callable[..., Any]:
    def demonstrate(folder: Path, **_: Any) -> Demonstration:
        save_scores(made_scores(), folder / "scores.json")
        for name, plan in plans.items():
            plan.save(folder / f"{name}.json")
            write_report(plan, folder / f"{name}.html")
        bits = made_formats()
        bits.menu.save(folder / "menu.json")
        bits.save(folder / "bits.json")
        write_choice_report(bits, folder / "bits.html", file="bits.json")
        return Demonstration(plans, bits, ())

    return demonstrate


def run(name: str, out: str, *more: str) -> Result:
    return CliRunner().invoke(app, [*CASES[name].line.format(out=out).split(), *more])


def refused(result: Result) -> str:
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    [line] = result.stderr.splitlines()
    assert line.startswith("zetaplan: ")
    return line.removeprefix("zetaplan: ")


def state() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


LINKS: dict[str, Callable[[Path], str]] = {
    "itself": str,
    "from above": lambda path: f"../{Path.cwd().name}/{path}",
    "symlink": lambda path: str(_linked(path, os.symlink)),
    "hard link": lambda path: str(_linked(path, os.link)),
}


def _linked(path: Path, link: Callable[[Path, Path], None]) -> Path:
    other = Path(f"link{path.suffix}")
    link(path.resolve(), other)
    return other


@pytest.mark.parametrize("how", LINKS)
def test_no_input_is_written_over(how: str, worked: list[str]) -> None:
    for name, source in [(one, source) for one in SINGLE for source in CASES[one].inputs]:
        out = LINKS[how](Path(source))
        before = state()
        for force in ((), ("--force",)):
            assert "the input" in refused(run(name, out, *force))
        assert (state(), worked) == (before, [])
        if how.endswith("link"):
            Path(out).unlink()


def test_the_markdown_beside_a_report_is_an_output_too() -> None:
    Path("plan.json").rename("plan.md")
    before = state()
    result = CliRunner().invoke(app, ["report", "plan.md", "-o", "plan.html", "--force"])
    assert "plan.md is the input" in refused(result)
    assert state() == before


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("export: [{to: csv, out: ../scores.json}], out: made", "is the input"),
        ("export: [{to: csv, out: ../job.yaml}], out: made", "is the input"),
        ("export: [{to: csv, out: plan.json}], out: made", "two files would have this name"),
        ("export: [{to: csv, out: run.json}], out: made", "two files would have this name"),
        ("evaluate: {text: made/plan.json}, out: made", "is the input"),
        ("evaluate: {choices: items.jsonl, lm_eval: made, text: made/choices.jsonl}, out: made", "is the input"),
        ("export: [{to: csv, out: ../model/config.json}], out: made", "is a part of the input"),
        (
            "evaluate: {text: notes.txt, against: dense}, export: [{to: csv, out: ../dense/config.json}], out: made",
            "is a part of the input",
        ),
    ],
)
def test_no_job_writes_over_what_it_reads(job: str, said: str) -> None:
    for name in {"made/plan.json", "made/choices.jsonl"} & set(job.replace("}", " ").split()):
        write(name, FOREIGN)
    write("job.yaml", f"{{model: model, scores: scores.json, plan: {{kind: rank}}, {job}}}")
    before = state()
    for force in ((), ("--force",)):
        assert said in refused(run("run", "made", *force))
    assert state() == before


def test_the_items_of_a_task_are_an_output_too(worked: list[str]) -> None:
    write("task/choices.jsonl", Path("items.jsonl").read_text())
    line = ["evaluate", "model", "--choices", "task/choices.jsonl", "--lm-eval", "task", "--force"]
    assert "task/choices.jsonl is the input" in refused(CliRunner().invoke(app, line))
    assert worked == []


@pytest.mark.parametrize("name", CASES)
def test_a_foreign_file_is_kept_unless_forced(name: str, worked: list[str]) -> None:
    out = out_of(name)
    for file in CASES[name].files(out):
        write(file, FOREIGN)
        before = state()
        assert f"{file.name} exists, and this command did not write it" in refused(run(name, out))
        assert (state(), worked) == (before, [])
        if name != "audit":  # a campaign never goes on with the settings of another
            forced = run(name, out, "--force")
            assert forced.exit_code == 0, (forced.output, forced.exception)
            assert file.read_bytes() != FOREIGN
        worked.clear()
        for written in (*CASES[name].files(out), Path("made/run.json")):
            written.unlink(missing_ok=True)


@pytest.mark.parametrize("name", [name for name in CASES if name != "audit"])
def test_a_command_may_write_its_own_file_anew(name: str) -> None:
    for _ in range(2):
        done = run(name, out_of(name))
        assert done.exit_code == 0, (done.output, done.exception)
    assert all(file.is_file() for file in CASES[name].files(out_of(name)))


@pytest.mark.parametrize("name", SINGLE)
def test_no_command_takes_the_file_of_another_for_its_own(name: str) -> None:
    out = out_of(name)
    same = ({"choose", "refine"}, {"score", "calibrate scores"})  # they write plans of choices, and scores
    alike = [other for pair in same if name in pair for other in pair]
    others = [other for other in SINGLE if out_of(other) == out and other not in (name, *alike)]
    for other in others:
        assert run(other, out).exit_code == 0
        result = run(name, out)
        assert "did not write it" in refused(result), other
        for file in CASES[other].files(out):
            file.unlink()


def test_an_export_for_another_tool_replaces_nothing_but_itself(plans: dict[str, Plan]) -> None:
    assert run("export csv", "ranks.csv").exit_code == 0
    assert run("export csv", "ranks.csv").exit_code == 0
    plans["pruning"].save("plan.json")
    assert "did not write it" in refused(run("export csv", "ranks.csv"))


def test_an_empty_file_may_be_written_over() -> None:
    Path("out.json").touch()
    assert run("allocate", "out.json").exit_code == 0


@pytest.mark.parametrize("out", ["model", "/dev/null", "/dev/null/x", "notes.txt/x", "x" * 300, "a\0b"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(out: str, worked: list[str]) -> None:
    before = state()
    for name in SINGLE:
        message = refused(run(name, out))
        assert re.search("cannot write|is a folder|not a regular file|embedded null byte", message), message
        assert (state(), worked) == (before, [])


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file grows beyond so many bytes: the system refuses the write, as it does where no space is left."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("calibrate", "evaluate", "audit")])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(name: str) -> None:
    assert run(name, out_of(name)).exit_code == 0
    if name == "run":
        Path("made/run.json").unlink()
    before = state()
    with full_disk(20):
        result = run(name, out_of(name), "--force")
    assert "cannot write" in refused(result)
    assert state() == before


@pytest.mark.parametrize("room", [0, 500, 5000])
def test_a_full_disk_leaves_no_pruned_model(room: int, plans: dict[str, Plan]) -> None:
    loaded = load_model(tiny_llama_dir(Path("tiny"), layers=1))
    applied = Applied("magnitude", "unstructured", (Removal("model.layers.0", 4, 2, 2, 2),))
    facts = record(applied, plans["pruning"], loaded, None)
    before = sorted(Path().iterdir())
    with full_disk(room), pytest.raises(SpecError, match="cannot write pruned"), new_folder(Path("pruned")) as folder:
        save_pruned(loaded, applied, facts, folder)
    assert sorted(Path().iterdir()) == before


def test_every_command_that_writes_is_tried_here_and_has_force() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = {name: {opt for p in command.params for opt in p.opts} for name, command in commands.items()}
    writing = {name for name, names in options.items() if names & {"--out", "-o"}} | {"run"}
    assert writing - {"apply"} == {case.command for case in CASES.values()}  # apply makes a new folder or nothing
    assert all("--force" in options[name] for name in writing - {"apply"})
