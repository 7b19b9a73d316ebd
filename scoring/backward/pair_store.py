"""Stores of the pairs (input, output gradient) of every module, in memory or on disk, until all batches have passed.

On disk a batch is a folder of one safetensors file per module, written under a temporary name and renamed when
complete, with the sha256 of every file. A killed run leaves complete batches only. The next run with the same key uses
the batches that match their sha256 and computes the rest. Tensors are read back bit by bit as they were written.
"""

import hashlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import Pair, Pairs, Tensors, moved
from zetaplan.scoring.folders import writing

CPU = torch.device("cpu")
INDEX, LOSSES = "index.json", "losses"


class PairStore(ABC):
    """The pairs of the batches of one pass.

    Attributes:
        peak: the largest number of bytes of pairs in memory at once, apart from the module being consumed.
    """

    peak: int = 0

    @abstractmethod
    def put(self, name: str, pair: Pair) -> None:
        """Add the pair of a module in the current batch."""

    @abstractmethod
    def finish(self, batch: int, losses: Tensor) -> None:
        """Complete a batch, of which every module has been put; its losses are (B,) in float64."""

    @abstractmethod
    def losses(self, batch: int) -> Tensor | None:
        """The losses of a stored batch; None if it has to be computed."""

    @abstractmethod
    def whole(self, name: str) -> bool:
        """Whether the pairs of the module may be taken now, before the last batch ends."""

    @abstractmethod
    def take(self, name: str) -> Pairs:
        """The pairs of a module in the order of the batches. A store in memory drops them."""

    def close(self) -> None:  # noqa: B027  most stores have nothing to release
        """End the pass, and release what it stored."""


class MemoryStore(PairStore):
    """Pairs in memory, on the CPU. Pairs of the last batch stay on the device, because they are taken at once.

    Args:
        batches: number of batches.
        early: whether a module's pairs may be taken, and so freed, inside the backward pass of the last batch.
    """

    def __init__(self, batches: int, early: bool = True) -> None:
        self._last = batches - 1
        self._early = early
        self._pairs: dict[str, Pairs] = defaultdict(list)

    def put(self, name: str, pair: Pair) -> None:
        last = len(self._pairs[name]) == self._last
        self._pairs[name].append(pair if last and self._early else moved(pair, CPU))

    def finish(self, batch: int, losses: Tensor) -> None:
        waiting = (tensor for pairs in self._pairs.values() for pair in pairs for tensor in named(pair).values())
        storages = (tensor.untyped_storage() for tensor in waiting)
        self.peak = max(self.peak, sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()))

    def losses(self, batch: int) -> Tensor | None:
        return None

    def whole(self, name: str) -> bool:
        return self._early and len(self._pairs[name]) == self._last + 1

    def take(self, name: str) -> Pairs:
        return self._pairs.pop(name)


class DiskStore(PairStore):
    """Pairs on disk, one folder per batch.

    Args:
        folder: the folder of this run, named by its key; shared by all machines of the run.
        batches: the batches, by their number in the run, that this process stores.
        names: the modules.
    """

    def __init__(self, folder: Path, batches: Sequence[int], names: Collection[str]) -> None:
        self._folder = folder
        self._batches = batches
        self._names = set(names)
        self._working: Path | None = None
        self._digests: dict[str, str] = {}
        with writing(folder):
            self._finished = {batch for batch in batches if self._intact(self._path(batch))}

    def put(self, name: str, pair: Pair) -> None:
        if self._working is None:
            with writing(self._folder):
                self._working = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=self._folder))
        self._write(name, named(pair))

    def _write(self, name: str, tensors: dict[str, Tensor]) -> None:
        assert self._working is not None  # noqa: S101  put comes first
        content = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        self._digests[name] = hashlib.sha256(content).hexdigest()
        with writing(self._folder):
            self._file(self._working, name).write_bytes(content)

    def finish(self, batch: int, losses: Tensor) -> None:
        self._write(LOSSES, {LOSSES: losses})
        assert self._working is not None  # noqa: S101  put comes first
        with writing(self._folder):
            (self._working / INDEX).write_text(json.dumps(self._digests))
            shutil.rmtree(self._path(batch), ignore_errors=True)  # a folder that is there is damaged
            os.rename(self._working, self._path(batch))
        self._working, self._digests = None, {}
        self._finished.add(batch)

    def losses(self, batch: int) -> Tensor | None:
        return load_file(self._file(self._path(batch), LOSSES))[LOSSES] if batch in self._finished else None

    def whole(self, name: str) -> bool:
        return False

    def take(self, name: str) -> Pairs:
        return [self._read(self._file(self._path(batch), name)) for batch in self._batches]

    def _read(self, file: Path) -> Pair:
        try:
            return pair_of(load_file(file))  # mapped into memory, read when used
        except (OSError, KeyError, SafetensorError) as error:
            raise ScoringError(
                f"cache: {file} was deleted or damaged during the run; run again, intact batches are reused"
            ) from error

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, batch: int) -> Path:
        return self._folder / f"batch-{batch:06d}"

    @staticmethod
    def _file(folder: Path, name: str) -> Path:
        return folder / f"{name}.safetensors"

    def _intact(self, folder: Path) -> bool:
        """Whether every file of a batch exists and matches its sha256."""
        try:
            digests = json.loads((folder / INDEX).read_text())
            return set(digests) == {*self._names, LOSSES} and all(
                sha == _sha256(self._file(folder, name)) for name, sha in digests.items()
            )
        except (OSError, ValueError, TypeError):
            return False


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def named(pair: Pair) -> dict[str, Tensor]:
    """The tensors of a pair by name: one tensor of a side under its name, a tuple of them under x.0, x.1, ..."""
    return _named("x", pair[0]) | _named("d", pair[1])


def pair_of(tensors: Mapping[str, Tensor]) -> Pair:
    """The pair with these tensors."""
    return _side("x", tensors), _side("d", tensors)


def _named(side: str, value: Tensors) -> dict[str, Tensor]:
    return {side: value} if isinstance(value, Tensor) else {f"{side}.{i}": tensor for i, tensor in enumerate(value)}


def _side(side: str, tensors: Mapping[str, Tensor]) -> Tensors:
    count = sum(key.startswith(f"{side}.") for key in tensors)
    return tensors[side] if side in tensors else tuple(tensors[f"{side}.{i}"] for i in range(count))
