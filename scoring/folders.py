"""Folders that are written to: what cannot be written is said in one line, with the variable that moves it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zetaplan.errors import ScoringError


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder, and raise ScoringError if it, or what the body writes there, cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError, NotImplementedError, SafetensorError) as error:  # by paths, locks and weights too
        raise ScoringError(
            f"cache: {folder} cannot be written: {error}; free some room there, or set ZETAPLAN_CACHE to a folder that "
            "can be written"
        ) from error
