"""`zetaplan list`: what can be chosen by name, as the folders hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from zetaplan.cli.options import Json, Quiet
from zetaplan.cli.output import show, tell


def list_(
    what: Annotated[
        Literal["surrogates", "pruners", "formats", "programs", "kinds"], typer.Argument(help="What is listed.")
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the surrogates of the curvature, the pruners, the formats of exports, the declared programs or the kinds."""
    found = NAMES[what]()
    show(list(found), None, as_json, quiet)
    tell("\n".join(found), quiet or as_json)


def _surrogates() -> tuple[str, ...]:
    from zetaplan.scoring.curvature import curvature_names

    return curvature_names()


def _pruners() -> tuple[str, ...]:
    from zetaplan.models.pruners import pruner_names

    return pruner_names()


def _formats() -> tuple[str, ...]:
    from zetaplan.exports import format_names

    return format_names()


def _programs() -> tuple[str, ...]:
    from zetaplan.spec.programs import programs

    return tuple(programs())


def _kinds() -> tuple[str, ...]:
    from zetaplan.plans.kinds import kind_names

    return kind_names()


NAMES: dict[str, Callable[[], tuple[str, ...]]] = {
    "surrogates": _surrogates,
    "pruners": _pruners,
    "formats": _formats,
    "programs": _programs,
    "kinds": _kinds,
}
