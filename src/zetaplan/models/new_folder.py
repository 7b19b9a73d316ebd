"""New files and folders of models: complete or absent, and never in the place of another."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zetaplan._files import reason
from zetaplan.errors import SpecError


def require_new(path: Path) -> None:
    """Raise SpecError unless the path can be created: nothing is overwritten, and no computation is wasted."""
    try:
        taken = path.exists() or path.is_symlink()
        parent = path.absolute().parent
        writable = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot create {path}: {reason(error)}; choose another --out") from error
    if taken:
        raise SpecError(f"{path} already exists; choose another --out")
    if not writable:
        raise SpecError(f"cannot create {path}: its parent is no writable folder; choose another --out")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which is renamed to it when the body ends without an error.

    Raises SpecError if the folder exists, or a file of the body cannot be written.
    """
    require_new(folder)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    except OSError as error:
        raise SpecError(f"cannot create {folder}: {_why(error)}; choose another --out") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by an error of its own
        raise SpecError(f"cannot write {folder}: {_why(error)}; choose another --out") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """A temporary name beside `file`: what the body writes there is flushed to the disk and renamed to `file`.

    Raises SpecError if the file exists, or cannot be written.
    """
    require_new(file)
    temporary = file.with_name(f".{file.name}-{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        require_new(file)
        temporary.rename(file)
    except OSError as error:
        raise SpecError(f"cannot write {file}: {_why(error)}; choose another --out") from error
    finally:
        temporary.unlink(missing_ok=True)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
