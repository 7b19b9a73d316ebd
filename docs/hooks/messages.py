"""Every message of an error: `{{ all messages }}` on a page is replaced by the messages in the code, by package."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "{{ all messages }}"
ROOT = Path(__file__).parents[2]
PACKAGES = {room: f"zetaplan.{room}" for room in ("spec", "solvers", "scoring", "verification")}
PACKAGES |= {"src/zetaplan": "zetaplan"}
ERRORS = {"SpecError", "InfeasibleError", "ScoringError", "CertificateError", "SolverError"}
SPECIAL, ESCAPED = re.compile(r"([\\`*_\[\]<>|{}$~#])"), r"\\\1"  # what Markdown would take for its own


def on_page_markdown(markdown: str, **_: Any) -> str:
    """One heading for each package, and below it its messages in alphabetical order."""
    return markdown.replace(MARK, _listed()) if MARK in markdown else markdown


def _listed() -> str:
    found = defaultdict(set)
    for folder, package in PACKAGES.items():
        for path in (ROOT / folder).rglob("*.py"):
            inner = path.relative_to(ROOT / folder).parts[:-1][:1]
            found[".".join((package, *inner))] |= set(messages(path))
    parts = ("\n".join((f"## `{package}`\n", *_rows(texts))) for package, texts in sorted(found.items()) if texts)
    return "\n\n".join(parts)


def _rows(texts: set[str]) -> list[str]:
    """The messages with words of their own, not those that pass on another one."""
    return [f"- {SPECIAL.sub(ESCAPED, text)}" for text in sorted(texts, key=str.lower) if re.search(r"[a-z]{2}", text)]


def messages(path: Path) -> Iterator[str]:
    """The messages that a file raises, with … for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[text, *_])) if name in ERRORS:
                yield from _text(text)


def _text(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.JoinedStr(values=parts):
            filled = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
            yield " ".join("".join(filled).split())
        case ast.Constant(value=str(text)):
            yield " ".join(text.split())
