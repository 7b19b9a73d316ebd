"""The tables of the audit of planted instances, for the page "Solver audit"."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from result_tables import load, table

ROOT = Path(__file__).parents[2]
MUTANTS = {  # checker: the list of its mutants in the tests
    "`verification/checker.py`": ("mutants", "CHECKERS", "a verdict on the test files changes"),
    "`verification/menus/checker.py`": ("menu_mutants", "CHECKERS", "a verdict on the test files changes"),
    "the proved checker": ("formal_mutants", "MUTANTS", "Coq: the proof of soundness is refused"),
}
WORST = ("worst error", "worst error, over each layer's scale", "worst error of the multiplier")


def audit_size() -> str:
    """How many instances of which kind were solved."""
    found = _found()
    rows, menus = found["rows"], found["menus"]
    planted = rows["exact"] + rows["rounded"] + menus["planted"]
    settings = found["settings"]
    parts = (
        "" if settings["parts"] == settings["of parts"] else f" ({settings['parts']} of {settings['of parts']} parts)"
    )
    return (
        f"{planted:,} instances{parts}: {rows['exact']:,} programs planted exactly, {rows['rounded']:,} planted up to "
        f"rounding, {menus['planted']:,} menus"
    )


def audit_answers() -> str:
    """The instances of every solver, and how many answers with a certificate were wrong."""
    found = _found()
    rows, menus = found["rows"], found["menus"]
    asked = {
        "allocation and pruning, batch solver": (rows["exact"] + rows["rounded"], rows),
        "menus, exact choice solver": (menus["planted"], menus),
    }
    cells = [
        (name, f"{count:,}", f"{count - of['not certified']:,}", f"{of['not certified']:,}", f"{of['wrong']:,}")
        for name, (count, of) in asked.items()
    ]
    return table(("solver", "instances", "with a certificate", "without", "certified and wrong"), cells)


def audit_errors() -> str:
    """The largest errors over the rows that are planted exactly."""
    worst = _found()["worst"]
    return (
        f"plan {worst['sharp']:.1e} of the rounding unit of its layer, multiplier {worst['dual']:.1e} of the total "
        f"price, limit {worst['violation']:.1e} of its terms"
    )


def audit_decades() -> str:
    """Instances by program and decade of quality."""
    counts = _found()["decades"]
    programs = list(dict.fromkeys(key.rpartition(" ")[0] for key in counts))
    decades = sorted({int(key.rpartition(" ")[2]) for key in counts})
    rows = [(name, *(f"{counts.get(f'{name} {decade}', 0):,}" for decade in decades)) for name in programs]
    return table(("decades", *(f"{decade}-{decade + 1}" for decade in decades)), rows)


def audit_checkers() -> str:
    """Both checkers on the same files."""
    found, rows = _found(), []
    for name, kind in (("certificates of programs", "certificates"), ("proofs of choices", "proofs")):
        of = found[kind]
        for checker in ("python", "proved"):
            counts = of[checker]
            accepted = sum(counts["accepted forged"].values())
            each = 1e3 * counts["seconds"] / max(counts["documents"], 1)
            rows.append(
                (
                    name,
                    checker,
                    f"{counts['documents']:,}",
                    f"{counts['refused honest']}",
                    f"{accepted}",
                    f"{each:.2f} ms",
                )
            )
    return table(("files", "checker", "read", "honest, refused", "forged, accepted", "processor time each"), rows)


def audit_forged() -> str:
    """How many forgeries were made and accepted, over all classes."""
    made, accepted = (sum(row[column] for row in _forgeries()) for column in (2, 3))
    return f"{made:,} forgeries were made, {accepted:,} were accepted"


def audit_forgeries() -> str:
    """Every class of forgeries: how many were made, and how many anybody accepted."""
    rows = [(title, name, f"{made:,}", f"{accepted:,}") for title, name, made, accepted in _forgeries()]
    return table(("forged", "class", "made", "accepted"), rows)


def _forgeries() -> list[tuple[str, str, int, int]]:
    """(what is forged, class, made, accepted)."""
    found = _found()
    rows = [
        ("certificate in doubles", name, counts["made"], counts["accepted"]) for name, counts in found["forged"].items()
    ]
    for title, kind in (("certificate in fractions", "certificates"), ("proof of a choice", "proofs")):
        for name, made in found[kind]["forged"].items():
            accepted = sum(found[kind][checker]["accepted forged"].get(name, 0) for checker in ("python", "proved"))
            rows.append((title, name, made, accepted))
    return rows


def audit_machine() -> str:
    """The machine of the run."""
    machine = _found()["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    core = f"one core of {machine['cores']} shared with other work"
    return f"{machine['cpu']}, {core}; Python {machine['python']}, {versions}"


def checker_mutants() -> str:
    """How many ways to break each checker the tests try."""
    rows = [(name, f"{len(_entries(file, listed))}", "all", how) for name, (file, listed, how) in MUTANTS.items()]
    return table(("checker", "mutants", "detected", "how"), rows)


def checker_mutant_classes() -> str:
    """The mutants of each checker by name."""
    return "\n".join(f"- {name}: {'; '.join(_entries(file, listed))}." for name, (file, listed, _) in MUTANTS.items())


def audit_solvers() -> str:
    """Every solver of the audit of single instances."""
    heads = ("solver", "instances", "no answer", 'answers "optimal"', "of these wrong", *WORST)
    rows = [
        (
            row["solver"],
            *(f"{row[count]:,}" for count in ("asked", "failed", "optimal", "wrong")),
            *(f"{float(error):.1e}" for error in row["worst"][:3]),
        )
        for row in _single()["summary"]
    ]
    return table(heads, rows)


def _found() -> dict[str, Any]:
    return load("audit_scale")


def _single() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "docs" / "audits" / "audit.json").read_text())
    return loaded


def _entries(file: str, listed: str) -> list[str]:
    """The names in a list of mutants, read from the source of the tests without running it."""
    for node in ast.parse((ROOT / "tests" / f"{file}.py").read_text()).body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and target.id == listed and isinstance(node.value, ast.List):
            return [ast.literal_eval(entry.elts[0]) for entry in node.value.elts if isinstance(entry, ast.Tuple)]
    raise ValueError(f"tests/{file}.py has no list {listed}")
