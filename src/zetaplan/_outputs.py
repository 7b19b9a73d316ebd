"""Checks of output paths: a command never overwrites its inputs, and overwrites only files that it wrote itself.

The first bytes of a file identify the command that wrote it, by a schema or by a comment with the command's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zetaplan._files import is_there, reason
from zetaplan.errors import SpecError

HEAD = 2**12  # bytes at the start of a file that are searched for the mark of a command

Own = Callable[[Path], bool]


@dataclass(frozen=True)
class Output:
    """A file that a command will write. own : whether an existing file comes from an earlier run of the command."""

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


#: Plans that take one option for every block.
of_choice = begins(rb'\{\s*"schema": "zetaplan\.plan/2"')


def made_by(maker: str) -> Own:
    """HTML, SVG and Markdown files whose first lines name the command that wrote them, such as `zetaplan report`."""
    name = re.escape(maker).encode()
    return begins(rb'(?:<!doctype html>.*?<meta name="generator" content="%b">|[^\n]*?<!-- %b -->)' % (name, name))


def same(data: bytes) -> Own:
    """Files with exactly these bytes: for formats of other tools, which cannot record the command that wrote them."""
    return lambda path: path.stat().st_size == len(data) and path.read_bytes() == data


def report_files(html: Path) -> list[Output]:
    """The HTML file of a report, and the Markdown file in the same folder."""
    own = made_by("zetaplan report")
    return [Output(html, own), Output(html.parent / f"{html.stem}.md", own)]


def task_files(folder: Path) -> list[Output]:
    """The two files of an lm-eval task: its declaration and its items."""
    declared = Output(folder / "zetaplan_choices.yaml", begins(b"task: zetaplan_choices\n"))
    return [declared, Output(folder / "choices.jsonl", begins(rb'\{"prompt": "[^\n]*", "choices": \[[^\n]*"gold": \d'))]


def claim(outputs: Sequence[Output], inputs: Iterable[str | os.PathLike[str] | None], *, force: bool = False) -> None:
    """Raise SpecError for a file that must not, or cannot, be written. Commands call it before any work.

    inputs : files and folders that the command reads; names that are not existing paths are ignored. force : overwrite
    files that other programs wrote too, but never an input.
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
                f"out = {output.path} exists, and this command did not write it; choose another name, or give --force"
            )


def require_apart(outputs: Sequence[Path], inputs: Iterable[str | os.PathLike[str] | None]) -> None:
    """Raise SpecError where a file cannot be written, is an input (links are followed), or would be written twice."""
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
    """The absolute path of a file, with links and dots resolved; missing folders are allowed."""
    try:
        place = path.resolve()
        place.exists()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        why = "its links form a loop" if isinstance(error, RuntimeError) else reason(error)
        raise SpecError(f"cannot write {path}: {why}; choose another --out") from error
    return place


def _require_file(path: Path, place: Path) -> None:
    """Raise SpecError where no regular file can be written. path : as the user wrote it."""
    if place.is_dir():
        raise SpecError(f"out = {path} is a folder; name a file")
    if place.exists() and not place.is_file():
        raise SpecError(f"out = {path} is not a regular file; choose another name")
    folder = next(parent for parent in place.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise SpecError(f"cannot write {path}: {folder} is not a writable folder; choose another --out")


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(HEAD)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}; choose another --out") from error
