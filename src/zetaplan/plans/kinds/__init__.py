"""Kinds of plans, one per file of this folder; a new file needs no registration elsewhere."""

from __future__ import annotations

import sys
from typing import cast

from zetaplan import _found
from zetaplan.errors import SpecError
from zetaplan.plans.kind import Kind


def kind_names() -> tuple[str, ...]:
    """The names of the kinds in this folder."""
    return _found.names(sys.modules[__name__])


def kind_of(name: str) -> Kind:
    """The kind of this name. Raises SpecError, with all valid names, if no kind has it."""
    return cast(Kind, _found.module(sys.modules[__name__], name, argument="kind").KIND)


def kind_for(program: str, expert_rank: int | None = None) -> Kind:
    """The kind that solves a program, for files and calls without a kind. Raises SpecError if no kind solves it."""
    kinds = [kind_of(name) for name in kind_names()]
    found = [
        kind for kind in kinds if kind.program == program and (kind.counts == "experts") == (expert_rank is not None)
    ]
    if not found:
        known = ", ".join(sorted({kind.program for kind in kinds}))
        raise SpecError(f"program = {program!r}: no kind of plan solves it; expected one of {known}")
    return found[0]
