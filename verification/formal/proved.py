"""The proved checker as a program that is run on a file; it is there only where `make checker` has built it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from zetaplan.errors import SpecError

VARIABLE = "ZETAPLAN_CHECKER"
BUILT = Path(__file__).resolve().parents[2] / "build" / "formal" / "checker"  # beside the rooms, in a clone
SECONDS = 600


class Answer(NamedTuple):
    """status : 0 every claim is proved, 1 one is not, 2 the file holds no proof in fractions. line : the verdict."""

    status: int
    line: str


def program() -> Path:
    """The program: the one that ZETAPLAN_CHECKER names, else that of this clone. Raises SpecError if there is none."""
    path = Path(os.environ.get(VARIABLE) or BUILT)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise SpecError(
            f"{path}: the proved checker is not built; run `make checker` in a clone (it needs Coq), "
            f"or set {VARIABLE} to its path"
        )
    return path


def check_proved(path: Path) -> Answer:
    """What the proved checker says of a certificate or a plan. Raises SpecError where it is not built or gives up."""
    try:
        done = subprocess.run(  # noqa: S603 the program is the user's own
            [program(), path.absolute()], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SpecError(f"{path}: the proved checker takes more than {SECONDS} seconds") from None
    if done.returncode not in (0, 1, 2):
        raise SpecError(f"{path}: the proved checker ended with status {done.returncode}")
    return Answer(done.returncode, (done.stdout or done.stderr).strip())
