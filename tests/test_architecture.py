"""The house keeps its rooms apart: who may import whom, and which folders are packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.checkers import imported

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
    return rooms - {"errors", "_display", "_found", "_plural", "_signature", "_student", "__version__"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_what_they_may(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        audit = "audit" in path.relative_to(ROOT / room).parts[0]  # it tries solvers, and the public batches
        allowed = MAY_IMPORT[room] | ({"solvers", "batch"} if audit else set())
        assert imports(path) <= allowed, f"{path.relative_to(ROOT)} imports {imports(path) - allowed}"


def test_the_checker_imports_only_the_standard_library() -> None:
    assert imported(ROOT / "verification" / "checker.py") <= sys.stdlib_module_names


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
    with pytest.raises(AttributeError, match="nonsense"):
        _ = zetaplan.nonsense


@pytest.mark.parametrize("stub", sorted(ROOT.glob("s*/**/*.pyi")), ids=str)
def test_a_stub_lists_every_name_that_it_imports(stub: Path) -> None:
    tree = ast.parse(stub.read_text())
    imported = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    [exported] = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert exported == sorted(exported)
    assert set(exported) == imported


def test_no_module_of_the_root_hides_a_public_name() -> None:
    """Importing a module binds it in its package: one named like a function would take the function's place."""
    import zetaplan

    modules = {path.stem for path in (ROOT / "src" / "zetaplan").iterdir()}
    assert not modules & set(zetaplan.__all__)


def modules() -> dict[str, Path]:
    """Every module of the five packages by its dotted name."""
    face = {".".join(path.relative_to(ROOT / "src").parts): path for path in (ROOT / "src").rglob("*.py")}
    rooms = {
        ".".join(("zetaplan", *path.relative_to(ROOT).parts)): path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    return {name.removesuffix(".py").removesuffix(".__init__"): path for name, path in (face | rooms).items()}


def lazy_names(package: str, path: Path) -> dict[str, str]:
    """The module that each lazily loaded name of a package comes from, by its stub."""
    stub = path.with_suffix(".pyi")
    if not stub.is_file():
        return {}
    found = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{package}.{node.module}" for node in found for alias in node.names}


def import_graph() -> dict[str, set[str]]:
    """What every module imports of ours: at its top, inside functions and for type checkers alike."""
    known = modules()
    lazy = {name: lazy_names(name, path) for name, path in known.items() if path.name == "__init__.py"}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    wanted.add(inner if inner in known else lazy.get(node.module, {}).get(alias.name, node.module))
        graph[name] = {found for found in wanted if found in known} - {name}
    return graph


def test_no_import_circle() -> None:
    graph = import_graph()
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


#: What the rooms of the face may not import.
FORBIDDEN = {
    "plans": ("documents", "reports", "models", "exports", "evaluate", "jobs", "cli"),
    "menus": (
        "bits",
        "measuring",
        "runtimes",
        "plans",
        "documents",
        "reports",
        "models",
        "exports",
        "evaluate",
        "jobs",
        "cli",
    ),
    "documents": ("reports", "models", "exports", "evaluate", "jobs", "cli"),
    "runtimes": ("bits", "measuring", "documents", "reports", "exports", "evaluate", "jobs", "cli"),
    "bits": ("measuring", "plans", "documents", "reports", "exports", "evaluate", "jobs", "cli"),
    "measuring": ("bits", "plans", "documents", "reports", "exports", "evaluate", "jobs", "cli"),
    "drift": ("documents", "reports", "models", "exports", "evaluate", "jobs", "cli"),
    "evaluate": ("plans", "documents", "reports", "exports", "jobs", "cli"),
    "exports": ("reports", "evaluate", "jobs", "cli"),
    "models": ("reports", "evaluate", "jobs", "cli"),
    "audits": ("reports", "evaluate", "jobs", "cli"),
    "refining": ("documents", "reports", "exports", "evaluate", "jobs", "cli"),
    "reports": ("models", "exports", "jobs", "cli"),
    "jobs": ("cli",),
}


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_inner_rooms_keep_their_order(room: str) -> None:
    wrong = tuple(f"zetaplan.{other}" for other in FORBIDDEN[room])
    for name, wanted in import_graph().items():
        if name.startswith(f"zetaplan.{room}."):
            assert not {found for found in wanted if found.startswith(wrong)}, name


def test_nothing_imports_the_command_line() -> None:
    outside = {name: found for name, found in import_graph().items() if not name.startswith("zetaplan.cli")}
    del outside["zetaplan.__main__"]
    assert not {name for name, found in outside.items() if any(other.startswith("zetaplan.cli") for other in found)}


def test_no_file_is_longer_than_300_lines() -> None:
    assert not {name: n for name, path in modules().items() if (n := len(path.read_text().splitlines())) > 300}


def test_tests_import_no_benchmarks_and_benchmarks_no_tests() -> None:
    """Benchmarks may build their models and instances with the builders of the tests, never import a test."""
    for path in (ROOT / "tests").rglob("*.py"):
        assert "from benchmarks" not in path.read_text().replace('"from benchmarks"', ""), path
    for path in (ROOT / "benchmarks").glob("*.py"):
        found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in found if re.search(r"\btests\..*test_", node.module or "")], path
