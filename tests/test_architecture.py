"""The house keeps its rooms apart: who may import whom, and which folders are packages."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"spec", "solvers", "scoring", "verification"}
MAY_IMPORT = {
    "spec": {"spec"},
    "solvers": {"solvers", "spec"},
    "verification": {"verification", "spec"},
    "scoring": {"scoring"},
}
HEAVY = ("torch", "transformers", "cvxpy", "sympy", "matplotlib", "pydantic", "scipy")


def imports(path: Path) -> set[str]:
    """The rooms that a file imports from, `errors` (a leaf for everyone) left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    rooms = {parts[1] for parts in (name.split(".") for name in names) if parts[0] == "zetaplan" and len(parts) > 1}
    return rooms - {"errors", "_found", "__version__"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_what_they_may(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        allowed = MAY_IMPORT[room] | ({"solvers"} if "audit" in path.relative_to(ROOT / room).parts[0] else set())
        assert imports(path) <= allowed, f"{path.relative_to(ROOT)} imports {imports(path) - allowed}"


def test_the_checker_imports_only_the_standard_library() -> None:
    tree = ast.parse((ROOT / "verification" / "checker.py").read_text())
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules <= sys.stdlib_module_names


def test_every_package_folder_is_declared() -> None:
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    face = {path.parent for path in (ROOT / "src" / "zetaplan").rglob("__init__.py")}
    found = {".".join(("zetaplan", *folder.relative_to(ROOT).parts)) for folder in folders}
    found |= {".".join(folder.relative_to(ROOT / "src").parts) for folder in face}
    assert declared == found


def test_import_zetaplan_loads_nothing_heavy() -> None:
    code = f"import sys, zetaplan; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_every_public_name_exists() -> None:
    import zetaplan

    for name in zetaplan.__all__:
        assert getattr(zetaplan, name).__doc__, f"{name} has no docstring"
    assert set(zetaplan._HOME) | {n for n in zetaplan.__all__ if n.endswith("Error")} == set(zetaplan.__all__)
    with pytest.raises(AttributeError, match="no public name 'nonsense'"):
        _ = zetaplan.nonsense


def test_no_module_of_the_root_hides_a_public_name() -> None:
    """Importing a module binds it in its package: one named like a function would take the function's place."""
    import zetaplan

    modules = {path.stem for path in (ROOT / "src" / "zetaplan").iterdir()}
    assert not modules & set(zetaplan.__all__)
