"""Where a command may write: never over what it reads, and over a file that is there only if the command wrote it.

A file of a command is known by how it begins: its schema, or the comment that names what made it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zetaplan._files import is_there, reason
from zetaplan.errors import SpecError

HEAD = 2**12  # bytes of a file that say what made it

Own = Callable[[Path], bool]


@dataclass(frozen=True)
class Output:
    """A file that a command will write. own : whether a file that is there comes from an earlier run of the command."""

    path: Path
    own: Own


def begins(pattern: bytes) -> Own:
    """Files whose first bytes match the pattern."""
    expression = re.compile(pattern, re.DOTALL)
    return lambda path: expression.match(_head(path)) is not None


def of_schema(name: str) -> Own:
    """Documents of the schema `zetaplan.NAME/1`."""
    return begins(rb'\{\s*"schema": "zetaplan\.%b/\d+"' % re.escape(name).encode())


def of_plan(*kinds: str) -> Own:
    """Plans of one of the kinds."""
    known = "|".join(map(re.escape, kinds)).encode()
    return begins(rb'\{\s*"schema": "zetaplan\.plan/\d+".*?"kind": "(?:%b)"' % known)


def made_by(maker: str) -> Own:
    """Pages, drawings and texts whose first lines name what made them: `zetaplan report`."""
    name = re.escape(maker).encode()
    return begins(rb'(?:<!doctype html>.*?<meta name="generator" content="%b">|[^\n]*?<!-- %b -->)' % (name, name))


def same(data: bytes) -> Own:
    """Files that hold these bytes already: for formats of other tools, which cannot say what made them."""
    return lambda path: path.stat().st_size == len(data) and path.read_bytes() == data


def report_files(html: Path) -> list[Output]:
    """The HTML file of a report, and the Markdown file beside it."""
    own = made_by("zetaplan report")
    return [Output(html, own), Output(html.parent / f"{html.stem}.md", own)]


def task_files(folder: Path) -> list[Output]:
    """A task of lm-eval: the file that declares it, and its items."""
    declared = Output(folder / "zetaplan_choices.yaml", begins(b"task: zetaplan_choices\n"))
    return [declared, Output(folder / "choices.jsonl", begins(rb'\{"prompt": "[^\n]*", "choices": \[[^\n]*"gold": \d'))]


def claim(outputs: Sequence[Output], inputs: Iterable[str | os.PathLike[str] | None], *, force: bool = False) -> None:
    """Raise SpecError for a file that must not, or cannot, be written; to be called before any work.

    inputs : files and folders that the command reads; names that are no paths are passed over. force : write over
    files of other origin too, but never over an input.
    """
    require_apart([output.path for output in outputs], inputs)
    sources = [path for path in _paths(inputs) if path.is_dir()]
    for output in outputs:
        path = _place(output.path)
        if not path.exists() or path.stat().st_size == 0 or output.own(path):
            continue
        if source := next((source for source in sources if _part_of(path, source)), None):
            raise SpecError(f"out = {output.path} is a part of the input {source}; choose another name")
        if not force:
            raise SpecError(
                f"out = {output.path} is there, and this command did not write it; choose another name, or give --force"
            )


def require_apart(outputs: Sequence[Path], inputs: Iterable[str | os.PathLike[str] | None]) -> None:
    """Raise SpecError where a file cannot be written, is an input by any link, or would be written twice."""
    sources, places = _paths(inputs), [_place(path) for path in outputs]
    for path, place in zip(outputs, places, strict=True):
        _require_file(path, place)
        if source := next((source for source in sources if place.exists() and place.samefile(source)), None):
            raise SpecError(f"out = {path} is the input {source}; choose another name")
        if places.count(place) > 1:
            raise SpecError(f"out = {path}: two files would have this name; choose another for one of them")


def _paths(names: Iterable[str | os.PathLike[str] | None]) -> list[Path]:
    return [Path(name) for name in names if name is not None and is_there(Path(name))]


def _part_of(path: Path, folder: Path) -> bool:
    return any(path.samefile(part) for part in folder.rglob("*") if part.is_file())


def _place(path: Path) -> Path:
    """Where a file will be, without links and dots: a folder that is missing is made on the way."""
    try:
        place = path.resolve()
        place.exists()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links that go round
        why = "its links go round" if isinstance(error, RuntimeError) else reason(error)
        raise SpecError(f"cannot write {path}: {why}; choose another --out") from error
    return place


def _require_file(path: Path, place: Path) -> None:
    """Raise SpecError where no regular file can be; path : as the user wrote it."""
    if place.is_dir():
        raise SpecError(f"out = {path} is a folder; name a file")
    if place.exists() and not place.is_file():
        raise SpecError(f"out = {path} is no regular file; name another")
    folder = next(parent for parent in place.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise SpecError(f"cannot write {path}: {folder} is no folder that can be written to; choose another --out")


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(HEAD)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}; choose another --out") from error
