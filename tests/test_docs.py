"""What the README and the pages show is so: Python runs, quotations are exact, commands exist, journeys arrive."""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.tiny_gguf import TOKENS, write_llama
from tests.tiny_models import byte_tokenizer, tiny_llama
from zetaplan.cli.app import app
from zetaplan.jobs.config import load_config
from zetaplan.verification.checker import main as checker
from zetaplan.verification.menus.checker import main as choice_checker

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BEGIN = [ROOT / name for name in ("README.md", "docs/index.md", "docs/first-hour.md")]
JOURNEYS = [*BEGIN, *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
TEXT = "\n".join(topics.values())[:60_000]  # of Python's own help
COMMAND = typer.main.get_command(app)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page that are in this language."""
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """What a reader is told to type."""
    return [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]


def mentions(page: Path) -> list[str]:
    """Commands in running text; placeholders stand for some of their arguments."""
    return re.findall(r"(?<!`)`zetaplan ([a-z][^`\n]*)`", page.read_text())


def cases(found: Callable[[Path], list[str]]) -> list[Any]:
    """What is found on all pages, one case each."""
    return [
        pytest.param(case, id=f"{page.relative_to(ROOT)}:{number}")
        for page in PAGES
        for number, case in enumerate(found(page))
    ]


@pytest.mark.parametrize("code", cases(lambda page: blocks(page, "python")))
def test_a_python_block_runs(code: str) -> None:
    exec(compile(code, "block", "exec"), {})  # noqa: S102 our own pages


@pytest.mark.parametrize("code", cases(lambda page: blocks(page, "py")))
def test_a_quotation_stands_in_an_example(code: str) -> None:
    sources = [textwrap.dedent(text) for path in (ROOT / "examples").glob("*.py") for text in indented(path)]
    assert any(code.strip() in source for source in sources), code


def indented(path: Path) -> Iterator[str]:
    """The file, and the bodies of its classes."""
    yield path.read_text()
    yield from re.findall(r"^class .*?\n((?:    .*\n|\n)+)", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("text", cases(lambda page: blocks(page, "yaml")))
def test_a_yaml_block_is_a_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(text)
    load_config(tmp_path / "job.yaml")


@pytest.mark.parametrize("line", cases(commands))
def test_a_command_is_one(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match shlex.split(line, comments=True):
        case ["zetaplan", *arguments]:
            understood(arguments, monkeypatch)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["python", "-m", module, *_]:
            assert find_spec(module)
        case other:
            pytest.fail(f"nothing is known of {other}")


def understood(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command line takes these arguments: every option exists, nothing is missing. Nothing is done."""
    for command in COMMAND.commands.values():  # type: ignore[attr-defined]
        monkeypatch.setattr(command, "callback", lambda **_: None)
    status = COMMAND.main(arguments, standalone_mode=False)  # an error of usage is a line on stderr and a status
    assert not status, arguments


def test_a_command_that_is_none_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (
        ["scores", "smollm2"],
        ["score", "smollm2", "--sequence", "3"],
        ["verify"],
        ["score", "--length", "x"],
    ):
        with pytest.raises(AssertionError):
            understood(wrong, monkeypatch)
        assert re.search(r"(?i)no such|missing|valid integer", capsys.readouterr().err)


@pytest.mark.parametrize("text", cases(mentions))
def test_a_command_in_running_text_has_these_options(text: str) -> None:
    name, *rest = text.split()
    command = COMMAND.commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in a GGUF file, as SmolLM2 is; it has learned enough of a text for pruning to hurt it."""
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    sizes = {"hidden": 64, "intermediate_size": 96, "vocabulary": len(TOKENS)}
    llama = tiny_llama(layers=3, max_position_embeddings=2048, initializer_range=0.02, **sizes)
    optimiser, draw = torch.optim.Adam(llama.parameters(), lr=0.005), torch.Generator().manual_seed(0)
    tokens = torch.tensor(byte_tokenizer()(TEXT)["input_ids"])
    windows = tokens[: len(tokens) // 64 * 64].view(-1, 64)
    for _ in range(200):
        batch = windows[torch.randint(len(windows), (16,), generator=draw)]
        llama(input_ids=batch, labels=batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return write_llama(tmp_path_factory.mktemp("model") / "tiny.gguf", llama, "F16")


@pytest.mark.slow
def test_the_notebook_runs_and_its_outputs_are_those_of_the_page() -> None:
    """Every cell in its order; numbers may differ by what another processor changes, words may not."""
    cells = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        with redirect_stdout(io.StringIO()) as said:
            exec(compile("".join(cell["source"]), "cell", "exec"), names)  # noqa: S102 our own page
        shown = "".join(text for output in cell["outputs"] for text in output["text"])
        assert NUMBER.sub("#", said.getvalue()) == NUMBER.sub("#", shown)
        found, known = (list(map(float, NUMBER.findall(text))) for text in (said.getvalue(), shown))
        assert found == pytest.approx(known, rel=0.15, abs=0.02)
    assert len(names) > 10


NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


@pytest.mark.slow
@pytest.mark.parametrize("page", JOURNEYS, ids=lambda page: page.stem)
def test_a_journey_arrives(page: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a page in its order, with a tiny model in the place of SmolLM2; what is shown is what comes."""
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "held-out.txt"):
        Path(name).write_text(TEXT)
    titled = re.compile(r'^```(?:json|csv) title="(\S+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
    for title, content in titled.findall(PUBLISHED + page.read_text()):
        Path(title).write_text(content)
    for line, shown in session(page):
        said = typed(re.sub(r"\bsmollm2\b(?!-)", str(model), line))
        assert all(part.strip() in said for part in shown), said


PUBLISHED = (ROOT / "docs" / "how-to" / "published-plan.md").read_text()


def session(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, what the page shows of its output) for everything but `make`."""
    for block in blocks(page, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *shown = entry.splitlines()
            if not line.startswith("make "):
                yield line, shown


CHECKERS = {"zetaplan.verification.checker": checker, "zetaplan.verification.menus.checker": choice_checker}


def typed(line: str) -> str:
    """The output of a command; its verdict may be negative only if it audits somebody else's plan."""
    arguments = shlex.split(line, comments=True)
    if arguments[:2] == ["python", "-m"]:
        with redirect_stdout(io.StringIO()) as said:
            assert CHECKERS[arguments[2]](arguments[3:]) == 0, line
        return said.getvalue()
    assert arguments[0] == "zetaplan", line
    result = CliRunner().invoke(app, arguments[1:])
    assert result.exit_code == (1 if "audit" in arguments else 0), f"{line}: {result.output}"
    return result.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_row_of_a_table_has_the_cells_of_its_header(page: Path) -> None:
    """Markdown drops the cells that a row has too many, without a word."""
    for table in tables(page.read_text()):
        cells = [len(CELL_END.findall(row)) for row in table]
        assert set(cells) == {cells[0]}, table


def test_a_row_that_is_too_long_is_seen() -> None:
    (table,) = tables("text\n\n| a | `x | y` |\n|---|---|\n| 1 | |x| |\n")
    assert [len(CELL_END.findall(row)) for row in table] == [3, 3, 5]


CELL_END = re.compile(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)")  # neither escaped nor in code


def tables(text: str) -> Iterator[list[str]]:
    """The rows of every table outside fenced blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"(?:^\|.*\n?)+", prose, re.MULTILINE):
        yield found.splitlines()


def test_there_is_something_to_run() -> None:
    assert len(cases(lambda page: blocks(page, "python"))) >= 9
    assert len(cases(commands)) >= 40
    assert len(cases(mentions)) >= 10


def said(room: Path) -> Iterator[str]:
    """Every text in the code of a room, with … for what is filled in."""
    for node in (node for path in room.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))):
        match node:
            case ast.JoinedStr(values=parts):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
            case ast.Constant(value=str(text)):
                yield text


def test_every_error_on_the_page_is_in_the_code() -> None:
    known = "\n".join(text for room in ("src/zetaplan", "scoring", "spec") for text in said(ROOT / room))
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    errors = [line.replace("\\", "") for line in re.findall(r"^\| “(.+?)”", page, re.MULTILINE)]
    assert len(errors) > 40
    assert not [line for line in errors if line not in known]
