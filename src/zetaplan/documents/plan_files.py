"""Plan files of any kind, by their schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zetaplan.documents.io import read, schema_of
from zetaplan.errors import CertificateError

if TYPE_CHECKING:
    from zetaplan.documents.schemas.choice import ChoiceFile
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verdict import Verdict
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.plans.plan import Plan


def any_plan(path: str | os.PathLike[str]) -> Plan | ChoicePlan:
    """The plan of a `zetaplan.plan/1` or `zetaplan.plan/2` file. Raises errors as `load_plan` and `load_choice`."""
    if _is_choice(path):
        from zetaplan.documents.choices import load_choice

        return load_choice(path)
    from zetaplan.documents.verify import load_plan

    return load_plan(path)


def checked(path: str | os.PathLike[str]) -> tuple[PlanFile | ChoiceFile, Verdict]:
    """The document of a plan file, and the verdict on it."""
    if _is_choice(path):
        from zetaplan.documents.choices import check_choice
        from zetaplan.documents.schemas.choice import ChoiceFile

        choice, text = read(path, ChoiceFile)
        return choice, check_choice(choice, text)
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verify import check

    document, text = read(path, PlanFile)
    return document, check(document, text)


def verified(path: str | os.PathLike[str]) -> Verdict:
    """The verdict on a plan file. Raises CertificateError, with the checks that fail, if it is negative."""
    _, verdict = checked(path)
    if not verdict.valid:
        raise CertificateError(f"{path} is refused: {', '.join(failure.name for failure in verdict.failures)}")
    return verdict


def _is_choice(path: str | os.PathLike[str]) -> bool:
    return schema_of(path) == "zetaplan.plan/2"
