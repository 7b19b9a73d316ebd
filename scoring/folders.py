"""Output folders: a write failure becomes a one-line ScoringError that names the variable which moves the folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zetaplan.errors import ScoringError


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Create the folder. Raise ScoringError if it, or a file that the body writes to it, cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError, NotImplementedError, SafetensorError) as error:  # of paths, locks and weights
        raise ScoringError(
            f"cache: {folder} cannot be written: {error}; free disk space there, or set ZETAPLAN_CACHE to a "
            "writable folder"
        ) from error
