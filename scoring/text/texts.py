"""Real text as sequences of tokens.

Plain text is cut into windows of T tokens that follow each other without overlap, a .jsonl file gives one
sequence per record; N of them are taken evenly spread over all that there is. No draw is random.
"""

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from zetaplan.errors import ScoringError
from zetaplan.scoring.text.sequences import IGNORED, Sequences, digest

PYDOC = "pydoc"
FIELDS = ("text", "ctx", "sentence1", "sentence2")


def read_sequences(
    files: str | PathLike[str] | Sequence[str | PathLike[str]],
    tokenizer: Any,
    *,
    sequences: int = 32,
    length: int = 128,
    field: str | None = None,
) -> Sequences:
    """Read N = `sequences` sequences of at most T = `length` tokens.

    Args:
        files: one or more UTF-8 files, plain text or .jsonl, or "pydoc" for the text of Python's own help topics.
        tokenizer: a transformers tokenizer. Windows of plain text get no special tokens, records those that
            the tokenizer adds by default.
        sequences: N >= 1.
        length: T >= 2.
        field: the record's text field. By default `text`, else `ctx` or `sentence1` and `sentence2` joined by a
            line break.

    Raises:
        ScoringError: a file is missing or malformed, or holds less text than asked for; the message counts.

    Examples:
        >>> _ = Path("cat.txt").write_text("the cat sat on the mat " * 20)
        >>> read = zp.read_sequences("cat.txt", tokenizer, sequences=4, length=8)
        >>> read.input_ids.shape
        torch.Size([4, 8])
    """
    if sequences < 1:
        raise ScoringError(f"sequences: expected at least 1, got {sequences}")
    if length < 2:
        raise ScoringError(f"length: expected at least 2 tokens, since the loss predicts the next one, got {length}")
    sources = [files] if isinstance(files, str | PathLike) else list(files)
    rows = [row for source in sources for row in _rows(source, tokenizer, length, field)]
    names = tuple(str(source) for source in sources)
    if len(rows) < sequences:
        raise ScoringError(
            f"files: {', '.join(names)} give {len(rows)} sequences of {length} tokens, {sequences} are asked for; "
            "give more text, or ask for fewer or shorter sequences"
        )
    chosen = [rows[index * len(rows) // sequences] for index in range(sequences)]
    description = f"{sequences} of {len(rows)} sequences of at most {length} tokens from {', '.join(names)}"
    return _padded(chosen, tokenizer, names, description)


def sequences_between(
    files: str | PathLike[str] | Sequence[str | PathLike[str]],
    tokenizer: Any,
    *,
    sequences: int = 32,
    length: int = 128,
    field: str | None = None,
) -> Sequences:
    """N held-out sequences, none of which `read_sequences` takes for the same arguments: those halfway between.

    Of 2N sequences spread evenly every second one is taken by `read_sequences`. Arguments and errors as there.
    """
    both = read_sequences(files, tokenizer, sequences=2 * sequences, length=length, field=field)
    held_out = {name: value[1::2] for name, value in both.batch.items()}
    description = f"every second of the {both.description}"
    return Sequences(**held_out, sha256=digest([held_out]), sources=both.sources, description=description)


def _rows(source: str | PathLike[str], tokenizer: Any, length: int, field: str | None) -> list[list[int]]:
    path = Path(source)
    if path.suffix == ".jsonl":
        return _record_rows(path, tokenizer, length, field)
    text = _pydoc_text() if str(source) == PYDOC else _read(path)
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < length:
        raise ScoringError(
            f"files: {source} has {len(ids)} tokens, one sequence needs {length}; give more text or a smaller length"
        )
    return [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]


def _record_rows(path: Path, tokenizer: Any, length: int, field: str | None) -> list[list[int]]:
    places, texts = zip(*_records(path, field), strict=True) if _read(path).strip() else ((), ())
    if not texts:
        raise ScoringError(f"files: {path} holds no records")
    rows = tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
    for place, row in zip(places, rows, strict=True):
        if len(row) < 2:
            raise ScoringError(f"files: {place} has {len(row)} tokens; at least 2 are needed to predict one")
    return rows  # type: ignore[no-any-return]


def _records(path: Path, field: str | None) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            yield place, _record_text(_parse(line, place), field, place)


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ScoringError(
            f"files: {place} is not JSON ({error.msg}); a .jsonl file has one object per line"
        ) from error
    if not isinstance(record, dict):
        raise ScoringError(f"files: {place} is a {type(record).__name__}; expected an object with a text field")
    return record


def _record_text(record: dict[str, Any], field: str | None, place: str) -> str:
    fields = (field,) if field else (FIELDS[:1] if "text" in record else FIELDS[1:])
    texts = [record[name] for name in fields if isinstance(record.get(name), str)]
    if not texts:
        raise ScoringError(
            f"files: {place} has none of the text fields {', '.join(fields)}; it has {', '.join(record)}; "
            "name the right one with `field`"
        )
    return "\n".join(texts)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(f"files: cannot read {path} as UTF-8 text: {error}") from error


def _pydoc_text() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _padded(rows: list[list[int]], tokenizer: Any, sources: tuple[str, ...], description: str) -> Sequences:
    width = max(map(len, rows))
    filler = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
    ids = torch.tensor([row + [filler] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    labels = ids.masked_fill(mask == 0, IGNORED)
    sha256 = digest([{"input_ids": ids, "attention_mask": mask, "labels": labels}])
    return Sequences(ids, mask, labels, sha256, sources, description)
