"""Command `zetaplan list`: names of surrogates, pruners, quantizers and the like, from the package's folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import typer

from zetaplan._found import listed
from zetaplan.cli.options import Json, Quiet
from zetaplan.cli.output import show, tell

What = Literal["surrogates", "pruners", "quantizers", "estimators", "runtimes", "formats", "programs", "kinds"]


def list_(
    what: Annotated[What, typer.Argument(help="Names to list.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the names of surrogates, pruners, quantizers, estimators, runtimes, export formats, programs or kinds."""
    found = NAMES[what]()
    show(list(found), None, as_json, quiet)
    tell("\n".join(found), quiet or as_json)


def _quantizers() -> tuple[str, ...]:
    from zetaplan.models.quantizers import quantizer_forms

    return tuple(quantizer_forms().values())


def _runtimes() -> tuple[str, ...]:
    from zetaplan.runtimes import runtime_names

    return runtime_names()


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
    "surrogates": partial(listed, "zetaplan.scoring.curvature"),
    "pruners": partial(listed, "zetaplan.models.pruners"),
    "quantizers": _quantizers,
    "estimators": partial(listed, "zetaplan.measuring.estimators"),
    "runtimes": _runtimes,
    "formats": _formats,
    "programs": _programs,
    "kinds": _kinds,
}
