"""From a menu and budgets to a plan with its proof."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from numbers import Real

import numpy as np

from zetaplan import __version__
from zetaplan._records import checked
from zetaplan.errors import CertificateError, require
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.proof import ChoiceProof
from zetaplan.menus.request import ChoiceRequest
from zetaplan.solvers.menus import solve_choice
from zetaplan.solvers.menus.exact import STATES
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus
from zetaplan.spec.menus.declare import NONE
from zetaplan.spec.menus.given import read_budgets
from zetaplan.spec.named import in_order
from zetaplan.spec.values import FrozenMap
from zetaplan.verification.menus.proof import ChoiceCertificate, certify_choice


def choose(
    menu: Menu,
    budget: float | Sequence[float] | Mapping[str, float],
    *,
    pins: Mapping[str, str] = NONE,
    forbid: Mapping[str, str | Collection[str]] = NONE,
    groups: Sequence[Collection[str]] = (),
    time_limit: float = math.inf,
    states: int = STATES,
) -> ChoicePlan:
    """Take one option for every block of a menu: the least total loss within the budgets, with its proof.

    `choose` makes a plan from a menu; `zetaplan.choice` is the program that the plan solves.

    budget : a number, or one per budget of the menu, in their order or by name, in the menu's units.
    pins : block -> the option that it must take.
    forbid : block -> one or several options that it must not take. groups : blocks that must take the same option.
    time_limit : seconds of the search, >= 0. states : partial choices, or nodes under several budgets, that the search
    may keep. After either, the best choice found is returned with its proved gap.

    Raises SpecError and InfeasibleError as `zetaplan.choice`, and CertificateError where the menu is too large for the
    stand-alone checker.

    Examples:
        >>> menu = zp.Menu(("q", "k"), (("2", "4"), ("2", "4")), ((9, 1), (4, 1)), (((2,), (4,)), ((2,), (4,))))
        >>> zp.choose(menu, 6, pins={"k": "4"}).taken
        {'q': '2', 'k': '4'}
    """
    require(menu, Menu, "menu", "give a zetaplan.Menu, such as zetaplan.load_menu returns")
    require(pins, Mapping, "pins", "give the option of each block by name")
    require(forbid, Mapping, "forbid", "give the options of each block by name")
    require(groups, Sequence, "groups", "give lists of names of blocks")
    require(time_limit, Real, "time_limit", "give seconds")
    require(states, int, "states", "give a whole number")
    request = checked(
        ChoiceRequest,
        budgets=tuple(read_budgets(in_order("budget", budget, menu.budgets)).tolist()),
        pins=dict(pins),
        forbid={block: _words(options) for block, options in forbid.items()},
        groups=tuple(map(_words, groups)),
    )
    return planned(menu, request, time_limit, states)


def planned(menu: Menu, request: ChoiceRequest, time_limit: float = math.inf, states: int = STATES) -> ChoicePlan:
    """The plan of a request, with its proof. Raises the errors of `choose`."""
    solution = solve_choice(request.of(menu), time_limit=time_limit, states=states)
    certificate = _certified(solution)
    if not certificate.valid or certificate.document is None:
        failing = ", ".join(f"{condition.name}: {condition.meaning}" for condition in certificate.failures)
        raise CertificateError(f"no plan is made: {failing}")
    return ChoicePlan(
        menu=menu,
        request=request,
        solution=solution,
        proof=ChoiceProof.model_validate_json(json.dumps(certificate.document)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=FrozenMap({"zetaplan": __version__, "python": platform.python_version(), "numpy": np.__version__}),
    )


def _words(value: object) -> object:
    """One string, or several, as a tuple; what is neither is left for the record to refuse."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else value


def _certified(solution: ChoiceSolution) -> ChoiceCertificate:
    """The proof of the solver; where it takes more steps than the checker allows, the dual bound of the choice."""
    certificate = certify_choice(solution.instance, solution)
    if certificate.valid or solution.proof is None:
        return certificate
    return certify_choice(solution.instance, replace(solution, proof=None, status=ChoiceStatus.CLAIMED))
