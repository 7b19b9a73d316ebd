"""Cache of finished scores, addressed by content: the key of a run is the sha256 of all that its numbers depend on.

No file is trusted by its name. A file of scores carries the sha256 of its content; a file that does not match it is
computed again and overwritten.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from tempfile import mkdtemp, mkstemp
from typing import Any, Self

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from zetaplan.scoring.folders import writing
from zetaplan.scoring.model.gguf import cache_folder
from zetaplan.scoring.model.streamed import streamed
from zetaplan.scoring.scores import Scores
from zetaplan.scoring.text.sequences import Batch, digest

#: Packages whose versions are part of the key, beside the model and the text.
VERSIONS = ("zetaplan", "torch", "transformers")


@dataclass(frozen=True)
class Run:
    """One pass over a model and a text, with its place in the cache.

    Attributes:
        folder: the folder of the cache. None: nothing is cached.
        facts: everything that the recorded pairs depend on.
    """

    folder: Path | None
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, cache: bool | str | PathLike[str], model: nn.Module, data: Sequence[Batch], **more: Any) -> Self:
        """The run of a model over batches. Without a cache no hash is computed."""
        if cache is False:
            return cls(None, {})
        return cls(
            cache_folder() if cache is True else Path(cache),
            {
                "model": fingerprint(model),
                "device": next(model.parameters()).device.type,
                "data": digest(data),
                "batches": [list(batch["labels"].shape) for batch in data],
                "versions": {package: version(package) for package in VERSIONS},
                **more,
            },
        )

    def pairs(self) -> Path:
        """The folder of this run's pairs; without a cache, a temporary folder."""
        if self.folder:
            return self.folder / "runs" / key_of(self.facts)
        with writing(cache_folder()):
            return Path(mkdtemp(prefix="pairs-", dir=cache_folder()))

    @contextmanager
    def taken(self, first: bool) -> Iterator[None]:
        """Lock the run, so that one process computes it and another process with the same key blocks until it ends.

        first: whether this process is the first rank of its run, the only one that takes the lock.
        """
        if self.folder is None or not first:
            yield
            return
        lock = FileLock(self.folder / "locks" / key_of(self.facts))  # the system releases it if a run is killed
        with writing(self.folder / "locks"):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def numbers(self, compute: Callable[[], Any], **more: Any) -> Any:
        """A JSON-serialisable result under these further facts: read from the cache, or computed and stored."""
        if self.folder is None:
            return compute()
        if (found := self.known(**more)) is None:
            found = compute()
            _remember(self._numbers(self.folder, more), found)
        return found

    def known(self, **more: Any) -> Any:
        """The stored result under these further facts; None if there is none."""
        return None if self.folder is None else _read(self._numbers(self.folder, more))

    def _numbers(self, folder: Path, more: Mapping[str, Any]) -> Path:
        return folder / "blocks" / f"{key_of({**self.facts, **more})}.json"

    def finished(self, name: str, **more: Any) -> Scores | None:
        """The cached scores by a surrogate; None if they are absent or do not match their sha256."""
        return None if self.folder is None else finished(self.folder, key_of({**self.facts, "curvature": name, **more}))

    def keep(self, scores: Scores, **more: Any) -> None:
        """Store the scores in the cache."""
        if self.folder:
            keep(self.folder, key_of({**self.facts, "curvature": scores.curvature, **more}), scores)


def fingerprint(model: nn.Module) -> str:
    """sha256 of the architecture and of every parameter and buffer in memory; of a streamed model, as stored."""
    config: Any = getattr(model, "config", None)
    sha = hashlib.sha256(f"{type(model).__qualname__} {getattr(config, '_attn_implementation', None)}".encode())
    sha.update((config.to_json_string() if hasattr(config, "to_json_string") else repr(model)).encode())
    if stored := streamed(model):
        sha.update(f"{stored.sha256} {next(model.parameters()).dtype}".encode())
        return sha.hexdigest()
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def key_of(facts: Any) -> str:
    """sha256 of a JSON-serialisable value in one canonical form."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def finished(folder: Path, key: str) -> Scores | None:
    """The scores under a key; None if there are none, or if the file does not match its sha256."""
    try:
        return _restored(_read(_file(folder, key)))
    except (TypeError, AttributeError):
        return None


def keep(folder: Path, key: str, scores: Scores) -> None:
    """Write scores under their key, atomically."""
    _remember(_file(folder, key), {field.name: _plain(getattr(scores, field.name)) for field in fields(scores)})


def _read(file: Path) -> Any:
    try:
        found = json.loads(file.read_text())
        return found["content"] if found["sha256"] == key_of(found["content"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remember(file: Path, content: Any) -> None:
    """Write a result. A failure is a warning, so that a full disk does not cost the result."""
    try:
        _write(file, content)
    except OSError as error:
        warnings.warn(f"cache: {file} cannot be written: {error}; the result is not cached", stacklevel=2)


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = mkstemp(prefix=".incomplete-", dir=file.parent)
    try:
        with os.fdopen(handle, "w") as stream:
            json.dump({"sha256": key_of(content), "content": content}, stream)
        os.replace(temporary, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _file(folder: Path, key: str) -> Path:
    return folder / "scores" / f"{key}.json"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "type": str(value.dtype)}
    return dict(value) if isinstance(value, Mapping) else value


def _restored(content: dict[str, Any]) -> Scores:
    return Scores(**{name: _value(value) for name, value in content.items()})


def _value(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"array", "type"}:
        return np.array(value["array"], dtype=value["type"])
    return tuple(value) if isinstance(value, list) else value
