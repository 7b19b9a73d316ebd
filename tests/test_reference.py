"""Every public name is in the reference, with an example that runs."""

from __future__ import annotations

import copy
import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zetaplan as zp

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reference.md").read_text()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def example(name: str) -> str:
    """Where the public name is used."""
    return getattr(zp, name).__doc__ or ""


@pytest.fixture(scope="module")
def beginning() -> dict[str, Any]:
    """What the page defines before the examples."""
    names: dict[str, Any] = {}
    block = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
    exec(compile(block, "reference.md", "exec"), names)  # noqa: S102 our own page
    return names


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", zp.__all__)
def test_an_example_runs(name: str, beginning: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = beginning | {"model": copy.deepcopy(beginning["model"])}  # some examples change it
    test = doctest.DocTestParser().get_doctest(example(name), names, name, None, 0)
    assert test.examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_an_example_uses_the_name_that_it_is_about() -> None:
    """Values are reached through the function that gives them."""
    for name in zp.__all__:
        if callable(getattr(zp, name)) and not isinstance(getattr(zp, name), type):
            assert f"zp.{name}(" in example(name), name


def test_the_page_shows_every_public_name_once() -> None:
    shown = re.findall(r"^::: (\S+)$", hook("reference").public_names(), re.MULTILINE)
    assert sorted(path.rpartition(".")[2] for path in shown) == sorted(zp.__all__)
    assert all(getattr(importlib.import_module(home), name) for home, _, name in (p.rpartition(".") for p in shown))
    assert not set(shown) & set(re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE))


def test_definitions_become_a_list() -> None:
    pytest.importorskip("griffe")
    listed = hook("docstrings").listed
    assert (
        listed("x : (K,) the plan. low, high : the\n    box.") == "- **x**: (K,) the plan.\n- **low, high**: the box."
    )
    assert listed("As x : y says.") == "As x : y says."


def test_formulas_of_docstrings_are_shown_in_signs() -> None:
    pytest.importorskip("griffe")
    written = hook("docstrings").written
    assert written("zeta^2 = g'(H + tau I)^-1 g, zeta^2 / 2") == "ζ² = gᵀ(H + τ I)⁻¹ g, ζ² / 2"
    assert written("tau : the damping. its own 'g'") == "tau : the damping. its own 'g'"
    assert written(">>> x^2") == ">>> x^2"


def test_the_page_of_messages_has_those_of_the_code(tmp_path: Path) -> None:
    messages = hook("messages")
    path = tmp_path / "code.py"
    path.write_text('raise SpecError(f"x = {x}: expected " f"a | b")\nraise ValueError("no")\nraise SpecError(text)\n')
    assert list(messages.messages(path)) == ["x = …: expected a | b"]
    page = messages.on_page_markdown("{{ all messages }}")
    assert page.count("\n- ") > 500
    assert "\n- … = …: expected the name of a file\n" in page
    assert messages._rows({"…: …", "x = …: expected a | b"}) == ["- x = …: expected a \\| b"]


def hook(name: str) -> ModuleType:
    """A file of docs/hooks, which is no package."""
    spec = importlib.util.spec_from_file_location(f"hook_{name}", ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
