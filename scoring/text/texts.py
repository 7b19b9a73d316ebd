"""Texts as sequences of tokens.

Plain text is cut into consecutive windows of T tokens without overlap. A file of JSON records gives one sequence per
record. N of these sequences are taken, evenly spread. No draw is random.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from zetaplan._plural import counted
from zetaplan.errors import ScoringError, shown
from zetaplan.scoring.arguments import listed
from zetaplan.scoring.text.records import holds_records, read_plain, read_records
from zetaplan.scoring.text.sequences import IGNORED, Sequences, digest, require_count

PYDOC = "pydoc"


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
        files: one or more UTF-8 files, plain text or records (.jsonl, .ndjson, .json), or "pydoc" for the text of
            Python's own help topics.
        tokenizer: a transformers tokenizer. Windows of plain text get no special tokens, records get those that
            the tokenizer adds by default.
        sequences: N >= 1.
        length: T >= 2.
        field: the record's text field. By default `text`, else `ctx` or `sentence1` and `sentence2` joined by a
            line break.

    Raises:
        ScoringError: a file is missing or malformed, or has less text than requested; the message gives the counts.

    Examples:
        >>> _ = Path("cat.txt").write_text("the cat sat on the mat " * 20)
        >>> read = zp.read_sequences("cat.txt", tokenizer, sequences=4, length=8)
        >>> read.input_ids.shape
        torch.Size([4, 8])
    """
    sequences = require_count("sequences", sequences, 1)
    length = require_count("length", length, 2, " tokens, since the loss predicts the next one")
    sources = _sources(files)
    _require_tokenizer(tokenizer)
    _require_field(field, sources)
    rows = [row for source in sources for row in _rows(source, tokenizer, length, field)]
    names = tuple(str(source) for source in sources)
    if len(rows) < sequences:
        raise ScoringError(
            f"files: {', '.join(names)} give {counted(len(rows), 'sequence')} of {length} tokens, expected "
            f"{sequences}; give more text, or ask for fewer or shorter sequences"
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

    `read_sequences` takes every second of 2N evenly spread sequences. Arguments and errors are those of
    `read_sequences`.
    """
    both = read_sequences(files, tokenizer, sequences=2 * sequences, length=length, field=field)
    held_out = {name: value[1::2] for name, value in both.batch.items()}
    description = f"every second of the {both.description}"
    return Sequences(**held_out, sha256=digest([held_out]), sources=both.sources, description=description)


def _rows(source: str | PathLike[str], tokenizer: Any, length: int, field: str | None) -> list[list[int]]:
    if holds_records(source):
        return _record_rows(Path(source), tokenizer, length, field)
    text = _pydoc_text() if str(source) == PYDOC else read_plain(source, "files")
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < length:
        raise ScoringError(
            f"files: {source} has {counted(len(ids), 'token')}, one sequence needs {length}; give more text or a "
            "smaller length"
        )
    return [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]


def _record_rows(path: Path, tokenizer: Any, length: int, field: str | None) -> list[list[int]]:
    records = read_records(path, "files")
    texts = [record.text(field, "files") for record in records]
    rows = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    for record, row in zip(records, rows, strict=True):
        if len(row) < 2:
            raise ScoringError(
                f"files: {record.place} has {counted(len(row), 'token')}; at least 2 are needed to predict one; leave "
                "the record out"
            )
    return rows  # type: ignore[no-any-return]


def _sources(files: object) -> list[str | PathLike[str]]:
    sources = [files] if isinstance(files, str | PathLike) else listed(files)
    if not sources or not all(isinstance(source, str | PathLike) and str(source) for source in sources):
        raise ScoringError(f"files: expected one or more paths, got {shown(files)}")
    return sources


def _require_tokenizer(tokenizer: Any) -> None:
    if not (callable(tokenizer) and hasattr(tokenizer, "pad_token_id")):
        raise ScoringError(
            f"tokenizer: expected a transformers tokenizer, got {type(tokenizer).__name__}; a loaded model has one as "
            "`model.tokenizer`"
        )


def _require_field(field: object, sources: Sequence[str | PathLike[str]]) -> None:
    if field is None:
        return
    if not (isinstance(field, str) and field):
        raise ScoringError(f"field: expected the name of a field, got {shown(field)}")
    if not any(map(holds_records, sources)):
        raise ScoringError(f"field: {field!r} names a field of records, and {sources[0]} is plain text; omit field")


def _pydoc_text() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _padded(rows: list[list[int]], tokenizer: Any, sources: tuple[str, ...], description: str) -> Sequences:
    width = max(map(len, rows))
    filler = next((i for i in (tokenizer.pad_token_id, getattr(tokenizer, "eos_token_id", None)) if i is not None), 0)
    ids = torch.tensor([row + [filler] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    labels = ids.masked_fill(mask == 0, IGNORED)
    sha256 = digest([{"input_ids": ids, "attention_mask": mask, "labels": labels}])
    return Sequences(ids, mask, labels, sha256, sources, description)
