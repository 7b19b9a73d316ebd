"""Structure stated in docs/programs.md, docs/design.md and CONTRIBUTING.md, compared with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from zetaplan.solvers import METHODS
from zetaplan.spec.program import Program, Term
from zetaplan.spec.programs import programs

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (ROOT / "docs" / "programs.md").read_text("utf-8")
STRUCTURE = ("CONTRIBUTING.md", "docs/design.md", "docs/programs.md")


def first_column(heading: str) -> list[str]:
    """The code spans in the first column of the table with this heading."""
    table = PROGRAMS[PROGRAMS.index(f"| {heading} |") :].split("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)


@pytest.mark.parametrize("declared", [Program, Term])
def test_the_page_lists_the_fields_of_a_declaration(declared: type[Program | Term]) -> None:
    assert first_column(f"field of `{declared.__name__}`") == [field.name for field in fields(declared)]


def test_the_page_lists_the_methods() -> None:
    assert first_column("method") == list(METHODS)


def test_every_program_is_in_the_folder_that_the_pages_name() -> None:
    files = {path.stem for path in (ROOT / "spec" / "programs").glob("*.py")} - {"__init__"}
    assert set(programs()) == files


@pytest.mark.parametrize("page", STRUCTURE)
def test_folders_named_on_a_page_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    folders = set(re.findall(r"`((?:[\w.]+/)+)`", text))
    assert "spec/programs/" in folders
    assert [folder for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []
