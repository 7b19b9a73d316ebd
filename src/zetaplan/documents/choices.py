"""Menus and the plans of choices as files: written, read, and believed only after everything is derived anew."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zetaplan import _found
from zetaplan._digits import at_most
from zetaplan._files import path_of, text_of, write
from zetaplan._records import checked
from zetaplan._uncollected import uncollected
from zetaplan.documents.certificate import check_certificate
from zetaplan.documents.io import load, read, save
from zetaplan.documents.rounds import check_rounds
from zetaplan.documents.schemas.choice import ChoiceFile, TakenData
from zetaplan.documents.schemas.menu import BlockData, BudgetData, MenuFile, OptionData
from zetaplan.documents.verdict import Check, Verdict
from zetaplan.errors import CertificateError, SpecError, ZetaplanError, require
from zetaplan.menus import readers
from zetaplan.menus.limit import BitsLimit
from zetaplan.menus.menu import Column, Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.values import FrozenMap
from zetaplan.verification.menus.proof import statement

KNOWN = ("low", "high", "standard_error")


@uncollected()
def save_menu(menu: Menu, path: str | os.PathLike[str]) -> Path:
    """Write `zetaplan.menu/1` to the file, whole or not at all. Raises SpecError if it cannot be written.

    Examples:
        >>> menu = zp.Menu(("q",), (("2", "4"),), ((9, 1),), (((2,), (4,)),), units=("bytes",))
        >>> zp.save_menu(menu, "menu.json").name
        'menu.json'
    """
    return save(path, menu_document(menu))


def load_menu(path: str | os.PathLike[str]) -> Menu:
    """The menu that a file holds: `zetaplan.menu/1`, a CSV of options, or a measurement of exllamav3.

    Raises SpecError, in one line, if the file is none of them, or breaks its format.

    Examples:
        >>> _ = Path("menu.csv").write_text("block,option,loss,cost\\nq,2,9,2\\nq,4,1,4\\n")
        >>> zp.load_menu("menu.csv").options
        (('2', '4'),)
    """
    text = text_of(path_of(path))
    try:
        for reader in _found.modules(readers).values():
            if reader.recognises(text):
                found: Menu = reader.read(text)
                return found
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    document = load(path, MenuFile)
    try:
        return menu_value(document)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def menu_document(menu: Menu) -> MenuFile:
    """The menu as the document that `save_menu` writes."""
    require(menu, Menu, "menu", "give a zetaplan.Menu, such as zetaplan.load_menu returns")
    several = len(menu.budgets) > 1
    blocks = []
    for k, (name, labels) in enumerate(zip(menu.names, menu.options, strict=True)):
        known = {column: values[k] for column in KNOWN if (values := getattr(menu, column)) is not None}
        options = tuple(
            checked(
                OptionData,
                label=label,
                loss=menu.losses[k][j],
                costs=menu.costs[k][j] if several else menu.costs[k][j][0],
                **{column: row[j] for column, row in known.items()},
            )
            for j, label in enumerate(labels)
        )
        blocks.append(checked(BlockData, name=name, options=options))
    return checked(
        MenuFile,
        estimator=menu.estimator,
        loss_unit=menu.loss_unit,
        budgets=tuple(checked(BudgetData, name=n, unit=u) for n, u in zip(menu.budgets, menu.units, strict=True)),
        blocks=tuple(blocks),
        groups=menu.groups,
        provenance=dict(menu.provenance),
    )


def menu_value(document: MenuFile) -> Menu:
    """The menu that a document holds. Raises SpecError where its numbers describe none."""
    blocks = document.blocks
    return Menu(
        names=tuple(block.name for block in blocks),
        options=tuple(tuple(option.label for option in block.options) for block in blocks),
        losses=tuple(tuple(option.loss for option in block.options) for block in blocks),
        costs=tuple(tuple(_row(option.costs) for option in block.options) for block in blocks),
        budgets=tuple(budget.name for budget in document.budgets),
        units=tuple(budget.unit for budget in document.budgets),
        loss_unit=document.loss_unit,
        groups=document.groups,
        estimator=document.estimator,
        provenance=document.provenance,
        **{column: _column(column, blocks) for column in KNOWN},
    )


def _row(costs: float | tuple[float, ...]) -> tuple[float, ...]:
    return costs if isinstance(costs, tuple) else (costs,)


def _column(name: str, blocks: Sequence[BlockData]) -> Column | None:
    rows = [[getattr(option, name) for option in block.options] for block in blocks]
    missing = [value is None for row in rows for value in row]
    if all(missing):
        return None
    if any(missing):
        raise SpecError(f"{name}: some options have one and some have none; expected all of them, or none")
    return tuple(map(tuple, rows))


@uncollected()
def save_choice(plan: ChoicePlan, path: str | os.PathLike[str]) -> Path:
    """Write `zetaplan.plan/2` to the file, whole or not at all. Raises SpecError if it cannot be written.

    Examples:
        >>> menu = zp.Menu(("q",), (("2", "4"),), ((9, 1),), (((2,), (4,)),), units=("bytes",))
        >>> zp.save_choice(zp.choose(menu, 4), "choice.json").name
        'choice.json'
    """
    return write(path, _unsealed(plan).sealed_text())


def load_choice(path: str | os.PathLike[str]) -> ChoicePlan:
    """The plan that a file of `zetaplan.plan/2` holds, proved anew.

    Raises SpecError if the file is not one, CertificateError (naming what fails) if its numbers do not hold.

    Examples:
        >>> menu = zp.Menu(("q",), (("2", "4"),), ((9, 1),), (((2,), (4,)),), units=("bytes",))
        >>> _ = zp.choose(menu, 4).save("choice.json")
        >>> zp.load_choice("choice.json").taken
        {'q': '4'}
    """
    document, text = read(path, ChoiceFile)
    verdict = check_choice(document, text)
    if not verdict.valid:
        failing = ", ".join(failure.name for failure in verdict.failures)
        raise CertificateError(f"{path} is refused: {failing}; make the plan again, or run `zetaplan verify`")
    return choice_value(document)


def choice_document(plan: ChoicePlan) -> ChoiceFile:
    """The plan as the document that `save_choice` writes, sealed with its own sha256."""
    return _unsealed(plan).sealed()


def _unsealed(plan: ChoicePlan) -> ChoiceFile:
    require(plan, ChoicePlan, "plan", "give what zetaplan.choose returns")
    return checked(
        ChoiceFile,
        created=plan.created,
        versions=dict(plan.versions),
        request=plan.request,
        choice=_taken(plan.menu, plan.places),
        loss=plan.loss,
        spent=plan.solution.spent,
        status="optimal" if plan.optimal else "gap",
        gap=plan.gap,
        proof=plan.proof,
        menu_sha256="",
        menu=menu_document(plan.menu),
    )


def choice_value(document: ChoiceFile) -> ChoicePlan:
    """The plan with the numbers of the document. Raises SpecError where they describe none."""
    menu = menu_value(document.menu)
    places = _places(document, menu)
    return ChoicePlan(
        menu=menu,
        request=document.request,
        solution=_solution(document, document.request.of(menu), places),
        proof=document.proof,
        created=document.created,
        versions=FrozenMap(document.versions),
    )


def _taken(menu: Menu, places: Sequence[int]) -> tuple[TakenData, ...]:
    columns = zip(menu.names, menu.options, menu.losses, menu.costs, places, strict=True)
    return tuple(
        checked(TakenData, block=name, option=labels[j], loss=losses[j], costs=costs[j])
        for name, labels, losses, costs, j in columns
    )


def _places(document: ChoiceFile, menu: Menu) -> list[int]:
    if [taken.block for taken in document.choice] != list(menu.names):
        raise SpecError("choice: expected one entry for every block of the menu, in its order")
    for taken, labels in zip(document.choice, menu.options, strict=True):
        if taken.option not in labels:
            raise SpecError(f"choice[{taken.block!r}] = {taken.option!r}: expected one of {', '.join(labels)}")
    return [labels.index(taken.option) for taken, labels in zip(document.choice, menu.options, strict=True)]


def _solution(document: ChoiceFile, instance: Choice, places: Sequence[int]) -> ChoiceSolution:
    """The choice of the file. Raises SpecError where it takes an option that is ruled out, or parts tied blocks."""
    choice = np.array(places, dtype=np.intp)
    if not instance.admits(choice):
        raise SpecError("choice: it takes an option that is ruled out, or different options for tied blocks")
    status = ChoiceStatus.OPTIMAL if document.gap == 0.0 else ChoiceStatus.GAP
    bound = document.loss - document.gap
    return ChoiceSolution(instance, choice, np.zeros(instance.budgets.size), bound, status, "file")


@uncollected()
def check_choice(document: ChoiceFile, text: str | None = None) -> Verdict:
    """Check every link from the menu to the proof. text : of the file of the document."""
    own, menu = document.intact(text)
    checks = [
        Check("digest", own, "the document is the one that was sealed by its sha256"),
        Check("menu digest", menu, "the menu is the one of its sha256"),
    ]
    try:
        checks += _links(document, choice_value(document))
    except ZetaplanError as error:
        checks.append(Check("choice", False, str(error)))
    return Verdict(tuple(checks))


def _links(document: ChoiceFile, plan: ChoicePlan) -> Iterator[Check]:
    solution, proof = plan.solution, document.proof
    yield Check("choice", True, "every block takes one option that is not ruled out, and tied blocks the same")
    same = document.choice == _taken(plan.menu, plan.places)
    yield Check("entries", same, "the loss and the costs of every option taken are those of the menu")
    totals = (document.loss, document.spent) == (solution.objective, solution.spent)
    yield Check("totals", totals, f"the total loss is {solution.objective:g}, as derived from the menu")
    stated = proof.model_dump(mode="json")
    derived = statement(solution.instance, solution.choice)
    same = all(stated[name] == value for name, value in derived.items())
    yield Check("statement", same, "the proof is about the menu, the request and the choice of this file")
    yield _proof(stated)
    same = document.gap == proof.gap and document.status == ("optimal" if proof.gap == 0.0 else "gap")
    detail = "the choice is optimal" if proof.gap == 0.0 else f"the choice is within {at_most(proof.gap)} of the best"
    yield Check("gap", same, f"status and gap are those of the proof: {detail}")
    yield from check_rounds(plan)
    if document.request.limit is not None:
        yield from _of_formats(plan, document.request.limit)


def _of_formats(plan: ChoicePlan, limit: BitsLimit) -> Iterator[Check]:
    from zetaplan.bits.quantize import budget_of, follows_runtime

    budget = budget_of(plan.menu, limit)
    same = plan.request.budgets == (budget,)
    yield Check("budget", same, f"the limit leaves {budget:,.0f} bytes for the blocks of the menu")
    detail = "formats and bytes of the menu are those of its runtime, and linears that it stores as one are tied"
    yield Check("runtime", follows_runtime(plan), detail)


def _proof(stated: dict[str, object]) -> Check:
    try:
        verdict = check_certificate(stated)
    except CertificateError as error:
        return Check("proof", False, str(error))
    return Check("proof", True, f"in fractions: {'; '.join(verdict.claims)}")
