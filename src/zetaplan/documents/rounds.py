"""The rounds of a refined plan, derived anew: every menu, every choice with its proof, every test, the comparison."""

from __future__ import annotations

from collections.abc import Iterator

from zetaplan.documents.certificate import check_certificate
from zetaplan.documents.verdict import Check
from zetaplan.errors import CertificateError, SpecError
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.refined import Refined, Round, Trial, best_start, comparison, refined_facts, round_menu, significant
from zetaplan.verification.menus.proof import statement

#: Fields of a menu that its measurements determine.
FIELDS = ("names", "options", "losses", "costs", "budgets", "units", "low", "high", "standard_error")


def check_rounds(plan: ChoicePlan) -> Iterator[Check]:
    """The checks of a refined plan; none for any other plan."""
    facts = refined_facts(plan.menu.provenance)
    if facts is None:
        return
    yield _check("sequence", "every round begins with the plan of the round before", _chained(facts))
    wrong = (_trial(trial, found, facts) for found in facts.rounds for trial in found.trials)
    yield _check("rounds", "every choice is proved, in fractions, for the menu of its round", wrong)
    yield _check("tests", "every choice was accepted exactly if its test is significant", _tests(facts))
    yield _check("last round", "the plan is the last accepted choice, with its menu", _last(plan, facts))
    yield _check("held-out", "the difference to uniform follows from the losses of the sequences", _held_out(facts))


def _check(name: str, detail: str, problems: Iterator[str]) -> Check:
    """The check that there are no problems. The first one is its detail if there are."""
    problem = next((found for found in problems if found), "")
    return Check(name, not problem, problem or detail)


def _chained(facts: Refined) -> Iterator[str]:
    at = facts.start
    if facts.starts and at != best_start(facts.starts):
        yield "the start is not the one with the least divergence"
    for number, found in enumerate(facts.rounds, 1):
        if found.at != at:
            yield f"round {number} does not begin with the plan of the round before"
        at = found.after


def _trial(trial: Trial, found: Round, facts: Refined) -> str:
    """What is wrong with a choice; "" if it is proved for the menu, the budget and the number of changed blocks."""
    try:
        if not set(trial.barred) <= _failed(found, trial):
            return "a move is barred, but no choice with it failed before in its round"
        charged = round_menu(facts, found, trial)
        instance = charged.choice((facts.budget, float(trial.most)))
        places = _places({**found.at, **trial.changed}, charged)
        stated = trial.proof.model_dump(mode="json")
        if any(stated[name] != value for name, value in statement(instance, places).items()):
            return "a proof is not about the menu and the choice of its round"
        check_certificate(stated)
    except (SpecError, CertificateError) as error:
        return str(error)
    return ""


def _failed(found: Round, trial: Trial) -> set[tuple[str, str]]:
    """The moves of the choices before this one that were not accepted."""
    before = found.trials[: found.trials.index(trial)]
    return {move for other in before if not other.accepted for move in other.changed.items()}


def _places(point: dict[str, str], menu: Menu) -> list[int]:
    try:
        return [labels.index(point[name]) for name, labels in zip(menu.names, menu.options, strict=True)]
    except (KeyError, ValueError):
        raise SpecError("a choice takes an option that its round did not measure") from None


def _tests(facts: Refined) -> Iterator[str]:
    for number, found in enumerate(facts.rounds, 1):
        for trial in found.trials:
            if trial.accepted != significant(trial.before, trial.after):
                yield f"round {number}: the verdict does not follow from the divergences"


def _last(plan: ChoicePlan, facts: Refined) -> Iterator[str]:
    if not facts.rounds:
        yield "the refinement has no round"
        return
    accepted = [(found, found.accepted) for found in facts.rounds if found.accepted]
    found, trial = accepted[-1] if accepted else (facts.rounds[0], None)
    taken = found.after if trial else facts.start
    most = trial.most if trial else 0
    own = round_menu(facts, found, trial)
    if any(getattr(plan.menu, name) != getattr(own, name) for name in FIELDS):
        yield "the menu of the plan is not that of its round"
    if plan.taken != taken or plan.request.budgets != (facts.budget, float(most)):
        yield "the plan is not the last accepted choice"
    if trial and plan.proof != trial.proof:
        yield "the proof of the plan is not that of its round"


def _held_out(facts: Refined) -> Iterator[str]:
    if (found := facts.held_out) and found != comparison(found.text, found.uniform, found.refined):
        yield "the stored difference or interval does not follow from the losses"
