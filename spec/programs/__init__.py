"""The declared programs: one file each, found in this folder; there is nothing to register elsewhere."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from zetaplan import _found
from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from zetaplan.spec.program import Program


@lru_cache(maxsize=1)
def programs() -> dict[str, Program]:
    """Every program declared in this folder, by name."""
    from zetaplan.spec.program import Program

    modules = _found.modules(sys.modules[__name__]).values()
    found = (value for module in modules for value in vars(module).values() if isinstance(value, Program))
    return {program.name: program for program in sorted(found, key=lambda program: program.name)}


def named(name: str) -> Program:
    """The declared program of this name; raises SpecError where there is none."""
    if name not in programs():
        raise SpecError(f"program = {name!r}: expected one of {', '.join(programs())}")
    return programs()[name]
